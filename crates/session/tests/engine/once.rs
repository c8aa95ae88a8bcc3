//! Values that exactly one request gets, whatever else happens to their session meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use secure_sessions::store::{Bucket, Revision, SessionId, Tombstone, forward_methods};
use secure_sessions::{
    Keyring, MemoryStore, RequestSession, Session, SessionError, SessionManager, SessionStore, StoreError,
};

use crate::support::{App, Head, app, set_cookie};

async fn seeded(app: &App) -> String {
    app.visit(None, |session| session.insert("state", "xyz").unwrap()).await.unwrap()
}

async fn take(session: &Session) -> Result<Option<String>, SessionError> {
    session.take_once("state").await
}

#[tokio::test]
async fn of_two_requests_with_one_cookie_exactly_one_takes_the_value() {
    let app = app();
    let cookie = seeded(&app).await;
    let (_, first) = app.request(Some(&cookie)).await;
    let (_, second) = app.request(Some(&cookie)).await;
    assert_eq!(take(&first).await.unwrap().as_deref(), Some("xyz"));
    assert_eq!(second.get::<String>("state").unwrap().as_deref(), Some("xyz"), "as it was admitted");
    assert_eq!(take(&second).await.unwrap(), None);
    assert!(!app.request(Some(&cookie)).await.1.contains_key("state"));
}

#[tokio::test]
async fn of_fifty_requests_at_once_exactly_one_takes_the_value() {
    let app = app();
    let cookie = seeded(&app).await;
    let mut requests = Vec::new();
    for _ in 0..50 {
        requests.push(app.request(Some(&cookie)).await.1);
    }
    let takes = requests.into_iter().map(|session| tokio::spawn(async move { take(&session).await }));
    let mut taken = 0;
    for take in takes.collect::<Vec<_>>() {
        taken += usize::from(take.await.unwrap().unwrap().is_some());
    }
    assert_eq!(taken, 1);
}

#[tokio::test]
async fn of_two_calls_at_once_in_one_request_exactly_one_takes_the_value() {
    let app = app();
    let cookie = seeded(&app).await;
    let (_, session) = app.request(Some(&cookie)).await;
    let (first, second) = tokio::join!(take(&session), take(&session));
    assert_eq!([first.unwrap(), second.unwrap()].iter().flatten().count(), 1);
}

#[tokio::test]
async fn a_value_that_was_taken_once_stays_taken_after_a_5xx() {
    let app = app();
    let cookie = seeded(&app).await;
    let (request, session) = app.request(Some(&cookie)).await;
    assert!(take(&session).await.unwrap().is_some());
    request.finish(500).await;
    assert_eq!(take(&app.request(Some(&cookie)).await.1).await.unwrap(), None);
}

#[tokio::test]
async fn a_value_of_another_type_is_an_error_and_stays() {
    let app = app();
    let cookie = seeded(&app).await;
    let (_, session) = app.request(Some(&cookie)).await;
    assert!(matches!(session.take_once::<u64>("state").await, Err(SessionError::Data(_))));
    assert_eq!(take(&session).await.unwrap().as_deref(), Some("xyz"));
    assert_eq!(take(&session).await.unwrap(), None);
    assert_eq!(take(&app.request(None).await.1).await.unwrap(), None);
}

#[tokio::test]
async fn a_value_that_became_another_type_meanwhile_is_an_error_and_stays() {
    let app = app();
    let cookie = seeded(&app).await;
    let (_, session) = app.request(Some(&cookie)).await;
    app.visit(Some(&cookie), |session| session.insert("state", 7).unwrap()).await;
    assert!(matches!(take(&session).await, Err(SessionError::Data(_))));
    assert_eq!(app.request(Some(&cookie)).await.1.get::<u64>("state").unwrap(), Some(7));
}

#[tokio::test]
async fn a_value_that_came_back_meanwhile_is_taken_again_and_by_one() {
    let app = app();
    let cookie = seeded(&app).await;
    let (_, late) = app.request(Some(&cookie)).await;
    assert!(take(&app.request(Some(&cookie)).await.1).await.unwrap().is_some());
    app.visit(Some(&cookie), |session| session.insert("state", "new").unwrap()).await;
    assert_eq!(take(&late).await.unwrap().as_deref(), Some("new"));
    assert_eq!(take(&app.request(Some(&cookie)).await.1).await.unwrap(), None);
}

type Step = fn(&Session) -> Result<(), SessionError>;

/// The steps that the second of two clicks may take before it takes the value.
const BEFORE: [Step; 4] = [|_| Ok(()), |session| session.login("alice"), Session::renew, Session::logout_keeping_data];

#[tokio::test]
async fn a_double_click_takes_nothing_from_a_session_that_moved_on() {
    for before in BEFORE {
        let app = app();
        let cookie = seeded(&app).await;
        let (request, first) = app.request(Some(&cookie)).await;
        let (_, second) = app.request(Some(&cookie)).await;
        assert!(take(&first).await.unwrap().is_some());
        first.login("alice").unwrap();
        assert!(set_cookie(request.finish(303).await.as_ref()).is_some());
        before(&second).unwrap();
        match take(&second).await {
            Ok(None) | Err(SessionError::Ended) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_value_can_be_taken_along_with_a_login_or_a_logout() {
    for before in BEFORE {
        let app = app();
        let cookie = seeded(&app).await;
        let (request, session) = app.request(Some(&cookie)).await;
        before(&session).unwrap();
        assert_eq!(take(&session).await.unwrap().as_deref(), Some("xyz"));
        let newest = set_cookie(request.finish(200).await.as_ref());
        assert!(!app.request(newest.as_deref()).await.1.contains_key("state"));
    }
}

#[tokio::test]
async fn a_value_of_this_same_request_is_taken_without_a_session() {
    let app = app();
    let (request, session) = app.request(None).await;
    session.insert("state", "xyz").unwrap();
    assert_eq!(take(&session).await.unwrap().as_deref(), Some("xyz"));
    assert_eq!(set_cookie(request.finish(200).await.as_ref()), None);
    assert!(matches!(session.take_once::<String>("state").await, Err(SessionError::Finished)));
}

/// A store in memory whose next `replace` fails, or whose next `renew_into` comes too late, if so planned.
#[derive(Clone)]
struct Faulty {
    store: MemoryStore,
    plan: Arc<AtomicU8>,
}

const FAIL: u8 = 1;
const FAIL_AFTERWARDS: u8 = 2;
/// Another request ends the session just before it is renewed.
const COME_LATE: u8 = 3;

impl Faulty {
    /// Makes a store without a fault, a manager on it, and the cookie of a session that has a value to take.
    async fn seeded() -> (Self, SessionManager, String) {
        let store = Faulty { store: MemoryStore::new(), plan: Arc::default() };
        let builder = SessionManager::builder(Keyring::generate().unwrap(), store.clone());
        let manager = builder.insecure_dev().build().unwrap();
        let first = manager.begin();
        first.session(&Head::with(None)).await.unwrap().insert("state", "xyz").unwrap();
        let cookie = set_cookie(first.finish(200).await.as_ref()).unwrap();
        (store, manager, cookie)
    }
}

impl SessionStore for Faulty {
    forward_methods!(self => &self.store; load, insert, remove, remove_all, list, count, purge_expired);

    async fn renew_into(
        &self,
        bucket: &Bucket,
        old: &SessionId,
        expected: Revision,
        tombstone: Tombstone,
    ) -> Result<bool, StoreError> {
        if self.plan.swap(0, Ordering::SeqCst) == COME_LATE {
            self.store.remove(old, None).await?;
        }
        self.store.renew_into(bucket, old, expected, tombstone).await
    }

    async fn replace(&self, bucket: &Bucket, expected: Revision) -> Result<bool, StoreError> {
        let failed = || Err(StoreError::unavailable("cut off"));
        match self.plan.swap(0, Ordering::SeqCst) {
            FAIL => failed(),
            FAIL_AFTERWARDS => {
                assert!(self.store.replace(bucket, expected).await?);
                failed()
            }
            _ => self.store.replace(bucket, expected).await,
        }
    }
}

async fn request(manager: &SessionManager, cookie: &str) -> (RequestSession, Session) {
    let request = manager.begin();
    let session = request.session(&Head::with(Some(cookie))).await.unwrap();
    (request, session)
}

#[tokio::test]
async fn after_a_store_error_a_second_call_knows_who_took_the_value() {
    for (fault, rival, mine) in
        [(FAIL, false, true), (FAIL, true, false), (FAIL_AFTERWARDS, false, true), (FAIL_AFTERWARDS, true, true)]
    {
        let (store, manager, cookie) = Faulty::seeded().await;
        let (_, session) = request(&manager, &cookie).await;
        store.plan.store(fault, Ordering::SeqCst);
        assert!(matches!(take(&session).await, Err(SessionError::Store(_))));
        if rival {
            let other = take(&request(&manager, &cookie).await.1).await.unwrap();
            assert_eq!(other.is_some(), !mine, "{fault}");
        }
        assert_eq!(take(&session).await.unwrap().is_some(), mine, "{fault} {rival}");
        assert_eq!(take(&session).await.unwrap(), None);
        assert!(!request(&manager, &cookie).await.1.contains_key("state"));
    }
}

#[tokio::test]
async fn a_value_taken_by_a_write_that_seemed_to_fail_outlives_a_late_login() {
    let (store, manager, cookie) = Faulty::seeded().await;
    let (_, session) = request(&manager, &cookie).await;
    store.plan.store(FAIL_AFTERWARDS, Ordering::SeqCst);
    assert!(matches!(take(&session).await, Err(SessionError::Store(_))));
    session.login("alice").unwrap();
    store.plan.store(COME_LATE, Ordering::SeqCst);
    assert_eq!(take(&session).await.unwrap().as_deref(), Some("xyz"), "the first call removed it");
    assert_eq!(store.plan.load(Ordering::SeqCst), 0, "the session was gone when the login came");
    assert_eq!(take(&session).await.unwrap(), None);
}

#[tokio::test]
async fn a_failed_removal_that_was_discarded_leaves_the_value_to_others() {
    let (store, manager, cookie) = Faulty::seeded().await;
    let (failed, session) = request(&manager, &cookie).await;
    store.plan.store(FAIL, Ordering::SeqCst);
    assert!(take(&session).await.is_err());
    failed.finish(503).await;
    assert!(take(&request(&manager, &cookie).await.1).await.unwrap().is_some());
}
