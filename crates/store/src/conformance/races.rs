//! Many writers of one bucket: one wins, and the others learn that they did not.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use secure_sessions_core::{Bucket, Entry};

use super::Stores;
use super::sample::{
    Outcome, bucket, bucket_of, expect, expect_count, expect_list, expect_nothing, expect_tombstone, id, load, next,
    one_winner, race, renewed, subject, tombstone,
};
use crate::{SessionStore, StoreError};

const CONTENDERS: u32 = 100;
const ROUNDS: u64 = 10;

pub(super) async fn of_a_hundred_swaps_one_wins(stores: &Stores) -> Outcome {
    let store = stores.make().await;
    let mut kept = bucket(1);
    store.insert(&kept).await?;
    for _ in 0..ROUNDS {
        let candidates: Vec<Bucket> = (0..CONTENDERS).map(|mark| next(&kept, mark)).collect();
        let wins = race(candidates.clone().into_iter().map(|candidate| {
            let (store, expected) = (store.clone(), kept.revision);
            async move { Ok(store.replace(&candidate, expected).await?) }
        }))
        .await?;
        kept = candidates[one_winner(&wins)?].clone();
        expect(&store, &kept).await?;
    }
    Ok(())
}

pub(super) async fn of_a_hundred_inserts_one_wins(stores: &Stores) -> Outcome {
    let store = stores.make().await;
    for round in 0..ROUNDS {
        let candidates: Vec<Bucket> =
            (0..CONTENDERS).map(|mark| Bucket { generation: mark, ..bucket_of(round, subject(1)) }).collect();
        let wins = race(candidates.clone().into_iter().map(|candidate| {
            let store = store.clone();
            async move {
                match store.insert(&candidate).await {
                    Ok(()) => Ok(true),
                    Err(StoreError::Duplicate) => Ok(false),
                    Err(error) => Err(error.into()),
                }
            }
        }))
        .await?;
        expect(&store, &candidates[one_winner(&wins)?]).await?;
        expect_count(&store, round + 1).await?;
        expect_list(&store, &[subject(1)], (0..=round).map(id).collect()).await?;
    }
    Ok(())
}

pub(super) async fn of_a_hundred_renewals_one_wins(stores: &Stores) -> Outcome {
    let store = stores.make().await;
    for round in 0..ROUNDS {
        let old = bucket_of(1000 * (round + 1), subject(1));
        let buried = tombstone(old.id);
        store.insert(&old).await?;
        let candidates: Vec<Bucket> =
            (1..=u64::from(CONTENDERS)).map(|number| renewed(&old, 1000 * (round + 1) + number)).collect();
        let wins = race(candidates.clone().into_iter().map(|candidate| {
            let (store, old) = (store.clone(), old.clone());
            async move { Ok(store.renew_into(&candidate, &old.id, old.revision, buried).await?) }
        }))
        .await?;
        let winner = one_winner(&wins)?;
        for (at, candidate) in candidates.iter().enumerate() {
            if at == winner {
                expect(&store, candidate).await?;
            } else {
                expect_nothing(&store, &candidate.id).await?;
            }
        }
        expect_tombstone(&store, &buried).await?;
        expect_list(&store, &[subject(1)], vec![candidates[winner].id]).await?;
        expect_count(&store, 1).await?;
        store.remove(&candidates[winner].id, None).await?;
    }
    Ok(())
}

pub(super) async fn of_a_hundred_removals_one_wins(stores: &Stores) -> Outcome {
    let store = stores.make().await;
    for round in 0..ROUNDS {
        let ended = bucket_of(round, subject(1));
        store.insert(&ended).await?;
        let stone = (round % 2 == 0).then(|| tombstone(ended.id));
        let wins = race((0..CONTENDERS).map(|_| {
            let store = store.clone();
            async move { Ok(store.remove(&ended.id, stone).await?) }
        }))
        .await?;
        one_winner(&wins)?;
        match stone {
            Some(stone) => expect_tombstone(&store, &stone).await?,
            None => expect_nothing(&store, &ended.id).await?,
        }
        expect_count(&store, 0).await?;
    }
    Ok(())
}

pub(super) async fn a_swap_never_undoes_a_removal(stores: &Stores) -> Outcome {
    let store = stores.make().await;
    for round in 0..ROUNDS {
        let ended = bucket_of(round, subject(1));
        store.insert(&ended).await?;
        let removed = Arc::new(AtomicBool::new(false));
        let wins = race((0..20).map(|contender| {
            let (store, ended, removed) = (store.clone(), ended.clone(), Arc::clone(&removed));
            async move {
                if contender == 10 {
                    let won = store.remove(&ended.id, None).await?;
                    removed.store(true, Ordering::SeqCst);
                    return Ok(won);
                }
                // Writers who never give up: each reads, changes and tries again.
                loop {
                    let was_removed = removed.load(Ordering::SeqCst);
                    let Some(Entry::Bucket(seen)) = store.load(&ended.id).await? else { return Ok(false) };
                    ensure!(!was_removed, "a bucket was loaded after its removal");
                    tokio::task::yield_now().await;
                    store.replace(&next(&seen, contender), seen.revision).await?;
                }
            }
        }))
        .await?;
        ensure!(one_winner(&wins)? == 10, "the removal of a bucket that was being changed returned false");
        expect_nothing(&store, &ended.id).await?;
        expect_list(&store, &[subject(1)], vec![]).await?;
    }
    Ok(())
}

pub(super) async fn a_renewal_and_a_removal_do_not_both_win(stores: &Stores) -> Outcome {
    let store = stores.make().await;
    for round in 0..ROUNDS * 5 {
        let old = bucket_of(2 * round, subject(1));
        let successor = renewed(&old, 2 * round + 1);
        let buried = tombstone(old.id);
        store.insert(&old).await?;
        let wins = race([true, false].map(|renews| {
            let (store, old, successor) = (store.clone(), old.clone(), successor.clone());
            async move {
                Ok(if renews {
                    store.renew_into(&successor, &old.id, old.revision, buried).await?
                } else {
                    store.remove(&old.id, Some(buried)).await?
                })
            }
        }))
        .await?;
        let renewed = one_winner(&wins)? == 0;
        expect_tombstone(&store, &buried).await?;
        if renewed {
            expect(&store, &successor).await?;
            store.remove(&successor.id, None).await?;
        }
        expect_nothing(&store, &successor.id).await?;
        expect_list(&store, &[subject(1)], vec![]).await?;
    }
    expect_count(&store, 0).await
}

pub(super) async fn a_renewal_and_a_swap_do_not_both_win(stores: &Stores) -> Outcome {
    let store = stores.make().await;
    for round in 0..ROUNDS * 5 {
        let old = bucket_of(2 * round, subject(1));
        let (successor, changed) = (renewed(&old, 2 * round + 1), next(&old, 2));
        let buried = tombstone(old.id);
        store.insert(&old).await?;
        let wins = race([true, false].map(|renews| {
            let (store, old) = (store.clone(), old.clone());
            let (successor, changed) = (successor.clone(), changed.clone());
            async move {
                Ok(if renews {
                    store.renew_into(&successor, &old.id, old.revision, buried).await?
                } else {
                    store.replace(&changed, old.revision).await?
                })
            }
        }))
        .await?;
        let lives = if one_winner(&wins)? == 0 {
            expect_tombstone(&store, &buried).await?;
            &successor
        } else {
            expect_nothing(&store, &successor.id).await?;
            &changed
        };
        expect(&store, lives).await?;
        expect_list(&store, &[subject(1)], vec![lives.id]).await?;
        store.remove(&lives.id, None).await?;
    }
    expect_count(&store, 0).await
}

pub(super) async fn inserts_and_removals_add_up(stores: &Stores) -> Outcome {
    let store = stores.make().await;
    for round in 0..3 {
        let contested = bucket_of(round, subject(1));
        let outcomes = race((0..16).map(|contender| {
            let (store, contested) = (store.clone(), contested.clone());
            async move {
                let (mut inserted, mut removed) = (0_u64, 0_u64);
                for _ in 0..10 {
                    if contender % 2 == 0 {
                        match store.insert(&contested).await {
                            Ok(()) => inserted += 1,
                            Err(StoreError::Duplicate) => {}
                            Err(error) => return Err(error.into()),
                        }
                    } else {
                        removed += u64::from(store.remove(&contested.id, None).await?);
                    }
                    tokio::task::yield_now().await;
                }
                Ok((inserted, removed))
            }
        }))
        .await?;
        let inserted: u64 = outcomes.iter().map(|(inserted, _)| inserted).sum();
        let removed: u64 = outcomes.iter().map(|(_, removed)| removed).sum();
        ensure!(
            inserted == removed || inserted == removed + 1,
            "{inserted} inserts and {removed} removals of one id succeeded"
        );
        if inserted == removed {
            expect_nothing(&store, &contested.id).await?;
        } else {
            expect(&store, &contested).await?;
            ensure!(store.remove(&contested.id, None).await?, "a bucket that nobody else removes was not there");
        }
        expect_list(&store, &[subject(1)], vec![]).await?;
    }
    expect_count(&store, 0).await
}

pub(super) async fn a_load_sees_every_acknowledged_write(stores: &Stores) -> Outcome {
    const WRITES: u64 = 50;
    let store = stores.make().await;
    let first = bucket(1);
    store.insert(&first).await?;
    let acknowledged = Arc::new(AtomicU64::new(first.revision.get()));
    race((0..8).map(|contender| {
        let (store, first, acknowledged) = (store.clone(), first.clone(), Arc::clone(&acknowledged));
        async move {
            if contender == 0 {
                let mut kept = first;
                for _ in 0..WRITES {
                    let changed = next(&kept, 2);
                    ensure!(store.replace(&changed, kept.revision).await?, "the only writer was refused");
                    acknowledged.store(changed.revision.get(), Ordering::SeqCst);
                    kept = changed;
                }
                return Ok(());
            }
            let mut newest = 0;
            while newest < first.revision.get() + WRITES {
                newest = newest.max(acknowledged.load(Ordering::SeqCst));
                let seen = load(&store, &first.id).await?.revision.get();
                ensure!(seen >= newest, "revision {seen} was loaded after {newest} had been acknowledged or seen");
                newest = seen;
                tokio::task::yield_now().await;
            }
            Ok(())
        }
    }))
    .await?;
    Ok(())
}

pub(super) async fn the_index_agrees_with_the_buckets_after_a_stampede(stores: &Stores) -> Outcome {
    const IDS: u64 = 16;
    let store = stores.make().await;
    let tags = [subject(1), subject(2)];
    // The first half is removed and inserted again, all are moved between two subjects, each by several at once.
    for number in 0..IDS {
        store.insert(&bucket_of(number, tags[0])).await?;
    }
    race((0..24_u8).map(|contender| {
        let store = store.clone();
        async move {
            for step in 0..8_u8 {
                let number = u64::from(contender + 5 * step) % IDS;
                match (contender / 8 + step) % 4 {
                    0 if number < IDS / 2 => drop(store.remove(&id(number), None).await?),
                    1 if number < IDS / 2 => {
                        match store.insert(&bucket_of(number, tags[usize::from(step % 2)])).await {
                            Ok(()) | Err(StoreError::Duplicate) => {}
                            Err(error) => return Err(error.into()),
                        }
                    }
                    _ => {
                        if let Some(Entry::Bucket(seen)) = store.load(&id(number)).await? {
                            let to = tags[usize::from(contender % 2)];
                            let moved = Bucket { subject: Some(to), ..next(&seen, 2) };
                            store.replace(&moved, seen.revision).await?;
                        }
                    }
                }
            }
            Ok(())
        }
    }))
    .await?;
    let mut by_tag = [Vec::new(), Vec::new()];
    for number in 0..IDS {
        if let Some(Entry::Bucket(bucket)) = store.load(&id(number)).await? {
            by_tag[usize::from(bucket.subject == Some(tags[1]))].push(bucket.id);
        }
    }
    expect_count(&store, by_tag.iter().map(|ids| ids.len() as u64).sum()).await?;
    for (tag, ids) in tags.iter().zip(by_tag) {
        expect_list(&store, &[*tag], ids).await?;
    }
    Ok(())
}
