//! Sample entries, and helpers to compare and race them.

use std::future::Future;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use secure_sessions_core::{
    Bucket, Entry, Evicted, Fingerprint, GroupTag, Millis, NewBucket, PURGE_DELAY, Retired, Revision, SessionId,
    SubjectTag, Timestamp, Tombstone, VaultId,
};
use tokio::sync::Barrier;

use super::failure::Broken;
use crate::{AnyStore, Page, SessionStore, Tags};

pub(super) type Outcome<T = ()> = Result<T, Broken>;

/// The most retired tokens of one session.
pub(super) const MOST_RETIRED: u8 = 128;
pub(super) const LONGEST_LABEL: usize = 512;
pub(super) const LONGEST_HANDOFF: usize = 65_535;

pub(super) const SECOND: Millis = Millis::from_secs(1);
pub(super) const HOUR: Millis = Millis::from_secs(60 * 60);

/// The time to a deadline that a backend sees by its own clock, in which everything is done that must come before it: on a busy
/// machine, a case that comes too late tries again with the next of them.
pub(super) const SOON: [Millis; 3] = [Millis::from_secs(3), Millis::from_secs(10), Millis::from_secs(40)];
/// The longest wait after such a deadline: the clock of some servers has a step of a second, or is late.
pub(super) const LATEST: Millis = Millis::from_secs(20);

/// A time near the system's clock.
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(Millis::from(since).get())
}

pub(super) fn before(at: Timestamp, length: Millis) -> Timestamp {
    Timestamp::from_millis(at.as_millis().saturating_sub(length.get()))
}

/// Returns an id. The ids of a row of numbers are spread over shards and nodes, in another order.
pub(super) fn id(number: u64) -> SessionId {
    let spread = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&spread.to_be_bytes());
    bytes[8..].copy_from_slice(&number.to_be_bytes());
    SessionId::from_bytes(bytes)
}

pub(super) fn subject(number: u8) -> SubjectTag {
    SubjectTag::from_bytes([number; 16])
}

pub(super) fn group(number: u8) -> GroupTag {
    GroupTag::from_bytes([number; 16])
}

/// Makes a live session without optional fields, except for its idle timeout.
pub(super) fn bucket(number: u64) -> Bucket {
    Bucket { idle_timeout: Some(Millis::new(HOUR.get() / 2)), ..session(id(number), now()) }
}

/// Makes a session without optional fields that begins at `at` and lasts for eight hours.
pub(crate) fn session(id: SessionId, at: Timestamp) -> Bucket {
    let (first, expires_at) = (Fingerprint::from_bytes([7; 16]), at.after(Millis::new(8 * HOUR.get())));
    let new = NewBucket { id, subject: None, group: None, label: None, expires_at, idle_timeout: None, first };
    Bucket::create(new, at)
}

pub(super) fn bucket_of(number: u64, subject: SubjectTag) -> Bucket {
    Bucket { subject: Some(subject), ..bucket(number) }
}

/// Makes a session with every field set, and no two fields alike.
pub(super) fn full(number: u64) -> Bucket {
    let now = now();
    let step = |seconds| now.after(Millis::from_secs(seconds));
    Bucket {
        id: id(number),
        revision: Revision::new(41),
        subject: Some(subject(9)),
        group: Some(group(8)),
        label: Some("Büro – 東京 – 🦀 – \u{202e}olleh".as_bytes().to_vec()),
        created_at: now,
        last_seen_at: step(1),
        expires_at: step(30_000),
        idle_timeout: Some(Millis::new(1_234_567)),
        rotated_at: step(2),
        generation: 3,
        current: Fingerprint::from_bytes(*b"the current one\0"),
        retired: vec![
            Retired {
                fingerprint: Fingerprint::from_bytes(*b"the second token"),
                generation: 2,
                superseded_at: step(4),
                dead_after: None,
            },
            Retired {
                fingerprint: Fingerprint::from_bytes(*b"the first token "),
                generation: 1,
                superseded_at: step(3),
                dead_after: Some(step(5)),
            },
        ],
        evicted: Some(Evicted { generation: 1, superseded_at: step(6), dead_after: None }),
        vault: Some(VaultId::from_bytes(*b"a vault's name..")),
        handoff: Some((0..=255).cycle().take(700).collect()),
    }
}

/// Makes a session of the greatest sizes and numbers.
pub(super) fn largest(number: u64) -> Bucket {
    let last = Timestamp::from_millis(u64::MAX);
    let retired = |at: u8| Retired {
        fingerprint: Fingerprint::from_bytes([at; 16]),
        generation: u32::MAX - u32::from(at),
        superseded_at: Timestamp::from_millis(u64::MAX - u64::from(at)),
        dead_after: at.is_multiple_of(2).then_some(Timestamp::from_millis(u64::MAX - 1)),
    };
    Bucket {
        id: id(number),
        revision: Revision::new(u64::MAX),
        subject: Some(subject(0xff)),
        group: Some(group(0xff)),
        label: Some(vec![0xff; LONGEST_LABEL]),
        created_at: last,
        last_seen_at: last,
        expires_at: last,
        idle_timeout: Some(Millis::new(u64::MAX)),
        rotated_at: last,
        generation: u32::MAX,
        current: Fingerprint::from_bytes([0xff; 16]),
        retired: (0..MOST_RETIRED).rev().map(retired).collect(),
        evicted: Some(Evicted {
            generation: u32::MAX,
            superseded_at: last,
            dead_after: Some(Timestamp::from_millis(u64::MAX - 1)),
        }),
        vault: Some(VaultId::from_bytes([0xfd; 16])),
        handoff: Some(vec![0xfe; LONGEST_HANDOFF]),
    }
}

/// Returns the bucket after another write, recognisable by `mark`.
pub(super) fn next(bucket: &Bucket, mark: u32) -> Bucket {
    Bucket { revision: Revision::new(bucket.revision.get() + 1), generation: mark, ..bucket.clone() }
}

/// Returns the bucket that it is renewed into.
pub(super) fn renewed(bucket: &Bucket, number: u64) -> Bucket {
    Bucket { id: id(number), revision: Revision::FIRST, ..bucket.clone() }
}

/// Makes a tombstone that stays for an hour and names a successor.
pub(super) fn tombstone(id: SessionId) -> Tombstone {
    let now = now();
    let successor = Some(SessionId::from_bytes([0xe5; 16]));
    Tombstone { id, ended_at: now, expires_at: now.after(HOUR), successor }
}

/// Makes a session that is due for the purge from exactly `at` on.
pub(super) fn due(number: u64, at: Timestamp) -> Bucket {
    Bucket { expires_at: before(at, PURGE_DELAY), idle_timeout: None, ..bucket(number) }
}

/// Loads the bucket under an id, and fails if there is none.
pub(super) async fn load(store: &AnyStore, id: &SessionId) -> Outcome<Bucket> {
    match store.load(id).await? {
        Some(Entry::Bucket(bucket)) => Ok(bucket),
        Some(Entry::Tombstone(_)) => Err(Broken::new("a tombstone was loaded where a bucket should be")),
        None => Err(Broken::new("nothing was loaded where a bucket should be")),
    }
}

/// Checks that exactly this bucket is there.
pub(super) async fn expect(store: &AnyStore, bucket: &Bucket) -> Outcome {
    same(&load(store, &bucket.id).await?, bucket)
}

/// Checks that exactly this tombstone is there.
pub(super) async fn expect_tombstone(store: &AnyStore, tombstone: &Tombstone) -> Outcome {
    match store.load(&tombstone.id).await? {
        Some(Entry::Tombstone(loaded)) => {
            ensure!(loaded == *tombstone, "another tombstone was loaded than was kept");
            Ok(())
        }
        Some(Entry::Bucket(_)) => Err(Broken::new("a bucket was loaded where a tombstone should be")),
        None => Err(Broken::new("nothing was loaded where a tombstone should be")),
    }
}

/// Checks that there is neither a bucket nor a tombstone.
pub(super) async fn expect_nothing(store: &AnyStore, id: &SessionId) -> Outcome {
    match store.load(id).await? {
        None => Ok(()),
        Some(Entry::Bucket(_)) => Err(Broken::new("a bucket was loaded where nothing should be")),
        Some(Entry::Tombstone(_)) => Err(Broken::new("a tombstone was loaded where nothing should be")),
    }
}

/// Checks that the list of a subject, on one page, has exactly these ids.
pub(super) async fn expect_list(store: &AnyStore, subjects: &[SubjectTag], ids: Vec<SessionId>) -> Outcome {
    expect_tagged(store, Tags::Subjects(subjects), ids).await
}

/// Checks that the list of a group, on one page, has exactly these ids.
pub(super) async fn expect_group(store: &AnyStore, groups: &[GroupTag], ids: Vec<SessionId>) -> Outcome {
    expect_tagged(store, Tags::Groups(groups), ids).await
}

async fn expect_tagged(store: &AnyStore, tags: Tags<'_>, mut ids: Vec<SessionId>) -> Outcome {
    ids.sort_unstable();
    let listed: Vec<_> = list(store, tags, Page::first(1000)).await?.iter().map(|bucket| bucket.id).collect();
    ensure!(
        listed == ids,
        "the list has {} ids, other than or in another order than the {} expected",
        listed.len(),
        ids.len()
    );
    Ok(())
}

/// Lists a page of a store in which every entry can be read.
pub(super) async fn list(store: &AnyStore, tags: Tags<'_>, page: Page) -> Outcome<Vec<Bucket>> {
    let listed = store.list(tags, page).await?.into_iter().collect::<Result<_, _>>();
    listed.map_err(|_| Broken::new("an entry that was just kept is listed as unreadable"))
}

pub(super) async fn expect_count(store: &AnyStore, expected: u64) -> Outcome {
    let count = store.count().await?;
    ensure!(count == expected, "the store counts {count} buckets, not {expected}");
    Ok(())
}

/// Checks that two buckets are the same in every field.
pub(super) fn same(loaded: &Bucket, kept: &Bucket) -> Outcome {
    let fingerprint = |retired: &Retired| *retired.fingerprint.as_bytes();
    let decided = |retired: &Retired| (retired.generation, retired.superseded_at, retired.dead_after);
    for (field, equal) in [
        ("id", loaded.id == kept.id),
        ("revision", loaded.revision == kept.revision),
        ("subject", loaded.subject == kept.subject),
        ("group", loaded.group == kept.group),
        ("label", loaded.label == kept.label),
        ("created_at", loaded.created_at == kept.created_at),
        ("last_seen_at", loaded.last_seen_at == kept.last_seen_at),
        ("expires_at", loaded.expires_at == kept.expires_at),
        ("idle_timeout", loaded.idle_timeout == kept.idle_timeout),
        ("rotated_at", loaded.rotated_at == kept.rotated_at),
        ("generation", loaded.generation == kept.generation),
        ("current", loaded.current.as_bytes() == kept.current.as_bytes()),
        (
            "retired (fingerprints and their order)",
            loaded.retired.iter().map(fingerprint).eq(kept.retired.iter().map(fingerprint)),
        ),
        ("retired (times)", loaded.retired.iter().map(decided).eq(kept.retired.iter().map(decided))),
        ("evicted", loaded.evicted == kept.evicted),
        ("vault", loaded.vault == kept.vault),
        ("handoff", loaded.handoff == kept.handoff),
    ] {
        ensure!(equal, "the field `{field}` is not what was kept");
    }
    Ok(())
}

/// Starts all of them at the same moment, each in a task of its own; returns their outcomes, in their order.
pub(super) async fn race<T: Send + 'static, F>(contenders: impl IntoIterator<Item = F>) -> Outcome<Vec<T>>
where
    F: Future<Output = Outcome<T>> + Send + 'static,
{
    let contenders: Vec<F> = contenders.into_iter().collect();
    let barrier = Arc::new(Barrier::new(contenders.len()));
    let tasks: Vec<_> = contenders
        .into_iter()
        .map(|contender| {
            let barrier = Arc::clone(&barrier);
            tokio::spawn(async move {
                barrier.wait().await;
                contender.await
            })
        })
        .collect();
    let mut outcomes = Vec::with_capacity(tasks.len());
    for task in tasks {
        outcomes.push(task.await??);
    }
    Ok(outcomes)
}

/// Checks that exactly one contender won; returns its index.
pub(super) fn one_winner(wins: &[bool]) -> Outcome<usize> {
    let winners: Vec<usize> = (0..wins.len()).filter(|at| wins[*at]).collect();
    match winners.as_slice() {
        [winner] => Ok(*winner),
        _ => Err(Broken::new(format!("of {} contenders {} won, not one", wins.len(), winners.len()))),
    }
}
