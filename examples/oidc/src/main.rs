//! Login with an OpenID Connect provider: the authorization code flow with PKCE, state and nonce (RFC 9700). Logout in
//! both directions: the user's logout here goes on to the provider, and a logout there ends the sessions here.
//!
//! ```text
//! export OIDC_ISSUER=https://accounts.google.com OIDC_CLIENT_ID=... OIDC_CLIENT_SECRET=...
//! cargo run -p oidc       # register http://localhost:3000/callback with the provider, and open http://localhost:3000
//! ```
//!
//! Register `http://localhost:3000/`, too, as the address after a logout. For logouts at the provider, register
//! `/backchannel-logout`, at a host that the provider reaches, as `backchannel_logout_uri`, and set
//! `backchannel_logout_session_required`, so that ID tokens name the provider's session.
//!
//! A login in progress keeps its state in the session, until its answer comes back: nothing of it is kept on the
//! server, and several hosts need no sticky connections. `take_once` gives it to one answer only, also if two arrive
//! at the same time, and no old cookie brings it back.

mod backchannel;
mod provider;

use std::env;

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum::{Router, serve};
use openidconnect::core::{CoreAuthenticationFlow, CoreUserInfoClaims};
use openidconnect::{
    AccessToken, AccessTokenHash, AuthorizationCode, ClientId, ClientSecret, CsrfToken, IssuerUrl, Nonce,
    OAuth2TokenResponse, PkceCodeChallenge, PkceCodeVerifier, RedirectUrl, RefreshToken, TokenResponse,
};
use secure_sessions_axum::{
    CrossOrigin, CrossOriginLayer, EngineError, Keyring, Login, MemoryStore, Session, SessionError, SessionLayer,
    SessionManager, Timestamp,
};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;

use crate::backchannel::{Recent, Whom};
use crate::provider::{AnyError, IdToken, Provider};

/// The key of the login in progress, in the session.
const ATTEMPT: &str = "oidc";
/// The key of the provider's tokens, in the session's vault.
const TOKENS: &str = "tokens";

#[derive(Clone)]
struct App {
    provider: Provider,
    /// The logouts at the provider.
    recent: Recent,
}

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

/// The provider's tokens, to call it on the user's behalf. They take some kilobytes, and nobody but the user's browser
/// has the key that opens them.
#[derive(Serialize, Deserialize)]
struct Tokens {
    access: AccessToken,
    refresh: Option<RefreshToken>,
    /// Goes back to the provider when the user logs out there too (`id_token_hint`).
    id: IdToken,
}

/// A user whom the provider has authenticated.
struct Authenticated {
    subject: String,
    at: Option<Timestamp>,
    /// The provider's session, if it can end it by itself.
    sid: Option<String>,
    /// When the ID token was issued, in seconds since 1970.
    issued_at: u64,
    tokens: Tokens,
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
async fn login(State(app): State<App>, session: Session) -> Result<Redirect, Failure> {
    let client = app.provider.client().await.map_err(Failure::Provider)?;
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
async fn callback(State(app): State<App>, session: Session, Query(answer): Query<Answer>) -> Result<Redirect, Failure> {
    // Looked at first: a stranger's link to this route must not use up the attempt.
    let expected = session.get::<Attempt>(ATTEMPT)?.map(|attempt| attempt.state);
    if expected.is_none_or(|expected| expected != CsrfToken::new(answer.state)) {
        return Err(Failure::NotStarted);
    }
    let attempt: Attempt = session.take_once(ATTEMPT).await?.ok_or(Failure::NotStarted)?;
    let code = answer.code.ok_or_else(|| Failure::Refused(answer.error.unwrap_or_default()))?;
    let user = redeem(&app.provider, code, attempt).await.map_err(Failure::Provider)?;
    // A new id and a fresh life for the session. `sub` is unique for one issuer only: with several of them, look up an
    // account of your own by both, and log that in.
    let mut login = Login::new(&user.subject);
    if let Some(at) = user.at {
        login = login.authenticated_at(at);
    }
    if let Some(sid) = &user.sid {
        login = login.provider_session(app.provider.issuer.as_str(), sid);
    }
    let begun = async {
        session.login_with(login)?;
        session.vault().insert(TOKENS, user.tokens)?;
        session.save().await
    };
    if let Err(error) = begun.await {
        // Nobody is logged in halfway: without tokens, say.
        session.discard();
        if error.status() == 503 {
            // The store may have carried it out all the same. The response would then deliver the new session.
            session.logout()?;
        }
        return Err(error.into());
    }
    // A logout at the provider may have overtaken this login. The login is saved, so one of the two sees the other.
    let began = [user.sid.map(Whom::Session), Some(Whom::Subject(user.subject))];
    if began.into_iter().flatten().any(|whom| app.recent.has_ended(whom, user.issued_at)) {
        session.logout()?;
        return Err(Failure::LoggedOut);
    }
    Ok(Redirect::to("/"))
}

/// Redeems the code. Returns whom the provider's answer is about.
async fn redeem(provider: &Provider, code: String, attempt: Attempt) -> Result<Authenticated, AnyError> {
    let client = provider.client().await?;
    let request = client.exchange_code(AuthorizationCode::new(code))?.set_pkce_verifier(attempt.verifier);
    let tokens = request.request_async(provider).await?;
    let id_token = tokens.id_token().ok_or("the provider sent no ID token: is `openid` among the scopes?")?;
    let verifier = client.id_token_verifier();
    let claims = id_token.claims(&verifier, &attempt.nonce)?;
    // Ties the access token, which `profile` uses, to the ID token.
    if let Some(expected) = claims.access_token_hash() {
        let (key, alg) = (id_token.signing_key(&verifier)?, id_token.signing_alg()?);
        if AccessTokenHash::from_token(tokens.access_token(), alg, key)? != *expected {
            return Err("the access token is not the one that the ID token names".into());
        }
    }
    let (access, refresh) = (tokens.access_token().clone(), tokens.refresh_token().cloned());
    Ok(Authenticated {
        subject: claims.subject().to_string(),
        at: claims.auth_time().map(|at| Timestamp::from_millis(at.timestamp_millis().unsigned_abs())),
        sid: claims.additional_claims().sid.clone(),
        issued_at: claims.issue_time().timestamp().unsigned_abs(),
        tokens: Tokens { access, refresh, id: id_token.clone() },
    })
}

/// Asks the provider for the user's e-mail address, with the access token.
async fn profile(State(app): State<App>, session: Session) -> Result<String, Failure> {
    let tokens: Tokens = session.vault().get(TOKENS).await?.ok_or(SessionError::from(EngineError::NotLoggedIn))?;
    let asked = async {
        let client = app.provider.client().await?;
        let claims: CoreUserInfoClaims = client.user_info(tokens.access, None)?.request_async(&app.provider).await?;
        Ok::<_, AnyError>(claims.email().map_or_else(String::new, |email| email.to_string()))
    };
    asked.await.map_err(Failure::Provider)
}

/// Ends the session here, and sends the browser to the provider to end its session there.
async fn logout(State(app): State<App>, session: Session) -> Result<Redirect, SessionError> {
    // Read first, since the logout deletes it. Without it, the user stays logged in at the provider, and there alone.
    let tokens: Option<Tokens> = session.vault().get(TOKENS).await.unwrap_or_else(|error| {
        tracing::warn!(%error, "no tokens at logout");
        None
    });
    session.logout()?;
    // Before the provider is asked, which may take its time.
    session.save().await?;
    let Some(Tokens { id, .. }) = tokens else {
        return Ok(Redirect::to("/"));
    };
    let url = app.provider.logout_url(&id).await.unwrap_or_else(|error| {
        tracing::warn!(%error, "no logout at the provider");
        None
    });
    Ok(Redirect::to(url.as_deref().unwrap_or("/")))
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
    #[error("the user has logged out at the provider meanwhile")]
    LoggedOut,
    #[error(transparent)]
    Session(#[from] SessionError),
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        tracing::warn!(error = ?self, "no login");
        let (status, text) = match self {
            Self::NotStarted => (StatusCode::BAD_REQUEST, "This login was not started here, or is finished already."),
            Self::Refused(_) | Self::LoggedOut => (StatusCode::FORBIDDEN, "You are not logged in."),
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
    let recent = Recent::default();
    let calls = backchannel::router(provider.clone(), manager.clone(), recent.clone());
    let pages = Router::new()
        .route("/", get(home))
        .route("/login", post(login))
        .route("/callback", get(callback))
        .route("/logout", post(logout))
        .route("/profile", get(profile))
        // Other sites cannot log the visitor out, nor start a login.
        .layer(CrossOriginLayer::new(CrossOrigin::default()))
        .layer(SessionLayer::new(manager));
    pages.with_state(App { provider, recent }).merge(calls)
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
    let store = MemoryStore::new();
    let manager = SessionManager::builder(Keyring::generate()?, store.clone()).vault(store).insecure_dev().build()?;
    manager.spawn_purge().detach();
    let listener = TcpListener::bind("127.0.0.1:3000").await?;
    serve(listener, app(manager.clone(), provider)).with_graceful_shutdown(interrupted()).await?;
    manager.drained().await;
    Ok(())
}

#[cfg(test)]
mod tests;
