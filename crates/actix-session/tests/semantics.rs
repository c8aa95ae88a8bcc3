//! Compares a `Session` on ours with one on actix-session's own middleware, side by side.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use actix_session_0_11::storage::{self, LoadError, SaveError, SessionKey, UpdateError, generate_session_key};
use actix_session_0_11::{Session, SessionMiddleware as Theirs};
use actix_web::cookie::Key;
use actix_web::cookie::time::Duration;
use actix_web::dev::{Service, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::test::init_service;
use actix_web::{App, HttpResponse, Responder, get, web};
use futures_util::future::join;
use secure_sessions_actix::store::{Entry, SessionId, forward_methods};
use secure_sessions_actix::{
    AnyStore, Keyring, MemoryStore, SessionManager, SessionMiddleware, SessionStore, StoreError, testing,
};
use secure_sessions_actix_session::v0_11::ActixSessionMiddleware;
use serde_json::{Value, json};
use support::Browser;
use tokio::sync::Barrier;

/// actix-session publishes stores in the cookie and in Redis. This one keeps whole records under random keys, as that
/// in Redis does.
#[derive(Clone, Default)]
struct Records(Rc<RefCell<HashMap<String, HashMap<String, String>>>>);

impl storage::SessionStore for Records {
    async fn load(&self, key: &SessionKey) -> Result<Option<HashMap<String, String>>, LoadError> {
        Ok(self.0.borrow().get(key.as_ref()).cloned())
    }

    async fn save(&self, state: HashMap<String, String>, _: &Duration) -> Result<SessionKey, SaveError> {
        let key = generate_session_key();
        self.0.borrow_mut().insert(key.as_ref().to_owned(), state);
        Ok(key)
    }

    async fn update(
        &self,
        key: SessionKey,
        state: HashMap<String, String>,
        _: &Duration,
    ) -> Result<SessionKey, UpdateError> {
        self.0.borrow_mut().insert(key.as_ref().to_owned(), state);
        Ok(key)
    }

    async fn update_ttl(&self, _: &SessionKey, _: &Duration) -> Result<(), anyhow::Error> {
        Ok(())
    }

    async fn delete(&self, key: &SessionKey) -> Result<(), anyhow::Error> {
        self.0.borrow_mut().remove(key.as_ref());
        Ok(())
    }
}

#[get("/set/{key}/{value}")]
async fn set(path: web::Path<(String, String)>, session: Session) -> impl Responder {
    let (key, value) = path.into_inner();
    session.insert(key, value).unwrap();
    "set"
}

#[get("/get/{key}")]
async fn one_value(key: web::Path<String>, session: Session) -> String {
    session.get(&key).unwrap().unwrap_or_default()
}

#[get("/remove/{key}")]
async fn remove(key: web::Path<String>, session: Session) -> String {
    session.remove(&key).unwrap_or_default()
}

#[get("/clear")]
async fn clear(session: Session) -> &'static str {
    session.clear();
    "cleared"
}

#[get("/renew")]
async fn renew(session: Session) -> &'static str {
    session.renew();
    "renewed"
}

#[get("/change-then-fail")]
async fn change_then_fail(session: Session) -> HttpResponse {
    session.insert("a", "changed").unwrap();
    session.renew();
    HttpResponse::InternalServerError().finish()
}

#[get("/purge-then-insert")]
async fn purge_then_insert(session: Session) -> &'static str {
    session.purge();
    session.insert("a", "after").unwrap();
    "purged"
}

#[get("/large")]
async fn large(session: Session) -> &'static str {
    session.insert("small", 1).unwrap();
    session.insert("large", "x".repeat(10_000)).unwrap();
    "large"
}

#[get("/json")]
async fn put_json(session: Session) -> &'static str {
    session.insert("json", everything()).unwrap();
    "put"
}

#[get("/json-is-back")]
async fn json_is_back(session: Session) -> String {
    (session.get::<Value>("json").unwrap() == Some(everything())).to_string()
}

#[get("/status")]
async fn status(session: Session) -> String {
    format!("{:?}", session.status())
}

#[get("/native")]
async fn native(
    native: secure_sessions_actix::Session,
    session: Session,
) -> Result<String, secure_sessions_actix::SessionError> {
    native.insert("native", 1_u64)?;
    session.insert("peer", 2_u64).unwrap();
    Ok(native.keys().join(" "))
}

#[get("/cross/{key}")]
async fn cross(key: web::Path<String>, session: Session, barrier: web::Data<Barrier>) -> &'static str {
    barrier.wait().await;
    session.insert(key.into_inner(), "here").unwrap();
    barrier.wait().await;
    "crossed"
}

fn everything() -> Value {
    json!({"list": [1, -1, 1.5, 1e300, u64::MAX, i64::MIN], "text": "Ä €", "none": null, "yes": true, "deep": [[{}]]})
}

macro_rules! application {
    ($($wrap:expr),+) => {{
        let routes = (set, one_value, remove, clear, renew, change_then_fail, purge_then_insert, large, put_json);
        let app = App::new().service(routes).service((json_is_back, status, native, cross));
        let app = app.app_data(web::Data::new(Barrier::new(2)));
        init_service(app$(.wrap($wrap))+.wrap_fn(|request, service| {
            let called = service.call(request);
            async { Ok(called.await?.map_into_boxed_body()) }
        }))
        .await
    }};
}

async fn ours() -> impl Service<actix_http::Request, Response = ServiceResponse, Error = actix_web::Error> {
    application!(ActixSessionMiddleware::new(), SessionMiddleware::new(testing::manager().0))
}

async fn theirs() -> impl Service<actix_http::Request, Response = ServiceResponse, Error = actix_web::Error> {
    application!(Theirs::new(Records::default(), Key::generate()))
}

async fn keeps_changes_and_removes<S>(app: &S)
where
    S: Service<actix_http::Request, Response = ServiceResponse, Error = actix_web::Error>,
{
    let mut browser = Browser::default();
    assert!(!browser.get(app, "/get/a").await.sets_cookie());
    assert!(browser.get(app, "/set/a/one").await.sets_cookie());
    browser.get(app, "/set/b/two").await;
    assert_eq!(browser.get(app, "/get/a").await.text, "one");
    assert_eq!(browser.get(app, "/remove/a").await.text, "\"one\"");
    assert_eq!(browser.get(app, "/get/a").await.text, "");
    assert_eq!(browser.get(app, "/get/b").await.text, "two");
    browser.get(app, "/clear").await;
    assert_eq!(browser.get(app, "/get/b").await.text, "");
    browser.get(app, "/json").await;
    assert_eq!(browser.get(app, "/json-is-back").await.text, "true");
}

#[actix_web::test]
async fn values_are_kept_changed_and_removed_on_both() {
    keeps_changes_and_removes(&ours().await).await;
    keeps_changes_and_removes(&theirs().await).await;
}

#[actix_web::test]
async fn an_unchanged_session_sets_no_cookie_and_an_equal_value_changes_nothing() {
    let app = ours().await;
    let mut browser = Browser::default();
    browser.get(&app, "/set/a/one").await;
    assert!(!browser.get(&app, "/get/a").await.sets_cookie());
    assert!(!browser.get(&app, "/set/a/one").await.sets_cookie());
}

/// Two requests with one cookie are both in their handlers before either of them writes.
async fn crossing<S>(app: &S) -> (String, String)
where
    S: Service<actix_http::Request, Response = ServiceResponse, Error = actix_web::Error>,
{
    let mut browser = Browser::default();
    browser.get(app, "/set/first/x").await;
    let (one, other) = join(browser.send(app, "/cross/a"), browser.send(app, "/cross/b")).await;
    browser.take(&one);
    browser.take(&other);
    (browser.get(app, "/get/a").await.text, browser.get(app, "/get/b").await.text)
}

#[actix_web::test]
async fn two_requests_with_different_keys_are_merged_here_and_one_is_lost_there() {
    let (a, b) = crossing(&ours().await).await;
    assert_eq!((a.as_str(), b.as_str()), ("here", "here"));
    let (a, b) = crossing(&theirs().await).await;
    assert!(a.is_empty() || b.is_empty(), "theirs writes the whole record: {a:?} {b:?}");
}

async fn after_a_failure<S>(app: &S) -> String
where
    S: Service<actix_http::Request, Response = ServiceResponse, Error = actix_web::Error>,
{
    let mut browser = Browser::default();
    browser.get(app, "/set/a/one").await;
    assert_eq!(browser.get(app, "/change-then-fail").await.status, StatusCode::INTERNAL_SERVER_ERROR);
    browser.get(app, "/get/a").await.text
}

#[actix_web::test]
async fn what_a_failing_handler_changed_is_discarded_here_and_kept_there() {
    assert_eq!(after_a_failure(&ours().await).await, "one");
    assert_eq!(after_a_failure(&theirs().await).await, "changed");
}

async fn renews<S>(app: &S)
where
    S: Service<actix_http::Request, Response = ServiceResponse, Error = actix_web::Error>,
{
    let mut browser = Browser::default();
    browser.get(app, "/set/a/one").await;
    let old = browser.clone();
    browser.get(app, "/renew").await;
    assert_eq!(browser.get(app, "/get/a").await.text, "one");
    assert_eq!(old.send(app, "/get/a").await.text, "");
}

#[actix_web::test]
async fn a_renewal_keeps_the_data_and_refuses_the_old_cookie_on_both() {
    renews(&ours().await).await;
    renews(&theirs().await).await;
}

async fn purges<S>(app: &S)
where
    S: Service<actix_http::Request, Response = ServiceResponse, Error = actix_web::Error>,
{
    let mut browser = Browser::default();
    browser.get(app, "/set/a/before").await;
    let old = browser.clone();
    browser.get(app, "/purge-then-insert").await;
    assert_eq!(browser.cookie, "");
    assert_eq!(old.send(app, "/get/a").await.text, "");
}

#[actix_web::test]
async fn a_purge_ends_the_session_and_ignores_what_is_inserted_after_on_both() {
    purges(&ours().await).await;
    purges(&theirs().await).await;
}

#[actix_web::test]
async fn a_value_of_10_kb_is_refused_with_413_and_changes_nothing() {
    let (ours, theirs) = (ours().await, theirs().await);
    let mut browser = Browser::default();
    browser.get(&ours, "/set/a/one").await;
    let answer = browser.get(&ours, "/large").await;
    assert_eq!((answer.status, answer.sets_cookie()), (StatusCode::PAYLOAD_TOO_LARGE, false));
    assert_eq!(browser.get(&ours, "/get/a").await.text, "one");
    assert_eq!(browser.get(&ours, "/remove/small").await.text, "", "the small value is not kept either");
    assert_eq!(Browser::default().get(&theirs, "/large").await.status, StatusCode::OK);
}

#[actix_web::test]
async fn an_application_answers_in_its_own_way_where_a_change_is_refused() {
    let middleware = SessionMiddleware::new(testing::manager().0)
        .on_error(|error, _| HttpResponse::build(StatusCode::from_u16(error.status()).unwrap()).body("our own page"));
    let app = application!(ActixSessionMiddleware::new(), middleware);
    let answer = Browser::default().get(&app, "/large").await;
    assert_eq!((answer.status, answer.text.as_str()), (StatusCode::PAYLOAD_TOO_LARGE, "our own page"));
}

#[actix_web::test]
async fn a_value_of_8_kb_stays_in_a_session_of_actix_session() {
    let store = MemoryStore::new();
    let builder = SessionManager::builder(Keyring::generate().unwrap(), store.clone()).insecure_dev();
    let manager = builder.vault(store).spill_over(1024).build().unwrap();
    let app = application!(ActixSessionMiddleware::new(), SessionMiddleware::new(manager));
    let mut browser = Browser::default();
    assert_eq!(browser.get(&app, "/large").await.status, StatusCode::OK);
    assert!(browser.cookie.len() < 1000, "the cookie has {} bytes", browser.cookie.len());
    for _ in 0..2 {
        assert!(browser.get(&app, "/get/large").await.text.contains(&"x".repeat(10_000)));
        browser.get(&app, "/set/a/one").await;
    }
    browser.get(&app, "/remove/large").await;
    assert!(!browser.get(&app, "/get/large").await.text.contains("xx"));
}

async fn statuses<S>(app: &S) -> [String; 2]
where
    S: Service<actix_http::Request, Response = ServiceResponse, Error = actix_web::Error>,
{
    let mut browser = Browser::default();
    let anonymous = browser.get(app, "/status").await.text;
    browser.get(app, "/set/a/one").await;
    [anonymous, browser.get(app, "/status").await.text]
}

#[actix_web::test]
async fn the_status_of_a_session_with_data_is_changed_from_the_start_here() {
    assert_eq!(statuses(&ours().await).await, ["Unchanged", "Changed"]);
    assert_eq!(statuses(&theirs().await).await, ["Unchanged", "Unchanged"]);
}

#[actix_web::test]
async fn what_the_native_session_changes_in_the_same_request_is_kept() {
    let app = ours().await;
    let mut browser = Browser::default();
    browser.get(&app, "/native").await;
    assert_eq!(browser.get(&app, "/native").await.text, "native peer");
}

#[actix_web::test]
async fn a_missing_session_middleware_is_an_internal_error() {
    let app = application!(ActixSessionMiddleware::new());
    assert_eq!(Browser::default().get(&app, "/get/a").await.status, StatusCode::INTERNAL_SERVER_ERROR);
}

/// A store that takes what is written, and does not answer what is asked.
struct Down(MemoryStore);

impl SessionStore for Down {
    forward_methods!(self => &self.0; insert, replace, renew_into, remove, remove_all, purge_expired, list, count);

    async fn load(&self, _: &SessionId) -> Result<Option<Entry>, StoreError> {
        Err(StoreError::Timeout)
    }
}

#[actix_web::test]
async fn a_store_that_is_down_is_a_503_and_the_cookie_stays() {
    let keyring = Keyring::generate().unwrap();
    let build = |store| SessionManager::builder(keyring.clone(), store).insecure_dev().build().unwrap();
    let (up, down) = (build(AnyStore::new(MemoryStore::new())), build(AnyStore::new(Down(MemoryStore::new()))));
    let up = application!(ActixSessionMiddleware::new(), SessionMiddleware::new(up));
    let mut browser = Browser::default();
    browser.get(&up, "/set/a/one").await;
    let down = application!(ActixSessionMiddleware::new(), SessionMiddleware::new(down));
    let answer = browser.get(&down, "/get/a").await;
    assert_eq!((answer.status, answer.sets_cookie()), (StatusCode::SERVICE_UNAVAILABLE, false));
    assert!(answer.text.contains("not available"), "{}", answer.text);
}
