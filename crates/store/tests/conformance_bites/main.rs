//! The suite is worth something: each of these stores breaks one rule, and fails the case that is about it.
#![cfg(all(feature = "memory", feature = "conformance"))]
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::BTreeSet;

use secure_sessions_store::MemoryStore;
use secure_sessions_store::conformance::{self, CASES};

use crate::faulty::{Fault, Faulty};

#[path = "../common/mod.rs"]
mod common;
mod faulty;

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
    lost_vaults_are_noticed: LosesVaults => every_field_is_kept;
    lost_groups_are_noticed: LosesGroups => every_field_is_kept;
    lost_groups_are_noticed_in_the_list: LosesGroups => a_group_is_listed_as_a_subject_is;
    groups_taken_for_subjects_are_noticed: TakesGroupsForSubjects => a_group_is_listed_as_a_subject_is;
    a_list_of_one_group_is_noticed: ListTakesTheFirstTagOnly => a_group_is_listed_as_a_subject_is;
    lifespans_of_one_group_are_noticed: LifespansTakeTheFirstTagOnly => a_group_is_listed_as_a_subject_is;
    a_swap_that_keeps_the_group_is_noticed: ReplaceKeepsTheGroup => a_swap_moves_the_bucket_to_its_new_group;
    a_renewal_that_keeps_the_group_is_noticed: RenewIntoKeepsTheGroup => a_renewal_takes_the_group_along;
    one_group_of_several_is_noticed: RemoveAllTakesTheFirstTagOnly => remove_all_ends_the_groups_sessions_save_one;
    an_ended_exception_of_a_group_is_noticed: RemoveAllIgnoresTheException => remove_all_ends_the_groups_sessions_save_one;
    a_group_that_takes_its_subjects_along_is_noticed: RemoveAllOfAGroupEndsItsSubjects => remove_all_ends_the_groups_sessions_save_one;
    one_pass_over_a_group_is_noticed: RemoveAllPassesOnce => nothing_of_a_group_survives_remove_all_against_renewals;
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
    a_list_of_one_subject_is_noticed: ListTakesTheFirstTagOnly => a_list_has_every_bucket_of_the_subjects_and_no_other;
    a_list_with_repetitions_is_noticed: ListRepeatsBuckets => a_list_has_every_bucket_of_the_subjects_and_no_other;
    lifespans_without_idle_timeouts_are_noticed: LifespansOmitTheIdleTimeout => lifespans_are_listed_as_their_buckets_are;
    lifespans_of_one_subject_are_noticed: LifespansTakeTheFirstTagOnly => lifespans_are_listed_as_their_buckets_are;
    an_ended_exception_is_noticed: RemoveAllIgnoresTheException => remove_all_ends_the_subjects_sessions_save_one;
    an_ended_exception_of_everybody_is_noticed: RemoveAllIgnoresTheException => remove_all_ends_everybodys_sessions_save_one;
    one_subject_of_several_is_noticed: RemoveAllTakesTheFirstTagOnly => remove_all_ends_the_subjects_sessions_save_one;
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
    a_not_before_that_moves_back_is_noticed: NotBeforeMovesBack => not_before_is_raised_and_never_moves_back;
    a_forgotten_not_before_is_noticed: NotBeforeIsForgotten => not_before_is_raised_and_never_moves_back;
    folded_ids_are_noticed: FoldsCase => ids_are_compared_whole;
    an_invented_bucket_is_noticed: LoadInvents => an_unknown_id_loads_nothing;
    an_index_that_forgets_is_noticed: ListForgetsSwappedBuckets => the_index_agrees_with_the_buckets_after_a_stampede;
    a_panic_is_a_failure_like_others: Panics => of_a_hundred_inserts_one_wins;
}
