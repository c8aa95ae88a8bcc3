//! What is due with time alone: the note when a session was last seen, and a new token although nothing changed.

use std::sync::Arc;

use secure_sessions_core::Timestamp;
use secure_sessions_store::SessionStore;

use crate::manager::SessionManager;
use crate::request::state::Admission;

/// Whether the token is old enough to be replaced although nothing changed.
pub(crate) fn is_rotation_due(manager: &SessionManager, live: &Admission, now: Timestamp) -> bool {
    manager.times().rotation.is_some_and(|interval| now >= live.bucket.rotated_at.after(interval))
}

pub(crate) fn is_touch_due(manager: &SessionManager, live: &Admission, now: Timestamp) -> bool {
    live.is_corrected || live.bucket.touch_due(now, &manager.times().bucket)
}

/// Writes when the session was last seen. A conflict means that someone else did; a failure is reported, and is no reason
/// to refuse anybody.
pub(crate) async fn touch(manager: &SessionManager, live: &mut Arc<Admission>, now: Timestamp) {
    let touched = live.bucket.touched(&live.arrival, now, &manager.times().bucket);
    let live = Arc::make_mut(live);
    live.is_corrected = false;
    match manager.store().replace(&touched, live.bucket.revision).await {
        Ok(true) => live.bucket = touched,
        // Once is enough for one request; its revision is out of date, so nothing can be written from here.
        Ok(false) => live.bucket.last_seen_at = now.max(live.bucket.last_seen_at),
        Err(error) => {
            manager.store_failed("replace", error);
        }
    }
}
