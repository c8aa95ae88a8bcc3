//! The vault's part of a commit: private values are put before the swap, and those that it replaced are deleted after it.
//!
//! So the token decides. A crash in between leaves a blob that no token refers to, which the purge removes, and nothing else.

use std::sync::Arc;

use secure_sessions_core::{
    BlobId, Bucket, DataMap, HandoffKey, Meta, PURGE_DELAY, Reference, References, SecretBytes, Timestamp, VaultId,
};
use secure_sessions_store::{Blob, VaultStore};

use super::Commit;
use crate::error::SessionError;
use crate::request::ops::Operation;
use crate::request::private::{Private, Start};
use crate::request::state::{Admission, Base};
use crate::request::vault::{Found, fetch, lost};

/// The work on vaults that a commit has done, and still has to do.
#[derive(Default)]
pub(super) struct VaultWork {
    /// The vault of the next bucket, if it differs from that of the bucket before, or there was none.
    pub(super) of_next: Option<VaultId>,
    /// The references of the next token; `None` if they are those of the token before.
    pub(super) references: Option<References>,
    /// The handoff key of a new bucket, if its vault is named after it.
    pub(super) handoff_key: Option<HandoffKey>,
    /// The values that this commit has put, each with the vault that has it.
    put: Vec<(VaultId, Arc<Private>)>,
    /// The vault and the blobs in it that the next token no longer refers to.
    replaced: Option<(VaultId, Vec<BlobId>)>,
    /// The same of an earlier attempt that turned out to have been carried out.
    settled: Vec<(VaultId, Vec<BlobId>)>,
    /// All that the next token refers to.
    kept: References,
    /// The vaults of sessions that this commit ended.
    ended: Vec<VaultId>,
}

impl VaultWork {
    /// Notes that the bucket with vault `old` has ended, in favour of one with vault `next`.
    pub(super) fn moved(&mut self, old: Option<VaultId>, next: Option<VaultId>) {
        self.ended.extend(old.filter(|_| old != next));
    }

    /// Notes that the commit came to nothing: its values are in no token, and those that they were to replace stay.
    pub(super) fn came_to_nothing(&mut self) {
        (self.of_next, self.replaced, self.kept) = (None, None, References::default());
    }

    /// Notes that an earlier attempt took the session from `before` to `after`.
    pub(super) fn settle(&mut self, before: &Admission, after: &Admission) {
        // A vault that the session has left may belong to another one by now.
        if after.bucket.vault == Some(before.vault()) {
            self.settled.push((before.vault(), replaced(&before.newest.meta.vault, &after.newest.meta.vault)));
        }
    }
}

/// The vault that the next token's references are about.
struct Target<'a> {
    /// The session whose references and data the next token goes on from.
    source: Option<&'a Arc<Admission>>,
    vault: VaultId,
    /// The time until which its blobs must stay.
    purge_at: Timestamp,
}

impl Commit<'_> {
    /// Prepares the vault for the next token of the same bucket, or with `None` for the first one of a new session.
    ///
    /// Returns the newest state if another request has replaced a value that this one needs: begin again from there.
    pub(super) async fn prepare_vault(
        &mut self,
        live: Option<&Arc<Admission>>,
    ) -> Result<Option<Arc<Admission>>, SessionError> {
        let vault = match live {
            Some(live) => live.vault(),
            None => self.new_vault()?,
        };
        let meta = live.map_or_else(Meta::default, |live| live.newest.meta.clone());
        let purge_at = self.purge_at(live.map(|live| &live.bucket), &meta);
        self.fill(Target { source: live, vault, purge_at }).await
    }

    /// Prepares the vault for the first token of a bucket that takes the place of another one. `source` is the session
    /// whose data it goes on from, if any; if that one's bucket is gone, its values are copied, since another session may
    /// own them now.
    pub(super) async fn prepare_renewal(
        &mut self,
        source: Option<&Arc<Admission>>,
        gone: bool,
    ) -> Result<Option<Arc<Admission>>, SessionError> {
        self.vault.references = None;
        // The vault of a bucket that is gone may be another session's by now, which deletes it at its end.
        self.vault.of_next = source.filter(|_| !gone).and_then(|live| live.bucket.vault);
        let none = References::default();
        let carried = source.map_or(&none, |live| &live.newest.meta.vault);
        let changes = self.pending.changes_vault(carried);
        if carried.is_empty() && !changes {
            return Ok(None);
        }
        let (login, goes_on) = (self.pending.logs_in(), self.pending.ending.is_none());
        let meta = source.filter(|_| goes_on).map_or_else(Meta::default, |live| live.newest.meta.clone());
        let purge_at = self.purge_at(source.map(|live| &live.bucket).filter(|_| goes_on && !login), &meta);
        if self.manager.vault_store().is_none() && !changes {
            // The values are out of reach, and stay so until the vault is configured again.
            self.vault.references = Some(carried.clone());
            return Ok(None);
        }
        let vault = match source {
            Some(live) if !gone => live.vault(),
            _ => self.new_vault()?,
        };
        let copied;
        let source = match source {
            Some(live) if gone => {
                copied = Arc::new(self.copy(live, vault, purge_at).await?);
                Some(&copied)
            }
            source => source,
        };
        self.fill(Target { source, vault, purge_at }).await
    }

    /// Names the vault of a bucket that is about to be made, after its handoff key.
    fn new_vault(&mut self) -> Result<VaultId, SessionError> {
        let key = match self.vault.handoff_key.take() {
            Some(key) => key,
            None => HandoffKey::random(&mut self.entropy)?,
        };
        Ok(VaultId::of(self.vault.handoff_key.insert(key)))
    }

    /// Returns the time until which blobs stay: the next token's absolute deadline, and as long as its bucket stays after it.
    fn purge_at(&self, kept: Option<&Bucket>, meta: &Meta) -> Timestamp {
        let (_, lifetime) = self.manager.lifetimes(&self.pending.settings.applied_to(meta));
        self.deadline(kept, self.now(), lifetime).after(PURGE_DELAY)
    }

    /// Copies the values of a session that is gone into another vault. Those that went with it are no longer referred to.
    async fn copy(
        &mut self,
        live: &Arc<Admission>,
        vault: VaultId,
        purge_at: Timestamp,
    ) -> Result<Admission, SessionError> {
        let mut copy = Admission::clone(live);
        copy.newest.meta.vault = References::default();
        copy.bucket.vault = Some(vault);
        let Some(store) = self.manager.vault_store() else { return Ok(copy) };
        let failed = |error| self.manager.store_failed("get", error);
        let entries: Vec<_> = live.newest.meta.vault.iter().collect();
        let ids: Vec<_> = entries.iter().map(|(_, reference)| reference.blob_id()).collect();
        // A blob is bound to its reference, and to no vault: it moves as it is.
        let found = store.get(&live.vault(), &ids).await.map_err(failed)?;
        let blobs: Vec<_> =
            ids.iter().zip(found).filter_map(|(id, bytes)| Some(Blob { id: *id, bytes: bytes? })).collect();
        store.put(&vault, &blobs, purge_at).await.map_err(|error| self.manager.store_failed("put", error))?;
        for ((key, reference), id) in entries.into_iter().zip(&ids) {
            if blobs.iter().any(|blob| blob.id == *id) {
                copy.newest.meta.vault.insert(key, reference.clone())?;
            }
        }
        Ok(copy)
    }

    /// Applies the changes, and puts into the vault what the next token is going to refer to.
    async fn fill(&mut self, target: Target<'_>) -> Result<Option<Arc<Admission>>, SessionError> {
        let Target { source, vault, purge_at } = target;
        let before = source.map_or_else(References::default, |live| live.newest.meta.vault.clone());
        let mut data = source.map_or_else(DataMap::new, |live| live.newest.data.clone());
        let mut references = before.clone();
        for operation in self.pending.operations.clone() {
            if let Operation::Update(update) = &operation {
                let start = Start {
                    reference: references.get(update.key()).cloned(),
                    data: data.get_encoded(update.key()).map(|value| SecretBytes::from(value.to_vec())),
                };
                if !update.ran_on(&start) {
                    let value = match (&start.reference, source) {
                        (None, _) => start.data.clone(),
                        (Some(reference), source) => match self.value(reference, source, update.key()).await? {
                            Value::Of(value) => Some(value),
                            Value::Replaced(newest) => return Ok(Some(newest)),
                        },
                    };
                    let _guard = self.request.enter_closure();
                    update.run_on(start, value.as_deref())?;
                }
            }
            let _guard = self.request.enter_closure();
            operation.apply(&mut data)?;
            operation.apply_to_vault(&mut references)?;
        }
        self.put(vault, purge_at, &references).await?;
        let is_carried = before.iter().any(|(key, reference)| references.get(key) == Some(reference));
        let lives_longer = source.is_some_and(|live| purge_at > live.bucket.expires_at.after(PURGE_DELAY));
        if let Some(store) = self.manager.vault_store().filter(|_| is_carried && lives_longer) {
            let prolonged = store.prolong(&vault, purge_at).await;
            prolonged.map_err(|error| self.manager.store_failed("prolong", error))?;
        }
        self.vault.replaced = Some((vault, replaced(&before, &references)));
        self.vault.of_next = Some(vault);
        self.vault.kept = references.clone();
        self.vault.references = Some(references);
        self.view = Some(data);
        Ok(None)
    }

    /// Returns the value behind a reference: one of this request's own, or one in the session's vault.
    async fn value(
        &self,
        reference: &Reference,
        source: Option<&Arc<Admission>>,
        key: &str,
    ) -> Result<Value, SessionError> {
        if let Some(own) = self.pending.privates().find(|private| private.reference() == reference) {
            return Ok(Value::Of(own.value().clone()));
        }
        let Some(live) = source else { return Err(SessionError::Ended) };
        let found = fetch(self.manager, &self.sealer, &live.vault(), &[reference]).await?;
        let altered = match found.into_iter().next() {
            Some(Found::Value(value)) => return Ok(Value::Of(value)),
            found => matches!(found, Some(Found::Altered)),
        };
        let newest = self.refresh(Arc::clone(live)).await?;
        if newest.newest.meta.vault.get(key) == Some(reference) {
            return Err(lost(self.manager, &live.bucket.id, key, altered));
        }
        Ok(Value::Replaced(newest))
    }

    /// Puts the values that the next token refers to and the vault does not have yet, in one round trip.
    async fn put(&mut self, vault: VaultId, purge_at: Timestamp, references: &References) -> Result<(), SessionError> {
        let is_wanted = |private: &Private| references.get(private.key()) == Some(private.reference());
        let missing: Vec<_> =
            self.pending.privates().filter(|private| is_wanted(private) && !private.is_put(&vault, purge_at)).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let store = self.manager.vault_store().ok_or(SessionError::NoVault)?;
        let blob = |private: &Arc<Private>| {
            let key = private.reference().blob_key();
            Blob { id: key.id(), bytes: self.sealer.seal_blob(&key, private.value()) }
        };
        let blobs: Vec<_> = missing.iter().map(blob).collect();
        // Noted first: after an error, or if this future is dropped, they may be there.
        self.vault.put.extend(missing.iter().map(|private| (vault, Arc::clone(private))));
        store.put(&vault, &blobs, purge_at).await.map_err(|error| self.manager.store_failed("put", error))?;
        missing.iter().for_each(|private| private.set_put(Some((vault, purge_at))));
        Ok(())
    }

    /// Deletes what no token refers to any more, once the outcome of the commit is known. A failure is left to the purge.
    pub(super) async fn clean_up(&mut self, outcome: &Result<Base, SessionError>) {
        let work = &mut self.vault;
        let mut gone = std::mem::take(&mut work.settled);
        match outcome {
            Ok(_) => {
                gone.extend(work.replaced.take());
                for (vault, private) in &work.put {
                    // A first attempt may have put it into the vault of a session that another request took over.
                    let is_kept = work.kept.get(private.key()) == Some(private.reference());
                    if !is_kept || work.of_next != Some(*vault) {
                        gone.push((*vault, vec![private.reference().blob_id()]));
                    }
                }
            }
            // The swap may have happened all the same, or is tried again: its values must stay.
            Err(SessionError::Store(_) | SessionError::Random(_)) => {}
            Err(_) => {
                for (vault, private) in &work.put {
                    private.set_put(None);
                    gone.push((*vault, vec![private.reference().blob_id()]));
                }
            }
        }
        let ended = std::mem::take(&mut work.ended);
        self.manager.delete_vaults(&ended).await;
        let Some(store) = self.manager.vault_store() else { return };
        for (vault, ids) in gone.iter().filter(|(vault, ids)| !ids.is_empty() && !ended.contains(vault)) {
            if let Err(error) = store.delete(vault, ids).await {
                self.manager.store_failed("delete", error);
                // The response waits: a store that hangs is not asked again for each.
                break;
            }
        }
    }
}

/// Returns the blobs that `after` no longer refers to.
fn replaced(before: &References, after: &References) -> Vec<BlobId> {
    let gone = before.iter().filter(|(key, reference)| after.get(key) != Some(reference));
    gone.map(|(_, reference)| reference.blob_id()).collect()
}

enum Value {
    Of(SecretBytes),
    /// Another request has replaced it: this is the newest state.
    Replaced(Arc<Admission>),
}
