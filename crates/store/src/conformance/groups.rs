//! Sessions by group: those whose login came from one session at an identity provider.

use secure_sessions_core::Bucket;

use super::Stores;
use super::sample::{
    Outcome, bucket, bucket_of, expect, expect_count, expect_group, expect_list, expect_nothing, expect_tombstone,
    full, group, id, list, load, next, renewed, same, subject, tombstone,
};
use crate::{GroupTag, Page, SessionStore, Tags, Which};

/// Makes a session of the first subject with a group.
fn bucket_in(number: u64, tag: GroupTag) -> Bucket {
    Bucket { group: Some(tag), ..bucket_of(number, subject(1)) }
}

pub(super) async fn a_group_is_listed_as_a_subject_is(stores: &Stores) -> Outcome {
    let store = stores.make().await;
    let alone = Bucket { group: Some(group(1)), ..bucket(4) };
    let elsewhere = Bucket { group: Some(group(2)), ..bucket_of(5, subject(3)) };
    for kept in [bucket_in(1, group(1)), bucket_in(2, group(2)), bucket_of(3, subject(1)), alone, elsewhere, full(6)] {
        store.insert(&kept).await?;
    }
    store.insert(&bucket_in(7, group(1))).await?;
    store.remove(&id(7), Some(tombstone(id(7)))).await?;
    // The tag of a group is none of a subject, even with the same bytes.
    expect_group(&store, &[group(1)], vec![id(1), id(4)]).await?;
    expect_list(&store, &[subject(1)], vec![id(1), id(2), id(3)]).await?;
    expect_list(&store, &[subject(2)], vec![]).await?;
    expect_group(&store, &[group(3)], vec![]).await?;
    expect_group(&store, &[group(2), group(1), group(2)], vec![id(1), id(2), id(4), id(5)]).await?;
    expect_group(&store, &[], vec![]).await?;
    let listed = list(&store, Tags::Groups(&[group(8)]), Page::first(10)).await?;
    ensure!(listed.len() == 1, "a list of one bucket has {}", listed.len());
    same(&listed[0], &load(&store, &id(6)).await?)?;

    let groups = [group(1), group(2)];
    let (mut listed, mut turn) = (Vec::new(), Some(Page::first(3)));
    while let Some(page) = turn {
        let buckets = store.list(Tags::Groups(&groups), page).await?;
        let lifespans = store.list_lifespans(Tags::Groups(&groups), page).await?;
        let of_buckets: Vec<_> = buckets.iter().flatten().map(Bucket::lifespan).collect();
        ensure!(
            lifespans.iter().flatten().copied().eq(of_buckets.iter().copied()),
            "a page of lifespans is not that of their buckets"
        );
        listed.extend(of_buckets.iter().map(|lifespan| lifespan.id));
        turn = page.next(&buckets);
    }
    let mut ids = vec![id(1), id(2), id(4), id(5)];
    ids.sort_unstable();
    ensure!(listed == ids, "pages of a group do not list all of its buckets by ascending id");
    Ok(())
}

pub(super) async fn a_swap_moves_the_bucket_to_its_new_group(stores: &Stores) -> Outcome {
    let store = stores.make().await;
    for (number, subject_of_all) in [(1, Some(subject(1))), (2, None)] {
        let mut kept = Bucket { subject: subject_of_all, ..bucket(number) };
        store.insert(&kept).await?;
        for to in [Some(group(1)), Some(group(2)), None, Some(group(1)), Some(group(1))] {
            let moved = Bucket { group: to, ..next(&kept, 2) };
            ensure!(store.replace(&moved, kept.revision).await?, "a swap on the right revision was refused");
            for tag in [group(1), group(2)] {
                expect_group(&store, &[tag], if to == Some(tag) { vec![kept.id] } else { vec![] }).await?;
            }
            expect(&store, &moved).await?;
            kept = moved;
        }
        // The subject changes, and the group stays.
        let moved = Bucket { subject: Some(subject(7)), ..next(&kept, 3) };
        ensure!(store.replace(&moved, kept.revision).await?, "a swap on the right revision was refused");
        expect_group(&store, &[group(1)], vec![kept.id]).await?;
        expect_list(&store, &[subject(7)], vec![kept.id]).await?;
        store.remove(&kept.id, None).await?;
        expect_group(&store, &[group(1)], vec![]).await?;
    }
    Ok(())
}

pub(super) async fn a_renewal_takes_the_group_along(stores: &Stores) -> Outcome {
    let store = stores.make().await;
    let old = bucket_in(1, group(1));
    store.insert(&old).await?;
    let successor = renewed(&old, 2);
    ensure!(store.renew_into(&successor, &old.id, old.revision, tombstone(old.id)).await?, "a renewal was refused");
    expect(&store, &successor).await?;
    expect_group(&store, &[group(1)], vec![successor.id]).await?;
    // A login from elsewhere.
    let other = Bucket { group: Some(group(2)), ..renewed(&successor, 3) };
    let won = store.renew_into(&other, &successor.id, successor.revision, tombstone(successor.id)).await?;
    ensure!(won, "a renewal was refused");
    expect_group(&store, &[group(1)], vec![]).await?;
    expect_group(&store, &[group(2)], vec![other.id]).await?;
    expect_list(&store, &[subject(1)], vec![other.id]).await
}

pub(super) async fn remove_all_ends_the_groups_sessions_save_one(stores: &Stores) -> Outcome {
    let store = stores.make().await;
    for number in 1..=4 {
        store.insert(&bucket_in(number, group(1))).await?;
    }
    let alone = Bucket { group: Some(group(2)), ..bucket(5) };
    let (other, without) = (bucket_in(6, group(3)), bucket_of(7, subject(1)));
    let standing = tombstone(id(8));
    for kept in [&alone, &other, &without, &bucket_in(8, group(1))] {
        store.insert(kept).await?;
    }
    store.remove(&id(8), Some(standing)).await?;

    let remove_all =
        async |groups: &[GroupTag], except| store.remove_all(Which::Tagged(Tags::Groups(groups)), except).await;
    ensure!(remove_all(&[], None).await? == 0, "no groups were taken for some");
    ensure!(remove_all(&[group(77)], None).await? == 0, "an unknown group had sessions");
    let removed = remove_all(&[group(1), group(2), group(1)], Some(&id(2))).await?;
    ensure!(removed == 4, "{removed} sessions are said to be ended, not 4");
    for number in [1, 3, 4, 5] {
        expect_nothing(&store, &id(number)).await?;
    }
    expect_group(&store, &[group(1), group(2)], vec![id(2)]).await?;
    expect_list(&store, &[subject(1)], vec![id(2), id(6), id(7)]).await?;
    expect(&store, &other).await?;
    expect(&store, &without).await?;
    expect_tombstone(&store, &standing).await?;
    // The end of the subject takes its groups' sessions along.
    let removed = store.remove_all(Which::Tagged(Tags::Subjects(&[subject(1)])), None).await?;
    ensure!(removed == 3, "{removed} sessions are said to be ended, not 3");
    expect_group(&store, &[group(1), group(3)], vec![]).await?;
    expect_count(&store, 0).await
}
