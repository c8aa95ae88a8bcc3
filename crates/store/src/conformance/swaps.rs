//! Compare-and-swap, of one bucket and from one to the next.

use secure_sessions_core::{Bucket, Revision};

use super::Stores;
use super::sample::{
    Outcome, bucket, bucket_of, expect, expect_count, expect_list, expect_nothing, expect_tombstone, full, id, next,
    renewed, subject, tombstone,
};
use crate::{SessionStore, StoreError};

pub(super) async fn a_swap_on_the_right_revision_replaces_every_field(stores: &Stores) -> Outcome {
    let store = stores.make().await;
    let bare = Bucket { idle_timeout: None, revision: Revision::new(40), ..bucket(1) };
    store.insert(&bare).await?;
    // From nothing to everything, and back.
    let full = full(1);
    ensure!(store.replace(&full, bare.revision).await?, "a swap on the right revision was refused");
    expect(&store, &full).await?;
    let bare = Bucket { revision: Revision::new(42), ..bare };
    ensure!(store.replace(&bare, full.revision).await?, "a swap on the right revision was refused");
    expect(&store, &bare).await?;
    expect_count(&store, 1).await
}

pub(super) async fn a_swap_on_a_wrong_revision_writes_nothing(stores: &Stores) -> Outcome {
    let store = stores.make().await;
    let kept = Bucket { revision: Revision::new(5), ..bucket_of(1, subject(1)) };
    store.insert(&kept).await?;
    for wrong in [0, 1, 4, 6, 5 + (1 << 32), u64::MAX] {
        let other = Bucket { revision: Revision::new(7), ..full(1) };
        ensure!(!store.replace(&other, Revision::new(wrong)).await?, "a swap on revision {wrong} replaced revision 5");
        expect(&store, &kept).await?;
    }
    expect_list(&store, &[subject(1)], vec![kept.id]).await?;
    expect_list(&store, &[subject(9)], vec![]).await
}

pub(super) async fn a_swap_never_creates_a_bucket(stores: &Stores) -> Outcome {
    let store = stores.make().await;
    for expected in [0, 1, 40, 41] {
        ensure!(!store.replace(&full(1), Revision::new(expected)).await?, "a swap of a missing bucket returned true");
        expect_nothing(&store, &id(1)).await?;
    }
    expect_list(&store, &[subject(9)], vec![]).await?;
    expect_count(&store, 0).await?;
    let removed = bucket(2);
    store.insert(&removed).await?;
    store.remove(&removed.id, None).await?;
    ensure!(!store.replace(&next(&removed, 2), removed.revision).await?, "a swap of a removed bucket returned true");
    expect_nothing(&store, &removed.id).await
}

pub(super) async fn a_swap_never_revives_a_tombstone(stores: &Stores) -> Outcome {
    let store = stores.make().await;
    let ended = bucket_of(1, subject(1));
    let tombstone = tombstone(ended.id);
    store.insert(&ended).await?;
    store.remove(&ended.id, Some(tombstone)).await?;
    for expected in [ended.revision, Revision::new(0), Revision::new(2)] {
        ensure!(!store.replace(&next(&ended, 2), expected).await?, "a swap of a tombstone returned true");
        expect_tombstone(&store, &tombstone).await?;
    }
    expect_list(&store, &[subject(1)], vec![]).await
}

pub(super) async fn a_swap_moves_the_bucket_to_its_new_subject(stores: &Stores) -> Outcome {
    let store = stores.make().await;
    let mut kept = bucket(1);
    store.insert(&kept).await?;
    for to in [Some(subject(1)), Some(subject(2)), None, Some(subject(1))] {
        let moved = Bucket { subject: to, ..next(&kept, 2) };
        ensure!(store.replace(&moved, kept.revision).await?, "a swap on the right revision was refused");
        for tag in [subject(1), subject(2)] {
            expect_list(&store, &[tag], if to == Some(tag) { vec![kept.id] } else { vec![] }).await?;
        }
        kept = moved;
    }
    Ok(())
}

pub(super) async fn a_renewal_ends_the_old_and_keeps_the_new(stores: &Stores) -> Outcome {
    let store = stores.make().await;
    let old = bucket_of(1, subject(1));
    let successor = Bucket { id: id(2), ..full(2) };
    let tombstone = tombstone(old.id);
    store.insert(&old).await?;
    ensure!(
        store.renew_into(&successor, &old.id, old.revision, tombstone).await?,
        "a renewal on the right revision was refused"
    );
    expect_tombstone(&store, &tombstone).await?;
    expect(&store, &successor).await?;
    expect_list(&store, &[subject(1)], vec![]).await?;
    expect_list(&store, &[subject(9)], vec![successor.id]).await?;
    expect_count(&store, 1).await
}

pub(super) async fn a_renewal_on_a_wrong_revision_leaves_nothing_behind(stores: &Stores) -> Outcome {
    let store = stores.make().await;
    let old = Bucket { revision: Revision::new(5), ..bucket_of(1, subject(1)) };
    let successor = renewed(&old, 2);
    store.insert(&old).await?;
    for wrong in [0, 4, 6, u64::MAX] {
        let won = store.renew_into(&successor, &old.id, Revision::new(wrong), tombstone(old.id)).await?;
        ensure!(!won, "a renewal on revision {wrong} ended revision 5");
        expect(&store, &old).await?;
        expect_nothing(&store, &successor.id).await?;
    }
    expect_list(&store, &[subject(1)], vec![old.id]).await?;
    expect_count(&store, 1).await
}

pub(super) async fn a_renewal_of_what_has_ended_leaves_nothing_behind(stores: &Stores) -> Outcome {
    let store = stores.make().await;
    let never = bucket_of(1, subject(1));
    let won = store.renew_into(&renewed(&never, 2), &never.id, never.revision, tombstone(never.id)).await?;
    ensure!(!won, "a renewal of a bucket that never was returned true");
    expect_nothing(&store, &never.id).await?;
    let ended = bucket_of(3, subject(1));
    let standing = tombstone(ended.id);
    store.insert(&ended).await?;
    store.remove(&ended.id, Some(standing)).await?;
    let other = crate::Tombstone { ended_at: standing.ended_at.after(super::sample::SECOND), ..standing };
    let won = store.renew_into(&renewed(&ended, 2), &ended.id, ended.revision, other).await?;
    ensure!(!won, "a renewal of a bucket that had ended returned true");
    expect_tombstone(&store, &standing).await?;
    expect_nothing(&store, &id(2)).await?;
    expect_list(&store, &[subject(1)], vec![]).await?;
    expect_count(&store, 0).await
}

pub(super) async fn a_renewal_onto_a_taken_id_is_refused(stores: &Stores) -> Outcome {
    let store = stores.make().await;
    let old = bucket_of(1, subject(1));
    let taken = bucket_of(2, subject(2));
    let buried = tombstone(id(3));
    for kept in [&old, &taken, &bucket(3)] {
        store.insert(kept).await?;
    }
    store.remove(&buried.id, Some(buried)).await?;
    for number in [1, 2, 3] {
        let outcome = store.renew_into(&renewed(&old, number), &old.id, old.revision, tombstone(old.id)).await;
        ensure!(matches!(outcome, Err(StoreError::Duplicate)), "a renewal onto a taken id did not return `Duplicate`");
        expect(&store, &old).await?;
    }
    expect(&store, &taken).await?;
    expect_tombstone(&store, &buried).await?;
    expect_list(&store, &[subject(1)], vec![old.id]).await
}
