//! The second factor, before somebody who is logged in may do more.

use std::time::Instant;

use askama::Template;
use axum::Form;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use secure_sessions_axum::Session;
use serde::Deserialize;

use super::{check_csrf, render};
use crate::app::App;
use crate::error::AppError;
use crate::shell::Shell;
use crate::users::{Account, account};
use crate::when;

/// The level of a session whose holder gave a password and a one-time code; by convention NIST's AAL 2.
pub const SECOND_FACTOR: u8 = 2;

#[derive(Template)]
#[template(path = "step_up.html")]
struct StepUpPage {
    shell: Shell,
    wrong: bool,
    /// The code that the account's app shows; `None`: it has no second factor.
    code: Option<String>,
    secret: &'static str,
}

fn page(app: &App, session: &Session, account: &Account, wrong: bool) -> Result<Response, AppError> {
    let page = StepUpPage {
        shell: Shell::of(session, "/step-up")?,
        wrong,
        code: app.second_factor.code(account, when::now() / 1000),
        secret: account.totp_secret.unwrap_or_default(),
    };
    Ok(render(&page)?.into_response())
}

fn whoever_is_logged_in(session: &Session) -> Option<Account> {
    session.subject().as_deref().and_then(account)
}

/// `GET /step-up`.
pub async fn show(State(app): State<App>, session: Session) -> Result<Response, AppError> {
    match whoever_is_logged_in(&session) {
        Some(account) => page(&app, &session, &account, false),
        None => Ok(Redirect::to("/login").into_response()),
    }
}

/// The form.
#[derive(Debug, Deserialize)]
pub struct Code {
    csrf: String,
    code: String,
}

/// `POST /step-up`.
pub async fn step_up(State(app): State<App>, session: Session, Form(form): Form<Code>) -> Result<Response, AppError> {
    check_csrf(&session, &form.csrf)?;
    let Some(account) = whoever_is_logged_in(&session) else { return Ok(Redirect::to("/login").into_response()) };
    // Six digits are few: guessing is limited as it is for passwords, by account and by address. The count is separate,
    // because an attacker who knows the password could reset a common one by entering it again.
    let guess = app.wrong_codes.reserve(account.name, Instant::now()).map_err(AppError::Locked)?;
    if !app.second_factor.accepts(&account, &form.code, when::now() / 1000) {
        return Ok((StatusCode::FORBIDDEN, page(&app, &session, &account, true)?).into_response());
    }
    guess.right();
    session.step_up(SECOND_FACTOR)?;
    Ok(Redirect::to("/admin").into_response())
}
