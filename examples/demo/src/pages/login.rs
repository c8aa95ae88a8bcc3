//! Log in and out.

use std::time::Instant;

use askama::Template;
use axum::Form;
use axum::extract::State;
use axum::http::header::USER_AGENT;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use secure_sessions_axum::Session;
use secure_sessions_axum::secure_sessions::Login;
use serde::Deserialize;

use super::{Page, TokenOnly, check_csrf, render};
use crate::app::App;
use crate::device;
use crate::error::AppError;
use crate::shell::Shell;
use crate::users::{ACCOUNTS, Account};

#[derive(Template)]
#[template(path = "login.html")]
struct LoginPage {
    shell: Shell,
    csrf: String,
    accounts: &'static [Account],
    wrong: bool,
}

/// `GET /login`.
pub async fn show(session: Session) -> Page {
    page(&session, false)
}

fn page(session: &Session, wrong: bool) -> Page {
    let csrf = session.csrf_token()?;
    render(&LoginPage { shell: Shell::of(session, "/login")?, csrf, accounts: &ACCOUNTS, wrong })
}

/// The login form.
#[derive(Debug, Deserialize)]
pub struct Credentials {
    csrf: String,
    user: String,
    password: String,
}

/// `POST /login`.
pub async fn log_in(
    State(app): State<App>,
    session: Session,
    headers: HeaderMap,
    Form(form): Form<Credentials>,
) -> Result<Response, AppError> {
    check_csrf(&session, &form.csrf)?;
    let guess = app.wrong_passwords.reserve(&form.user, Instant::now()).map_err(AppError::Locked)?;
    let Some(account) = app.users.verify(&form.user, form.password).await? else {
        return Ok((StatusCode::UNAUTHORIZED, page(&session, true)?).into_response());
    };
    guess.right();
    // The cart of an anonymous visitor comes along; the data that another account left in this browser does not.
    if session.subject().is_some_and(|subject| subject != account.name) {
        session.clear()?;
    }
    let user_agent = headers.get(USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    session.login_with(Login::new(account.name).assurance(1).label(device::label(user_agent)))?;
    Ok(Redirect::to("/").into_response())
}

/// `POST /logout`.
pub async fn log_out(session: Session, Form(form): Form<TokenOnly>) -> Result<Redirect, AppError> {
    check_csrf(&session, &form.csrf)?;
    session.logout()?;
    Ok(Redirect::to("/"))
}
