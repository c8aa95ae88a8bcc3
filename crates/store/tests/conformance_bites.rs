//! The suite is worth something: each of these stores breaks one rule, and fails the case that is about it.
#![cfg(all(feature = "memory", feature = "conformance"))]
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::time::Duration;

use secure_sessions_store::conformance::{self, CASES};
use secure_sessions_store::{
    Bucket, Entry, Fingerprint, Listed, MemoryStore, Millis, Page, Revision, SessionId, SessionStore, StoreError,
    SubjectTag, Timestamp, Tombstone, Which,
};
use tokio::time::sleep;

/// The fault of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
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
    ListTakesTheFirstSubjectOnly,
    ListRepeatsBuckets,
    ListForgetsSwappedBuckets,
    RemoveAllIgnoresTheException,
    RemoveAllTakesTheFirstSubjectOnly,
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
    Panics,
}

/// A good store with a fault before it.
struct Faulty {
    good: MemoryStore,
    fault: Fault,
    /// The inserted buckets, as they were then.
    inserted: Mutex<Vec<Bucket>>,
    buried: Mutex<BTreeSet<SessionId>>,
}

impl Faulty {
    fn new(fault: Fault) -> Self {
        Self { good: MemoryStore::new(), fault, inserted: Mutex::default(), buried: Mutex::default() }
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

    async fn list(&self, subjects: &[SubjectTag], page: Page) -> Result<Vec<Listed>, StoreError> {
        match self.fault {
            Fault::ListIsUnordered => {
                let mut buckets = self.good.list(subjects, page).await?;
                buckets.reverse();
                Ok(buckets)
            }
            Fault::ListIgnoresTheLimit => self.good.list(subjects, Page { limit: u32::MAX, ..page }).await,
            Fault::ListIgnoresThePage => self.good.list(subjects, Page { after: None, ..page }).await,
            Fault::ListTakesTheFirstSubjectOnly => self.good.list(&subjects[..subjects.len().min(1)], page).await,
            Fault::ListForgetsSwappedBuckets => {
                let mut buckets = self.good.list(subjects, page).await?;
                buckets.retain(|bucket| bucket.as_ref().is_ok_and(|bucket| bucket.revision == Revision::FIRST));
                Ok(buckets)
            }
            Fault::ListRepeatsBuckets => {
                let mut buckets = Vec::new();
                for subject in subjects {
                    buckets.extend(self.good.list(&[*subject], page).await?);
                }
                buckets.sort_by_key(|bucket| bucket.as_ref().unwrap().id);
                buckets.truncate(page.limit as usize);
                Ok(buckets)
            }
            _ => self.good.list(subjects, page).await,
        }
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
            (Fault::RemoveAllTakesTheFirstSubjectOnly, Which::Subjects(subjects)) => {
                self.good.remove_all(Which::Subjects(&subjects[..subjects.len().min(1)]), except).await
            }
            (Fault::RemoveAllStopsAt100, Which::Subjects(subjects)) => {
                let mut removed = 0;
                for bucket in self.good.list(subjects, Page::first(100)).await?.into_iter().flatten() {
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
                self.good.remove_all(Which::Subjects(&tags), except).await
            }
            _ => self.good.remove_all(which, except).await,
        }
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

fn any_bucket(id: SessionId) -> Bucket {
    let at = Timestamp::from_millis(1);
    Bucket {
        id,
        revision: Revision::FIRST,
        subject: None,
        label: None,
        created_at: at,
        last_seen_at: at,
        expires_at: at,
        idle_timeout: None,
        rotated_at: at,
        generation: 1,
        current: Fingerprint::from_bytes([0; 16]),
        retired: Vec::new(),
        evicted: None,
        handoff: None,
    }
}

#[test]
fn the_wrapper_without_a_fault_passes() {
    let outcome = conformance::check(|| async { Faulty::new(Fault::None) });
    assert!(outcome.is_ok(), "{}", outcome.unwrap_err());
}

#[test]
fn a_store_that_shares_everything_is_not_isolated() {
    let shared = MemoryStore::new();
    let stores = move || {
        let shared = shared.clone();
        async move { shared }
    };
    let failure = conformance::check_case("stores_do_not_see_each_other", stores).unwrap_err();
    assert_eq!(failure.case(), "stores_do_not_see_each_other");
}

#[test]
fn a_store_that_forgets_does_not_survive_reopening() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let outcome = runtime.block_on(conformance::survives_reopening(|| async { MemoryStore::new() }));
    assert_eq!(outcome.unwrap_err().case(), "survives_reopening");
}

#[test]
fn an_unknown_case_is_an_error() {
    assert!(conformance::check_case("no_such_case", || async { MemoryStore::new() }).is_err());
}

#[test]
fn a_failing_run_names_every_case_that_failed_and_goes_on_behind_it() {
    let failures = conformance::check(|| async { Faulty::new(Fault::CountsTombstones) }).unwrap_err();
    let text = failures.to_string();
    assert!(text.contains("buckets_are_counted_and_tombstones_are_not: the store counts"), "{text}");
    assert!(failures.iter().count() > 1);
    assert!(failures.iter().count() < CASES.len());
}

#[test]
fn names_are_unique() {
    let names: BTreeSet<_> = CASES.iter().map(conformance::Case::name).collect();
    assert_eq!(names.len(), CASES.len());
}

#[test]
fn what_a_self_expiring_store_cannot_do_is_not_asked_of_it() {
    let stores = || conformance::Stores::new(|| async { Faulty::new(Fault::PurgeDoesNothing) });
    for case in CASES {
        let outcome = conformance::check_case(case.name(), stores().expiring_by_itself());
        // This one does not expire entries at all, which only waiting shows.
        assert_eq!(outcome.is_ok(), case.name() != "what_expires_in_real_time_goes_and_the_living_stay");
    }
    assert!(conformance::check_case("a_purge_honours_its_limit", stores()).is_err());
}

/// One test for each fault: the case that is about it fails.
macro_rules! bites {
    ($($test:ident: $fault:ident => $case:ident;)*) => {
        $(
            #[test]
            fn $test() {
                let outcome = conformance::check_case(stringify!($case), || async { Faulty::new(Fault::$fault) });
                let failure = outcome.expect_err("the fault was not noticed");
                assert_eq!(failure.case(), stringify!($case));
            }
        )*

        #[test]
        fn every_case_but_those_of_the_wrappers_limits_has_a_fault_that_it_notices() {
            let noticed: BTreeSet<_> = [$(stringify!($case)),*].into();
            let unproven: Vec<_> = CASES.iter().map(conformance::Case::name).filter(|case| !noticed.contains(case)).collect();
            assert_eq!(unproven, ["stores_do_not_see_each_other"], "a case without a proof that it bites");
        }
    };
}

bites! {
    lost_labels_are_noticed: LosesLabels => every_field_is_kept;
    a_lost_idle_timeout_is_noticed: LosesTheIdleTimeout => every_field_is_kept;
    a_reversed_list_of_retired_tokens_is_noticed: ReversesRetired => every_field_is_kept;
    retired_tokens_that_never_die_are_noticed: ForgetsWhenTheRetiredDie => every_field_is_kept;
    a_lost_watermark_is_noticed: LosesTheWatermark => every_field_is_kept;
    a_lost_watermark_is_noticed_after_a_swap: LosesTheWatermark => a_swap_on_the_right_revision_replaces_every_field;
    a_watermark_lost_without_retired_tokens_is_noticed: LosesTheWatermarkWithoutRetired => absent_fields_stay_absent;
    a_watermark_that_never_dies_is_noticed: ForgetsWhenTheWatermarkDies => the_largest_entry_is_kept;
    lost_successors_are_noticed: LosesSuccessors => every_field_of_a_tombstone_is_kept;
    a_lost_successor_of_a_renewal_is_noticed: LosesSuccessorsOfRenewals => a_renewal_ends_the_old_and_keeps_the_new;
    invented_successors_are_noticed: InventsSuccessors => every_field_of_a_tombstone_is_kept;
    tombstones_cut_to_a_grace_are_noticed: CutsTombstonesToAGrace => every_field_of_a_tombstone_is_kept;
    empty_taken_for_absent_is_noticed: TakesEmptyForAbsent => absent_fields_stay_absent;
    cut_handoffs_are_noticed: CutsHandoffsAt4096 => the_largest_entry_is_kept;
    cut_numbers_are_noticed: CutsNumbersAt63Bits => the_largest_entry_is_kept;
    lost_labels_are_noticed_byte_by_byte: LosesLabels => bytes_of_any_value_are_kept;
    an_insert_that_overwrites_is_noticed: InsertOverwrites => a_taken_id_is_refused;
    an_insert_over_a_tombstone_is_noticed: InsertReplacesTombstones => a_taken_id_is_refused;
    a_swallowed_duplicate_is_noticed: InsertIgnoresDuplicates => a_taken_id_is_refused;
    an_insert_in_two_steps_is_noticed: InsertTakesTwoSteps => of_a_hundred_inserts_one_wins;
    inserts_that_do_not_add_up_are_noticed: RemoveTakesTwoSteps => inserts_and_removals_add_up;
    a_stale_load_is_noticed: LoadIsStale => a_load_sees_every_acknowledged_write;
    a_stale_load_is_noticed_after_a_swap: LoadIsStale => a_swap_on_the_right_revision_replaces_every_field;
    a_stale_look_without_a_wait_is_noticed: PeekIsStale => a_look_without_a_wait_knows_of_every_own_write;
    a_hidden_tombstone_is_noticed: LoadHidesTombstones => a_removal_leaves_its_tombstone;
    a_swap_that_ignores_the_revision_is_noticed: ReplaceIgnoresTheRevision => a_swap_on_a_wrong_revision_writes_nothing;
    a_swap_on_an_older_revision_is_noticed: ReplaceTakesNewerRevisions => a_swap_on_a_wrong_revision_writes_nothing;
    a_swap_that_creates_is_noticed: ReplaceCreates => a_swap_never_creates_a_bucket;
    a_swap_that_creates_is_noticed_in_a_race: ReplaceCreates => a_swap_never_undoes_a_removal;
    a_swap_that_creates_is_noticed_after_an_end: ReplaceCreates => what_was_ended_stays_ended;
    a_swap_that_revives_is_noticed: ReplaceRevivesTombstones => a_swap_never_revives_a_tombstone;
    a_swap_that_keeps_the_subject_is_noticed: ReplaceKeepsTheSubject => a_swap_moves_the_bucket_to_its_new_subject;
    a_swap_in_two_steps_is_noticed: ReplaceTakesTwoSteps => of_a_hundred_swaps_one_wins;
    a_renewal_that_ignores_the_revision_is_noticed: RenewIntoIgnoresTheRevision => a_renewal_on_a_wrong_revision_leaves_nothing_behind;
    a_renewal_that_keeps_the_old_is_noticed: RenewIntoKeepsTheOld => a_renewal_ends_the_old_and_keeps_the_new;
    a_renewal_that_keeps_the_old_is_noticed_in_the_list: RenewIntoKeepsTheOld => a_list_follows_renewals_and_removals;
    a_renewal_that_leaves_the_new_is_noticed: RenewIntoLeavesTheNew => a_renewal_of_what_has_ended_leaves_nothing_behind;
    a_renewal_without_a_tombstone_is_noticed: RenewIntoLeavesNoTombstone => a_renewal_ends_the_old_and_keeps_the_new;
    a_renewal_that_overwrites_is_noticed: RenewIntoOverwrites => a_renewal_onto_a_taken_id_is_refused;
    a_renewal_in_two_steps_is_noticed: RenewIntoTakesTwoSteps => of_a_hundred_renewals_one_wins;
    a_renewal_in_two_steps_is_noticed_against_a_removal: RenewIntoTakesTwoSteps => a_renewal_and_a_removal_do_not_both_win;
    a_renewal_in_two_steps_is_noticed_against_a_swap: RenewIntoTakesTwoSteps => a_renewal_and_a_swap_do_not_both_win;
    a_removal_that_always_says_true_is_noticed: RemoveAlwaysSaysTrue => a_removal_may_be_repeated;
    a_removal_without_a_tombstone_is_noticed: RemoveLeavesNoTombstone => a_removal_leaves_its_tombstone;
    a_removal_that_entombs_nothing_is_noticed: RemoveEntombsNothing => a_removal_of_nothing_creates_nothing;
    a_removal_of_a_tombstone_is_noticed: RemoveClearsTombstones => a_tombstone_stays_until_it_is_purged;
    a_removal_in_two_steps_is_noticed: RemoveTakesTwoSteps => of_a_hundred_removals_one_wins;
    counted_tombstones_are_noticed: CountsTombstones => buckets_are_counted_and_tombstones_are_not;
    an_unordered_list_is_noticed: ListIsUnordered => pages_cover_the_list_in_order_without_a_gap;
    a_page_without_a_limit_is_noticed: ListIgnoresTheLimit => pages_cover_the_list_in_order_without_a_gap;
    the_same_page_again_is_noticed: ListIgnoresThePage => pages_cover_the_list_in_order_without_a_gap;
    a_list_of_one_subject_is_noticed: ListTakesTheFirstSubjectOnly => a_list_has_every_bucket_of_the_subjects_and_no_other;
    a_list_with_repetitions_is_noticed: ListRepeatsBuckets => a_list_has_every_bucket_of_the_subjects_and_no_other;
    an_ended_exception_is_noticed: RemoveAllIgnoresTheException => remove_all_ends_the_subjects_sessions_save_one;
    an_ended_exception_of_everybody_is_noticed: RemoveAllIgnoresTheException => remove_all_ends_everybodys_sessions_save_one;
    one_subject_of_several_is_noticed: RemoveAllTakesTheFirstSubjectOnly => remove_all_ends_the_subjects_sessions_save_one;
    a_wrong_number_of_ended_sessions_is_noticed: RemoveAllSaysNothing => remove_all_ends_the_subjects_sessions_save_one;
    spared_anonymous_sessions_are_noticed: RemoveAllOfEverythingSparesTheAnonymous => remove_all_ends_everybodys_sessions_save_one;
    a_limit_of_ended_sessions_is_noticed: RemoveAllStopsAt100 => remove_all_ends_any_number_of_sessions;
    one_pass_is_noticed: RemoveAllPassesOnce => nothing_of_a_subject_survives_remove_all_against_renewals;
    one_pass_over_everything_is_noticed: RemoveAllPassesOnce => nothing_survives_remove_all_of_everything_against_renewals;
    an_early_purge_is_noticed: PurgeIsEarly => a_purge_removes_what_is_due_and_spares_the_living;
    a_late_purge_is_noticed: PurgeIsLate => a_purge_removes_what_is_due_and_spares_the_living;
    a_purge_that_spares_tombstones_is_noticed: PurgeSparesTombstones => a_purge_removes_what_is_due_and_spares_the_living;
    a_purge_without_a_limit_is_noticed: PurgeIgnoresTheLimit => a_purge_honours_its_limit;
    a_purge_by_the_first_deadline_is_noticed: PurgeGoesByTheFirstDeadline => a_purge_goes_by_the_newest_deadline;
    a_purge_that_does_not_look_again_is_noticed: PurgeDoesNotLookAgain => a_purge_never_takes_what_was_just_seen;
    no_purge_is_noticed: PurgeDoesNothing => what_was_purged_is_gone_everywhere;
    no_purge_is_noticed_in_real_time: PurgeDoesNothing => what_expires_in_real_time_goes_and_the_living_stay;
    folded_ids_are_noticed: FoldsCase => ids_are_compared_whole;
    an_invented_bucket_is_noticed: LoadInvents => an_unknown_id_loads_nothing;
    an_index_that_forgets_is_noticed: ListForgetsSwappedBuckets => the_index_agrees_with_the_buckets_after_a_stampede;
    a_panic_is_a_failure_like_others: Panics => of_a_hundred_inserts_one_wins;
}
