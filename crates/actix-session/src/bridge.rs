//! Translates a session's changes into operations, for both versions of actix-session.

use std::collections::HashMap;

use secure_sessions_actix::EngineError;
use secure_sessions_actix::secure_sessions::Session;

use crate::json;

/// The data of a session, as actix-session keeps it: JSON texts.
pub(crate) type Data = HashMap<String, String>;

/// The change that a handler made to a session's id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Kept,
    Renewed,
    Purged,
}

/// A request's session before or after its handler ran.
pub(crate) struct Snapshot {
    pub(crate) data: Data,
    /// The subject that the application finds in the data.
    pub(crate) subject: Option<String>,
}

/// Makes the changes that lie between two snapshots: all, or none but the end of the session.
pub(crate) fn apply(session: &Session, fate: Fate, before: &Snapshot, after: &Snapshot) -> Result<(), EngineError> {
    let applied = try_apply(session, fate, before, after);
    if applied.is_err() {
        session.discard();
    }
    applied
}

fn try_apply(session: &Session, fate: Fate, before: &Snapshot, after: &Snapshot) -> Result<(), EngineError> {
    match fate {
        // Nothing can have been inserted since.
        Fate::Purged => return session.logout(),
        Fate::Renewed => session.renew()?,
        Fate::Kept => {}
    }
    let starts_over = before.subject != after.subject && follow_subject(session, after.subject.as_deref())?;
    // Removed first, to make room.
    for key in before.data.keys().filter(|key| !after.data.contains_key(*key)) {
        session.remove(key)?;
    }
    for (key, text) in after.data.iter().filter(|(key, text)| starts_over || before.data.get(*key) != Some(text)) {
        json::insert(session, key, text)?;
    }
    Ok(())
}

/// Logs the subject in, or out if there is none. Returns `true` if the data goes on in a session of nobody. A session of
/// another subject gets only what this request put there: one subject's data is none of another's.
fn follow_subject(session: &Session, subject: Option<&str>) -> Result<bool, EngineError> {
    match subject {
        Some(subject) => session.login(subject).map(|()| false),
        None if session.subject().is_some() => session.logout().map(|()| true),
        None => Ok(false),
    }
}
