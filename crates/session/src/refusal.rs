//! Refuses old tokens on all hosts: one call, which the store keeps.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use secure_sessions_core::{Millis, Timestamp};
use secure_sessions_store::SessionStore;

use crate::detached::Detached;
use crate::error::SessionError;
use crate::event::Event;
use crate::manager::SessionManager;
use crate::not_before::Answer;

/// The most that a time may lie in the future if it is meant as now: clocks of hosts differ.
const CLOCKS_DIFFER: Millis = Millis::from_secs(60);

impl SessionManager {
    /// Refuses every token that was issued before this time, for good, on all hosts that share the store. Returns the time
    /// in force: this one, or a later one that was set before.
    ///
    /// Call it once after you restored the store from a backup, with the time of the restoration: a session that the backup
    /// revives, or moves back to an earlier cookie, is over then. The store keeps the time, so it also holds after a restart.
    /// Each host asks the store when it judges its first token and again with a request every 5 seconds, so it follows at
    /// most 10 seconds later; this one does at once. Users log in again.
    ///
    /// Once begun, it goes on to its end, also if its caller hangs up: see [`drained`](Self::drained).
    ///
    /// The time never moves back. [`Builder::not_before`](crate::Builder::not_before) sets one that holds for this process
    /// alone, and needs no store.
    ///
    /// ```
    /// use secure_sessions::{Clock, Keyring, MemoryStore, SessionManager, SystemClock};
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let manager = SessionManager::builder(Keyring::generate()?, MemoryStore::new()).build()?;
    /// let now = SystemClock.now();
    /// assert_eq!(manager.set_not_before(now).await?, now);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`SessionError::NotBefore`] if the time lies more than a minute in the future, by the earlier of this host's clock and the
    /// store's: it would refuse every login until then.
    /// [`SessionError::Store`] if the store fails, or keeps no such time
    /// ([`StoreError::Unsupported`](crate::StoreError::Unsupported)): then set [`Builder::not_before`] on every host.
    ///
    /// [`Builder::not_before`]: crate::Builder::not_before
    pub async fn set_not_before(&self, at: Timestamp) -> Result<Timestamp, SessionError> {
        let manager = self.clone();
        Detached::once_started(self.commits(), async move { manager.refuse_before(at).await }).await
    }

    async fn refuse_before(&self, at: Timestamp) -> Result<Timestamp, SessionError> {
        let now = self.now();
        let theirs = self.store().now().await.unwrap_or_else(|error| {
            // It is reported; a clock that cannot be asked keeps nobody from refusing stolen cookies.
            self.store_failed("now", error);
            None
        });
        // A host whose clock is ahead must not refuse every login until the others have caught up.
        let earliest = theirs.map_or(now, |theirs| now.min(theirs));
        if at > earliest.after(CLOCKS_DIFFER) {
            let ahead = Duration::from_millis(at.as_millis() - earliest.as_millis());
            return Err(SessionError::NotBefore { ahead });
        }
        let raised = self.store().raise_not_before(at).await;
        raised.map_err(|error| self.store_failed("raise_not_before", error))?;
        self.raise_not_before(at);
        // The store may have a later one.
        self.ask_not_before(now).await?;
        Ok(self.not_before().unwrap_or(at))
    }

    /// Returns `true` if the store's answer is new enough to judge a token by. If it should be renewed, a store that answers at
    /// once is asked here, and another one in a task of its own.
    #[inline]
    pub(crate) fn is_not_before_known(&self, now: Timestamp) -> bool {
        let answer = self.known_not_before().answer(now);
        answer == Answer::Fresh || self.renew_not_before(answer, now)
    }

    #[cold]
    fn renew_not_before(&self, answer: Answer, now: Timestamp) -> bool {
        if self.store().answers_at_once() {
            let asking = pin!(self.ask_not_before(now));
            return matches!(asking.poll(&mut Context::from_waker(Waker::noop())), Poll::Ready(Ok(())));
        }
        if answer == Answer::Old {
            return false;
        }
        // One request at a time asks.
        if let Ok(turn) = Arc::clone(&self.known_not_before().asking).try_lock_owned() {
            let manager = self.clone();
            tokio::spawn(async move {
                let _turn = turn;
                // A failure is reported; a later request asks again, and waits if need be.
                let _ = manager.ask_not_before(now).await;
            });
        }
        true
    }

    /// Waits for the store's answer, unless there is one that is new enough.
    pub(crate) async fn know_not_before(&self, now: Timestamp) -> Result<(), SessionError> {
        if self.is_not_before_known(now) {
            return Ok(());
        }
        // Each request asks for itself: in a queue, they would wait one after another for a store that does not answer.
        self.ask_not_before(now).await
    }

    /// Returns `true` if a token that was issued at this time is refused by now.
    pub(crate) async fn refuses_of(&self, issued_at: Timestamp) -> Result<bool, SessionError> {
        self.know_not_before(self.now()).await?;
        Ok(self.not_before().is_some_and(|not_before| issued_at < not_before))
    }

    async fn ask_not_before(&self, now: Timestamp) -> Result<(), SessionError> {
        let kept = self.store().not_before().await.map_err(|error| self.store_failed("not_before", error))?;
        if let Some(kept) = kept {
            self.raise_not_before(kept);
        }
        self.known_not_before().answered(now);
        Ok(())
    }

    fn raise_not_before(&self, at: Timestamp) {
        if self.known_not_before().raise(at) {
            self.emit(&Event::NotBefore { at });
        }
    }
}
