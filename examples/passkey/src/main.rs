//! Login with a passkey (WebAuthn), and a step-up with it before an account is closed:
//! `cargo run -p passkey`, then open http://localhost:3000.
//!
//! `webauthn-rs` warns against keeping the state of a ceremony in a cookie, because a browser could bring an old cookie
//! back, and answer its challenge a second time. Here an old cookie brings nothing back, and `take_once` gives each
//! challenge to one answer only, also if two arrive at the same time. So the state may live in the session.

mod users;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{FromRef, State};
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router, serve};
use secure_sessions_axum::{
    CrossOrigin, CrossOriginLayer, Keyring, LoggedIn, Login, MemoryStore, Session, SessionError, SessionLayer,
    SessionManager,
};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use webauthn_rs::prelude::{
    CreationChallengeResponse, PasskeyAuthentication, PasskeyRegistration, PublicKeyCredential,
    RegisterPublicKeyCredential, RequestChallengeResponse, Url, Uuid, WebauthnError,
};
use webauthn_rs::{Webauthn, WebauthnBuilder};

use crate::users::{Account, Users};

// Each ceremony has a challenge of its own: the answer to one is none to another.
const REGISTERING: &str = "passkey.registering";
const LOGGING_IN: &str = "passkey.logging_in";
const CONFIRMING: &str = "passkey.confirming";

/// A passkey that verifies its user is two factors in one: NIST's AAL2.
const TWO_FACTORS: u8 = 2;

/// For how long after an authentication the account can be closed.
const RECENT: Duration = Duration::from_secs(5 * 60);

#[derive(Clone)]
struct Site {
    webauthn: Arc<Webauthn>,
    users: Users,
}

impl FromRef<Site> for Users {
    fn from_ref(site: &Site) -> Self {
        site.users.clone()
    }
}

#[derive(Deserialize)]
struct Name {
    name: String,
}

/// A new account, until its passkey comes.
#[derive(Serialize, Deserialize)]
struct Registration {
    id: Uuid,
    name: String,
    state: PasskeyRegistration,
}

/// A login in progress.
#[derive(Serialize, Deserialize)]
struct Attempt {
    id: Uuid,
    state: PasskeyAuthentication,
}

async fn start_registration(
    State(site): State<Site>,
    session: Session,
    Json(Name { name }): Json<Name>,
) -> Result<Json<CreationChallengeResponse>, Failure> {
    if name.trim().is_empty() || site.users.by_name(&name).is_some() {
        return Err(Failure::NameTaken);
    }
    let id = Uuid::new_v4();
    let (challenge, state) = site.webauthn.start_passkey_registration(id, &name, &name, None)?;
    session.insert(REGISTERING, Registration { id, name, state })?;
    Ok(Json(challenge))
}

async fn finish_registration(
    State(site): State<Site>,
    session: Session,
    Json(answer): Json<RegisterPublicKeyCredential>,
) -> Result<StatusCode, Failure> {
    let Registration { id, name, state } = session.take_once(REGISTERING).await?.ok_or(Failure::NoChallenge)?;
    let passkeys = vec![site.webauthn.finish_passkey_registration(&answer, &state)?];
    if !site.users.add(Account { id, name, passkeys }) {
        return Err(Failure::NameTaken);
    }
    session.login_with(Login::new(id).assurance(TWO_FACTORS))?;
    Ok(StatusCode::NO_CONTENT)
}

async fn start_login(
    State(site): State<Site>,
    session: Session,
    Json(Name { name }): Json<Name>,
) -> Result<Json<RequestChallengeResponse>, Failure> {
    let user = site.users.by_name(&name).ok_or(Failure::Unknown)?;
    let (challenge, state) = site.webauthn.start_passkey_authentication(&user.passkeys)?;
    session.insert(LOGGING_IN, Attempt { id: user.id, state })?;
    Ok(Json(challenge))
}

async fn finish_login(
    State(site): State<Site>,
    session: Session,
    Json(answer): Json<PublicKeyCredential>,
) -> Result<StatusCode, Failure> {
    let Attempt { id, state } = session.take_once(LOGGING_IN).await?.ok_or(Failure::NoChallenge)?;
    let result = site.webauthn.finish_passkey_authentication(&answer, &state)?;
    site.users.used(id, &result);
    // A new id and a fresh life. An attacker who planted or copied the cookie from before has nothing.
    session.login_with(Login::new(id).assurance(TWO_FACTORS))?;
    Ok(StatusCode::NO_CONTENT)
}

async fn start_confirmation(
    State(site): State<Site>,
    user: LoggedIn<Account>,
    session: Session,
) -> Result<Json<RequestChallengeResponse>, Failure> {
    let (challenge, state) = site.webauthn.start_passkey_authentication(&user.passkeys)?;
    session.insert(CONFIRMING, Attempt { id: user.id, state })?;
    Ok(Json(challenge))
}

async fn finish_confirmation(
    State(site): State<Site>,
    user: LoggedIn<Account>,
    session: Session,
    Json(answer): Json<PublicKeyCredential>,
) -> Result<StatusCode, Failure> {
    let Attempt { id, state } = session.take_once(CONFIRMING).await?.ok_or(Failure::NoChallenge)?;
    // Another user may have logged in since then.
    if id != user.id {
        return Err(Failure::NoChallenge);
    }
    let result = site.webauthn.finish_passkey_authentication(&answer, &state)?;
    site.users.used(id, &result);
    session.step_up(TWO_FACTORS)?;
    Ok(StatusCode::NO_CONTENT)
}

/// Refuses with 403 if the last authentication is too old: the page asks for the passkey then, and tries again.
async fn close_account(
    State(site): State<Site>,
    user: LoggedIn<Account>,
    session: Session,
) -> Result<StatusCode, Failure> {
    session.require_recent_auth(RECENT)?;
    site.users.remove(user.id);
    session.logout_everywhere()?;
    Ok(StatusCode::NO_CONTENT)
}

async fn logout(session: Session) -> Result<StatusCode, SessionError> {
    session.logout()?;
    Ok(StatusCode::NO_CONTENT)
}

async fn home(user: Option<LoggedIn<Account>>) -> Html<String> {
    let body = match user {
        Some(user) => format!(
            "<p>Hello <b id=user>{}</b>.</p><button id=close>Close my account</button> <button id=logout>Log out</button>",
            escaped(&user.name)
        ),
        None => "<input id=name placeholder=alice> <button id=login>Log in</button> \
                   <button id=register>Register</button>"
            .to_owned(),
    };
    Html(format!("<!doctype html><title>Passkeys</title>{body}<p id=problem></p><script src=/passkey.js></script>"))
}

async fn script() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/javascript")], include_str!("../static/passkey.js"))
}

/// A ceremony that did not succeed.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("the name is empty, or another account has it")]
    NameTaken,
    #[error("there is no account of this name")]
    Unknown,
    #[error("no challenge waits for this answer: none was made, or it was answered before")]
    NoChallenge,
    #[error("the passkey's answer is wrong: {0}")]
    Wrong(#[from] WebauthnError),
    #[error(transparent)]
    Session(#[from] SessionError),
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        tracing::info!(error = %self, "refused");
        let (status, text) = match self {
            Self::NameTaken => (StatusCode::CONFLICT, "Choose another name."),
            Self::Unknown => (StatusCode::NOT_FOUND, "There is no account of this name."),
            Self::NoChallenge => (StatusCode::BAD_REQUEST, "Start again."),
            Self::Wrong(_) => (StatusCode::BAD_REQUEST, "This passkey was not accepted."),
            Self::Session(error) => return error.into_response(),
        };
        (status, text).into_response()
    }
}

/// Your templates do this.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

/// Passkeys belong to the domain of `origin`.
fn app(manager: SessionManager, origin: &Url) -> Result<Router, WebauthnError> {
    let domain = origin.domain().ok_or(WebauthnError::Configuration)?;
    let webauthn = Arc::new(WebauthnBuilder::new(domain, origin)?.rp_name("Passkeys").build()?);
    Ok(Router::new()
        .route("/", get(home))
        .route("/passkey.js", get(script))
        .route("/register/start", post(start_registration))
        .route("/register/finish", post(finish_registration))
        .route("/login/start", post(start_login))
        .route("/login/finish", post(finish_login))
        .route("/confirm/start", post(start_confirmation))
        .route("/confirm/finish", post(finish_confirmation))
        .route("/close", post(close_account))
        .route("/logout", post(logout))
        .with_state(Site { webauthn, users: Users::default() })
        .layer(CrossOriginLayer::new(CrossOrigin::default()))
        .layer(SessionLayer::new(manager)))
}

async fn interrupted() {
    if let Err(error) = tokio::signal::ctrl_c().await {
        eprintln!("no signal can be received: {error}");
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt().init();
    // In production: Keyring::from_env()?, a store that outlives the process, https, and no insecure_dev().
    let manager = SessionManager::builder(Keyring::generate()?, MemoryStore::new()).insecure_dev().build()?;
    manager.spawn_purge().detach();
    let app = app(manager.clone(), &Url::parse("http://localhost:3000")?)?;
    let listener = TcpListener::bind("127.0.0.1:3000").await?;
    serve(listener, app).with_graceful_shutdown(interrupted()).await?;
    manager.drained().await;
    Ok(())
}

#[cfg(test)]
mod tests;
