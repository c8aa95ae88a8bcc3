//! A blob stays until its latest deadline, and no longer than the next purge after it.

use std::time::Duration;

use secure_sessions_core::{Millis, Timestamp};

use super::VaultStores;
use super::blobs::{blob, expect, expect_none, id, vault};
use crate::VaultStore;
use crate::conformance::failure::Broken;
use crate::conformance::sample::{HOUR, LATEST, Outcome, SECOND, SOON, before, now};

pub(super) async fn a_purge_removes_the_blobs_that_are_due_and_spares_others(stores: &VaultStores) -> Outcome {
    if stores.expire_by_themselves() {
        return Ok(());
    }
    let store = stores.make().await;
    let at = now().after(HOUR);
    let just_after = at.after(Millis::new(1));
    for (number, deadline) in [(1, at), (2, before(at, HOUR)), (3, just_after), (4, at.after(HOUR))] {
        store.put(&vault(number), &[blob(1, 300)], deadline).await?;
    }
    let removed = store.purge(at, 100).await?;
    ensure!(removed == 2, "{removed} entries are said to be purged, not 2");
    for number in 1..=2 {
        expect_none(&store, &vault(number), &[id(1)]).await?;
    }
    for number in 3..=4 {
        expect(&store, &vault(number), &[blob(1, 300)]).await?;
    }
    ensure!(store.purge(at, 100).await? == 0, "a second purge found more");
    Ok(())
}

pub(super) async fn a_purge_of_blobs_honours_its_limit(stores: &VaultStores) -> Outcome {
    if stores.expire_by_themselves() {
        return Ok(());
    }
    let store = stores.make().await;
    let at = now().after(HOUR);
    for number in 0..10 {
        store.put(&vault(number), &[blob(1, 300)], at).await?;
        store.put(&vault(100 + number), &[blob(1, 300)], at.after(HOUR)).await?;
    }
    ensure!(store.purge(at, 0).await? == 0, "a purge of nothing removed something");
    for expected in [3, 3, 3, 1, 0] {
        let removed = store.purge(at, 3).await?;
        ensure!(removed == expected, "a purge of up to 3 said {removed}, not {expected}");
    }
    for number in 0..10 {
        expect_none(&store, &vault(number), &[id(1)]).await?;
        expect(&store, &vault(100 + number), &[blob(1, 300)]).await?;
    }
    Ok(())
}

pub(super) async fn the_latest_deadline_counts(stores: &VaultStores) -> Outcome {
    if stores.expire_by_themselves() {
        return Ok(());
    }
    let store = stores.make().await;
    let (at, later) = (now().after(HOUR), now().after(HOUR).after(HOUR));
    let two = [blob(1, 300), blob(2, 300)];
    for number in 1..=5 {
        store.put(&vault(number), &two, at).await?;
    }
    store.prolong(&vault(1), later).await?;
    // All of a vault is prolonged, an earlier deadline changes nothing, and no vault comes to be.
    store.prolong(&vault(1), at).await?;
    store.prolong(&vault(7), later).await?;
    store.put(&vault(2), &two, later).await?;
    store.put(&vault(3), &two, later).await?;
    store.put(&vault(3), &two, at).await?;
    store.purge(at, 100).await?;
    for number in 1..=3 {
        expect(&store, &vault(number), &two).await?;
    }
    for number in [4, 5, 7] {
        expect_none(&store, &vault(number), &[id(1), id(2)]).await?;
    }
    store.purge(later, 100).await?;
    for number in 1..=3 {
        expect_none(&store, &vault(number), &[id(1), id(2)]).await?;
    }
    Ok(())
}

/// Tests all stores; only those that expire entries by themselves need to wait.
pub(super) async fn blobs_that_expire_in_real_time_go_and_others_stay(stores: &VaultStores) -> Outcome {
    for length in SOON {
        if expire_in_real_time(stores, now().after(length)).await? {
            return Ok(());
        }
    }
    Err(Broken::new("the store takes too long to tell if a blob goes too early"))
}

/// Returns `false` if the deadline had come before all was done that must come before it.
async fn expire_in_real_time(stores: &VaultStores, soon: Timestamp) -> Outcome<bool> {
    let store = stores.make().await;
    for number in 1..=3 {
        store.put(&vault(number), &[blob(1, 300)], soon).await?;
    }
    store.prolong(&vault(2), soon.after(HOUR)).await?;
    if stores.expire_by_themselves() && now() >= soon {
        return Ok(false);
    }
    store.put(&vault(3), &[blob(1, 300)], soon.after(HOUR)).await?;
    store.put(&vault(4), &[blob(1, 300)], soon.after(HOUR)).await?;
    store.put(&vault(4), &[blob(2, 300)], soon.after(SECOND).after(HOUR)).await?;
    if stores.expire_by_themselves() {
        let last = soon.after(LATEST);
        while now() < last && store.get(&vault(1), &[id(1)]).await? != [None] {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        store.purge(now(), 100).await?;
    } else {
        // Such a store knows no time but the one that it is told.
        store.purge(soon.after(Millis::new(1000)), 100).await?;
    }
    expect_none(&store, &vault(1), &[id(1)]).await?;
    for number in 2..=4 {
        expect(&store, &vault(number), &[blob(1, 300)]).await?;
    }
    expect(&store, &vault(4), &[blob(2, 300)]).await?;
    Ok(true)
}
