//! Every field is loaded as it was kept.

use secure_sessions_core::{Bucket, Entry, Fingerprint, SessionId, SubjectTag};

use super::Stores;
use super::failure::Broken;
use super::sample::{
    Outcome, before, bucket, bucket_of, expect, expect_count, expect_list, expect_nothing, expect_tombstone, full, id,
    largest, list, next, now, renewed, same, subject, tombstone,
};
use crate::{AnyStore, SessionStore, StoreError, Tags, Which};

pub(super) async fn every_field_is_kept(stores: &Stores) -> Outcome {
    let store = stores.make().await;
    let inserted = full(1);
    store.insert(&inserted).await?;
    expect(&store, &inserted).await?;
    let successor = Bucket { id: id(2), ..full(2) };
    ensure!(
        store.renew_into(&successor, &inserted.id, inserted.revision, tombstone(inserted.id)).await?,
        "the bucket was there with this revision, and yet it was not renewed"
    );
    expect(&store, &successor).await
}

pub(super) async fn absent_fields_stay_absent(stores: &Stores) -> Outcome {
    let store = stores.make().await;
    let bare = Bucket { idle_timeout: None, ..bucket(1) };
    store.insert(&bare).await?;
    expect(&store, &bare).await?;
    // Present but empty is not absent.
    let empty = Bucket { id: id(2), label: Some(Vec::new()), handoff: Some(Vec::new()), ..bare.clone() };
    store.insert(&empty).await?;
    expect(&store, &empty).await?;
    // The eviction watermark without a retired token beside it, and the other way around.
    let Bucket { retired, evicted, .. } = full(3);
    let alone = Bucket { id: id(3), evicted, ..bare.clone() };
    store.insert(&alone).await?;
    expect(&store, &alone).await?;
    let without = Bucket { id: id(4), retired, ..bare };
    store.insert(&without).await?;
    expect(&store, &without).await
}

pub(super) async fn the_largest_entry_is_kept(stores: &Stores) -> Outcome {
    let store = stores.make().await;
    let largest = largest(1);
    store.insert(&largest).await?;
    expect(&store, &largest).await?;
    let listed = list(&store, Tags::Subjects(&[subject(0xff)]), crate::Page::first(10)).await?;
    ensure!(listed.len() == 1, "the largest bucket is not in its subject's list");
    super::sample::same(&listed[0], &largest)?;
    // Beyond an `i64`, one apart.
    let lower = Bucket { id: id(2), revision: crate::Revision::new(u64::MAX - 1), ..largest.clone() };
    store.insert(&lower).await?;
    ensure!(
        !store.replace(&Bucket { id: id(2), ..largest.clone() }, largest.revision).await?,
        "2^64 - 2 was taken for 2^64 - 1"
    );
    expect(&store, &lower).await
}

pub(super) async fn bytes_of_any_value_are_kept(stores: &Stores) -> Outcome {
    let store = stores.make().await;
    for byte in 0..=u8::MAX {
        // A backend might take these bytes for text, an escape, a pattern or an end.
        let mut tag = *b"subject'\"\\%_*[]\0";
        tag[0] = byte;
        let kept = Bucket {
            id: SessionId::from_bytes([byte; 16]),
            subject: Some(SubjectTag::from_bytes(tag)),
            label: Some(vec![byte, 0, byte]),
            current: Fingerprint::from_bytes([byte; 16]),
            handoff: Some(vec![byte; 3]),
            ..bucket(0)
        };
        store.insert(&kept).await?;
        expect(&store, &kept).await?;
        expect_list(&store, &[SubjectTag::from_bytes(tag)], vec![kept.id]).await?;
    }
    expect_count(&store, 256).await
}

pub(super) async fn ids_are_compared_whole(stores: &Stores) -> Outcome {
    let store = stores.make().await;
    let mut ids = vec![[0x61; 16]];
    for at in 0..16 {
        // Upper and lower case, which a backend must not fold.
        let mut other = ids[0];
        other[at] ^= 0x20;
        ids.push(other);
    }
    for (mark, id) in (1..).zip(&ids) {
        let kept = Bucket { id: SessionId::from_bytes(*id), generation: mark, ..bucket(0) };
        store.insert(&kept).await?;
    }
    for (mark, id) in (1..).zip(&ids) {
        let loaded = super::sample::load(&store, &SessionId::from_bytes(*id)).await?;
        ensure!(loaded.generation == mark, "an id that differs in one bit led to another bucket");
    }
    Ok(())
}

pub(super) async fn an_unknown_id_loads_nothing(stores: &Stores) -> Outcome {
    let store = stores.make().await;
    expect_nothing(&store, &id(1)).await?;
    expect_count(&store, 0).await?;
    store.insert(&bucket(2)).await?;
    expect_nothing(&store, &id(1)).await
}

pub(super) async fn a_look_without_a_wait_knows_of_every_own_write(stores: &Stores) -> Outcome {
    let store = stores.make().await;
    let first = bucket_of(1, subject(1));
    expect_looks_to_agree(&store, &first.id).await?;
    store.insert(&first).await?;
    expect_looks_to_agree(&store, &first.id).await?;
    let changed = next(&first, 2);
    store.replace(&changed, first.revision).await?;
    expect_looks_to_agree(&store, &first.id).await?;
    let successor = renewed(&changed, 2);
    store.renew_into(&successor, &first.id, changed.revision, tombstone(first.id)).await?;
    expect_looks_to_agree(&store, &first.id).await?;
    expect_looks_to_agree(&store, &successor.id).await?;
    store.remove(&successor.id, None).await?;
    expect_looks_to_agree(&store, &successor.id).await?;
    store.insert(&bucket_of(3, subject(1))).await?;
    expect_looks_to_agree(&store, &id(3)).await?;
    store.remove_all(Which::Tagged(Tags::Subjects(&[subject(1)])), None).await?;
    expect_looks_to_agree(&store, &id(3)).await
}

/// A cache answers as its store does, as long as nobody else writes.
async fn expect_looks_to_agree(store: &AnyStore, id: &SessionId) -> Outcome {
    // A `load` may be what a cache learns from.
    let before = store.peek(id);
    let said = store.load(id).await?;
    for seen in before.into_iter().chain(store.peek(id)) {
        match &said {
            Some(Entry::Bucket(kept)) => same(&seen, kept)?,
            _ => return Err(Broken::new("a look without a wait gave a bucket where `load` finds none")),
        }
    }
    Ok(())
}

pub(super) async fn a_taken_id_is_refused(stores: &Stores) -> Outcome {
    let store = stores.make().await;
    let first = bucket_of(1, subject(1));
    let second = Bucket { id: id(1), ..full(2) };
    store.insert(&first).await?;
    ensure!(
        matches!(store.insert(&second).await, Err(StoreError::Duplicate)),
        "an insert under a bucket's id did not return `Duplicate`"
    );
    expect(&store, &first).await?;
    expect_list(&store, &[subject(9)], vec![]).await?;
    let tombstone = tombstone(first.id);
    store.remove(&first.id, Some(tombstone)).await?;
    ensure!(
        matches!(store.insert(&second).await, Err(StoreError::Duplicate)),
        "an insert under a tombstone's id did not return `Duplicate`"
    );
    expect_tombstone(&store, &tombstone).await?;
    expect_count(&store, 0).await
}

pub(super) async fn buckets_are_counted_and_tombstones_are_not(stores: &Stores) -> Outcome {
    let store = stores.make().await;
    store.insert(&bucket(1)).await?;
    store.insert(&bucket_of(2, subject(1))).await?;
    // Expired, and not yet due for the purge.
    store.insert(&Bucket { expires_at: before(now(), super::sample::SECOND), ..bucket(3) }).await?;
    expect_count(&store, 3).await?;
    store.remove(&id(1), Some(tombstone(id(1)))).await?;
    expect_count(&store, 2).await?;
    let successor = renewed(&bucket_of(2, subject(1)), 4);
    store.renew_into(&successor, &id(2), bucket(2).revision, tombstone(id(2))).await?;
    expect_count(&store, 2).await?;
    store.remove(&id(3), None).await?;
    expect_count(&store, 1).await
}

pub(super) async fn stores_do_not_see_each_other(stores: &Stores) -> Outcome {
    let (one, other) = (stores.make().await, stores.make().await);
    let kept = bucket_of(1, subject(1));
    one.insert(&kept).await?;
    expect_nothing(&other, &kept.id).await?;
    expect_count(&other, 0).await?;
    expect_list(&other, &[subject(1)], vec![]).await?;
    // The same id is free there, and whatever happens there stays there.
    other.insert(&Bucket { generation: 2, ..kept.clone() }).await?;
    other.remove_all(crate::Which::Everything, None).await?;
    other.insert(&kept).await?;
    other.remove(&kept.id, Some(tombstone(kept.id))).await?;
    expect(&one, &kept).await?;
    expect_list(&one, &[subject(1)], vec![kept.id]).await
}
