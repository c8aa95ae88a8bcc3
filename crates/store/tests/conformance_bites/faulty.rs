//! A store that breaks one rule.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::time::Duration;

use secure_sessions_store::{
    Bucket, Entry, Lifespan, Listed, MemoryStore, Millis, Page, Revision, SessionId, SessionStore, StoreError,
    SubjectTag, Tag, Tags, Timestamp, Tombstone, Which,
};
use tokio::time::sleep;

use crate::common::session;

/// The fault of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    InsertOverwrites,
    InsertReplacesTombstones,
    InsertTakesTwoSteps,
    InsertIgnoresDuplicates,
    FoldsCase,
    LoadInvents,
    LoadIsStale,
    LoadHidesTombstones,
    PeekIsStale,
    LosesLabels,
    LosesVaults,
    LosesGroups,
    TakesGroupsForSubjects,
    LosesTheIdleTimeout,
    ReversesRetired,
    ForgetsWhenTheRetiredDie,
    LosesTheWatermark,
    LosesTheWatermarkWithoutRetired,
    ForgetsWhenTheWatermarkDies,
    LosesSuccessors,
    LosesSuccessorsOfRenewals,
    InventsSuccessors,
    CutsTombstonesToAGrace,
    CutsHandoffsAt4096,
    CutsNumbersAt63Bits,
    TakesEmptyForAbsent,
    ReplaceIgnoresTheRevision,
    ReplaceTakesNewerRevisions,
    ReplaceCreates,
    ReplaceRevivesTombstones,
    ReplaceKeepsTheSubject,
    ReplaceKeepsTheGroup,
    RenewIntoKeepsTheGroup,
    ReplaceTakesTwoSteps,
    RenewIntoIgnoresTheRevision,
    RenewIntoKeepsTheOld,
    RenewIntoLeavesTheNew,
    RenewIntoLeavesNoTombstone,
    RenewIntoTakesTwoSteps,
    RenewIntoOverwrites,
    RemoveAlwaysSaysTrue,
    RemoveLeavesNoTombstone,
    RemoveEntombsNothing,
    RemoveClearsTombstones,
    RemoveTakesTwoSteps,
    CountsTombstones,
    ListIsUnordered,
    ListIgnoresTheLimit,
    ListIgnoresThePage,
    ListTakesTheFirstTagOnly,
    ListRepeatsBuckets,
    ListForgetsSwappedBuckets,
    LifespansOmitTheIdleTimeout,
    LifespansTakeTheFirstTagOnly,
    RemoveAllIgnoresTheException,
    RemoveAllTakesTheFirstTagOnly,
    RemoveAllOfAGroupEndsItsSubjects,
    RemoveAllStopsAt100,
    RemoveAllPassesOnce,
    RemoveAllSaysNothing,
    RemoveAllOfEverythingSparesTheAnonymous,
    PurgeIgnoresTheLimit,
    PurgeIsEarly,
    PurgeIsLate,
    PurgeSparesTombstones,
    PurgeGoesByTheFirstDeadline,
    PurgeDoesNotLookAgain,
    PurgeDoesNothing,
    NotBeforeMovesBack,
    NotBeforeIsForgotten,
    Panics,
}

/// A good store with a fault before it.
pub(crate) struct Faulty {
    good: MemoryStore,
    fault: Fault,
    /// The inserted buckets, as they were then.
    inserted: Mutex<Vec<Bucket>>,
    not_before: Mutex<Option<Timestamp>>,
    buried: Mutex<BTreeSet<SessionId>>,
}

impl Faulty {
    pub(crate) fn new(fault: Fault) -> Self {
        Self {
            good: MemoryStore::new(),
            fault,
            inserted: Mutex::default(),
            not_before: Mutex::default(),
            buried: Mutex::default(),
        }
    }

    fn is(&self, fault: Fault) -> bool {
        self.fault == fault
    }

    /// Time for somebody else to come in between, on a busy machine too.
    async fn pause(&self) {
        sleep(Duration::from_millis(2)).await;
    }

    async fn has(&self, id: &SessionId, expected: Revision) -> Result<bool, StoreError> {
        Ok(matches!(self.good.load(id).await?, Some(Entry::Bucket(bucket)) if bucket.revision == expected))
    }

    /// Keeps a bucket, whatever is there.
    async fn force(&self, bucket: &Bucket) -> Result<(), StoreError> {
        loop {
            match self.good.load(&bucket.id).await? {
                None => return self.good.insert(bucket).await,
                Some(Entry::Bucket(seen)) if self.good.replace(bucket, seen.revision).await? => return Ok(()),
                Some(Entry::Bucket(_)) => {}
                Some(Entry::Tombstone(tombstone)) => self.dig_up(&tombstone).await?,
            }
        }
    }

    /// Removes a tombstone, which only a purge can; these tombstones are the first to go.
    async fn dig_up(&self, tombstone: &Tombstone) -> Result<(), StoreError> {
        let mut at = tombstone.expires_at;
        while self.good.load(&tombstone.id).await?.is_some() {
            self.good.purge_expired(at, u32::MAX).await?;
            at = Timestamp::from_millis(at.as_millis() + 1);
        }
        Ok(())
    }

    fn note(&self, bucket: &Bucket) {
        self.inserted.lock().unwrap().push(bucket.clone());
    }

    fn known(&self) -> Vec<Bucket> {
        self.inserted.lock().unwrap().clone()
    }

    /// The answers of a cache that learns of no write.
    fn first_of(&self, id: &SessionId) -> Option<Bucket> {
        self.known().into_iter().find(|known| known.id == *id)
    }

    fn spoil(&self, mut bucket: Bucket) -> Bucket {
        let cut = |at: Timestamp| Timestamp::from_millis(at.as_millis().min(i64::MAX.unsigned_abs()));
        match self.fault {
            Fault::LosesLabels => bucket.label = None,
            Fault::LosesVaults => bucket.vault = None,
            Fault::LosesGroups => bucket.group = None,
            Fault::LosesTheIdleTimeout => bucket.idle_timeout = None,
            Fault::ReversesRetired => bucket.retired.reverse(),
            Fault::ForgetsWhenTheRetiredDie => bucket.retired.iter_mut().for_each(|retired| retired.dead_after = None),
            Fault::LosesTheWatermark => bucket.evicted = None,
            Fault::LosesTheWatermarkWithoutRetired => {
                bucket.evicted = bucket.evicted.filter(|_| !bucket.retired.is_empty())
            }
            Fault::ForgetsWhenTheWatermarkDies => {
                bucket.evicted.iter_mut().for_each(|evicted| evicted.dead_after = None);
            }
            Fault::CutsHandoffsAt4096 => bucket.handoff.iter_mut().for_each(|handoff| handoff.truncate(4096)),
            Fault::CutsNumbersAt63Bits => bucket.expires_at = cut(bucket.expires_at),
            Fault::FoldsCase => bucket.id = SessionId::from_bytes(bucket.id.as_bytes().map(|byte| byte & !0x20)),
            Fault::TakesEmptyForAbsent => bucket.label = bucket.label.filter(|label| !label.is_empty()),
            _ => {}
        }
        bucket
    }
}

impl Faulty {
    fn spoil_tombstone(&self, mut tombstone: Tombstone, of_renewal: bool) -> Tombstone {
        match self.fault {
            Fault::LosesSuccessors => tombstone.successor = None,
            Fault::LosesSuccessorsOfRenewals if of_renewal => tombstone.successor = None,
            Fault::InventsSuccessors => {
                tombstone.successor.get_or_insert(SessionId::from_bytes([0; 16]));
            }
            Fault::CutsTombstonesToAGrace => {
                tombstone.expires_at = tombstone.expires_at.min(tombstone.ended_at.after(Millis::from_secs(60)));
            }
            _ => {}
        }
        tombstone
    }
}

impl SessionStore for Faulty {
    async fn insert(&self, bucket: &Bucket) -> Result<(), StoreError> {
        assert!(!self.is(Fault::Panics), "this store panics");
        self.note(bucket);
        let bucket = &self.spoil(bucket.clone());
        match self.fault {
            Fault::InsertOverwrites => match self.good.load(&bucket.id).await? {
                Some(Entry::Bucket(_)) => self.force(bucket).await,
                _ => self.good.insert(bucket).await,
            },
            Fault::InsertReplacesTombstones => match self.good.load(&bucket.id).await? {
                Some(Entry::Tombstone(_)) => self.force(bucket).await,
                _ => self.good.insert(bucket).await,
            },
            Fault::InsertTakesTwoSteps => {
                if self.good.load(&bucket.id).await?.is_some() {
                    return Err(StoreError::Duplicate);
                }
                self.pause().await;
                self.force(bucket).await
            }
            Fault::InsertIgnoresDuplicates => match self.good.insert(bucket).await {
                Err(StoreError::Duplicate) => Ok(()),
                outcome => outcome,
            },
            _ => self.good.insert(bucket).await,
        }
    }

    async fn load(&self, id: &SessionId) -> Result<Option<Entry>, StoreError> {
        let entry = self.good.load(id).await?;
        Ok(match (self.fault, entry) {
            (Fault::LoadIsStale, Some(Entry::Bucket(bucket))) if bucket.revision > Revision::FIRST => {
                let first = self.known().into_iter().find(|known| known.id == *id);
                Some(Entry::Bucket(first.unwrap_or(bucket)))
            }
            (Fault::LoadInvents, None) => Some(Entry::Bucket(any_bucket(*id))),
            (Fault::LoadHidesTombstones, Some(Entry::Tombstone(_))) => None,
            (_, entry) => entry,
        })
    }

    fn peek(&self, id: &SessionId) -> Option<Bucket> {
        if self.is(Fault::PeekIsStale) { self.first_of(id) } else { None }
    }

    async fn replace(&self, bucket: &Bucket, expected: Revision) -> Result<bool, StoreError> {
        let mut bucket = self.spoil(bucket.clone());
        let there = self.good.load(&bucket.id).await?;
        match (self.fault, there) {
            (Fault::ReplaceIgnoresTheRevision, Some(Entry::Bucket(seen))) => {
                self.good.replace(&bucket, seen.revision).await
            }
            (Fault::ReplaceTakesNewerRevisions, Some(Entry::Bucket(seen))) if seen.revision > expected => {
                self.good.replace(&bucket, seen.revision).await
            }
            (Fault::ReplaceCreates, None) => {
                self.good.insert(&bucket).await?;
                Ok(true)
            }
            (Fault::ReplaceRevivesTombstones, Some(Entry::Tombstone(_))) => {
                self.force(&bucket).await?;
                Ok(true)
            }
            (Fault::ReplaceKeepsTheSubject, Some(Entry::Bucket(seen))) => {
                bucket.subject = seen.subject;
                self.good.replace(&bucket, expected).await
            }
            (Fault::ReplaceKeepsTheGroup, Some(Entry::Bucket(seen))) => {
                bucket.group = seen.group;
                self.good.replace(&bucket, expected).await
            }
            (Fault::ReplaceTakesTwoSteps, _) => {
                if !self.has(&bucket.id, expected).await? {
                    return Ok(false);
                }
                self.pause().await;
                self.force(&bucket).await?;
                Ok(true)
            }
            _ => self.good.replace(&bucket, expected).await,
        }
    }

    async fn renew_into(
        &self,
        bucket: &Bucket,
        old: &SessionId,
        expected: Revision,
        tombstone: Tombstone,
    ) -> Result<bool, StoreError> {
        self.note(bucket);
        self.buried.lock().unwrap().insert(*old);
        let tombstone = self.spoil_tombstone(tombstone, true);
        let bucket = &self.spoil(bucket.clone());
        match self.fault {
            Fault::RenewIntoIgnoresTheRevision => match self.good.load(old).await? {
                Some(Entry::Bucket(seen)) => self.good.renew_into(bucket, old, seen.revision, tombstone).await,
                _ => Ok(false),
            },
            Fault::RenewIntoKeepsTheOld => {
                if !self.has(old, expected).await? {
                    return Ok(false);
                }
                self.good.insert(bucket).await?;
                Ok(true)
            }
            Fault::RenewIntoKeepsTheGroup => match self.good.load(old).await? {
                Some(Entry::Bucket(seen)) => {
                    let bucket = Bucket { group: seen.group, ..bucket.clone() };
                    self.good.renew_into(&bucket, old, expected, tombstone).await
                }
                _ => Ok(false),
            },
            Fault::RenewIntoLeavesTheNew => {
                self.good.insert(bucket).await?;
                if self.has(old, expected).await? {
                    return self.good.remove(old, Some(tombstone)).await;
                }
                Ok(false)
            }
            Fault::RenewIntoLeavesNoTombstone => {
                let won = self.good.renew_into(bucket, old, expected, tombstone).await?;
                if won {
                    self.dig_up(&tombstone).await?;
                }
                Ok(won)
            }
            Fault::RenewIntoTakesTwoSteps => {
                if !self.has(old, expected).await? {
                    return Ok(false);
                }
                self.pause().await;
                self.good.insert(bucket).await?;
                self.good.remove(old, Some(tombstone)).await?;
                Ok(true)
            }
            Fault::RenewIntoOverwrites => {
                if bucket.id != *old && self.has(old, expected).await? {
                    self.good.remove(&bucket.id, None).await?;
                }
                self.good.renew_into(bucket, old, expected, tombstone).await
            }
            _ => self.good.renew_into(bucket, old, expected, tombstone).await,
        }
    }

    async fn remove(&self, id: &SessionId, tombstone: Option<Tombstone>) -> Result<bool, StoreError> {
        if tombstone.is_some() {
            self.buried.lock().unwrap().insert(*id);
        }
        let tombstone = tombstone.map(|tombstone| self.spoil_tombstone(tombstone, false));
        let there = self.good.load(id).await?;
        match (self.fault, there) {
            (Fault::RemoveAlwaysSaysTrue, _) => {
                self.good.remove(id, tombstone).await?;
                Ok(true)
            }
            (Fault::RemoveLeavesNoTombstone, _) => self.good.remove(id, None).await,
            (Fault::RemoveEntombsNothing, None) if tombstone.is_some() => {
                self.good.insert(&any_bucket(*id)).await?;
                self.good.remove(id, tombstone).await?;
                Ok(false)
            }
            (Fault::RemoveClearsTombstones, Some(Entry::Tombstone(standing))) => {
                self.dig_up(&standing).await?;
                Ok(false)
            }
            (Fault::RemoveTakesTwoSteps, Some(Entry::Bucket(_))) => {
                self.pause().await;
                self.good.remove(id, tombstone).await?;
                Ok(true)
            }
            _ => self.good.remove(id, tombstone).await,
        }
    }

    async fn list(&self, tags: Tags<'_>, page: Page) -> Result<Vec<Listed>, StoreError> {
        match self.fault {
            Fault::ListIsUnordered => {
                let mut buckets = self.good.list(tags, page).await?;
                buckets.reverse();
                Ok(buckets)
            }
            Fault::ListIgnoresTheLimit => self.good.list(tags, Page { limit: u32::MAX, ..page }).await,
            Fault::ListIgnoresThePage => self.good.list(tags, Page { after: None, ..page }).await,
            Fault::ListTakesTheFirstTagOnly => self.good.list(first_of(tags), page).await,
            Fault::TakesGroupsForSubjects => {
                let subjects: Vec<_> = tags.iter().map(|tag| SubjectTag::from_bytes(*tag.as_bytes())).collect();
                self.good.list(Tags::Subjects(&subjects), page).await
            }
            Fault::ListForgetsSwappedBuckets => {
                let mut buckets = self.good.list(tags, page).await?;
                buckets.retain(|bucket| bucket.as_ref().is_ok_and(|bucket| bucket.revision == Revision::FIRST));
                Ok(buckets)
            }
            Fault::ListRepeatsBuckets => {
                let mut buckets = Vec::new();
                for tag in tags.iter() {
                    let found = match tag {
                        Tag::Subject(subject) => self.good.list(Tags::Subjects(&[subject]), page).await?,
                        Tag::Group(group) => self.good.list(Tags::Groups(&[group]), page).await?,
                    };
                    buckets.extend(found);
                }
                buckets.sort_by_key(|bucket| bucket.as_ref().unwrap().id);
                buckets.truncate(page.limit as usize);
                Ok(buckets)
            }
            _ => self.good.list(tags, page).await,
        }
    }

    async fn list_lifespans(&self, tags: Tags<'_>, page: Page) -> Result<Vec<Listed<Lifespan>>, StoreError> {
        let tags = if self.is(Fault::LifespansTakeTheFirstTagOnly) { first_of(tags) } else { tags };
        let mut listed = self.good.list_lifespans(tags, page).await?;
        if self.is(Fault::LifespansOmitTheIdleTimeout) {
            listed.iter_mut().flatten().for_each(|lifespan| lifespan.idle_timeout = None);
        }
        Ok(listed)
    }

    async fn count(&self) -> Result<u64, StoreError> {
        let mut count = self.good.count().await?;
        if self.is(Fault::CountsTombstones) {
            let buried: Vec<_> = self.buried.lock().unwrap().iter().copied().collect();
            for id in buried {
                count += u64::from(matches!(self.good.load(&id).await?, Some(Entry::Tombstone(_))));
            }
        }
        Ok(count)
    }

    async fn remove_all(&self, which: Which<'_>, except: Option<&SessionId>) -> Result<u64, StoreError> {
        match (self.fault, which) {
            (Fault::RemoveAllIgnoresTheException, _) => self.good.remove_all(which, None).await,
            (Fault::RemoveAllTakesTheFirstTagOnly, Which::Tagged(tags)) => {
                self.good.remove_all(Which::Tagged(first_of(tags)), except).await
            }
            (Fault::RemoveAllOfAGroupEndsItsSubjects, Which::Tagged(tags @ Tags::Groups(_))) => {
                let known = self.known();
                let subjects: Vec<_> =
                    known.iter().filter(|bucket| tags.covers(bucket)).filter_map(|bucket| bucket.subject).collect();
                self.good.remove_all(Which::Tagged(Tags::Subjects(&subjects)), except).await
            }
            (Fault::RemoveAllStopsAt100, Which::Tagged(tags)) => {
                let mut removed = 0;
                for bucket in self.good.list(tags, Page::first(100)).await?.into_iter().flatten() {
                    if Some(&bucket.id) != except {
                        removed += u64::from(self.good.remove(&bucket.id, None).await?);
                    }
                }
                Ok(removed)
            }
            (Fault::RemoveAllPassesOnce, _) => {
                let mut removed = 0;
                let mut doomed = Vec::new();
                for bucket in self.known() {
                    let there = matches!(self.good.load(&bucket.id).await?, Some(Entry::Bucket(_)));
                    if there && which.covers(&bucket) && Some(&bucket.id) != except {
                        doomed.push(bucket.id);
                    }
                }
                self.pause().await;
                for id in doomed {
                    removed += u64::from(self.good.remove(&id, None).await?);
                }
                Ok(removed)
            }
            (Fault::RemoveAllSaysNothing, _) => {
                self.good.remove_all(which, except).await?;
                Ok(0)
            }
            (Fault::RemoveAllOfEverythingSparesTheAnonymous, Which::Everything) => {
                let tags: Vec<_> = self.known().iter().filter_map(|bucket| bucket.subject).collect();
                self.good.remove_all(Which::Tagged(Tags::Subjects(&tags)), except).await
            }
            _ => self.good.remove_all(which, except).await,
        }
    }

    async fn not_before(&self) -> Result<Option<Timestamp>, StoreError> {
        Ok(*self.not_before.lock().unwrap())
    }

    async fn raise_not_before(&self, at: Timestamp) -> Result<(), StoreError> {
        let mut kept = self.not_before.lock().unwrap();
        *kept = match self.fault {
            Fault::NotBeforeMovesBack => Some(at),
            Fault::NotBeforeIsForgotten => None,
            _ => (*kept).max(Some(at)),
        };
        Ok(())
    }

    async fn purge_expired(&self, now: Timestamp, limit: u32) -> Result<u64, StoreError> {
        let millis = now.as_millis();
        match self.fault {
            Fault::PurgeIgnoresTheLimit => self.good.purge_expired(now, u32::MAX).await,
            Fault::PurgeIsEarly => self.good.purge_expired(Timestamp::from_millis(millis + 1), limit).await,
            Fault::PurgeIsLate => self.good.purge_expired(Timestamp::from_millis(millis - 1), limit).await,
            Fault::PurgeDoesNothing => Ok(0),
            Fault::PurgeSparesTombstones => {
                let mut removed = 0;
                for bucket in self.known() {
                    if bucket.purge_at() <= now && removed < u64::from(limit) {
                        removed += u64::from(self.good.remove(&bucket.id, None).await?);
                    }
                }
                Ok(removed)
            }
            Fault::PurgeGoesByTheFirstDeadline | Fault::PurgeDoesNotLookAgain => {
                let mut due = Vec::new();
                for bucket in self.known() {
                    let bucket = match self.good.load(&bucket.id).await? {
                        Some(Entry::Bucket(seen)) if self.is(Fault::PurgeDoesNotLookAgain) => seen,
                        Some(Entry::Bucket(_)) => bucket,
                        _ => continue,
                    };
                    if bucket.purge_at() <= now && due.len() < limit as usize {
                        due.push(bucket.id);
                    }
                }
                let mut removed = 0;
                for id in due {
                    self.pause().await;
                    removed += u64::from(self.good.remove(&id, None).await?);
                }
                if removed == 0 { self.good.purge_expired(now, limit).await } else { Ok(removed) }
            }
            _ => self.good.purge_expired(now, limit).await,
        }
    }
}

fn first_of(tags: Tags<'_>) -> Tags<'_> {
    match tags {
        Tags::Subjects(subjects) => Tags::Subjects(&subjects[..subjects.len().min(1)]),
        Tags::Groups(groups) => Tags::Groups(&groups[..groups.len().min(1)]),
    }
}

fn any_bucket(id: SessionId) -> Bucket {
    Bucket { subject: None, ..session(*id.as_bytes(), Timestamp::from_millis(1)) }
}
