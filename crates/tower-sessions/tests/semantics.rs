//! Compares a `Session` on ours with one on tower-sessions' own store, side by side.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Path;
use axum::http::{StatusCode, header};
use axum::routing::get;
use secure_sessions_axum::{
    EngineError, Keyring, ManualClock, MemoryStore, SessionLayer, SessionManager, SessionStore, StoreError, testing,
};
use secure_sessions_tower_sessions::v0_15::TowerSessionsLayer;
use serde_json::{Value, json};
use support::Browser;
use tokio::sync::{Barrier, mpsc};
use tower_sessions::{Expiry, Session, SessionManagerLayer};

type Failure = (StatusCode, String);

fn failure(error: tower_sessions::session::Error) -> Failure {
    (StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
}

async fn set(Path((key, value)): Path<(String, String)>, session: Session) -> Result<String, Failure> {
    session.insert(&key, value).await.map_err(failure)?;
    Ok("set".to_owned())
}

async fn value(Path(key): Path<String>, session: Session) -> Result<String, Failure> {
    Ok(session.get::<String>(&key).await.map_err(failure)?.unwrap_or_default())
}

async fn id(session: Session) -> String {
    session.id().map(|id| id.to_string()).unwrap_or_default()
}

fn routes() -> Router {
    Router::new()
        .route("/set/{key}/{value}", get(set))
        .route("/get/{key}", get(value))
        .route("/id", get(id))
        .route("/unseen", get(|| async { "unseen" }))
        .route(
            "/keys",
            get(async |session: Session, native: secure_sessions_axum::Session| {
                session.get_value("a").await.unwrap();
                native.keys().join(" ")
            }),
        )
        .route(
            "/remove/{key}",
            get(async |Path(key): Path<String>, session: Session| {
                session.remove::<Value>(&key).await.unwrap().unwrap_or_default().to_string()
            }),
        )
        .route("/clear", get(async |session: Session| session.clear().await))
        .route("/flush", get(async |session: Session| session.flush().await.unwrap()))
        .route("/delete", get(async |session: Session| session.delete().await.unwrap()))
        .route("/cycle", get(async |session: Session| session.cycle_id().await.unwrap()))
        .route(
            "/cycle-then-fail",
            get(async |session: Session| {
                session.cycle_id().await.unwrap();
                StatusCode::INTERNAL_SERVER_ERROR
            }),
        )
        .route(
            "/flush-then-set",
            get(async |session: Session| {
                session.get_value("a").await.unwrap();
                session.flush().await.unwrap();
                session.insert("a", "after").await.unwrap();
            }),
        )
        .route(
            "/cycle-then-set",
            get(async |session: Session| {
                session.cycle_id().await.unwrap();
                session.insert("b", "after").await.unwrap();
            }),
        )
        .route(
            "/save-then-fail",
            get(async |session: Session| {
                session.insert("a", "saved").await.unwrap();
                session.save().await.unwrap();
                assert!(session.id().is_some(), "a saved session has an id");
                session.insert("b", "not saved").await.unwrap();
                StatusCode::INTERNAL_SERVER_ERROR
            }),
        )
        .route(
            "/large",
            get(async |session: Session| {
                session.insert("small", 1).await.unwrap();
                session.insert("large", "x".repeat(10_000)).await.unwrap();
            }),
        )
        .route(
            "/save-large",
            get(async |session: Session| {
                session.insert("large", "x".repeat(10_000)).await.unwrap();
                session.save().await.map_err(failure)
            }),
        )
        .route(
            "/json",
            get(async |session: Session| {
                session.insert("json", everything()).await.unwrap();
            }),
        )
        .route(
            "/json-is-back",
            get(async |session: Session| (session.get_value("json").await.unwrap() == Some(everything())).to_string()),
        )
}

fn everything() -> Value {
    json!({"list": [1, -1, 1.5, 1e300, u64::MAX, i64::MIN], "text": "Ä €", "none": null, "yes": true, "deep": [[{}]]})
}

fn ours_with(manager: &SessionManager, routes: Router) -> Router {
    routes.layer(TowerSessionsLayer::new()).layer(SessionLayer::new(manager.clone()))
}

fn ours() -> Router {
    ours_with(&testing::manager().0, routes())
}

fn theirs_of(routes: Router) -> Router {
    // The native session is asked for by one route only.
    let layer = SessionManagerLayer::new(tower_sessions::MemoryStore::default()).with_secure(false);
    routes.layer(layer)
}

fn theirs() -> Router {
    theirs_of(routes())
}

#[tokio::test]
async fn values_are_kept_changed_and_removed_on_both() {
    for app in [ours(), theirs()] {
        let mut browser = Browser::new(&app);
        assert!(!browser.get("/unseen").await.sets_cookie());
        assert!(!browser.get("/get/a").await.sets_cookie());
        assert!(browser.get("/set/a/one").await.sets_cookie());
        assert_eq!(browser.get("/get/a").await.text, "one");
        browser.get("/set/a/two").await;
        browser.get("/set/b/three").await;
        assert_eq!(browser.get("/get/a").await.text, "two");
        assert_eq!(browser.get("/remove/a").await.text, "\"two\"");
        assert_eq!(browser.get("/get/a").await.text, "");
        assert_eq!(browser.get("/get/b").await.text, "three");
        browser.get("/clear").await;
        assert_eq!(browser.get("/get/b").await.text, "");
        browser.get("/json").await;
        assert_eq!(browser.get("/json-is-back").await.text, "true");
    }
}

#[tokio::test]
async fn an_unchanged_session_sets_no_cookie_and_an_equal_value_changes_nothing() {
    let mut browser = Browser::new(&ours());
    browser.get("/set/a/one").await;
    assert!(!browser.get("/get/a").await.sets_cookie());
    assert!(!browser.get("/set/a/one").await.sets_cookie());
}

/// Two requests with one cookie are both in their handlers before either of them writes.
async fn crossing(build: impl FnOnce(Router) -> Router) -> (String, String) {
    let barrier = Arc::new(Barrier::new(2));
    let crossed = async move |Path(key): Path<String>, session: Session| {
        session.get_value("a").await.unwrap();
        barrier.wait().await;
        session.insert(&key, "here").await.unwrap();
        barrier.wait().await;
    };
    let app = build(routes().route("/cross/{key}", get(crossed)));
    let mut browser = Browser::new(&app);
    browser.get("/set/first/x").await;
    let (one, other) = tokio::join!(browser.send("/cross/a"), browser.send("/cross/b"));
    browser.take(&one);
    browser.take(&other);
    (browser.get("/get/a").await.text, browser.get("/get/b").await.text)
}

#[tokio::test]
async fn two_requests_with_different_keys_are_merged_here_and_one_is_lost_there() {
    let (manager, _) = testing::manager();
    let (a, b) = crossing(|routes| ours_with(&manager, routes)).await;
    assert_eq!((a.as_str(), b.as_str()), ("here", "here"));
    let (a, b) = crossing(theirs_of).await;
    assert!(a.is_empty() || b.is_empty(), "theirs writes the whole record: {a:?} {b:?}");
}

#[tokio::test]
async fn a_cycle_that_fails_keeps_the_session_here_and_loses_it_there() {
    for (app, expected) in [(ours(), "one"), (theirs(), "")] {
        let mut browser = Browser::new(&app);
        browser.get("/set/a/one").await;
        assert_eq!(browser.get("/cycle-then-fail").await.status, StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(browser.get("/get/a").await.text, expected);
    }
}

#[tokio::test]
async fn a_cycle_changes_the_id_keeps_the_data_and_refuses_the_old_cookie() {
    for app in [ours(), theirs()] {
        for path in ["/cycle", "/cycle-then-set"] {
            let mut browser = Browser::new(&app);
            browser.get("/set/a/one").await;
            let (old, id) = (browser.clone(), browser.get("/id").await.text);
            browser.get(path).await;
            assert_eq!(browser.get("/get/a").await.text, "one");
            assert_ne!(browser.get("/id").await.text, id);
            assert_eq!(old.send("/get/a").await.text, "");
        }
    }
}

#[tokio::test]
async fn flush_then_insert_refuses_the_old_cookie_here_and_revives_it_there() {
    for (app, expected) in [(ours(), ""), (theirs(), "after")] {
        let mut browser = Browser::new(&app);
        browser.get("/set/a/before").await;
        let old = browser.clone();
        browser.get("/flush-then-set").await;
        assert_eq!(browser.get("/get/a").await.text, "after");
        assert_eq!(old.send("/get/a").await.text, expected);
    }
}

#[tokio::test]
async fn flush_ends_the_session_and_removes_the_cookie_on_both() {
    for app in [ours(), theirs()] {
        let mut browser = Browser::new(&app);
        browser.get("/set/a/one").await;
        let old = browser.clone();
        browser.get("/flush").await;
        assert_eq!(browser.cookie, "");
        assert_eq!(old.send("/get/a").await.text, "");
    }
}

#[tokio::test]
async fn a_deleted_session_is_over_on_both() {
    for app in [ours(), theirs()] {
        let mut browser = Browser::new(&app);
        browser.get("/set/a/one").await;
        let old = browser.clone();
        browser.get("/delete").await;
        assert_eq!(old.send("/get/a").await.text, "");
    }
}

#[tokio::test]
async fn a_value_of_10_kb_is_refused_with_413_and_changes_nothing() {
    let mut browser = Browser::new(&ours());
    browser.get("/set/a/one").await;
    let answer = browser.get("/large").await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert!(!answer.sets_cookie());
    assert_eq!(browser.get("/get/a").await.text, "one");
    assert_eq!(browser.get("/keys").await.text, "a", "the small value of that request is not kept either");
    let saved = browser.get("/save-large").await;
    assert!(saved.text.contains("more than the limit"), "{}", saved.text);
    assert_eq!(browser.get("/keys").await.text, "a");
    assert_eq!(Browser::new(&theirs()).get("/large").await.status, StatusCode::OK);
}

#[tokio::test]
async fn provider_tokens_of_8_kb_stay_in_a_session_of_tower_sessions() {
    let store = MemoryStore::new();
    let builder = SessionManager::builder(Keyring::generate().unwrap(), store.clone()).insecure_dev();
    let manager = builder.vault(store).spill_over(1024).build().unwrap();
    let mut browser = Browser::new(&ours_with(&manager, routes()));
    assert_eq!(browser.get("/large").await.status, StatusCode::OK);
    assert!(browser.cookie.len() < 1000, "the cookie has {} bytes", browser.cookie.len());
    let large = "x".repeat(10_000);
    assert_eq!(browser.get("/get/large").await.text, large);
    // Another key changes, and the session moves to a new id: it stays.
    browser.get("/set/a/one").await;
    assert_eq!(browser.get("/get/large").await.text, large);
    assert_eq!(browser.get("/set/large/short").await.status, StatusCode::OK);
    assert_eq!(browser.get("/get/large").await.text, "short");
    browser.get("/large").await;
    browser.get("/remove/large").await;
    assert!(!browser.get("/keys").await.text.contains("large"));
    assert_eq!(browser.get("/save-large").await.status, StatusCode::OK);
    assert_eq!(browser.get("/get/large").await.text, large);
}

#[tokio::test]
async fn an_application_answers_in_its_own_way_where_a_change_is_refused() {
    let manager = testing::manager().0;
    let layer = SessionLayer::new(manager).on_error(|error: &EngineError, _: &axum::http::request::Parts| {
        let mut response = axum::response::Response::new("our own page".into());
        *response.status_mut() = StatusCode::from_u16(error.status()).unwrap();
        response
    });
    let app = routes().layer(TowerSessionsLayer::new()).layer(layer);
    let answer = Browser::new(&app).get("/large").await;
    assert_eq!((answer.status, answer.text.as_str()), (StatusCode::PAYLOAD_TOO_LARGE, "our own page"));
}

#[tokio::test]
async fn saved_changes_survive_a_failing_handler_and_others_do_not() {
    for app in [ours(), theirs()] {
        let mut browser = Browser::new(&app);
        browser.get("/set/first/x").await;
        browser.get("/save-then-fail").await;
        assert_eq!(browser.get("/get/a").await.text, "saved");
        assert_eq!(browser.get("/get/b").await.text, "");
    }
}

#[tokio::test]
async fn saving_after_the_response_is_an_error_here_and_works_there() {
    async fn later(build: impl FnOnce(Router) -> Router) -> (Result<(), String>, String) {
        let (send, mut receive) = mpsc::unbounded_channel();
        let keep = async move |session: Session| {
            session.get_value("a").await.unwrap();
            send.send(session).unwrap();
        };
        let app = build(routes().route("/keep", get(keep)));
        let mut browser = Browser::new(&app);
        browser.get("/set/a/one").await;
        browser.get("/keep").await;
        let session = receive.recv().await.unwrap();
        session.insert("a", "late").await.unwrap();
        let saved = session.save().await.map_err(|error| error.to_string());
        (saved, browser.get("/get/a").await.text)
    }
    let manager = testing::manager().0;
    let (saved, value) = later(|routes| ours_with(&manager, routes)).await;
    assert!(saved.unwrap_err().contains("headers were already sent"));
    assert_eq!(value, "one");
    let (saved, value) = later(theirs_of).await;
    assert_eq!((saved, value.as_str()), (Ok(()), "late"));
}

fn timed() -> (Router, ManualClock) {
    let clock = ManualClock::at_present();
    let builder = SessionManager::builder(Keyring::generate().unwrap(), MemoryStore::new()).insecure_dev();
    let hour = Duration::from_secs(3600);
    let manager = builder.clock(clock.clone()).idle_timeout(hour / 2).absolute_timeout(hour * 8).build().unwrap();
    let expires = |expiry: fn() -> Expiry| {
        get(async move |session: Session| {
            session.set_expiry(Some(expiry()));
            session.insert("a", "one").await.unwrap();
        })
    };
    let routes = routes()
        .route("/inactive/30d", expires(|| Expiry::OnInactivity(time::Duration::days(30))))
        .route("/inactive/1m", expires(|| Expiry::OnInactivity(time::Duration::minutes(1))))
        .route("/until/1h", expires(|| Expiry::AtDateTime(time::OffsetDateTime::now_utc() + time::Duration::hours(1))))
        .route("/session", expires(|| Expiry::OnSessionEnd));
    (ours_with(&manager, routes), clock)
}

#[tokio::test]
async fn on_inactivity_beyond_the_absolute_end_ends_there_all_the_same() {
    let (app, clock) = timed();
    let mut browser = Browser::new(&app);
    let set = browser.get("/inactive/30d").await;
    assert!(set.headers[header::SET_COOKIE].to_str().unwrap().contains("Max-Age"), "it outlives the browser");
    for _ in 0..7 {
        clock.advance(Duration::from_secs(3600));
        assert_eq!(browser.get("/get/a").await.text, "one", "the idle timeout is the longer one");
    }
    clock.advance(Duration::from_secs(3700));
    assert_eq!(browser.get("/get/a").await.text, "", "eight hours are over, although it was used every hour");
}

#[tokio::test]
async fn an_expiry_of_a_handler_holds_for_its_session() {
    let (app, clock) = timed();
    let (mut short, mut dated, mut plain) = (Browser::new(&app), Browser::new(&app), Browser::new(&app));
    short.get("/inactive/1m").await;
    dated.get("/until/1h").await;
    let set = plain.get("/session").await;
    assert!(!set.headers[header::SET_COOKIE].to_str().unwrap().contains("Max-Age"));
    clock.advance(Duration::from_secs(5 * 60));
    assert_eq!(short.get("/get/a").await.text, "");
    for _ in 0..2 {
        assert_eq!(dated.get("/get/a").await.text, "one");
        assert_eq!(plain.get("/get/a").await.text, "one");
        clock.advance(Duration::from_secs(29 * 60));
    }
    assert_eq!(dated.get("/get/a").await.text, "", "its hour is over");
    assert_eq!(plain.get("/get/a").await.text, "one");
}

#[tokio::test]
async fn the_id_is_the_handle_and_asking_for_it_is_no_look_at_the_session() {
    let (manager, _) = testing::manager();
    let native = get(async |session: secure_sessions_axum::Session| session.id().unwrap().to_string());
    let app = ours_with(&manager, routes().route("/handle", native));
    let mut browser = Browser::new(&app);
    assert_eq!(browser.get("/id").await.text, "", "nobody is there");
    browser.get("/set/a/one").await;
    let answer = browser.get("/id").await;
    assert!(!answer.headers.contains_key(header::VARY) && !answer.headers.contains_key(header::CACHE_CONTROL));
    assert_eq!(answer.text, browser.get("/handle").await.text);
    browser.get("/set/b/two").await;
    assert_eq!(browser.get("/id").await.text, answer.text, "a new cookie of the session is no new id");
    assert!(browser.get("/get/a").await.headers.contains_key(header::VARY));
}

/// A store that is down, and says how often it was asked.
struct Down(Arc<std::sync::atomic::AtomicUsize>, MemoryStore);

impl SessionStore for Down {
    secure_sessions_axum::store::forward_methods!(self => {
        self.0.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        &self.1
    }; insert, replace, renew_into, remove, remove_all, purge_expired, list, count);

    async fn load(
        &self,
        _: &secure_sessions_axum::store::SessionId,
    ) -> Result<Option<secure_sessions_axum::store::Entry>, StoreError> {
        self.0.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        Err(StoreError::Timeout)
    }
}

#[tokio::test]
async fn a_store_that_is_down_is_an_error_and_is_not_asked_by_who_does_not_look() {
    let keyring = Keyring::generate().unwrap();
    let build = |store| SessionManager::builder(keyring.clone(), store).insecure_dev().build().unwrap();
    let mut browser =
        Browser::new(&ours_with(&build(secure_sessions_axum::AnyStore::new(MemoryStore::new())), routes()));
    browser.get("/set/a/one").await;
    let asked = Arc::default();
    let down = build(secure_sessions_axum::AnyStore::new(Down(Arc::clone(&asked), MemoryStore::new())));
    let twice = get(async |session: Session| {
        let first = session.get_value("a").await.unwrap_err().to_string();
        let second = session.get_value("a").await.unwrap_err().to_string();
        format!("{first}; {second}")
    });
    let browser = Browser::with(&ours_with(&down, routes().route("/twice", twice)), &browser.cookie);
    assert_eq!(browser.send("/unseen").await.text, "unseen");
    assert!(!browser.send("/id").await.text.is_empty());
    assert_eq!(asked.load(std::sync::atomic::Ordering::SeqCst), 0);
    let answer = browser.send("/get/a").await;
    assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(answer.text.contains("did not answer in time"), "{}", answer.text);
    assert_eq!(answer.headers[header::CACHE_CONTROL], "no-store");
    assert!(!answer.sets_cookie(), "the cookie stays");
    let answer = browser.send("/twice").await;
    assert!(answer.text.contains("when this request's session was first asked for"), "{}", answer.text);
}

#[tokio::test]
async fn a_missing_session_layer_is_an_internal_error() {
    let app = routes().layer(TowerSessionsLayer::new());
    assert_eq!(Browser::new(&app).get("/unseen").await.status, StatusCode::INTERNAL_SERVER_ERROR);
}

#[tokio::test]
async fn what_the_native_session_changes_in_the_same_request_is_kept() {
    let both = get(async |native: secure_sessions_axum::Session, session: Session| {
        session.get_value("a").await.unwrap();
        native.insert("native", vec![0_u8, 1]).unwrap();
        native.insert("bytes", Bytes).unwrap();
        session.insert("peer", 2).await.unwrap();
        session.remove::<String>("a").await.unwrap();
    });
    let manager = testing::manager().0;
    let mut browser = Browser::new(&ours_with(&manager, routes().route("/both", both)));
    browser.get("/set/a/one").await;
    browser.get("/both").await;
    assert_eq!(browser.get("/keys").await.text, "bytes native peer");
    browser.get("/set/b/two").await;
    assert_eq!(browser.get("/keys").await.text, "b bytes native peer", "a value that is no JSON is left alone");
}

/// A value that JSON cannot hold.
struct Bytes;

impl serde::Serialize for Bytes {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&[0, 255])
    }
}
