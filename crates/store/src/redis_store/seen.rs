//! The heads of the values that were read last: a swap that begins with one is cheap for the server.
//!
//! A request reads its session and then swaps it. No two values have the same nonce, so a server that compares the head of its
//! value with the one that was read compares all of it.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use secure_sessions_core::{Bucket, GroupTag, Revision, SessionId, SubjectTag, Timestamp};

use super::value::{HEAD_LEN, TICKET_LEN, Ticket};

/// The number of values in a generation. There are two, so a value is forgotten after between one and two thousand others.
const GENERATION: usize = 1024;
/// The longest value that is kept whole.
const LONGEST: usize = 8192;

/// A value as it was read.
pub(super) struct Seen {
    pub(super) head: [u8; HEAD_LEN],
    /// The whole value, if it was asked for.
    pub(super) value: Option<Vec<u8>>,
    revision: Revision,
    subject: Option<SubjectTag>,
    group: Option<GroupTag>,
    expires_at: Timestamp,
}

impl Seen {
    /// Returns the place in the indexes of the session's tags.
    pub(super) fn ticket(&self) -> Ticket {
        let mut ticket = [0; TICKET_LEN];
        ticket.copy_from_slice(&self.head[..TICKET_LEN]);
        ticket
    }

    /// Returns `true` if a swap from this revision to that bucket begins here, and leaves the indexes as they are.
    pub(super) fn precedes(&self, bucket: &Bucket, expected: Revision) -> bool {
        let same_tags = self.subject == bucket.subject && self.group == bucket.group;
        self.revision == expected && same_tags && bucket.expires_at <= self.expires_at
    }
}

/// The values that were read last, in two generations: when the young one is full it becomes the old one.
#[derive(Default)]
pub(super) struct LastSeen(Mutex<[HashMap<SessionId, Seen>; 2]>);

impl LastSeen {
    /// Remembers a value that was read, as a whole or its head.
    pub(super) fn remember(&self, bucket: &Bucket, value: Vec<u8>, whole: bool) {
        let Some(head) = value.first_chunk() else { return };
        let seen = Seen {
            head: *head,
            value: (whole && value.len() <= LONGEST).then_some(value),
            revision: bucket.revision,
            subject: bucket.subject,
            group: bucket.group,
            expires_at: bucket.expires_at,
        };
        let mut generations = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if generations[0].len() >= GENERATION {
            generations.swap(0, 1);
            generations[0].clear();
        }
        generations[0].insert(bucket.id, seen);
    }

    /// Takes out the value that was read last under this id.
    pub(super) fn take(&self, id: &SessionId) -> Option<Seen> {
        let mut generations = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let old = generations[1].remove(id);
        generations[0].remove(id).or(old)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::sample::session;

    fn bucket(number: usize) -> Bucket {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&number.to_be_bytes());
        session(SessionId::from_bytes(id), Timestamp::from_millis(1))
    }

    #[test]
    fn the_last_thousand_values_are_kept_and_never_more_than_two() {
        let seen = LastSeen::default();
        for number in 0..10_000 {
            seen.remember(&bucket(number), vec![7; 100], true);
        }
        let kept = (0..10_000).filter(|number| seen.take(&bucket(*number).id).is_some()).collect::<Vec<_>>();
        assert!(kept.len() >= GENERATION && kept.len() <= 2 * GENERATION, "{}", kept.len());
        assert_eq!(kept, (10_000 - kept.len()..10_000).collect::<Vec<_>>());
        seen.remember(&bucket(1), vec![7; LONGEST + 1], true);
        assert!(seen.take(&bucket(1).id).is_some_and(|seen| seen.value.is_none() && seen.head == [7; HEAD_LEN]));
        seen.remember(&bucket(1), vec![7; HEAD_LEN - 1], true);
        assert!(seen.take(&bucket(1).id).is_none());
    }
}
