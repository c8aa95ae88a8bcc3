//! Two calls of two processes, in every order of their steps that switches between them up to four times.
//!
//! (All 239,682 orders, with any number of switches, take a minute, and hold as well: raise [`MOST_SWITCHES`].)

use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use super::*;

pub(super) const WAITING: Plan = Plan {
    fault: None,
    is_made: false,
    stops: false,
    waits: true,
    waits_not_for: None,
    takes: Duration::ZERO,
    is_full: false,
};
/// If no purge is involved, nobody reads the list of deadlines.
const WITHOUT_PURGE: Plan = Plan { waits_not_for: Some("/d/"), ..WAITING };

const MOST_SWITCHES: usize = 4;

type Call<'a> = Pin<Box<dyn Future<Output = u64> + 'a>>;

/// Runs two calls in all orders of their steps, each on sessions of its own making, and checks what each order leaves.
pub(super) struct Orders<const TRANSACTS: bool>;

/// Runs a call that never waits.
pub(super) fn at_once<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(outcome) => outcome,
        Poll::Pending => panic!("it waits"),
    }
}

impl<const TRANSACTS: bool> Orders<TRANSACTS> {
    /// `judge` gets a store, the two outcomes, and a text that names the order.
    fn run<A, B, J>(plan: Plan, kept: &[Bucket], first: A, second: B, judge: J) -> usize
    where
        A: AsyncFn(&KvStore<Map<TRANSACTS, false>>) -> u64,
        B: AsyncFn(&KvStore<Map<TRANSACTS, false>>) -> u64,
        J: AsyncFn(&KvStore<Map<TRANSACTS, false>>, u64, u64, &str),
    {
        let before = async |store: &KvStore<Map<TRANSACTS, false>>| {
            for bucket in kept {
                store.insert(bucket).await.unwrap();
            }
        };
        Self::run_after(plan, before, first, second, judge)
    }

    pub(super) fn run_after<S, A, B, J>(plan: Plan, before: S, first: A, second: B, judge: J) -> usize
    where
        S: AsyncFn(&KvStore<Map<TRANSACTS, false>>),
        A: AsyncFn(&KvStore<Map<TRANSACTS, false>>) -> u64,
        B: AsyncFn(&KvStore<Map<TRANSACTS, false>>) -> u64,
        J: AsyncFn(&KvStore<Map<TRANSACTS, false>>, u64, u64, &str),
    {
        // For each step at which both calls want to go on: `true` if the other call does.
        let mut order: Vec<bool> = Vec::new();
        let mut orders = 0;
        loop {
            let shared = Arc::<Shared>::default();
            let plain = store::<TRANSACTS, false>(&shared, Plan::default());
            at_once(before(&plain));
            let stores = [store(&shared, plan), store(&shared, plan)];
            let mut calls: [Option<Call<'_>>; 2] =
                [Some(Box::pin(first(&stores[0]))), Some(Box::pin(second(&stores[1])))];
            let mut outcomes = [0, 0];
            let (mut turn, mut step, mut switches) = (0, 0, 0);
            while calls.iter().any(Option::is_some) {
                if calls.iter().all(Option::is_some) && switches < MOST_SWITCHES {
                    if step == order.len() {
                        order.push(false);
                    }
                    switches += usize::from(order[step]);
                    turn ^= usize::from(order[step]);
                    step += 1;
                }
                let Some(call) = &mut calls[turn] else {
                    turn ^= 1;
                    continue;
                };
                if let Poll::Ready(outcome) = call.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                    outcomes[turn] = outcome;
                    calls[turn] = None;
                }
            }
            drop(calls);
            let context = format!("transactions {TRANSACTS}, order {order:?}");
            at_once(judge(&plain, outcomes[0], outcomes[1], &context));
            at_once(check::<TRANSACTS, false>(&shared, &context));
            orders += 1;
            order.truncate(step);
            // The next order: the last `false` becomes `true`.
            while order.last() == Some(&true) {
                order.pop();
            }
            match order.last_mut() {
                Some(last) => *last = true,
                None => return orders,
            }
        }
    }
}

/// Without a group, whose places are written and removed as a subject's are: more orders would show nothing else.
fn bucket(number: u8, subject: Option<SubjectTag>) -> Bucket {
    Bucket { group: None, ..super::bucket(number, subject) }
}

fn one() -> Bucket {
    bucket(1, Some(FIRST))
}

/// Renews session 1 into this one; returns 1 if it did.
async fn renew<const TRANSACTS: bool>(store: &KvStore<Map<TRANSACTS, false>>, into: u8) -> u64 {
    let (old, new, stone) = (one(), bucket(into, Some(FIRST)), tombstone(1, Some(into)));
    if TRANSACTS {
        return u64::from(store.renew_into(&new, &old.id, old.revision, stone).await.unwrap());
    }
    // Without the task around it, which is of a runtime.
    let renewal = Renewal::new(Arc::clone(&store.0), new, old.id, old.revision, stone);
    let (outcome, rest) = renewal.in_several_steps().await;
    assert!(rest.is_none());
    u64::from(outcome.unwrap())
}

fn all<const TRANSACTS: bool>() -> usize {
    type Store<const TRANSACTS: bool> = KvStore<Map<TRANSACTS, false>>;
    let mut orders = 0;

    // A renewal against endings.
    for stone in [None, Some(tombstone(1, None))] {
        orders += Orders::<TRANSACTS>::run(
            WITHOUT_PURGE,
            &[one()],
            async |store| renew(store, 2).await,
            async |store| u64::from(store.remove(&id(1), stone).await.unwrap()),
            async |store, renewed, removed, order| {
                assert_eq!(renewed + removed, 1, "{order}");
                assert_eq!(lives(store, 2).await, renewed == 1, "{order}");
                assert!(!lives(store, 1).await, "{order}");
            },
        );
    }
    for everything in [false, true] {
        let which = if everything { Which::Everything } else { Which::Tagged(Tags::Subjects(&[FIRST])) };
        orders += Orders::<TRANSACTS>::run(
            WITHOUT_PURGE,
            &[one()],
            async |store| renew(store, 2).await,
            async |store| store.remove_all(which, None).await.unwrap(),
            async |store, _, removed, order| {
                assert!(!lives(store, 1).await && !lives(store, 2).await, "{order}");
                assert!(removed <= 2, "{order}");
            },
        );
    }

    // Two endings without room for a tombstone.
    orders += Orders::<TRANSACTS>::run(
        Plan { is_full: true, ..WITHOUT_PURGE },
        &[one()],
        async |store| u64::from(store.remove(&id(1), Some(tombstone(1, None))).await.unwrap()),
        async |store| u64::from(store.remove(&id(1), Some(tombstone(1, None))).await.unwrap()),
        async |store, first, second, order| {
            assert_eq!(first + second, 1, "{order}");
            assert!(!lives(store, 1).await, "{order}");
        },
    );

    // A touch of a session that was renewed, against the ending of all, which meets it by its old id and by its own.
    orders += Orders::<TRANSACTS>::run_after(
        WITHOUT_PURGE,
        async |store| {
            store.insert(&one()).await.unwrap();
            assert_eq!(renew(store, 2).await, 1);
        },
        async |store| {
            let touched = seen_later(&bucket(2, Some(FIRST)));
            u64::from(store.replace(&touched, Revision::FIRST).await.unwrap())
        },
        async |store| store.remove_all(Which::Tagged(Tags::Subjects(&[FIRST])), None).await.unwrap(),
        async |store, _, removed, order| {
            assert!(!lives(store, 2).await, "{order}");
            assert_eq!(removed, 1, "{order}");
        },
    );

    // Two renewals.
    orders += Orders::<TRANSACTS>::run(
        WITHOUT_PURGE,
        &[one()],
        async |store| renew(store, 2).await,
        async |store| renew(store, 3).await,
        async |store, first, second, order| {
            assert_eq!(first + second, 1, "{order}");
            assert_eq!((lives(store, 2).await, lives(store, 3).await), (first == 1, second == 1), "{order}");
        },
    );

    // A session that moves to another subject, against the ending of both.
    let subjects = [SECOND, FIRST];
    orders += Orders::<TRANSACTS>::run(
        WITHOUT_PURGE,
        &[one()],
        async |store| {
            let moved = Bucket { subject: Some(SECOND), ..next(&one()) };
            u64::from(store.replace(&moved, Revision::FIRST).await.unwrap())
        },
        async |store| store.remove_all(Which::Tagged(Tags::Subjects(&subjects)), None).await.unwrap(),
        async |store, _, removed, order| {
            assert!(!lives(store, 1).await, "{order}");
            assert_eq!(removed, 1, "{order}");
        },
    );

    // A touch against a purge.
    orders += Orders::<TRANSACTS>::run(
        WAITING,
        &[one()],
        async |store| u64::from(store.replace(&seen_later(&one()), Revision::FIRST).await.unwrap()),
        async |store| store.purge_expired(one().purge_at(), 5).await.unwrap(),
        async |store, touched, purged, order| {
            assert_eq!(touched + purged, 1, "{order}");
            assert_eq!(lives(store, 1).await, touched == 1, "{order}");
        },
    );

    // A write against a removal.
    orders += Orders::<TRANSACTS>::run(
        WITHOUT_PURGE,
        &[one()],
        async |store| {
            let sooner = Bucket { idle_timeout: Some(Millis::ZERO), ..next(&one()) };
            u64::from(store.replace(&sooner, Revision::FIRST).await.unwrap())
        },
        async |store| u64::from(store.remove(&id(1), None).await.unwrap()),
        async |store, _, removed, order| {
            assert_eq!(removed, 1, "{order}");
            assert!(!lives(store, 1).await, "{order}");
        },
    );

    // The same id once more, while the first session under it is removed.
    orders += Orders::<TRANSACTS>::run(
        WITHOUT_PURGE,
        &[one()],
        async |store: &Store<TRANSACTS>| u64::from(store.insert(&one()).await.is_ok()),
        async |store| u64::from(store.remove(&id(1), None).await.unwrap()),
        async |store, inserted, removed, order| {
            assert_eq!(removed, 1, "{order}");
            assert_eq!(lives(store, 1).await, inserted == 1, "{order}");
        },
    );

    // Two purges.
    let two: Vec<Bucket> = (1..=2).map(|number| bucket(number, Some(FIRST))).collect();
    orders += Orders::<TRANSACTS>::run(
        WAITING,
        &two,
        async |store| store.purge_expired(one().purge_at(), 5).await.unwrap(),
        async |store| store.purge_expired(one().purge_at(), 1).await.unwrap(),
        async |store, first, second, order| {
            assert_eq!(first + second, 2, "{order}");
            assert!(!lives(store, 1).await && !lives(store, 2).await, "{order}");
        },
    );
    orders
}

#[test]
fn of_two_calls_in_any_order_of_their_steps_nothing_survives_an_ending() {
    let orders = [all::<true>(), all::<false>()];
    println!("orders: {orders:?}");
    assert!(orders[0] > 100 && orders[1] > 1000, "{orders:?}");
}
