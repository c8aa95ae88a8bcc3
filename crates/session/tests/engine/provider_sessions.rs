//! Sessions that came from a session at an identity provider end with it, and no others do.

use std::sync::{Arc, Mutex};

use secure_sessions::store::{Bucket, forward_methods};
use secure_sessions::{
    EndReason, Event, FingerprintKey, Keyring, Login, MemoryStore, MetaError, SealKey, Session, SessionError,
    SessionManager, SessionStore, StoreError,
};
use tokio::sync::Barrier;

use crate::support::shelf::Shelf;
use crate::support::{App, app, app_with};

const ISSUER: &str = "https://login.example";

/// Returns the cookie of a session that came from this session at the provider.
async fn from_provider(app: &App, subject: &str, sid: &str) -> String {
    let login = Login::new(subject).provider_session(ISSUER, sid);
    app.visit(None, |session| session.login_with(login).unwrap()).await.unwrap()
}

async fn subject(app: &App, cookie: &str) -> Option<String> {
    app.request(Some(cookie)).await.1.subject()
}

async fn end(app: &App, sid: &str) -> u64 {
    app.manager.revoke_provider_session(ISSUER, sid).await.unwrap()
}

#[tokio::test]
async fn the_end_of_a_providers_session_ends_all_that_came_from_it_and_no_others() {
    let app = app();
    let (first, second) = (from_provider(&app, "alice", "1").await, from_provider(&app, "alice", "1").await);
    let other_browser = from_provider(&app, "alice", "2").await;
    let password = app.visit(None, |session| session.login("alice").unwrap()).await.unwrap();
    let anonymous = app.visit(None, |session| session.insert("n", 1).unwrap()).await.unwrap();
    app.events.lock().unwrap().clear();

    assert_eq!(app.manager.revoke_provider_session("https://other.example", "1").await.unwrap(), 0);
    assert_eq!(end(&app, "3").await, 0);
    assert!(app.events.lock().unwrap().is_empty(), "nothing ended");
    assert_eq!(end(&app, "1").await, 2);
    let ended = Event::Ended { session: None, count: 2, reason: EndReason::ProviderLogout, logged_in: true };
    assert_eq!(app.events.lock().unwrap().as_slice(), std::slice::from_ref(&ended));
    assert_eq!((ended.cause(), ended.owasp_name()), ("provider_logout", "session_expired"));
    assert!(ended.to_string().contains("2 session(s) ended: their identity provider"), "{ended}");
    for cookie in [first, second] {
        assert_eq!(subject(&app, &cookie).await, None);
    }
    for cookie in [other_browser, password] {
        assert_eq!(subject(&app, &cookie).await.as_deref(), Some("alice"));
    }
    assert_eq!(app.request(Some(&anonymous)).await.1.get::<u64>("n").unwrap(), Some(1));
    assert_eq!(end(&app, "1").await, 0, "a logout token that is delivered again ends nothing");
}

#[tokio::test]
async fn a_session_keeps_its_providers_session_until_it_logs_out_or_logs_in_again() {
    let app = app();
    // Changed, renewed, stepped up, seen an hour later: it is the same login.
    let mut cookie = from_provider(&app, "alice", "1").await;
    cookie = app.visit(Some(&cookie), |session| session.insert("n", 1).unwrap()).await.unwrap();
    cookie = app.visit(Some(&cookie), |session| session.renew().unwrap()).await.unwrap();
    cookie = app.visit(Some(&cookie), |session| session.step_up(2).unwrap()).await.unwrap();
    app.pass(60 * 20);
    cookie = app.visit(Some(&cookie), |_| ()).await.unwrap();
    cookie = app.visit(Some(&cookie), |session| session.clear().unwrap()).await.unwrap();
    assert_eq!(end(&app, "1").await, 1);
    assert_eq!(subject(&app, &cookie).await, None);

    let cookie = from_provider(&app, "alice", "1").await;
    let kept = app.visit(Some(&cookie), |session| session.logout_keeping_data().unwrap()).await.unwrap();
    let again = from_provider(&app, "alice", "1").await;
    let password = app.visit(Some(&again), |session| session.login("alice").unwrap()).await.unwrap();
    let moved = from_provider(&app, "alice", "1").await;
    let login = Login::new("alice").provider_session(ISSUER, "2");
    let moved = app.visit(Some(&moved), |session| session.login_with(login).unwrap()).await.unwrap();
    assert_eq!(end(&app, "1").await, 0, "every one of them left it");
    assert!(!app.request(Some(&kept)).await.1.was_ended());
    assert_eq!(subject(&app, &password).await.as_deref(), Some("alice"));
    assert_eq!(end(&app, "2").await, 1);
    assert_eq!(subject(&app, &moved).await, None);
}

#[tokio::test]
async fn the_tag_follows_a_change_of_the_fingerprint_key() {
    let app = app();
    let seal = SealKey::from_bytes([99; 32]).to_text();
    let ring = |keys: &[u8]| {
        let texts = keys.iter().map(|key| FingerprintKey::from_bytes([*key; 32]).to_text());
        Keyring::from_text(&seal, &texts.map(|text| text.to_string()).collect::<Vec<_>>().join(","), "").unwrap()
    };
    app.manager.set_keyring(ring(&[1])).unwrap();
    let (idle, mut active) = (from_provider(&app, "alice", "1").await, from_provider(&app, "alice", "1").await);
    app.manager.set_keyring(ring(&[2, 1])).unwrap();
    active = app.visit(Some(&active), |session| session.insert("n", 1).unwrap()).await.unwrap();
    let young = from_provider(&app, "alice", "1").await;
    // The active session has a token of the new key by now, and its bucket a tag of it.
    app.manager.set_keyring(ring(&[2])).unwrap();
    assert_eq!(end(&app, "1").await, 2);
    for cookie in [&active, &young] {
        assert_eq!(subject(&app, cookie).await, None);
    }
    // One that was not seen since has a token of the key that was dropped: it is refused as long as the key is away, and
    // ended by a logout that comes while the key is there.
    assert_eq!(subject(&app, &idle).await, None);
    app.manager.set_keyring(ring(&[2, 1])).unwrap();
    assert_eq!(end(&app, "1").await, 1);
    assert_eq!(subject(&app, &idle).await, None);
}

#[tokio::test]
async fn a_session_that_is_renewed_while_its_providers_session_ends_ends_too() {
    let app = app();
    let cookie = from_provider(&app, "alice", "1").await;
    // The renewal is committed between the look and the ending, and a slow request goes on behind both.
    let (slow, session) = app.request(Some(&cookie)).await;
    let renewed = app.visit(Some(&cookie), |session| session.renew().unwrap()).await.unwrap();
    assert_eq!(end(&app, "1").await, 1);
    session.insert("n", 1).unwrap();
    slow.finish(200).await;
    for cookie in [&cookie, &renewed] {
        assert_eq!(subject(&app, cookie).await, None);
    }
    assert_eq!(app.store.count().await.unwrap(), 0);
}

#[tokio::test]
async fn a_remembered_token_of_an_ended_providers_session_is_forgotten() {
    let app = app_with(|builder| builder.remember_tokens(16));
    let (ended, other) = (from_provider(&app, "alice", "1").await, from_provider(&app, "alice", "2").await);
    for _ in 0..3 {
        for cookie in [&ended, &other] {
            assert_eq!(subject(&app, cookie).await.as_deref(), Some("alice"));
        }
    }
    assert_eq!(end(&app, "1").await, 1);
    assert_eq!(subject(&app, &ended).await, None);
    assert_eq!(subject(&app, &other).await.as_deref(), Some("alice"));
}

#[tokio::test]
async fn the_private_values_of_a_providers_session_go_with_it() {
    let shelf = Shelf::default();
    let app = app_with(|builder| builder.vault(shelf.clone()));
    let keep = async |sid: &str| {
        let login = Login::new("alice").provider_session(ISSUER, sid);
        let cookie = app.visit(None, |session| session.login_with(login).unwrap()).await.unwrap();
        app.visit(Some(&cookie), |session| session.vault().insert("token", sid.to_owned()).unwrap()).await.unwrap()
    };
    let (ended, other) = (keep("1").await, keep("2").await);
    assert_eq!(shelf.count(), 2);
    assert_eq!(end(&app, "1").await, 1);
    assert_eq!(shelf.count(), 1);
    assert_eq!(subject(&app, &ended).await, None);
    let (_, session) = app.request(Some(&other)).await;
    assert_eq!(session.vault().get::<String>("token").await.unwrap().as_deref(), Some("2"));
}

#[tokio::test]
async fn a_claim_that_is_empty_or_too_long_is_refused_and_changes_nothing() {
    let app = app();
    let long = "x".repeat(2049);
    for (issuer, sid, claim) in
        [("", "1", "iss"), (ISSUER, "", "sid"), (long.as_str(), "1", "iss"), (ISSUER, long.as_str(), "sid")]
    {
        let refused = |error: &SessionError| {
            let (text, named) = (error.to_string(), format!("`{claim}`"));
            assert!(text.contains(&named) && (text.contains("empty") || text.contains("2048")), "{text}");
            assert_eq!(error.status(), 400);
            assert!(
                matches!(
                    error,
                    SessionError::Meta(
                        MetaError::ProviderEmpty { .. } | MetaError::ProviderTooLong { length: 2049, .. }
                    )
                ),
                "{error}"
            );
        };
        let cookie = app.visit(None, |session| session.login("alice").unwrap()).await.unwrap();
        let login = Login::new("bob").provider_session(issuer, sid);
        let same = app.visit(Some(&cookie), |session| refused(&session.login_with(login).unwrap_err())).await.unwrap();
        assert_eq!(subject(&app, &same).await.as_deref(), Some("alice"));
        refused(&app.manager.revoke_provider_session(issuer, sid).await.unwrap_err());
    }
}

/// A store that stops before it acknowledges an insert, so that a login is still on its way.
struct Slow {
    store: MemoryStore,
    barrier: Arc<Barrier>,
}

impl SessionStore for Slow {
    async fn insert(&self, bucket: &Bucket) -> Result<(), StoreError> {
        self.barrier.wait().await;
        self.barrier.wait().await;
        self.store.insert(bucket).await
    }

    forward_methods!(self => &self.store;
        load, replace, renew_into, remove, list, count, remove_all, purge_expired);
}

#[tokio::test]
async fn a_login_still_on_its_way_is_not_found_and_the_next_logout_finds_it() {
    let barrier = Arc::new(Barrier::new(2));
    let store = Slow { store: MemoryStore::new(), barrier: Arc::clone(&barrier) };
    let keyring = Keyring::generate().unwrap();
    let manager = SessionManager::builder(keyring, store).insecure_dev().build().unwrap();
    let logging_in = tokio::spawn({
        let manager = manager.clone();
        async move {
            let request = manager.begin();
            let session = request.session(&crate::support::Head::with(None)).await.unwrap();
            session.login_with(Login::new("alice").provider_session(ISSUER, "1")).unwrap();
            crate::support::set_cookie(request.finish(200).await.as_ref()).unwrap()
        }
    });
    barrier.wait().await;
    assert_eq!(manager.revoke_provider_session(ISSUER, "1").await.unwrap(), 0);
    barrier.wait().await;
    let cookie = logging_in.await.unwrap();
    assert_eq!(manager.revoke_provider_session(ISSUER, "1").await.unwrap(), 1);
    let request = manager.begin();
    let session = request.session(&crate::support::Head::with(Some(&cookie))).await.unwrap();
    assert_eq!(session.subject(), None);
}

/// No right follows from the tag, so a token is not compared with it.
#[tokio::test]
async fn a_group_that_was_taken_out_of_the_store_comes_back_with_the_next_change() {
    let store = Seen::default();
    let manager = SessionManager::builder(Keyring::generate().unwrap(), store.clone()).insecure_dev().build().unwrap();
    let visit = async |cookie: Option<&str>, handler: &dyn Fn(&Session)| {
        let request = manager.begin();
        let session = request.session(&crate::support::Head::with(cookie)).await.unwrap();
        handler(&session);
        crate::support::set_cookie(request.finish(200).await.as_ref())
    };
    let login = |session: &Session| session.login_with(Login::new("alice").provider_session(ISSUER, "1")).unwrap();
    let cookie = visit(None, &login).await.unwrap();
    let bucket = store.1.lock().unwrap()[0].clone();
    assert!(store.0.replace(&Bucket { group: None, ..bucket.clone() }, bucket.revision).await.unwrap());
    assert_eq!(manager.revoke_provider_session(ISSUER, "1").await.unwrap(), 0);
    let cookie = visit(Some(&cookie), &|session| session.insert("n", 1).unwrap()).await.unwrap();
    assert_eq!(manager.revoke_provider_session(ISSUER, "1").await.unwrap(), 1);
    visit(Some(&cookie), &|session| assert_eq!(session.subject(), None)).await;
}

/// A store whose buckets the test sees.
#[derive(Clone, Default)]
struct Seen(MemoryStore, Arc<Mutex<Vec<Bucket>>>);

impl SessionStore for Seen {
    async fn insert(&self, bucket: &Bucket) -> Result<(), StoreError> {
        self.1.lock().unwrap().push(bucket.clone());
        self.0.insert(bucket).await
    }

    forward_methods!(self => &self.0;
        load, replace, renew_into, remove, list, count, remove_all, purge_expired);
}

#[tokio::test]
async fn a_store_sees_a_keyed_tag_of_the_providers_session_and_not_its_name() {
    let store = Seen::default();
    let builder = |store: Seen| SessionManager::builder(Keyring::generate().unwrap(), store).insecure_dev();
    for manager in [builder(store.clone()).build().unwrap(), builder(store.clone()).build().unwrap()] {
        let request = manager.begin();
        let session = request.session(&crate::support::Head::with(None)).await.unwrap();
        session.login_with(Login::new("alice").provider_session(ISSUER, "a session's name")).unwrap();
        request.finish(200).await;
    }
    let buckets = store.1.lock().unwrap().clone();
    for bucket in &buckets {
        let record = bucket.to_record();
        for text in [ISSUER, "a session's name", "alice"] {
            assert!(!record.windows(text.len()).any(|part| part == text.as_bytes()), "{text}");
        }
    }
    let [Some(one), Some(other)] = [buckets[0].group, buckets[1].group] else { panic!("no group") };
    assert_ne!(one, other, "under another key");
}
