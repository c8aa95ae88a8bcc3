//! The pages, one module each.

#![expect(clippy::missing_errors_doc, reason = "they are handlers: `AppError` says what each can meet")]

pub mod admin;
pub mod binding;
pub mod cart;
pub mod health;
pub mod home;
pub mod lab;
pub mod login;
pub mod preferences;
pub mod sessions;
pub mod step_up;

use askama::Template;
use axum::response::Html;
use secure_sessions_axum::Session;
use serde::Deserialize;

use crate::error::AppError;

/// The answer of most handlers.
pub type Page = Result<Html<String>, AppError>;

/// A form with nothing but its session's token.
#[derive(Debug, Deserialize)]
pub struct TokenOnly {
    csrf: String,
}

fn render(template: &impl Template) -> Page {
    Ok(Html(template.render()?))
}

/// Refuses a form that does not carry the session's token.
fn check_csrf(session: &Session, token: &str) -> Result<(), AppError> {
    if session.is_csrf_token(token) { Ok(()) } else { Err(AppError::Csrf) }
}
