//! Upkeep that falls due with time alone: writing when a session was last seen, and replacing an old token.

use std::sync::Arc;

use secure_sessions_core::Timestamp;
use secure_sessions_store::SessionStore;

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
