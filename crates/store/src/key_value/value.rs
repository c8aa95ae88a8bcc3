//! The values under keys.
//!
//! ```text
//! session or tombstone           nonce(8) | next(16) | record
//! place in an index              empty
//! place in the list of deadlines last(u64 ms) | tags: kind(1) | tag(16) each
//! list of a vault's blobs        for each: id(16) | deadline(u64 ms)
//! blob                           deadline(u64 ms) | sealed bytes
//! time before which tokens are refused: u64 ms
//! ```
//!
//! The nonce leads from a session to its places, and `next` from a session that was renewed to the one that it became (all
//! zero: none). `last` is the deadline that the session cannot outlive. A tag is of the kind 1 (subject) or 2 (group).

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use secure_sessions_core::{BlobId, Bucket, Entry, GroupTag, PURGE_DELAY, SessionId, SubjectTag, Timestamp};

use crate::{StoreError, Tag};

const NONCE_LEN: usize = 8;
const TIME_LEN: usize = 8;
const TAG_LEN: usize = 16;
const NONE: [u8; 16] = [0; 16];
const SUBJECT: u8 = 1;
const GROUP: u8 = 2;

/// The name of a session's places.
pub(crate) type Nonce = [u8; NONCE_LEN];

/// Returns a nonce unlike any other of this or another process.
pub(crate) fn nonce() -> Nonce {
    static PROCESS: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    static COUNT: AtomicU64 = AtomicU64::new(0);
    PROCESS.hash_one(COUNT.fetch_add(1, Ordering::Relaxed)).to_be_bytes()
}

/// Returns the value of a session or tombstone.
pub(super) fn value(nonce: Nonce, next: Option<&SessionId>, record: &[u8]) -> Vec<u8> {
    let next = next.map_or(NONE, |id| *id.as_bytes());
    [&nonce[..], &next[..], record].concat()
}

/// The parts of such a value.
pub(super) struct Parts {
    pub(super) nonce: Nonce,
    pub(super) next: Option<SessionId>,
    /// [`StoreError::Corrupt`] if it cannot be read.
    pub(super) entry: Result<Entry, StoreError>,
}

pub(super) fn parse(value: &[u8]) -> Parts {
    let (nonce, rest) = value.split_first_chunk().unwrap_or((&[0; NONCE_LEN], &[]));
    let (next, record) = rest.split_first_chunk().unwrap_or((&NONE, &[]));
    let next = (*next != NONE).then(|| SessionId::from_bytes(*next));
    Parts { nonce: *nonce, next, entry: Entry::from_record(record).map_err(StoreError::corrupt) }
}

/// Returns the deadline that a session cannot outlive, unless a write makes it longer.
pub(super) fn last(bucket: &Bucket) -> Timestamp {
    bucket.expires_at.after(PURGE_DELAY)
}

/// Returns the value of a place in the list of deadlines.
pub(super) fn due(last: Timestamp, tags: impl Iterator<Item = Tag>) -> Vec<u8> {
    let mut due = last.as_millis().to_be_bytes().to_vec();
    for tag in tags {
        due.push(match tag {
            Tag::Subject(_) => SUBJECT,
            Tag::Group(_) => GROUP,
        });
        due.extend_from_slice(tag.as_bytes());
    }
    due
}

/// Splits such a value.
pub(super) fn parse_due(value: &[u8]) -> Option<(Timestamp, Vec<Tag>)> {
    let (last, tags) = value.split_first_chunk::<TIME_LEN>()?;
    let tags = tags.chunks(1 + TAG_LEN).map(|tag| match tag.split_first()? {
        (&SUBJECT, tag) => SubjectTag::try_from(tag).ok().map(Tag::Subject),
        (&GROUP, tag) => GroupTag::try_from(tag).ok().map(Tag::Group),
        _ => None,
    });
    Some((Timestamp::from_millis(u64::from_be_bytes(*last)), tags.collect::<Option<_>>()?))
}

/// Returns the value of a blob.
pub(super) fn blob(deadline: Timestamp, bytes: &[u8]) -> Vec<u8> {
    [&deadline.as_millis().to_be_bytes()[..], bytes].concat()
}

/// Splits such a value.
pub(super) fn parse_blob(value: &[u8]) -> Option<(Timestamp, &[u8])> {
    let (deadline, bytes) = value.split_first_chunk::<TIME_LEN>()?;
    Some((Timestamp::from_millis(u64::from_be_bytes(*deadline)), bytes))
}

/// Returns the value of the list of a vault's blobs.
pub(super) fn list(blobs: &BTreeMap<BlobId, Timestamp>) -> Vec<u8> {
    let line =
        |(id, deadline): (&BlobId, &Timestamp)| [&id.as_bytes()[..], &deadline.as_millis().to_be_bytes()].concat();
    blobs.iter().flat_map(line).collect()
}

/// Returns the blobs in such a list, with their deadlines.
pub(super) fn parse_list(value: &[u8]) -> BTreeMap<BlobId, Timestamp> {
    let blobs = value.chunks_exact(16 + TIME_LEN).filter_map(|blob| {
        let (id, deadline) = blob.split_first_chunk::<16>()?;
        let deadline = u64::from_be_bytes(deadline.try_into().ok()?);
        Some((BlobId::from_bytes(*id), Timestamp::from_millis(deadline)))
    });
    blobs.collect()
}
