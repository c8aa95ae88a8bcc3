//! A store in any key-value engine that can compare and write in one step: [`KvStore`], and the interface of its engine,
//! [`KeyValue`].

use std::fmt;
use std::sync::Arc;

use secure_sessions_core::{Bucket, Entry, Revision, SessionId, Timestamp, Tombstone};

use self::entries::Entries;
use self::keys::Keys;
use crate::{Listed, Page, SessionStore, StoreError, Tags, Which};

mod engine;
mod entries;
mod keys;
mod renewal;
mod value;
mod vault;
mod walk;

#[cfg(test)]
mod tests;

pub use self::engine::{Change, Expected, KeyValue, MOST_CHANGES, NewValue, Stored};
#[cfg(feature = "dynamodb")]
pub(crate) use self::value::nonce;

/// A store in a key-value engine; a clone is the same store.
///
/// It brings all that the engine does not know of: the indexes by subject and by group, the list of deadlines, the renewal of a
/// session under a new id, and private values ([`VaultStore`](crate::VaultStore)). To keep sessions in an engine of your own,
/// implement [`KeyValue`], which is a page of code.
///
/// # Keys
///
/// | key | value |
/// | --- | --- |
/// | `PREFIX/s/ID` | the record of a session, or its tombstone |
/// | `PREFIX/i/TAG/ID/NONCE` | empty: a place of the session in its subject's index |
/// | `PREFIX/i/gTAG/ID/NONCE` | empty: a place of the session in its group's index |
/// | `PREFIX/d/DEADLINE/ID/NONCE` | a time before which the session is not due for the purge |
/// | `PREFIX/v/VAULT` | the list of a vault's blobs: private values |
/// | `PREFIX/b/VAULT/BLOB` | a blob, behind its deadline |
/// | `PREFIX/bd/DEADLINE/VAULT/BLOB` | empty: a place of a blob in the list of their deadlines |
/// | `PREFIX/not-before` | the time before which tokens are refused, if one was set |
///
/// Reading a session, or up to 64 private values of it, is one `get`; changing it is a `get` and a `write`, and so is writing up to
/// 15 private values. Test: `private_values_are_read_by_one_call_and_written_by_two`.
///
/// # Crashes
///
/// A session's places are written before it and removed after it, or in the same step. So a crash at any instant leaves at
/// most a place too many, which lists skip and the purge removes; no session is missing from its index, and none that has
/// ended comes back. An engine that writes one key at a time renews a session in several steps: it creates the new one, ends
/// the old one, and takes the new one back if the old one has changed. A crash before the second step leaves both. Nobody
/// holds a token of the new one then, and it ends with its subject's others, or expires. Tests:
/// `a_call_that_fails_or_stops_at_any_step_loses_nothing`, `of_two_calls_in_any_order_of_their_steps_nothing_survives_an_ending`;
/// of private values `a_call_on_a_vault_that_fails_at_any_step_loses_nothing`,
/// `of_two_calls_on_a_vault_in_any_order_of_their_steps_each_keeps_its_word`.
///
/// An ending without room for its tombstone removes the session. Test: `an_ending_without_room_for_its_tombstone_is_a_removal`.
///
/// # Purge
///
/// Run a [`Purge`](crate::Purge) beside the store, unless the engine [`EXPIRES`](KeyValue::EXPIRES) values by itself. A touch
/// leaves the list of deadlines alone: the purge finds the old deadline, and moves it.
pub struct KvStore<E>(Arc<Entries<E>>);

impl<E: KeyValue> KvStore<E> {
    /// Keeps sessions in this engine, under keys that begin with `prefix` and a slash: 1 to 64 letters, digits and `-_.:`.
    /// Stores with different prefixes share nothing.
    ///
    /// # Errors
    ///
    /// [`StoreError::Rejected`] if the prefix is another.
    pub fn new(engine: E, prefix: &str) -> Result<Self, StoreError> {
        Ok(Self(Arc::new(Entries { engine, keys: Keys::new(prefix)? })))
    }
}

impl<E> Clone for KvStore<E> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<E> fmt::Debug for KvStore<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KvStore(..)")
    }
}

impl<E: KeyValue> SessionStore for KvStore<E> {
    async fn insert(&self, bucket: &Bucket) -> Result<(), StoreError> {
        self.0.insert(bucket).await
    }

    async fn load(&self, id: &SessionId) -> Result<Option<Entry>, StoreError> {
        self.0.find(id).await?.map(|found| found.entry).transpose()
    }

    async fn replace(&self, bucket: &Bucket, expected: Revision) -> Result<bool, StoreError> {
        self.0.replace(bucket, expected).await
    }

    async fn renew_into(
        &self,
        bucket: &Bucket,
        old: &SessionId,
        expected: Revision,
        tombstone: Tombstone,
    ) -> Result<bool, StoreError> {
        renewal::renew_into(&self.0, bucket, old, expected, tombstone).await
    }

    async fn remove(&self, id: &SessionId, tombstone: Option<Tombstone>) -> Result<bool, StoreError> {
        self.0.remove(id, tombstone.as_ref()).await
    }

    async fn list(&self, tags: Tags<'_>, page: Page) -> Result<Vec<Listed>, StoreError> {
        walk::list(&self.0, tags, page).await
    }

    async fn count(&self) -> Result<u64, StoreError> {
        walk::count(&self.0).await
    }

    async fn remove_all(&self, which: Which<'_>, except: Option<&SessionId>) -> Result<u64, StoreError> {
        walk::remove_all(&self.0, which, except).await
    }

    async fn purge_expired(&self, now: Timestamp, limit: u32) -> Result<u64, StoreError> {
        walk::purge(&self.0, now, limit).await
    }

    async fn now(&self) -> Result<Option<Timestamp>, StoreError> {
        self.0.engine.now().await
    }

    async fn not_before(&self) -> Result<Option<Timestamp>, StoreError> {
        self.0.not_before().await
    }

    async fn raise_not_before(&self, at: Timestamp) -> Result<(), StoreError> {
        self.0.raise_not_before(at).await
    }
}
