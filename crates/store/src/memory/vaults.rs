//! The memory store's vaults: shards of maps, apart from its sessions.

use std::collections::HashMap;
use std::mem;

use parking_lot::{Mutex, MutexGuard};
use secure_sessions_core::{BlobId, Timestamp, VaultId};

use crate::{Blob, StoreError, VaultStore};

/// The number of shards: enough that a purge, which looks at every vault of a shard, holds up few others.
const SHARDS: usize = 64;

#[derive(Default)]
struct Vault {
    purge_at: Timestamp,
    blobs: HashMap<BlobId, Box<[u8]>>,
}

/// The vaults of one memory store.
pub(super) struct Vaults(Box<[Mutex<HashMap<VaultId, Vault>>]>);

impl Vaults {
    fn shard(&self, vault: &VaultId) -> MutexGuard<'_, HashMap<VaultId, Vault>> {
        self.0[usize::from(vault.as_bytes()[0]) % SHARDS].lock()
    }
}

impl Default for Vaults {
    fn default() -> Self {
        Self((0..SHARDS).map(|_| Mutex::default()).collect())
    }
}

impl VaultStore for Vaults {
    async fn put(&self, vault: &VaultId, blobs: &[Blob], purge_at: Timestamp) -> Result<(), StoreError> {
        if blobs.is_empty() {
            return Ok(());
        }
        let mut shard = self.shard(vault);
        let kept = shard.entry(*vault).or_default();
        kept.purge_at = kept.purge_at.max(purge_at);
        kept.blobs.extend(blobs.iter().map(|blob| (blob.id, blob.bytes.as_slice().into())));
        Ok(())
    }

    async fn get(&self, vault: &VaultId, ids: &[BlobId]) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        let shard = self.shard(vault);
        let blobs = shard.get(vault).map(|kept| &kept.blobs);
        Ok(ids.iter().map(|id| blobs.and_then(|blobs| blobs.get(id)).map(|bytes| bytes.to_vec())).collect())
    }

    async fn delete(&self, vault: &VaultId, ids: &[BlobId]) -> Result<(), StoreError> {
        let mut shard = self.shard(vault);
        if let Some(kept) = shard.get_mut(vault) {
            kept.blobs.retain(|id, _| !ids.contains(id));
            if kept.blobs.is_empty() {
                shard.remove(vault);
            }
        }
        Ok(())
    }

    async fn delete_all(&self, vaults: &[VaultId]) -> Result<(), StoreError> {
        for vault in vaults {
            // Dropped after the lock, which the statement's end releases: a large vault takes a while to free.
            let removed = self.shard(vault).remove(vault);
            drop(removed);
        }
        Ok(())
    }

    async fn prolong(&self, vault: &VaultId, purge_at: Timestamp) -> Result<(), StoreError> {
        if let Some(kept) = self.shard(vault).get_mut(vault) {
            kept.purge_at = kept.purge_at.max(purge_at);
        }
        Ok(())
    }

    async fn purge(&self, now: Timestamp, limit: u32) -> Result<u64, StoreError> {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let mut removed = 0;
        for shard in &self.0 {
            let room = limit - removed;
            if room == 0 {
                break;
            }
            let mut shard = shard.lock();
            let due: Vec<_> =
                shard.iter().filter(|(_, kept)| kept.purge_at <= now).map(|(vault, _)| *vault).take(room).collect();
            let gone: Vec<_> = due.iter().filter_map(|vault| shard.remove(vault)).collect();
            if shard.len() < shard.capacity() / 4 {
                shard.shrink_to_fit();
            }
            // A purge of many must not hold the lock while it frees their memory.
            drop(shard);
            removed += gone.len();
            mem::drop(gone);
        }
        Ok(removed as u64)
    }
}
