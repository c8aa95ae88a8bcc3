//! Sessions by subject, and the end of many at once.

use secure_sessions_core::Bucket;

use super::Stores;
use super::sample::{
    Outcome, bucket, bucket_of, expect, expect_count, expect_list, expect_nothing, expect_tombstone, full, id, list,
    next, renewed, same, subject, tombstone,
};
use crate::{Page, SessionStore, Tags, Which};

/// A number of sessions that is more than a store may handle at once.
const MANY: u64 = 600;

pub(super) async fn a_list_has_every_bucket_of_the_subjects_and_no_other(stores: &Stores) -> Outcome {
    let store = stores.make().await;
    for kept in [bucket_of(1, subject(1)), bucket_of(2, subject(2)), bucket_of(3, subject(1)), bucket(4), full(5)] {
        store.insert(&kept).await?;
    }
    store.insert(&bucket_of(6, subject(1))).await?;
    store.remove(&id(6), Some(tombstone(id(6)))).await?;
    let (one, two) = (subject(1), subject(2));
    expect_list(&store, &[one], vec![id(1), id(3)]).await?;
    expect_list(&store, &[two], vec![id(2)]).await?;
    expect_list(&store, &[one, two], vec![id(1), id(2), id(3)]).await?;
    expect_list(&store, &[one, one, subject(77), one], vec![id(1), id(3)]).await?;
    expect_list(&store, &[subject(77)], vec![]).await?;
    expect_list(&store, &[], vec![]).await?;
    let listed = list(&store, Tags::Subjects(&[subject(9)]), Page::first(10)).await?;
    ensure!(listed.len() == 1, "a list of one bucket has {}", listed.len());
    let loaded = super::sample::load(&store, &id(5)).await?;
    same(&listed[0], &loaded)
}

pub(super) async fn pages_cover_the_list_in_order_without_a_gap(stores: &Stores) -> Outcome {
    let store = stores.make().await;
    let subjects = [subject(1), subject(2)];
    let mut ids = Vec::new();
    for number in 0..12 {
        let kept = bucket_of(number, subjects[usize::from(number % 3 == 0)]);
        store.insert(&kept).await?;
        store.insert(&bucket_of(number + 100, subject(3))).await?;
        ids.push(kept.id);
    }
    ids.sort_unstable();
    for limit in [1, 4, 5, 12, 13, u32::MAX] {
        let (mut listed, mut turn) = (Vec::new(), Some(Page::first(limit)));
        while let Some(page) = turn {
            let buckets = store.list(Tags::Subjects(&subjects), page).await?;
            ensure!(buckets.len() as u64 <= u64::from(limit), "a page of {limit} has {} buckets", buckets.len());
            listed.extend(buckets.iter().flatten().map(|bucket| bucket.id));
            ensure!(listed.len() <= ids.len(), "pages of {limit} list a bucket twice");
            turn = page.next(&buckets);
        }
        ensure!(listed == ids, "pages of {limit} do not list all buckets by ascending id");
    }
    let nothing = store.list(Tags::Subjects(&subjects), Page::first(0)).await?;
    ensure!(nothing.is_empty(), "a page of no buckets has {}", nothing.len());
    let behind = store.list(Tags::Subjects(&subjects), Page { after: ids.last().copied(), limit: 5 }).await?;
    ensure!(behind.is_empty(), "a page behind the last id has {} buckets", behind.len());
    Ok(())
}

pub(super) async fn lifespans_are_listed_as_their_buckets_are(stores: &Stores) -> Outcome {
    let store = stores.make().await;
    let subjects = [subject(1), subject(2), subject(1)];
    for number in 0..12 {
        let times = bucket_of(number, subjects[usize::from(number % 3 == 0)]);
        store.insert(&Bucket { id: id(number), subject: times.subject, ..full(number) }).await?;
        store.insert(&bucket_of(number + 100, subject(3))).await?;
    }
    store.insert(&bucket_of(200, subject(1))).await?;
    store.remove(&id(200), Some(tombstone(id(200)))).await?;
    for limit in [1, 5, 12, 13] {
        let mut turn = Some(Page::first(limit));
        while let Some(page) = turn {
            let buckets = store.list(Tags::Subjects(&subjects), page).await?;
            let lifespans = store.list_lifespans(Tags::Subjects(&subjects), page).await?;
            let of_buckets: Vec<_> = buckets.iter().flatten().map(Bucket::lifespan).collect();
            let listed: Vec<_> = lifespans.iter().flatten().copied().collect();
            ensure!(listed == of_buckets, "a page of {limit} lifespans is not that of their buckets");
            ensure!(page.next(&lifespans).is_some() == page.next(&buckets).is_some(), "the last pages differ");
            turn = page.next(&buckets);
        }
    }
    let nothing = store.list_lifespans(Tags::Subjects(&[]), Page::first(5)).await?;
    ensure!(nothing.is_empty(), "no subjects have {} lifespans", nothing.len());
    let nothing = store.list_lifespans(Tags::Subjects(&subjects), Page::first(0)).await?;
    ensure!(nothing.is_empty(), "a page of no lifespans has {}", nothing.len());
    Ok(())
}

pub(super) async fn a_list_follows_renewals_and_removals(stores: &Stores) -> Outcome {
    let store = stores.make().await;
    let (one, two) = (bucket_of(1, subject(1)), bucket_of(2, subject(1)));
    store.insert(&one).await?;
    store.insert(&two).await?;
    let changed = next(&one, 2);
    store.replace(&changed, one.revision).await?;
    expect_list(&store, &[subject(1)], vec![id(1), id(2)]).await?;
    store.renew_into(&renewed(&changed, 3), &id(1), changed.revision, tombstone(id(1))).await?;
    expect_list(&store, &[subject(1)], vec![id(2), id(3)]).await?;
    store.remove(&id(2), None).await?;
    expect_list(&store, &[subject(1)], vec![id(3)]).await?;
    store.remove(&id(3), Some(tombstone(id(3)))).await?;
    expect_list(&store, &[subject(1)], vec![]).await
}

pub(super) async fn remove_all_ends_the_subjects_sessions_save_one(stores: &Stores) -> Outcome {
    let store = stores.make().await;
    for number in 1..=4 {
        store.insert(&bucket_of(number, subject(1))).await?;
    }
    let (second_tag, other, nobodys) = (bucket_of(5, subject(2)), bucket_of(6, subject(3)), bucket(7));
    let standing = tombstone(id(8));
    for kept in [&second_tag, &other, &nobodys, &bucket_of(8, subject(1))] {
        store.insert(kept).await?;
    }
    store.remove(&id(8), Some(standing)).await?;

    ensure!(store.remove_all(Which::Tagged(Tags::Subjects(&[])), None).await? == 0, "no subjects were taken for some");
    ensure!(
        store.remove_all(Which::Tagged(Tags::Subjects(&[subject(77)])), None).await? == 0,
        "an unknown subject had sessions"
    );
    let subjects = [subject(1), subject(2), subject(1)];
    let removed = store.remove_all(Which::Tagged(Tags::Subjects(&subjects)), Some(&id(2))).await?;
    ensure!(removed == 4, "{removed} sessions are said to be ended, not 4");
    for number in [1, 3, 4, 5] {
        expect_nothing(&store, &id(number)).await?;
    }
    expect_list(&store, &subjects, vec![id(2)]).await?;
    expect(&store, &other).await?;
    expect(&store, &nobodys).await?;
    expect_tombstone(&store, &standing).await?;
    // An exception of somebody else, or of nobody, spares none of theirs.
    let removed = store.remove_all(Which::Tagged(Tags::Subjects(&[subject(1)])), Some(&other.id)).await?;
    ensure!(removed == 1, "{removed} sessions are said to be ended, not 1");
    expect_nothing(&store, &id(2)).await?;
    let removed = store.remove_all(Which::Tagged(Tags::Subjects(&[subject(3)])), Some(&id(99))).await?;
    ensure!(removed == 1, "{removed} sessions are said to be ended, not 1");
    expect_count(&store, 1).await
}

pub(super) async fn remove_all_ends_everybodys_sessions_save_one(stores: &Stores) -> Outcome {
    let store = stores.make().await;
    let standing = tombstone(id(4));
    let spared = bucket_of(2, subject(1));
    for kept in [&bucket(1), &spared, &bucket_of(3, subject(2)), &bucket(4)] {
        store.insert(kept).await?;
    }
    store.remove(&id(4), Some(standing)).await?;
    let removed = store.remove_all(Which::Everything, Some(&spared.id)).await?;
    ensure!(removed == 2, "{removed} sessions are said to be ended, not 2");
    expect(&store, &spared).await?;
    expect_list(&store, &[subject(1), subject(2)], vec![spared.id]).await?;
    expect_tombstone(&store, &standing).await?;
    let removed = store.remove_all(Which::Everything, None).await?;
    ensure!(removed == 1, "{removed} sessions are said to be ended, not 1");
    expect_nothing(&store, &spared.id).await?;
    expect_tombstone(&store, &standing).await?;
    expect_count(&store, 0).await?;
    // The store goes on.
    store.insert(&spared).await?;
    expect_list(&store, &[subject(1)], vec![spared.id]).await
}

pub(super) async fn remove_all_ends_any_number_of_sessions(stores: &Stores) -> Outcome {
    let store = stores.make().await;
    for number in 0..MANY {
        store.insert(&Bucket { subject: Some(subject(1)), ..bucket(number) }).await?;
    }
    store.insert(&bucket_of(MANY, subject(2))).await?;
    let removed = store.remove_all(Which::Tagged(Tags::Subjects(&[subject(1)])), Some(&id(5))).await?;
    ensure!(removed == MANY - 1, "{removed} sessions are said to be ended, not {}", MANY - 1);
    expect_count(&store, 2).await?;
    expect_list(&store, &[subject(1)], vec![id(5)]).await
}
