//! The lives of sessions: reading without touching, touching without a request, remembering, deadlines.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use secure_sessions::store::{Bucket, Revision, forward_methods};
use secure_sessions::{
    Keyring, ManualClock, MemoryStore, RequestSession, Session, SessionManager, SessionStore, StoreError, Timestamp,
};

use crate::support::{App, Head, app, app_with, header, set_cookie};

const MINUTE: u64 = 60;
const DAY: u64 = 24 * 60 * MINUTE;

/// A store that must be waited for. Counts its writes, and lets another request write first if so planned.
#[derive(Clone)]
struct Waiting {
    store: MemoryStore,
    writes: Arc<AtomicU64>,
    rival: Arc<std::sync::Mutex<Option<Rival>>>,
}

#[derive(Clone, Copy)]
enum Rival {
    Revokes,
    Touches,
}

impl SessionStore for Waiting {
    forward_methods!(self => &self.store; load, insert, renew_into, remove, remove_all, list, count, purge_expired);

    async fn replace(&self, bucket: &Bucket, expected: Revision) -> Result<bool, StoreError> {
        self.writes.fetch_add(1, Ordering::SeqCst);
        let rival = self.rival.lock().unwrap().take();
        match rival {
            Some(Rival::Revokes) => assert!(self.store.remove(&bucket.id, None).await?),
            Some(Rival::Touches) => assert!(self.store.replace(bucket, expected).await?),
            None => {}
        }
        self.store.replace(bucket, expected).await
    }
}

/// The same session in a store that answers at once, and in one that must be waited for.
fn apps() -> [(SessionManager, ManualClock, Option<Waiting>); 2] {
    let clock = ManualClock::at_present();
    let store = Waiting { store: MemoryStore::new(), writes: Arc::default(), rival: Arc::default() };
    let builder = SessionManager::builder(Keyring::generate().unwrap(), store.clone()).insecure_dev();
    let waiting = (builder.clock(clock.clone()).build().unwrap(), clock, Some(store));
    let App { manager, clock, .. } = app();
    [(manager, clock, None), waiting]
}

async fn begin(manager: &SessionManager, cookie: Option<&str>, untouched: bool) -> (RequestSession, Session) {
    let request = manager.begin();
    if untouched {
        request.untouched();
    }
    let session = request.session(&Head::with(cookie)).await.unwrap();
    (request, session)
}

async fn seeded(manager: &SessionManager) -> String {
    let (request, session) = begin(manager, None, false).await;
    session.insert("n", 1).unwrap();
    set_cookie(request.finish(200).await.as_ref()).unwrap()
}

fn pass(clock: &ManualClock, seconds: u64) {
    clock.advance(Duration::from_secs(seconds));
}

#[tokio::test]
async fn a_page_that_polls_untouched_does_not_keep_its_session_alive() {
    for untouched in [false, true] {
        for (manager, clock, store) in apps() {
            let mut cookie = seeded(&manager).await;
            // Past the rotation interval, in steps after which a touch is due.
            for _ in 0..20 {
                pass(&clock, 2 * MINUTE);
                let (request, session) = begin(&manager, Some(&cookie), untouched).await;
                let is_over = session.is_new();
                let reply = set_cookie(request.finish(200).await.as_ref());
                if untouched {
                    assert_eq!(reply, None, "a rotation would count as use");
                }
                cookie = reply.unwrap_or(cookie);
                if is_over {
                    break;
                }
            }
            assert_eq!(begin(&manager, Some(&cookie), false).await.1.is_new(), untouched);
            let writes = store.map_or(0, |store| store.writes.load(Ordering::SeqCst));
            assert!(!untouched || writes == 0, "{writes} writes");
        }
    }
}

#[tokio::test]
async fn an_untouched_request_gets_the_newest_token_and_may_change_data() {
    for (manager, clock, _) in apps() {
        let old = seeded(&manager).await;
        let (request, session) = begin(&manager, Some(&old), false).await;
        session.insert("n", 2).unwrap();
        let newest = set_cookie(request.finish(200).await.as_ref());
        pass(&clock, 2 * MINUTE);
        let (request, session) = begin(&manager, Some(&old), true).await;
        assert_eq!(session.get::<u64>("n").unwrap(), Some(2));
        assert_eq!(set_cookie(request.finish(200).await.as_ref()), newest);

        pass(&clock, 27 * MINUTE);
        let (request, session) = begin(&manager, newest.as_deref(), true).await;
        session.insert("n", 3).unwrap();
        let newest = set_cookie(request.finish(200).await.as_ref());
        pass(&clock, 27 * MINUTE);
        let (_, session) = begin(&manager, newest.as_deref(), true).await;
        assert_eq!(session.get::<u64>("n").unwrap(), Some(3), "a change is use");
    }
}

#[tokio::test]
async fn touching_after_the_response_keeps_a_session_alive() {
    for (manager, clock, store) in apps() {
        let cookie = seeded(&manager).await;
        let (request, session) = begin(&manager, Some(&cookie), false).await;
        request.finish(101).await;
        for _ in 0..5 {
            pass(&clock, 20 * MINUTE);
            assert!(session.touch().await.unwrap());
            assert!(session.touch().await.unwrap());
        }
        if let Some(store) = store {
            assert_eq!(store.writes.load(Ordering::SeqCst), 5, "the second of each two writes nothing");
        }
        assert!(!begin(&manager, Some(&cookie), true).await.1.is_new());
        pass(&clock, 32 * MINUTE);
        assert!(!session.touch().await.unwrap(), "an expired session is not revived");
        assert!(begin(&manager, Some(&cookie), false).await.1.is_new());
        assert!(!begin(&manager, None, false).await.1.touch().await.unwrap());
    }
}

#[tokio::test]
async fn a_touch_never_revives_a_session_that_is_revoked_at_the_same_time() {
    for (rival, survives) in [(Rival::Revokes, false), (Rival::Touches, true)] {
        let [_, (manager, clock, store)] = apps();
        let cookie = seeded(&manager).await;
        let (request, session) = begin(&manager, Some(&cookie), false).await;
        request.finish(101).await;
        pass(&clock, 2 * MINUTE);
        *store.unwrap().rival.lock().unwrap() = Some(rival);
        assert_eq!(session.touch().await.unwrap(), survives);
        assert_eq!(begin(&manager, Some(&cookie), false).await.1.is_new(), !survives);
    }
}

#[tokio::test]
async fn a_touch_inside_the_handler_does_not_disturb_its_commit() {
    let app = app();
    let cookie = app.visit(None, |session| session.insert("n", 1).unwrap()).await;
    let (request, session) = app.request(cookie.as_deref()).await;
    app.pass(2 * MINUTE);
    assert!(session.touch().await.unwrap());
    session.insert("n", 2).unwrap();
    let newest = set_cookie(request.finish(200).await.as_ref());
    assert_eq!(app.request(newest.as_deref()).await.1.get::<u64>("n").unwrap(), Some(2));
}

#[tokio::test]
async fn a_remembered_user_stays_logged_in_for_that_long_without_a_visit() {
    let app = app();
    let (request, session) = app.request(None).await;
    session.login("alice").unwrap();
    session.remember_for(Duration::from_secs(30 * DAY)).unwrap();
    assert!(session.is_persistent());
    let reply = request.finish(200).await;
    let cookie = set_cookie(reply.as_ref());
    let line = header(reply.as_ref(), "set-cookie").unwrap();
    assert!(line.contains(&format!("Max-Age={}", 30 * DAY)), "{line}");
    app.pass(29 * DAY);
    let (request, session) = app.request(cookie.as_deref()).await;
    assert_eq!(session.subject().as_deref(), Some("alice"));
    assert!(session.is_persistent());
    let cookie = set_cookie(request.finish(200).await.as_ref());
    app.pass(DAY);
    assert_eq!(app.request(cookie.as_deref()).await.1.subject(), None, "the lifetime counts from the login");
}

#[tokio::test]
async fn the_consumer_preset_keeps_users_logged_in_between_visits() {
    let app = app_with(secure_sessions::Builder::consumer);
    let (request, session) = app.request(None).await;
    session.login("alice").unwrap();
    let reply = request.finish(200).await;
    let line = header(reply.as_ref(), "set-cookie").unwrap();
    assert!(line.contains(&format!("Max-Age={}", 90 * DAY)), "{line}");
    let mut cookie = set_cookie(reply.as_ref());
    for day in (13..90).step_by(13) {
        app.pass(13 * DAY);
        let (request, session) = app.request(cookie.as_deref()).await;
        assert_eq!(session.subject().is_some(), day < 90, "{day}");
        cookie = set_cookie(request.finish(200).await.as_ref()).or(cookie);
    }
    app.pass(13 * DAY);
    assert_eq!(app.request(cookie.as_deref()).await.1.subject(), None);
}

fn after(at: Timestamp, seconds: u64) -> Option<Timestamp> {
    Some(Timestamp::from_millis(at.as_millis() + seconds * 1000))
}

#[tokio::test]
async fn the_idle_deadline_counts_from_the_last_use() {
    let app = app();
    assert_eq!(app.request(None).await.1.idle_deadline(), None);
    let cookie = app.visit(None, |session| session.insert("n", 1).unwrap()).await;
    let (_, session) = app.request(cookie.as_deref()).await;
    let start = session.issued_at().unwrap();
    assert_eq!(session.idle_deadline(), after(start, 30 * MINUTE));
    app.pass(30); // A touch is not due yet.
    assert_eq!(begin(&app.manager, cookie.as_deref(), true).await.1.idle_deadline(), after(start, 30 * MINUTE));
    assert_eq!(app.request(cookie.as_deref()).await.1.idle_deadline(), after(start, 30 * MINUTE + 30));
    app.pass(MINUTE);
    let (_, session) = app.request(cookie.as_deref()).await;
    assert_eq!(session.idle_deadline(), after(start, 31 * MINUTE + 30));
    session.set_idle_timeout(Duration::from_secs(MINUTE)).unwrap();
    assert_eq!(session.idle_deadline(), after(start, 2 * MINUTE + 30));
    session.set_idle_timeout(Duration::from_secs(400 * DAY)).unwrap();
    assert_eq!(session.idle_deadline(), session.expires_at(), "never later than the absolute deadline");
}

#[tokio::test]
async fn a_session_is_modified_until_its_changes_are_committed() {
    let app = app();
    let cookie = app.visit(None, |session| session.insert("n", 1).unwrap()).await;
    let (_, session) = app.request(cookie.as_deref()).await;
    assert!(!session.is_modified() && !session.is_persistent());
    session.insert("n", 1).unwrap();
    assert!(!session.is_modified(), "an equal value is no change");
    session.insert("n", 2).unwrap();
    assert!(session.is_modified());
    session.save().await.unwrap();
    assert!(!session.is_modified());
    session.logout().unwrap();
    assert!(session.is_modified());
}
