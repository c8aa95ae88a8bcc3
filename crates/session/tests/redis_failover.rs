//! The engine over a Redis that fails over to a replica which has not got the last writes.
#![cfg(feature = "redis")]
#![allow(clippy::unwrap_used, clippy::panic, unreachable_pub, dead_code, reason = "a test fails by panicking")]

mod support;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use secure_sessions::{Event, Keyring, ManualClock, MemoryStore, RedisOptions, SessionManager, SessionStore};
use services::{Service, or_skip};
use support::App;
use support::address::Address;

/// The longest that anything is waited for, on a busy machine too.
const PATIENCE: Duration = Duration::from_secs(300);

fn app(store: impl SessionStore) -> App {
    let events = Arc::new(Mutex::new(Vec::new()));
    let (seen, clock) = (Arc::clone(&events), ManualClock::at_present());
    let manager = SessionManager::builder(Keyring::generate().unwrap(), store)
        .insecure_dev()
        .clock(clock.clone())
        .observer(move |event: &Event| seen.lock().unwrap().push(event.clone()))
        .build()
        .unwrap();
    App { manager, store: MemoryStore::new(), clock, events }
}

/// Waits until the replica has all that the primary has written so far. `WAIT` would not: it waits for the writes of its own
/// connection.
async fn until_replicated(primary: &Service, replica: &Service) {
    let offset = |server: &Service, name: &str| -> i64 {
        let info = server.redis_call(&["INFO", "replication"]).unwrap();
        info.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().parse().unwrap()
    };
    let (written, start) = (offset(primary, "master_repl_offset:"), Instant::now());
    while offset(replica, "slave_repl_offset:") < written {
        assert!(start.elapsed() < PATIENCE, "the replica does not get what was written");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failover_that_lost_writes_refuses_newer_cookies_and_revokes_nobody() {
    let Some(primary) = or_skip(Service::redis()) else { return };
    let replica = Service::redis_replica_of(&primary).unwrap();
    let address = Address::of(&primary).await;
    let url = format!("redis://127.0.0.1:{}/", address.port);
    let store = RedisOptions::new().timeout(Duration::from_secs(2)).connect(&url).await.unwrap();
    let app = app(store);

    let kept = app.visit(None, |session| session.insert("n", 1).unwrap()).await;
    until_replicated(&primary, &replica).await;
    // From here on the replica hears nothing more, and the primary goes on acknowledging.
    replica.redis_call(&["REPLICAOF", "NO", "ONE"]).unwrap();
    let lost = app.visit(kept.as_deref(), |session| session.insert("n", 2).unwrap()).await;
    assert!(lost.is_some() && lost != kept);
    let born_and_lost = app.visit(None, |session| session.insert("n", 3).unwrap()).await;

    // The primary is gone, and for a moment nobody is there: an error, and no verdict.
    primary.kill().unwrap();
    let refused = app.try_request(&support::Head::with(lost.as_deref())).await;
    assert_eq!(refused.err().unwrap().status(), 503);

    address.leads_to(&replica);
    let start = Instant::now();
    while app.manager.count().await.is_err() {
        assert!(start.elapsed() < PATIENCE, "it does not find the new primary");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(app.manager.count().await.unwrap(), 1);

    // The newest cookie was forgotten: refused and reported, and nobody's session is revoked for it.
    let (request, session) = app.request(lost.as_deref()).await;
    assert!(session.is_new());
    assert_eq!(app.event_names().last(), Some(&"unremembered"));
    assert_eq!(support::set_cookie(request.finish(200).await.as_ref()), None, "the browser keeps its cookie");
    assert_eq!(app.manager.count().await.unwrap(), 1);
    // The one that the replica remembers is good, with the data of its time.
    let (_, session) = app.request(kept.as_deref()).await;
    assert_eq!(session.get::<u64>("n").unwrap(), Some(1));
    // A session that was never heard of is over, and is not made under the cookie's id.
    let (_, session) = app.request(born_and_lost.as_deref()).await;
    assert!(session.is_new() && session.was_ended());
    assert_eq!(app.manager.count().await.unwrap(), 1);
    // And the service goes on.
    let next = app.visit(kept.as_deref(), |session| session.insert("n", 4).unwrap()).await;
    let (_, session) = app.request(next.as_deref()).await;
    assert_eq!(session.get::<u64>("n").unwrap(), Some(4));
    assert!(!app.event_names().iter().any(|name| ["replayed", "forged", "store_tampered"].contains(name)));
}
