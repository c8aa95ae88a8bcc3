//! The vaults: the contract in each form of the engine, faults at every step, and every order of the steps of two calls.

use std::sync::atomic::Ordering;

use secure_sessions_core::{BlobId, MAX_BLOB_LEN, VaultId};

use super::orders::{Orders, WAITING};
use super::*;
use crate::{Blob, VaultStore};

const VAULT: VaultId = VaultId::from_bytes([1; 16]);
const OTHER: VaultId = VaultId::from_bytes([2; 16]);
/// The deadline of the blobs, and a later one.
const DUE: Timestamp = NOW;
const LATER: Timestamp = NOW.after(Millis::from_secs(3600));

fn name(number: u8) -> BlobId {
    BlobId::from_bytes([number; 16])
}

fn blob(number: u8) -> Blob {
    Blob { id: name(number), bytes: vec![number; 20] }
}

async fn has<E: KeyValue>(store: &KvStore<E>, vault: &VaultId, number: u8) -> bool {
    let found = store.get(vault, &[name(number)]).await.unwrap().pop().unwrap();
    assert!(found.as_ref().is_none_or(|bytes| *bytes == blob(number).bytes), "a blob that was never put");
    found.is_some()
}

/// Removes everything, which leaves not a key.
async fn purge_all<const TRANSACTS: bool, const EXPIRES: bool>(shared: &Arc<Shared>, context: &str) {
    let store = store::<TRANSACTS, EXPIRES>(shared, Plan::default());
    if EXPIRES {
        shared.check_deadlines_of_blobs(context);
        return;
    }
    while store.purge(END, 3).await.unwrap() == 3 {}
    assert_eq!(shared.keys(), Vec::<String>::new(), "{context}: the purge of everything has left something");
}

mod contract {
    use super::*;

    async fn make<const TRANSACTS: bool>() -> KvStore<Map<TRANSACTS, false>> {
        store(&Arc::default(), Plan::default())
    }

    mod with_transactions {
        crate::vault_conformance_tests!(super::make::<true>);
    }

    mod key_by_key {
        crate::vault_conformance_tests!(super::make::<false>);
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Call {
    Put,
    PutAgain,
    PutMany,
    Delete,
    DeleteAll,
    Prolong,
    Purge,
}

const CALLS: [Call; 7] =
    [Call::Put, Call::PutAgain, Call::PutMany, Call::Delete, Call::DeleteAll, Call::Prolong, Call::Purge];

async fn call<E: KeyValue>(store: &KvStore<E>, call: Call) -> Result<(), StoreError> {
    let many: Vec<Blob> = (10..30).map(blob).collect();
    match call {
        Call::Put => store.put(&VAULT, &[blob(3), blob(4)], DUE).await,
        Call::PutAgain => store.put(&VAULT, &[blob(1), blob(3)], LATER).await,
        Call::PutMany => store.put(&VAULT, &many, DUE).await,
        Call::Delete => store.delete(&VAULT, &[name(1), name(9)]).await,
        Call::DeleteAll => store.delete_all(&[VAULT, VaultId::from_bytes([7; 16])]).await,
        Call::Prolong => store.prolong(&VAULT, LATER).await,
        Call::Purge => store.purge(DUE, 10).await.map(|_| ()),
    }
}

/// Makes the call with this plan. Returns `false` if it came to its end before the fault.
async fn with_plan<const TRANSACTS: bool, const EXPIRES: bool>(kind: Call, plan: Plan) -> bool {
    let context = format!("{kind:?}, {plan:?}, transactions {TRANSACTS}, expiry {EXPIRES}");
    let shared = Arc::<Shared>::default();
    let before = store::<TRANSACTS, EXPIRES>(&shared, Plan::default());
    before.put(&VAULT, &[blob(1)], DUE).await.unwrap();
    before.put(&VAULT, &[blob(2)], LATER).await.unwrap();
    before.put(&OTHER, &[blob(1), blob(5)], LATER).await.unwrap();
    let engine = Map::<TRANSACTS, EXPIRES>::new(Arc::clone(&shared), plan);
    let calls = engine.calls();
    let outcome = call(&KvStore::new(engine, "test").unwrap(), kind).await;
    let was_hit = calls.load(Ordering::SeqCst) > plan.fault.unwrap();
    assert!(was_hit || outcome.is_ok(), "{context}");

    let after = store::<TRANSACTS, EXPIRES>(&shared, Plan::default());
    let spares = !matches!((kind, EXPIRES), (Call::Delete | Call::DeleteAll, _) | (Call::Purge, false));
    assert!(has(&after, &VAULT, 1).await || !spares, "{context}: a blob is gone");
    assert!(has(&after, &VAULT, 2).await || kind == Call::DeleteAll, "{context}: a blob is gone");
    if outcome.is_ok() {
        expect(&after, kind, &context).await;
    }
    // After an error, the caller may repeat it.
    call(&after, kind).await.unwrap();
    expect(&after, kind, &context).await;
    assert!(has(&after, &OTHER, 1).await && has(&after, &OTHER, 5).await, "{context}: another vault has changed");
    if EXPIRES {
        shared.check_deadlines_of_blobs(&context);
    } else {
        after.purge(DUE, 100).await.unwrap();
        let stays = matches!(kind, Call::PutAgain | Call::Prolong);
        assert_eq!(has(&after, &VAULT, 1).await, stays, "{context}: the purge does not go by the latest deadline");
    }
    let whole = store::<TRANSACTS, EXPIRES>(&shared, Plan::default());
    whole.delete_all(&[VAULT]).await.unwrap();
    for number in 0..40 {
        assert!(!has(&whole, &VAULT, number).await, "{context}: a blob has survived its vault");
    }
    purge_all::<TRANSACTS, EXPIRES>(&shared, &context).await;
    was_hit
}

/// Checks what holds after a call that was acknowledged.
async fn expect<E: KeyValue>(store: &KvStore<E>, kind: Call, context: &str) {
    let (there, gone): (Vec<u8>, &[u8]) = match kind {
        Call::Put => (vec![1, 2, 3, 4], &[]),
        Call::PutAgain => (vec![1, 2, 3], &[4]),
        Call::PutMany => ([1, 2].into_iter().chain(10..30).collect(), &[]),
        Call::Delete => (vec![2], &[1]),
        Call::DeleteAll => (vec![], &[1, 2]),
        Call::Prolong => (vec![1, 2], &[3]),
        Call::Purge if E::EXPIRES => (vec![1, 2], &[]),
        Call::Purge => (vec![2], &[1]),
    };
    for number in there {
        assert!(has(store, &VAULT, number).await, "{context}: {number} is not there");
    }
    for number in gone {
        assert!(!has(store, &VAULT, *number).await, "{context}: {number} is still there");
    }
}

async fn all_faults<const TRANSACTS: bool, const EXPIRES: bool>() -> u64 {
    let mut faults = 0;
    for kind in CALLS {
        faults += at_every_step(async |plan| with_plan::<TRANSACTS, EXPIRES>(kind, plan).await).await;
    }
    faults
}

#[tokio::test]
async fn a_call_on_a_vault_that_fails_at_any_step_loses_nothing() {
    let faults = [
        all_faults::<true, false>().await,
        all_faults::<true, true>().await,
        all_faults::<false, false>().await,
        all_faults::<false, true>().await,
    ];
    println!("faults: {faults:?}");
    assert!(faults.iter().all(|faults| *faults >= 50), "{faults:?}");
}

fn all<const TRANSACTS: bool>() -> usize {
    type Store<const TRANSACTS: bool> = KvStore<Map<TRANSACTS, false>>;
    /// Removes everything, as the check after each order demands.
    async fn purge<const TRANSACTS: bool>(store: &Store<TRANSACTS>) {
        while store.purge(END, 3).await.unwrap() == 3 {}
    }
    async fn put<const TRANSACTS: bool>(store: &Store<TRANSACTS>, number: u8, purge_at: Timestamp) -> u64 {
        store.put(&VAULT, &[blob(number)], purge_at).await.unwrap();
        0
    }
    let one = async |store: &Store<TRANSACTS>| store.put(&VAULT, &[blob(1)], DUE).await.unwrap();
    let purge_due = async |store: &Store<TRANSACTS>| store.purge(DUE, 10).await.unwrap();
    let mut orders = 0;

    // Two puts: of two blobs, and of one.
    for second in [2, 1] {
        orders += Orders::<TRANSACTS>::run_after(
            WAITING,
            async |_| {},
            async |store| put(store, 1, DUE).await,
            async |store| put(store, second, LATER).await,
            async |store, _, _, order| {
                purge_due(store).await;
                assert_eq!(has(store, &VAULT, 1).await, second == 1, "{order}: the latest deadline counts");
                assert!(has(store, &VAULT, second).await, "{order}");
                store.delete_all(&[VAULT]).await.unwrap();
                assert!(!has(store, &VAULT, 1).await && !has(store, &VAULT, second).await, "{order}");
                purge(store).await;
            },
        );
    }

    // A purge of what is due, against a put that gives it a later deadline, and against its prolongation.
    orders += Orders::<TRANSACTS>::run_after(
        WAITING,
        one,
        async |store| put(store, 1, LATER).await,
        purge_due,
        async |store, _, _, order| {
            purge_due(store).await;
            assert!(has(store, &VAULT, 1).await, "{order}: the purge has taken what was put again");
            purge(store).await;
        },
    );
    orders += Orders::<TRANSACTS>::run_after(
        WAITING,
        one,
        async |store| {
            store.prolong(&VAULT, LATER).await.unwrap();
            u64::from(has(store, &VAULT, 1).await)
        },
        purge_due,
        async |store, prolonged, _, order| {
            purge_due(store).await;
            assert_eq!(has(store, &VAULT, 1).await, prolonged == 1, "{order}: a prolonged blob is gone");
            purge(store).await;
        },
    );

    // A vault that is deleted, whole or in part, while another blob comes.
    for whole in [true, false] {
        orders += Orders::<TRANSACTS>::run_after(
            WAITING,
            one,
            async |store| put(store, 2, LATER).await,
            async |store: &Store<TRANSACTS>| {
                let deleted =
                    if whole { store.delete_all(&[VAULT]).await } else { store.delete(&VAULT, &[name(1)]).await };
                deleted.unwrap();
                0
            },
            async |store, _, _, order| {
                assert!(!has(store, &VAULT, 1).await, "{order}");
                assert!(whole || has(store, &VAULT, 2).await, "{order}");
                store.delete(&VAULT, &[name(2)]).await.unwrap();
                assert!(!has(store, &VAULT, 2).await, "{order}: a blob has survived its deletion");
                purge(store).await;
            },
        );
    }

    // Two purges.
    orders += Orders::<TRANSACTS>::run_after(
        WAITING,
        one,
        purge_due,
        async |store: &Store<TRANSACTS>| store.purge(DUE, 1).await.unwrap(),
        async |store, _, _, order| {
            assert!(!has(store, &VAULT, 1).await, "{order}");
            purge(store).await;
        },
    );
    orders
}

#[test]
fn of_two_calls_on_a_vault_in_any_order_of_their_steps_each_keeps_its_word() {
    let orders = [all::<true>(), all::<false>()];
    println!("orders: {orders:?}");
    assert!(orders[0] > 40 && orders[1] > 400, "{orders:?}");
}

#[tokio::test]
async fn private_values_are_read_by_one_call_and_written_by_two() {
    let shared = Arc::<Shared>::default();
    let engine = Map::<true, false>::new(Arc::clone(&shared), Plan::default());
    let calls = engine.calls();
    let calls = || calls.swap(0, Ordering::SeqCst);
    let store = KvStore::new(engine, "test").unwrap();
    let blobs: Vec<Blob> = (0..64).map(blob).collect();
    let ids: Vec<BlobId> = blobs.iter().map(|blob| blob.id).collect();
    store.put(&VAULT, &blobs[..15], DUE).await.unwrap();
    assert_eq!(calls(), 2);
    store.put(&VAULT, &blobs[15..], DUE).await.unwrap();
    assert_eq!(calls(), 8, "15 at a time");
    assert!(store.get(&VAULT, &ids).await.unwrap().iter().all(Option::is_some));
    assert_eq!(calls(), 1);
    store.delete(&VAULT, &ids[..15]).await.unwrap();
    assert_eq!(calls(), 2);
    store.delete_all(&[VAULT]).await.unwrap();
    assert_eq!(calls(), 3);
}

#[tokio::test]
async fn a_blob_that_is_too_long_is_refused_and_one_that_was_cut_never_opens() {
    let shared = Arc::<Shared>::default();
    let store = store::<true, false>(&shared, Plan::default());
    let long = Blob { id: name(1), bytes: vec![1; MAX_BLOB_LEN + 1] };
    let error = store.put(&VAULT, &[blob(2), long], DUE).await.unwrap_err();
    assert!(matches!(&error, StoreError::Rejected(cause) if cause.to_string().contains("65554 bytes")), "{error:?}");
    assert_eq!(shared.keys(), Vec::<String>::new());
    store.put(&VAULT, &[blob(1), blob(2)], DUE).await.unwrap();
    shared.spoil(&format!("/b/{}/01", "01".repeat(16)), b"cut");
    let found = store.get(&VAULT, &[name(1), name(2)]).await.unwrap();
    assert_eq!(found, [Some(Vec::new()), Some(blob(2).bytes)]);
    // It keeps neither a login, nor the purge.
    store.prolong(&VAULT, LATER).await.unwrap();
    assert!(has(&store, &VAULT, 2).await);
    purge_all::<true, false>(&shared, "a spoilt blob").await;
}
