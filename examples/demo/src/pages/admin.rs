//! The administrator's page: who is logged in, the compromise drill, and what the engine reports, live. Behind a role, a
//! second factor and a recent authentication.

use std::convert::Infallible;
use std::time::Duration;

use askama::Template;
use axum::Form;
use axum::extract::State;
use axum::response::sse::{self, KeepAlive, Sse};
use axum::response::{IntoResponse, Redirect, Response};
use futures_util::{Stream, StreamExt, stream};
use secure_sessions_axum::secure_sessions::{self, KeyKind, KeyState};
use secure_sessions_axum::{Session, SessionError};
use serde::Deserialize;
use serde_json::json;

use super::step_up::SECOND_FACTOR;
use super::{TokenOnly, check_csrf, render};
use crate::app::App;
use crate::error::AppError;
use crate::events::{EventRing, Recorded};
use crate::shell::Shell;
use crate::users::{ACCOUNTS, Role, account};
use crate::when;

/// The greatest age of an administrator's authentication.
const RECENT: Duration = Duration::from_secs(5 * 60);
/// The time after which a live feed without events checks again that its session lives.
const CHECK_LIVE: Duration = Duration::from_secs(1);
const SHOWN_EVENTS: usize = 30;

#[derive(Template)]
#[template(path = "admin.html")]
struct AdminPage {
    shell: Shell,
    count: u64,
    users: Vec<User>,
    keys: Vec<Key>,
    events: Vec<Shown>,
}

struct User {
    name: &'static str,
    full_name: &'static str,
    role: &'static str,
    sessions: usize,
}

struct Key {
    kind: String,
    id: String,
    state: &'static str,
}

struct Shown {
    name: &'static str,
    text: String,
    at: String,
}

/// Lets an administrator pass who authenticated with both factors, and recently; says what is missing otherwise.
fn gate(session: &Session) -> Result<(), AppError> {
    let subject = session.subject().ok_or(AppError::LogInFirst)?;
    if account(&subject).is_none_or(|account| account.role != Role::Admin) {
        return Err(AppError::Forbidden);
    }
    let strong = session.require_assurance(SECOND_FACTOR).and_then(|()| session.require_recent_auth(RECENT));
    match strong {
        Ok(()) => Ok(()),
        Err(error) if asks_for_more(error.kind()) => Err(AppError::StepUpFirst),
        Err(error) => Err(error.into()),
    }
}

fn asks_for_more(error: &secure_sessions::SessionError) -> bool {
    use secure_sessions::SessionError::{AssuranceTooLow, AuthenticationTooOld};
    matches!(error, AssuranceTooLow { .. } | AuthenticationTooOld { .. })
}

/// `GET /admin`.
pub async fn show(State(app): State<App>, session: Session) -> Result<Response, AppError> {
    gate(&session)?;
    let mut users = Vec::new();
    for account in ACCOUNTS {
        let sessions = app.sessions.sessions_of(account.name).await.map_err(SessionError::from)?;
        users.push(User {
            name: account.name,
            full_name: account.full_name,
            role: account.role.name(),
            sessions: sessions.len(),
        });
    }
    let keyring = app.sessions.keyring();
    let keys = keyring.states().map(|(kind, id, state)| Key {
        kind: match kind {
            KeyKind::Seal => "seals".to_owned(),
            KeyKind::Fingerprint => "marks".to_owned(),
        },
        id: id.to_string(),
        state: match state {
            KeyState::Active => "active",
            KeyState::Accepted => "accepted",
            KeyState::Compromised => "compromised",
            _ => "unknown",
        },
    });
    let now = when::now();
    let events = app.events.newest(SHOWN_EVENTS).into_iter().map(|event| Shown {
        name: event.name,
        text: event.text,
        at: when::relative(when::millis(event.at), now),
    });
    let page = AdminPage {
        shell: Shell::of(&session, "/admin")?,
        count: app.sessions.count().await.map_err(SessionError::from)?,
        users,
        keys: keys.collect(),
        events: events.collect(),
    };
    Ok(render(&page)?.into_response())
}

/// `POST /admin/drill`: the seal key has leaked, suppose.
pub async fn drill(
    State(app): State<App>,
    session: Session,
    Form(form): Form<TokenOnly>,
) -> Result<Redirect, AppError> {
    gate(&session)?;
    check_csrf(&session, &form.csrf)?;
    let keys = app.keys.clone();
    let written = tokio::task::spawn_blocking(move || keys.compromise_seal_keys()).await;
    written.map_err(|error| AppError::Background(error.to_string()))??;
    app.sessions.reload_keys(|| app.keys.keyring())?;
    Ok(Redirect::to("/admin"))
}

/// Whose sessions to end.
#[derive(Debug, Deserialize)]
pub struct Revocation {
    csrf: String,
    user: String,
}

/// `POST /admin/revoke`.
pub async fn revoke(
    State(app): State<App>,
    session: Session,
    Form(form): Form<Revocation>,
) -> Result<Redirect, AppError> {
    gate(&session)?;
    check_csrf(&session, &form.csrf)?;
    let account = account(&form.user).ok_or(AppError::NotFound)?;
    app.sessions.revoke_subject(account.name).await.map_err(SessionError::from)?;
    Ok(Redirect::to("/admin"))
}

/// `GET /admin/events`: the live feed, for as long as its session lives and the server runs.
pub async fn events(State(app): State<App>, session: Session) -> Result<Response, AppError> {
    gate(&session)?;
    let feed = feed(app.events, session).take_until(app.stopping.wait());
    Ok(Sse::new(feed).keep_alive(KeepAlive::default()).into_response())
}

fn feed(ring: EventRing, session: Session) -> impl Stream<Item = Result<sse::Event, Infallible>> + Send {
    let start = (ring.watch(), ring.mark(), ring, session);
    let batches = stream::unfold(start, async |(mut newer, mark, ring, session)| {
        loop {
            if let Ok(Err(_)) = tokio::time::timeout(CHECK_LIVE, newer.changed()).await {
                return None;
            }
            let (events, next) = ring.after(mark);
            // Checked after the events were read: the feed sends nothing that happened after its session ended.
            if !matches!(session.is_live().await, Ok(true)) {
                return None;
            }
            if !events.is_empty() {
                return Some((stream::iter(events.into_iter().map(as_message)), (newer, next, ring, session)));
            }
        }
    });
    batches.flatten()
}

fn as_message(event: Recorded) -> Result<sse::Event, Infallible> {
    let message = json!({ "name": event.name, "text": event.text });
    Ok(sse::Event::default().data(message.to_string()))
}
