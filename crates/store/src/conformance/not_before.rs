//! The time before which tokens are refused.

use super::Stores;
use super::sample::{Outcome, bucket, now, race};
use crate::{SessionStore, StoreError, Timestamp, Which};

/// A store may leave it out; one that takes a time must keep the latest.
pub(super) async fn not_before_is_raised_and_never_moves_back(stores: &Stores) -> Outcome {
    let (store, other) = (stores.make().await, stores.make().await);
    ensure!(store.not_before().await?.is_none(), "a new store has a `not_before`");
    let (early, late) = (Timestamp::from_millis(999), now());
    match store.raise_not_before(early).await {
        Err(StoreError::Unsupported(_)) => {
            ensure!(store.not_before().await?.is_none(), "a time is kept that was refused");
            return Ok(());
        }
        outcome => outcome?,
    }
    ensure!(store.not_before().await? == Some(early), "the time that was given is not the one that is kept");
    // All at once, in any order, and one twice.
    let millis = late.as_millis();
    let times = [0, 7, 3, 9, 9, 1].map(|less| Timestamp::from_millis(millis - less));
    race(times.map(|time| {
        let store = store.clone();
        async move { Ok(store.raise_not_before(time).await?) }
    }))
    .await?;
    ensure!(store.not_before().await? == Some(late), "the latest of several times is not the one that is kept");
    store.raise_not_before(early).await?;
    ensure!(store.not_before().await? == Some(late), "an earlier time moved it back");
    ensure!(other.not_before().await?.is_none(), "two stores share it");
    // It is no session.
    ensure!(store.count().await? == 0, "it is counted as a session");
    store.insert(&bucket(1)).await?;
    ensure!(store.remove_all(Which::Everything, None).await? == 1, "it is removed as a session");
    store.purge_expired(now(), 1000).await?;
    ensure!(store.not_before().await? == Some(late), "a removal of all sessions, or a purge, took it away");
    Ok(())
}
