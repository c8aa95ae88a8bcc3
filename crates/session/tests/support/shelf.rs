//! A vault whose content the test sees and changes, which counts its calls, and whose calls fail as planned.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use secure_sessions::store::{Blob, BlobId, Timestamp, VaultId};
use secure_sessions::{StoreError, VaultStore};

use super::faulty::{Fault, failed};

#[derive(Clone, Default)]
pub struct Shelf(Arc<Mutex<Content>>);

#[derive(Default)]
pub struct Content {
    pub blobs: BTreeMap<(VaultId, BlobId), (Timestamp, Vec<u8>)>,
    /// The names of all calls so far.
    pub calls: Vec<&'static str>,
    plan: Vec<Fault>,
}

impl Shelf {
    pub fn content(&self) -> MutexGuard<'_, Content> {
        self.0.lock().unwrap()
    }

    pub fn count(&self) -> usize {
        self.content().blobs.len()
    }

    /// Returns the calls since the last time.
    pub fn calls(&self) -> Vec<&'static str> {
        std::mem::take(&mut self.content().calls)
    }

    /// Lets the call of this name after `skip` others fail, `carried_out` or not.
    pub fn fail(&self, name: &'static str, skip: u32, carried_out: bool) {
        self.content().plan.push((name, skip, carried_out));
    }

    pub fn heal(&self) {
        self.content().plan.clear();
    }

    /// Does it, unless the call is to fail before it takes effect.
    fn call<T>(&self, name: &'static str, call: impl FnOnce(&mut Content) -> T) -> Result<T, StoreError> {
        let mut content = self.content();
        content.calls.push(name);
        let planned = content.plan.iter().position(|(planned, ..)| *planned == name);
        let fault = planned.and_then(|at| {
            if content.plan[at].1 > 0 {
                content.plan[at].1 -= 1;
                return None;
            }
            Some(content.plan.remove(at).2)
        });
        match fault {
            None => Ok(call(&mut content)),
            Some(carried_out) => {
                if carried_out {
                    call(&mut content);
                }
                Err(failed())
            }
        }
    }
}

impl VaultStore for Shelf {
    async fn put(&self, vault: &VaultId, blobs: &[Blob], purge_at: Timestamp) -> Result<(), StoreError> {
        self.call("put", |content| {
            for Blob { id, bytes } in blobs {
                let kept = content.blobs.entry((*vault, *id)).or_insert_with(|| (purge_at, bytes.clone()));
                kept.0 = kept.0.max(purge_at);
            }
        })
    }

    async fn get(&self, vault: &VaultId, ids: &[BlobId]) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        self.call("get", |content| {
            ids.iter().map(|id| content.blobs.get(&(*vault, *id)).map(|(_, bytes)| bytes.clone())).collect()
        })
    }

    async fn delete(&self, vault: &VaultId, ids: &[BlobId]) -> Result<(), StoreError> {
        self.call("delete", |content| content.blobs.retain(|(owner, id), _| owner != vault || !ids.contains(id)))
    }

    async fn delete_all(&self, vaults: &[VaultId]) -> Result<(), StoreError> {
        self.call("delete_all", |content| content.blobs.retain(|(owner, _), _| !vaults.contains(owner)))
    }

    async fn prolong(&self, vault: &VaultId, purge_at: Timestamp) -> Result<(), StoreError> {
        self.call("prolong", |content| {
            for ((owner, _), (deadline, _)) in &mut content.blobs {
                if owner == vault {
                    *deadline = purge_at.max(*deadline);
                }
            }
        })
    }

    async fn purge(&self, now: Timestamp, limit: u32) -> Result<u64, StoreError> {
        self.call("purge", |content| {
            let mut removed = 0;
            content.blobs.retain(|_, (deadline, _)| {
                let goes = removed < u64::from(limit) && *deadline <= now;
                removed += u64::from(goes);
                !goes
            });
            removed
        })
    }
}
