//! Hosts whose clock is wrong, and a store that cannot read a session.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use secure_sessions::store::{Entry, SessionId, forward_methods};
use secure_sessions::{Clock, MemoryStore, Millis, SessionError, SessionStore, StoreError};

use super::alice;
use crate::support::{Head, app, set_cookie};

/// By its own clock the session is over; by that of every other host it is alive.
#[tokio::test]
async fn a_logout_at_a_host_with_a_clock_ahead_ends_the_session_everywhere() {
    for hours in [2, 20] {
        let app = app();
        let cookie = alice(&app).await;
        app.pass(hours * 3600);
        let (request, session) = app.request(Some(&cookie)).await;
        assert!(session.was_ended() && session.subject().is_none(), "it looks expired after {hours} hours");
        session.logout().unwrap();
        let reply = request.finish(200).await.unwrap();
        assert!(reply.failure().is_none());
        assert_eq!(set_cookie(Some(&reply)).as_deref(), Some(""));
        assert_eq!(app.store.count().await.unwrap(), 0, "it would be alive elsewhere");
    }
}

#[tokio::test]
async fn without_a_logout_an_expired_session_is_left_to_the_purge() {
    let app = app();
    let cookie = alice(&app).await;
    app.pass(7200);
    let (request, session) = app.request(Some(&cookie)).await;
    assert!(matches!(session.logout_everywhere(), Err(SessionError::NotLoggedIn)), "nobody is logged in any more");
    request.finish(200).await;
    app.visit(Some(&cookie), |session| session.insert("basket", 1).unwrap()).await.unwrap();
    assert_eq!(app.store.count().await.unwrap(), 2, "the expired one and the new one");
}

#[tokio::test]
async fn sessions_made_by_a_clock_a_day_ahead_do_not_outlive_the_absolute_limit() {
    let app = app();
    let right = app.clock.now().as_millis();
    app.clock.set_millis(right + 86_400_000);
    let old = app.visit(None, |session| session.insert("n", 1).unwrap()).await.unwrap();
    let newer = app.visit(Some(&old), |session| session.insert("n", 2).unwrap()).await.unwrap();
    app.clock.set_millis(right);
    let limit = app.clock.now().after(Millis::from_secs(8 * 3600));
    let (request, session) = app.request(Some(&newer)).await;
    assert_eq!(session.expires_at(), Some(limit));
    request.finish(200).await;
    // An old token is handed the newest for no longer than usual.
    app.pass(61);
    app.visit(Some(&newer), |_| ()).await;
    app.pass(61);
    assert!(app.request(Some(&old)).await.1.is_new());
    assert_eq!(app.event_names().last(), Some(&"replayed"));
}

#[tokio::test]
async fn a_session_made_by_a_clock_a_day_ahead_ends_at_the_limit_of_the_right_one() {
    let app = app();
    let right = app.clock.now().as_millis();
    app.clock.set_millis(right + 86_400_000);
    let mut cookie = app.visit(None, |session| session.insert("n", 1).unwrap()).await.unwrap();
    app.clock.set_millis(right);
    for _ in 0..8 * 3 {
        cookie = app.visit(Some(&cookie), |session| assert!(!session.is_new())).await.unwrap();
        app.pass(20 * 60);
    }
    assert!(app.request(Some(&cookie)).await.1.is_new());
}

#[tokio::test]
async fn a_session_that_the_store_cannot_read_is_no_reason_to_answer_503_for_ever() {
    let (store, fault) = Unreadable::new();
    let manager = secure_sessions::SessionManager::builder(secure_sessions::Keyring::generate().unwrap(), store)
        .insecure_dev()
        .build()
        .unwrap();
    let request = manager.begin();
    request.session(&Head::with(None)).await.unwrap().login("alice").unwrap();
    let cookie = set_cookie(request.finish(200).await.as_ref()).unwrap();
    fault.store(true, Ordering::Relaxed);
    let request = manager.begin();
    let session = request.session(&Head::with(Some(&cookie))).await.unwrap();
    assert!(session.subject().is_none());
    session.insert("n", 1).unwrap();
    assert_eq!(set_cookie(request.finish(200).await.as_ref()), None, "the cookie is left alone");
    let request = manager.begin();
    request.session(&Head::with(Some(&cookie))).await.unwrap().logout().unwrap();
    assert_eq!(set_cookie(request.finish(200).await.as_ref()).as_deref(), Some(""));
    assert_eq!(manager.count().await.unwrap(), 0);
}

/// A store in memory whose entries can be made unreadable.
struct Unreadable {
    store: MemoryStore,
    fault: Arc<AtomicBool>,
}

impl Unreadable {
    fn new() -> (Self, Arc<AtomicBool>) {
        let fault = Arc::new(AtomicBool::new(false));
        (Self { store: MemoryStore::new(), fault: Arc::clone(&fault) }, fault)
    }
}

impl SessionStore for Unreadable {
    forward_methods!(self => &self.store; insert, replace, renew_into, remove, list, count, remove_all, purge_expired);

    async fn load(&self, id: &SessionId) -> Result<Option<Entry>, StoreError> {
        let entry = self.store.load(id).await?;
        if entry.is_some() && self.fault.load(Ordering::Relaxed) {
            return Err(StoreError::corrupt("cut off"));
        }
        Ok(entry)
    }
}
