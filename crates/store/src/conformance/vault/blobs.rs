//! A blob is found whole, where it was put, until it is deleted.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use secure_sessions_core::{BlobId, MAX_BLOB_LEN, Timestamp, VaultId};
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use super::VaultStores;
use crate::conformance::sample::{HOUR, Outcome, now};
use crate::{AnyVaultStore, Blob, VaultStore};

/// Makes a name. The first bytes spread blobs and vaults as real ones are.
pub(super) fn vault(number: u64) -> VaultId {
    VaultId::from_bytes(name(number))
}

pub(super) fn id(number: u64) -> BlobId {
    BlobId::from_bytes(name(number))
}

fn name(number: u64) -> [u8; 16] {
    let spread = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&spread.to_be_bytes());
    bytes[8..].copy_from_slice(&number.to_be_bytes());
    bytes
}

/// Makes a blob of so many bytes, each of any value, in an order of its own.
pub(super) fn blob(number: u64, length: usize) -> Blob {
    let first = usize::try_from(number).unwrap_or(0);
    Blob { id: id(number), bytes: (first..first + length).map(|at| at.wrapping_mul(7).to_le_bytes()[0]).collect() }
}

pub(super) fn later() -> Timestamp {
    now().after(HOUR)
}

pub(super) async fn expect(store: &AnyVaultStore, vault: &VaultId, blobs: &[Blob]) -> Outcome {
    let ids: Vec<_> = blobs.iter().map(|blob| blob.id).collect();
    let found = store.get(vault, &ids).await?;
    ensure!(found.len() == blobs.len(), "{} blobs were asked for, and {} returned", blobs.len(), found.len());
    for (at, (found, put)) in found.iter().zip(blobs).enumerate() {
        let Some(found) = found else {
            return Err(crate::conformance::failure::Broken::new(format!("blob {at} of {} is not there", ids.len())));
        };
        ensure!(*found == put.bytes, "blob {at} of {} bytes was not returned as it was put", put.bytes.len());
    }
    Ok(())
}

pub(super) async fn expect_none(store: &AnyVaultStore, vault: &VaultId, ids: &[BlobId]) -> Outcome {
    let found = store.get(vault, ids).await?;
    ensure!(found.len() == ids.len(), "{} blobs were asked for, and {} returned", ids.len(), found.len());
    ensure!(found.iter().all(Option::is_none), "a blob was found that should not be there");
    Ok(())
}

pub(super) async fn a_blob_is_returned_as_it_was_put(stores: &VaultStores) -> Outcome {
    let store = stores.make().await;
    for (number, length) in (0..).zip([0, 1, 273, 4113, 65_535, 65_536, MAX_BLOB_LEN]) {
        let blobs = [blob(number, length)];
        store.put(&vault(1), &blobs, later()).await?;
        expect(&store, &vault(1), &blobs).await?;
    }
    let zeros = [Blob { id: id(100), bytes: vec![0; 300] }, Blob { id: id(101), bytes: vec![0xff; 300] }];
    store.put(&vault(2), &zeros, later()).await?;
    expect(&store, &vault(2), &zeros).await
}

pub(super) async fn the_largest_vault_is_kept_and_read_in_the_order_asked_for(stores: &VaultStores) -> Outcome {
    let store = stores.make().await;
    let mut blobs: Vec<_> = (0..60).map(|number| blob(number, 273)).collect();
    blobs.extend((60..64).map(|number| blob(number, MAX_BLOB_LEN)));
    store.put(&vault(1), &blobs, later()).await?;
    expect(&store, &vault(1), &blobs).await?;
    blobs.reverse();
    expect(&store, &vault(1), &blobs).await?;
    // One of them twice, and unknown ones in between.
    let found = store.get(&vault(1), &[id(3), id(99), id(3), id(98), id(0)]).await?;
    let lengths: Vec<_> = found.iter().map(|blob| blob.as_ref().map(Vec::len)).collect();
    ensure!(
        lengths == [Some(273), None, Some(273), None, Some(273)] && found[0] == found[2] && found[0] != found[4],
        "blobs are not returned in the order asked for, with `None` for those that are not there: {lengths:?}"
    );
    Ok(())
}

pub(super) async fn an_unknown_blob_is_none(stores: &VaultStores) -> Outcome {
    let store = stores.make().await;
    expect_none(&store, &vault(1), &[id(1)]).await?;
    store.put(&vault(1), &[blob(2, 10)], later()).await?;
    expect_none(&store, &vault(1), &[id(1), id(3)]).await?;
    // Empty lists are no reason to fail.
    expect_none(&store, &vault(1), &[]).await?;
    store.put(&vault(9), &[], later()).await?;
    store.delete(&vault(1), &[]).await?;
    store.delete_all(&[]).await?;
    store.prolong(&vault(9), later()).await?;
    expect(&store, &vault(1), &[blob(2, 10)]).await
}

pub(super) async fn names_are_compared_whole(stores: &VaultStores) -> Outcome {
    let store = stores.make().await;
    let mut names = vec![[0x61; 16]];
    for at in 0..16 {
        // Upper and lower case, which a backend must not fold.
        let mut other = names[0];
        other[at] ^= 0x20;
        names.push(other);
    }
    let of = |number: usize, name: &[u8; 16]| Blob { id: BlobId::from_bytes(*name), ..blob(number as u64, 100) };
    for (number, name) in names.iter().enumerate() {
        store.put(&VaultId::from_bytes(names[0]), &[of(number, name)], later()).await?;
        store.put(&VaultId::from_bytes(*name), &[of(50 + number, &[0x7a; 16])], later()).await?;
    }
    for (number, name) in names.iter().enumerate() {
        expect(&store, &VaultId::from_bytes(names[0]), &[of(number, name)]).await?;
        expect(&store, &VaultId::from_bytes(*name), &[of(50 + number, &[0x7a; 16])]).await?;
    }
    Ok(())
}

pub(super) async fn vaults_do_not_see_each_other(stores: &VaultStores) -> Outcome {
    let store = stores.make().await;
    let (one, other) = (blob(1, 100), Blob { id: id(1), bytes: vec![7; 100] });
    store.put(&vault(1), std::slice::from_ref(&one), later()).await?;
    expect_none(&store, &vault(2), &[id(1)]).await?;
    // The same name in another vault is another blob.
    store.put(&vault(2), std::slice::from_ref(&other), later()).await?;
    expect(&store, &vault(1), &[one]).await?;
    expect(&store, &vault(2), std::slice::from_ref(&other)).await?;
    store.delete(&vault(1), &[id(1)]).await?;
    expect_none(&store, &vault(1), &[id(1)]).await?;
    expect(&store, &vault(2), &[other]).await
}

pub(super) async fn a_blob_may_be_put_again(stores: &VaultStores) -> Outcome {
    let store = stores.make().await;
    let blobs = [blob(1, 300), blob(2, 300)];
    store.put(&vault(1), &blobs[..1], later()).await?;
    store.put(&vault(1), &blobs, later()).await?;
    expect(&store, &vault(1), &blobs).await
}

pub(super) async fn a_deletion_spares_the_rest_and_may_be_repeated(stores: &VaultStores) -> Outcome {
    let store = stores.make().await;
    let blobs: Vec<_> = (1..=4).map(|number| blob(number, 300)).collect();
    store.put(&vault(1), &blobs, later()).await?;
    for _ in 0..2 {
        store.delete(&vault(1), &[id(1), id(3), id(77)]).await?;
        expect_none(&store, &vault(1), &[id(1), id(3)]).await?;
        expect(&store, &vault(1), &[blobs[1].clone(), blobs[3].clone()]).await?;
    }
    store.delete(&vault(2), &[id(2)]).await?;
    expect(&store, &vault(1), &[blobs[1].clone()]).await?;
    // A blob that was deleted may be put anew.
    store.delete(&vault(1), &[id(2), id(4)]).await?;
    store.put(&vault(1), &blobs, later()).await?;
    expect(&store, &vault(1), &blobs).await
}

pub(super) async fn a_vault_goes_whole_and_no_other_with_it(stores: &VaultStores) -> Outcome {
    let store = stores.make().await;
    let blobs: Vec<_> = (1..=64).map(|number| blob(number, 300)).collect();
    for number in 1..=3 {
        store.put(&vault(number), &blobs, later()).await?;
    }
    let ids: Vec<_> = blobs.iter().map(|blob| blob.id).collect();
    for _ in 0..2 {
        store.delete_all(&[vault(1), vault(3), vault(9)]).await?;
        expect_none(&store, &vault(1), &ids).await?;
        expect_none(&store, &vault(3), &ids).await?;
        expect(&store, &vault(2), &blobs).await?;
    }
    Ok(())
}

pub(super) async fn any_number_of_vaults_goes(stores: &VaultStores) -> Outcome {
    const VAULTS: u64 = 1200;
    let store = stores.make().await;
    for number in 0..VAULTS {
        store.put(&vault(number), &[blob(1, 20)], later()).await?;
    }
    let doomed: Vec<_> = (1..VAULTS).map(vault).collect();
    store.delete_all(&doomed).await?;
    for vault in &doomed {
        expect_none(&store, vault, &[id(1)]).await?;
    }
    expect(&store, &vault(0), &[blob(1, 20)]).await
}

pub(super) async fn a_hundred_puts_into_one_vault_are_all_kept(stores: &VaultStores) -> Outcome {
    const PUTS: u64 = 60;
    let store = stores.make().await;
    let start = Arc::new(Barrier::new(2 * usize::try_from(PUTS).unwrap_or(0)));
    let mut tasks = Vec::new();
    for number in 0..2 * PUTS {
        let (store, start) = (store.clone(), Arc::clone(&start));
        tasks.push(tokio::spawn(async move {
            start.wait().await;
            // Each blob twice at once.
            store.put(&vault(1), &[blob(number % PUTS, 500)], later()).await
        }));
    }
    for task in tasks {
        task.await??;
    }
    let blobs: Vec<_> = (0..PUTS).map(|number| blob(number, 500)).collect();
    expect(&store, &vault(1), &blobs).await
}

pub(super) async fn beside_puts_and_deletions_a_blob_is_read_whole_or_not_at_all(stores: &VaultStores) -> Outcome {
    const READS: usize = 60;
    let store = stores.make().await;
    let (changing, staying) = (blob(1, 40_000), blob(2, 300));
    store.put(&vault(1), std::slice::from_ref(&staying), later()).await?;
    let is_over = Arc::new(AtomicBool::new(false));
    // Stopped if this case fails.
    let mut writers = JoinSet::new();
    let writer = {
        let (store, changing, is_over) = (store.clone(), changing.clone(), Arc::clone(&is_over));
        writers.spawn(async move {
            while !is_over.load(Ordering::Relaxed) {
                store.put(&vault(1), std::slice::from_ref(&changing), later()).await?;
                // A store in memory never waits, and would keep the reader from its thread.
                tokio::task::yield_now().await;
                store.delete(&vault(1), &[changing.id]).await?;
            }
            Ok::<_, crate::StoreError>(())
        })
    };
    let (mut reads, mut was_found) = (0, false);
    // Not only as long as the writer takes for some rounds: all of them can fall between two reads.
    while (reads < READS || !was_found) && !writer.is_finished() {
        let found = store.get(&vault(1), &[changing.id, staying.id]).await?;
        ensure!(found.len() == 2, "2 blobs were asked for, and {} returned", found.len());
        ensure!(found[0].as_ref().is_none_or(|bytes| *bytes == changing.bytes), "a part of a blob was returned");
        ensure!(found[1].as_ref() == Some(&staying.bytes), "a blob was gone that nobody deleted");
        reads += 1;
        was_found |= found[0].is_some();
        tokio::task::yield_now().await;
    }
    is_over.store(true, Ordering::Relaxed);
    while let Some(ended) = writers.join_next().await {
        ended??;
    }
    expect_none(&store, &vault(1), &[changing.id]).await
}

pub(super) async fn vault_stores_do_not_see_each_other(stores: &VaultStores) -> Outcome {
    let (one, other) = (stores.make().await, stores.make().await);
    one.put(&vault(1), &[blob(1, 300)], later()).await?;
    expect_none(&other, &vault(1), &[id(1)]).await?;
    other.put(&vault(1), &[blob(1, 300)], later()).await?;
    other.delete_all(&[vault(1)]).await?;
    expect(&one, &vault(1), &[blob(1, 300)]).await
}
