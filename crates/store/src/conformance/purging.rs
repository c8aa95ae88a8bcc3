//! The removal of what is past its deadline.

use std::time::Duration;

use secure_sessions_core::{Bucket, DEFAULT_TOUCH_STEP, Millis, PURGE_DELAY, Timestamp, Tombstone};

use super::Stores;
use super::failure::Broken;
use super::sample::{
    HOUR, LATEST, Outcome, SECOND, SOON, before, bucket, bucket_of, due, expect, expect_count, expect_list,
    expect_nothing, expect_tombstone, id, next, now, subject, tombstone,
};
use crate::SessionStore;

pub(super) async fn a_purge_removes_what_is_due_and_spares_the_living(stores: &Stores) -> Outcome {
    if stores.expire_by_themselves() {
        return Ok(());
    }
    let store = stores.make().await;
    let at = now().after(HOUR);
    let idle = |number, purge_at| Bucket {
        last_seen_at: before(before(before(purge_at, PURGE_DELAY), DEFAULT_TOUCH_STEP), SECOND),
        idle_timeout: Some(SECOND),
        ..bucket(number)
    };
    let just_after = at.after(Millis::new(1));
    let living = [due(1, just_after), idle(2, just_after), bucket(3)];
    for kept in [&due(11, at), &idle(12, at), &due(13, before(at, HOUR)), &bucket(4), &bucket(14)] {
        store.insert(kept).await?;
    }
    for kept in &living {
        store.insert(kept).await?;
    }
    let standing = Tombstone { expires_at: just_after, ..tombstone(id(4)) };
    store.remove(&id(4), Some(standing)).await?;
    store.remove(&id(14), Some(Tombstone { expires_at: at, ..tombstone(id(14)) })).await?;
    let removed = store.purge_expired(at, 100).await?;
    ensure!(removed == 4, "{removed} entries are said to be purged, not 4");
    for number in 11..=14 {
        expect_nothing(&store, &id(number)).await?;
    }
    for kept in &living {
        expect(&store, kept).await?;
    }
    expect_tombstone(&store, &standing).await?;
    ensure!(store.purge_expired(at, 100).await? == 0, "a second purge found more");
    Ok(())
}

pub(super) async fn a_purge_honours_its_limit(stores: &Stores) -> Outcome {
    if stores.expire_by_themselves() {
        return Ok(());
    }
    let store = stores.make().await;
    let at = now().after(HOUR);
    for number in 0..10 {
        store.insert(&due(number, at)).await?;
        store.insert(&bucket(number + 100)).await?;
    }
    ensure!(store.purge_expired(at, 0).await? == 0, "a purge of no entries removed some");
    expect_count(&store, 20).await?;
    let mut left = 10_u64;
    for expected in [3, 3, 3, 1, 0] {
        let removed = store.purge_expired(at, 3).await?;
        ensure!(removed == expected, "a purge of up to 3 of the {left} due said {removed}, not {expected}");
        left -= removed;
        expect_count(&store, 10 + left).await?;
    }
    Ok(())
}

pub(super) async fn a_purge_goes_by_the_newest_deadline(stores: &Stores) -> Outcome {
    if stores.expire_by_themselves() {
        return Ok(());
    }
    let store = stores.make().await;
    let at = now().after(HOUR);
    let later = at.after(HOUR);
    let (prolonged, shortened) = (due(1, at), due(2, later));
    store.insert(&prolonged).await?;
    store.insert(&shortened).await?;
    let prolonged = Bucket { expires_at: due(1, later).expires_at, ..next(&prolonged, 2) };
    ensure!(store.replace(&prolonged, due(1, at).revision).await?, "a swap on the right revision was refused");
    let shortened = Bucket { expires_at: due(2, at).expires_at, ..next(&shortened, 2) };
    ensure!(store.replace(&shortened, due(2, at).revision).await?, "a swap on the right revision was refused");
    ensure!(store.purge_expired(at, 10).await? == 1, "not exactly the shortened session was purged");
    expect(&store, &prolonged).await?;
    expect_nothing(&store, &id(2)).await
}

pub(super) async fn what_was_purged_is_gone_everywhere(stores: &Stores) -> Outcome {
    if stores.expire_by_themselves() {
        return Ok(());
    }
    let store = stores.make().await;
    let at = now().after(HOUR);
    let purged = Bucket { subject: Some(subject(1)), ..due(1, at) };
    store.insert(&purged).await?;
    store.insert(&bucket_of(2, subject(1))).await?;
    ensure!(store.purge_expired(at, 10).await? == 1, "not exactly the due session was purged");
    expect_list(&store, &[subject(1)], vec![id(2)]).await?;
    expect_count(&store, 1).await?;
    ensure!(!store.replace(&next(&purged, 2), purged.revision).await?, "a swap of a purged bucket returned true");
    ensure!(!store.remove(&purged.id, Some(tombstone(purged.id))).await?, "a removal of a purged bucket returned true");
    // Its id is free again.
    store.insert(&purged).await?;
    expect_list(&store, &[subject(1)], vec![id(1), id(2)]).await
}

/// Tests all stores; only those that expire entries by themselves need to wait.
pub(super) async fn what_expires_in_real_time_goes_and_the_living_stay(stores: &Stores) -> Outcome {
    for length in SOON {
        if expires_in_real_time(stores, now().after(length)).await? {
            return Ok(());
        }
    }
    Err(Broken::new("the store takes too long to tell if a session goes too early"))
}

/// Returns `false` if the deadline had come before all was done that must come before it.
async fn expires_in_real_time(stores: &Stores, soon: Timestamp) -> Outcome<bool> {
    let store = stores.make().await;
    let (goes, is_seen, lives) = (due(1, soon), due(2, soon), bucket_of(3, subject(1)));
    for kept in [&goes, &is_seen, &lives, &bucket(4)] {
        store.insert(kept).await?;
    }
    store.remove(&id(4), Some(Tombstone { expires_at: soon, ..tombstone(id(4)) })).await?;
    let seen = Bucket { expires_at: bucket(2).expires_at, ..next(&is_seen, 2) };
    if !store.replace(&seen, is_seen.revision).await? {
        // A store that knows no time but the one that it is told has no excuse.
        let is_late = stores.expire_by_themselves() && now() >= soon;
        ensure!(is_late, "a session was gone before its deadline");
        return Ok(false);
    }
    if stores.expire_by_themselves() {
        let last = soon.after(LATEST);
        while now() < last && (store.load(&goes.id).await?.is_some() || store.load(&id(4)).await?.is_some()) {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        store.purge_expired(now(), 100).await?;
    } else {
        // Such a store knows no time but the one that it is told.
        store.purge_expired(soon.after(Millis::new(1000)), 100).await?;
    }
    expect_nothing(&store, &goes.id).await?;
    expect_nothing(&store, &id(4)).await?;
    expect(&store, &seen).await?;
    expect(&store, &lives).await?;
    expect_list(&store, &[subject(1)], vec![lives.id]).await?;
    expect_count(&store, 2).await?;
    Ok(true)
}
