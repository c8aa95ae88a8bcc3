//! Many large writes at once, which go over several sockets, and what happens to those when the server breaks them.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use secure_sessions_store::{Bucket, RedisStore, Revision, SessionStore, StoreError};
use services::{Service, or_skip};
use tokio::task::JoinHandle;

use super::common::next;
use super::failover::fail_over;
use super::support::{self, is_alive, open, pair, until};
use super::way::Way;

/// The most sockets of a store for its usual calls.
const SOCKETS: usize = 8;

/// A session just after a change, with its handoff.
fn bucket(id: u8) -> Bucket {
    Bucket { handoff: Some(vec![7; 3000]), ..support::bucket(id) }
}

/// The ids of the server's clients, without the one that asks.
fn clients(redis: &Service) -> BTreeSet<u64> {
    let list = redis.redis_call(&["CLIENT", "LIST", "TYPE", "normal"]).unwrap();
    let others = list.lines().filter(|line| !line.contains("cmd=client"));
    others.map(|line| line.strip_prefix("id=").unwrap().split(' ').next().unwrap().parse().unwrap()).collect()
}

type Inserts = Vec<JoinHandle<Result<(), StoreError>>>;

/// Inserts sessions that the server holds up, more and more of them until the store has all its sockets.
async fn crowded(redis: &Service, store: &RedisStore) -> Inserts {
    redis.redis_call(&["CLIENT", "PAUSE", "60000", "WRITE"]).unwrap();
    let start = Instant::now();
    let mut inserts = Inserts::new();
    while clients(redis).len() < SOCKETS {
        assert!(start.elapsed() < Duration::from_secs(30), "{} of {} sockets", clients(redis).len(), SOCKETS);
        if let Some(insert) = insert_next(store, &inserts) {
            inserts.push(insert);
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    inserts
}

fn insert_next(store: &RedisStore, inserts: &Inserts) -> Option<JoinHandle<Result<(), StoreError>>> {
    let id = u8::try_from(inserts.len() + 1).ok()?;
    let store = store.clone();
    Some(tokio::spawn(async move { store.insert(&bucket(id)).await }))
}

/// Lets the server go on. Returns the sessions.
async fn done(redis: &Service, inserts: Inserts) -> Vec<Bucket> {
    redis.redis_call(&["CLIENT", "UNPAUSE"]).unwrap();
    let mut sessions = Vec::new();
    for (insert, id) in inserts.into_iter().zip(1..) {
        insert.await.unwrap().unwrap();
        sessions.push(bucket(id));
    }
    sessions
}

#[tokio::test]
async fn large_writes_that_pile_up_go_over_eight_sockets_and_no_more() {
    let Some(redis) = or_skip(Service::redis()) else { return };
    let store = open(redis.url()).await;
    for id in 1..=64 {
        store.insert(&bucket(id)).await.unwrap();
        assert!(store.remove(&bucket(id).id, None).await.unwrap());
    }
    assert_eq!(clients(&redis).len(), 1, "one after the other they share a socket");
    let looked = join_all((1..=64).map(|id| is_there(&store, id))).await;
    assert_eq!((looked, clients(&redis).len()), (vec![false; 64], 1), "reads are small");

    let mut inserts = crowded(&redis, &store).await;
    for _ in 0..40 {
        inserts.extend(insert_next(&store, &inserts));
        tokio::task::yield_now().await;
    }
    let sessions = done(&redis, inserts).await;
    assert_eq!(clients(&redis).len(), SOCKETS);
    for session in &sessions {
        assert!(is_alive(&store, session).await);
    }
}

#[tokio::test]
async fn sockets_that_nobody_needs_any_more_are_closed() {
    let Some(redis) = or_skip(Service::redis()) else { return };
    let store = open(redis.url()).await;
    let inserts = crowded(&redis, &store).await;
    done(&redis, inserts).await;
    assert!(is_there(&store, 1).await);
    assert_eq!(clients(&redis).len(), SOCKETS, "not at once");
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(31)).await;
    tokio::time::resume();
    assert!(is_there(&store, 1).await);
    let start = Instant::now();
    while clients(&redis).len() > 1 {
        assert!(start.elapsed() < Duration::from_secs(60), "{} sockets are left", clients(&redis).len());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn is_there(store: &RedisStore, id: u8) -> bool {
    is_alive(store, &bucket(id)).await
}

#[tokio::test]
async fn a_break_of_all_sockets_at_once_fails_no_call() {
    let Some(redis) = or_skip(Service::redis()) else { return };
    let store = open(redis.url()).await;
    let inserts = crowded(&redis, &store).await;
    let (sessions, before) = (done(&redis, inserts).await, clients(&redis));
    redis.redis_call(&["CLIENT", "KILL", "TYPE", "normal"]).unwrap();
    let swaps = join_all(sessions.iter().map(async |session| store.replace(&next(session), Revision::FIRST).await));
    assert!(swaps.await.into_iter().all(|swapped| swapped.unwrap()));
    assert!(clients(&redis).is_disjoint(&before));
}

#[tokio::test]
async fn a_server_that_takes_no_more_clients_is_written_to_over_one_socket() {
    let Some(redis) = or_skip(Service::redis()) else { return };
    let store = open(redis.url()).await;
    redis.redis_call(&["CONFIG", "SET", "maxclients", "1"]).unwrap();
    for _ in 0..3 {
        let inserts = join_all((1..=64).map(async |id| store.insert(&bucket(id)).await)).await;
        inserts.into_iter().for_each(|inserted| inserted.unwrap());
        let removals = join_all((1..=64).map(async |id| store.remove(&bucket(id).id, None).await)).await;
        assert!(removals.into_iter().all(|removed| removed.unwrap()));
    }
    assert!(redis.redis_call(&["PING"]).is_err(), "it takes no more clients");
}

#[tokio::test]
async fn after_a_failover_no_socket_leads_to_the_old_primary() {
    let Some((old, new)) = pair() else { return };
    let address = Way::to(&old);
    let store = open(&address.url()).await;
    let inserts = crowded(&old, &store).await;
    let sessions = done(&old, inserts).await;
    fail_over(&old, &new);
    address.move_to(&new);
    let swaps = join_all(sessions.iter().map(async |session| store.replace(&next(session), Revision::FIRST).await));
    assert!(swaps.await.into_iter().all(|swapped| swapped.unwrap()));
    until("the end of the old sockets", || clients(&old).is_empty());
}
