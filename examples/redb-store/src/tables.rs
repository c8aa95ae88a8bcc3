//! The tables: entries by id, and two indexes that are written in the same transaction.

use redb::{ReadOnlyTable, ReadTransaction, ReadableTable, Table, TableDefinition, WriteTransaction};
use secure_sessions_store::{Entry, SessionId, StoreError, SubjectTag, Timestamp};

type Id = &'static [u8; 16];

/// A record of each session or tombstone.
const ENTRIES: TableDefinition<'_, Id, &[u8]> = TableDefinition::new("entries");
/// Subject and id of each session that has a subject.
const SUBJECTS: TableDefinition<'_, (Id, Id), ()> = TableDefinition::new("subjects");
/// Deadline and id of each entry.
const DEADLINES: TableDefinition<'_, (u64, Id), ()> = TableDefinition::new("deadlines");

const LOWEST: [u8; 16] = [0; 16];
const HIGHEST: [u8; 16] = [0xff; 16];

/// What redb says. It names files, and no keys of ours.
pub(crate) fn failed(error: impl Into<redb::Error>) -> StoreError {
    match error.into() {
        error @ redb::Error::Corrupted(_) => StoreError::corrupt(error),
        error @ (redb::Error::UpgradeRequired(_) | redb::Error::TableTypeMismatch { .. }) => {
            StoreError::rejected(error)
        }
        error => StoreError::unavailable(error),
    }
}

fn entry(record: &[u8]) -> Result<Entry, StoreError> {
    Entry::from_record(record).map_err(StoreError::corrupt)
}

/// The tables as of one instant.
pub(crate) struct Reading {
    entries: ReadOnlyTable<Id, &'static [u8]>,
    subjects: ReadOnlyTable<(Id, Id), ()>,
}

impl Reading {
    pub(crate) fn open(transaction: &ReadTransaction) -> Result<Self, StoreError> {
        Ok(Self {
            entries: transaction.open_table(ENTRIES).map_err(failed)?,
            subjects: transaction.open_table(SUBJECTS).map_err(failed)?,
        })
    }

    pub(crate) fn get(&self, id: &SessionId) -> Result<Option<Entry>, StoreError> {
        self.entries.get(id.as_bytes()).map_err(failed)?.map(|record| entry(record.value())).transpose()
    }

    pub(crate) fn of_subject(
        &self,
        subject: &SubjectTag,
        after: Option<SessionId>,
        limit: usize,
    ) -> Result<Vec<SessionId>, StoreError> {
        ids_of(&self.subjects, subject, after, limit)
    }

    pub(crate) fn count(&self) -> Result<u64, StoreError> {
        let mut count = 0;
        for item in self.entries.iter().map_err(failed)? {
            count += u64::from(!matches!(entry(item.map_err(failed)?.1.value()), Ok(Entry::Tombstone(_))));
        }
        Ok(count)
    }
}

/// The tables of a transaction that writes.
pub(crate) struct Writing<'t> {
    entries: Table<'t, Id, &'static [u8]>,
    subjects: Table<'t, (Id, Id), ()>,
    deadlines: Table<'t, (u64, Id), ()>,
}

impl<'t> Writing<'t> {
    pub(crate) fn open(transaction: &'t WriteTransaction) -> Result<Self, StoreError> {
        Ok(Self {
            entries: transaction.open_table(ENTRIES).map_err(failed)?,
            subjects: transaction.open_table(SUBJECTS).map_err(failed)?,
            deadlines: transaction.open_table(DEADLINES).map_err(failed)?,
        })
    }

    pub(crate) fn get(&self, id: &SessionId) -> Result<Option<Entry>, StoreError> {
        self.entries.get(id.as_bytes()).map_err(failed)?.map(|record| entry(record.value())).transpose()
    }

    /// Keeps an entry in place of what was there, or nothing, and the indexes with it.
    pub(crate) fn put(&mut self, id: &SessionId, new: Option<&Entry>) -> Result<(), StoreError> {
        let key = id.as_bytes();
        match self.get(id) {
            Ok(Some(old)) => {
                self.deadlines.remove((old.purge_at().as_millis(), key)).map_err(failed)?;
                if let Some(subject) = subject(&old) {
                    self.subjects.remove((subject.as_bytes(), key)).map_err(failed)?;
                }
            }
            Ok(None) => {}
            // Nobody can tell where the indexes have it, so all of them are searched.
            Err(StoreError::Corrupt(_)) => {
                self.deadlines.retain(|(_, other), ()| other != key).map_err(failed)?;
                self.subjects.retain(|(_, other), ()| other != key).map_err(failed)?;
            }
            Err(error) => return Err(error),
        }
        let Some(new) = new else {
            self.entries.remove(key).map_err(failed)?;
            return Ok(());
        };
        self.entries.insert(key, new.to_record().as_slice()).map_err(failed)?;
        self.deadlines.insert((new.purge_at().as_millis(), key), ()).map_err(failed)?;
        if let Some(subject) = subject(new) {
            self.subjects.insert((subject.as_bytes(), key), ()).map_err(failed)?;
        }
        Ok(())
    }

    pub(crate) fn of_subjects(&self, subjects: &[SubjectTag]) -> Result<Vec<SessionId>, StoreError> {
        let mut ids = Vec::new();
        for subject in subjects {
            ids.extend(ids_of(&self.subjects, subject, None, usize::MAX)?);
        }
        ids.sort_unstable();
        ids.dedup();
        Ok(ids)
    }

    /// All sessions, those that cannot be read included.
    pub(crate) fn buckets(&self) -> Result<Vec<SessionId>, StoreError> {
        let mut ids = Vec::new();
        for item in self.entries.iter().map_err(failed)? {
            let (id, record) = item.map_err(failed)?;
            if !matches!(entry(record.value()), Ok(Entry::Tombstone(_))) {
                ids.push(SessionId::from_bytes(*id.value()));
            }
        }
        Ok(ids)
    }

    /// What is due for the purge, the oldest first.
    pub(crate) fn due(&self, now: Timestamp, limit: u32) -> Result<Vec<SessionId>, StoreError> {
        let range = self.deadlines.range((0, &LOWEST)..=(now.as_millis(), &HIGHEST)).map_err(failed)?;
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        range.take(limit).map(|item| Ok(SessionId::from_bytes(*item.map_err(failed)?.0.value().1))).collect()
    }
}

fn subject(entry: &Entry) -> Option<SubjectTag> {
    match entry {
        Entry::Bucket(bucket) => bucket.subject,
        Entry::Tombstone(_) => None,
    }
}

/// The first ids of a subject's sessions behind one of them.
fn ids_of(
    table: &impl ReadableTable<(Id, Id), ()>,
    subject: &SubjectTag,
    after: Option<SessionId>,
    limit: usize,
) -> Result<Vec<SessionId>, StoreError> {
    let first = after.as_ref().map_or(&LOWEST, SessionId::as_bytes);
    let range = table.range((subject.as_bytes(), first)..=(subject.as_bytes(), &HIGHEST)).map_err(failed)?;
    let ids = range.map(|item| Ok(SessionId::from_bytes(*item.map_err(failed)?.0.value().1)));
    // The range begins with the id itself.
    ids.filter(|id| !matches!((id, after), (Ok(id), Some(after)) if *id == after)).take(limit).collect()
}
