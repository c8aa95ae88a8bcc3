//! A bucket or tombstone as bytes, for stores that keep records rather than columns.
//!
//! ```text
//! record    = 0x01 | kind(1) | flags(1) | id(16) | body
//! bucket    = revision(u64) | created_at | last_seen_at | expires_at | rotated_at (u64 ms each) | generation(u32)
//!           | current(16) | [subject(16)] | [group(16)] | [vault(16)] | [idle_timeout(u64 ms)]
//!           | [label_len(u16) | label] | [handoff_len(u16) | handoff] | retired
//! retired   = count(u16) | count times: fingerprint(16) | times | [times of the eviction watermark]
//! times     = generation(u32) | superseded_at(u64 ms) | dead_after(u64 ms)
//! tombstone = ended_at(u64 ms) | expires_at(u64 ms) | [successor(16)]
//! ```
//!
//! A flag says whether each part in brackets is present; for the watermark, it is the count's highest bit. `dead_after` is
//! 2^64 - 1 while it is not decided.

use crate::bucket::{Bucket, Entry, Evicted, Retired, Tombstone};
use crate::format::{FINGERPRINT_LEN, MAX_RETIRED, SESSION_ID_LEN, TAG_TRUNCATED_LEN, VAULT_ID_LEN};
use crate::ids::{Fingerprint, GroupTag, Revision, SessionId, SubjectTag, VaultId};
use crate::time::{Millis, Timestamp};

/// An error in bytes that should be a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the stored record is malformed: cut off, too long, or of a version that this release does not know")]
pub struct RecordError;

const RECORD_VERSION: u8 = 0x01;
const BUCKET: u8 = 0x01;
const TOMBSTONE: u8 = 0x02;
const UNDECIDED: u64 = u64::MAX;

const HAS_SUBJECT: u8 = 1;
const HAS_IDLE: u8 = 2;
const HAS_LABEL: u8 = 4;
const HAS_HANDOFF: u8 = 8;
const HAS_RETIRED: u8 = 16;
const HAS_VAULT: u8 = 32;
const HAS_GROUP: u8 = 64;
const ALL_FLAGS: u8 = 127;
/// The one flag of a tombstone.
const HAS_SUCCESSOR: u8 = 1;

/// The bit of the count of retired tokens that announces the eviction watermark.
const HAS_EVICTED: u16 = 1 << 15;

/// Bytes of the generation and times of one retired token, and of the eviction watermark.
pub const EVICTED_LEN: usize = 4 + 8 + 8;
/// Bytes of one retired token.
pub const RETIRED_LEN: usize = FINGERPRINT_LEN + EVICTED_LEN;

impl Entry {
    /// Returns the record's bytes.
    #[must_use]
    pub fn to_record(&self) -> Vec<u8> {
        match self {
            Self::Bucket(bucket) => bucket.to_record(),
            Self::Tombstone(tombstone) => tombstone.to_record(),
        }
    }

    /// Reads a record.
    ///
    /// # Errors
    ///
    /// [`RecordError`] if the bytes are not exactly one record.
    pub fn from_record(record: &[u8]) -> Result<Self, RecordError> {
        let mut reader = Reader(record);
        if reader.byte()? != RECORD_VERSION {
            return Err(RecordError);
        }
        let (kind, flags) = (reader.byte()?, reader.byte()?);
        let id = SessionId::from_bytes(reader.array::<SESSION_ID_LEN>()?);
        let entry = match kind {
            BUCKET if flags & !ALL_FLAGS == 0 => Self::Bucket(read_bucket(id, flags, &mut reader)?),
            TOMBSTONE if flags & !HAS_SUCCESSOR == 0 => Self::Tombstone(Tombstone {
                id,
                ended_at: reader.time()?,
                expires_at: reader.time()?,
                successor: (flags != 0).then(|| reader.array().map(SessionId::from_bytes)).transpose()?,
            }),
            _ => return Err(RecordError),
        };
        if reader.0.is_empty() { Ok(entry) } else { Err(RecordError) }
    }
}

impl Bucket {
    /// Returns the record's bytes.
    #[must_use]
    pub fn to_record(&self) -> Vec<u8> {
        let mut flags = 0;
        for (there, flag) in [
            (self.subject.is_some(), HAS_SUBJECT),
            (self.idle_timeout.is_some(), HAS_IDLE),
            (self.label.is_some(), HAS_LABEL),
            (self.handoff.is_some(), HAS_HANDOFF),
            (self.has_retired(), HAS_RETIRED),
            (self.vault.is_some(), HAS_VAULT),
            (self.group.is_some(), HAS_GROUP),
        ] {
            flags |= if there { flag } else { 0 };
        }
        let variable = self.group.map_or(0, |_| TAG_TRUNCATED_LEN)
            + self.vault.map_or(0, |_| VAULT_ID_LEN)
            + self.label.as_ref().map_or(0, |label| 2 + label.len())
            + self.handoff.as_ref().map_or(0, |handoff| 2 + handoff.len())
            + if self.has_retired() { 2 + self.retired.len() * RETIRED_LEN + EVICTED_LEN } else { 0 };
        let mut record =
            Vec::with_capacity(3 + SESSION_ID_LEN + 5 * 8 + 4 + FINGERPRINT_LEN + TAG_TRUNCATED_LEN + 8 + variable);
        record.extend_from_slice(&[RECORD_VERSION, BUCKET, flags]);
        record.extend_from_slice(self.id.as_bytes());
        for number in [
            self.revision.get(),
            self.created_at.as_millis(),
            self.last_seen_at.as_millis(),
            self.expires_at.as_millis(),
            self.rotated_at.as_millis(),
        ] {
            record.extend_from_slice(&number.to_be_bytes());
        }
        record.extend_from_slice(&self.generation.to_be_bytes());
        record.extend_from_slice(self.current.as_bytes());
        if let Some(subject) = &self.subject {
            record.extend_from_slice(subject.as_bytes());
        }
        if let Some(group) = &self.group {
            record.extend_from_slice(group.as_bytes());
        }
        if let Some(vault) = &self.vault {
            record.extend_from_slice(vault.as_bytes());
        }
        if let Some(idle) = self.idle_timeout {
            record.extend_from_slice(&idle.get().to_be_bytes());
        }
        for bytes in [&self.label, &self.handoff].into_iter().flatten() {
            // Both are far below 2^16: a label by its limit, a handoff by a token's.
            let length = bytes.len().min(usize::from(u16::MAX));
            record.extend_from_slice(&u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes());
            record.extend_from_slice(&bytes[..length]);
        }
        if self.has_retired() {
            record.extend_from_slice(&self.retired_to_bytes());
        }
        record
    }

    fn has_retired(&self) -> bool {
        !self.retired.is_empty() || self.evicted.is_some()
    }

    /// Returns the retired tokens and the eviction watermark as bytes, for a store's column; empty if there is neither.
    #[must_use]
    pub fn retired_to_bytes(&self) -> Vec<u8> {
        if !self.has_retired() {
            return Vec::new();
        }
        // A bucket retires far fewer than 2^15 tokens: advance() sees to it.
        let count = u16::try_from(self.retired.len()).unwrap_or(u16::MAX) & !HAS_EVICTED;
        let mut bytes = Vec::with_capacity(2 + self.retired.len() * RETIRED_LEN + EVICTED_LEN);
        let announced = if self.evicted.is_some() { HAS_EVICTED } else { 0 };
        bytes.extend_from_slice(&(count | announced).to_be_bytes());
        let mut push = |fingerprint: &[u8], times: Evicted| {
            bytes.extend_from_slice(fingerprint);
            bytes.extend_from_slice(&times.generation.to_be_bytes());
            bytes.extend_from_slice(&times.superseded_at.as_millis().to_be_bytes());
            bytes.extend_from_slice(&times.dead_after.map_or(UNDECIDED, Timestamp::as_millis).to_be_bytes());
        };
        for token in self.retired.iter().take(usize::from(count)) {
            push(token.fingerprint.as_bytes(), Evicted::from(*token));
        }
        if let Some(evicted) = self.evicted {
            push(&[], evicted);
        }
        bytes
    }
}

impl Tombstone {
    /// Returns the record's bytes.
    #[must_use]
    pub fn to_record(&self) -> Vec<u8> {
        let flags = if self.successor.is_some() { HAS_SUCCESSOR } else { 0 };
        let mut record = vec![RECORD_VERSION, TOMBSTONE, flags];
        record.extend_from_slice(self.id.as_bytes());
        record.extend_from_slice(&self.ended_at.as_millis().to_be_bytes());
        record.extend_from_slice(&self.expires_at.as_millis().to_be_bytes());
        record.extend(self.successor.iter().flat_map(SessionId::as_bytes));
        record
    }
}

/// Reads the bytes of [`Bucket::retired_to_bytes`]: the retired tokens and the eviction watermark. An empty slice is
/// neither.
///
/// # Errors
///
/// [`RecordError`] if the bytes are not exactly one list, or it is longer than a bucket may have.
pub fn retired_from_bytes(bytes: &[u8]) -> Result<(Vec<Retired>, Option<Evicted>), RecordError> {
    if bytes.is_empty() {
        return Ok((Vec::new(), None));
    }
    Reader(bytes).retired()
}

fn read_bucket(id: SessionId, flags: u8, reader: &mut Reader<'_>) -> Result<Bucket, RecordError> {
    let has = |flag| flags & flag != 0;
    let mut bucket = Bucket {
        id,
        revision: Revision::new(reader.number()?),
        created_at: reader.time()?,
        last_seen_at: reader.time()?,
        expires_at: reader.time()?,
        rotated_at: reader.time()?,
        generation: u32::from_be_bytes(reader.array()?),
        current: Fingerprint::from_bytes(reader.array()?),
        subject: has(HAS_SUBJECT).then(|| reader.array().map(SubjectTag::from_bytes)).transpose()?,
        group: has(HAS_GROUP).then(|| reader.array().map(GroupTag::from_bytes)).transpose()?,
        vault: has(HAS_VAULT).then(|| reader.array().map(VaultId::from_bytes)).transpose()?,
        idle_timeout: has(HAS_IDLE).then(|| reader.number().map(Millis::new)).transpose()?,
        label: has(HAS_LABEL).then(|| reader.bytes()).transpose()?,
        handoff: has(HAS_HANDOFF).then(|| reader.bytes()).transpose()?,
        retired: Vec::new(),
        evicted: None,
    };
    if has(HAS_RETIRED) {
        (bucket.retired, bucket.evicted) = reader.retired()?;
    }
    Ok(bucket)
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], RecordError> {
        let (array, rest) = self.0.split_first_chunk().ok_or(RecordError)?;
        self.0 = rest;
        Ok(*array)
    }

    fn byte(&mut self) -> Result<u8, RecordError> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn number(&mut self) -> Result<u64, RecordError> {
        self.array().map(u64::from_be_bytes)
    }

    fn time(&mut self) -> Result<Timestamp, RecordError> {
        self.number().map(Timestamp::from_millis)
    }

    fn length(&mut self) -> Result<usize, RecordError> {
        self.array().map(|length| usize::from(u16::from_be_bytes(length)))
    }

    fn bytes(&mut self) -> Result<Vec<u8>, RecordError> {
        let length = self.length()?;
        let (bytes, rest) = self.0.split_at_checked(length).ok_or(RecordError)?;
        self.0 = rest;
        Ok(bytes.to_vec())
    }

    /// Reads to the end.
    fn retired(&mut self) -> Result<(Vec<Retired>, Option<Evicted>), RecordError> {
        let head = u16::from_be_bytes(self.array()?);
        let count = usize::from(head & !HAS_EVICTED);
        if count > MAX_RETIRED {
            return Err(RecordError);
        }
        let retired = (0..count).map(|_| {
            let fingerprint = Fingerprint::from_bytes(self.array()?);
            let Evicted { generation, superseded_at, dead_after } = self.evicted()?;
            Ok(Retired { fingerprint, generation, superseded_at, dead_after })
        });
        let retired: Vec<_> = retired.collect::<Result<_, _>>()?;
        let evicted = (head & HAS_EVICTED != 0).then(|| self.evicted()).transpose()?;
        // A bucket with neither has no flag and no bytes, so that each bucket has one record.
        if self.0.is_empty() && head != 0 { Ok((retired, evicted)) } else { Err(RecordError) }
    }

    fn evicted(&mut self) -> Result<Evicted, RecordError> {
        Ok(Evicted {
            generation: u32::from_be_bytes(self.array()?),
            superseded_at: self.time()?,
            dead_after: Some(self.number()?).filter(|at| *at != UNDECIDED).map(Timestamp::from_millis),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    prop_compose! {
        fn any_bucket()(
            id in any::<[u8; 16]>(), numbers in any::<[u64; 5]>(), generation in any::<u32>(),
            current in any::<[u8; 16]>(), [subject, group, vault] in any::<[Option<[u8; 16]>; 3]>(), idle in any::<Option<u64>>(),
            label in prop::option::of(prop::collection::vec(any::<u8>(), 0..600)),
            handoff in prop::option::of(prop::collection::vec(any::<u8>(), 0..4000)),
            retired in prop::collection::vec((any::<[u8; 16]>(), any::<u32>(), any::<u64>(), any::<Option<u32>>()), 0..=128),
            evicted in any::<Option<(u32, u64, Option<u32>)>>(),
        ) -> Bucket {
            let [revision, created, seen, expires, rotated] = numbers;
            Bucket {
                id: SessionId::from_bytes(id),
                revision: Revision::new(revision),
                subject: subject.map(SubjectTag::from_bytes),
                group: group.map(GroupTag::from_bytes),
                vault: vault.map(VaultId::from_bytes),
                label,
                created_at: Timestamp::from_millis(created),
                last_seen_at: Timestamp::from_millis(seen),
                expires_at: Timestamp::from_millis(expires),
                idle_timeout: idle.map(Millis::new),
                rotated_at: Timestamp::from_millis(rotated),
                generation,
                current: Fingerprint::from_bytes(current),
                retired: retired.into_iter().map(|(fingerprint, generation, superseded, dead)| Retired {
                    fingerprint: Fingerprint::from_bytes(fingerprint),
                    generation,
                    superseded_at: Timestamp::from_millis(superseded),
                    dead_after: dead.map(u64::from).map(Timestamp::from_millis),
                }).collect(),
                evicted: evicted.map(|(generation, superseded, dead)| Evicted {
                    generation,
                    superseded_at: Timestamp::from_millis(superseded),
                    dead_after: dead.map(u64::from).map(Timestamp::from_millis),
                }),
                handoff,
            }
        }
    }

    proptest! {
        #[test]
        fn every_field_round_trips(bucket in any_bucket()) {
            let record = bucket.to_record();
            let Ok(Entry::Bucket(read)) = Entry::from_record(&record) else { panic!("its own record") };
            // Fingerprints have no PartialEq; Debug hides them. Their bytes are in the record.
            prop_assert_eq!(read.to_record(), record.clone());
            prop_assert_eq!(Entry::Bucket(bucket.clone()).to_record(), record.clone());
            prop_assert_eq!(read.id, bucket.id);
            prop_assert_eq!(read.current.as_bytes(), bucket.current.as_bytes());
            prop_assert_eq!((read.subject, read.group, read.vault), (bucket.subject, bucket.group, bucket.vault));
            prop_assert_eq!(read.label, bucket.label);
            prop_assert_eq!(read.handoff, bucket.handoff);
            prop_assert_eq!((read.retired.len(), read.evicted), (bucket.retired.len(), bucket.evicted));
            prop_assert_eq!(
                (read.revision, read.created_at, read.last_seen_at, read.expires_at, read.rotated_at),
                (bucket.revision, bucket.created_at, bucket.last_seen_at, bucket.expires_at, bucket.rotated_at)
            );
            prop_assert_eq!((read.idle_timeout, read.generation), (bucket.idle_timeout, bucket.generation));
            for cut in (0..record.len()).filter(|cut| *cut < 200 || cut + 100 > record.len()) {
                prop_assert!(Entry::from_record(&record[..cut]).is_err());
            }
        }

        #[test]
        fn a_list_of_superseded_tokens_is_read_as_it_was_written_and_never_in_part(
            bucket in any_bucket(), cut in any::<prop::sample::Index>(),
        ) {
            let (tokens, bytes) = (bucket.retired.len(), bucket.retired_to_bytes());
            let (retired, evicted) = retired_from_bytes(&bytes).expect("its own list");
            prop_assert_eq!((retired.len(), evicted), (tokens, bucket.evicted));
            let read = Bucket { retired, evicted, ..bucket };
            prop_assert_eq!(read.retired_to_bytes(), bytes.clone());
            if !bytes.is_empty() {
                let part = &bytes[..1 + cut.index(bytes.len() - 1)];
                prop_assert_eq!(retired_from_bytes(part).err(), Some(RecordError));
                prop_assert_eq!(retired_from_bytes(&[&bytes[..], &[0]].concat()).err(), Some(RecordError));
            }
        }

        #[test]
        fn what_is_read_is_written_back_the_same(
            kind in 0..3_u8, flags in 0..128_u8, rest in prop::collection::vec(0..3_u8, 0..200),
        ) {
            let bytes = [&[RECORD_VERSION, kind, flags], &rest[..]].concat();
            if let Ok(entry) = Entry::from_record(&bytes) {
                prop_assert_eq!(entry.to_record(), bytes);
            }
        }
    }

    #[test]
    fn a_tombstone_round_trips() {
        for successor in [None, Some(SessionId::from_bytes([7; 16]))] {
            let (ended_at, expires_at) = (Timestamp::from_millis(5), Timestamp::from_millis(6));
            let tombstone = Tombstone { id: SessionId::from_bytes([9; 16]), ended_at, expires_at, successor };
            let record = Entry::Tombstone(tombstone).to_record();
            let read = Entry::from_record(&record).expect("its own record");
            assert!(matches!(read, Entry::Tombstone(read) if read == tombstone));
            assert_eq!(Entry::from_record(&record[..record.len() - 1]).err(), Some(RecordError));
        }
    }

    #[test]
    fn no_bytes_are_an_empty_list_of_superseded_tokens() {
        let (retired, evicted) = retired_from_bytes(&[]).expect("nothing");
        assert!(retired.is_empty() && evicted.is_none());
    }

    fn smallest() -> Bucket {
        let new = crate::bucket::NewBucket {
            id: SessionId::from_bytes([9; 16]),
            subject: None,
            group: None,
            label: None,
            expires_at: Timestamp::from_millis(6),
            idle_timeout: None,
            first: Fingerprint::from_bytes([8; 16]),
        };
        Bucket::create(new, Timestamp::from_millis(5))
    }

    #[test]
    fn a_flag_of_a_later_version_is_refused() {
        let mut record = smallest().to_record();
        record[2] |= 128;
        assert_eq!(Entry::from_record(&record).err(), Some(RecordError));
    }

    #[test]
    fn a_bucket_has_one_record_so_an_empty_list_is_not_announced() {
        let mut record = smallest().to_record();
        assert!(Entry::from_record(&record).is_ok());
        record[2] |= HAS_RETIRED;
        record.extend_from_slice(&[0, 0]);
        assert_eq!(Entry::from_record(&record).err(), Some(RecordError));
    }
}
