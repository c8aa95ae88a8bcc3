//! The whole contract of [`VaultStore`], as tests for any implementation.
//!
//! One line in a test file of the store's own crate makes one named test of each case:
//!
//! ```
//! # use secure_sessions_store::MemoryStore;
//! // tests/vault_conformance.rs
//! secure_sessions_store::vault_conformance_tests!(|| async { MemoryStore::new() });
//! ```
//!
//! The closure makes a new, empty store at each call, as for the [suite of sessions](super), which is no part of this one.
//!
//! Some faults only you can arrange: a broken connection, a killed server, a full disk.

use std::fmt;
use std::future::Future;

use super::maker::{BoxFuture, Maker};
use super::sample::Outcome;
use super::{CaseFailure, Failures, failure, on_own_runtime, run_case, skip};
use crate::{AnyVaultStore, VaultStore};

mod blobs;
mod deadlines;

/// A maker of the stores under test. Every closure that makes one converts into it.
#[derive(Clone)]
pub struct VaultStores(Maker<AnyVaultStore>);

impl VaultStores {
    /// Makes the stores with this closure.
    pub fn new<F, M, S>(make: F) -> Self
    where
        F: Fn() -> M + Send + Sync + 'static,
        M: Future<Output = S> + Send + 'static,
        S: VaultStore,
    {
        Self(Maker::new(make, AnyVaultStore::new))
    }

    /// Skips every case, for this reason: see [`Stores::missing`](super::Stores::missing).
    #[must_use]
    pub fn missing(why: impl fmt::Display) -> Self {
        Self(Maker::missing(why))
    }

    /// Declares that the backend removes blobs by itself once their deadline has passed, by its own clock. The cases that
    /// pass a made-up time to [`purge`](VaultStore::purge) are left out; those that wait stay.
    #[must_use]
    pub fn expiring_by_itself(self) -> Self {
        Self(self.0.expiring_by_itself())
    }

    async fn make(&self) -> AnyVaultStore {
        self.0.make().await
    }

    /// Returns `true` if the backend removes by itself what has expired.
    fn expire_by_themselves(&self) -> bool {
        self.0.expires
    }
}

impl<F, M, S> From<F> for VaultStores
where
    F: Fn() -> M + Send + Sync + 'static,
    M: Future<Output = S> + Send + 'static,
    S: VaultStore,
{
    fn from(make: F) -> Self {
        Self::new(make)
    }
}

impl fmt::Debug for VaultStores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VaultStores").field("expire_by_themselves", &self.0.expires).finish_non_exhaustive()
    }
}

/// A case of the suite.
#[derive(Clone, Copy)]
pub struct VaultCase {
    name: &'static str,
    run: fn(VaultStores) -> BoxFuture<Outcome>,
}

impl VaultCase {
    /// Returns the sentence that it proves.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Runs the case on the current tokio runtime, which should have several threads.
    ///
    /// # Errors
    ///
    /// [`CaseFailure`] if the store breaks the contract, fails, panics, or does not come to an end.
    pub async fn run(&self, stores: impl Into<VaultStores>) -> Result<(), CaseFailure> {
        let stores = stores.into();
        match &stores.0.missing {
            Some(why) => skip(self.name, why),
            None => run_case(self.name, (self.run)(stores)).await,
        }
    }
}

impl fmt::Debug for VaultCase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("VaultCase").field(&self.name).finish()
    }
}

/// Runs all cases one after another, on a runtime of its own.
///
/// # Errors
///
/// [`Failures`]: every case that failed, and why.
pub fn check(stores: impl Into<VaultStores>) -> Result<(), Failures> {
    let stores = stores.into();
    let run = async {
        let mut failures = Vec::new();
        for case in CASES {
            failures.extend(case.run(stores.clone()).await.err());
        }
        failures
    };
    Failures::unless_none(on_own_runtime(run).unwrap_or_else(|failure| vec![failure]), CASES.len())
}

/// Runs the case with this name, on a runtime of its own.
///
/// # Errors
///
/// [`CaseFailure`] if the case fails, or there is none with this name.
pub fn check_case(name: &str, stores: impl Into<VaultStores>) -> Result<(), CaseFailure> {
    match CASES.iter().find(|case| case.name == name) {
        Some(case) => on_own_runtime(case.run(stores)).and_then(|outcome| outcome),
        None => Err(CaseFailure::new("-", failure::Broken::new(format!("there is no case {name}")))),
    }
}

/// The list of all cases, handed to another macro.
#[doc(hidden)]
#[macro_export]
macro_rules! __with_vault_conformance_cases {
    ($then:ident!($($arguments:tt)*)) => {
        $crate::$then! {
            ($($arguments)*)
            blobs: a_blob_is_returned_as_it_was_put;
            blobs: the_largest_vault_is_kept_and_read_in_the_order_asked_for;
            blobs: an_unknown_blob_is_none;
            blobs: names_are_compared_whole;
            blobs: vaults_do_not_see_each_other;
            blobs: a_blob_may_be_put_again;
            blobs: a_deletion_spares_the_rest_and_may_be_repeated;
            blobs: a_vault_goes_whole_and_no_other_with_it;
            blobs: any_number_of_vaults_goes;
            blobs: a_hundred_puts_into_one_vault_are_all_kept;
            blobs: beside_puts_and_deletions_a_blob_is_read_whole_or_not_at_all;
            blobs: vault_stores_do_not_see_each_other;
            deadlines: a_purge_removes_the_blobs_that_are_due_and_spares_others;
            deadlines: a_purge_of_blobs_honours_its_limit;
            deadlines: the_latest_deadline_counts;
            deadlines: blobs_that_expire_in_real_time_go_and_others_stay;
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __vault_conformance_case_list {
    (() $($module:ident: $name:ident;)*) => {
        /// All cases, in the order in which they are run.
        pub const CASES: &[VaultCase] = &[$(VaultCase {
            name: stringify!($name),
            run: |stores| Box::pin(async move { $module::$name(&stores).await }),
        },)*];
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __vault_conformance_test_list {
    (($stores:expr) $($module:ident: $name:ident;)*) => {
        $(
            #[test]
            fn $name() {
                if let Err(failure) = $crate::conformance::vault::check_case(stringify!($name), $stores) {
                    panic!("{failure}");
                }
            }
        )*
    };
}

/// Makes one `#[test]` of each case of the [suite](crate::conformance::vault), for the stores that the closure makes.
///
/// ```
/// secure_sessions_store::vault_conformance_tests!(|| async { secure_sessions_store::MemoryStore::new() });
/// ```
///
/// It takes anything that converts into [`VaultStores`](crate::conformance::vault::VaultStores).
#[macro_export]
macro_rules! vault_conformance_tests {
    ($stores:expr) => {
        $crate::__with_vault_conformance_cases! { __vault_conformance_test_list!($stores) }
    };
}

crate::__with_vault_conformance_cases! { __vault_conformance_case_list!() }
