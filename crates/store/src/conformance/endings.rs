//! The end of one session.

use super::Stores;
use super::sample::{
    Outcome, SECOND, bucket, bucket_of, expect, expect_count, expect_list, expect_nothing, expect_tombstone, id, next,
    renewed, subject, tombstone,
};
use crate::{SessionId, SessionStore, Tombstone};

pub(super) async fn a_removal_may_be_repeated(stores: &Stores) -> Outcome {
    let store = stores.make().await;
    let (removed, other) = (bucket_of(1, subject(1)), bucket_of(2, subject(1)));
    store.insert(&removed).await?;
    store.insert(&other).await?;
    ensure!(store.remove(&removed.id, None).await?, "the removal of a bucket returned false");
    expect_nothing(&store, &removed.id).await?;
    for _ in 0..2 {
        ensure!(!store.remove(&removed.id, None).await?, "a repeated removal returned true");
    }
    expect(&store, &other).await?;
    expect_list(&store, &[subject(1)], vec![other.id]).await
}

pub(super) async fn a_removal_leaves_its_tombstone(stores: &Stores) -> Outcome {
    let store = stores.make().await;
    let removed = bucket_of(1, subject(1));
    let tombstone = tombstone(removed.id);
    store.insert(&removed).await?;
    // The removal succeeds at any revision.
    store.replace(&next(&removed, 2), removed.revision).await?;
    ensure!(store.remove(&removed.id, Some(tombstone)).await?, "the removal of a bucket returned false");
    expect_tombstone(&store, &tombstone).await?;
    expect_list(&store, &[subject(1)], vec![]).await
}

/// A tombstone keeps the successor that it names, or none, and may stand for as long as a session.
pub(super) async fn every_field_of_a_tombstone_is_kept(stores: &Stores) -> Outcome {
    let store = stores.make().await;
    let successors = [None, Some(SessionId::from_bytes([0; 16])), Some(SessionId::from_bytes([0xff; 16])), Some(id(4))];
    for (number, successor) in (0..).zip(successors) {
        for (number, renewal) in [(10 * number, false), (10 * number + 1, true)] {
            let ended = bucket_of(number, subject(1));
            let stone = Tombstone {
                ended_at: ended.created_at,
                expires_at: ended.expires_at,
                successor,
                ..tombstone(ended.id)
            };
            store.insert(&ended).await?;
            let won = if renewal {
                store.renew_into(&renewed(&ended, number + 100), &ended.id, ended.revision, stone).await?
            } else {
                store.remove(&ended.id, Some(stone)).await?
            };
            ensure!(won, "an ending on the right revision was refused");
            expect_tombstone(&store, &stone).await?;
        }
    }
    Ok(())
}

pub(super) async fn a_tombstone_stays_until_it_is_purged(stores: &Stores) -> Outcome {
    let store = stores.make().await;
    let standing = tombstone(id(1));
    store.insert(&bucket(1)).await?;
    store.remove(&id(1), Some(standing)).await?;
    let later = Tombstone { expires_at: standing.expires_at.after(SECOND), ..standing };
    for again in [None, Some(later)] {
        ensure!(!store.remove(&id(1), again).await?, "a removal of a tombstone returned true");
        expect_tombstone(&store, &standing).await?;
    }
    if !stores.expire_by_themselves() {
        let just_before = super::sample::before(standing.expires_at, crate::Millis::new(1));
        ensure!(store.purge_expired(just_before, 10).await? == 0, "a tombstone was purged before its time");
        expect_tombstone(&store, &standing).await?;
        ensure!(store.purge_expired(standing.expires_at, 10).await? == 1, "a tombstone was not purged in its time");
        expect_nothing(&store, &id(1)).await?;
    }
    Ok(())
}

pub(super) async fn a_removal_of_nothing_creates_nothing(stores: &Stores) -> Outcome {
    let store = stores.make().await;
    for tombstone in [None, Some(tombstone(id(1)))] {
        ensure!(!store.remove(&id(1), tombstone).await?, "a removal of nothing returned true");
        expect_nothing(&store, &id(1)).await?;
    }
    expect_count(&store, 0).await
}

pub(super) async fn what_was_ended_stays_ended(stores: &Stores) -> Outcome {
    let store = stores.make().await;
    for (number, leaves_tombstone) in [(1, false), (2, true)] {
        let ended = bucket_of(number, subject(1));
        store.insert(&ended).await?;
        store.remove(&ended.id, leaves_tombstone.then(|| tombstone(ended.id))).await?;
        ensure!(!store.replace(&next(&ended, 2), ended.revision).await?, "a swap of an ended bucket returned true");
        let successor = renewed(&ended, number + 10);
        let won = store.renew_into(&successor, &ended.id, ended.revision, tombstone(ended.id)).await?;
        ensure!(!won, "a renewal of an ended bucket returned true");
        expect_nothing(&store, &successor.id).await?;
    }
    expect_list(&store, &[subject(1)], vec![]).await?;
    expect_count(&store, 0).await
}
