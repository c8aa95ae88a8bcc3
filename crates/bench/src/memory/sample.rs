//! Sessions as a store sees them.

use secure_sessions_store::{Bucket, Fingerprint, Millis, Retired, Revision, SessionId, SubjectTag, Timestamp};

/// When the sessions of the samples begin.
const BEGIN: u64 = 1_800_000_000_000;
/// The handoff of a session with 2 KB of data: its token, sealed.
const HANDOFF_LEN: usize = 2_600;

/// Random enough, and without a table of its own.
fn random(number: u64, salt: u64) -> [u8; 16] {
    let mix = |seed: u64| {
        let z = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&mix(number ^ salt).to_le_bytes());
    bytes[8..].copy_from_slice(&mix(number ^ salt ^ 0x5555_5555).to_le_bytes());
    bytes
}

pub(crate) fn id(number: u64) -> SessionId {
    SessionId::from_bytes(random(number, 0))
}

/// An idle session, of a user of its own if it has one.
pub(crate) fn idle(number: u64, subject: bool) -> Bucket {
    let at = Timestamp::from_millis(BEGIN + number);
    Bucket {
        id: id(number),
        revision: Revision::FIRST,
        subject: subject.then(|| SubjectTag::from_bytes(random(number, 77))),
        group: None,
        label: None,
        created_at: at,
        last_seen_at: at,
        expires_at: at.after(Millis::from_secs(28_800)),
        idle_timeout: Some(Millis::from_secs(1800)),
        rotated_at: at,
        generation: 1,
        current: Fingerprint::from_bytes(random(number, 99)),
        retired: Vec::new(),
        evicted: None,
        vault: None,
        handoff: None,
    }
}

/// The same just after its data was changed.
pub(super) fn rotated(number: u64) -> Bucket {
    let before = idle(number, true);
    let retired =
        Retired { fingerprint: before.current, generation: 1, superseded_at: before.created_at, dead_after: None };
    Bucket {
        revision: next(before.revision),
        generation: 2,
        current: Fingerprint::from_bytes(random(number, 111)),
        retired: vec![retired],
        handoff: Some(vec![7; HANDOFF_LEN]),
        ..before
    }
}

/// The same minutes later.
pub(super) fn settled(number: u64) -> Bucket {
    let before = rotated(number);
    Bucket { revision: next(before.revision), retired: Vec::new(), handoff: None, ..before }
}

fn next(revision: Revision) -> Revision {
    Revision::new(revision.get() + 1)
}
