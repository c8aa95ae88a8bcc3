//! Login with an OpenID Connect provider: the authorization code flow with PKCE, state and nonce (RFC 9700).
//!
//! ```text
//! export OIDC_ISSUER=https://accounts.google.com OIDC_CLIENT_ID=... OIDC_CLIENT_SECRET=...
//! cargo run -p oidc       # register http://localhost:3000/callback with the provider, and open http://localhost:3000
//! ```
//!
//! What a login in progress must remember is in the session, until its answer comes back: nothing else is kept on the
//! server, and several hosts need no sticky connections. `take_once` gives it to one answer only, also if two arrive
//! at the same time, and no old cookie brings it back.

mod provider;

use std::env;

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum::{Router, serve};
use openidconnect::core::CoreAuthenticationFlow;
use openidconnect::{
    AccessTokenHash, AuthorizationCode, ClientId, ClientSecret, CsrfToken, IssuerUrl, Nonce, OAuth2TokenResponse,
    PkceCodeChallenge, PkceCodeVerifier, RedirectUrl, TokenResponse,
};
use secure_sessions_axum::{
    CrossOrigin, CrossOriginLayer, Keyring, Login, MemoryStore, Session, SessionError, SessionLayer, SessionManager,
    Timestamp,
};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;

use crate::provider::{AnyError, Provider};

/// The key of the login in progress, in the session.
const ATTEMPT: &str = "oidc";

/// The state that this application keeps between the redirect to the provider and its answer.
#[derive(Serialize, Deserialize)]
struct Attempt {
    /// Comes back with the answer: it belongs to this browser.
    state: CsrfToken,
    /// Comes back in the ID token: it was issued for this login.
    nonce: Nonce,
    /// Redeems the code: nobody else can, even if they see it.
    verifier: PkceCodeVerifier,
}

/// The parameters that the provider sends the browser back with.
#[derive(Deserialize)]
struct Answer {
    state: String,
    code: Option<String>,
    error: Option<String>,
}

async fn home(session: Session) -> Html<String> {
    Html(match session.subject() {
        Some(name) => format!(
            r#"<p>Hello {}.</p><form method="post" action="/logout"><button>Log out</button></form>"#,
            escaped(&name)
        ),
        None => r#"<form method="post" action="/login"><button>Log in</button></form>"#.to_owned(),
    })
}

/// A `POST`, since it changes the session.
async fn login(State(provider): State<Provider>, session: Session) -> Result<Redirect, Failure> {
    let client = provider.client().await.map_err(Failure::Provider)?;
    let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
    let flow = CoreAuthenticationFlow::AuthorizationCode;
    let request = client.authorize_url(flow, CsrfToken::new_random, Nonce::new_random).set_pkce_challenge(challenge);
    let (url, state, nonce) = request.url();
    // A second attempt replaces the first one, so that attempts do not fill the cookie.
    session.insert(ATTEMPT, Attempt { state, nonce, verifier })?;
    Ok(Redirect::to(url.as_str()))
}

/// A `GET` that the provider's page causes: browsers send the cookie along, because it is SameSite=Lax and the whole
/// page navigates.
async fn callback(
    State(provider): State<Provider>,
    session: Session,
    Query(answer): Query<Answer>,
) -> Result<Redirect, Failure> {
    // Looked at first: a stranger's link to this route must not use up the attempt.
    let expected = session.get::<Attempt>(ATTEMPT)?.map(|attempt| attempt.state);
    if expected.is_none_or(|expected| expected != CsrfToken::new(answer.state)) {
        return Err(Failure::NotStarted);
    }
    let attempt: Attempt = session.take_once(ATTEMPT).await?.ok_or(Failure::NotStarted)?;
    let code = answer.code.ok_or_else(|| Failure::Refused(answer.error.unwrap_or_default()))?;
    let (name, at) = redeem(&provider, code, attempt).await.map_err(Failure::Provider)?;
    // A new id and a fresh life for the session. `sub` is unique for one issuer only: with several of them, look up an
    // account of your own by both, and log that in.
    let login = Login::new(name);
    session.login_with(match at {
        Some(at) => login.authenticated_at(at),
        None => login,
    })?;
    Ok(Redirect::to("/"))
}

/// Redeems the code. Returns the subject, and when they authenticated at the provider.
async fn redeem(provider: &Provider, code: String, attempt: Attempt) -> Result<(String, Option<Timestamp>), AnyError> {
    let client = provider.client().await?;
    let request = client.exchange_code(AuthorizationCode::new(code))?.set_pkce_verifier(attempt.verifier);
    let tokens = request.request_async(provider).await?;
    let id_token = tokens.id_token().ok_or("the provider sent no ID token: is `openid` among the scopes?")?;
    let verifier = client.id_token_verifier();
    let claims = id_token.claims(&verifier, &attempt.nonce)?;
    // Ties the access token to the ID token, if you use it for anything.
    if let Some(expected) = claims.access_token_hash() {
        let (key, alg) = (id_token.signing_key(&verifier)?, id_token.signing_alg()?);
        if AccessTokenHash::from_token(tokens.access_token(), alg, key)? != *expected {
            return Err("the access token is not the one that the ID token names".into());
        }
    }
    let at = claims.auth_time().map(|at| Timestamp::from_millis(at.timestamp_millis().unsigned_abs()));
    Ok((claims.subject().to_string(), at))
}

async fn logout(session: Session) -> Result<Redirect, SessionError> {
    // Ends the session here. The user stays logged in at the provider, which has an endpoint of its own for that.
    session.logout()?;
    Ok(Redirect::to("/"))
}

/// A login that did not succeed. The visitor is told little, the log more.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("the answer belongs to no login that this browser has started, or it came twice")]
    NotStarted,
    #[error("the provider refused the login: {0}")]
    Refused(String),
    #[error("the login failed at the provider: {0}")]
    Provider(AnyError),
    #[error(transparent)]
    Session(#[from] SessionError),
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        tracing::warn!(error = ?self, "no login");
        let (status, text) = match self {
            Self::NotStarted => (StatusCode::BAD_REQUEST, "This login was not started here, or is finished already."),
            Self::Refused(_) => (StatusCode::FORBIDDEN, "You are not logged in."),
            Self::Provider(_) => (StatusCode::BAD_GATEWAY, "The login failed. Try again."),
            Self::Session(error) => return error.into_response(),
        };
        (status, text).into_response()
    }
}

/// Your templates do this.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

fn app(manager: SessionManager, provider: Provider) -> Router {
    Router::new()
        .route("/", get(home))
        .route("/login", post(login))
        .route("/callback", get(callback))
        .route("/logout", post(logout))
        .with_state(provider)
        // Other sites cannot log the visitor out, nor start a login.
        .layer(CrossOriginLayer::new(CrossOrigin::default()))
        .layer(SessionLayer::new(manager))
}

async fn interrupted() {
    if let Err(error) = tokio::signal::ctrl_c().await {
        eprintln!("no signal can be received: {error}");
    }
}

#[tokio::main]
async fn main() -> Result<(), AnyError> {
    tracing_subscriber::fmt().init();
    let variable = |name: &str| env::var(name).map_err(|error| format!("{name}: {error}"));
    let provider = Provider::new(
        IssuerUrl::new(variable("OIDC_ISSUER")?)?,
        ClientId::new(variable("OIDC_CLIENT_ID")?),
        ClientSecret::new(variable("OIDC_CLIENT_SECRET")?),
        RedirectUrl::new("http://localhost:3000/callback".to_owned())?,
    )?;
    // In production: Keyring::from_env()?, a store that outlives the process, https, and no insecure_dev().
    let manager = SessionManager::builder(Keyring::generate()?, MemoryStore::new()).insecure_dev().build()?;
    manager.spawn_purge().detach();
    let listener = TcpListener::bind("127.0.0.1:3000").await?;
    serve(listener, app(manager.clone(), provider)).with_graceful_shutdown(interrupted()).await?;
    manager.drained().await;
    Ok(())
}

#[cfg(test)]
mod tests;
