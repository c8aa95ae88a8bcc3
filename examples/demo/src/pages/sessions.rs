//! All sessions of whoever is logged in, each to be ended from here.

use askama::Template;
use axum::Form;
use axum::response::{IntoResponse, Redirect, Response};
use secure_sessions_axum::{Session, SessionInfo};
use serde::Deserialize;

use super::{TokenOnly, check_csrf, render};
use crate::error::AppError;
use crate::shell::Shell;
use crate::when;

#[derive(Template)]
#[template(path = "sessions.html")]
struct SessionsPage {
    shell: Shell,
    sessions: Vec<Row>,
}

struct Row {
    handle: String,
    label: String,
    made: String,
    seen: String,
    expires: String,
    is_current: bool,
}

impl Row {
    fn of(info: SessionInfo, now: u64) -> Self {
        let time = |time: secure_sessions_axum::Timestamp| when::relative(time.as_millis(), now);
        Self {
            handle: info.handle.to_string(),
            label: info.label.unwrap_or_else(|| "An unknown browser".to_owned()),
            made: time(info.created_at),
            seen: time(info.last_seen_at),
            expires: time(info.expires_at),
            is_current: info.current,
        }
    }
}

/// `GET /sessions`.
pub async fn show(session: Session) -> Result<Response, AppError> {
    if session.subject().is_none() {
        return Ok(Redirect::to("/login").into_response());
    }
    let now = when::now();
    let mut sessions = session.sessions().await?;
    sessions.sort_by_key(|info| (!info.current, std::cmp::Reverse(info.created_at)));
    let sessions = sessions.into_iter().map(|info| Row::of(info, now)).collect();
    let page = SessionsPage { shell: Shell::of(&session, "/sessions")?, sessions };
    Ok(render(&page)?.into_response())
}

/// Which session to end.
#[derive(Debug, Deserialize)]
pub struct Revocation {
    csrf: String,
    handle: String,
}

/// `POST /sessions/revoke`.
pub async fn revoke(session: Session, Form(form): Form<Revocation>) -> Result<Redirect, AppError> {
    check_csrf(&session, &form.csrf)?;
    let handle = form.handle.parse().map_err(|_| AppError::NotFound)?;
    session.revoke(&handle).await?;
    Ok(Redirect::to("/sessions"))
}

/// `POST /sessions/revoke-others`.
pub async fn revoke_others(session: Session, Form(form): Form<TokenOnly>) -> Result<Redirect, AppError> {
    check_csrf(&session, &form.csrf)?;
    session.revoke_others().await?;
    Ok(Redirect::to("/sessions"))
}

/// `POST /sessions/logout-everywhere`.
pub async fn log_out_everywhere(session: Session, Form(form): Form<TokenOnly>) -> Result<Redirect, AppError> {
    check_csrf(&session, &form.csrf)?;
    session.logout_everywhere()?;
    Ok(Redirect::to("/"))
}
