//! The value under a key.
//!
//! ```text
//! value  = ticket(16) | nonce(8) | record
//! ticket = time(u64 ms) | nonce(8)                    all zero: no subject and no group
//! member = id(16) | ticket(16)                        of a subject's index, and of a group's
//! ```
//!
//! The nonce tells which call wrote the value: a call that is sent again after its connection broke recognises what it
//! did the first time. The ticket tells under which member of its subject's and its group's index the session is found. Both
//! stand in front, so that one `GETRANGE` reads all that a script compares.

use std::hash::{BuildHasher, RandomState};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use secure_sessions_core::{Bucket, Entry, PURGE_DELAY, SessionId, Timestamp, Tombstone};

use crate::{StoreError, Tag};

pub(super) const ID_LEN: usize = 16;
pub(super) const NONCE_LEN: usize = 8;
pub(super) const TICKET_LEN: usize = 16;
pub(super) const MEMBER_LEN: usize = ID_LEN + TICKET_LEN;
pub(super) const HEAD_LEN: usize = TICKET_LEN + NONCE_LEN;

/// The last instant that a script, whose numbers are floating point, can tell from the next one: in the year 287,396.
const LAST: u64 = (1 << 53) - 1;

/// A place in the indexes of a session's tags.
pub(super) type Ticket = [u8; TICKET_LEN];
/// A member of an index.
pub(super) type Member = [u8; MEMBER_LEN];

/// A record on its way.
pub(super) struct Write {
    pub(super) id: SessionId,
    /// The value, with room for the ticket.
    value: Vec<u8>,
    /// The tags of a bucket: its subject and its group, if it has them.
    pub(super) tags: Vec<Tag>,
    /// The deadline, as the record has it.
    pub(super) expires_at: [u8; 8],
    /// The time when Redis expires it.
    pub(super) deadline: u64,
    /// The time until which the indexes of its tags are needed: any later write may live as long without asking again.
    pub(super) index_deadline: u64,
    pub(super) nonce: [u8; NONCE_LEN],
    /// Set to `true` if it is a part of a renewal.
    pub(super) renews: bool,
}

impl Write {
    pub(super) fn bucket(bucket: &Bucket) -> Self {
        let nonce = nonce();
        Self {
            id: bucket.id,
            value: with_head(&nonce, &bucket.to_record()),
            tags: Tag::of(bucket).collect(),
            expires_at: bucket.expires_at.as_millis().to_be_bytes(),
            deadline: millis(bucket.purge_at()),
            index_deadline: millis(bucket.expires_at.after(PURGE_DELAY)),
            nonce,
            renews: false,
        }
    }

    /// Makes a bucket into which a session is renewed.
    pub(super) fn renewal(bucket: &Bucket) -> Self {
        Self { renews: true, ..Self::bucket(bucket) }
    }

    pub(super) fn tombstone(tombstone: &Tombstone) -> Self {
        let (deadline, nonce) = (millis(tombstone.expires_at), nonce());
        Self {
            id: tombstone.id,
            value: with_head(&nonce, &tombstone.to_record()),
            tags: Vec::new(),
            expires_at: tombstone.expires_at.as_millis().to_be_bytes(),
            deadline,
            index_deadline: deadline,
            nonce,
            renews: false,
        }
    }

    /// Returns the value behind its ticket: the nonce and the record.
    pub(super) fn body(&self) -> &[u8] {
        &self.value[TICKET_LEN..]
    }

    /// Returns the value with this ticket.
    pub(super) fn value(&mut self, ticket: &Ticket) -> &[u8] {
        self.value[..TICKET_LEN].copy_from_slice(ticket);
        &self.value
    }
}

fn with_head(nonce: &[u8; NONCE_LEN], record: &[u8]) -> Vec<u8> {
    [&[0; TICKET_LEN], &nonce[..], record].concat()
}

/// Bounds a deadline: Redis accepts neither 0 nor a number beyond its own.
pub(super) fn millis(at: Timestamp) -> u64 {
    at.as_millis().clamp(1, LAST)
}

/// Returns a nonce unlike any other of this or another process.
fn nonce() -> [u8; NONCE_LEN] {
    static PROCESS: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    static COUNT: AtomicU64 = AtomicU64::new(0);
    PROCESS.hash_one(COUNT.fetch_add(1, Ordering::Relaxed)).to_be_bytes()
}

/// Reads the entry in a value.
pub(super) fn entry(value: &[u8]) -> Result<Entry, StoreError> {
    Entry::from_record(value.get(HEAD_LEN..).unwrap_or_default()).map_err(StoreError::corrupt)
}

/// Splits a member into its halves.
pub(super) fn split(member: &Member) -> (SessionId, Ticket) {
    let (mut id, mut ticket) = ([0; ID_LEN], [0; TICKET_LEN]);
    id.copy_from_slice(&member[..ID_LEN]);
    ticket.copy_from_slice(&member[ID_LEN..]);
    (SessionId::from_bytes(id), ticket)
}

pub(super) fn member(id: &SessionId, ticket: &Ticket) -> Member {
    let mut member = [0; MEMBER_LEN];
    member[..ID_LEN].copy_from_slice(id.as_bytes());
    member[ID_LEN..].copy_from_slice(ticket);
    member
}
