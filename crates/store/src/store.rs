//! The contract between the engine and any store.

use std::future::Future;
use std::sync::Arc;

use secure_sessions_core::{Bucket, Entry, Lifespan, Revision, SessionId, Timestamp, Tombstone};

use crate::{StoreError, Tags};

/// A store of the buckets and tombstones of sessions. This page is all that you need to implement one.
///
/// A store is simple on purpose: it keeps an [`Entry`] per [`SessionId`], compares revisions, and removes entries on request.
/// It never reads a clock, never decides that a session has expired, and never changes a field.
///
/// # Entries
///
/// Under an id there is nothing, a [`Bucket`] (a session) or a [`Tombstone`] (a session that ended). A tombstone stays until
/// its `expires_at`: a minute or so after a logout, up to the rest of the session's absolute lifetime after the renewal of a
/// logged-in session, whose tombstone names its successor.
///
/// Keep every field of both exactly: any `u64` in a time or revision, a label of up to 512 bytes, a handoff of up to 65,535
/// bytes, up to 128 retired tokens in their order, the eviction watermark, a tombstone's successor.
/// [`record`](crate::record) has a compact form in bytes.
///
/// # Rules for every implementation
///
/// 1. **Linearizable by id.** `insert`, `load`, `replace`, `renew_into` and `remove` on one id behave as if they ran one
///    after another, each at some instant between its call and its return, across all processes that share the store.
///    So `load` reads the last acknowledged write: from the primary, never from a replica or a cache.
/// 2. **Acknowledged writes are kept.** Every later call finds them, also after a restart if the store is durable.
/// 3. **Compare and write are one step.** Of any number of parallel [`replace`](Self::replace),
///    [`renew_into`](Self::renew_into) and [`remove`](Self::remove) that could each end the same revision, exactly one
///    returns `true`.
/// 4. **No other method creates anything.** Only `insert` and a `renew_into` that returns `true` make a bucket; only
///    `remove` and `renew_into` make a tombstone, and only in place of a bucket.
/// 5. **An index never loses a live bucket.** A bucket is found by its subject and by its group. If you keep a separate index
///    of them, add an entry to it before the bucket, and remove it after the bucket.
/// 6. **An error decides nothing.** After any error but [`StoreError::Duplicate`], the write may have happened. The same
///    holds for a future that was dropped before its end. Either way it happened entirely or not at all, with one
///    exception: see [`renew_into`](Self::renew_into).
/// 7. **Losing a race is not an error.** A serialization failure or deadlock that the backend reports for `replace`
///    or `renew_into` is `false`.
/// 8. **An unreadable entry blocks nobody.** For `load`, an entry that cannot be read (damaged, or written by a newer
///    release) is [`StoreError::Corrupt`]. A listing goes on and names it as [`Unreadable`]; a removal removes it like any
///    other.
/// 9. **Stores do not see each other.** Two stores with different tables, files or prefixes share nothing.
///
/// `conformance` (feature `conformance`) tests all of this, races included, against any implementation. Only you can damage
/// an entry, so test rule 8 yourself.
///
/// # Writing a store
///
/// Implement the methods as plain `async fn`; their futures must be [`Send`]. Only `peek`, `answers_at_once`, `list_lifespans`,
/// `now`, `not_before` and `raise_not_before` have a default, since any other default would be weaker than the contract.
///
/// ```
/// use std::collections::BTreeMap;
/// use std::sync::Mutex;
///
/// use secure_sessions_store::{
///     Bucket, Entry, Listed, Page, Revision, SessionId, SessionStore, StoreError, Tags, Timestamp, Tombstone, Which,
/// };
///
/// /// One map behind one lock: every method is one step.
/// #[derive(Default)]
/// struct Simple(Mutex<BTreeMap<SessionId, Entry>>);
///
/// impl Simple {
///     fn entries(&self) -> std::sync::MutexGuard<'_, BTreeMap<SessionId, Entry>> {
///         self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
///     }
/// }
///
/// fn has_revision(entry: Option<&Entry>, expected: Revision) -> bool {
///     matches!(entry, Some(Entry::Bucket(bucket)) if bucket.revision == expected)
/// }
///
/// impl SessionStore for Simple {
///     async fn insert(&self, bucket: &Bucket) -> Result<(), StoreError> {
///         let mut entries = self.entries();
///         if entries.contains_key(&bucket.id) {
///             return Err(StoreError::Duplicate);
///         }
///         entries.insert(bucket.id, Entry::Bucket(bucket.clone()));
///         Ok(())
///     }
///
///     async fn load(&self, id: &SessionId) -> Result<Option<Entry>, StoreError> {
///         Ok(self.entries().get(id).cloned())
///     }
///
///     async fn replace(&self, bucket: &Bucket, expected: Revision) -> Result<bool, StoreError> {
///         let mut entries = self.entries();
///         let fits = has_revision(entries.get(&bucket.id), expected);
///         if fits {
///             entries.insert(bucket.id, Entry::Bucket(bucket.clone()));
///         }
///         Ok(fits)
///     }
///
///     async fn renew_into(
///         &self,
///         bucket: &Bucket,
///         old: &SessionId,
///         expected: Revision,
///         tombstone: Tombstone,
///     ) -> Result<bool, StoreError> {
///         let mut entries = self.entries();
///         if !has_revision(entries.get(old), expected) {
///             return Ok(false);
///         }
///         if entries.contains_key(&bucket.id) {
///             return Err(StoreError::Duplicate);
///         }
///         entries.insert(*old, Entry::Tombstone(tombstone));
///         entries.insert(bucket.id, Entry::Bucket(bucket.clone()));
///         Ok(true)
///     }
///
///     async fn remove(&self, id: &SessionId, tombstone: Option<Tombstone>) -> Result<bool, StoreError> {
///         let mut entries = self.entries();
///         let there = matches!(entries.get(id), Some(Entry::Bucket(_)));
///         if there {
///             entries.remove(id);
///             entries.extend(tombstone.map(|tombstone| (*id, Entry::Tombstone(tombstone))));
///         }
///         Ok(there)
///     }
///
///     async fn list(&self, tags: Tags<'_>, page: Page) -> Result<Vec<Listed>, StoreError> {
///         let buckets = self.entries().values().filter_map(|entry| match entry {
///             Entry::Bucket(bucket) if tags.covers(bucket) && page.after.is_none_or(|after| bucket.id > after) => {
///                 Some(Ok(bucket.clone()))
///             }
///             _ => None,
///         }).take(usize::try_from(page.limit).unwrap_or(usize::MAX)).collect();
///         Ok(buckets)
///     }
///
///     async fn count(&self) -> Result<u64, StoreError> {
///         Ok(self.entries().values().filter(|entry| matches!(entry, Entry::Bucket(_))).map(|_| 1).sum())
///     }
///
///     async fn remove_all(&self, which: Which<'_>, except: Option<&SessionId>) -> Result<u64, StoreError> {
///         let mut removed = 0;
///         self.entries().retain(|id, entry| {
///             let goes = matches!(entry, Entry::Bucket(bucket) if which.covers(bucket)) && Some(id) != except;
///             removed += u64::from(goes);
///             !goes
///         });
///         Ok(removed)
///     }
///
///     async fn purge_expired(&self, now: Timestamp, limit: u32) -> Result<u64, StoreError> {
///         let mut removed = 0;
///         self.entries().retain(|_, entry| {
///             let goes = removed < u64::from(limit) && entry.purge_at() <= now;
///             removed += u64::from(goes);
///             !goes
///         });
///         Ok(removed)
///     }
/// }
///
/// # #[cfg(feature = "conformance")] {
/// let outcome = secure_sessions_store::conformance::check(|| async { Simple::default() });
/// assert!(outcome.is_ok(), "{outcome:?}");
/// # }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no session store",
    label = "`SessionStore` is not implemented for `{Self}`",
    note = "take `MemoryStore`, `SqlStore` or another store of this crate, or implement `SessionStore` with plain `async fn`s"
)]
pub trait SessionStore: Send + Sync + 'static {
    /// Keeps a new bucket.
    ///
    /// When this returns, `load`, `list` and `remove_all` find the bucket. Of several parallel inserts of one id, exactly
    /// one succeeds.
    ///
    /// # Errors
    ///
    /// [`StoreError::Duplicate`] if there is a bucket or a tombstone under its id, which is then left as it is; another
    /// [`StoreError`] if the backend fails.
    fn insert(&self, bucket: &Bucket) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Returns the bucket or tombstone that the last acknowledged write left under the id, or `None`.
    ///
    /// An entry whose [`Entry::purge_at`] has passed may be returned or not. A bucket that expired but is not yet
    /// due for the purge is returned: the engine judges it.
    ///
    /// # Errors
    ///
    /// [`StoreError::Corrupt`] if the entry cannot be read; another [`StoreError`] if the backend fails. Never return `None`
    /// in place of an error: that would end the session.
    fn load(&self, id: &SessionId) -> impl Future<Output = Result<Option<Entry>, StoreError>> + Send;

    /// Returns the bucket under the id without waiting, if this process has it in memory.
    ///
    /// The engine calls it first. It acts on the bucket only if the request's token is that bucket's newest; otherwise, and on
    /// `None`, it asks [`load`](Self::load). A store in this process's memory returns the bucket that it has. A cache may
    /// return a bucket that is at most as old as it promises, and never one that is older than this process's own
    /// acknowledged writes. Every other store keeps the default, `None`.
    ///
    /// It runs outside of any future, so it must not wait for more than the lock of a map.
    fn peek(&self, _id: &SessionId) -> Option<Bucket> {
        None
    }

    /// Returns `true` if every method answers at the first poll of its future: a store in this process's memory.
    ///
    /// The engine then commits the usual change while it makes the response, without a task that outlives the request. A
    /// store that waits for anything but a short lock must leave the default.
    fn answers_at_once(&self) -> bool {
        false
    }

    /// Compare-and-swap: keeps `bucket` in place of the one under its id, if that one's revision is `expected`.
    ///
    /// Returns `true` if it was: every field is now that of `bucket`, its subject and group (and so the index) and its higher
    /// revision included. Returns `false` if there is another revision, a tombstone, or nothing; nothing was written. It never
    /// creates an entry. Of parallel calls with one `expected`, at most one returns `true`.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the backend fails.
    fn replace(&self, bucket: &Bucket, expected: Revision) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// Renewal: ends the bucket under `old` and keeps `bucket`, under an id of its own, in one step.
    ///
    /// Returns `true` if the bucket under `old` had the revision `expected`: `tombstone`, whose id is `old`, has taken its
    /// place, and `bucket` is kept. Returns `false` if it had another revision or was not there: neither the bucket nor the
    /// tombstone is left behind. So `bucket` stays only if *this* call ended the old one, and a session that was ended
    /// meanwhile (a logout, a revocation) does not live on under the new id.
    ///
    /// A backend without transactions over two keys (a Redis cluster) inserts `bucket`, then ends the old one with a
    /// compare-and-swap, and undoes the insert if that failed: in this order, so that a parallel
    /// [`remove_all`](Self::remove_all) always finds one of the two. It must undo the insert even if its future is dropped,
    /// for instance by running in a task of its own.
    ///
    /// # Errors
    ///
    /// [`StoreError::Duplicate`] if the id of `bucket` is taken (or is `old`) while `old` has the revision `expected`:
    /// nothing was written. Another [`StoreError`] if the backend fails.
    fn renew_into(
        &self,
        bucket: &Bucket,
        old: &SessionId,
        expected: Revision,
        tombstone: Tombstone,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// Ends a session, whatever its revision.
    ///
    /// Returns `true` if there was a bucket: it is gone, and the tombstone, if you gave one (its id is `id`), has taken its
    /// place. Returns `false` if there was none: nothing is written, and a tombstone stays. So you can repeat the call. Of
    /// parallel calls for one bucket, exactly one returns `true`. Once it has returned, no `replace` or `renew_into` of that
    /// bucket returns `true`. An entry that cannot be read counts as a bucket.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the backend fails.
    fn remove(
        &self,
        id: &SessionId,
        tombstone: Option<Tombstone>,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// Lists the buckets with one of the tags, by ascending id (as bytes), a page at a time.
    ///
    /// A page holds buckets with an id above [`Page::after`], at most [`Page::limit`] of them; one that holds fewer is
    /// the last. A tag given twice counts once; no tags, or a limit of zero, give an empty page. Buckets that exist from
    /// before the first page until after the last are listed exactly once; others may be listed or not. A subject, or a
    /// group, has several tags while the fingerprint keys are being changed. Tombstones, and buckets without a tag of this kind,
    /// are never listed.
    ///
    /// An entry that cannot be read is listed in the place of its id, as [`Unreadable`], and counts for the page. It is
    /// listed under every tag whose index leads to it, since nobody can tell whose it is.
    ///
    /// The cost of a page depends on the page, not on the number of sessions with the tags, so that any number can be listed.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the backend fails.
    fn list(&self, tags: Tags<'_>, page: Page) -> impl Future<Output = Result<Vec<Listed>, StoreError>> + Send;

    /// Lists what [`list`](Self::list) lists, by ids and times alone. The engine counts a subject's sessions by it.
    ///
    /// The default reads whole buckets. Implement it if your engine can leave out labels and handoffs, which are most of a
    /// bucket's bytes. An entry that cannot be read may be listed all the same, if its times can.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the backend fails.
    fn list_lifespans(
        &self,
        tags: Tags<'_>,
        page: Page,
    ) -> impl Future<Output = Result<Vec<Listed<Lifespan>>, StoreError>> + Send {
        async move {
            let listed = self.list(tags, page).await?;
            Ok(listed.into_iter().map(|listed| listed.map(|bucket| bucket.lifespan())).collect())
        }
    }

    /// Counts the buckets, including those without a subject and those that expired. Tombstones do not count.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the backend fails.
    fn count(&self) -> impl Future<Output = Result<u64, StoreError>> + Send;

    /// Ends all sessions of these subjects, of these groups, or of everybody, except for one. Returns the number of sessions ended.
    ///
    /// When it returns, no bucket lives that existed when it was called, *nor any that was renewed from one by `renew_into`
    /// meanwhile*: a thief who renews in a loop must not slip through. Buckets inserted meanwhile may stay. If finding and
    /// removing are not one step, find the ids, remove each that is still a bucket, and begin again in a fresh statement and
    /// snapshot, until one pass has removed everything that it found. A pass over parts (a page, a node, a shard at a time)
    /// is complete only if no `renew_into` can carry a bucket from a part not yet visited into one that was.
    ///
    /// It writes no tombstones, and leaves existing ones. It never touches the bucket `except`, whoever owns it. It removes
    /// and counts entries that cannot be read, too.
    ///
    /// Other calls go on meanwhile: if one tag may have very many sessions, remove some at a time.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the backend fails; some of the buckets may be gone then.
    fn remove_all(
        &self,
        which: Which<'_>,
        except: Option<&SessionId>,
    ) -> impl Future<Output = Result<u64, StoreError>> + Send;

    /// Removes at most `limit` entries, buckets and tombstones alike, whose [`Entry::purge_at`] is at or before `now`. Returns
    /// the number of entries removed.
    ///
    /// Fewer than `limit` means that no entry is left that was due when it was called. Check the deadline again in the step
    /// that removes: a bucket that is replaced meanwhile by one with a later deadline stays, and its `replace` returns `true`.
    /// If other writers wait while you remove, do it in small steps, and rest between them.
    ///
    /// A backend that expires entries by itself may remove an entry from its `purge_at` on, never earlier, and return 0 here.
    /// The deadline moves with every `replace`.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the backend fails; some of the entries may be gone then.
    fn purge_expired(&self, now: Timestamp, limit: u32) -> impl Future<Output = Result<u64, StoreError>> + Send;

    /// Returns the time by the clock of the backend, or `None` if it has none but this host's.
    ///
    /// `Purge` removes entries by the earlier of this and its own time, so that a host whose clock is ahead ends no session
    /// of other hosts. `SessionManager::set_not_before` judges by the earlier one whether a time lies in the future. No other
    /// method depends on it.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the backend fails.
    fn now(&self) -> impl Future<Output = Result<Option<Timestamp>, StoreError>> + Send {
        async { Ok(None) }
    }

    /// Returns the latest time that was ever given to [`raise_not_before`](Self::raise_not_before), or `None` if there was
    /// none.
    ///
    /// The engine refuses every token that was issued before that time. It asks when a process judges its first token, and
    /// every few seconds as long as requests come.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the backend fails.
    fn not_before(&self) -> impl Future<Output = Result<Option<Timestamp>, StoreError>> + Send {
        async { Ok(None) }
    }

    /// Keeps this time, unless a later one is kept: [`not_before`](Self::not_before) never moves back, whatever the order of
    /// parallel calls. It belongs to the store, not to a session: no removal and no purge takes it away. A backend may keep a
    /// time beyond `i64::MAX` milliseconds as `i64::MAX`.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unsupported`] if the store does not implement it, which is the default; another [`StoreError`] if the
    /// backend fails.
    fn raise_not_before(&self, _at: Timestamp) -> impl Future<Output = Result<(), StoreError>> + Send {
        async { Err(StoreError::Unsupported("the time before which tokens are refused")) }
    }
}

/// The buckets that [`SessionStore::remove_all`] ends.
#[derive(Debug, Clone, Copy)]
pub enum Which<'a> {
    /// The buckets with one of these tags.
    Tagged(Tags<'a>),
    /// All buckets, including those without a tag.
    Everything,
}

impl Which<'_> {
    /// Returns `true` if this bucket is one of them.
    #[must_use]
    pub fn covers(&self, bucket: &Bucket) -> bool {
        match self {
            Self::Tagged(tags) => tags.covers(bucket),
            Self::Everything => true,
        }
    }
}

/// An item of a list: a bucket (or its [`Lifespan`]), or the place of one that cannot be read.
pub type Listed<T = Bucket> = Result<T, Unreadable>;

/// An entry that a list found and could not read.
#[derive(Debug, thiserror::Error)]
#[error("an entry of the session store cannot be read")]
pub struct Unreadable {
    /// The id of the entry. [`SessionStore::remove`] removes it.
    pub id: SessionId,
    /// The error that [`SessionStore::load`] returns for it.
    #[source]
    pub error: StoreError,
}

/// A request for a part of a list.
#[derive(Debug, Clone, Copy)]
pub struct Page {
    /// The last id of the previous page; `None` for the first page.
    pub after: Option<SessionId>,
    /// The most items to return.
    pub limit: u32,
}

impl Page {
    /// Returns the first page, of at most `limit` items.
    #[must_use]
    pub const fn first(limit: u32) -> Self {
        Self { after: None, limit }
    }

    /// Returns the page after this one, given the items of this one; `None` if it was the last.
    ///
    /// ```
    /// # use secure_sessions_store::{AnyStore, Page, SessionStore, StoreError, Tags};
    /// # async fn example(store: AnyStore) -> Result<(), StoreError> {
    /// # let subjects = [];
    /// let mut next = Some(Page::first(100));
    /// while let Some(page) = next {
    ///     let listed = store.list(Tags::Subjects(&subjects), page).await?;
    ///     next = page.next(&listed);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn next<T: AsRef<SessionId>>(self, returned: &[Listed<T>]) -> Option<Self> {
        let is_full = u32::try_from(returned.len()).is_ok_and(|length| length >= self.limit);
        let last = returned.last().filter(|_| is_full)?;
        let after = match last {
            Ok(listed) => *listed.as_ref(),
            Err(unreadable) => unreadable.id,
        };
        Some(Self { after: Some(after), limit: self.limit })
    }
}

impl<S: SessionStore> SessionStore for Arc<S> {
    async fn insert(&self, bucket: &Bucket) -> Result<(), StoreError> {
        S::insert(self, bucket).await
    }

    async fn load(&self, id: &SessionId) -> Result<Option<Entry>, StoreError> {
        S::load(self, id).await
    }

    fn peek(&self, id: &SessionId) -> Option<Bucket> {
        S::peek(self, id)
    }

    fn answers_at_once(&self) -> bool {
        S::answers_at_once(self)
    }

    async fn replace(&self, bucket: &Bucket, expected: Revision) -> Result<bool, StoreError> {
        S::replace(self, bucket, expected).await
    }

    async fn renew_into(
        &self,
        bucket: &Bucket,
        old: &SessionId,
        expected: Revision,
        tombstone: Tombstone,
    ) -> Result<bool, StoreError> {
        S::renew_into(self, bucket, old, expected, tombstone).await
    }

    async fn remove(&self, id: &SessionId, tombstone: Option<Tombstone>) -> Result<bool, StoreError> {
        S::remove(self, id, tombstone).await
    }

    async fn list(&self, tags: Tags<'_>, page: Page) -> Result<Vec<Listed>, StoreError> {
        S::list(self, tags, page).await
    }

    async fn list_lifespans(&self, tags: Tags<'_>, page: Page) -> Result<Vec<Listed<Lifespan>>, StoreError> {
        S::list_lifespans(self, tags, page).await
    }

    async fn count(&self) -> Result<u64, StoreError> {
        S::count(self).await
    }

    async fn remove_all(&self, which: Which<'_>, except: Option<&SessionId>) -> Result<u64, StoreError> {
        S::remove_all(self, which, except).await
    }

    async fn purge_expired(&self, now: Timestamp, limit: u32) -> Result<u64, StoreError> {
        S::purge_expired(self, now, limit).await
    }

    async fn now(&self) -> Result<Option<Timestamp>, StoreError> {
        S::now(self).await
    }

    async fn not_before(&self) -> Result<Option<Timestamp>, StoreError> {
        S::not_before(self).await
    }

    async fn raise_not_before(&self, at: Timestamp) -> Result<(), StoreError> {
        S::raise_not_before(self, at).await
    }
}

#[cfg(all(test, feature = "memory"))]
mod tests;
