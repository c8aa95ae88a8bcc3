//! The whole contract of [`SessionStore`], as tests for any implementation.
//!
//! One line in a test file of the store's own crate makes one named test of each case:
//!
//! ```
//! # use secure_sessions_store::MemoryStore;
//! // tests/conformance.rs
//! secure_sessions_store::conformance_tests!(|| async { MemoryStore::new() });
//! ```
//!
//! or one call runs all of them and reports every case that failed, by its name:
//!
//! ```
//! use secure_sessions_store::{MemoryStore, conformance};
//!
//! let outcome = conformance::check(|| async { MemoryStore::new() });
//! assert!(outcome.is_ok(), "{}", outcome.unwrap_err());
//! ```
//!
//! The closure makes a new, empty store at each call that shares nothing with earlier ones: another file, table, prefix or
//! database. It runs on the suite's own tokio runtime, which has several threads; it may panic if a store
//! cannot be made. Times are near the system's clock, so that a backend that expires entries by itself can be tested
//! (see [`Stores::expiring_by_itself`]).
//!
//! A store of private and large values has a suite of its own: [`vault`].
//!
//! Some faults only you can arrange, so the suite leaves them out: a broken connection, a killed server, a full disk, an entry
//! that cannot be read (which a list names as [`Unreadable`](crate::Unreadable), and every removal removes). For a store that
//! survives its process there is [`survives_reopening`].

use std::fmt;
use std::future::Future;
use std::time::Duration;

use tokio::time::timeout;

use crate::{AnyStore, SessionStore};

#[macro_use]
mod failure;
mod basics;
mod endings;
mod groups;
mod lists;
mod maker;
mod not_before;
mod purging;
mod races;
mod races_of_all;
mod reopening;
pub(crate) mod sample;
mod swaps;
pub mod vault;

pub use self::failure::{CaseFailure, Failures};
use self::maker::{BoxFuture, Maker};
pub use self::reopening::survives_reopening;

/// The time after which a case has failed: by a deadlock, or a loop that never ends.
const LONGEST_CASE: Duration = Duration::from_secs(600);
const THREADS: usize = 4;

/// A maker of the stores under test. Every closure that makes one converts into it.
#[derive(Clone)]
pub struct Stores(Maker<AnyStore>);

impl Stores {
    /// Makes the stores with this closure.
    pub fn new<F, M, S>(make: F) -> Self
    where
        F: Fn() -> M + Send + Sync + 'static,
        M: Future<Output = S> + Send + 'static,
        S: SessionStore,
    {
        Self(Maker::new(make, AnyStore::new))
    }

    /// Skips every case, for this reason: this machine does not have the server, for instance. Each case prints `SKIPPED` to
    /// standard error and passes; with `CI=true` in the environment it fails instead.
    ///
    /// ```
    /// use secure_sessions_store::conformance::Stores;
    /// # use secure_sessions_store::MemoryStore as MyStore;
    ///
    /// fn stores() -> Stores {
    ///     match std::env::var("MY_DATABASE") {
    ///         Ok(url) => Stores::new(move || {
    ///             let url = url.clone();
    ///             async move { MyStore::new(/* &url */) }
    ///         }),
    ///         Err(_) => Stores::missing("MY_DATABASE is not set"),
    ///     }
    /// }
    /// # fn main() {
    /// secure_sessions_store::conformance_tests!(stores());
    /// # }
    /// ```
    #[must_use]
    pub fn missing(why: impl fmt::Display) -> Self {
        Self(Maker::missing(why))
    }

    /// Declares that the backend removes entries by itself once their deadline has passed, by its own clock. The cases that
    /// pass a made-up time to [`purge_expired`](crate::SessionStore::purge_expired) are left out; those that wait stay.
    #[must_use]
    pub fn expiring_by_itself(self) -> Self {
        Self(self.0.expiring_by_itself())
    }

    async fn make(&self) -> AnyStore {
        self.0.make().await
    }

    /// Returns `true` if the backend removes by itself what has expired.
    fn expire_by_themselves(&self) -> bool {
        self.0.expires
    }
}

impl<F, M, S> From<F> for Stores
where
    F: Fn() -> M + Send + Sync + 'static,
    M: Future<Output = S> + Send + 'static,
    S: SessionStore,
{
    fn from(make: F) -> Self {
        Self::new(make)
    }
}

impl fmt::Debug for Stores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stores").field("expire_by_themselves", &self.0.expires).finish_non_exhaustive()
    }
}

/// A case of the suite.
#[derive(Clone, Copy)]
pub struct Case {
    name: &'static str,
    run: fn(Stores) -> BoxFuture<Result<(), failure::Broken>>,
}

impl Case {
    /// The sentence that it proves.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Runs the case on the current tokio runtime, which should have several threads.
    ///
    /// # Errors
    ///
    /// [`CaseFailure`] if the store breaks the contract, fails, panics, or does not come to an end.
    pub async fn run(&self, stores: impl Into<Stores>) -> Result<(), CaseFailure> {
        let stores = stores.into();
        match &stores.0.missing {
            Some(why) => skip(self.name, why),
            None => run_case(self.name, (self.run)(stores)).await,
        }
    }
}

/// Runs a case in a task of its own: a store that panics fails this case, not the whole suite.
async fn run_case(name: &'static str, case: BoxFuture<sample::Outcome>) -> Result<(), CaseFailure> {
    let mut task = tokio::spawn(case);
    let outcome = match timeout(LONGEST_CASE, &mut task).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(panicked)) => Err(failure::Broken::from(panicked)),
        Err(_) => {
            task.abort();
            Err(failure::Broken::new(format!("it did not end within {LONGEST_CASE:?}")))
        }
    };
    outcome.map_err(|broken| CaseFailure::new(name, broken))
}

fn skip(name: &'static str, why: &str) -> Result<(), CaseFailure> {
    if std::env::var("CI").is_ok_and(|ci| ci == "true") {
        return Err(CaseFailure::new(name, failure::Broken::new(format!("there is no store to test: {why}"))));
    }
    eprintln!("SKIPPED {name}: {why}");
    Ok(())
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Case").field(&self.name).finish()
    }
}

/// Runs all cases one after another, on the current tokio runtime, which should have several threads.
///
/// # Errors
///
/// [`Failures`]: every case that failed, and why.
pub async fn run(stores: impl Into<Stores>) -> Result<(), Failures> {
    let stores = stores.into();
    let mut failures = Vec::new();
    for case in CASES {
        failures.extend(case.run(stores.clone()).await.err());
    }
    Failures::unless_none(failures, CASES.len())
}

/// Does the same as [`run`], on a runtime of its own.
///
/// # Errors
///
/// [`Failures`]: every case that failed, and why.
pub fn check(stores: impl Into<Stores>) -> Result<(), Failures> {
    on_own_runtime(run(stores)).unwrap_or_else(|failure| Failures::unless_none(vec![failure], CASES.len()))
}

/// Runs the case with this name, on a runtime of its own.
///
/// # Errors
///
/// [`CaseFailure`] if the case fails, or there is none with this name.
pub fn check_case(name: &str, stores: impl Into<Stores>) -> Result<(), CaseFailure> {
    match CASES.iter().find(|case| case.name == name) {
        Some(case) => on_own_runtime(case.run(stores)).and_then(|outcome| outcome),
        None => Err(CaseFailure::new("-", failure::Broken::new(format!("there is no case {name}")))),
    }
}

fn on_own_runtime<T>(future: impl Future<Output = T>) -> Result<T, CaseFailure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(THREADS).enable_all().build();
    match runtime {
        Ok(runtime) => Ok(runtime.block_on(future)),
        Err(error) => Err(CaseFailure::new("-", failure::Broken::new(format!("no runtime: {error}")))),
    }
}

/// The list of all cases, handed to another macro.
#[doc(hidden)]
#[macro_export]
macro_rules! __with_conformance_cases {
    ($then:ident!($($arguments:tt)*)) => {
        $crate::$then! {
            ($($arguments)*)
            basics: every_field_is_kept;
            basics: absent_fields_stay_absent;
            basics: the_largest_entry_is_kept;
            basics: bytes_of_any_value_are_kept;
            basics: ids_are_compared_whole;
            basics: an_unknown_id_loads_nothing;
            basics: a_look_without_a_wait_knows_of_every_own_write;
            basics: a_taken_id_is_refused;
            basics: buckets_are_counted_and_tombstones_are_not;
            basics: stores_do_not_see_each_other;
            not_before: not_before_is_raised_and_never_moves_back;
            swaps: a_swap_on_the_right_revision_replaces_every_field;
            swaps: a_swap_on_a_wrong_revision_writes_nothing;
            swaps: a_swap_never_creates_a_bucket;
            swaps: a_swap_never_revives_a_tombstone;
            swaps: a_swap_moves_the_bucket_to_its_new_subject;
            swaps: a_renewal_ends_the_old_and_keeps_the_new;
            swaps: a_renewal_on_a_wrong_revision_leaves_nothing_behind;
            swaps: a_renewal_of_what_has_ended_leaves_nothing_behind;
            swaps: a_renewal_onto_a_taken_id_is_refused;
            endings: a_removal_may_be_repeated;
            endings: a_removal_leaves_its_tombstone;
            endings: every_field_of_a_tombstone_is_kept;
            endings: a_tombstone_stays_until_it_is_purged;
            endings: a_removal_of_nothing_creates_nothing;
            endings: what_was_ended_stays_ended;
            lists: a_list_has_every_bucket_of_the_subjects_and_no_other;
            lists: pages_cover_the_list_in_order_without_a_gap;
            lists: lifespans_are_listed_as_their_buckets_are;
            lists: a_list_follows_renewals_and_removals;
            lists: remove_all_ends_the_subjects_sessions_save_one;
            lists: remove_all_ends_everybodys_sessions_save_one;
            lists: remove_all_ends_any_number_of_sessions;
            groups: a_group_is_listed_as_a_subject_is;
            groups: a_swap_moves_the_bucket_to_its_new_group;
            groups: a_renewal_takes_the_group_along;
            groups: remove_all_ends_the_groups_sessions_save_one;
            purging: a_purge_removes_what_is_due_and_spares_the_living;
            purging: a_purge_honours_its_limit;
            purging: a_purge_goes_by_the_newest_deadline;
            purging: what_was_purged_is_gone_everywhere;
            purging: what_expires_in_real_time_goes_and_the_living_stay;
            races: of_a_hundred_swaps_one_wins;
            races: of_a_hundred_inserts_one_wins;
            races: of_a_hundred_renewals_one_wins;
            races: of_a_hundred_removals_one_wins;
            races: a_swap_never_undoes_a_removal;
            races: a_renewal_and_a_removal_do_not_both_win;
            races: a_renewal_and_a_swap_do_not_both_win;
            races: inserts_and_removals_add_up;
            races: a_load_sees_every_acknowledged_write;
            races: the_index_agrees_with_the_buckets_after_a_stampede;
            races_of_all: nothing_of_a_subject_survives_remove_all_against_renewals;
            races_of_all: nothing_of_a_group_survives_remove_all_against_renewals;
            races_of_all: nothing_survives_remove_all_of_everything_against_renewals;
            races_of_all: a_purge_never_takes_what_was_just_seen;
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_case_list {
    (() $($module:ident: $name:ident;)*) => {
        /// All cases, in the order in which they are run.
        pub const CASES: &[Case] = &[$(
            Case { name: stringify!($name), run: |stores| Box::pin(async move { $module::$name(&stores).await }) },
        )*];
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_test_list {
    (($stores:expr) $($module:ident: $name:ident;)*) => {
        $(
            #[test]
            fn $name() {
                if let Err(failure) = $crate::conformance::check_case(stringify!($name), $stores) {
                    panic!("{failure}");
                }
            }
        )*
    };
}

/// Makes one `#[test]` of each case of the [suite](crate::conformance), for the stores that the closure makes.
///
/// ```
/// secure_sessions_store::conformance_tests!(|| async { secure_sessions_store::MemoryStore::new() });
/// ```
///
/// It takes anything that converts into [`Stores`](crate::conformance::Stores). To test two stores in one file, give each a
/// `mod` of its own.
#[macro_export]
macro_rules! conformance_tests {
    ($stores:expr) => {
        $crate::__with_conformance_cases! { __conformance_test_list!($stores) }
    };
}

crate::__with_conformance_cases! { __conformance_case_list!() }
