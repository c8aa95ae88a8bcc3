//! The additions of the tower layer and the extractors to the engine: its rules run over real sockets in the
//! acceptance suite.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::convert::Infallible;

use axum::body::Body;
use axum::extract::Request;
use axum::http::request::Parts;
use axum::http::{HeaderMap, Response, StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Router, http};
use secure_sessions_axum::{
    EngineError, Keyring, ManualClock, MemoryStore, Session, SessionError, SessionExt, SessionLayer, SessionManager,
    SessionStore, StoreError, Typed,
};
use serde::{Deserialize, Serialize};
use tower::{ServiceBuilder, ServiceExt, service_fn};

fn manager_named(name: &str, store: &MemoryStore) -> SessionManager {
    SessionManager::builder(Keyring::generate().unwrap(), store.clone())
        .insecure_dev()
        .cookie_name(name)
        .build()
        .unwrap()
}

fn manager() -> SessionManager {
    manager_named("session", &MemoryStore::new())
}

fn request(cookie: Option<&str>) -> Request {
    let mut request = Request::new(Body::empty());
    if let Some(cookie) = cookie {
        request.headers_mut().insert(header::COOKIE, cookie.parse().unwrap());
    }
    request
}

/// `name=value` of each `Set-Cookie`.
fn cookies(headers: &HeaderMap) -> Vec<String> {
    let values = headers.get_all(header::SET_COOKIE).iter();
    values.map(|value| value.to_str().unwrap().split(';').next().unwrap().to_owned()).collect()
}

async fn text(response: Response<Body>) -> String {
    let bytes = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
    String::from_utf8(bytes.to_vec()).unwrap()
}

async fn count(session: Session) -> Result<String, SessionError> {
    let n = session.update("n", |n: &mut u64| {
        *n += 1;
        *n
    })?;
    Ok(n.to_string())
}

#[tokio::test]
async fn a_counter_counts_and_the_cookie_is_sensitive() {
    let app = Router::new().route("/", get(count)).layer(SessionLayer::new(manager()));
    let first = app.clone().oneshot(request(None)).await.unwrap();
    assert!(first.headers()[header::SET_COOKIE].is_sensitive());
    assert_eq!(first.headers()[header::CACHE_CONTROL], "no-store");
    assert_eq!(first.headers()[header::VARY], "Cookie");
    let cookie = cookies(first.headers()).remove(0);
    let second = app.oneshot(request(Some(&cookie))).await.unwrap();
    assert_eq!(text(second).await, "2");
}

#[tokio::test]
async fn a_missing_layer_is_explained_by_the_error_and_to_developers() {
    let app = Router::new().route("/", get(count));
    let response = app.oneshot(request(None)).await.unwrap();
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    let text = text(response).await;
    // A test of a release build has no developer for a client.
    let explained = text.contains(".layer(SessionLayer::new(manager))");
    assert!(if cfg!(debug_assertions) { explained } else { text == "Internal server error." }, "{text}");
    let error = request(None).session().await.unwrap_err();
    assert!(error.to_string().contains(".layer(SessionLayer::new(manager))"), "{error}");
}

/// A store that is down.
struct Down;

impl SessionStore for Down {
    secure_sessions_axum::store::forward_methods!(self => Err::<&MemoryStore, _>(StoreError::Timeout)?;
        insert, load, replace, renew_into, remove, list, count, remove_all, purge_expired);
}

#[tokio::test]
async fn an_optional_session_is_none_without_a_layer_and_503_without_a_store() {
    let app = || Router::new().route("/", get(async |session: Option<Session>| session.is_some().to_string()));
    assert_eq!(text(app().oneshot(request(None)).await.unwrap()).await, "false");
    let there = app().layer(SessionLayer::new(manager()));
    assert_eq!(text(there.oneshot(request(None)).await.unwrap()).await, "true");

    let (seal, fingerprint) = Keyring::generate_texts().unwrap();
    let ring = || Keyring::from_text(&seal, &fingerprint, "").unwrap();
    let up = SessionManager::builder(ring(), MemoryStore::new()).insecure_dev().build().unwrap();
    let cookie = secure_sessions_axum::testing::session(&up).login("alice").cookie().await.unwrap();
    let down = SessionManager::builder(ring(), Down).insecure_dev().build().unwrap();
    let response = app().layer(SessionLayer::new(down)).oneshot(request(Some(&cookie))).await.unwrap();
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE, "and not a user who is not logged in");
}

#[tokio::test]
async fn nested_layers_of_one_manager_share_a_session_and_of_two_have_their_own() {
    let store = MemoryStore::new();
    let (shop, staff) = (manager_named("shop", &store), manager_named("staff", &MemoryStore::new()));
    let inner = Router::new().route("/", get(count)).layer(SessionLayer::new(shop.clone()));
    let app = inner.layer(from_fn(count_in_middleware)).layer(SessionLayer::new(shop));
    let response = app.oneshot(request(None)).await.unwrap();
    assert_eq!(cookies(response.headers()).len(), 1);
    assert_eq!(text(response).await, "2", "middleware and handler changed one session");
    assert_eq!(store.count().await.unwrap(), 1);

    let inner = Router::new().route("/", get(count)).layer(SessionLayer::new(staff));
    let app = inner.layer(from_fn(count_in_middleware)).layer(SessionLayer::new(manager_named("shop", &store)));
    let response = app.oneshot(request(None)).await.unwrap();
    let names: Vec<_> = cookies(response.headers()).iter().map(|c| c.split('=').next().unwrap().to_owned()).collect();
    assert_eq!(names, ["staff", "shop"]);
    assert_eq!(text(response).await, "1");
}

async fn count_in_middleware(request: Request, next: Next) -> Result<impl IntoResponse, SessionError> {
    let session = request.session().await?;
    session.update("n", |n: &mut u64| *n += 1)?;
    Ok(next.run(request).await)
}

#[tokio::test]
async fn the_layer_wraps_a_tower_service_that_is_neither_clone_nor_send_nor_axum() {
    let not_send = std::rc::Rc::new(());
    let service = ServiceBuilder::new().layer(SessionLayer::new(manager())).service(service_fn(
        move |request: http::Request<String>| {
            let _held = std::rc::Rc::clone(&not_send);
            async move {
                let session = request.session().await.unwrap();
                session.insert("n", 1).unwrap();
                Ok::<_, Infallible>(http::Response::new(String::new()))
            }
        },
    ));
    let response = service.oneshot(http::Request::new(String::new())).await.unwrap();
    assert_eq!(cookies(response.headers()).len(), 1);
}

/// Changes the session, and may log out; then never answers.
async fn hang(session: Session, request: Request) -> Result<(), SessionError> {
    session.insert("n", 1)?;
    if request.uri().path() == "/logout" {
        session.logout()?;
    }
    std::future::pending().await
}

async fn timed_out(request: Request, next: Next) -> Response<Body> {
    let answer = tokio::time::timeout(std::time::Duration::from_millis(20), next.run(request)).await;
    answer.unwrap_or_else(|_| StatusCode::REQUEST_TIMEOUT.into_response())
}

#[tokio::test]
async fn a_timeout_inside_discards_half_of_the_work_and_keeps_a_logout() {
    let store = MemoryStore::new();
    let app = Router::new()
        .route("/login", get(|session: Session| async move { session.login("alice") }))
        .route("/hang", get(hang))
        .route("/logout", get(hang))
        .route("/n", get(|session: Session| async move { session.contains_key("n").to_string() }))
        .layer(from_fn(timed_out))
        .layer(SessionLayer::new(manager_named("session", &store)));
    let get = async |path: &str, cookie: Option<&str>| {
        let mut request = request(cookie);
        *request.uri_mut() = path.parse().unwrap();
        app.clone().oneshot(request).await.unwrap()
    };
    let cookie = cookies(get("/login", None).await.headers()).remove(0);
    let response = get("/hang", Some(&cookie)).await;
    assert_eq!(response.status(), StatusCode::REQUEST_TIMEOUT);
    assert!(cookies(response.headers()).is_empty());
    assert_eq!(text(get("/n", Some(&cookie)).await).await, "false");
    let response = get("/logout", Some(&cookie)).await;
    assert_eq!(response.status(), StatusCode::REQUEST_TIMEOUT);
    assert_eq!(cookies(response.headers()), ["session="]);
    assert_eq!(store.count().await.unwrap(), 0);
}

#[tokio::test]
async fn a_dead_token_revokes_unless_the_body_may_have_been_held_back() {
    let streamed = || Body::from_stream(futures_util::stream::iter([Ok::<_, Infallible>("x")]));
    let declared = |length: &'static str| Some((header::CONTENT_LENGTH, length));
    let chunked = Some((header::TRANSFER_ENCODING, "chunked"));
    let (http1, http2) = (http::Version::HTTP_11, http::Version::HTTP_2);
    for (version, body, head, revokes) in [
        (http1, Body::empty(), None, true),
        (http1, Body::empty(), declared("0"), true),
        (http1, streamed(), declared("9"), true),
        (http1, streamed(), declared("999999"), false),
        (http1, streamed(), chunked, false),
        (http2, Body::empty(), None, true),
        (http2, Body::from("whole"), None, true),
        (http2, streamed(), None, false),
    ] {
        let (store, clock) = (MemoryStore::new(), ManualClock::at_present());
        let builder = SessionManager::builder(Keyring::generate().unwrap(), store.clone()).insecure_dev();
        let manager = builder.clock(clock.clone()).build().unwrap();
        let app = Router::new().route("/", get(count).post(count)).layer(SessionLayer::new(manager));
        let mut presented = cookies(app.clone().oneshot(request(None)).await.unwrap().headers()).remove(0);
        let dead = presented.clone();
        for _ in 0..3 {
            clock.advance(std::time::Duration::from_secs(61));
            let response = app.clone().oneshot(request(Some(&presented))).await.unwrap();
            presented = cookies(response.headers()).remove(0);
        }
        clock.advance(std::time::Duration::from_secs(61));
        let mut replay = request(Some(&dead));
        *replay.method_mut() = http::Method::POST;
        *replay.version_mut() = version;
        if let Some((name, value)) = &head {
            replay.headers_mut().insert(name, value.parse().unwrap());
        }
        *replay.body_mut() = body;
        app.clone().oneshot(replay).await.unwrap();
        let next = app.oneshot(request(Some(&presented))).await.unwrap();
        assert_eq!(text(next).await, if revokes { "1" } else { "5" }, "{version:?} {head:?}");
    }
}

#[tokio::test]
async fn a_service_error_discards_changes_and_keeps_a_logout() {
    let store = MemoryStore::new();
    let manager = manager_named("session", &store);
    let login = Router::new()
        .route("/", get(|session: Session| async move { session.login("alice") }))
        .layer(SessionLayer::new(manager.clone()));
    let cookie = cookies(login.oneshot(request(None)).await.unwrap().headers()).remove(0);
    for logs_out in [false, true] {
        let service = ServiceBuilder::new().layer(SessionLayer::new(manager.clone())).service(service_fn(
            move |request: Request| async move {
                let session = request.session().await.unwrap();
                session.insert("n", 1).unwrap();
                if logs_out {
                    session.logout().unwrap();
                }
                Err::<http::Response<Body>, _>("broken")
            },
        ));
        assert_eq!(service.oneshot(request(Some(&cookie))).await.unwrap_err(), "broken");
        assert_eq!(store.count().await.unwrap(), u64::from(!logs_out));
    }
}

#[tokio::test]
async fn a_commit_that_fails_replaces_the_response_with_the_applications_own() {
    let manager = manager();
    let app = Router::new()
        .route("/login", get(|session: Session| async move { session.login("alice") }))
        .route("/slow", get(revoked_meanwhile))
        .layer(SessionLayer::new(manager.clone()).on_error(|error: &EngineError, head: &Parts| {
            let page = format!("our own page for {} {}", head.method, head.uri);
            (StatusCode::from_u16(error.status()).unwrap(), page).into_response()
        }))
        .layer(axum::Extension(manager));
    let mut login = request(None);
    *login.uri_mut() = "/login".parse().unwrap();
    let cookie = cookies(app.clone().oneshot(login).await.unwrap().headers()).remove(0);
    let mut slow = request(Some(&cookie));
    *slow.uri_mut() = "/slow?a=b".parse().unwrap();
    let response = app.oneshot(slow).await.unwrap();
    assert_eq!(response.status(), StatusCode::CONFLICT);
    assert!(cookies(response.headers()).is_empty());
    assert_eq!(text(response).await, "our own page for GET /slow?a=b");
}

async fn revoked_meanwhile(
    manager: axum::Extension<SessionManager>,
    session: Session,
) -> Result<&'static str, SessionError> {
    session.insert("n", 1)?;
    manager.revoke_subject("alice").await?;
    Ok("done")
}

#[derive(Default, Serialize, Deserialize)]
struct Cart {
    items: Vec<String>,
    note: Option<String>,
}

#[derive(Default, Serialize, Deserialize)]
struct Count {
    n: u64,
}

#[tokio::test]
async fn typed_views_and_keyed_access_change_one_session_side_by_side() {
    async fn handler(mut cart: Typed<Cart>, mut count: Typed<Count>, session: Session) -> Result<String, SessionError> {
        cart.update(|cart| cart.items.push("book".to_owned()))?;
        count.update(|count| count.n += 1)?;
        session.insert("other", true)?;
        assert_eq!(session.get::<Vec<String>>("items")?, Some(cart.items.clone()));
        assert!(cart.note.is_none());
        Ok(format!("{} {}", cart.items.len(), count.n))
    }
    let app = Router::new().route("/", get(handler)).layer(SessionLayer::new(manager()));
    let first = app.clone().oneshot(request(None)).await.unwrap();
    let cookie = cookies(first.headers()).remove(0);
    assert_eq!(text(first).await, "1 1");
    let second = app.oneshot(request(Some(&cookie))).await.unwrap();
    assert_eq!(text(second).await, "2 2");
}

#[tokio::test]
async fn a_panic_commits_nothing() {
    let store = MemoryStore::new();
    let app = Router::new()
        .route(
            "/",
            get(|session: Session| async move {
                session.insert("n", 1).unwrap();
                panic!("on purpose");
                #[allow(unreachable_code, reason = "tells the handler's type")]
                ""
            }),
        )
        .layer(SessionLayer::new(manager_named("session", &store)));
    let panicked = tokio::spawn(app.oneshot(request(None))).await.unwrap_err();
    assert!(panicked.is_panic());
    assert_eq!(store.count().await.unwrap(), 0);
}
