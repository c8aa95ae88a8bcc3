//! Extractors of access where Actix Web has ways of its own; the acceptance suite runs the rest over real sockets.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::convert::Infallible;
use std::time::Duration;

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::{StatusCode, header};
use actix_web::middleware::{Next, from_fn};
use actix_web::test::{TestRequest, call_and_read_body, call_service, init_service};
use actix_web::{App, Error, web};
use secure_sessions_actix::{
    CsrfForm, EngineError, LoggedIn, MaybeLoggedIn, Session, SessionError, SessionExt, SessionMiddleware, User, testing,
};
use serde::Deserialize;

struct Account;

impl User for Account {
    type State = String;
    type Error = Infallible;

    async fn load(subject: &str, only: &String) -> Result<Option<Self>, Infallible> {
        Ok((subject == only).then_some(Self))
    }
}

async fn hello(_: LoggedIn<Account>) -> &'static str {
    "hello"
}

async fn maybe(user: MaybeLoggedIn<Account>) -> &'static str {
    if user.is_some() { "somebody" } else { "nobody" }
}

#[actix_web::test]
async fn the_state_of_users_is_application_data_and_its_lack_is_explained() {
    let (manager, _) = testing::manager();
    let cookie = testing::session(&manager).login("alice").cookie().await.unwrap();
    let request = |path| TestRequest::get().uri(path).insert_header((header::COOKIE, cookie.as_str())).to_request();
    let routes = |config: &mut web::ServiceConfig| {
        config.route("/hello", web::get().to(hello)).route("/maybe", web::get().to(maybe));
    };
    let middleware = || SessionMiddleware::new(manager.clone());
    let data = web::Data::new("alice".to_owned());
    let app = init_service(App::new().app_data(data).configure(routes).wrap(middleware())).await;
    assert_eq!(call_and_read_body(&app, request("/hello")).await, "hello");
    assert_eq!(call_and_read_body(&app, request("/maybe")).await, "somebody");

    let app = init_service(App::new().configure(routes).wrap(middleware())).await;
    for path in ["/hello", "/maybe"] {
        let response = call_service(&app, request(path)).await;
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        let error = response.response().error().and_then(|error| error.as_error::<SessionError>()).unwrap();
        assert!(matches!(error.kind(), EngineError::NoState { .. }) && error.to_string().contains(".app_data("));
    }
}

async fn untouched(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    request.untouched();
    next.call(request).await
}

async fn look(
    session: Session,
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    session.get::<u64>("n")?;
    next.call(request).await
}

#[actix_web::test]
async fn a_route_is_untouched_although_a_middleware_looks_at_the_session() {
    let (manager, clock) = testing::manager();
    let cookie = testing::session(&manager).login("alice").cookie().await.unwrap();
    let page = || web::get().to(async |user: LoggedIn| user.subject().to_owned());
    let poll = web::resource("/poll").route(page()).wrap(from_fn(look)).wrap(from_fn(untouched));
    let app = App::new().service(poll).route("/plain", page()).wrap(SessionMiddleware::new(manager.clone()));
    let app = init_service(app).await;
    for (path, lives) in [("/plain", true), ("/poll", false)] {
        for _ in 0..2 {
            clock.advance(Duration::from_secs(17 * 60));
            let request = TestRequest::get().uri(path).insert_header((header::COOKIE, cookie.as_str()));
            call_service(&app, request.to_request()).await;
        }
        assert_eq!(testing::look(&manager, &cookie).await.unwrap().is_new(), !lives, "{path}");
    }
}

/// A form that takes no field that it does not know.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Payment {
    amount: u64,
}

#[actix_web::test]
async fn a_strict_form_does_not_see_the_token_and_form_config_applies() {
    let (manager, _) = testing::manager();
    let (cookie, token) = testing::session(&manager).cookie_and_csrf_token().await.unwrap();
    let pay = async |form: CsrfForm<Payment>| form.amount.to_string();
    let app = App::new().app_data(web::FormConfig::default().limit(200)).route("/", web::post().to(pay));
    let app = init_service(app.wrap(SessionMiddleware::new(manager.clone()))).await;
    let send = async |kind: &str, fields: &str| {
        let request = TestRequest::post()
            .insert_header((header::COOKIE, cookie.as_str()))
            .insert_header((header::CONTENT_TYPE, kind))
            .set_payload(format!("csrf_token={token}&{fields}"));
        call_service(&app, request.to_request()).await.status().as_u16()
    };
    let urlencoded = "application/x-www-form-urlencoded";
    assert_eq!(send(urlencoded, "amount=7").await, 200);
    assert_eq!(send(urlencoded, "amount=x").await, 400);
    assert_eq!(send(urlencoded, "amount=7&more=1").await, 400);
    assert_eq!(send("text/plain", "amount=7").await, 415);
    assert_eq!(send(urlencoded, &format!("amount={}7", "0".repeat(200))).await, 413);
}

#[actix_web::test]
async fn a_form_without_fields_is_a_unit_and_needs_its_token() {
    let (manager, _) = testing::manager();
    let (cookie, token) = testing::session(&manager).login("alice").cookie_and_csrf_token().await.unwrap();
    let log_out = async |form: CsrfForm<()>| form.session.logout().map(|()| "");
    let app = App::new().route("/", web::post().to(log_out));
    let app = init_service(app.wrap(SessionMiddleware::new(manager.clone()))).await;
    for (body, status, is_over) in [(String::new(), 403, false), (format!("csrf_token={token}"), 200, true)] {
        let request = TestRequest::post()
            .insert_header((header::COOKIE, cookie.as_str()))
            .insert_header((header::CONTENT_TYPE, "application/x-www-form-urlencoded"))
            .set_payload(body);
        assert_eq!(call_service(&app, request.to_request()).await.status().as_u16(), status);
        assert_eq!(testing::look(&manager, &cookie).await.unwrap().subject().is_none(), is_over);
    }
}
