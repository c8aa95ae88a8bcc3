//! The way of a visitor through the example.

use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::header::{CONTENT_TYPE, COOKIE, SET_COOKIE};
use axum::http::{Request, StatusCode};
use axum::response::Response;
use secure_sessions_axum::testing;
use tower::ServiceExt;

use super::*;

async fn get(app: &Router, cookie: &str) -> Response {
    let request = Request::get("/").header(COOKIE, cookie).body(Body::empty()).unwrap();
    app.clone().oneshot(request).await.unwrap()
}

async fn post(app: &Router, path: &str, cookie: &str, form: &'static str) -> Response {
    let request = Request::post(path).header(COOKIE, cookie).header(CONTENT_TYPE, "application/x-www-form-urlencoded");
    app.clone().oneshot(request.body(Body::from(form)).unwrap()).await.unwrap()
}

async fn text(response: Response) -> String {
    assert_eq!(response.status(), StatusCode::OK);
    String::from_utf8(to_bytes(response.into_body(), 10_000).await.unwrap().into()).unwrap()
}

fn cookie(response: &Response) -> String {
    response.headers()[SET_COOKIE].to_str().unwrap().split(';').next().unwrap().to_owned()
}

#[tokio::test]
async fn a_visitor_gets_no_cookie_before_a_name_and_is_forgotten_on_request() {
    let (manager, _clock) = testing::manager();
    let app = app(manager);
    let response = get(&app, "").await;
    assert!(!response.headers().contains_key(SET_COOKIE));
    assert!(text(response).await.contains("Who are you?"));

    let cookie = cookie(&post(&app, "/name", "", "name=%3CAda").await);
    let response = get(&app, &cookie).await;
    let newer = self::cookie(&response);
    assert!(text(response).await.contains("Hello &lt;Ada, this is visit number 1."));
    // The browser missed that answer and comes with the older cookie: it is not set back.
    assert!(text(get(&app, &cookie).await).await.contains("visit number 2."));

    assert_eq!(post(&app, "/forget", &newer, "").await.status(), StatusCode::SEE_OTHER);
    assert!(text(get(&app, &newer).await).await.contains("Who are you?"));
}

#[tokio::test]
async fn a_visitor_who_stays_away_for_half_an_hour_is_asked_again() {
    let (manager, clock) = testing::manager();
    let app = app(manager.clone());
    let cookie = testing::session(&manager).insert("name", "Ada").insert("visits", 6).cookie().await.unwrap();
    clock.advance(Duration::from_secs(29 * 60));
    let response = get(&app, &cookie).await;
    let cookie = self::cookie(&response);
    assert!(text(response).await.contains("Hello Ada, this is visit number 7."));
    clock.advance(Duration::from_secs(32 * 60));
    assert!(text(get(&app, &cookie).await).await.contains("Who are you?"));
}
