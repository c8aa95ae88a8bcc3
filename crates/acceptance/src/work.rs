//! The work of the routes with a session, apart from any framework.

use std::ops::Deref;
use std::time::Duration;

use futures_util::{Stream, stream};
use secure_sessions::{Session, SessionError, SessionInfo};
use serde_json::{Value, json};

use crate::answer::Answer;
use crate::app::App;
use crate::extra;
use crate::query::Query;
use crate::views::{incremented, state};

/// A route with a session: an adapter's server mounts each, extracts the session and calls [`Work::run`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the table below says what each does")]
pub enum Work {
    State,
    Set,
    Remove,
    Clear,
    Incr,
    Login,
    Renew,
    Logout,
    LogoutKeepingData,
    LogoutEverywhere,
    Big,
    Fail,
    Sessions,
    Revoke,
    RevokeOthers,
    Csrf,
    Protected,
    Extra(extra::Work),
}

/// The parts of a request, apart from its session.
#[derive(Debug, Default)]
pub struct Request {
    /// Its parameters.
    pub query: Query,
    /// Its `X-CSRF-Token` header.
    pub csrf_token: Option<String>,
}

impl Work {
    /// Does the work of one request.
    ///
    /// # Panics
    ///
    /// If the request asks for it, with the step `panic` of `/extra/steps`.
    pub async fn run(self, app: &App, session: &Session, request: &Request) -> Answer {
        app.loaded(&request.query).await;
        let answer = self.work(session, request).await.unwrap_or_else(|error| Answer::from(&error));
        app.before_reply(&request.query).await;
        answer
    }

    async fn work(self, session: &Session, request: &Request) -> Result<Answer, SessionError> {
        let query = &request.query;
        let key = query.text("k");
        match self {
            Self::State => {}
            Self::Set => session.insert(key, query.text("v"))?,
            Self::Remove => {
                session.remove(key)?;
            }
            Self::Clear => session.clear()?,
            Self::Incr => return Ok(Answer::ok(json!({ "value": incremented(session, key)? }))),
            Self::Login => {
                if query.first("bearer") == Some("1") {
                    session.use_bearer()?;
                }
                session.login(query.text("user"))?;
            }
            Self::Renew => session.renew()?,
            Self::Logout => session.logout()?,
            Self::LogoutKeepingData => session.logout_keeping_data()?,
            Self::LogoutEverywhere => session.logout_everywhere()?,
            Self::Big => session.insert("big", "x".repeat(usize::try_from(query.number("n")).unwrap_or(usize::MAX)))?,
            Self::Fail => {
                session.insert(key, query.text("v"))?;
                let status = query.text("status").parse().unwrap_or(500);
                return Ok(Answer::error(status, "failed as asked"));
            }
            Self::Sessions => {
                let sessions = session.sessions().await?;
                return Ok(Answer::ok(sessions.iter().map(listed).collect()));
            }
            Self::Revoke => return revoke(session, query.text("handle")).await,
            Self::RevokeOthers => return Ok(Answer::ok(json!({ "revoked": session.revoke_others().await? }))),
            Self::Csrf => return Ok(Answer::ok(json!({ "token": session.csrf_token()? }))),
            Self::Protected => {
                let presented = request.csrf_token.as_deref().unwrap_or_else(|| query.text("csrf_token"));
                if !session.is_csrf_token(presented) {
                    return Ok(Answer::error(403, "the CSRF token is missing or of another session"));
                }
                return Ok(Answer::ok(json!({ "protected": true })));
            }
            Self::Extra(work) => return work.run(session, query).await,
        }
        Ok(Answer::ok(state(session)?))
    }
}

/// One line, `live` or `ended`, each 100 ms until the session has ended or the client hangs up.
pub fn watched(session: impl Deref<Target = Session>) -> impl Stream<Item = &'static str> {
    stream::unfold((session, true), |(session, goes_on)| async move {
        if !goes_on {
            return None;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        let (line, goes_on) = match session.is_live().await {
            Ok(true) => ("live\n", true),
            Ok(false) => ("ended\n", false),
            Err(_) => ("unknown\n", true),
        };
        Some((line, (session, goes_on)))
    })
}

/// The change that a streamed body attempts when the response's headers have gone ahead of it.
pub async fn late(session: &Session) -> Value {
    tokio::time::sleep(Duration::from_millis(50)).await;
    let said = |outcome: Result<(), SessionError>| outcome.map_or_else(|error| error.to_string(), |()| "ok".to_owned());
    json!({
        "data": state(session).map_or(Value::Null, |mut state| state["data"].take()),
        "insert": said(session.insert("late", 1)),
        "login": said(session.login("late")),
        "logout": said(session.logout()),
        "save": said(session.save().await),
        "touch": session.touch().await.ok(),
    })
}

/// The status and the headers of the application's own response to a session error: off to where one logs in, with
/// `ON_ERROR=1`.
#[must_use]
pub fn own_response(error: &SessionError) -> Answer {
    match error {
        SessionError::NotLoggedIn => Answer { status: 303, ..Answer::from(error) }.with("location", "/login"),
        SessionError::AuthenticationTooOld { .. } | SessionError::AssuranceTooLow { .. } => {
            Answer { status: 303, ..Answer::from(error) }.with("location", "/again")
        }
        error => Answer::from(error).with("x-own", "1"),
    }
}

async fn revoke(session: &Session, handle: &str) -> Result<Answer, SessionError> {
    match handle.parse() {
        Ok(handle) => {
            session.revoke(&handle).await?;
            Ok(Answer::ok(json!({ "revoked": true })))
        }
        Err(_) => Ok(Answer::error(400, "the handle is malformed")),
    }
}

fn listed(info: &SessionInfo) -> Value {
    json!({
        "handle": info.handle.to_string(),
        "created_at": info.created_at.as_millis(),
        "last_seen_at": info.last_seen_at.as_millis(),
        "expires_at": info.expires_at.as_millis(),
        "label": info.label,
        "current": info.current,
    })
}
