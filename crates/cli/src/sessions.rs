//! Stored sessions: count, list, end, purge.

use std::path::Path;

use secure_sessions::store::{Purge, SessionStore};
use secure_sessions::{Handle, SessionError, SessionManager};
use serde_json::json;

use crate::arguments::{SessionsCommand, StoreArguments};
use crate::cookie::CookieName;
use crate::error::Failure;
use crate::output::{Answer, when};
use crate::{keys, store};

/// Builds the application's manager, as far as stored sessions are concerned.
pub(crate) async fn manager(
    keys: Option<&Path>,
    arguments: &StoreArguments,
    cookie_name: String,
) -> Result<SessionManager, Failure> {
    // Before the store is asked: a missing key file is the likelier mistake.
    let keyring = keys::keyring(keys)?;
    let name = CookieName::parse(cookie_name);
    Ok(name.apply(SessionManager::builder(keyring, store::open(arguments).await?)).build()?)
}

pub(crate) async fn run(
    command: SessionsCommand,
    keys: Option<&Path>,
    arguments: &StoreArguments,
    cookie_name: String,
) -> Result<Answer, Failure> {
    if matches!(command, SessionsCommand::Count) {
        let count = store::open(arguments).await?.count().await?;
        return Ok(Answer::new(count.to_string(), json!({ "sessions": count })));
    }
    if let SessionsCommand::Revoke { handle, .. } = &command
        && handle.parse::<Handle>().is_err()
    {
        let problem = format!("`{handle}` is no session's handle: take one that `sessions list` prints");
        return Err(Failure::Usage(problem));
    }
    if let SessionsCommand::RevokeAll { subject: None, everybody: false } = command {
        return Err(Failure::Usage("whose sessions? Name the subject, or --everybody for all".to_owned()));
    }
    let manager = manager(keys, arguments, cookie_name).await?;
    match command {
        SessionsCommand::Count => Ok(Answer::new("", json!({}))),
        SessionsCommand::List { subject } => list(&manager, &subject).await,
        SessionsCommand::Revoke { subject, handle } => revoke(&manager, &subject, &handle).await,
        SessionsCommand::RevokeAll { subject: Some(subject), .. } => ended(manager.revoke_subject(&subject).await?),
        SessionsCommand::RevokeAll { subject: None, .. } => ended(manager.revoke_everything().await?),
    }
}

fn ended(count: u64) -> Result<Answer, Failure> {
    let sessions = if count == 1 { "session" } else { "sessions" };
    Ok(Answer::new(format!("{count} {sessions} ended."), json!({ "ended": count })))
}

async fn list(manager: &SessionManager, subject: &str) -> Result<Answer, Failure> {
    let sessions = manager.sessions_of(subject).await?;
    let mut text = String::new();
    for session in &sessions {
        text += &format!(
            "{}  created {}  last seen {}  ends by {}  {}\n",
            session.handle,
            when(session.created_at),
            when(session.last_seen_at),
            when(session.expires_at),
            session.label.as_deref().unwrap_or_default(),
        );
    }
    if sessions.is_empty() {
        text = "No live session. (A subject is found by exactly the text that the application passes to `login`.)"
            .to_owned();
    }
    let list: Vec<_> = sessions
        .iter()
        .map(|session| {
            json!({
                "handle": session.handle.to_string(),
                "created_at": when(session.created_at),
                "last_seen_at": when(session.last_seen_at),
                "expires_at": when(session.expires_at),
                "label": session.label,
            })
        })
        .collect();
    Ok(Answer::new(text, json!({ "sessions": list })))
}

async fn revoke(manager: &SessionManager, subject: &str, handle: &str) -> Result<Answer, Failure> {
    let handle = handle.parse().map_err(|_| Failure::Usage("no handle".to_owned()))?;
    match manager.revoke(subject, &handle).await {
        Ok(()) => ended(1),
        Err(SessionError::NoSuchSession) => {
            let text = "No live session of this subject has this handle: it ended already, or is another subject's.";
            Ok(Answer { is_bad: true, ..Answer::new(text, json!({ "ended": 0 })) })
        }
        Err(error) => Err(error.into()),
    }
}

pub(crate) async fn purge(arguments: &StoreArguments) -> Result<Answer, Failure> {
    let removed = Purge::new(store::open(arguments).await?).run_once().await?;
    let entries = if removed == 1 { "entry" } else { "entries" };
    Ok(Answer::new(format!("{removed} expired {entries} removed."), json!({ "removed": removed })))
}
