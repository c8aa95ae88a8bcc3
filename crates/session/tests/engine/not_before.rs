//! One call refuses old tokens on every host, whatever is restarted, and requests hardly wait to learn of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use secure_sessions::store::{AnyStore, SessionStore, StoreError};
use secure_sessions::{Clock, Event, Keyring, ManualClock, MemoryStore, SessionError, SessionManager, Timestamp};
use tokio::sync::Semaphore;

use crate::support::{Head, app, app_with, set_cookie};

/// A store on another machine: the answers of one call wait for a permit.
#[derive(Clone)]
struct Remote {
    memory: MemoryStore,
    asked: Arc<AtomicU32>,
    permits: Arc<Semaphore>,
    is_down: Arc<AtomicBool>,
}

impl Remote {
    fn new() -> Self {
        let permits = Arc::new(Semaphore::new(0));
        Self { memory: MemoryStore::new(), asked: Arc::default(), permits, is_down: Arc::default() }
    }

    fn asked(&self) -> u32 {
        self.asked.load(Ordering::SeqCst)
    }

    /// Lets so many questions be answered.
    fn answer(&self, questions: usize) {
        self.permits.add_permits(questions);
    }
}

impl SessionStore for Remote {
    async fn not_before(&self) -> Result<Option<Timestamp>, StoreError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        self.permits.acquire().await.unwrap().forget();
        if self.is_down.load(Ordering::SeqCst) {
            return Err(StoreError::Timeout);
        }
        self.memory.not_before().await
    }

    secure_sessions::store::forward_methods!(self => &self.memory;
        insert, load, replace, renew_into, remove, list, count, remove_all, purge_expired, raise_not_before);
}

fn host(keyring: &Keyring, store: impl SessionStore, clock: &ManualClock) -> SessionManager {
    SessionManager::builder(keyring.clone(), store).insecure_dev().clock(clock.clone()).build().unwrap()
}

async fn log_in(host: &SessionManager) -> String {
    let request = host.begin();
    request.session(&Head::with(None)).await.unwrap().login("alice").unwrap();
    set_cookie(request.finish(200).await.as_ref()).unwrap()
}

async fn subject(host: &SessionManager, cookie: &str) -> Result<Option<String>, SessionError> {
    Ok(host.begin().session(&Head::with(Some(cookie))).await?.subject())
}

#[tokio::test]
async fn one_call_holds_on_every_host_and_after_every_restart() {
    let (keyring, store, clock) = (Keyring::generate().unwrap(), MemoryStore::new(), ManualClock::at_present());
    let (one, two) = (host(&keyring, store.clone(), &clock), host(&keyring, store.clone(), &clock));
    let old = log_in(&one).await;
    assert_eq!(subject(&two, &old).await.unwrap().as_deref(), Some("alice"));
    clock.advance(Duration::from_secs(1));
    one.set_not_before(clock.now()).await.unwrap();
    assert_eq!(subject(&one, &old).await.unwrap(), None, "at once where it was called");
    clock.advance(Duration::from_secs(10));
    assert_eq!(subject(&two, &old).await.unwrap(), None, "ten seconds later everywhere");
    let restarted = host(&keyring, store, &clock);
    assert_eq!(subject(&restarted, &old).await.unwrap(), None, "and after a restart");
    let new = log_in(&restarted).await;
    for host in [&one, &two, &restarted] {
        assert_eq!(subject(host, &new).await.unwrap().as_deref(), Some("alice"));
    }
}

#[tokio::test]
async fn the_time_never_moves_back() {
    let app = app_with(|builder| builder.not_before(Timestamp::from_millis(5)));
    let now = app.clock.now();
    assert_eq!(app.manager.set_not_before(Timestamp::from_millis(3)).await.unwrap(), Timestamp::from_millis(5));
    assert_eq!(app.manager.set_not_before(now).await.unwrap(), now);
    assert_eq!(app.manager.set_not_before(Timestamp::from_millis(7)).await.unwrap(), now, "the later one stays");
    assert_eq!(app.event_names(), ["not_before"], "a time that changes nothing is no event");
}

#[tokio::test]
async fn a_time_in_the_future_is_refused_and_nothing_is_kept() {
    let app = app();
    let year = Duration::from_secs(365 * 86_400);
    let wrong = app.clock.now().after(year.into());
    let refused = app.manager.set_not_before(wrong).await.unwrap_err();
    assert!(matches!(refused, SessionError::NotBefore { ahead } if ahead == year), "{refused}");
    assert_eq!(app.store.not_before().await.unwrap(), None);
    // Another host's clock may be a little ahead.
    app.manager.set_not_before(app.clock.now().after(Duration::from_secs(30).into())).await.unwrap();
}

#[tokio::test]
async fn a_host_with_a_clock_ahead_refuses_no_login_of_the_next_hours() {
    /// A store whose server's clock is right.
    struct OnTime(MemoryStore, ManualClock);
    impl SessionStore for OnTime {
        async fn now(&self) -> Result<Option<Timestamp>, StoreError> {
            Ok(Some(self.1.now()))
        }

        secure_sessions::store::forward_methods!(self => &self.0;
            insert, load, replace, renew_into, remove, list, count, remove_all, purge_expired, not_before,
            raise_not_before);
    }
    let (keyring, right) = (Keyring::generate().unwrap(), ManualClock::at_present());
    let hours = Duration::from_secs(2 * 3600);
    let ahead = ManualClock::at_millis(right.now().after(hours.into()).as_millis());
    let host = host(&keyring, OnTime(MemoryStore::new(), right.clone()), &ahead);
    let refused = host.set_not_before(ahead.now()).await.unwrap_err();
    assert!(matches!(refused, SessionError::NotBefore { ahead } if ahead == hours), "{refused}");
    assert_eq!(host.store().not_before().await.unwrap(), None);
    assert_eq!(host.set_not_before(right.now()).await.unwrap(), right.now());
}

#[tokio::test]
async fn a_store_whose_clock_cannot_be_asked_takes_the_time_all_the_same() {
    struct Clockless(MemoryStore);
    impl SessionStore for Clockless {
        async fn now(&self) -> Result<Option<Timestamp>, StoreError> {
            Err(StoreError::Timeout)
        }

        secure_sessions::store::forward_methods!(self => &self.0;
            insert, load, replace, renew_into, remove, list, count, remove_all, purge_expired, not_before,
            raise_not_before);
    }
    let clock = ManualClock::at_present();
    let host = host(&Keyring::generate().unwrap(), Clockless(MemoryStore::new()), &clock);
    assert_eq!(host.set_not_before(clock.now()).await.unwrap(), clock.now());
}

#[tokio::test]
async fn a_store_that_keeps_no_such_time_says_so_and_nothing_changes() {
    struct Plain(MemoryStore);
    impl SessionStore for Plain {
        secure_sessions::store::forward_methods!(self => &self.0;
            insert, load, replace, renew_into, remove, list, count, remove_all, purge_expired);
    }
    let (keyring, clock) = (Keyring::generate().unwrap(), ManualClock::at_present());
    let host = host(&keyring, Plain(MemoryStore::new()), &clock);
    let cookie = log_in(&host).await;
    clock.advance(Duration::from_secs(1));
    let refused = host.set_not_before(clock.now()).await.unwrap_err();
    assert!(matches!(refused, SessionError::Store(StoreError::Unsupported(_))), "{refused}");
    assert_eq!(subject(&host, &cookie).await.unwrap().as_deref(), Some("alice"));
}

#[tokio::test]
async fn a_request_waits_for_the_first_answer_and_later_ones_come_beside_it() {
    let (keyring, store, clock) = (Keyring::generate().unwrap(), Remote::new(), ManualClock::at_present());
    let host = host(&keyring, store.clone(), &clock);
    let cookie = log_in(&host).await;
    assert_eq!(store.asked(), 0, "a request without a token does not ask");

    // The first token waits: the process knows nothing yet.
    let first = tokio::spawn({
        let (host, cookie) = (host.clone(), cookie.clone());
        async move { subject(&host, &cookie).await }
    });
    while store.asked() == 0 {
        tokio::task::yield_now().await;
    }
    assert!(!first.is_finished());
    store.answer(1);
    assert_eq!(first.await.unwrap().unwrap().as_deref(), Some("alice"));
    subject(&host, &cookie).await.unwrap();
    assert_eq!(store.asked(), 1, "the answer serves all requests of five seconds");

    // After five seconds one request has it renewed, and none waits, although the store does not answer.
    clock.advance(Duration::from_secs(6));
    for _ in 0..20 {
        assert_eq!(subject(&host, &cookie).await.unwrap().as_deref(), Some("alice"));
    }
    while store.asked() == 1 {
        tokio::task::yield_now().await;
    }
    assert_eq!(store.asked(), 2, "one request at a time asks");

    // Ten seconds after the answer the next request waits.
    clock.advance(Duration::from_secs(5));
    store.raise_not_before(clock.now()).await.unwrap();
    let late = tokio::spawn({
        let (host, cookie) = (host.clone(), cookie.clone());
        async move { subject(&host, &cookie).await }
    });
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
    assert!(!late.is_finished());
    store.answer(2);
    assert_eq!(late.await.unwrap().unwrap(), None);
}

#[tokio::test]
async fn requests_do_not_wait_one_after_another_for_a_store_that_hangs() {
    let (keyring, store, clock) = (Keyring::generate().unwrap(), Remote::new(), ManualClock::at_present());
    let host = host(&keyring, store.clone(), &clock);
    let cookie = log_in(&host).await;
    let asking = (0..10).map(|_| {
        let (host, cookie) = (host.clone(), cookie.clone());
        tokio::spawn(async move { subject(&host, &cookie).await })
    });
    let asking: Vec<_> = asking.collect();
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
    assert_eq!(store.asked(), 10, "each has asked, and its wait has begun");
    store.answer(10);
    for answer in asking {
        assert_eq!(answer.await.unwrap().unwrap().as_deref(), Some("alice"));
    }
}

#[tokio::test]
async fn without_an_answer_no_token_is_admitted() {
    let (keyring, store, clock) = (Keyring::generate().unwrap(), Remote::new(), ManualClock::at_present());
    store.answer(100);
    let host = host(&keyring, store.clone(), &clock);
    let cookie = log_in(&host).await;
    store.is_down.store(true, Ordering::SeqCst);
    assert!(matches!(subject(&host, &cookie).await, Err(SessionError::Store(StoreError::Timeout))));
    store.is_down.store(false, Ordering::SeqCst);
    assert_eq!(subject(&host, &cookie).await.unwrap().as_deref(), Some("alice"));
}

#[tokio::test]
async fn a_long_connection_is_over_with_its_token() {
    let app = app();
    let cookie = app.visit(None, |session| session.login("alice").unwrap()).await;
    let (_, session) = app.request(cookie.as_deref()).await;
    assert!(session.is_live().await.unwrap() && session.touch().await.unwrap());
    app.pass(1);
    AnyStore::new(app.store.clone()).raise_not_before(app.clock.now()).await.unwrap();
    app.pass(10);
    assert!(!session.is_live().await.unwrap());
    app.pass(60);
    assert!(!session.touch().await.unwrap(), "and nothing keeps its session alive");
    assert!(app.manager.sessions_of("alice").await.unwrap()[0].last_seen_at < app.clock.now());
    let events = app.events.lock().unwrap();
    let Some(event @ Event::NotBefore { at }) = events.last() else { panic!("{events:?}") };
    // In the form in which the tool's `not-before` prints it.
    assert_eq!(event.to_string(), format!("tokens issued before {at} are refused from now on"));
}
