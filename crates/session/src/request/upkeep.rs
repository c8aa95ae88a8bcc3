//! Upkeep that falls due with time alone: writing when a session was last seen, and replacing an old token.

use std::sync::Arc;

use secure_sessions_core::{Arrival, SessionId, Timestamp};
use secure_sessions_store::{Entry, SessionStore};

use crate::error::SessionError;
use crate::manager::SessionManager;
use crate::request::state::Admission;

/// Returns `true` if the token is old enough to be replaced although nothing changed.
pub(crate) fn is_rotation_due(manager: &SessionManager, live: &Admission, now: Timestamp) -> bool {
    manager.times().rotation.is_some_and(|interval| now >= live.bucket.rotated_at.after(interval))
}

pub(crate) fn is_touch_due(manager: &SessionManager, live: &Admission, now: Timestamp) -> bool {
    live.is_corrected || live.bucket.touch_due(now, &manager.times().bucket)
}

/// Writes when the session was last seen. On a conflict another request has done so; a failure raises an event, but
/// does not refuse the request.
pub(crate) async fn touch(manager: &SessionManager, live: &mut Arc<Admission>, now: Timestamp) {
    let touched = live.bucket.touched(&live.arrival, now, &manager.times().bucket);
    let live = Arc::make_mut(live);
    live.is_corrected = false;
    match manager.store().replace(&touched, live.bucket.revision).await {
        Ok(true) => live.bucket = touched,
        // Marks the touch as done: this revision is out of date, so another attempt from here would fail as well.
        Ok(false) => live.bucket.last_seen_at = now.max(live.bucket.last_seen_at),
        Err(error) => {
            manager.store_failed("replace", error);
        }
    }
}

/// The number of tries to touch a session that other requests write at the same time. Each of their writes touches it
/// too.
const TRIES: u32 = 3;

/// Loads a session and writes that it is seen now, if that is due. Returns `true` if it is alive. For connections that
/// go on after their response: `arrival` is that of the request that opened the connection.
pub(crate) async fn touch_now(
    manager: &SessionManager,
    id: &SessionId,
    arrival: &Arrival,
) -> Result<bool, SessionError> {
    let policy = &manager.times().bucket;
    for _ in 0..TRIES {
        let entry = manager.store().load(id).await.map_err(|error| manager.store_failed("load", error))?;
        let Some(Entry::Bucket(bucket)) = entry else { return Ok(false) };
        let now = manager.now();
        let corrected = bucket.corrected(now, policy);
        let is_due = corrected.is_some() || bucket.touch_due(now, policy);
        let bucket = corrected.unwrap_or(bucket);
        if bucket.is_expired(now, policy) {
            return Ok(false);
        }
        if !is_due {
            return Ok(true);
        }
        let replaced = manager.store().replace(&bucket.touched(arrival, now, policy), bucket.revision).await;
        if replaced.map_err(|error| manager.store_failed("replace", error))? {
            return Ok(true);
        }
    }
    Ok(true)
}
