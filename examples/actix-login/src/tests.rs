//! The way of a user through the example.

use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header::{COOKIE, LOCATION, SET_COOKIE};
use actix_web::test::{TestRequest, call_and_read_body, call_service, init_service, read_body};
use secure_sessions_actix::testing;

use super::*;

#[actix_web::test]
async fn the_page_is_shown_only_after_the_right_password_and_until_logout() {
    let (manager, _clock) = testing::manager();
    let app = init_service(App::new().configure(routes).wrap(SessionMiddleware::new(manager))).await;

    let response = call_service(&app, TestRequest::get().uri("/").to_request()).await;
    assert_eq!(response.headers().get(LOCATION).unwrap(), "/login");

    let sent = |password| TestRequest::post().uri("/login").set_form([("name", "alice"), ("password", password)]);
    let response = call_service(&app, sent("builder").to_request()).await;
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    assert!(!response.headers().contains_key(SET_COOKIE));

    let response = call_service(&app, sent("wonderland").to_request()).await;
    assert_eq!(response.headers().get(LOCATION).unwrap(), "/");
    let cookie = response.headers().get(SET_COOKIE).unwrap().to_str().unwrap().split(';').next().unwrap().to_owned();

    let with_cookie = |request: TestRequest| request.insert_header((COOKIE, cookie.as_str())).to_request();
    let page = || with_cookie(TestRequest::get().uri("/"));
    let body = read_body(call_service(&app, page()).await).await;
    assert!(String::from_utf8_lossy(&body).contains("Hello alice, visit number 1."), "{body:?}");

    let response = call_service(&app, with_cookie(TestRequest::post().uri("/logout"))).await;
    assert_eq!(response.headers().get(LOCATION).unwrap(), "/login");
    assert_eq!(call_service(&app, page()).await.status(), StatusCode::SEE_OTHER);
}

#[actix_web::test]
async fn who_stays_away_for_half_an_hour_logs_in_again() {
    let (manager, clock) = testing::manager();
    let app = init_service(App::new().configure(routes).wrap(SessionMiddleware::new(manager.clone()))).await;
    let cookie = testing::session(&manager).login("bob").insert("visits", 6).cookie().await.unwrap();
    let page = || TestRequest::get().uri("/").insert_header((COOKIE, cookie.as_str())).to_request();
    let body = call_and_read_body(&app, page()).await;
    assert!(String::from_utf8_lossy(&body).contains("Hello bob, visit number 7."), "{body:?}");
    clock.advance(Duration::from_secs(32 * 60));
    let response = call_service(&app, page()).await;
    assert_eq!(response.headers().get(LOCATION).unwrap(), "/login");
}
