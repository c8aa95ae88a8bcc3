//! The vault's suite is worth something: each of these stores breaks one rule, and fails the case that is about it.
#![cfg(all(feature = "memory", feature = "conformance"))]
#![allow(clippy::expect_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use secure_sessions_store::conformance::vault::{CASES, VaultCase, VaultStores, check, check_case};
use secure_sessions_store::{Blob, BlobId, MemoryStore, StoreError, Timestamp, VaultId, VaultStore};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    CutsBlobsAt65535,
    CutsTrailingZeros,
    GetReturnsTheStoresOrder,
    GetLeavesGapsOut,
    GetInvents,
    FoldsCase,
    FindsBlobsInAnyVault,
    RefusesARepeatedPut,
    RefusesARepeatedDeletion,
    DeletesTheWholeVault,
    DeleteAllDeletesTheFirst,
    DeleteAllStopsAt1000,
    DeletesEveryVault,
    LosesABlobInARace,
    ReturnsHalfABlob,
    PurgeIsEarly,
    PurgeIgnoresTheLimit,
    PurgeDoesNothing,
    ProlongDoesNothing,
    ThePutDecidesTheDeadline,
    Panics,
}

/// A good store with a fault before it.
struct Faulty {
    good: MemoryStore,
    fault: Fault,
    put: Mutex<BTreeSet<(VaultId, BlobId)>>,
    order: Mutex<BTreeMap<BlobId, usize>>,
}

impl Faulty {
    fn new(fault: Fault) -> Self {
        Self { good: MemoryStore::new(), fault, put: Mutex::default(), order: Mutex::default() }
    }

    fn is(&self, fault: Fault) -> bool {
        self.fault == fault
    }

    fn vault(&self, vault: &VaultId) -> VaultId {
        match self.fault {
            Fault::FindsBlobsInAnyVault => VaultId::from_bytes([0; 16]),
            Fault::FoldsCase => VaultId::from_bytes(vault.as_bytes().map(|byte| byte.to_ascii_lowercase())),
            _ => *vault,
        }
    }
}

impl VaultStore for Faulty {
    async fn put(&self, vault: &VaultId, blobs: &[Blob], purge_at: Timestamp) -> Result<(), StoreError> {
        assert!(!self.is(Fault::Panics), "a store that panics");
        let vault = self.vault(vault);
        let mut kept = blobs.to_vec();
        for blob in &mut kept {
            let is_new = self.put.lock().expect("no panic").insert((vault, blob.id));
            if self.is(Fault::RefusesARepeatedPut) && !is_new {
                return Err(StoreError::Duplicate);
            }
            let mut order = self.order.lock().expect("no panic");
            let next = order.len();
            order.entry(blob.id).or_insert(next);
            match self.fault {
                Fault::CutsBlobsAt65535 => blob.bytes.truncate(65_535),
                Fault::CutsTrailingZeros => {
                    while blob.bytes.last() == Some(&0) {
                        blob.bytes.pop();
                    }
                }
                _ => {}
            }
        }
        if self.is(Fault::ThePutDecidesTheDeadline) {
            let ids: Vec<_> = self.put.lock().expect("no panic").iter().map(|(_, id)| *id).collect();
            let all = self.good.get(&vault, &ids).await?;
            self.good.delete_all(&[vault]).await?;
            let before = ids.into_iter().zip(all).filter_map(|(id, bytes)| Some(Blob { id, bytes: bytes? }));
            kept = before.chain(kept).collect();
        }
        if self.is(Fault::LosesABlobInARace) {
            // Reads the vault, and writes it back with one blob more.
            let ids: Vec<_> = self.put.lock().expect("no panic").iter().map(|(_, id)| *id).collect();
            let seen = self.good.get(&vault, &ids).await?;
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
            self.good.delete_all(&[vault]).await?;
            let seen = ids.into_iter().zip(seen).filter_map(|(id, bytes)| Some(Blob { id, bytes: bytes? }));
            kept = seen.chain(kept).collect();
        }
        self.good.put(&vault, &kept, purge_at).await
    }

    async fn get(&self, vault: &VaultId, ids: &[BlobId]) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        let mut ids = ids.to_vec();
        if self.is(Fault::GetReturnsTheStoresOrder) {
            let order = self.order.lock().expect("no panic");
            ids.sort_by_key(|id| order.get(id).copied());
        }
        let mut found = self.good.get(&self.vault(vault), &ids).await?;
        match self.fault {
            Fault::GetLeavesGapsOut => found.retain(Option::is_some),
            Fault::GetInvents => found.iter_mut().for_each(|blob| *blob = Some(blob.take().unwrap_or_default())),
            Fault::ReturnsHalfABlob => {
                if let Some(Some(bytes)) = found.first_mut() {
                    bytes.truncate(20_000);
                }
            }
            _ => {}
        }
        Ok(found)
    }

    async fn delete(&self, vault: &VaultId, ids: &[BlobId]) -> Result<(), StoreError> {
        let vault = self.vault(vault);
        if self.is(Fault::RefusesARepeatedDeletion) {
            let found = self.good.get(&vault, ids).await?;
            if found.iter().any(Option::is_none) {
                return Err(StoreError::rejected("there is no such blob"));
            }
        }
        if self.is(Fault::DeletesTheWholeVault) {
            return self.good.delete_all(&[vault]).await;
        }
        self.good.delete(&vault, ids).await
    }

    async fn delete_all(&self, vaults: &[VaultId]) -> Result<(), StoreError> {
        let vaults: Vec<_> = match self.fault {
            Fault::DeleteAllDeletesTheFirst => vaults.iter().take(1).copied().collect(),
            Fault::DeleteAllStopsAt1000 => vaults.iter().take(1000).copied().collect(),
            Fault::DeletesEveryVault => self.put.lock().expect("no panic").iter().map(|(vault, _)| *vault).collect(),
            _ => vaults.to_vec(),
        };
        self.good.delete_all(&vaults).await
    }

    async fn prolong(&self, vault: &VaultId, purge_at: Timestamp) -> Result<(), StoreError> {
        if self.is(Fault::ProlongDoesNothing) {
            return Ok(());
        }
        self.good.prolong(&self.vault(vault), purge_at).await
    }

    async fn purge(&self, now: Timestamp, limit: u32) -> Result<u64, StoreError> {
        match self.fault {
            Fault::PurgeDoesNothing => Ok(0),
            Fault::PurgeIsEarly => self.good.purge(Timestamp::from_millis(now.as_millis() + 1), limit).await,
            Fault::PurgeIgnoresTheLimit => self.good.purge(now, u32::MAX).await,
            _ => self.good.purge(now, limit).await,
        }
    }
}

#[test]
fn the_wrapper_itself_is_no_fault() {
    let outcome = check(|| async { Faulty::new(Fault::None) });
    assert!(outcome.is_ok(), "{outcome:?}");
}

#[test]
fn a_store_that_expires_blobs_by_itself_is_not_told_made_up_times() {
    let stores = || VaultStores::new(|| async { Faulty::new(Fault::PurgeDoesNothing) });
    for case in CASES {
        let outcome = check_case(case.name(), stores().expiring_by_itself());
        // This one does not expire blobs at all, which only waiting shows.
        assert_eq!(outcome.is_ok(), case.name() != "blobs_that_expire_in_real_time_go_and_others_stay", "{outcome:?}");
    }
}

/// One test for each fault: the case that is about it fails.
macro_rules! bites {
    ($($test:ident: $fault:ident => $case:ident;)*) => {
        $(
            #[test]
            fn $test() {
                let outcome = check_case(stringify!($case), || async { Faulty::new(Fault::$fault) });
                let failure = outcome.expect_err("the fault was not noticed");
                assert_eq!(failure.case(), stringify!($case));
            }
        )*

        #[test]
        fn every_vault_case_has_a_fault_that_it_notices() {
            let noticed: BTreeSet<_> = [$(stringify!($case)),*].into();
            let unproven: Vec<_> = CASES.iter().map(VaultCase::name).filter(|case| !noticed.contains(case)).collect();
            // The wrapper has nothing that two of them share.
            assert_eq!(unproven, ["vault_stores_do_not_see_each_other"], "a case without a proof that it bites");
        }
    };
}

bites! {
    cut_blobs_are_noticed: CutsBlobsAt65535 => a_blob_is_returned_as_it_was_put;
    cut_zeros_are_noticed: CutsTrailingZeros => a_blob_is_returned_as_it_was_put;
    another_order_is_noticed: GetReturnsTheStoresOrder => the_largest_vault_is_kept_and_read_in_the_order_asked_for;
    left_out_gaps_are_noticed: GetLeavesGapsOut => an_unknown_blob_is_none;
    invented_blobs_are_noticed: GetInvents => an_unknown_blob_is_none;
    folded_names_are_noticed: FoldsCase => names_are_compared_whole;
    one_vault_for_all_is_noticed: FindsBlobsInAnyVault => vaults_do_not_see_each_other;
    a_refused_repetition_of_a_put_is_noticed: RefusesARepeatedPut => a_blob_may_be_put_again;
    a_refused_repetition_of_a_deletion_is_noticed: RefusesARepeatedDeletion => a_deletion_spares_the_rest_and_may_be_repeated;
    a_deletion_of_too_much_is_noticed: DeletesTheWholeVault => a_deletion_spares_the_rest_and_may_be_repeated;
    a_deletion_of_one_vault_of_several_is_noticed: DeleteAllDeletesTheFirst => a_vault_goes_whole_and_no_other_with_it;
    a_deletion_of_every_vault_is_noticed: DeletesEveryVault => a_vault_goes_whole_and_no_other_with_it;
    a_limit_of_deleted_vaults_is_noticed: DeleteAllStopsAt1000 => any_number_of_vaults_goes;
    a_blob_lost_in_a_race_is_noticed: LosesABlobInARace => a_hundred_puts_into_one_vault_are_all_kept;
    half_a_blob_is_noticed: ReturnsHalfABlob => beside_puts_and_deletions_a_blob_is_read_whole_or_not_at_all;
    an_early_purge_of_blobs_is_noticed: PurgeIsEarly => a_purge_removes_the_blobs_that_are_due_and_spares_others;
    a_purge_of_blobs_without_a_limit_is_noticed: PurgeIgnoresTheLimit => a_purge_of_blobs_honours_its_limit;
    no_purge_of_blobs_is_noticed_in_real_time: PurgeDoesNothing => blobs_that_expire_in_real_time_go_and_others_stay;
    a_deadline_that_is_not_prolonged_is_noticed: ProlongDoesNothing => the_latest_deadline_counts;
    a_deadline_that_a_put_shortens_is_noticed: ThePutDecidesTheDeadline => the_latest_deadline_counts;
    a_panic_is_a_failure_of_the_vaults_case: Panics => a_blob_is_returned_as_it_was_put;
}
