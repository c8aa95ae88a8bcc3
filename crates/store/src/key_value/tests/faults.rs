//! One call that fails, or whose process stops, at any of its steps.

use std::sync::atomic::Ordering;

use super::*;

#[derive(Debug, Clone, Copy)]
enum Call {
    Insert,
    Touch,
    Move,
    Shorten,
    Renew,
    Bury,
    Remove,
    EndSubject,
    EndGroup,
    EndAll,
    Purge,
}

const CALLS: [Call; 11] = [
    Call::Insert,
    Call::Touch,
    Call::Move,
    Call::Shorten,
    Call::Renew,
    Call::Bury,
    Call::Remove,
    Call::EndSubject,
    Call::EndGroup,
    Call::EndAll,
    Call::Purge,
];

/// The time of the purge: 3 is due, 4 has been seen since.
fn purge_time() -> Timestamp {
    bucket(3, None).purge_at()
}

/// Makes the call, and returns `true` if it was acknowledged.
async fn call<E: KeyValue>(store: &KvStore<E>, call: Call) -> Result<bool, StoreError> {
    let one = bucket(1, Some(FIRST));
    match call {
        Call::Insert => store.insert(&bucket(5, Some(FIRST))).await.map(|()| true),
        Call::Touch => store.replace(&seen_later(&one), one.revision).await,
        Call::Move => store.replace(&Bucket { subject: Some(SECOND), ..seen_later(&one) }, one.revision).await,
        Call::Shorten => store.replace(&Bucket { idle_timeout: Some(Millis::ZERO), ..next(&one) }, one.revision).await,
        Call::Renew => {
            let new = bucket(5, Some(FIRST));
            store.renew_into(&new, &one.id, one.revision, tombstone(1, Some(5))).await
        }
        Call::Bury => store.remove(&one.id, Some(tombstone(1, None))).await,
        Call::Remove => store.remove(&one.id, None).await,
        Call::EndSubject => store.remove_all(Which::Tagged(Tags::Subjects(&[FIRST])), None).await.map(|_| true),
        Call::EndGroup => {
            let group = [GroupTag::from_bytes(*FIRST.as_bytes())];
            store.remove_all(Which::Tagged(Tags::Groups(&group)), None).await.map(|_| true)
        }
        Call::EndAll => store.remove_all(Which::Everything, Some(&id(2))).await.map(|_| true),
        Call::Purge => store.purge_expired(purge_time(), 10).await.map(|_| true),
    }
}

/// Makes the call with this plan. Returns `false` if it came to its end before the fault.
async fn with_plan<const TRANSACTS: bool, const EXPIRES: bool>(kind: Call, plan: Plan) -> bool {
    let context = format!("{kind:?}, {plan:?}, transactions {TRANSACTS}, expiry {EXPIRES}");
    let shared = Arc::<Shared>::default();
    let before = store::<TRANSACTS, EXPIRES>(&shared, Plan::default());
    let later = |number| Bucket { last_seen_at: NOW.after(Millis::from_secs(600)), ..bucket(number, Some(FIRST)) };
    for kept in [later(1), bucket(3, Some(SECOND)), bucket(4, Some(SECOND))] {
        before.insert(&kept).await.unwrap();
    }
    before.insert(&Bucket { last_seen_at: NOW.after(Millis::from_secs(600)), ..bucket(2, None) }).await.unwrap();
    before.replace(&seen_later(&bucket(4, Some(SECOND))), Revision::FIRST).await.unwrap();
    before.insert(&bucket(6, Some(FIRST))).await.unwrap();
    assert!(before.remove(&id(6), Some(tombstone(6, None))).await.unwrap());
    let kept_before = |number| matches!(number, 1..=4);

    let engine = Map::<TRANSACTS, EXPIRES>::new(Arc::clone(&shared), plan);
    let calls = engine.calls();
    let outcome = call(&KvStore::new(engine, "test").unwrap(), kind).await;
    let was_hit = calls.load(Ordering::SeqCst) > plan.fault.unwrap();
    // Work that is still to be done in the background is done now.
    tokio::time::sleep(Duration::from_secs(120)).await;

    let after = store::<TRANSACTS, EXPIRES>(&shared, Plan::default());
    let mut living = Vec::new();
    for number in NUMBERS {
        if lives(&after, number).await {
            living.push(number);
        }
    }
    let is_acknowledged = match &outcome {
        Ok(won) => {
            assert!(won, "{context}");
            true
        }
        Err(_) => {
            assert!(was_hit, "{context}");
            false
        }
    };
    let all_before = [1, 2, 3, 4];
    let expected: &[&[u8]] = match (kind, is_acknowledged) {
        (Call::Insert, true) => &[&[1, 2, 3, 4, 5]],
        (Call::Insert, false) => &[&all_before, &[1, 2, 3, 4, 5]],
        (Call::Touch | Call::Move | Call::Shorten, _) => &[&all_before],
        (Call::Renew, true) => &[&[2, 3, 4, 5]],
        // Both live only if the process has stopped half-way.
        (Call::Renew, false) if plan.stops && !TRANSACTS => &[&all_before, &[2, 3, 4, 5], &[1, 2, 3, 4, 5]],
        (Call::Renew, false) => &[&all_before, &[2, 3, 4, 5]],
        (Call::Bury | Call::Remove | Call::EndSubject | Call::EndGroup, true) => &[&[2, 3, 4]],
        (Call::Bury | Call::Remove | Call::EndSubject | Call::EndGroup, false) => &[&all_before, &[2, 3, 4]],
        (Call::EndAll, true) => &[&[2]],
        (Call::EndAll, false) => &[],
        (Call::Purge, true) if !EXPIRES => &[&[1, 2, 4]],
        (Call::Purge, _) => &[&all_before, &[1, 2, 4]],
    };
    if matches!((kind, is_acknowledged), (Call::EndAll, false)) {
        assert!(living.contains(&2) && living.iter().all(|number| kept_before(*number)), "{context}: {living:?}");
    } else {
        assert!(expected.contains(&living.as_slice()), "{context}: {living:?}");
    }
    let revision = match after.load(&id(1)).await.unwrap() {
        Some(Entry::Bucket(bucket)) => bucket.revision.get(),
        _ => 0,
    };
    if matches!(kind, Call::Touch | Call::Move | Call::Shorten) {
        assert!(revision == 2 || (!is_acknowledged && revision == 1), "{context}: {revision}");
    }
    // A session that has ended stays ended, even if a call is late.
    for number in NUMBERS.filter(|number| !living.contains(number)) {
        let late = bucket(number, Some(FIRST));
        assert!(!after.replace(&next(&late), late.revision).await.unwrap(), "{context}");
        let stone = tombstone(number, Some(9));
        assert!(!after.renew_into(&bucket(9, Some(FIRST)), &late.id, late.revision, stone).await.unwrap(), "{context}");
        assert!(!lives(&after, number).await && !lives(&after, 9).await, "{context}");
    }
    check::<TRANSACTS, EXPIRES>(&shared, &context).await;
    was_hit
}

async fn all_faults<const TRANSACTS: bool, const EXPIRES: bool>() -> u64 {
    let mut faults = 0;
    for kind in CALLS {
        faults += at_every_step(async |plan| with_plan::<TRANSACTS, EXPIRES>(kind, plan).await).await;
    }
    faults
}

#[tokio::test(start_paused = true)]
async fn a_call_that_fails_or_stops_at_any_step_loses_nothing() {
    let faults = [
        all_faults::<true, false>().await,
        all_faults::<true, true>().await,
        all_faults::<false, false>().await,
        all_faults::<false, true>().await,
    ];
    println!("faults: {faults:?}");
    assert!(faults.iter().all(|faults| *faults >= 70), "{faults:?}");
}
