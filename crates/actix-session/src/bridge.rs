//! Translates a session's changes into operations, for both versions of actix-session.

use std::collections::HashMap;

use secure_sessions::json::{self, Stored};
use secure_sessions::{DataError, Session, SessionError as EngineError};
use serde_json::Value;

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
pub(crate) struct Snapshot<'d> {
    pub(crate) data: &'d Data,
    /// The subject that the application finds in the data.
    pub(crate) subject: Option<String>,
}

/// Returns the values that JSON can hold, by key. Private values are read in one round trip, and most sessions have none.
pub(crate) async fn values(session: &Session) -> Result<HashMap<String, Value>, EngineError> {
    let mut values = json::values(&session.snapshot());
    let private = session.vault().data().await?;
    values.extend(private.into_iter().filter_map(|(key, value)| Some((key, json::value(&value)?))));
    Ok(values)
}

/// Makes the changes that lie between two snapshots: all, or none but the end of the session.
pub(crate) fn apply(
    session: &Session,
    fate: Fate,
    before: &Snapshot<'_>,
    after: &Snapshot<'_>,
) -> Result<(), EngineError> {
    let applied = try_apply(session, fate, before, after);
    if applied.is_err() {
        session.discard();
    }
    applied
}

fn try_apply(session: &Session, fate: Fate, before: &Snapshot<'_>, after: &Snapshot<'_>) -> Result<(), EngineError> {
    match fate {
        // Nothing can have been inserted since.
        Fate::Purged => return session.logout(),
        Fate::Renewed => session.renew()?,
        Fate::Kept => {}
    }
    let starts_over = before.subject != after.subject && follow_subject(session, after.subject.as_deref())?;
    if !starts_over && before.data == after.data {
        return Ok(());
    }
    // Removed first, to make room.
    for key in before.data.keys().filter(|key| !after.data.contains_key(*key)) {
        session.remove(key)?;
    }
    for (key, text) in after.data.iter().filter(|(key, text)| starts_over || before.data.get(*key) != Some(text)) {
        insert(session, key, text)?;
    }
    Ok(())
}

/// Puts a JSON text into the session as the value that it stands for.
fn insert(session: &Session, key: &str, text: &str) -> Result<(), EngineError> {
    let value: Value = serde_json::from_str(text).map_err(|error| DataError::Serialize(error.to_string()))?;
    session.insert(key, Stored(&value))
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
