//! Back-channel logout: the provider itself calls this application when a user has logged out there, was locked, or was
//! logged out by an administrator.
//!
//! The request comes from the provider's servers. It has no cookie, and its logout token is all that says who sent it.

mod recent;
mod token;

use std::time::{SystemTime, UNIX_EPOCH};

use axum::extract::rejection::FormRejection;
use axum::extract::{DefaultBodyLimit, Form, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use secure_sessions_axum::{EngineError, SessionManager};
use serde::Deserialize;
use serde_json::json;
use tokio::task::JoinError;

use self::token::{Invalid, LogoutToken, Unverified};
use crate::provider::{AnyError, KEYS_LAST, KEYS_REST, Provider};

pub(crate) use self::recent::Recent;
pub(crate) use self::token::Whom;

/// Logout tokens are far shorter.
const LONGEST_FORM: usize = 64 * 1024;

#[derive(Clone)]
struct Endpoint {
    provider: Provider,
    manager: SessionManager,
    recent: Recent,
}

/// Makes the route that the provider calls. It stands beside the pages: it needs no session, and no browser calls it.
pub(crate) fn router(provider: Provider, manager: SessionManager, recent: Recent) -> Router {
    Router::new()
        .route("/backchannel-logout", post(logout))
        .layer(DefaultBodyLimit::max(LONGEST_FORM))
        .with_state(Endpoint { provider, manager, recent })
}

#[derive(Deserialize)]
struct Sent {
    logout_token: String,
}

/// Ends the sessions that the logout token names. If none of them is left, that is a success, too.
async fn logout(
    State(endpoint): State<Endpoint>,
    sent: Result<Form<Sent>, FormRejection>,
) -> Result<impl IntoResponse, Refusal> {
    let Form(Sent { logout_token }) = sent?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let token = verify(&Unverified::read(&logout_token, &endpoint.provider, now)?, &endpoint.provider).await?;
    if endpoint.recent.is_used(&token) {
        return Err(Invalid::Replayed.into());
    }
    // A task, because a provider that hangs up drops this handler: a logout that has begun goes on to its end.
    tokio::spawn(end(endpoint, token, now)).await??;
    Ok((StatusCode::OK, [(header::CACHE_CONTROL, "no-store")]))
}

async fn end(endpoint: Endpoint, token: LogoutToken, now: u64) -> Result<(), Refusal> {
    let Endpoint { provider, manager, recent } = endpoint;
    // First: a login that is under way either is in the store by now, or finds this.
    recent.announce(&token, now);
    let ended = match &token.whom {
        Whom::Session(sid) => manager.revoke_provider_session(provider.issuer.as_str(), sid).await,
        Whom::Subject(sub) => manager.revoke_subject(sub).await,
    };
    let ended = ended.map_err(Refusal::Sessions)?;
    // Last: if the store was down, the same token ends them when the provider sends it again.
    recent.use_up(&token, now);
    tracing::info!(ended, "logged out by the provider");
    Ok(())
}

/// Returns the token if one of the provider's keys has signed it, be it one that the provider has just begun to use.
async fn verify(token: &Unverified, provider: &Provider) -> Result<LogoutToken, Refusal> {
    for age in [KEYS_LAST, KEYS_REST] {
        let keys = provider.keys(age).await.map_err(Refusal::Keys)?;
        if let Some(token) = token.verify(&keys) {
            return Ok(token.clone());
        }
    }
    Err(Invalid::Signature.into())
}

/// A logout that was not done. A provider sends it again after a 503, and not after a 400.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("the request has no form with one `logout_token`: {0}")]
    Form(#[from] FormRejection),
    #[error(transparent)]
    Token(#[from] Invalid),
    #[error("the provider's keys cannot be fetched now: {0}")]
    Keys(AnyError),
    #[error("the sessions could not be ended: {0}")]
    Sessions(EngineError),
    #[error("the logout broke off: {0}")]
    Broken(#[from] JoinError),
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        tracing::warn!(error = ?self, "no logout by the provider");
        let (status, error, description) = match &self {
            Self::Form(_) | Self::Token(_) => (StatusCode::BAD_REQUEST, "invalid_request", self.to_string()),
            // No session has begun with a name that the engine refuses, so another try would not help.
            Self::Sessions(error) if error.status() == 400 => {
                (StatusCode::BAD_REQUEST, "invalid_request", error.to_string())
            }
            Self::Keys(_) | Self::Sessions(_) | Self::Broken(_) => {
                (StatusCode::SERVICE_UNAVAILABLE, "temporarily_unavailable", "Try again later.".to_owned())
            }
        };
        let body = Json(json!({ "error": error, "error_description": description }));
        (status, [(header::CACHE_CONTROL, "no-store")], body).into_response()
    }
}
