//! The newest state of a session that other requests may have changed since this one was loaded.

use std::sync::Arc;
use std::time::Duration;

use secure_sessions_core::{Bucket, HandoffError, Sealer};
use secure_sessions_store::{Entry, SessionStore};

use crate::error::SessionError;
use crate::event::Event;
use crate::manager::SessionManager;
use crate::request::state::Admission;

/// The longest time that a request follows others that are faster: a commit, or a read of a private value.
pub(crate) const RETRY_FOR: Duration = Duration::from_secs(5);

/// Loads the newest state from the store.
pub(crate) async fn refresh(
    manager: &SessionManager,
    sealer: &Sealer,
    live: Arc<Admission>,
) -> Result<Arc<Admission>, SessionError> {
    let entry = manager.store().load(&live.bucket.id).await;
    match entry.map_err(|error| manager.store_failed("load", error))? {
        Some(Entry::Bucket(bucket)) => catch_up(manager, sealer, live, bucket),
        _ => Err(SessionError::Ended),
    }
}

/// Brings the request's knowledge of its session up to date with the bucket.
pub(crate) fn catch_up(
    manager: &SessionManager,
    sealer: &Sealer,
    live: Arc<Admission>,
    bucket: Bucket,
) -> Result<Arc<Admission>, SessionError> {
    let (now, policy) = (manager.now(), &manager.times().bucket);
    let bucket = bucket.corrected(now, policy).unwrap_or(bucket);
    if bucket.is_expired(now, policy) {
        return Err(SessionError::Ended);
    }
    // A touch raises the revision but issues no token: the content is still the newest.
    if bucket.current.matches(&live.newest.fingerprint) {
        return Ok(Arc::new(Admission { bucket, ..Arc::unwrap_or_clone(live) }));
    }
    match sealer.follow(&bucket, &live.newest.handoff_key, now, manager.not_before()) {
        Ok((newest, token)) => Ok(Arc::new(Admission::new(manager, bucket, newest, live.arrival, Some(token)))),
        // Nothing is sealed again: an attacker who writes to the store must not get their token blessed by us.
        Err(HandoffError::Tampered) => {
            manager.emit(&Event::StoreTampered { session: manager.handle(&bucket.id) });
            Err(SessionError::Conflict)
        }
        Err(_) => Err(SessionError::Conflict),
    }
}
