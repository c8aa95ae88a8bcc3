//! Translates entries to the columns of a row and back.

use secure_sessions_core::{
    Bucket, Entry, Fingerprint, GroupTag, Lifespan, Millis, Revision, SessionId, SubjectTag, Timestamp, Tombstone,
    VaultId, record,
};

use super::dialect::{Row, Value};
use crate::{Listed, StoreError, Unreadable};

/// A bucket's columns, the id last, in the order of the statements that write them. `retired` is borrowed, since
/// it has to be encoded first.
pub(super) fn values<'a>(bucket: &'a Bucket, retired: &'a [u8]) -> [Value<'a>; 17] {
    let due_at = deadline(bucket.purge_at());
    [
        integer(bucket.revision.get()),
        Value::Bytes(bucket.subject.as_ref().map(|subject| subject.as_bytes().as_slice())),
        Value::Bytes(bucket.label.as_deref()),
        time(bucket.created_at),
        time(bucket.last_seen_at),
        time(bucket.expires_at),
        Value::Integer(bucket.idle_timeout.map(|idle| idle.get().cast_signed())),
        time(bucket.rotated_at),
        integer(bucket.generation.into()),
        Value::Bytes(Some(bucket.current.as_bytes())),
        Value::Bytes(Some(retired).filter(|retired| !retired.is_empty())),
        Value::Bytes(bucket.handoff.as_deref()),
        Value::Bytes(bucket.vault.as_ref().map(|vault| vault.as_bytes().as_slice())),
        Value::Bytes(bucket.group.as_ref().map(|group| group.as_bytes().as_slice())),
        due_at,
        due_at,
        id(&bucket.id),
    ]
}

/// A tombstone's columns, the id last.
pub(super) fn tombstone(tombstone: &Tombstone) -> [Value<'_>; 6] {
    let due_at = deadline(tombstone.expires_at);
    [
        time(tombstone.ended_at),
        time(tombstone.expires_at),
        due_at,
        due_at,
        Value::Bytes(tombstone.successor.as_ref().map(|successor| successor.as_bytes().as_slice())),
        id(&tombstone.id),
    ]
}

pub(super) fn id(id: &SessionId) -> Value<'_> {
    Value::Bytes(Some(id.as_bytes()))
}

/// Returns the bytes of an id, or an empty slice, which sorts before all ids.
pub(super) fn id_or_none(id: Option<&SessionId>) -> Value<'_> {
    Value::Bytes(Some(id.map_or(&[], |id| id.as_bytes().as_slice())))
}

/// Returns the same 64 bits as an `i64`.
pub(super) fn integer(number: u64) -> Value<'static> {
    Value::Integer(Some(number.cast_signed()))
}

/// Returns the number, cut off at `i64::MAX`, so that the order stays: for `due_at` and `purge_at`, which are compared.
pub(super) fn deadline(at: Timestamp) -> Value<'static> {
    Value::Integer(Some(i64::try_from(at.as_millis()).unwrap_or(i64::MAX)))
}

fn time(at: Timestamp) -> Value<'static> {
    integer(at.as_millis())
}

/// Reads the row of a bucket or tombstone.
pub(super) fn entry(row: &impl Row) -> Result<Entry, StoreError> {
    let id = SessionId::from_bytes(exactly(row.bytes(0)?)?);
    let expires_at = required_time(row, 6)?;
    if let Some(ended_at) = row.integer(13)? {
        let ended_at = Timestamp::from_millis(ended_at.cast_unsigned());
        let successor = row.bytes(14)?.map(|id| exactly(Some(id)).map(SessionId::from_bytes)).transpose()?;
        return Ok(Entry::Tombstone(Tombstone { id, ended_at, expires_at, successor }));
    }
    let (retired, evicted) =
        record::retired_from_bytes(&row.bytes(11)?.unwrap_or_default()).map_err(StoreError::corrupt)?;
    Ok(Entry::Bucket(Bucket {
        id,
        revision: Revision::new(required(row, 1)?),
        subject: row.bytes(2)?.map(|subject| exactly(Some(subject)).map(SubjectTag::from_bytes)).transpose()?,
        label: row.bytes(3)?,
        created_at: required_time(row, 4)?,
        last_seen_at: required_time(row, 5)?,
        expires_at,
        idle_timeout: row.integer(7)?.map(|idle| Millis::new(idle.cast_unsigned())),
        rotated_at: required_time(row, 8)?,
        generation: u32::try_from(required(row, 9)?).map_err(StoreError::corrupt)?,
        current: Fingerprint::from_bytes(exactly(row.bytes(10)?)?),
        retired,
        evicted,
        handoff: row.bytes(12)?,
        vault: row.bytes(15)?.map(|vault| exactly(Some(vault)).map(VaultId::from_bytes)).transpose()?,
        group: row.bytes(16)?.map(|group| exactly(Some(group)).map(GroupTag::from_bytes)).transpose()?,
    }))
}

/// Reads a row of a list; returns `None` for a tombstone. Fails only if the row does not even have an id.
pub(super) fn listed(row: &impl Row) -> Result<Option<Listed>, StoreError> {
    Ok(match entry(row) {
        Ok(Entry::Bucket(bucket)) => Some(Ok(bucket)),
        Ok(Entry::Tombstone(_)) => None,
        Err(error) => Some(Err(Unreadable { id: SessionId::from_bytes(exactly(row.bytes(0)?)?), error })),
    })
}

/// Reads the row of a lifespan. Fails only if the row does not even have an id.
pub(super) fn listed_lifespan(row: &impl Row) -> Result<Listed<Lifespan>, StoreError> {
    let id = SessionId::from_bytes(exactly(row.bytes(0)?)?);
    let lifespan = || {
        Ok(Lifespan {
            id,
            created_at: required_time(row, 1)?,
            last_seen_at: required_time(row, 2)?,
            expires_at: required_time(row, 3)?,
            idle_timeout: row.integer(4)?.map(|idle| Millis::new(idle.cast_unsigned())),
        })
    };
    Ok(lifespan().map_err(|error| Unreadable { id, error }))
}

/// Reads the first column, which no row of ours lacks.
pub(super) fn required(row: &impl Row, column: usize) -> Result<u64, StoreError> {
    row.integer(column)?.map(i64::cast_unsigned).ok_or_else(|| StoreError::corrupt("a column is null"))
}

fn required_time(row: &impl Row, column: usize) -> Result<Timestamp, StoreError> {
    required(row, column).map(Timestamp::from_millis)
}

pub(super) fn exactly(bytes: Option<Vec<u8>>) -> Result<[u8; 16], StoreError> {
    bytes.and_then(|bytes| bytes.try_into().ok()).ok_or_else(|| StoreError::corrupt("a column does not have 16 bytes"))
}
