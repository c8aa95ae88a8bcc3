//! Extractors of access where Axum has ways of its own; the acceptance suite runs the rest over real sockets.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::{Response, StatusCode, header};
use axum::middleware::{Next, from_fn, map_request};
use axum::routing::{get, post};
use axum::{Form, Router};
use secure_sessions_axum::{
    CsrfForm, Keyring, LoggedIn, MemoryStore, Session, SessionError, SessionExt, SessionLayer, SessionManager, testing,
};
use tower::ServiceExt;

async fn get_page(app: &Router, path: &str, cookie: Option<&str>) -> Response<Body> {
    let mut request = Request::get(path).header(header::ACCEPT, "text/html");
    if let Some(cookie) = cookie {
        request = request.header(header::COOKIE, cookie);
    }
    app.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
}

#[tokio::test]
async fn the_way_back_from_a_nested_router_has_its_whole_path() {
    let builder = SessionManager::builder(Keyring::generate().unwrap(), MemoryStore::new()).insecure_dev();
    let layer = SessionLayer::new(builder.login_url("/login").build().unwrap());
    let shop = Router::new().route("/orders", get(async |user: LoggedIn| user.subject().to_owned()));
    let app = Router::new().nest("/shop", shop).layer(layer);
    let response = get_page(&app, "/shop/orders?page=2", None).await;
    assert_eq!(response.status(), StatusCode::SEE_OTHER);
    assert_eq!(response.headers()[header::LOCATION], "/login?next=/shop/orders%3Fpage%3D2");
    assert_eq!(response.headers()[header::CACHE_CONTROL], "no-store");
}

async fn untouched(request: Request) -> Request {
    request.untouched();
    request
}

async fn look(session: Session, request: Request, next: Next) -> Result<Response<Body>, SessionError> {
    session.get::<u64>("n")?;
    Ok(next.run(request).await)
}

#[tokio::test]
async fn a_route_is_untouched_although_a_middleware_looks_at_the_session() {
    let (manager, clock) = testing::manager();
    let cookie = testing::session(&manager).login("alice").cookie().await.unwrap();
    let page = || Router::new().route("/", get(async |user: LoggedIn| user.subject().to_owned()));
    let (poll, plain) = (page().layer(from_fn(look)).layer(map_request(untouched)), page());
    let app = Router::new().nest("/poll", poll).nest("/plain", plain).layer(SessionLayer::new(manager.clone()));
    for (path, lives) in [("/plain", true), ("/poll", false)] {
        for _ in 0..2 {
            clock.advance(Duration::from_secs(17 * 60));
            assert!(get_page(&app, path, Some(&cookie)).await.headers().get(header::LOCATION).is_none());
        }
        assert_eq!(testing::look(&manager, &cookie).await.unwrap().is_new(), !lives, "{path}");
    }
    assert!(get_page(&page(), "/", None).await.status().is_server_error(), "without a layer nothing panics");
}

/// A form that takes no field that it does not know.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Payment {
    amount: u64,
}

#[tokio::test]
async fn a_strict_form_does_not_see_the_token_and_errors_are_those_of_axum() {
    let (manager, _) = testing::manager();
    let (cookie, token) = testing::session(&manager).cookie_and_csrf_token().await.unwrap();
    let app = Router::new()
        .route("/csrf", post(async |form: CsrfForm<Payment>| form.amount.to_string()))
        .route("/plain", post(async |Form(form): Form<Payment>| form.amount.to_string()))
        .layer(SessionLayer::new(manager));
    let send = async |path: &str, kind: &str, body: String| {
        let request = Request::post(path).header(header::COOKIE, &cookie).header(header::CONTENT_TYPE, kind);
        let request = request.header(header::CONTENT_LENGTH, body.len());
        let response = app.clone().oneshot(request.body(Body::from(body)).unwrap()).await.unwrap();
        let status = response.status();
        (status, axum::body::to_bytes(response.into_body(), 1 << 16).await.unwrap())
    };
    let urlencoded = "application/x-www-form-urlencoded";
    let with = |fields: &str| format!("csrf_token={token}&{fields}");
    assert_eq!(send("/csrf", urlencoded, with("amount=7")).await, (StatusCode::OK, "7".into()));
    for (kind, fields) in [(urlencoded, "amount=x"), (urlencoded, "amount=7&more=1"), ("text/plain", "amount=7")] {
        let plain = send("/plain", kind, fields.to_owned()).await;
        assert!(plain.0.is_client_error());
        assert_eq!(send("/csrf", kind, with(fields)).await, plain);
    }
    let large = "x".repeat(3 << 20);
    assert_eq!(send("/csrf", urlencoded, with(&large)).await.0, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn a_form_without_fields_is_a_unit_and_needs_its_token() {
    let (manager, _) = testing::manager();
    let (cookie, token) = testing::session(&manager).login("alice").cookie_and_csrf_token().await.unwrap();
    let log_out = async |CsrfForm { session, .. }: CsrfForm<()>| session.logout();
    let app = Router::new().route("/", post(log_out)).layer(SessionLayer::new(manager.clone()));
    for (body, status, is_over) in [("", 403, false), (&*format!("csrf_token={token}"), 200, true)] {
        let request = Request::post("/").header(header::COOKIE, &cookie);
        let request = request.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        let response = app.clone().oneshot(request.body(Body::from(body.to_owned())).unwrap()).await.unwrap();
        assert_eq!(response.status(), status);
        assert_eq!(testing::look(&manager, &cookie).await.unwrap().subject().is_none(), is_over);
    }
}
