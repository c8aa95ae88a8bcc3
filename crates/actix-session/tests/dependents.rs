//! actix-identity and actix-web-flash-messages as they are published, in a small application on our sessions. The first
//! uses actix-session 0.11 and the second 0.10, so both middlewares share one session.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::fmt::Write as _;
use std::time::Duration;

use actix_identity::config::LogoutBehavior;
use actix_identity::{Identity, IdentityMiddleware};
use actix_web::dev::{Service, ServiceResponse};
use actix_web::http::{StatusCode, header};
use actix_web::test::init_service;
use actix_web::{App, HttpMessage, HttpRequest, HttpResponse, Responder, get, web};
use actix_web_flash_messages::storage::SessionMessageStore;
use actix_web_flash_messages::{FlashMessage, FlashMessagesFramework, IncomingFlashMessages, Level};
use secure_sessions_actix::{Session, SessionError, SessionManager, SessionMiddleware, testing};
use secure_sessions_actix_session::{v0_10, v0_11};
use support::Browser;

#[get("/enter/{name}")]
async fn enter(request: HttpRequest, name: web::Path<String>) -> impl Responder {
    Identity::login(&request.extensions(), name.clone()).unwrap();
    FlashMessage::success(format!("welcome, {name}")).send();
    FlashMessage::info("the garden is open").send();
    HttpResponse::SeeOther().insert_header((header::LOCATION, "/garden")).finish()
}

#[get("/leave")]
async fn leave(identity: Identity) -> impl Responder {
    let name = identity.id().unwrap();
    identity.logout();
    format!("bye, {name}")
}

#[get("/leave-and-fail")]
async fn leave_and_fail(identity: Identity) -> impl Responder {
    identity.logout();
    HttpResponse::InternalServerError().finish()
}

/// Lets in who has an identity: the extractor refuses all others.
#[get("/garden")]
async fn garden(identity: Identity) -> String {
    identity.id().unwrap()
}

#[get("/gate")]
async fn gate(identity: Option<Identity>, messages: IncomingFlashMessages) -> String {
    let mut text = identity.map_or("stranger".to_owned(), |identity| identity.id().unwrap());
    for message in messages.iter() {
        write!(text, "; {}: {}", message.level(), message.content()).unwrap();
    }
    text
}

#[get("/plant/{what}")]
async fn plant(session: actix_session_0_11::Session, what: web::Path<String>) -> &'static str {
    session.insert("planted", what.into_inner()).unwrap();
    "planted"
}

#[get("/planted")]
async fn all_planted(session: actix_session_0_11::Session) -> String {
    session.get("planted").unwrap().unwrap_or_default()
}

#[get("/native")]
async fn native(session: Session) -> Result<String, SessionError> {
    let visits = session.update("visits", |visits: &mut u32| {
        *visits += 1;
        *visits
    })?;
    Ok(format!("{visits} {}", session.subject().unwrap_or_default()))
}

async fn application(
    manager: &SessionManager,
    identity: IdentityMiddleware,
) -> impl Service<actix_http::Request, Response = ServiceResponse, Error = actix_web::Error> + use<> {
    let subjects = v0_11::ActixSessionMiddleware::new()
        .with_subject(|session| session.get::<String>("actix_identity.user_id").ok().flatten());
    let app = App::new()
        .service((enter, leave, leave_and_fail, garden, gate, native, plant, all_planted))
        .wrap(identity)
        .wrap(subjects)
        .wrap(FlashMessagesFramework::builder(SessionMessageStore::default()).minimum_level(Level::Info).build())
        .wrap(v0_10::ActixSessionMiddleware::new())
        .wrap(SessionMiddleware::new(manager.clone()))
        .wrap_fn(|request, service| {
            let called = service.call(request);
            async { Ok(called.await?.map_into_boxed_body()) }
        });
    init_service(app).await
}

async fn usual()
-> (SessionManager, impl Service<actix_http::Request, Response = ServiceResponse, Error = actix_web::Error>) {
    let (manager, _) = testing::manager();
    let app = application(&manager, IdentityMiddleware::default()).await;
    (manager, app)
}

#[actix_web::test]
async fn a_user_of_actix_identity_is_let_in_and_out() {
    let (_, app) = usual().await;
    let mut browser = Browser::default();
    let refused = browser.get(&app, "/garden").await;
    assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
    assert!(!refused.sets_cookie(), "nothing was kept of a visitor");
    assert_eq!(browser.get(&app, "/enter/ada").await.location(), "/garden");
    assert_eq!(browser.get(&app, "/garden").await.text, "ada");

    let copy = browser.clone();
    assert_eq!(browser.get(&app, "/leave").await.text, "bye, ada");
    assert_eq!(browser.cookie, "", "the cookie is removed");
    assert_eq!(copy.send(&app, "/garden").await.status, StatusCode::UNAUTHORIZED, "a copy of the cookie is refused");
}

#[actix_web::test]
async fn a_login_of_actix_identity_replaces_the_anonymous_cookie() {
    let (_, app) = usual().await;
    let mut browser = Browser::default();
    browser.get(&app, "/native").await;
    let planted = browser.clone();
    browser.get(&app, "/enter/ada").await;
    assert_eq!(browser.get(&app, "/garden").await.text, "ada");
    assert_eq!(planted.send(&app, "/garden").await.status, StatusCode::UNAUTHORIZED);
}

#[actix_web::test]
async fn a_login_as_another_user_leaves_the_data_of_the_first_behind() {
    let (manager, app) = usual().await;
    let mut browser = Browser::default();
    browser.get(&app, "/enter/ada").await;
    browser.get(&app, "/plant/rose").await;
    assert_eq!(browser.get(&app, "/planted").await.text, "rose");
    browser.get(&app, "/enter/bob").await;
    assert_eq!(browser.get(&app, "/garden").await.text, "bob");
    assert_eq!(browser.get(&app, "/planted").await.text, "");
    assert!(manager.sessions_of("ada").await.unwrap().is_empty());
}

#[actix_web::test]
async fn the_sessions_of_a_user_of_actix_identity_are_listed_and_revoked() {
    let (manager, app) = usual().await;
    let mut browsers = [Browser::default(), Browser::default(), Browser::default()];
    for (browser, path) in browsers.iter_mut().zip(["/enter/ada", "/enter/ada", "/enter/bob"]) {
        browser.get(&app, path).await;
    }
    assert_eq!(manager.sessions_of("ada").await.unwrap().len(), 2);
    manager.revoke_subject("ada").await.unwrap();
    for browser in &mut browsers[..2] {
        assert_eq!(browser.get(&app, "/garden").await.status, StatusCode::UNAUTHORIZED);
    }
    assert_eq!(browsers[2].get(&app, "/garden").await.text, "bob");
    browsers[2].get(&app, "/leave").await;
    assert!(manager.sessions_of("bob").await.unwrap().is_empty(), "its logout is ours");
}

#[actix_web::test]
async fn a_logout_of_actix_identity_survives_a_failing_handler() {
    let (_, app) = usual().await;
    let mut browser = Browser::default();
    browser.get(&app, "/enter/ada").await;
    let copy = browser.clone();
    assert_eq!(browser.get(&app, "/leave-and-fail").await.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(copy.send(&app, "/garden").await.status, StatusCode::UNAUTHORIZED);
}

#[actix_web::test]
async fn a_logout_that_deletes_only_the_identity_keys_keeps_the_rest() {
    let (manager, _) = testing::manager();
    let identity = IdentityMiddleware::builder().logout_behavior(LogoutBehavior::DeleteIdentityKeys).build();
    let app = application(&manager, identity).await;
    let mut browser = Browser::default();
    browser.get(&app, "/native").await;
    browser.get(&app, "/enter/ada").await;
    let copy = browser.clone();
    browser.get(&app, "/leave").await;
    assert_eq!(browser.get(&app, "/native").await.text, "2 ", "the visits are kept in a session of nobody");
    assert_eq!(copy.send(&app, "/garden").await.status, StatusCode::UNAUTHORIZED);
}

#[actix_web::test]
async fn a_visit_deadline_of_actix_identity_is_kept() {
    let (manager, _) = testing::manager();
    let identity = IdentityMiddleware::builder().visit_deadline(Some(Duration::from_secs(60))).build();
    let app = application(&manager, identity).await;
    let mut browser = Browser::default();
    browser.get(&app, "/enter/ada").await;
    assert_eq!(browser.get(&app, "/garden").await.text, "ada");
    let over = IdentityMiddleware::builder().visit_deadline(Some(Duration::ZERO)).build();
    let app = application(&manager, over).await;
    assert_eq!(browser.get(&app, "/garden").await.status, StatusCode::UNAUTHORIZED);
    assert!(manager.sessions_of("ada").await.unwrap().is_empty(), "its logout is ours");
}

#[actix_web::test]
async fn flash_messages_are_shown_once_on_the_next_page() {
    let (_, app) = usual().await;
    let mut browser = Browser::default();
    browser.get(&app, "/enter/ada").await;
    assert_eq!(browser.get(&app, "/gate").await.text, "ada; success: welcome, ada; info: the garden is open");
    assert_eq!(browser.get(&app, "/gate").await.text, "ada");
    assert!(!browser.get(&app, "/gate").await.sets_cookie(), "removing what is not there is no change");
}

#[actix_web::test]
async fn the_native_session_is_the_same_session_in_the_same_application() {
    let (_, app) = usual().await;
    let mut browser = Browser::default();
    assert_eq!(browser.get(&app, "/native").await.text, "1 ");
    browser.get(&app, "/enter/ada").await;
    assert_eq!(browser.get(&app, "/native").await.text, "2 ada", "its data is kept, and the identity is its subject");
    assert_eq!(browser.get(&app, "/garden").await.text, "ada");
}
