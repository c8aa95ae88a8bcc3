//! The end of a process: what clients that hung up asked for is in the store before the runtime ends.

#![allow(clippy::unwrap_used, clippy::panic, unreachable_pub, reason = "a test fails by panicking")]

mod support;

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use secure_sessions::store::{SessionId, StoreError, Timestamp, Tombstone, Which, forward_methods};
use secure_sessions::{
    Clock, Event, Keyring, Login, ManualClock, MemoryStore, Session, SessionError, SessionManager, SessionStore,
};
use support::shelf::Shelf;
use support::{App, Head, set_cookie};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{Notify, Semaphore};

/// A store where whatever ends a session waits at a gate, before it takes effect.
#[derive(Clone)]
struct Gated {
    memory: MemoryStore,
    /// Notified when a call arrives at the gate.
    arrived: Arc<Notify>,
    gate: Arc<Semaphore>,
}

impl Gated {
    fn new() -> Self {
        Self { memory: MemoryStore::new(), arrived: Arc::default(), gate: Arc::new(Semaphore::new(0)) }
    }

    async fn wait(&self) {
        self.arrived.notify_one();
        self.gate.acquire().await.unwrap().forget();
    }

    /// Lets all calls pass from now on.
    fn open(&self) {
        self.gate.add_permits(Semaphore::MAX_PERMITS / 2);
    }
}

impl SessionStore for Gated {
    async fn remove(&self, id: &SessionId, tombstone: Option<Tombstone>) -> Result<bool, StoreError> {
        self.wait().await;
        self.memory.remove(id, tombstone).await
    }

    async fn remove_all(&self, which: Which<'_>, except: Option<&SessionId>) -> Result<u64, StoreError> {
        self.wait().await;
        self.memory.remove_all(which, except).await
    }

    async fn now(&self) -> Result<Option<Timestamp>, StoreError> {
        self.wait().await;
        Ok(None)
    }

    async fn raise_not_before(&self, at: Timestamp) -> Result<(), StoreError> {
        self.wait().await;
        self.memory.raise_not_before(at).await
    }

    forward_methods!(self => &self.memory; insert, load, replace, renew_into, list, count, purge_expired, not_before);
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_time().start_paused(true).build().unwrap()
}

/// An application whose store has a gate, and whose sessions have a vault.
struct Office {
    app: App,
    store: Gated,
    vault: Shelf,
}

impl Office {
    fn new() -> Self {
        let (store, vault, clock) = (Gated::new(), Shelf::default(), ManualClock::at_present());
        let events = Arc::<std::sync::Mutex<Vec<Event>>>::default();
        let seen = Arc::clone(&events);
        let manager = SessionManager::builder(Keyring::generate().unwrap(), store.clone())
            .insecure_dev()
            .clock(clock.clone())
            .vault(vault.clone())
            .observer(move |event: &Event| seen.lock().unwrap().push(event.clone()))
            .build()
            .unwrap();
        Self { app: App { manager, store: store.memory.clone(), clock, events }, store, vault }
    }

    /// Logs alice in, and keeps a private value of hers.
    async fn log_in(&self) -> String {
        let login = Login::new("alice").provider_session("https://login.example", "1");
        let logging_in = |session: &Session| {
            session.login_with(login).unwrap();
            session.vault().insert("a", "of alice").unwrap();
        };
        self.app.visit(None, logging_in).await.unwrap()
    }

    /// Begins something, and drops it while it waits at the gate.
    async fn hang_up(&self, under_way: impl Future) {
        tokio::select! {
            biased;
            _ = under_way => panic!("it does not wait at the gate"),
            () = self.store.arrived.notified() => {}
        }
    }

    /// Opens the gate, and waits until nothing is under way.
    async fn drain(&self) {
        assert!(!is_ready(self.app.manager.drained()), "it is under way");
        self.store.open();
        self.app.manager.drained().await;
    }

    /// Asserts that so many sessions are left, and of the vaults only theirs.
    async fn assert_left(&self, sessions: u64, what: &str) {
        assert_eq!(self.store.count().await.unwrap(), sessions, "{what}");
        assert_eq!(u64::try_from(self.vault.count()).unwrap(), sessions, "{what}: the vaults");
    }
}

/// Polls once.
fn is_ready(future: impl Future) -> bool {
    matches!(pin!(future).poll(&mut Context::from_waker(Waker::noop())), Poll::Ready(_))
}

#[test]
fn a_logout_whose_client_hung_up_outlives_the_runtime_that_was_drained() {
    let (runtime, office) = (runtime(), Office::new());
    runtime.block_on(async {
        let cookie = office.log_in().await;
        let (request, session) = office.app.request(Some(&cookie)).await;
        session.logout().unwrap();
        office.hang_up(request.finish(200)).await;
        office.assert_left(1, "it is under way").await;
        office.drain().await;
    });
    drop(runtime);
    self::runtime().block_on(office.assert_left(0, "it is done"));
}

#[test]
fn drained_waits_for_nobody_where_no_commit_is_under_way() {
    let (runtime, office) = (runtime(), Office::new());
    runtime.block_on(async {
        let cookie = office.log_in().await;
        let (_request, session) = office.app.request(Some(&cookie)).await;
        assert!(session.subject().is_some());
        let saving = session.save();
        drop(saving);
        // The request is still under way, but has nothing to commit yet.
        assert!(is_ready(office.app.manager.drained()));
    });
}

#[test]
fn drained_waits_for_a_save_and_for_every_commit_of_many() {
    let (runtime, office) = (runtime(), Office::new());
    runtime.block_on(async {
        let cookie = office.log_in().await;
        let (other, session) = office.app.request(None).await;
        session.vault().insert("n", 1).unwrap();
        let (_request, session) = office.app.request(Some(&cookie)).await;
        session.logout().unwrap();
        office.hang_up(session.save()).await;
        drop(other.finish(200));
        office.drain().await;
        office.assert_left(1, "the session of the other, and alice's is gone").await;
        assert!(is_ready(office.app.manager.drained()));
    });
}

type Outcome = Pin<Box<dyn Future<Output = Result<(), SessionError>>>>;

/// Ends sessions: of the manager, by the session of a request, or the other session by its cookie.
type End = fn(SessionManager, Session, String) -> Outcome;

/// Every way to end sessions at once, and how many of alice's two sessions it leaves.
const ENDINGS: [(&str, End, u64); 6] = [
    (
        "revoke",
        |manager, _, other| {
            Box::pin(async move {
                let other = manager.begin().session(&Head::with(Some(&other))).await?;
                manager.revoke("alice", &other.id().unwrap()).await
            })
        },
        1,
    ),
    ("revoke_subject", |manager, _, _| Box::pin(async move { manager.revoke_subject("alice").await.map(drop) }), 0),
    (
        "revoke_provider_session",
        |manager, _, _| {
            Box::pin(async move { manager.revoke_provider_session("https://login.example", "1").await.map(drop) })
        },
        0,
    ),
    ("revoke_everything", |manager, _, _| Box::pin(async move { manager.revoke_everything().await.map(drop) }), 0),
    (
        "a session's revoke",
        |manager, session, other| {
            Box::pin(async move {
                let other = manager.begin().session(&Head::with(Some(&other))).await?;
                session.revoke(&other.id().unwrap()).await
            })
        },
        1,
    ),
    ("a session's revoke_others", |_, session, _| Box::pin(async move { session.revoke_others().await.map(drop) }), 1),
];

#[test]
fn every_ending_of_sessions_goes_on_when_its_caller_hangs_up() {
    for (name, end, left) in ENDINGS {
        let (runtime, office) = (runtime(), Office::new());
        runtime.block_on(async {
            let cookie = office.log_in().await;
            let own = office.log_in().await;
            let (_request, session) = office.app.request(Some(&own)).await;
            // An ending of everything leaves the values of the last minute to the purge.
            office.app.pass(61);
            office.hang_up(end(office.app.manager.clone(), session, cookie.clone())).await;
            office.assert_left(2, "it is under way").await;
            office.drain().await;
            office.assert_left(left, name).await;
            assert_eq!(office.app.event_names().last(), Some(&"ended"), "{name}");
            // The host's memory does not go on with them.
            let (_, session) = office.app.request(Some(&cookie)).await;
            assert_eq!(session.subject(), None, "{name}");
        });
    }
}

#[test]
fn a_time_that_refuses_old_tokens_holds_although_its_caller_hung_up() {
    let (runtime, office) = (runtime(), Office::new());
    runtime.block_on(async {
        let cookie = office.log_in().await;
        office.app.pass(1);
        let now = office.app.clock.now();
        office.hang_up(office.app.manager.set_not_before(now)).await;
        office.drain().await;
        assert_eq!(office.store.not_before().await.unwrap(), Some(now));
        assert!(office.app.event_names().contains(&"not_before"));
        assert_eq!(office.app.request(Some(&cookie)).await.1.subject(), None, "at once where it was called");
    });
}

#[test]
fn a_replay_ends_the_session_although_its_sender_hangs_up() {
    let (runtime, office) = (runtime(), Office::new());
    runtime.block_on(async {
        let stolen = office.log_in().await;
        let mut newest = stolen.clone();
        for n in 0..2 {
            newest = office.app.visit(Some(&newest), |session| session.insert("n", n).unwrap()).await.unwrap();
            office.app.pass(61);
        }
        let request = office.app.manager.begin();
        office.hang_up(request.session(&Head::with(Some(&stolen)))).await;
        office.drain().await;
        office.assert_left(0, "the thief holds a copy of the session").await;
        assert_eq!(office.app.event_names().last(), Some(&"replayed"));
        assert_eq!(office.app.request(Some(&newest)).await.1.subject(), None);
        assert_eq!(set_cookie(request.finish(200).await.as_ref()), None);
    });
}
