//! The errors of a handler, and the page that reports them.

use std::time::Duration;

use askama::Template;
use axum::http::StatusCode;
use axum::http::header::RETRY_AFTER;
use axum::response::{Html, IntoResponse, Redirect, Response};
use secure_sessions_axum::{KeySourceError, SessionError, StoreError, secure_sessions};

use crate::keys::KeysError;
use crate::lab::LabError;
use crate::shell::Shell;
use crate::users::HashError;
use crate::when;

/// An error of a handler.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AppError {
    /// The session.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// The store, asked beside the session.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A form without this session's token.
    #[error("the form does not carry this session's token")]
    Csrf,
    /// Too many wrong passwords or codes in a row.
    #[error("locked for another {0:?} after too many wrong passwords or codes")]
    Locked(Duration),
    /// Too many attempts from one address.
    #[error("too many attempts; wait {0:?}")]
    TooMany(Duration),
    /// Nobody is logged in.
    #[error("nobody is logged in")]
    LogInFirst,
    /// The second factor is missing, or too long ago.
    #[error("the second factor is missing or too old")]
    StepUpFirst,
    /// Not with this account.
    #[error("this account may not do that")]
    Forbidden,
    /// The keys could not be replaced.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// The new keys could not be put in force.
    #[error(transparent)]
    KeySource(#[from] KeySourceError),
    /// A task of its own.
    #[error("a background task failed: {0}")]
    Background(String),
    /// No such page, product or attack.
    #[error("there is nothing here")]
    NotFound,
    /// The password hasher.
    #[error(transparent)]
    Hash(#[from] HashError),
    /// The attack lab.
    #[error(transparent)]
    Lab(#[from] LabError),
    /// A template.
    #[error("a page could not be written: {0}")]
    Template(#[from] askama::Error),
}

#[derive(Template)]
#[template(path = "error.html")]
struct ErrorPage {
    shell: Shell,
    status: u16,
    title: &'static str,
    text: String,
}

impl IntoResponse for AppError {
    fn into_response(self) -> Response {
        let (status, title, text) = match &self {
            Self::Session(error) => return session_error(error.kind()),
            Self::LogInFirst => return Redirect::to("/login").into_response(),
            Self::StepUpFirst => return Redirect::to("/step-up").into_response(),
            Self::Forbidden => {
                (StatusCode::FORBIDDEN, "Not with this account", "Only an administrator may see this.".to_owned())
            }
            Self::Locked(left) => return too_many("Locked for a moment", *left),
            Self::TooMany(left) => return too_many("Too many attempts", *left),
            Self::NotFound => (StatusCode::NOT_FOUND, "Nothing here", "This page does not exist.".to_owned()),
            Self::Csrf => (
                StatusCode::FORBIDDEN,
                "This form is out of date",
                "It does not carry the token of your session: the session has changed since the page was loaded, or the \
                 form came from another site. Nothing was done."
                    .to_owned(),
            ),
            // The lab's own words: it is a demo, and its failures are its content.
            Self::Lab(error) => (StatusCode::BAD_GATEWAY, "The attack could not be run", error.to_string()),
            Self::Store(_)
            | Self::Hash(_)
            | Self::Template(_)
            | Self::Keys(_)
            | Self::KeySource(_)
            | Self::Background(_) => {
                (StatusCode::INTERNAL_SERVER_ERROR, "Something went wrong", "The log says what.".to_owned())
            }
        };
        if status.is_server_error() {
            tracing::error!(error = %self, "a page failed");
        }
        page(status, title, text)
    }
}

fn too_many(title: &'static str, left: Duration) -> Response {
    let seconds = left.as_secs() + 1;
    let wait = when::span(Duration::from_secs(seconds));
    let text = format!("Passwords and codes cannot be guessed here for long. Try again in {wait}.");
    let mut response = page(StatusCode::TOO_MANY_REQUESTS, title, text);
    response.headers_mut().insert(RETRY_AFTER, seconds.into());
    response
}

/// The page for an error of the session, whether a handler met it or the commit after it.
pub fn session_error(error: &secure_sessions::SessionError) -> Response {
    let status = StatusCode::from_u16(error.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if status.is_server_error() {
        tracing::error!(%error, "a session failed");
    }
    page(status, "Your session could not be used", error.client_text().to_owned())
}

fn page(status: StatusCode, title: &'static str, text: String) -> Response {
    let page = ErrorPage { shell: Shell::without_session(), status: status.as_u16(), title, text };
    match page.render() {
        Ok(html) => (status, Html(html)).into_response(),
        Err(_) => status.into_response(),
    }
}
