//! The contract of a store, in statements; the same for every database.

use std::sync::Arc;

use secure_sessions_core::{Bucket, Entry, Revision, SessionId, SubjectTag, Timestamp, Tombstone, record};

use super::columns::{self, deadline, id_or_none, integer};
use super::dialect::{Dialect, Row, Transaction, Value};
use super::migrate::migrate;
use super::statements::Statements;
use crate::{Page, StoreError, Which};

/// Ids that one pass of `remove_all` finds and deletes.
const REMOVE_BATCH: usize = 250;
/// Rows that one purging statement deletes: it keeps other writers waiting for as long as it runs.
const PURGE_BATCH: u32 = 1000;

/// A table of sessions.
pub(super) struct Table<D>(Arc<Shared<D>>);

struct Shared<D> {
    dialect: D,
    statements: Statements,
}

impl<D> Clone for Table<D> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<D: Dialect> Table<D> {
    /// Takes the table, and makes it first if it is missing.
    pub(super) async fn open(dialect: D, name: &str) -> Result<Self, StoreError> {
        migrate(&dialect, name).await?;
        Ok(Self(Arc::new(Shared { dialect, statements: Statements::new(name) })))
    }

    pub(super) fn dialect(&self) -> &D {
        &self.0.dialect
    }

    fn statements(&self) -> &Statements {
        &self.0.statements
    }

    pub(super) async fn insert(&self, bucket: &Bucket) -> Result<(), StoreError> {
        let retired = record::retired_to_bytes(&bucket.retired);
        self.dialect().execute(self.statements().insert.clone(), &columns::values(bucket, &retired)).await?;
        Ok(())
    }

    pub(super) async fn load(&self, id: &SessionId) -> Result<Option<Entry>, StoreError> {
        let rows = self.dialect().fetch(self.statements().load.clone(), &[columns::id(id)]).await?;
        rows.first().map(columns::entry).transpose()
    }

    pub(super) async fn replace(&self, bucket: &Bucket, expected: Revision) -> Result<bool, StoreError> {
        let retired = record::retired_to_bytes(&bucket.retired);
        let values = with(&columns::values(bucket, &retired), integer(expected.get()));
        Ok(self.dialect().execute(self.statements().replace.clone(), &values).await? > 0)
    }

    pub(super) async fn succeed(
        &self,
        bucket: &Bucket,
        old: &SessionId,
        expected: Revision,
        tombstone: &Tombstone,
    ) -> Result<bool, StoreError> {
        let tombstone = Tombstone { id: *old, ..*tombstone };
        let values = with(&columns::tombstone(&tombstone), integer(expected.get()));
        let mut transaction = self.dialect().begin().await?;
        if transaction.execute(self.statements().bury_revision.clone(), &values).await? == 0 {
            transaction.roll_back().await?;
            return Ok(false);
        }
        let retired = record::retired_to_bytes(&bucket.retired);
        let inserted = transaction.execute(self.statements().insert.clone(), &columns::values(bucket, &retired)).await;
        if let Err(error) = inserted {
            transaction.roll_back().await?;
            return Err(error);
        }
        transaction.commit().await?;
        Ok(true)
    }

    pub(super) async fn remove(&self, id: &SessionId, tombstone: Option<&Tombstone>) -> Result<bool, StoreError> {
        let removed = match tombstone {
            Some(tombstone) => {
                let tombstone = Tombstone { id: *id, ..*tombstone };
                self.dialect().execute(self.statements().bury.clone(), &columns::tombstone(&tombstone)).await?
            }
            None => self.dialect().execute(self.statements().remove.clone(), &[columns::id(id)]).await?,
        };
        Ok(removed > 0)
    }

    pub(super) async fn list(&self, subjects: &[SubjectTag], page: Page) -> Result<Vec<Bucket>, StoreError> {
        if subjects.is_empty() || page.limit == 0 {
            return Ok(Vec::new());
        }
        let mut values = tags(subjects);
        values.extend([id_or_none(page.after.as_ref()), integer(page.limit.into())]);
        let rows = self.dialect().fetch(self.statements().list(subjects.len()), &values).await?;
        rows.iter().filter_map(|row| columns::bucket(row).transpose()).collect()
    }

    pub(super) async fn count(&self) -> Result<u64, StoreError> {
        let rows = self.dialect().fetch(self.statements().count.clone(), &[]).await?;
        rows.first().map_or(Ok(0), |row| columns::required(row, 0))
    }

    /// Passes of finding and deleting, each from the start, until one has found all that was left and deleted all that
    /// it found. A session that was renewed between the two is no longer there to delete under the id that was found,
    /// so the pass does not count as the last.
    pub(super) async fn remove_all(&self, which: Which<'_>, except: Option<&SessionId>) -> Result<u64, StoreError> {
        let (find, mut values) = match which {
            Which::Subjects([]) => return Ok(0),
            Which::Subjects(subjects) => (self.statements().ids_of(subjects.len()), tags(subjects)),
            Which::Everything => (self.statements().ids(), Vec::new()),
        };
        values.extend([id_or_none(except), integer(REMOVE_BATCH as u64)]);
        let mut removed = 0;
        loop {
            let mut transaction = self.dialect().begin().await?;
            let found = transaction.fetch(find.clone(), &values).await?;
            if found.is_empty() {
                transaction.roll_back().await?;
                return Ok(removed);
            }
            let ids = found.iter().map(|row| row.bytes(0)).collect::<Result<Vec<_>, _>>()?;
            let ids: Vec<Value<'_>> = ids.iter().map(|id| Value::Bytes(id.as_deref())).collect();
            let deleted = transaction.execute(self.statements().remove_these(ids.len()), &ids).await?;
            transaction.commit().await?;
            removed += deleted;
            if deleted == ids.len() as u64 && ids.len() < REMOVE_BATCH {
                return Ok(removed);
            }
        }
    }

    pub(super) async fn purge_expired(&self, now: Timestamp, limit: u32) -> Result<u64, StoreError> {
        let mut removed = 0;
        while removed < u64::from(limit) {
            let batch = (u64::from(limit) - removed).min(PURGE_BATCH.into());
            let values = [deadline(now), deadline(now), integer(batch)];
            let deleted = self.dialect().execute(self.statements().purge.clone(), &values).await?;
            removed += deleted;
            if deleted < batch {
                break;
            }
        }
        Ok(removed)
    }
}

fn tags(subjects: &[SubjectTag]) -> Vec<Value<'_>> {
    subjects.iter().map(|subject| Value::Bytes(Some(subject.as_bytes()))).collect()
}

fn with<'a>(values: &[Value<'a>], last: Value<'a>) -> Vec<Value<'a>> {
    [values, &[last]].concat()
}
