//! The contract between the engine and any store of private and large values, and such a store with its type erased.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use secure_sessions_core::{BlobId, Timestamp, VaultId};

use crate::StoreError;

/// One sealed value on its way into a vault.
#[derive(Clone)]
pub struct Blob {
    /// The blob's name, unlike that of any other.
    pub id: BlobId,
    /// The sealed bytes, at most [`MAX_BLOB_LEN`](crate::MAX_BLOB_LEN) (65,553).
    pub bytes: Vec<u8>,
}

impl fmt::Debug for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Blob({} bytes)", self.bytes.len())
    }
}

/// A store of the private and large values of sessions. This page is all that you need to implement one.
///
/// Each session that has such values owns one *vault*, whose name ([`VaultId`]) its bucket holds. In a vault there are
/// *blobs*: sealed bytes, each under a name of its own ([`BlobId`]), at most 64 that a session still refers to. The keys
/// are in the browsers' cookies alone, so the store needs no trust: an attacker who writes to it destroys values, and
/// alters, swaps or revives none.
///
/// It is separate from [`SessionStore`](crate::SessionStore), and simpler. A blob never changes, and nothing is compared or
/// swapped: the session's token decides which blobs count. So any store will do, a cache in front of one is always right,
/// and the two need not be the same database.
///
/// # Rules for every implementation
///
/// 1. **A blob is kept whole.** [`get`](Self::get) returns exactly the bytes that were put, or `None`. Any byte may occur
///    in them. (MySQL's `BLOB` is 18 bytes too short.)
/// 2. **Acknowledged writes are kept.** When [`put`](Self::put) has returned, `get` finds the blobs: at any process, also
///    after a restart if the store is durable, until they are deleted or their deadline has passed. So `get` reads the
///    primary, never a replica.
/// 3. **A deadline is kept.** A blob is there until the latest deadline that `put` and [`prolong`](Self::prolong) gave it.
///    You may keep one deadline for a whole vault, the latest of all. What is due may be returned or not, and goes with
///    [`purge`](Self::purge), or by itself if the backend expires entries natively.
/// 4. **Every call may be repeated.** A blob that is put again has the same bytes. Deleting what is not there succeeds.
/// 5. **An error decides nothing.** After any error, and after a future that was dropped before its end, each of the call's
///    blobs may be there or not, each whole.
/// 6. **Vaults do not see each other.** A blob is found in the vault that it was put into, and in no other, even under the
///    same name. Two stores with different tables, files or prefixes share nothing.
///
/// [`conformance::vault`](crate::conformance::vault) (feature `conformance`) tests all of this against any implementation.
///
/// # Example
///
/// Implement the methods as plain `async fn`; their futures must be [`Send`].
///
/// ```
/// use std::collections::BTreeMap;
/// use std::sync::{Mutex, MutexGuard, PoisonError};
///
/// use secure_sessions_store::{Blob, BlobId, StoreError, Timestamp, VaultId, VaultStore};
///
/// /// One map behind one lock. A blob is found by its vault and its name.
/// #[derive(Default)]
/// struct Simple(Mutex<BTreeMap<(VaultId, BlobId), (Timestamp, Vec<u8>)>>);
///
/// impl Simple {
///     fn blobs(&self) -> MutexGuard<'_, BTreeMap<(VaultId, BlobId), (Timestamp, Vec<u8>)>> {
///         self.0.lock().unwrap_or_else(PoisonError::into_inner)
///     }
/// }
///
/// impl VaultStore for Simple {
///     async fn put(&self, vault: &VaultId, blobs: &[Blob], purge_at: Timestamp) -> Result<(), StoreError> {
///         for Blob { id, bytes } in blobs {
///             let mut kept = self.blobs();
///             let (deadline, _) = kept.entry((*vault, *id)).or_insert_with(|| (purge_at, bytes.clone()));
///             *deadline = purge_at.max(*deadline);
///         }
///         Ok(())
///     }
///
///     async fn get(&self, vault: &VaultId, ids: &[BlobId]) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
///         let blobs = self.blobs();
///         Ok(ids.iter().map(|id| blobs.get(&(*vault, *id)).map(|(_, bytes)| bytes.clone())).collect())
///     }
///
///     async fn delete(&self, vault: &VaultId, ids: &[BlobId]) -> Result<(), StoreError> {
///         self.blobs().retain(|(owner, id), _| owner != vault || !ids.contains(id));
///         Ok(())
///     }
///
///     async fn delete_all(&self, vaults: &[VaultId]) -> Result<(), StoreError> {
///         self.blobs().retain(|(owner, _), _| !vaults.contains(owner));
///         Ok(())
///     }
///
///     async fn prolong(&self, vault: &VaultId, purge_at: Timestamp) -> Result<(), StoreError> {
///         for ((owner, _), (deadline, _)) in &mut *self.blobs() {
///             if owner == vault {
///                 *deadline = purge_at.max(*deadline);
///             }
///         }
///         Ok(())
///     }
///
///     async fn purge(&self, now: Timestamp, limit: u32) -> Result<u64, StoreError> {
///         let mut removed = 0;
///         self.blobs().retain(|_, (deadline, _)| {
///             let goes = removed < u64::from(limit) && *deadline <= now;
///             removed += u64::from(goes);
///             !goes
///         });
///         Ok(removed)
///     }
/// }
///
/// # #[cfg(feature = "conformance")] {
/// let outcome = secure_sessions_store::conformance::vault::check(|| async { Simple::default() });
/// assert!(outcome.is_ok(), "{outcome:?}");
/// # }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no store for private values",
    label = "`VaultStore` is not implemented for `{Self}`",
    note = "take `MemoryStore` or another store of this crate, or implement `VaultStore` with plain `async fn`s"
)]
pub trait VaultStore: Send + Sync + 'static {
    /// Keeps blobs in a vault, at least until `purge_at`; one round trip for all of them.
    ///
    /// The vault need not exist. A blob that is there already keeps its bytes, and the later of both deadlines.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the backend fails.
    fn put(
        &self,
        vault: &VaultId,
        blobs: &[Blob],
        purge_at: Timestamp,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Returns the bytes of these blobs, in the order of `ids`, `None` for each that is not there; one round trip.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the backend fails. Never return `None` in place of an error: that would be a lost value.
    fn get(
        &self,
        vault: &VaultId,
        ids: &[BlobId],
    ) -> impl Future<Output = Result<Vec<Option<Vec<u8>>>, StoreError>> + Send;

    /// Deletes blobs from a vault. The rest of the vault stays.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the backend fails.
    fn delete(&self, vault: &VaultId, ids: &[BlobId]) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Deletes whole vaults, of any number.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the backend fails.
    fn delete_all(&self, vaults: &[VaultId]) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Keeps all that is in a vault at least until `purge_at`. A later deadline stays; an empty vault stays empty.
    ///
    /// The engine calls it before a session is given a later absolute deadline: by a login, for instance.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the backend fails.
    fn prolong(&self, vault: &VaultId, purge_at: Timestamp) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Deletes up to `limit` entries whose deadline is `now` or before, and returns their number: blobs, or vaults if you keep
    /// a deadline for each of these. Fewer than `limit` means that nothing more is due.
    ///
    /// A backend that expires entries natively returns 0.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the backend fails.
    fn purge(&self, now: Timestamp, limit: u32) -> impl Future<Output = Result<u64, StoreError>> + Send;
}

impl<S: VaultStore> VaultStore for Arc<S> {
    async fn put(&self, vault: &VaultId, blobs: &[Blob], purge_at: Timestamp) -> Result<(), StoreError> {
        S::put(self, vault, blobs, purge_at).await
    }

    async fn get(&self, vault: &VaultId, ids: &[BlobId]) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        S::get(self, vault, ids).await
    }

    async fn delete(&self, vault: &VaultId, ids: &[BlobId]) -> Result<(), StoreError> {
        S::delete(self, vault, ids).await
    }

    async fn delete_all(&self, vaults: &[VaultId]) -> Result<(), StoreError> {
        S::delete_all(self, vaults).await
    }

    async fn prolong(&self, vault: &VaultId, purge_at: Timestamp) -> Result<(), StoreError> {
        S::prolong(self, vault, purge_at).await
    }

    async fn purge(&self, now: Timestamp, limit: u32) -> Result<u64, StoreError> {
        S::purge(self, now, limit).await
    }
}

/// A [`VaultStore`] with its type erased; a clone is the same store.
#[derive(Clone)]
pub struct AnyVaultStore(Arc<dyn Erased>);

impl AnyVaultStore {
    /// Erases the type of a store.
    #[must_use]
    pub fn new(store: impl VaultStore) -> Self {
        Self(Arc::new(store))
    }
}

impl fmt::Debug for AnyVaultStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AnyVaultStore(..)")
    }
}

impl VaultStore for AnyVaultStore {
    async fn put(&self, vault: &VaultId, blobs: &[Blob], purge_at: Timestamp) -> Result<(), StoreError> {
        self.0.put(vault, blobs, purge_at).await
    }

    async fn get(&self, vault: &VaultId, ids: &[BlobId]) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        self.0.get(vault, ids).await
    }

    async fn delete(&self, vault: &VaultId, ids: &[BlobId]) -> Result<(), StoreError> {
        self.0.delete(vault, ids).await
    }

    async fn delete_all(&self, vaults: &[VaultId]) -> Result<(), StoreError> {
        self.0.delete_all(vaults).await
    }

    async fn prolong(&self, vault: &VaultId, purge_at: Timestamp) -> Result<(), StoreError> {
        self.0.prolong(vault, purge_at).await
    }

    async fn purge(&self, now: Timestamp, limit: u32) -> Result<u64, StoreError> {
        self.0.purge(now, limit).await
    }
}

type Boxed<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// [`VaultStore`] with boxed futures, so that it can be a trait object.
trait Erased: Send + Sync + 'static {
    fn put<'a>(&'a self, vault: &'a VaultId, blobs: &'a [Blob], purge_at: Timestamp) -> Boxed<'a, ()>;
    fn get<'a>(&'a self, vault: &'a VaultId, ids: &'a [BlobId]) -> Boxed<'a, Vec<Option<Vec<u8>>>>;
    fn delete<'a>(&'a self, vault: &'a VaultId, ids: &'a [BlobId]) -> Boxed<'a, ()>;
    fn delete_all<'a>(&'a self, vaults: &'a [VaultId]) -> Boxed<'a, ()>;
    fn prolong<'a>(&'a self, vault: &'a VaultId, purge_at: Timestamp) -> Boxed<'a, ()>;
    fn purge(&self, now: Timestamp, limit: u32) -> Boxed<'_, u64>;
}

impl<S: VaultStore> Erased for S {
    fn put<'a>(&'a self, vault: &'a VaultId, blobs: &'a [Blob], purge_at: Timestamp) -> Boxed<'a, ()> {
        Box::pin(VaultStore::put(self, vault, blobs, purge_at))
    }

    fn get<'a>(&'a self, vault: &'a VaultId, ids: &'a [BlobId]) -> Boxed<'a, Vec<Option<Vec<u8>>>> {
        Box::pin(VaultStore::get(self, vault, ids))
    }

    fn delete<'a>(&'a self, vault: &'a VaultId, ids: &'a [BlobId]) -> Boxed<'a, ()> {
        Box::pin(VaultStore::delete(self, vault, ids))
    }

    fn delete_all<'a>(&'a self, vaults: &'a [VaultId]) -> Boxed<'a, ()> {
        Box::pin(VaultStore::delete_all(self, vaults))
    }

    fn prolong<'a>(&'a self, vault: &'a VaultId, purge_at: Timestamp) -> Boxed<'a, ()> {
        Box::pin(VaultStore::prolong(self, vault, purge_at))
    }

    fn purge(&self, now: Timestamp, limit: u32) -> Boxed<'_, u64> {
        Box::pin(VaultStore::purge(self, now, limit))
    }
}
