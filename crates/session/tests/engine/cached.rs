//! The engine over a cache: it admits a session's newest cookie from memory, and asks the store about every other.
#![cfg(feature = "cached")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use secure_sessions::store::{CachedStore, Entry, SessionId};
use secure_sessions::{AnyStore, Event, Keyring, ManualClock, MemoryStore, SessionManager, SessionStore, StoreError};

use crate::support::App;

const BOUND: Duration = Duration::from_secs(2);

/// Counts what reaches the store behind the cache.
#[derive(Clone)]
struct Counted(MemoryStore, Arc<AtomicU64>);

impl SessionStore for Counted {
    async fn load(&self, id: &SessionId) -> Result<Option<Entry>, StoreError> {
        self.1.fetch_add(1, Ordering::SeqCst);
        self.0.load(id).await
    }

    secure_sessions::store::forward_methods!(self => &self.0;
        insert, replace, renew_into, remove, list, count, remove_all, purge_expired);
}

/// Two processes on one store, the first behind a cache.
struct Processes {
    cached: App,
    elsewhere: App,
    loads: Arc<AtomicU64>,
}

impl Processes {
    fn new() -> Self {
        let (store, loads) = (MemoryStore::new(), Arc::default());
        let (keyring, clock) = (Keyring::generate().unwrap(), ManualClock::at_present());
        let app = |behind: AnyStore| {
            let events = Arc::new(std::sync::Mutex::new(Vec::new()));
            let seen = Arc::clone(&events);
            let manager = SessionManager::builder(keyring.clone(), behind)
                .insecure_dev()
                .clock(clock.clone())
                .observer(move |event: &Event| seen.lock().unwrap().push(event.clone()))
                .build()
                .unwrap();
            App { manager, store: store.clone(), clock: clock.clone(), events }
        };
        let counted = Counted(store.clone(), Arc::clone(&loads));
        Self {
            cached: app(AnyStore::new(CachedStore::new(counted, 1000, BOUND))),
            elsewhere: app(AnyStore::new(store.clone())),
            loads,
        }
    }

    fn loads(&self) -> u64 {
        self.loads.swap(0, Ordering::SeqCst)
    }

    async fn session(&self) -> Option<String> {
        let cookie = self.cached.visit(None, |session| session.insert("n", 1).unwrap()).await;
        assert!(cookie.is_some());
        cookie
    }

    async fn reads(&self, cookie: &Option<String>) -> Option<u64> {
        let (_, session) = self.cached.request(cookie.as_deref()).await;
        session.get::<u64>("n").unwrap()
    }
}

#[tokio::test(start_paused = true)]
async fn the_newest_cookie_is_admitted_from_memory_until_the_bound() {
    let processes = Processes::new();
    let cookie = processes.session().await;
    processes.loads();
    for _ in 0..10 {
        assert_eq!(processes.reads(&cookie).await, Some(1));
    }
    assert_eq!(processes.loads(), 1);
    tokio::time::advance(BOUND).await;
    assert_eq!(processes.reads(&cookie).await, Some(1));
    assert_eq!(processes.loads(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_logout_elsewhere_ends_the_session_here_within_the_bound() {
    let processes = Processes::new();
    let cookie = processes.session().await;
    assert_eq!(processes.reads(&cookie).await, Some(1));
    processes.elsewhere.visit(cookie.as_deref(), |session| session.logout().unwrap()).await;
    tokio::time::advance(BOUND).await;
    assert_eq!(processes.reads(&cookie).await, None);
    let (_, session) = processes.cached.request(cookie.as_deref()).await;
    assert!(session.was_ended());
}

#[tokio::test(start_paused = true)]
async fn a_logout_here_is_seen_at_once() {
    let processes = Processes::new();
    let cookie = processes.session().await;
    assert_eq!(processes.reads(&cookie).await, Some(1));
    processes.cached.visit(cookie.as_deref(), |session| session.logout().unwrap()).await;
    assert_eq!(processes.reads(&cookie).await, None);
}

#[tokio::test(start_paused = true)]
async fn a_write_upon_an_outdated_answer_is_merged_and_revives_no_ended_session() {
    let processes = Processes::new();
    let cookie = processes.session().await;
    assert_eq!(processes.reads(&cookie).await, Some(1));
    // Another process goes on with the session; the answer here is outdated now.
    processes.elsewhere.visit(cookie.as_deref(), |session| session.insert("m", 2).unwrap()).await;
    let newest =
        processes.cached.visit(cookie.as_deref(), |session| session.update("n", |n: &mut u64| *n += 1).unwrap()).await;
    let (_, session) = processes.elsewhere.request(newest.as_deref()).await;
    assert_eq!((session.get::<u64>("n").unwrap(), session.get::<u64>("m").unwrap()), (Some(2), Some(2)));

    // It ends there: a write here, upon an outdated answer, is refused.
    assert_eq!(processes.reads(&newest).await, Some(2));
    processes.elsewhere.visit(newest.as_deref(), |session| session.logout().unwrap()).await;
    let (request, session) = processes.cached.request(newest.as_deref()).await;
    session.insert("n", 9).unwrap();
    let reply = request.finish(200).await;
    assert!(reply.is_some_and(|reply| reply.failure().is_some()));
    assert_eq!(processes.cached.store.count().await.unwrap(), 0);
}

#[tokio::test(start_paused = true)]
async fn every_other_verdict_asks_the_store_first() {
    let processes = Processes::new();
    let old = processes.session().await;
    assert_eq!(processes.reads(&old).await, Some(1));
    // The next cookie, which the cache has never heard of: newer than its bucket, and yet not unremembered.
    let next = processes.elsewhere.visit(old.as_deref(), |session| session.insert("n", 2).unwrap()).await;
    assert_eq!(processes.reads(&next).await, Some(2));
    assert!(processes.cached.event_names().iter().all(|name| *name != "unremembered"));
    // The old one, against a bucket in memory that supersedes it: handed off, by the store's word.
    processes.loads();
    assert_eq!(processes.reads(&old).await, Some(2));
    assert_eq!(processes.loads(), 1);
    // An idle session that was seen elsewhere is not expired here.
    assert_eq!(processes.reads(&next).await, Some(2));
    processes.cached.pass(20 * 60);
    processes.elsewhere.visit(next.as_deref(), |_| {}).await;
    processes.cached.pass(20 * 60);
    let (_, session) = processes.cached.request(next.as_deref()).await;
    assert!(!session.was_ended(), "a session that was seen elsewhere expired");
}
