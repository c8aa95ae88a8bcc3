//! Forwarded methods, for a store that wraps another.

/// Forwards methods of [`SessionStore`](crate::SessionStore) to another store. Use it to wrap a store and count, check or
/// change some of its methods.
///
/// It takes `self`, the other store, and the methods. The other store is a reference to any `SessionStore`; each call
/// evaluates the expression, which may end in `?` if it fails with a [`StoreError`](crate::StoreError).
///
/// ```
/// use std::sync::atomic::{AtomicU64, Ordering};
///
/// use secure_sessions_store::{Entry, MemoryStore, SessionId, SessionStore, StoreError, forward_methods};
///
/// struct Counted {
///     store: MemoryStore,
///     loads: AtomicU64,
/// }
///
/// impl SessionStore for Counted {
///     async fn load(&self, id: &SessionId) -> Result<Option<Entry>, StoreError> {
///         self.loads.fetch_add(1, Ordering::Relaxed);
///         self.store.load(id).await
///     }
///
///     forward_methods!(self => &self.store; insert, replace, renew_into, remove, list, count, remove_all, purge_expired);
/// }
/// ```
///
/// The compiler reports every method that you neither name nor write, except for `peek`, `answers_at_once`, `list_lifespans`,
/// `now`, `not_before` and `raise_not_before`: if you keep their defaults, the engine asks the wrapper by `load` alone, and
/// waits for its answers, it counts sessions by whole lists, a purge goes by the host's clock alone, and the wrapper keeps no
/// `not_before`. You can name them, too.
#[macro_export]
macro_rules! forward_methods {
    ($self:ident => $to:expr; $($method:ident),+ $(,)?) => {
        $($crate::forward_methods! { @$method $self $to })+
    };
    (@insert $self:ident $to:expr) => {
        async fn insert(&$self, bucket: &$crate::Bucket) -> ::core::result::Result<(), $crate::StoreError> {
            $crate::SessionStore::insert($to, bucket).await
        }
    };
    (@load $self:ident $to:expr) => {
        async fn load(
            &$self,
            id: &$crate::SessionId,
        ) -> ::core::result::Result<::core::option::Option<$crate::Entry>, $crate::StoreError> {
            $crate::SessionStore::load($to, id).await
        }
    };
    (@peek $self:ident $to:expr) => {
        fn peek(&$self, id: &$crate::SessionId) -> ::core::option::Option<$crate::Bucket> {
            $crate::SessionStore::peek($to, id)
        }
    };
    (@answers_at_once $self:ident $to:expr) => {
        fn answers_at_once(&$self) -> bool {
            $crate::SessionStore::answers_at_once($to)
        }
    };
    (@replace $self:ident $to:expr) => {
        async fn replace(
            &$self,
            bucket: &$crate::Bucket,
            expected: $crate::Revision,
        ) -> ::core::result::Result<bool, $crate::StoreError> {
            $crate::SessionStore::replace($to, bucket, expected).await
        }
    };
    (@renew_into $self:ident $to:expr) => {
        async fn renew_into(
            &$self,
            bucket: &$crate::Bucket,
            old: &$crate::SessionId,
            expected: $crate::Revision,
            tombstone: $crate::Tombstone,
        ) -> ::core::result::Result<bool, $crate::StoreError> {
            $crate::SessionStore::renew_into($to, bucket, old, expected, tombstone).await
        }
    };
    (@remove $self:ident $to:expr) => {
        async fn remove(
            &$self,
            id: &$crate::SessionId,
            tombstone: ::core::option::Option<$crate::Tombstone>,
        ) -> ::core::result::Result<bool, $crate::StoreError> {
            $crate::SessionStore::remove($to, id, tombstone).await
        }
    };
    (@list $self:ident $to:expr) => {
        async fn list(
            &$self,
            tags: $crate::Tags<'_>,
            page: $crate::Page,
        ) -> ::core::result::Result<::std::vec::Vec<$crate::Listed>, $crate::StoreError> {
            $crate::SessionStore::list($to, tags, page).await
        }
    };
    (@list_lifespans $self:ident $to:expr) => {
        async fn list_lifespans(
            &$self,
            tags: $crate::Tags<'_>,
            page: $crate::Page,
        ) -> ::core::result::Result<::std::vec::Vec<$crate::Listed<$crate::Lifespan>>, $crate::StoreError> {
            $crate::SessionStore::list_lifespans($to, tags, page).await
        }
    };
    (@count $self:ident $to:expr) => {
        async fn count(&$self) -> ::core::result::Result<u64, $crate::StoreError> {
            $crate::SessionStore::count($to).await
        }
    };
    (@remove_all $self:ident $to:expr) => {
        async fn remove_all(
            &$self,
            which: $crate::Which<'_>,
            except: ::core::option::Option<&$crate::SessionId>,
        ) -> ::core::result::Result<u64, $crate::StoreError> {
            $crate::SessionStore::remove_all($to, which, except).await
        }
    };
    (@purge_expired $self:ident $to:expr) => {
        async fn purge_expired(
            &$self,
            now: $crate::Timestamp,
            limit: u32,
        ) -> ::core::result::Result<u64, $crate::StoreError> {
            $crate::SessionStore::purge_expired($to, now, limit).await
        }
    };
    (@now $self:ident $to:expr) => {
        async fn now(
            &$self,
        ) -> ::core::result::Result<::core::option::Option<$crate::Timestamp>, $crate::StoreError> {
            $crate::SessionStore::now($to).await
        }
    };
    (@not_before $self:ident $to:expr) => {
        async fn not_before(
            &$self,
        ) -> ::core::result::Result<::core::option::Option<$crate::Timestamp>, $crate::StoreError> {
            $crate::SessionStore::not_before($to).await
        }
    };
    (@raise_not_before $self:ident $to:expr) => {
        async fn raise_not_before(
            &$self,
            at: $crate::Timestamp,
        ) -> ::core::result::Result<(), $crate::StoreError> {
            $crate::SessionStore::raise_not_before($to, at).await
        }
    };
}

/// Forwards methods of [`VaultStore`](crate::VaultStore) to another store, as
/// [`forward_methods!`](crate::forward_methods) does for a store of sessions.
///
/// ```
/// use std::sync::atomic::{AtomicU64, Ordering};
///
/// use secure_sessions_store::{BlobId, MemoryStore, StoreError, VaultId, VaultStore, forward_vault_methods};
///
/// struct Counted {
///     store: MemoryStore,
///     gets: AtomicU64,
/// }
///
/// impl VaultStore for Counted {
///     async fn get(&self, vault: &VaultId, ids: &[BlobId]) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
///         self.gets.fetch_add(1, Ordering::Relaxed);
///         self.store.get(vault, ids).await
///     }
///
///     forward_vault_methods!(self => &self.store; put, delete, delete_all, prolong, purge);
/// }
/// ```
#[macro_export]
macro_rules! forward_vault_methods {
    ($self:ident => $to:expr; $($method:ident),+ $(,)?) => {
        $($crate::forward_vault_methods! { @$method $self $to })+
    };
    (@put $self:ident $to:expr) => {
        async fn put(
            &$self,
            vault: &$crate::VaultId,
            blobs: &[$crate::Blob],
            purge_at: $crate::Timestamp,
        ) -> ::core::result::Result<(), $crate::StoreError> {
            $crate::VaultStore::put($to, vault, blobs, purge_at).await
        }
    };
    (@get $self:ident $to:expr) => {
        async fn get(
            &$self,
            vault: &$crate::VaultId,
            ids: &[$crate::BlobId],
        ) -> ::core::result::Result<
            ::std::vec::Vec<::core::option::Option<::std::vec::Vec<u8>>>,
            $crate::StoreError,
        > {
            $crate::VaultStore::get($to, vault, ids).await
        }
    };
    (@delete $self:ident $to:expr) => {
        async fn delete(
            &$self,
            vault: &$crate::VaultId,
            ids: &[$crate::BlobId],
        ) -> ::core::result::Result<(), $crate::StoreError> {
            $crate::VaultStore::delete($to, vault, ids).await
        }
    };
    (@delete_all $self:ident $to:expr) => {
        async fn delete_all(
            &$self,
            vaults: &[$crate::VaultId],
        ) -> ::core::result::Result<(), $crate::StoreError> {
            $crate::VaultStore::delete_all($to, vaults).await
        }
    };
    (@prolong $self:ident $to:expr) => {
        async fn prolong(
            &$self,
            vault: &$crate::VaultId,
            purge_at: $crate::Timestamp,
        ) -> ::core::result::Result<(), $crate::StoreError> {
            $crate::VaultStore::prolong($to, vault, purge_at).await
        }
    };
    (@purge $self:ident $to:expr) => {
        async fn purge(
            &$self,
            now: $crate::Timestamp,
            limit: u32,
        ) -> ::core::result::Result<u64, $crate::StoreError> {
            $crate::VaultStore::purge($to, now, limit).await
        }
    };
}
