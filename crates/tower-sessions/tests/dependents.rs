//! axum-login and axum-messages as they are published, in a small application on our sessions.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::collections::HashSet;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use axum::extract::{Path, Query};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect};
use axum::routing::get;
use axum::{Extension, Router};
use axum_login::{
    AuthManager, AuthSession, AuthUser, AuthnBackend, AuthzBackend, UserId, login_required, permission_required,
};
use axum_messages::{Messages, MessagesManagerLayer};
use secure_sessions_axum::{Session, SessionError, SessionLayer, SessionManager, testing};
use secure_sessions_tower_sessions::v0_14::TowerSessionsLayer;
use serde::Deserialize;
use serde_json::Value;
use support::Browser;
use tower::layer::layer_fn;

/// A reader of the library.
#[derive(Debug, Clone)]
struct Reader {
    id: u32,
    name: &'static str,
    password: String,
    /// Changes with the password. A digest of it, since it travels in the cookie.
    digest: Vec<u8>,
    may_lend: bool,
}

impl Reader {
    fn new(id: u32, name: &'static str, may_lend: bool) -> Self {
        let password = format!("{name}'s password");
        Self { id, name, digest: digest(&password), password, may_lend }
    }
}

fn digest(password: &str) -> Vec<u8> {
    password.bytes().rev().take(16).collect()
}

impl AuthUser for Reader {
    type Id = u32;

    fn id(&self) -> u32 {
        self.id
    }

    fn session_auth_hash(&self) -> &[u8] {
        &self.digest
    }
}

#[derive(Debug, Clone)]
struct Library(Arc<Mutex<Vec<Reader>>>);

#[derive(Deserialize)]
struct Credentials {
    name: String,
    password: String,
}

impl AuthnBackend for Library {
    type User = Reader;
    type Credentials = Credentials;
    type Error = Infallible;

    async fn authenticate(&self, given: Credentials) -> Result<Option<Reader>, Infallible> {
        let readers = self.0.lock().unwrap();
        Ok(readers.iter().find(|reader| reader.name == given.name && reader.password == given.password).cloned())
    }

    async fn get_user(&self, id: &UserId<Self>) -> Result<Option<Reader>, Infallible> {
        Ok(self.0.lock().unwrap().iter().find(|reader| reader.id == *id).cloned())
    }
}

impl AuthzBackend for Library {
    type Permission = &'static str;

    async fn get_user_permissions(&self, reader: &Reader) -> Result<HashSet<&'static str>, Infallible> {
        Ok(reader.may_lend.then_some("lend").into_iter().collect())
    }
}

type Auth = AuthSession<Library>;

async fn enter(mut auth: Auth, messages: Messages, Query(given): Query<Credentials>) -> impl IntoResponse {
    let Some(reader) = auth.authenticate(given).await.unwrap() else {
        messages.error("wrong name or password");
        return Redirect::to("/hall").into_response();
    };
    auth.login(&reader).await.unwrap();
    messages.success(format!("welcome, {}", reader.name)).info("two books are due");
    Redirect::to("/desk").into_response()
}

async fn leave(mut auth: Auth) -> impl IntoResponse {
    match auth.logout().await.unwrap() {
        Some(reader) => format!("bye, {}", reader.name),
        None => "nobody was here".to_owned(),
    }
}

async fn desk(auth: Auth) -> String {
    auth.user.unwrap().name.to_owned()
}

async fn hall(messages: Messages) -> String {
    messages.into_iter().map(|message| format!("{}: {message}", message.level)).collect::<Vec<_>>().join("; ")
}

/// Counts in the native session, beside the peers' keys.
async fn native(session: Session) -> Result<String, SessionError> {
    let visits = session.update("visits", |visits: &mut u32| {
        *visits += 1;
        *visits
    })?;
    Ok(format!("{visits} {}", session.subject().unwrap_or_default()))
}

async fn borrow(auth: Auth, Path(title): Path<String>) -> String {
    auth.session.insert("borrowed", &title).await.unwrap();
    title
}

async fn borrowed(auth: Auth) -> String {
    auth.session.get::<String>("borrowed").await.unwrap().unwrap_or_default()
}

async fn change_password(auth: Auth, Extension(library): Extension<Library>) -> &'static str {
    let id = auth.user.unwrap().id;
    let mut readers = library.0.lock().unwrap();
    let reader = readers.iter_mut().find(|reader| reader.id == id).unwrap();
    reader.password = "a better one".to_owned();
    reader.digest = digest(&reader.password);
    "changed"
}

fn application() -> (Router, SessionManager) {
    let (manager, _) = testing::manager();
    let library = Library(Arc::new(Mutex::new(vec![Reader::new(7, "ada", true), Reader::new(8, "bob", false)])));
    let subjects =
        TowerSessionsLayer::new().with_subject(|data| match data.get("axum-login.data")?.get("user_id")? {
            Value::Null => None,
            id => Some(id.to_string()),
        });
    // `AuthManagerLayerBuilder` builds upon tower-sessions' own layer, so the service is put in by itself.
    let backend = library.clone();
    let auth = layer_fn(move |inner| AuthManager::new(inner, backend.clone(), "axum-login.data"));
    let app = Router::new()
        .route("/lend", get(|| async { "lent" }))
        .route_layer(permission_required!(Library, login_url = "/hall", "lend"))
        .route("/desk", get(desk))
        .route("/change-password", get(change_password))
        .route_layer(login_required!(Library, login_url = "/hall"))
        .route("/enter", get(enter))
        .route("/leave", get(leave))
        .route("/hall", get(hall))
        .route("/native", get(native))
        .route("/borrowed", get(borrowed))
        .route("/borrowed/{title}", get(borrow))
        .route(
            "/broken",
            get(|mut auth: Auth| async move {
                auth.logout().await.unwrap();
                StatusCode::INTERNAL_SERVER_ERROR
            }),
        )
        .layer(Extension(library))
        .layer(MessagesManagerLayer)
        .layer(auth)
        .layer(subjects)
        .layer(SessionLayer::new(manager.clone()));
    (app, manager)
}

const ADA: &str = "/enter?name=ada&password=ada's%20password";
const BOB: &str = "/enter?name=bob&password=bob's%20password";

#[tokio::test]
async fn a_user_of_axum_login_is_let_in_and_out() {
    let (app, _) = application();
    let mut browser = Browser::new(&app);
    let refused = browser.get("/desk").await;
    assert_eq!(refused.status, StatusCode::TEMPORARY_REDIRECT);
    assert_eq!(refused.location(), "/hall?next=%2Fdesk");
    assert!(!refused.sets_cookie(), "nothing was kept of a visitor");

    browser.get("/enter?name=ada&password=guessed").await;
    assert_eq!(browser.get("/desk").await.status, StatusCode::TEMPORARY_REDIRECT);
    assert_eq!(browser.get(ADA).await.location(), "/desk");
    assert_eq!(browser.get("/desk").await.text, "ada");

    let copy = browser.clone();
    assert_eq!(browser.get("/leave").await.text, "bye, ada");
    assert_eq!(browser.cookie, "", "the cookie is removed");
    assert_eq!(browser.get("/desk").await.status, StatusCode::TEMPORARY_REDIRECT);
    assert_eq!(copy.send("/desk").await.status, StatusCode::TEMPORARY_REDIRECT, "a copy of the cookie is refused");
}

#[tokio::test]
async fn a_login_of_axum_login_replaces_the_anonymous_cookie() {
    let (app, _) = application();
    let mut browser = Browser::new(&app);
    browser.get("/native").await;
    let planted = browser.clone();
    browser.get(ADA).await;
    assert_eq!(browser.get("/desk").await.text, "ada");
    assert_eq!(planted.send("/desk").await.status, StatusCode::TEMPORARY_REDIRECT);
}

#[tokio::test]
async fn a_login_as_another_user_leaves_the_data_of_the_first_behind() {
    let (app, manager) = application();
    let mut browser = Browser::new(&app);
    browser.get(ADA).await;
    browser.get("/native").await;
    assert_eq!(browser.get("/borrowed/book").await.text, "book");
    browser.get(BOB).await;
    assert_eq!(browser.get("/desk").await.text, "bob");
    assert_eq!(browser.get("/borrowed").await.text, "");
    assert_eq!(browser.get("/native").await.text, "1 8");
    assert!(manager.sessions_of("7").await.unwrap().is_empty());
}

#[tokio::test]
async fn permissions_of_axum_login_are_asked_of_its_backend() {
    let (app, _) = application();
    let (mut ada, mut bob) = (Browser::new(&app), Browser::new(&app));
    ada.get(ADA).await;
    bob.get(BOB).await;
    assert_eq!(ada.get("/lend").await.text, "lent");
    assert_ne!(bob.get("/lend").await.status, StatusCode::OK);
    assert_eq!(bob.get("/desk").await.text, "bob");
}

#[tokio::test]
async fn the_sessions_of_a_user_of_axum_login_are_listed_and_revoked() {
    let (app, manager) = application();
    let mut browsers = [Browser::new(&app), Browser::new(&app), Browser::new(&app)];
    for (browser, login) in browsers.iter_mut().zip([ADA, ADA, BOB]) {
        browser.get(login).await;
    }
    assert_eq!(manager.sessions_of("7").await.unwrap().len(), 2);
    assert_eq!(manager.sessions_of("8").await.unwrap().len(), 1);
    manager.revoke_subject("7").await.unwrap();
    for browser in &mut browsers[..2] {
        assert_eq!(browser.get("/desk").await.status, StatusCode::TEMPORARY_REDIRECT);
    }
    assert_eq!(browsers[2].get("/desk").await.text, "bob");
    browsers[2].get("/leave").await;
    assert!(manager.sessions_of("8").await.unwrap().is_empty(), "its logout is ours");
}

#[tokio::test]
async fn a_changed_password_ends_the_sessions_of_axum_login() {
    let (app, manager) = application();
    let (mut here, mut elsewhere) = (Browser::new(&app), Browser::new(&app));
    here.get(ADA).await;
    elsewhere.get(ADA).await;
    assert_eq!(here.get("/change-password").await.text, "changed");
    assert_eq!(elsewhere.get("/desk").await.status, StatusCode::TEMPORARY_REDIRECT);
    assert_eq!(elsewhere.cookie, "", "axum-login flushed it");
    assert_eq!(manager.sessions_of("7").await.unwrap().len(), 1, "the one that was not seen since");
}

#[tokio::test]
async fn a_logout_of_axum_login_survives_a_failing_handler() {
    let (app, _) = application();
    let mut browser = Browser::new(&app);
    browser.get(ADA).await;
    let copy = browser.clone();
    assert_eq!(browser.get("/broken").await.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(copy.send("/desk").await.status, StatusCode::TEMPORARY_REDIRECT);
}

#[tokio::test]
async fn messages_of_axum_messages_are_shown_once_on_the_next_page() {
    let (app, _) = application();
    let mut browser = Browser::new(&app);
    browser.get("/enter?name=ada&password=guessed").await;
    assert_eq!(browser.get("/hall").await.text, "Error: wrong name or password");
    assert_eq!(browser.get("/hall").await.text, "");
    browser.get(ADA).await;
    assert_eq!(browser.get("/hall").await.text, "Success: welcome, ada; Info: two books are due");
    assert_eq!(browser.get("/hall").await.text, "");
    assert_eq!(browser.get("/desk").await.text, "ada");
}

#[tokio::test]
async fn the_native_session_is_the_same_session_in_the_same_application() {
    let (app, _) = application();
    let mut browser = Browser::new(&app);
    assert_eq!(browser.get("/native").await.text, "1 ");
    browser.get(ADA).await;
    assert_eq!(browser.get("/native").await.text, "2 7", "its data is kept, and axum-login's user is its subject");
    assert_eq!(browser.get("/desk").await.text, "ada");
}
