//! Stored sessions: count, list, end, purge.

use std::path::Path;
use std::time::Duration;

use secure_sessions::store::{Purge, SessionStore};
use secure_sessions::{Builder, Handle, SessionError, SessionManager};
use serde_json::json;

use crate::arguments::{SessionsCommand, StoreArguments};
use crate::cookie::CookieName;
use crate::error::Failure;
use crate::output::{Answer, plain, when};
use crate::{keys, store};

/// The shortest absolute timeout that a manager takes.
const SHORTEST: Duration = Duration::from_millis(1);

const HOW_A_SUBJECT_IS_FOUND: &str = "A subject is found by exactly the text that the application passes to `login`, with its keys, \
     --cookie-name, and --table or --prefix.";
const HOW_A_GROUP_IS_FOUND: &str = "Sessions are found by exactly the `iss` and `sid` of their login, with the application's keys, \
     --cookie-name, and --table or --prefix.";

/// Begins the application's manager, as far as stored sessions are concerned.
async fn builder(keys: Option<&Path>, arguments: &StoreArguments, cookie_name: String) -> Result<Builder, Failure> {
    // Before the store is asked: a missing key file is the likelier mistake.
    let keyring = keys::keyring(keys)?;
    let name = CookieName::parse(cookie_name);
    Ok(name.apply(store::open(arguments).await?.builder(keyring)))
}

pub(crate) async fn run(
    command: SessionsCommand,
    keys: Option<&Path>,
    arguments: &StoreArguments,
    cookie_name: String,
) -> Result<Answer, Failure> {
    if matches!(command, SessionsCommand::Count) {
        let count = store::open(arguments).await?.sessions.count().await?;
        return Ok(Answer::new(count.to_string(), json!({ "sessions": count })));
    }
    // Before the store is asked, as all that the arguments alone can tell.
    if let SessionsCommand::Revoke { handle, .. } = &command
        && handle.parse::<Handle>().is_err()
    {
        return Err(not_a_handle(handle));
    }
    if let SessionsCommand::RevokeAll { subject: None, provider_session: None, everybody: false } = command {
        let problem = "whose sessions? Name the subject, --provider-session ISS SID, or --everybody for all";
        return Err(Failure::Usage(problem.to_owned()));
    }
    let mut builder = builder(keys, arguments, cookie_name).await?;
    if let SessionsCommand::RevokeAll { everybody: true, .. } = command {
        // The engine deletes the private values whose deadline shows that they are of before. With a timeout longer than the
        // application's, it would also delete those of a login meanwhile.
        builder = builder.absolute_timeout(SHORTEST);
    }
    let manager = builder.build()?;
    match command {
        SessionsCommand::Count => Ok(Answer::new("", json!({}))),
        SessionsCommand::List { subject } => list(&manager, &subject).await,
        SessionsCommand::Revoke { subject, handle } => revoke(&manager, &subject, &handle).await,
        SessionsCommand::RevokeAll { subject: Some(subject), .. } => {
            Ok(ended(manager.revoke_subject(&subject).await?, HOW_A_SUBJECT_IS_FOUND))
        }
        SessionsCommand::RevokeAll { provider_session: Some(claims), .. } => {
            // The parser takes exactly two.
            let [issuer, sid] = claims.as_slice() else { return Err(Failure::Usage("ISS and SID".to_owned())) };
            match manager.revoke_provider_session(issuer, sid).await {
                Err(SessionError::Meta(error)) => Err(Failure::Usage(error.to_string())),
                count => Ok(ended(count?, HOW_A_GROUP_IS_FOUND)),
            }
        }
        SessionsCommand::RevokeAll { subject: None, .. } => Ok(ended(manager.revoke_everything().await?, "")),
    }
}

fn not_a_handle(text: &str) -> Failure {
    Failure::Usage(format!("`{text}` is no session's handle: take one that `sessions list` prints"))
}

/// Says how many sessions have ended and, if there were none, how they are found.
fn ended(count: u64, how_found: &str) -> Answer {
    let sessions = if count == 1 { "session" } else { "sessions" };
    let hint = if count == 0 { how_found } else { "" };
    Answer::new(format!("{count} {sessions} ended. {hint}").trim_end(), json!({ "ended": count }))
}

async fn list(manager: &SessionManager, subject: &str) -> Result<Answer, Failure> {
    let mut sessions = manager.sessions_of(subject).await?;
    sessions.sort_by_key(|session| session.created_at);
    let mut text = String::new();
    for session in &sessions {
        let line = format!(
            "{}  created {}  last seen {}  ends by {}  {}",
            session.handle,
            when(session.created_at),
            when(session.last_seen_at),
            when(session.expires_at),
            plain(session.label.as_deref().unwrap_or_default()),
        );
        text += &format!("{}\n", line.trim_end());
    }
    if sessions.is_empty() {
        text = format!("No live session. {HOW_A_SUBJECT_IS_FOUND}");
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
    let handle = handle.parse().map_err(|_| not_a_handle(handle))?;
    match manager.revoke(subject, &handle).await {
        Ok(()) => Ok(ended(1, "")),
        Err(SessionError::NoSuchSession) => {
            let text = "No live session of this subject has this handle: it ended already, or is another subject's.";
            Ok(Answer { is_bad: true, ..Answer::new(text, json!({ "ended": 0 })) })
        }
        Err(error) => Err(error.into()),
    }
}

pub(crate) async fn purge(arguments: &StoreArguments) -> Result<Answer, Failure> {
    let store::Opened { sessions, vault } = store::open(arguments).await?;
    let purge = Purge::new(sessions).vault(vault);
    let removed = purge.run_once().await?;
    let entries = if removed == 1 { "entry" } else { "entries" };
    Ok(Answer::new(format!("{removed} expired {entries} removed."), json!({ "removed": removed })))
}
