//! The contract of a store, in statements; the same for every database.

use std::sync::Arc;
use std::time::{Duration, Instant};

use secure_sessions_core::{BlobId, Bucket, Entry, Lifespan, Revision, SessionId, Timestamp, Tombstone, VaultId};
use sqlx::SqlStr;
use tokio::time::sleep;

use super::columns::{self, deadline, id_or_none, integer};
use super::dialect::{Dialect, Row, Transaction, Value};
use super::error::Failure;
use super::migrate::migrate;
use super::statements::Statements;
use crate::{Listed, Page, StoreError, Tag, Tags, Which};

/// The ids that one pass of `remove_all` finds and deletes.
const REMOVE_BATCH: usize = 250;
/// The longest rest of a purge after a statement that took long, or that waited for others.
const LONGEST_REST: Duration = Duration::from_millis(250);
/// The number of times that one call lets others go first.
const MOST_CONFLICTS: u32 = 100;

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
    pub(super) fn new(dialect: D, name: &str) -> Self {
        Self(Arc::new(Shared { dialect, statements: Statements::new(name, D::SPELLING) }))
    }

    /// Makes or changes the table if that is needed and allowed, and finds out if it can be used.
    pub(super) async fn prepare(&self, name: &str, may_change: bool) -> Result<(), StoreError> {
        migrate(self.dialect(), name, may_change).await?;
        // A right that is missing there is found now, and not when a request waits.
        self.not_before().await?;
        self.get(&VaultId::from_bytes([0; 16]), &[BlobId::from_bytes([0; 16])]).await?;
        Ok(())
    }

    pub(super) fn dialect(&self) -> &D {
        &self.0.dialect
    }

    pub(super) fn statements(&self) -> &Statements {
        &self.0.statements
    }

    pub(super) async fn insert(&self, bucket: &Bucket) -> Result<(), StoreError> {
        let retired = bucket.retired_to_bytes();
        self.write(&self.statements().insert, &columns::values(bucket, &retired)).await?;
        Ok(())
    }

    pub(super) async fn load(&self, id: &SessionId) -> Result<Option<Entry>, StoreError> {
        let rows = self.dialect().fetch(self.statements().load.clone(), &[columns::id(id)]).await?;
        rows.first().map(columns::entry).transpose()
    }

    pub(super) async fn replace(&self, bucket: &Bucket, expected: Revision) -> Result<bool, StoreError> {
        let retired = bucket.retired_to_bytes();
        let values = with(&columns::values(bucket, &retired), integer(expected.get()));
        if let Some(statement) = &self.statements().replace_in_place
            && unless_conflict(self.dialect().execute(statement.clone(), &values).await.map(|rows| rows > 0))?
        {
            return Ok(true);
        }
        unless_conflict(self.dialect().execute(self.statements().replace.clone(), &values).await.map(|rows| rows > 0))
    }

    pub(super) async fn renew_into(
        &self,
        bucket: &Bucket,
        old: &SessionId,
        expected: Revision,
        tombstone: &Tombstone,
    ) -> Result<bool, StoreError> {
        unless_conflict(self.renew(bucket, old, expected, tombstone).await)
    }

    async fn renew(
        &self,
        bucket: &Bucket,
        old: &SessionId,
        expected: Revision,
        tombstone: &Tombstone,
    ) -> Result<bool, Failure> {
        let tombstone = Tombstone { id: *old, ..*tombstone };
        let retired = bucket.retired_to_bytes();
        let mut transaction = self.dialect().begin().await?;
        // The insert, which may find no room, comes first: undoing the end of the old one takes room, too, and InnoDB stops
        // and forgets the row if there is none for that.
        let mut outcome =
            transaction.execute(self.statements().insert.clone(), &columns::values(bucket, &retired)).await;
        if let Ok(1..) = outcome {
            let values = with(&columns::tombstone(&tombstone), integer(expected.get()));
            outcome = transaction.execute(self.statements().bury_revision.clone(), &values).await;
        }
        if let Ok(1..) = outcome {
            transaction.commit().await?;
            return Ok(true);
        }
        transaction.roll_back().await?;
        match outcome {
            // The new id is taken. That matters only if the old session has the expected revision.
            Err(Failure::Store(StoreError::Duplicate)) => match self.load(old).await? {
                Some(Entry::Bucket(found)) if found.revision == expected => Err(StoreError::Duplicate.into()),
                _ => Ok(false),
            },
            outcome => outcome.map(|_| false),
        }
    }

    pub(super) async fn remove(&self, id: &SessionId, tombstone: Option<&Tombstone>) -> Result<bool, StoreError> {
        let removed = match tombstone {
            Some(tombstone) => {
                let tombstone = Tombstone { id: *id, ..*tombstone };
                self.write(&self.statements().bury, &columns::tombstone(&tombstone)).await?
            }
            None => self.write(&self.statements().remove, &[columns::id(id)]).await?,
        };
        Ok(removed > 0)
    }

    pub(super) async fn list(&self, tags: Tags<'_>, page: Page) -> Result<Vec<Listed>, StoreError> {
        let distinct = distinct(tags);
        if distinct.is_empty() || page.limit == 0 {
            return Ok(Vec::new());
        }
        let values = page_of(&distinct, &page);
        let rows = self.dialect().fetch(self.statements().list(column(tags), distinct.len()), &values).await?;
        rows.iter().filter_map(|row| columns::listed(row).transpose()).collect()
    }

    pub(super) async fn list_lifespans(&self, tags: Tags<'_>, page: Page) -> Result<Vec<Listed<Lifespan>>, StoreError> {
        let distinct = distinct(tags);
        if distinct.is_empty() || page.limit == 0 {
            return Ok(Vec::new());
        }
        let values = page_of(&distinct, &page);
        let statement = self.statements().list_lifespans(column(tags), distinct.len());
        let rows = self.dialect().fetch(statement, &values).await?;
        rows.iter().map(columns::listed_lifespan).collect()
    }

    pub(super) async fn count(&self) -> Result<u64, StoreError> {
        let rows = self.dialect().fetch(self.statements().count.clone(), &[]).await?;
        rows.first().map_or(Ok(0), |row| columns::required(row, 0))
    }

    /// Repeats passes of finding and deleting, each from the start, until one has found all that was left and deleted all that
    /// it found. A session that was renewed between the two is no longer under the id that was found, so such a pass is not
    /// the last. The next one blocks all renewals, if the database can do that: a client that renews without a pause is in
    /// the middle of a renewal nearly always.
    pub(super) async fn remove_all(&self, which: Which<'_>, except: Option<&SessionId>) -> Result<u64, StoreError> {
        let distinct = if let Which::Tagged(tags) = which { distinct(tags) } else { Vec::new() };
        let find = match which {
            Which::Tagged(_) if distinct.is_empty() => return Ok(0),
            Which::Tagged(tags) => self.statements().ids_of(column(tags), distinct.len()),
            Which::Everything => self.statements().ids(),
        };
        let mut values: Vec<_> = distinct.iter().map(value).collect();
        values.extend([id_or_none(except), integer(REMOVE_BATCH as u64)]);
        let (mut removed, mut conflicts, mut alone, mut locks) = (0, 0, false, true);
        loop {
            match self.remove_found(&find, &values, alone).await {
                Ok(pass) => {
                    removed += pass.deleted;
                    alone = locks && pass.deleted < pass.found as u64;
                    if pass.is_last() {
                        return Ok(removed);
                    }
                }
                // A database of PostgreSQL's kind that has no such lock: its passes alone have to catch up.
                Err(Failure::Store(StoreError::Rejected(_))) if alone => (alone, locks) = (false, false),
                // Nothing of this pass happened. The writer in its way has made progress, so this ends.
                Err(Failure::Conflict) if conflicts < MOST_CONFLICTS => conflicts += 1,
                Err(failure) => return Err(failure.into()),
            }
        }
    }

    /// Runs one pass: finds, in a snapshot of its own, and deletes.
    async fn remove_found(&self, find: &SqlStr, values: &[Value<'_>], alone: bool) -> Result<Pass, Failure> {
        let mut transaction = self.dialect().begin().await?;
        let pass = async {
            if let Some(lock) = self.statements().lock.as_ref().filter(|_| alone) {
                transaction.run_script(lock.clone()).await?;
            }
            let found = transaction.fetch(find.clone(), values).await?;
            let ids = found.iter().map(|row| row.bytes(0)).collect::<Result<Vec<_>, _>>()?;
            let ids: Vec<Value<'_>> = ids.iter().map(|id| Value::Bytes(id.as_deref())).collect();
            let mut pass = Pass { found: ids.len(), deleted: 0 };
            if pass.found > 0 {
                pass.deleted = transaction.execute(self.statements().remove_these(ids.len()), &ids).await?;
            }
            Ok(pass)
        };
        match pass.await {
            Ok(pass) => transaction.commit().await.map(|()| pass),
            Err(failure) => {
                transaction.roll_back().await?;
                Err(failure)
            }
        }
    }

    pub(super) async fn purge_expired(&self, now: Timestamp, limit: u32) -> Result<u64, StoreError> {
        let (limit, now) = (u64::from(limit), deadline(now));
        let mut removed = 0;
        while removed < limit {
            let (batch, begun) = ((limit - removed).min(D::SPELLING.purge_batch), Instant::now());
            let mut deleted = self.write(&self.statements().purge, &[now, now, integer(batch)]).await?;
            if let Some(waiting) = self.statements().purge_waiting.as_ref().filter(|_| deleted < batch) {
                deleted += self.write(waiting, &[now, now, integer(batch - deleted)]).await?;
            }
            removed += deleted;
            if deleted < batch {
                self.advance(now).await?;
                break;
            }
            rest_after::<D>(begun).await;
        }
        Ok(removed)
    }

    /// Moves the purge's dates of entries that live on to their deadlines: a touch leaves them as they are, since the column is
    /// indexed. This comes after all that was due is gone, so that neither of the two looks through the rows of the other.
    async fn advance(&self, now: Value<'_>) -> Result<(), StoreError> {
        loop {
            let (batch, begun) = (D::SPELLING.purge_batch, Instant::now());
            if self.write(&self.statements().advance, &[now, now, integer(batch)]).await? < batch {
                return Ok(());
            }
            rest_after::<D>(begun).await;
        }
    }

    pub(super) async fn now(&self) -> Result<Option<Timestamp>, StoreError> {
        let Some(now) = &self.statements().now else { return Ok(None) };
        let rows = self.dialect().fetch(now.clone(), &[]).await?;
        rows.first().map(|row| columns::required(row, 0).map(Timestamp::from_millis)).transpose()
    }

    /// Runs a statement in a transaction of its own; retries it once if it lost against another one.
    pub(super) async fn write(&self, statement: &SqlStr, values: &[Value<'_>]) -> Result<u64, StoreError> {
        let mut conflicts = 0;
        loop {
            match self.dialect().execute(statement.clone(), values).await {
                Err(Failure::Conflict) if conflicts < MOST_CONFLICTS => conflicts += 1,
                outcome => return Ok(outcome?),
            }
        }
    }
}

/// Rests as long as the statement took that began then, if everybody waited for it.
pub(super) async fn rest_after<D: Dialect>(begun: Instant) {
    if D::SPELLING.rests {
        sleep(begun.elapsed().min(LONGEST_REST)).await;
    }
}

/// The outcome of a pass of `remove_all`.
struct Pass {
    found: usize,
    deleted: u64,
}

impl Pass {
    /// The pass has found all that was left, and deleted all that it found.
    fn is_last(&self) -> bool {
        self.deleted == self.found as u64 && self.found < REMOVE_BATCH
    }
}

/// Turns a compare-and-swap that the database rolled back into a lost race.
fn unless_conflict(outcome: Result<bool, Failure>) -> Result<bool, StoreError> {
    match outcome {
        Err(Failure::Conflict) => Ok(false),
        outcome => Ok(outcome?),
    }
}

/// Returns the column of such tags, which has an index.
fn column(tags: Tags<'_>) -> &'static str {
    match tags {
        Tags::Subjects(_) => "subject",
        Tags::Groups(_) => "group_tag",
    }
}

fn value(tag: &Tag) -> Value<'_> {
    Value::Bytes(Some(tag.as_bytes()))
}

fn distinct(tags: Tags<'_>) -> Vec<Tag> {
    let mut distinct = Vec::new();
    for tag in tags.iter() {
        if !distinct.contains(&tag) {
            distinct.push(tag);
        }
    }
    distinct
}

/// Returns the parameters of a list's page.
fn page_of<'a>(tags: &'a [Tag], page: &'a Page) -> Vec<Value<'a>> {
    let (after, limit) = (id_or_none(page.after.as_ref()), integer(page.limit.into()));
    let mut values: Vec<_> = tags.iter().flat_map(|tag| [value(tag), after, limit]).collect();
    if tags.len() > 1 {
        values.push(limit);
    }
    values
}

fn with<'a>(values: &[Value<'a>], last: Value<'a>) -> Vec<Value<'a>> {
    [values, &[last]].concat()
}
