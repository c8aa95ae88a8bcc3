//! Checks for stores that survive their process.

use std::future::Future;

use super::failure::{Broken, CaseFailure};
use super::sample::{
    Outcome, bucket_of, expect, expect_list, expect_nothing, expect_tombstone, full, id, next, renewed, subject,
    tombstone,
};
use crate::{AnyStore, SessionStore, StoreError, Timestamp};

const NOT_BEFORE: Timestamp = Timestamp::from_millis(1_700_000_000_001);

/// Checks that all acknowledged writes are still there after the store was opened again, and that two open stores see each
/// other's writes. Migrations run several times, too.
///
/// `open` opens the *same* store at every call; at the first, it is empty. Run it on a tokio runtime.
///
/// ```
/// # use secure_sessions_store::{MemoryStore, conformance};
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let store = MemoryStore::new();
/// conformance::survives_reopening(|| async { store.clone() }).await.unwrap();
/// # }
/// ```
///
/// # Errors
///
/// [`CaseFailure`] if something is missing, or the store fails.
pub async fn survives_reopening<S: SessionStore, M: Future<Output = S>>(
    open: impl Fn() -> M,
) -> Result<(), CaseFailure> {
    let open = || async { AnyStore::new(open().await) };
    let outcome = async {
        let first = open().await;
        write(&first).await?;
        let second = open().await;
        check(&second).await?;
        // Both are open: what one writes, the other sees.
        let kept = bucket_of(10, subject(2));
        second.insert(&kept).await?;
        expect(&first, &kept).await?;
        let changed = next(&kept, 2);
        ensure!(first.replace(&changed, kept.revision).await?, "a swap on the right revision was refused");
        ensure!(!second.replace(&changed, kept.revision).await?, "two stores on one backend swapped the same revision");
        expect(&second, &changed).await?;
        drop((first, second));
        let third = open().await;
        check(&third).await?;
        expect(&third, &changed).await
    }
    .await;
    outcome.map_err(|broken: Broken| CaseFailure::new("survives_reopening", broken))
}

async fn write(store: &AnyStore) -> Outcome {
    for kept in [bucket_of(1, subject(1)), bucket_of(2, subject(1)), bucket_of(3, subject(1))] {
        store.insert(&kept).await?;
    }
    let changed = crate::Bucket { revision: crate::Revision::new(2), ..full(4) };
    store.insert(&bucket_of(4, subject(1))).await?;
    store.replace(&changed, crate::Revision::FIRST).await?;
    store.remove(&id(2), None).await?;
    store.remove(&id(3), Some(tombstone(id(3)))).await?;
    let old = bucket_of(1, subject(1));
    store.renew_into(&renewed(&old, 5), &old.id, old.revision, tombstone(old.id)).await?;
    match store.raise_not_before(NOT_BEFORE).await {
        Ok(()) | Err(StoreError::Unsupported(_)) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

async fn check(store: &AnyStore) -> Outcome {
    let keeps_it = match store.not_before().await? {
        Some(kept) => kept == NOT_BEFORE,
        None => matches!(store.raise_not_before(NOT_BEFORE).await, Err(StoreError::Unsupported(_))),
    };
    ensure!(keeps_it, "the time before which tokens are refused is not there any more");
    expect_nothing(store, &id(2)).await?;
    for ended in [1, 3] {
        let entry = store.load(&id(ended)).await?;
        let Some(crate::Entry::Tombstone(found)) = entry else {
            return Err(Broken::new("a tombstone is not there any more"));
        };
        ensure!(found.successor == tombstone(id(ended)).successor, "a tombstone has lost its successor");
        expect_tombstone(store, &found).await?;
    }
    expect_list(store, &[subject(1)], vec![id(5)]).await?;
    let loaded = super::sample::load(store, &id(4)).await?;
    let full = full(4);
    ensure!(
        loaded.label == full.label
            && loaded.handoff == full.handoff
            && loaded.retired.len() == full.retired.len()
            && loaded.evicted.is_some(),
        "a session has lost fields"
    );
    expect_list(store, &[subject(9)], vec![id(4)]).await
}
