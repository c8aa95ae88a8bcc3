//! Walks over many sessions: counting them, ending them, tidying their indexes.

use std::collections::HashSet;
use std::sync::PoisonError;

use futures_util::future::try_join_all;
use redis::cmd;
use secure_sessions_core::{Entry, SessionId};

use super::Inner;
use super::connection::Node;
use super::error::unexpected;
use super::scripts::{Removed, Swept};
use super::value::split;
use crate::passes::PassCount;
use crate::{StoreError, Which};

/// The number of keys that `SCAN` looks at in one step.
const STEP: usize = 1000;
/// The steps of tidying in one call.
const TIDY_STEPS: usize = 4;
/// The number of sessions ended at a time.
const AT_ONCE: usize = 200;
/// The number of members, or keys, that one script walks while everybody else waits: a millisecond or so.
const IN_ONE_SCRIPT: usize = 128;
/// The kind of a record, and its place in a value.
const BUCKET: &[u8] = &[1];
const KIND_AT: usize = 25;

pub(super) async fn count(inner: &Inner) -> Result<u64, StoreError> {
    // `SCAN` may name a key twice.
    let mut buckets = HashSet::new();
    for node in inner.connection.nodes().await? {
        let mut scan = Scan::new(node, inner.keys.all_entries());
        while let Some(keys) = scan.next(inner).await? {
            let kinds = try_join_all(keys.iter().map(|key| async move {
                let mut kind = cmd("GETRANGE");
                kind.arg(&key[..]).arg(KIND_AT).arg(KIND_AT);
                match inner.connection.query::<Vec<u8>>(&kind).await {
                    Err(StoreError::Corrupt(_)) => Ok(Vec::new()),
                    outcome => outcome,
                }
            }));
            let kinds = kinds.await?;
            buckets.extend(
                keys.iter().zip(kinds).filter(|(_, kind)| kind == BUCKET).filter_map(|(key, _)| inner.keys.id(key)),
            );
        }
    }
    u64::try_from(buckets.len()).map_err(|_| unexpected())
}

/// Ends the sessions pass by pass, until one has found nothing but sessions that it ended itself, tombstones that an earlier
/// pass knew, and places in the index without a session.
///
/// A session that is renewed during a pass leaves a tombstone under its key, and its place in the index: the pass finds one or
/// the other, and another pass follows. So no session escapes by renewing itself. A place without a session may belong to one
/// that is about to be written, so each pass looks there again.
///
/// If many sessions are renewed all the time, or a pass takes long, that would never come to an end: see [`PassCount`].
pub(super) async fn remove_all(inner: &Inner, which: Which<'_>, except: Option<&SessionId>) -> Result<u64, StoreError> {
    if !inner.connection.is_cluster() {
        return sweep(inner, which, except).await;
    }
    let mut passes = Passes { inner, which, except, known_ends: HashSet::new(), removed: 0 };
    let mut count = PassCount::begin();
    loop {
        let mut again = false;
        match which {
            Which::Tagged(tags) => {
                let mut ids = HashSet::new();
                for tag in tags.iter() {
                    ids.extend(inner.index.all_members(&tag).await?.iter().map(|member| split(member).0));
                }
                again |= passes.end(ids.into_iter().collect()).await?;
            }
            Which::Everything => {
                for node in inner.connection.nodes().await? {
                    let mut scan = Scan::new(node, inner.keys.all_entries());
                    while let Some(keys) = scan.next(inner).await? {
                        again |= passes.end(keys.iter().filter_map(|key| inner.keys.id(key)).collect()).await?;
                    }
                }
            }
        }
        if count.was_last(again) {
            return Ok(passes.removed);
        }
    }
}

/// On a single server a step finds and ends some in one go, so that none is renewed in between. One may be renewed from a
/// part that is still to come into one that was gone through: its tombstone tells.
async fn sweep(inner: &Inner, which: Which<'_>, except: Option<&SessionId>) -> Result<u64, StoreError> {
    let (mut known_ends, mut removed) = (HashSet::new(), 0);
    let mut count = PassCount::begin();
    loop {
        let mut again = false;
        let mut take = |swept: Swept| {
            removed += swept.removed;
            for id in swept.ends {
                again |= known_ends.insert(id);
            }
            Some(swept.next).filter(|next| !next.is_empty())
        };
        let (connection, keys) = (&inner.connection, &inner.keys);
        match which {
            Which::Tagged(tags) => {
                for tag in tags.iter() {
                    let mut bound = Some(b"-".to_vec());
                    while let Some(from) = bound {
                        let step = connection.end_some(keys, &tag, tags, except, &from, IN_ONE_SCRIPT);
                        bound = take(step.await?);
                    }
                }
            }
            Which::Everything => {
                let mut cursor = Some(b"0".to_vec());
                while let Some(from) = cursor {
                    cursor = take(connection.sweep(keys, except, &from, IN_ONE_SCRIPT).await?);
                }
            }
        }
        if count.was_last(again) {
            return Ok(removed);
        }
    }
}

struct Passes<'a> {
    inner: &'a Inner,
    which: Which<'a>,
    except: Option<&'a SessionId>,
    /// The ids that no longer have a session.
    known_ends: HashSet<SessionId>,
    removed: u64,
}

enum Found {
    /// The id had a session, which we ended.
    Session,
    /// The id has a session without these tags.
    Other,
    /// The session is gone: it may have been renewed meanwhile.
    End,
    /// The id has no session, or none yet.
    Nothing,
}

impl Passes<'_> {
    /// Ends sessions, as many at a time as a connection takes. Returns `true` if one may have been renewed meanwhile.
    async fn end(&mut self, ids: Vec<SessionId>) -> Result<bool, StoreError> {
        let is_open = |id: &SessionId| self.except != Some(id) && !self.known_ends.contains(id);
        let ids: Vec<SessionId> = ids.into_iter().filter(is_open).collect();
        let mut again = false;
        for batch in ids.chunks(AT_ONCE) {
            for (id, found) in batch.iter().zip(try_join_all(batch.iter().map(|id| self.end_one(id))).await?) {
                match found {
                    Found::Session => self.removed += 1,
                    Found::Other | Found::Nothing => {}
                    Found::End => again |= self.known_ends.insert(*id),
                }
            }
        }
        Ok(again)
    }

    async fn end_one(&self, id: &SessionId) -> Result<Found, StoreError> {
        if let Which::Tagged(_) = self.which {
            match self.inner.load(id).await {
                Ok(Some(Entry::Bucket(bucket))) if self.which.covers(&bucket) => {}
                Ok(Some(Entry::Bucket(_))) => return Ok(Found::Other),
                Ok(Some(Entry::Tombstone(_))) => return Ok(Found::End),
                Ok(None) => return Ok(Found::Nothing),
                // The index tells whose it was.
                Err(StoreError::Corrupt(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(match self.inner.remove(id, None).await? {
            Removed::Bucket(_) => Found::Session,
            // It is looked for once more.
            Removed::Nothing | Removed::Unknown => Found::End,
        })
    }
}

/// The progress of tidying the indexes: the position of a node, and a cursor there.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Progress {
    node: usize,
    cursor: u64,
}

/// Continues through the indexes for a few steps, from where the last call stopped.
pub(super) async fn tidy(inner: &Inner) -> Result<(), StoreError> {
    let mut progress = *inner.tidied.lock().unwrap_or_else(PoisonError::into_inner);
    let nodes = inner.connection.nodes().await?;
    for _ in 0..TIDY_STEPS {
        let Some(node) = nodes.get(progress.node) else {
            progress = Progress::default();
            break;
        };
        let mut scan = Scan { node: node.clone(), pattern: inner.keys.all_indexes(), cursor: Some(progress.cursor) };
        let keys = scan.next(inner).await?.unwrap_or_default();
        for tag in keys.iter().filter_map(|key| inner.keys.tag_of(key)) {
            inner.index.tidy_index(&tag).await?;
        }
        progress = match scan.cursor {
            Some(cursor) => Progress { cursor, ..progress },
            None => Progress { node: progress.node + 1, cursor: 0 },
        };
    }
    *inner.tidied.lock().unwrap_or_else(PoisonError::into_inner) = progress;
    Ok(())
}

/// The keys of a node that match a pattern, some at a time.
struct Scan {
    node: Node,
    pattern: String,
    cursor: Option<u64>,
}

impl Scan {
    fn new(node: Node, pattern: String) -> Self {
        Self { node, pattern, cursor: Some(0) }
    }

    async fn next(&mut self, inner: &Inner) -> Result<Option<Vec<Vec<u8>>>, StoreError> {
        let Some(cursor) = self.cursor else { return Ok(None) };
        let mut scan = cmd("SCAN");
        scan.arg(cursor).arg("MATCH").arg(&self.pattern).arg("COUNT").arg(STEP);
        let (next, keys): (u64, Vec<Vec<u8>>) = inner.connection.query_on(&self.node, scan).await?;
        self.cursor = (next != 0).then_some(next);
        Ok(Some(keys))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "helpers of tests")]

    use secure_sessions_core::{Bucket, Revision, SubjectTag, Tombstone};
    use services::Shared;

    use super::super::value::Write;
    use super::*;
    use crate::conformance::sample::{now, session};
    use crate::{RedisOptions, Tags};

    const SUBJECT: SubjectTag = SubjectTag::from_bytes([1; 16]);

    fn bucket(id: u8) -> Bucket {
        Bucket { subject: Some(SUBJECT), ..session(SessionId::from_bytes([id; 16]), now()) }
    }

    /// A renewal in a cluster takes three steps: a place in the index, the new session, the end of the old one. A pass
    /// that looks for the new one after the first step, and for the old one after the last, has found neither.
    #[tokio::test]
    async fn a_session_that_appears_after_a_pass_looked_for_it_is_found_by_the_next() {
        let Some(urls) = Shared::RedisCluster.url() else { return };
        let prefix = format!("test-walk-{}", std::process::id());
        let store = RedisOptions::new().prefix(prefix).connect_cluster(urls.split(',')).await.unwrap();
        let inner = &store.0;
        let (old, new) = (bucket(1), bucket(2));
        inner.insert(&Write::bucket(&old)).await.unwrap();

        let which = Which::Tagged(Tags::Subjects(&[SUBJECT]));
        let mut passes = Passes { inner, which, except: None, known_ends: HashSet::new(), removed: 0 };
        let write = Write::bucket(&new);
        let ticket = inner.index.add(&write).await.unwrap();
        assert!(!passes.end(vec![new.id]).await.unwrap(), "nothing ended that a pass could follow");
        inner.connection.insert(&inner.keys.entry(&new.id), &write, Some(&ticket)).await.unwrap();
        let tombstone = Tombstone { id: old.id, ended_at: old.created_at, expires_at: old.expires_at, successor: None };
        let tombstone = Write::tombstone(&tombstone);
        let old_key = inner.keys.entry(&old.id);
        inner.connection.remove(&old_key, Some(&tombstone), Some(Revision::FIRST)).await.unwrap();
        assert!(passes.end(vec![old.id]).await.unwrap(), "it was renewed meanwhile, so another pass follows");

        assert!(!passes.end(vec![old.id, new.id]).await.unwrap());
        assert_eq!(passes.removed, 1, "the renewed session");
        assert!(inner.load(&new.id).await.unwrap().is_none());
    }
}
