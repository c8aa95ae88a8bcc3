#![doc = include_str!("../README.md")]

use std::path::Path;
use std::sync::Arc;

use redb::{Database, ReadableDatabase};
use secure_sessions_store::{
    Bucket, Entry, Listed, Page, Revision, SessionId, SessionStore, StoreError, SubjectTag, Timestamp, Tombstone,
    Unreadable, Which,
};

use crate::tables::{Reading, Writing};

mod tables;

/// Sessions in a file of redb; a clone is the same store.
#[derive(Clone)]
pub struct RedbStore(Arc<Database>);

impl RedbStore {
    /// Opens a file, or makes it. Only one process can have it open.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if it cannot be opened, or is none of redb's.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        let store = Self(Arc::new(Database::create(path).map_err(tables::failed)?));
        // Readers find their tables from the beginning.
        let transaction = store.0.begin_write().map_err(tables::failed)?;
        Writing::open(&transaction)?;
        transaction.commit().map_err(tables::failed)?;
        Ok(store)
    }

    /// Runs what reads, as of one instant.
    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Reading) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let database = Arc::clone(&self.0);
        off_the_runtime(move || work(&Reading::open(&database.begin_read().map_err(tables::failed)?)?)).await
    }

    /// Runs what writes: alone, and whole or not at all. It is on the disk when this returns.
    async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Writing<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let database = Arc::clone(&self.0);
        off_the_runtime(move || {
            let transaction = database.begin_write().map_err(tables::failed)?;
            // An error drops the transaction, and with it all that it has written.
            let outcome = work(&mut Writing::open(&transaction)?)?;
            transaction.commit().map_err(tables::failed)?;
            Ok(outcome)
        })
        .await
    }
}

/// The engine's calls wait for the disk: not on a thread of the runtime.
async fn off_the_runtime<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    tokio::task::spawn_blocking(work).await.map_err(StoreError::unavailable)?
}

impl SessionStore for RedbStore {
    async fn insert(&self, bucket: &Bucket) -> Result<(), StoreError> {
        let bucket = bucket.clone();
        self.write(move |tables| {
            if tables.get(&bucket.id)?.is_some() {
                return Err(StoreError::Duplicate);
            }
            tables.put(&bucket.id, Some(&Entry::Bucket(bucket.clone())))
        })
        .await
    }

    async fn load(&self, id: &SessionId) -> Result<Option<Entry>, StoreError> {
        let id = *id;
        self.read(move |tables| tables.get(&id)).await
    }

    async fn replace(&self, bucket: &Bucket, expected: Revision) -> Result<bool, StoreError> {
        let bucket = bucket.clone();
        self.write(move |tables| {
            let fits = has_revision(tables.get(&bucket.id)?, expected);
            if fits {
                tables.put(&bucket.id, Some(&Entry::Bucket(bucket.clone())))?;
            }
            Ok(fits)
        })
        .await
    }

    async fn renew_into(
        &self,
        bucket: &Bucket,
        old: &SessionId,
        expected: Revision,
        tombstone: Tombstone,
    ) -> Result<bool, StoreError> {
        let (bucket, old) = (bucket.clone(), *old);
        self.write(move |tables| {
            if !has_revision(tables.get(&old)?, expected) {
                return Ok(false);
            }
            if tables.get(&bucket.id)?.is_some() {
                return Err(StoreError::Duplicate);
            }
            tables.put(&old, Some(&Entry::Tombstone(tombstone)))?;
            tables.put(&bucket.id, Some(&Entry::Bucket(bucket.clone())))?;
            Ok(true)
        })
        .await
    }

    async fn remove(&self, id: &SessionId, tombstone: Option<Tombstone>) -> Result<bool, StoreError> {
        let id = *id;
        self.write(move |tables| {
            let there = match tables.get(&id) {
                // What cannot be read is removed like a session.
                Err(StoreError::Corrupt(_)) => true,
                entry => matches!(entry?, Some(Entry::Bucket(_))),
            };
            if there {
                tables.put(&id, tombstone.map(Entry::Tombstone).as_ref())?;
            }
            Ok(there)
        })
        .await
    }

    async fn list(&self, subjects: &[SubjectTag], page: Page) -> Result<Vec<Listed>, StoreError> {
        let subjects = subjects.to_vec();
        self.read(move |tables| {
            let limit = usize::try_from(page.limit).unwrap_or(usize::MAX);
            let mut ids = Vec::new();
            for subject in &subjects {
                ids.extend(tables.of_subject(subject, page.after, limit)?);
            }
            ids.sort_unstable();
            ids.dedup();
            ids.truncate(limit);
            // Damaged entries take the place of their ids, and do not fail the page.
            let listed = ids.into_iter().map(|id| match tables.get(&id) {
                Err(error @ StoreError::Corrupt(_)) => Ok(Some(Err(Unreadable { id, error }))),
                entry => Ok(bucket_of(entry?).map(Ok)),
            });
            listed.filter_map(Result::transpose).collect()
        })
        .await
    }

    async fn count(&self) -> Result<u64, StoreError> {
        self.read(Reading::count).await
    }

    async fn remove_all(&self, which: Which<'_>, except: Option<&SessionId>) -> Result<u64, StoreError> {
        let except = except.copied();
        let subjects = match which {
            Which::Subjects(subjects) => Some(subjects.to_vec()),
            Which::Everything => None,
        };
        // Finding and removing are one transaction: no renewal comes between them.
        self.write(move |tables| {
            let ids = match subjects {
                Some(subjects) => tables.of_subjects(&subjects)?,
                None => tables.buckets()?,
            };
            let mut removed = 0;
            for id in ids.iter().filter(|id| except != Some(**id)) {
                tables.put(id, None)?;
                removed += 1;
            }
            Ok(removed)
        })
        .await
    }

    async fn purge_expired(&self, now: Timestamp, limit: u32) -> Result<u64, StoreError> {
        self.write(move |tables| {
            let due = tables.due(now, limit)?;
            for id in &due {
                tables.put(id, None)?;
            }
            Ok(due.iter().map(|_| 1).sum())
        })
        .await
    }
}

fn has_revision(entry: Option<Entry>, expected: Revision) -> bool {
    bucket_of(entry).is_some_and(|bucket| bucket.revision == expected)
}

fn bucket_of(entry: Option<Entry>) -> Option<Bucket> {
    match entry {
        Some(Entry::Bucket(bucket)) => Some(bucket),
        _ => None,
    }
}
