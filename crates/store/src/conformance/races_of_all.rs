//! Calls over many buckets, against writers who change them meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use secure_sessions_core::{Bucket, Entry, GroupTag, SubjectTag};

use super::Stores;
use super::sample::{
    HOUR, Outcome, before, bucket, bucket_of, due, expect, expect_count, expect_group, expect_list, expect_nothing,
    group, id, load, next, now, race, renewed, subject, tombstone,
};
use crate::{AnyStore, SessionStore, Tags, Which};

const ROUNDS: u64 = 10;
const THIEVES: u64 = 4;
/// The renewals that each thief makes before the others are ended.
const HEAD_START: u64 = 3;
/// The sessions that a race against the thieves ends.
const OF_THE_SUBJECT: Which<'static> = Which::Tagged(Tags::Subjects(&[SubjectTag::from_bytes([1; 16])]));
const OF_THE_GROUP: Which<'static> = Which::Tagged(Tags::Groups(&[GroupTag::from_bytes([1; 16])]));

pub(super) async fn nothing_of_a_subject_survives_remove_all_against_renewals(stores: &Stores) -> Outcome {
    let store = stores.make().await;
    let bystander = bucket_of(u64::MAX, subject(2));
    store.insert(&bystander).await?;
    for round in 0..ROUNDS {
        against_thieves(&store, round, OF_THE_SUBJECT).await?;
        expect_list(&store, &[subject(1)], vec![]).await?;
        expect_count(&store, 1).await?;
    }
    expect(&store, &bystander).await
}

pub(super) async fn nothing_of_a_group_survives_remove_all_against_renewals(stores: &Stores) -> Outcome {
    let store = stores.make().await;
    let bystander = Bucket { group: Some(group(2)), ..bucket_of(u64::MAX, subject(1)) };
    store.insert(&bystander).await?;
    for round in 0..ROUNDS {
        against_thieves(&store, round, OF_THE_GROUP).await?;
        expect_group(&store, &[group(1)], vec![]).await?;
        expect_list(&store, &[subject(1)], vec![bystander.id]).await?;
        expect_count(&store, 1).await?;
    }
    expect(&store, &bystander).await
}

pub(super) async fn nothing_survives_remove_all_of_everything_against_renewals(stores: &Stores) -> Outcome {
    let store = stores.make().await;
    for round in 0..ROUNDS {
        store.insert(&bucket(u64::MAX)).await?;
        against_thieves(&store, round, Which::Everything).await?;
        expect_list(&store, &[subject(1)], vec![]).await?;
        expect_count(&store, 0).await?;
    }
    Ok(())
}

/// Ends all sessions against thieves who renew theirs without a pause, until they no longer can.
async fn against_thieves(store: &AnyStore, round: u64, which: Which<'static>) -> Outcome {
    let ended = Arc::new(AtomicBool::new(false));
    let renewals: Arc<[AtomicU64]> = (0..THIEVES).map(|_| AtomicU64::new(0)).collect();
    for thief in 0..THIEVES {
        let first = Bucket { group: Some(group(1)), ..bucket_of(number(round, thief, 0), subject(1)) };
        store.insert(&first).await?;
    }
    let contenders =
        (0..=THIEVES).zip(std::iter::repeat_with(|| (store.clone(), Arc::clone(&ended), Arc::clone(&renewals))));
    race(contenders.map(|(thief, (store, ended, renewals))| async move {
        let Some(renewed_so_far) = usize::try_from(thief).ok().and_then(|thief| renewals.get(thief)) else {
            while renewals.iter().any(|renewals| renewals.load(Ordering::SeqCst) < HEAD_START) {
                // Not in a hurry: the thieves, and perhaps a server, need the cores.
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            store.remove_all(which, None).await?;
            ended.store(true, Ordering::SeqCst);
            return Ok(());
        };
        let mut current = load(&store, &id(number(round, thief, 0))).await?;
        for step in 1.. {
            let was_ended = ended.load(Ordering::SeqCst);
            let successor = renewed(&current, number(round, thief, step));
            if !store.renew_into(&successor, &current.id, current.revision, tombstone(current.id)).await? {
                break;
            }
            ensure!(!was_ended, "a session was renewed after remove_all had returned");
            renewed_so_far.store(step, Ordering::SeqCst);
            current = successor;
            // A store that never waits would else keep the other tasks from their threads.
            tokio::task::yield_now().await;
        }
        ensure!(
            !matches!(store.load(&current.id).await?, Some(Entry::Bucket(_))),
            "a session that could not be renewed is still there"
        );
        Ok(())
    }))
    .await?;
    Ok(())
}

fn number(round: u64, thief: u64, step: u64) -> u64 {
    (((round << 8) | thief) << 40) | step
}

/// A touch that was acknowledged is never undone by a purge that had looked before.
pub(super) async fn a_purge_never_takes_what_was_just_seen(stores: &Stores) -> Outcome {
    if stores.expire_by_themselves() {
        return Ok(());
    }
    let store = stores.make().await;
    for round in 0..5 {
        purge_beside_visits(&store, 100 * round).await?;
    }
    Ok(())
}

/// Leaves the store empty.
async fn purge_beside_visits(store: &AnyStore, first: u64) -> Outcome {
    const SESSIONS: u64 = 20;
    let at = now().after(HOUR);
    let mut idle = Vec::new();
    for number in first..first + SESSIONS {
        let due = Bucket { subject: Some(subject(1)), ..due(number, before(at, HOUR)) };
        store.insert(&due).await?;
        idle.push(due);
    }
    let seen: Vec<Bucket> =
        idle.iter().map(|due| Bucket { expires_at: bucket(0).expires_at.after(HOUR), ..next(due, 2) }).collect();
    let contenders = [0_u64, 1, 2, 3].map(|contender| {
        let (store, idle, seen) = (store.clone(), idle.clone(), seen.clone());
        async move {
            let (mut purged, mut touched) = (0, Vec::new());
            if contender < 2 {
                loop {
                    let removed = store.purge_expired(at, 7).await?;
                    purged += removed;
                    if removed < 7 {
                        return Ok((purged, touched));
                    }
                }
            }
            for (due, seen) in idle.iter().zip(&seen).skip(usize::from(contender == 3)).step_by(2) {
                if store.replace(seen, due.revision).await? {
                    touched.push(seen.id);
                }
                tokio::task::yield_now().await;
            }
            Ok((purged, touched))
        }
    });
    let outcomes = race(contenders).await?;
    let purged: u64 = outcomes.iter().map(|(purged, _)| purged).sum();
    let touched: Vec<_> = outcomes.into_iter().flat_map(|(_, touched)| touched).collect();
    for seen in &seen {
        if touched.contains(&seen.id) {
            expect(store, seen).await?;
        } else {
            expect_nothing(store, &seen.id).await?;
        }
    }
    let alive = touched.len() as u64;
    ensure!(purged + alive == SESSIONS, "of {SESSIONS} sessions, {alive} were seen in time and {purged} purged");
    expect_count(store, alive).await?;
    expect_list(store, &[subject(1)], touched.clone()).await?;
    for id in &touched {
        store.remove(id, None).await?;
    }
    expect_count(store, 0).await
}
