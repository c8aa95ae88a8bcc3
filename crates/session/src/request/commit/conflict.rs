//! Conflicts with other commits of the same session: for how long to try again, and from which state.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::Commit;
use crate::error::SessionError;
use crate::event::Event;
use crate::request::newest::{self, RETRY_FOR};
use crate::request::state::Admission;

/// The conflicts of one commit.
#[derive(Default)]
pub(super) struct Retries {
    pub(super) count: u32,
    /// The end of the retries, set by the first conflict.
    deadline: Option<Instant>,
}

impl Retries {
    /// Counts a conflict. Returns the longest wait before the next try, or `None` if it is too late for one.
    fn next(&mut self, now: Instant) -> Option<Duration> {
        self.count += 1;
        let is_in_time = now < *self.deadline.get_or_insert(now + RETRY_FOR);
        let doublings = self.count.checked_sub(2).map(|more| more.min(6));
        is_in_time.then(|| doublings.map_or(Duration::ZERO, |doublings| Duration::from_millis(1 << doublings)))
    }
}

impl Commit<'_> {
    /// Returns the newest state after a conflict, through the handoff if the token moved on.
    pub(super) async fn follow(&mut self, live: Arc<Admission>) -> Result<Arc<Admission>, SessionError> {
        let longest = self.retries.next(Instant::now());
        let (session, attempt) = (self.manager.handle(&live.bucket.id), self.retries.count);
        self.manager.emit(&Event::ConflictRetry { session, attempt });
        let longest = longest.ok_or(SessionError::Conflict)?;
        // Commits of other processes are not in our queue: wait a random time, so that they do not collide again.
        if !longest.is_zero() {
            let random = f64::from(getrandom::u32().unwrap_or_default()) / f64::from(u32::MAX);
            tokio::time::sleep(longest.mul_f64(random)).await;
        }
        self.refresh(live).await
    }

    pub(super) async fn refresh(&self, live: Arc<Admission>) -> Result<Arc<Admission>, SessionError> {
        newest::refresh(self.manager, &self.sealer, live).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_after_a_conflict_doubles_and_ends_with_the_time() {
        let (mut retries, begun) = (Retries::default(), Instant::now());
        let waits: Vec<_> = (0..10).filter_map(|_| retries.next(begun)).map(|wait| wait.as_millis()).collect();
        assert_eq!(waits, [0, 1, 2, 4, 8, 16, 32, 64, 64, 64]);
        let last = begun + RETRY_FOR;
        assert!(retries.next(last - Duration::from_nanos(1)).is_some());
        assert_eq!((retries.next(last), retries.count), (None, 12));
    }
}
