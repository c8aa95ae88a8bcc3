//! Renewal: the end of one session and the beginning of the next, in one step or, where an engine writes one key at a time,
//! in several.
//!
//! In several steps, a renewal adds the new session's places, creates it, ends the old one, and takes the new one back if the
//! old one had changed. In this order a `remove_all` beside it finds one of the two at any time. A crash leaves
//!
//! | after | there is |
//! | --- | --- |
//! | the places | the old session, and places that the purge removes |
//! | the new session | both. Nobody holds a token of the new one, since it is returned only once the renewal is acknowledged; it counts, is listed and ended with the others of its subject, and expires like any |
//! | the end of the old one | the new session and the old one's tombstone: the renewal has happened |
//!
//! So a session that ended stays ended whatever is lost, and none is lost without an ending.

use std::sync::Arc;
use std::time::Duration;

use secure_sessions_core::{Bucket, Entry, Revision, SessionId, Tombstone};
use tokio::time::{Instant, sleep};

use super::engine::{Change, Expected, KeyValue};
use super::entries::{Entries, Found};
use super::value::{self, Nonce};
use crate::StoreError;

/// The time for which a renewal is brought to its end after its caller got an error.
const SEE_THROUGH: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(250);

pub(super) async fn renew_into<E: KeyValue>(
    entries: &Arc<Entries<E>>,
    bucket: &Bucket,
    old: &SessionId,
    expected: Revision,
    tombstone: Tombstone,
) -> Result<bool, StoreError> {
    let renewal = Renewal::new(Arc::clone(entries), bucket.clone(), *old, expected, tombstone);
    if E::TRANSACTS {
        return renewal.in_one_step().await;
    }
    // A task of its own: it must not stop half-way when the caller goes away.
    let task = tokio::spawn(async move {
        let (outcome, rest) = renewal.in_several_steps().await;
        if let Some(rest) = rest {
            tokio::spawn(renewal.see_through(rest));
        }
        outcome
    });
    task.await.map_err(|_| StoreError::unavailable("the runtime ended during a renewal"))?
}

pub(super) struct Renewal<E> {
    entries: Arc<Entries<E>>,
    bucket: Bucket,
    old: SessionId,
    expected: Revision,
    tombstone: Tombstone,
    /// The name of the new session's places, by which it is recognised.
    nonce: Nonce,
}

/// The steps that are left when one has failed.
pub(super) enum Rest<V> {
    /// Nobody knows if the old session has ended: end it by these changes.
    End(Vec<Change<V>>),
    /// The old session has not been ended by this renewal: remove the new one.
    TakeBack,
}

/// The answer to the caller, and the steps that are left.
type Answer<V> = (Result<bool, StoreError>, Option<Rest<V>>);

impl<E: KeyValue> Renewal<E> {
    pub(super) fn new(
        entries: Arc<Entries<E>>,
        bucket: Bucket,
        old: SessionId,
        expected: Revision,
        tombstone: Tombstone,
    ) -> Self {
        Self { entries, bucket, old, expected, tombstone, nonce: value::nonce() }
    }

    async fn in_one_step(&self) -> Result<bool, StoreError> {
        loop {
            let Some(old) = self.find_old().await? else { return Ok(false) };
            if self.is_onto_itself() {
                return Err(StoreError::Duplicate);
            }
            let mut changes = self.entries.creation(&self.bucket, self.nonce);
            // The old session's place in the index stays, so that a walk over it sees that there was a renewal.
            changes.extend(self.entries.burial(old, &self.tombstone, Some(&self.bucket.id)));
            if self.entries.make(&changes).await? {
                return Ok(true);
            }
            if self.entries.find(&self.bucket.id).await?.is_some() {
                return self.taken().await;
            }
        }
    }

    pub(super) async fn in_several_steps(&self) -> Answer<E::Version> {
        let old = match self.find_old().await {
            Ok(Some(old)) => old,
            Ok(None) => return (Ok(false), None),
            Err(error) => return (Err(error), None),
        };
        if self.is_onto_itself() {
            return (Err(StoreError::Duplicate), None);
        }
        match self.entries.make(&self.entries.creation(&self.bucket, self.nonce)).await {
            Ok(true) => {}
            Ok(false) => {
                let _ = self.take_back().await;
                return (self.taken().await, None);
            }
            // It may have been written all the same.
            Err(error) => return (Err(error), Some(Rest::TakeBack)),
        }
        let burial = self.entries.burial(old, &self.tombstone, Some(&self.bucket.id));
        match self.entries.make(&burial).await {
            Ok(true) => (Ok(true), None),
            Ok(false) => (Ok(false), self.take_back().await.is_err().then_some(Rest::TakeBack)),
            Err(error) => (Err(error), Some(Rest::End(burial))),
        }
    }

    /// Brings a renewal to its end whose caller got an error.
    async fn see_through(self, mut rest: Rest<E::Version>) {
        let deadline = Instant::now() + SEE_THROUGH;
        while self.go_on(&mut rest).await.is_err() && Instant::now() < deadline {
            sleep(PAUSE).await;
        }
    }

    /// Takes the steps that are left. After an error, it can be called again.
    pub(super) async fn go_on(&self, rest: &mut Rest<E::Version>) -> Result<(), StoreError> {
        if let Rest::End(burial) = rest {
            if self.entries.make(burial).await? || self.entries.has_tombstone(&self.tombstone).await? {
                return Ok(());
            }
            *rest = Rest::TakeBack;
        }
        self.take_back().await
    }

    /// Removes the new session, if it is the one that this renewal wrote, and its places.
    async fn take_back(&self) -> Result<(), StoreError> {
        let id = &self.bucket.id;
        if let Some(new) = self.entries.find(id).await?
            && new.nonce == self.nonce
        {
            let key = self.entries.keys.entry(id);
            self.entries.make(&[Change::delete(key, Expected::Unchanged(new.stored))]).await?;
        }
        self.entries.make(&self.entries.removal_of_places(&self.bucket, self.nonce)).await.map(drop)
    }

    /// Finds the old session, if it has the expected revision.
    async fn find_old(&self) -> Result<Option<Found<E::Version>>, StoreError> {
        let Some(found) = self.entries.find(&self.old).await? else { return Ok(None) };
        match &found.entry {
            Ok(Entry::Bucket(bucket)) if bucket.revision == self.expected => Ok(Some(found)),
            Ok(_) => Ok(None),
            Err(_) => found.entry.map(|_| None),
        }
    }

    fn is_onto_itself(&self) -> bool {
        self.bucket.id == self.old
    }

    /// Judges a renewal whose new id is taken. That matters only if the old session has the expected revision.
    async fn taken(&self) -> Result<bool, StoreError> {
        if self.find_old().await?.is_some() { Err(StoreError::Duplicate) } else { Ok(false) }
    }
}
