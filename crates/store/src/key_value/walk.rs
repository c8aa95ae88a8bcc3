//! Walks over many sessions: listing, counting, ending and purging them.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ops::Range;

use secure_sessions_core::{Entry, SessionId, Timestamp};

use super::engine::{Change, Expected, KeyValue, MOST_CHANGES, Stored};
use super::entries::{Entries, Found};
use super::keys::behind;
use super::value::{self, Nonce};
use crate::passes::PassCount;
use crate::{Listed, Page, StoreError, Tag, Tags, Unreadable, Which};

/// The number of sessions read at a time.
const BATCH: usize = MOST_CHANGES;
/// The number of places of an index read at a time, by a walk over all of it: they are small.
const PLACES: usize = 1000;
/// The most changes that ending or purging one session takes.
const CHANGES_OF_ONE: usize = 5;
/// The number of sessions ended or purged in one step.
const AT_ONCE: usize = MOST_CHANGES / CHANGES_OF_ONE;

pub(super) async fn list<E: KeyValue>(
    entries: &Entries<E>,
    tags: Tags<'_>,
    page: Page,
) -> Result<Vec<Listed>, StoreError> {
    let limit = usize::try_from(page.limit).unwrap_or(usize::MAX);
    let mut found = BTreeMap::new();
    for tag in tags.iter() {
        found.extend(with_tag(entries, &tag, tags, page.after, limit).await?);
    }
    Ok(found.into_values().take(limit).collect())
}

/// Returns the first sessions after an id that one tag's index leads to.
async fn with_tag<E: KeyValue>(
    entries: &Entries<E>,
    tag: &Tag,
    tags: Tags<'_>,
    after: Option<SessionId>,
    limit: usize,
) -> Result<BTreeMap<SessionId, Listed>, StoreError> {
    let mut found = BTreeMap::new();
    let mut steps = Steps::new(entries.keys.places(tag, after.as_ref()), BATCH);
    while found.len() < limit {
        let Some(places) = steps.next(entries).await? else { break };
        let ids = ids_of_places(entries, &places);
        for (id, entry) in ids.iter().zip(entries.find_all(&ids).await?) {
            match entry.map(|found| found.entry) {
                // A session that moves from one of them to another is found in either.
                Some(Ok(Entry::Bucket(bucket))) if tags.covers(&bucket) => {
                    found.insert(*id, Ok(bucket));
                }
                Some(Err(error)) => {
                    found.insert(*id, Err(Unreadable { id: *id, error }));
                }
                // The place of a session that ended, or that has not come yet.
                _ => {}
            }
        }
    }
    Ok(found)
}

/// Returns the ids that these places of one index lead to, each once.
fn ids_of_places<E: KeyValue>(entries: &Entries<E>, places: &[(String, Stored<E::Version>)]) -> Vec<SessionId> {
    let mut ids: Vec<SessionId> = places.iter().filter_map(|(key, _)| entries.keys.id_of_place(key)).collect();
    // They are in order.
    ids.dedup();
    ids
}

pub(super) async fn count<E: KeyValue>(entries: &Entries<E>) -> Result<u64, StoreError> {
    let mut count = 0;
    let mut steps = Steps::new(entries.keys.entries(), BATCH);
    while let Some(values) = steps.next(entries).await? {
        for (_, stored) in values {
            count += u64::from(!matches!(value::parse(&stored.value).entry, Ok(Entry::Tombstone(_))));
        }
    }
    Ok(count)
}

/// Ends the sessions pass by pass, until one has met no tombstone that an earlier pass did not know.
///
/// A session that is renewed during a pass leaves a tombstone, and keeps its place in the index for as long: the pass meets
/// it, follows it to the session that it became, and another pass comes after it. So no session escapes by renewing itself.
///
/// If many sessions are renewed all the time, or a pass takes long, that would never come to an end: see [`PassCount`].
pub(super) async fn remove_all<E: KeyValue>(
    entries: &Entries<E>,
    which: Which<'_>,
    except: Option<&SessionId>,
) -> Result<u64, StoreError> {
    let mut passes = Passes { entries, which, except, known_ends: HashSet::new(), removed: 0 };
    let mut count = PassCount::begin();
    while !count.was_last(passes.run().await?) {}
    Ok(passes.removed)
}

struct Passes<'a, E> {
    entries: &'a Entries<E>,
    which: Which<'a>,
    except: Option<&'a SessionId>,
    /// The ids whose session is known to have ended.
    known_ends: HashSet<SessionId>,
    removed: u64,
}

impl<E: KeyValue> Passes<'_, E> {
    /// Returns `true` if a session may have been renewed meanwhile.
    async fn run(&mut self) -> Result<bool, StoreError> {
        let mut again = false;
        match self.which {
            Which::Tagged(tags) => {
                for tag in tags.iter() {
                    let mut steps = Steps::new(self.entries.keys.places(&tag, None), PLACES);
                    while let Some(places) = steps.next(self.entries).await? {
                        let mut ids = ids_of_places(self.entries, &places);
                        ids.retain(|id| !self.known_ends.contains(id));
                        for ids in ids.chunks(BATCH) {
                            let found = self.entries.find_all(ids).await?;
                            again |= self.end(ids.iter().copied().zip(found).collect()).await?;
                        }
                    }
                }
            }
            Which::Everything => {
                let mut steps = Steps::new(self.entries.keys.entries(), BATCH);
                while let Some(values) = steps.next(self.entries).await? {
                    let found = values
                        .into_iter()
                        .filter_map(|(key, stored)| Some((self.entries.keys.id(&key)?, Some(Found::new(stored)))));
                    again |= self.end(found.collect()).await?;
                }
            }
        }
        Ok(again)
    }

    /// Ends the sessions among these entries, and those that they became. Returns `true` if it met the tombstone of one.
    async fn end(&mut self, mut found: Vec<(SessionId, Option<Found<E::Version>>)>) -> Result<bool, StoreError> {
        let mut again = false;
        let mut at_once = if E::TRANSACTS { AT_ONCE } else { 1 };
        while !found.is_empty() {
            let (mut sessions, mut look_again) = (Vec::new(), Vec::new());
            for (id, found) in found {
                // A place without a session belongs to one that was removed, or that has not come yet: the session that it
                // renews is then still there.
                let Some(found) = found.filter(|_| self.except != Some(&id)) else { continue };
                match &found.entry {
                    Ok(Entry::Tombstone(_)) => {
                        if self.known_ends.insert(id) {
                            again = true;
                            look_again.extend(found.next);
                        }
                    }
                    Ok(Entry::Bucket(bucket)) if !self.which.covers(bucket) => {}
                    // If it cannot be read, its index tells whose it was.
                    _ => sessions.push((id, found)),
                }
            }
            while !sessions.is_empty() {
                let some = sessions.split_off(sessions.len().saturating_sub(at_once));
                let ids: Vec<SessionId> = some.iter().map(|(id, _)| *id).collect();
                let changes: Vec<_> =
                    some.into_iter().flat_map(|(id, found)| self.entries.removal(found, &id)).collect();
                if self.entries.make(&changes).await? {
                    self.removed += u64::try_from(ids.len()).unwrap_or(u64::MAX);
                } else {
                    // One of them has changed or ended meanwhile.
                    look_again.extend(ids);
                }
            }
            // The tombstone of a session may have led to one of them, too.
            look_again.sort_unstable();
            look_again.dedup();
            found = Vec::with_capacity(look_again.len());
            for ids in look_again.chunks(BATCH) {
                found.extend(ids.iter().copied().zip(self.entries.find_all(ids).await?));
            }
            // One that is renewed all the time must not keep others, nor they it.
            at_once = 1;
        }
        Ok(again)
    }
}

/// Removes what is due. Each place in the list of deadlines names a time before which its session is not due: it is often
/// older than the session's last touch, and then moved to the newest deadline.
pub(super) async fn purge<E: KeyValue>(entries: &Entries<E>, now: Timestamp, limit: u32) -> Result<u64, StoreError> {
    if E::EXPIRES {
        return Ok(0);
    }
    let limit = u64::from(limit);
    let mut removed = 0;
    while removed < limit {
        let most = usize::try_from(limit - removed).unwrap_or(usize::MAX).min(AT_ONCE);
        let Range { start, end } = entries.keys.deadlines_until(now);
        let places = entries.engine.scan(&start, &end, most).await?;
        if places.is_empty() {
            break;
        }
        removed += purge_some(entries, &places, now).await?;
    }
    Ok(removed)
}

/// The work at a place in the list of deadlines.
struct Step<V> {
    changes: Vec<Change<V>>,
    removes_entry: bool,
}

async fn purge_some<E: KeyValue>(
    entries: &Entries<E>,
    places: &[(String, Stored<E::Version>)],
    now: Timestamp,
) -> Result<u64, StoreError> {
    let mut steps = Vec::new();
    let ids: Vec<Option<(SessionId, Nonce)>> = places.iter().map(|(key, _)| entries.keys.of_deadline(key)).collect();
    let sessions: BTreeSet<SessionId> = ids.iter().flatten().map(|(id, _)| *id).collect();
    let sessions: Vec<SessionId> = sessions.into_iter().collect();
    let mut found: HashMap<_, _> = sessions.iter().zip(entries.find_all(&sessions).await?).collect();
    for ((key, stored), id) in places.iter().zip(ids) {
        let step = match id {
            Some((id, nonce)) => {
                // Several places may lead to one session, and a step may change it once.
                let Some(entry) = found.remove(&id) else { continue };
                visit(entries, (key, &stored.value), (id, nonce), entry, now)
            }
            // Nobody knows what it means.
            None => Step { changes: vec![Change::delete(key.clone(), Expected::Anything)], removes_entry: false },
        };
        steps.push(step);
    }
    if E::TRANSACTS {
        let changes: Vec<_> = steps.iter().flat_map(|step| step.changes.iter().cloned()).collect();
        if entries.make(&changes).await? {
            return Ok(steps.iter().map(|step| u64::from(step.removes_entry)).sum());
        }
    }
    let mut removed = 0;
    for step in steps {
        // If it has changed meanwhile, its place stays, and is visited once more.
        removed += u64::from(entries.make(&step.changes).await? && step.removes_entry);
    }
    Ok(removed)
}

fn visit<E: KeyValue>(
    entries: &Entries<E>,
    (key, due): (&str, &[u8]),
    (id, nonce): (SessionId, Nonce),
    found: Option<Found<E::Version>>,
    now: Timestamp,
) -> Step<E::Version> {
    let (last, tags) = value::parse_due(due).unwrap_or((now, Vec::new()));
    let here = Change::delete(key.to_owned(), Expected::Anything);
    let in_indexes = tags.iter().map(|tag| entries.no_place(tag, &id, nonce));
    let places = in_indexes.chain([here.clone()]);
    // Places of a write that never came, or that a later write has replaced by its own. None is on its way any more: it would
    // have taken more than the hour for which a session outlives its deadline.
    let Some(found) = found.filter(|found| found.nonce == nonce || found.entry.is_err()) else {
        return Step { changes: places.collect(), removes_entry: false };
    };
    let deadline = found.entry.as_ref().map_or(last, Entry::purge_at);
    if deadline > now {
        let moved = entries.place_in_deadlines(deadline, &id, nonce, due.to_vec());
        return Step { changes: vec![moved, here], removes_entry: false };
    }
    let session = Change::delete(entries.keys.entry(&id), Expected::Unchanged(found.stored));
    Step { changes: [session].into_iter().chain(places).collect(), removes_entry: true }
}

/// The keys of a range, some at a time.
struct Steps {
    range: Option<Range<String>>,
    limit: usize,
}

impl Steps {
    fn new(range: Range<String>, limit: usize) -> Self {
        Self { range: Some(range), limit }
    }

    async fn next<E: KeyValue>(
        &mut self,
        entries: &Entries<E>,
    ) -> Result<Option<Vec<(String, Stored<E::Version>)>>, StoreError> {
        let Some(Range { start, end }) = self.range.take() else { return Ok(None) };
        let values = entries.engine.scan(&start, &end, self.limit).await?;
        let last = values.last().filter(|_| values.len() >= self.limit);
        self.range = last.map(|(key, _)| behind(key)..end);
        Ok(Some(values))
    }
}
