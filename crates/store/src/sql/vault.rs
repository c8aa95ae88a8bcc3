//! Private values: a row for each blob, in a table beside the sessions' own.
//!
//! A row is never changed but for its deadline. Nothing is compared, so every call is one statement that may be repeated.

use std::collections::{HashMap, HashSet};

use secure_sessions_core::{BlobId, Timestamp, VaultId};

use super::columns::{deadline, exactly, integer};
use super::dialect::{Dialect, Row, Value};
use super::table::{Table, rest_after};
use crate::{Blob, StoreError};

/// The rows of one statement. A session has at most 64 blobs, so this only splits the end of many sessions.
const MOST: usize = 256;

impl<D: Dialect> Table<D> {
    pub(super) async fn put(&self, vault: &VaultId, blobs: &[Blob], purge_at: Timestamp) -> Result<(), StoreError> {
        // No database lets one statement write a row twice.
        let mut seen = HashSet::new();
        let blobs: Vec<_> = blobs.iter().filter(|blob| seen.insert(blob.id)).collect();
        for some in blobs.chunks(MOST) {
            let values: Vec<_> = some
                .iter()
                .flat_map(|Blob { id, bytes }| {
                    [bytes_of(vault.as_bytes()), bytes_of(id.as_bytes()), deadline(purge_at), bytes_of(bytes)]
                })
                .collect();
            self.write(&self.statements().put(some.len()), &values).await?;
        }
        Ok(())
    }

    pub(super) async fn get(&self, vault: &VaultId, ids: &[BlobId]) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        let mut found = HashMap::new();
        for some in ids.chunks(MOST) {
            let values = padded(some.iter().map(|id| id.as_bytes()), [bytes_of(vault.as_bytes())]);
            let rows = self.dialect().fetch(self.statements().get(values.len() - 1), &values).await?;
            for row in rows {
                let value = row.bytes(1)?.ok_or_else(|| StoreError::corrupt("a column is null"))?;
                found.insert(BlobId::from_bytes(exactly(row.bytes(0)?)?), value);
            }
        }
        // Cloned, since an id may be asked for twice.
        Ok(ids.iter().map(|id| found.get(id).cloned()).collect())
    }

    pub(super) async fn delete(&self, vault: &VaultId, ids: &[BlobId]) -> Result<(), StoreError> {
        for some in ids.chunks(MOST) {
            let values = padded(some.iter().map(|id| id.as_bytes()), [bytes_of(vault.as_bytes())]);
            self.write(&self.statements().delete(values.len() - 1), &values).await?;
        }
        Ok(())
    }

    pub(super) async fn delete_all(&self, vaults: &[VaultId]) -> Result<(), StoreError> {
        for some in vaults.chunks(MOST) {
            let values = padded(some.iter().map(|vault| vault.as_bytes()), []);
            self.write(&self.statements().delete_all(values.len()), &values).await?;
        }
        Ok(())
    }

    pub(super) async fn prolong(&self, vault: &VaultId, purge_at: Timestamp) -> Result<(), StoreError> {
        let purge_at = deadline(purge_at);
        self.write(&self.statements().prolong(), &[purge_at, bytes_of(vault.as_bytes()), purge_at]).await.map(drop)
    }

    pub(super) async fn purge_vaults(&self, now: Timestamp, limit: u32) -> Result<u64, StoreError> {
        let (limit, now) = (u64::from(limit), deadline(now));
        let mut removed = 0;
        while removed < limit {
            let (batch, begun) = ((limit - removed).min(D::SPELLING.purge_batch), std::time::Instant::now());
            let deleted = self.write(&self.statements().purge_vault, &[now, now, integer(batch)]).await?;
            removed += deleted;
            if deleted < batch {
                break;
            }
            rest_after::<D>(begun).await;
        }
        Ok(removed)
    }
}

fn bytes_of(bytes: &[u8]) -> Value<'_> {
    Value::Bytes(Some(bytes))
}

/// Returns the ids, the last one repeated up to a power of two, so that few statements have to be prepared; then the rest.
fn padded<'a, const N: usize>(
    ids: impl ExactSizeIterator<Item = &'a [u8; 16]>,
    rest: [Value<'a>; N],
) -> Vec<Value<'a>> {
    let places = ids.len().next_power_of_two();
    let mut values: Vec<_> = ids.map(|id| bytes_of(id)).collect();
    if let Some(last) = values.last().copied() {
        values.resize(places, last);
    }
    values.extend(rest);
    values
}
