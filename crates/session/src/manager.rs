//! The manager: the state that all requests share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::{ArcSwap, Guard};
use secure_sessions_core::{Handle, Millis, Opened, SessionId, Timestamp};
use secure_sessions_store::{AnyStore, Purge, PurgeHandle, StoreError};
use tokio::sync::{Mutex, MutexGuard};

use crate::clock::Clock;
use crate::config::binding::Binding;
use crate::config::build_error::BuildError;
use crate::config::limit::SessionLimit;
use crate::config::{OnReplay, Times};
use crate::detached::Commits;
use crate::error::{SessionError, with_causes};
use crate::event::throttle::{EventLimit, Throttle};
use crate::event::{Event, Observer};
use crate::keyring::Keyring;
use crate::remember::Sealing;
use crate::transport::cookie::{CookieConfig, CookieWriter};
use crate::transport::{Bearer, Transport};

/// Holds the keyring, the store, the configuration and the clock of one kind of session. Cheap to clone.
///
/// ```
/// use secure_sessions::{Keyring, MemoryStore, SessionManager};
///
/// let manager = SessionManager::builder(Keyring::generate()?, MemoryStore::new())
///     .cookie_name("__Host-shop")
///     .build()?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct SessionManager(Arc<Shared>);

struct Shared {
    store: AnyStore,
    cookie: CookieWriter,
    cookie_name: String,
    persistent: bool,
    times: Times,
    /// The sealer of the cookie transport.
    sealer: ArcSwap<Sealing>,
    cookies: bool,
    bearer: Option<Bearer>,
    binding: Option<Binding>,
    session_limit: SessionLimit,
    on_replay: OnReplay,
    /// The time in milliseconds; zero for none.
    not_before: AtomicU64,
    clock: Arc<dyn Clock>,
    observers: Vec<Arc<dyn Observer>>,
    clear_site_data: Option<Arc<str>>,
    csrf_header: &'static str,
    login_url: Option<String>,
    throttle: Option<Throttle>,
    queues: [Mutex<()>; QUEUES],
    commits: Arc<Commits>,
}

/// The number of queues for commits that conflicted with another one of their session. In a queue, each costs one more
/// try and not one for each rival. Sessions that share a queue wait for each other only while both have such conflicts.
const QUEUES: usize = 64;

/// The parts of a checked configuration.
pub(crate) struct Parts {
    pub(crate) store: AnyStore,
    pub(crate) cookie: CookieConfig,
    pub(crate) times: Times,
    pub(crate) sealer: Sealing,
    pub(crate) cookies: bool,
    pub(crate) bearer: Option<Bearer>,
    pub(crate) binding: Option<Binding>,
    pub(crate) session_limit: SessionLimit,
    pub(crate) on_replay: OnReplay,
    pub(crate) not_before: Option<Timestamp>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) observers: Vec<Arc<dyn Observer>>,
    pub(crate) clear_site_data: Option<String>,
    pub(crate) csrf_header: &'static str,
    pub(crate) login_url: Option<String>,
    pub(crate) event_limit: Option<EventLimit>,
}

impl SessionManager {
    pub(crate) fn from_parts(parts: Parts) -> Self {
        Self(Arc::new(Shared {
            store: parts.store,
            cookie: CookieWriter::new(&parts.cookie),
            persistent: parts.cookie.persistent,
            cookie_name: parts.cookie.name,
            times: parts.times,
            sealer: ArcSwap::from_pointee(parts.sealer),
            cookies: parts.cookies,
            bearer: parts.bearer,
            binding: parts.binding,
            session_limit: parts.session_limit,
            on_replay: parts.on_replay,
            not_before: AtomicU64::new(parts.not_before.map_or(0, Timestamp::as_millis)),
            clock: parts.clock,
            observers: parts.observers,
            clear_site_data: parts.clear_site_data.map(Arc::from),
            csrf_header: parts.csrf_header,
            login_url: parts.login_url,
            throttle: parts.event_limit.map(Throttle::new),
            queues: [const { Mutex::const_new(()) }; QUEUES],
            commits: Arc::default(),
        }))
    }

    /// Returns the cookie's name.
    #[must_use]
    pub fn cookie_name(&self) -> &str {
        &self.0.cookie_name
    }

    /// Returns the largest size of the cookie's name and value together, in bytes.
    #[must_use]
    pub fn size_limit(&self) -> usize {
        self.sealer(Transport::Cookie).sizes().limit()
    }

    /// Returns the request header that carries a CSRF token, in lower case.
    #[must_use]
    pub fn csrf_header(&self) -> &'static str {
        self.0.csrf_header
    }

    /// Returns the [login page](crate::Builder::login_url), if there is one.
    #[must_use]
    pub fn login_url(&self) -> Option<&str> {
        self.0.login_url.as_deref()
    }

    /// Returns the store.
    #[must_use]
    pub fn store(&self) -> &AnyStore {
        &self.0.store
    }

    /// Replaces the keys while requests run, and raises [`Event::KeysChanged`]. Requests that started with the old keys
    /// finish with them. [`reload_keys`](Self::reload_keys) and [`watch_keys`](Self::watch_keys) call it with the keys
    /// that they load.
    ///
    /// # Errors
    ///
    /// Never fails today: the cookie's name and sizes were checked when the manager was built.
    pub fn set_keyring(&self, keyring: Keyring) -> Result<(), BuildError> {
        let sealer = self.sealer(Transport::Cookie).with_keyring(Arc::clone(&keyring.0));
        // Emptied now, since requests under way may keep the old memory alive.
        self.0.sealer.swap(Arc::new(sealer)).forget_where(|_| true);
        if let Some(bearer) = &self.0.bearer {
            bearer.set_keyring(keyring.0);
        }
        self.report_keys();
        Ok(())
    }

    /// Refuses every token issued before this time, from now on; `None` accepts them again.
    pub fn set_not_before(&self, not_before: Option<Timestamp>) {
        self.0.not_before.store(not_before.map_or(0, Timestamp::as_millis), Ordering::SeqCst);
    }

    /// Starts the background task that removes expired sessions from the store, every minute by the manager's clock.
    /// The task survives store errors. It stops when you stop or drop the handle.
    ///
    /// Call it once per process, inside a tokio runtime. Several processes may do so on one store.
    #[must_use = "the task stops when the handle is dropped; `detach` lets it run for as long as the process"]
    pub fn spawn_purge(&self) -> PurgeHandle {
        let clock = Arc::clone(&self.0.clock);
        Purge::new(self.0.store.clone()).clock(move || clock.now()).spawn()
    }

    /// Waits until no commit of this manager is under way, including those of clients that hung up.
    ///
    /// Await it after the server has shut down gracefully and before the runtime ends. A runtime that ends drops the
    /// commits under way, and with them a logout whose client did not wait for the response. Actix Web's workers have
    /// runtimes of their own, which end with the server: there, pause the server, await this, and then stop it.
    ///
    /// A commit waits for the store, so set a time limit if your store has none.
    ///
    /// ```
    /// use std::time::Duration;
    /// use secure_sessions::{Keyring, MemoryStore, SessionManager};
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(async {
    /// let manager = SessionManager::builder(Keyring::generate()?, MemoryStore::new()).build()?;
    /// // Serve with a clone of it, until the server has shut down gracefully. Then:
    /// if tokio::time::timeout(Duration::from_secs(10), manager.drained()).await.is_err() {
    ///     eprintln!("the store did not answer in time: what was being written may be lost");
    /// }
    /// # Ok::<_, Box<dyn std::error::Error>>(()) })?;
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub async fn drained(&self) {
        self.0.commits.drained().await;
    }

    pub(crate) fn commits(&self) -> &Arc<Commits> {
        &self.0.commits
    }

    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Returns the sealer of a transport. To hold it across an await, take the `Arc` out of the guard.
    pub(crate) fn sealer(&self, transport: Transport) -> Guard<Arc<Sealing>> {
        match (&self.0.bearer, transport) {
            (Some(bearer), Transport::Bearer) => bearer.sealer.load(),
            _ => self.0.sealer.load(),
        }
    }

    /// Forgets the remembered tokens of a session that has ended or moved on.
    pub(crate) fn forget(&self, id: &SessionId) {
        self.forget_where(|opened| opened.session_id() == *id);
    }

    pub(crate) fn forget_where(&self, is_over: impl Fn(&Opened) -> bool) {
        self.0.sealer.load().forget_where(&is_over);
        if let Some(bearer) = &self.0.bearer {
            bearer.sealer.load().forget_where(is_over);
        }
    }

    pub(crate) fn takes_cookies(&self) -> bool {
        self.0.cookies
    }

    pub(crate) fn bearer(&self) -> Option<&Bearer> {
        self.0.bearer.as_ref()
    }

    pub(crate) fn binding(&self) -> Option<&Binding> {
        self.0.binding.as_ref()
    }

    pub(crate) fn session_limit(&self) -> SessionLimit {
        self.0.session_limit
    }

    pub(crate) fn cookie(&self) -> &CookieWriter {
        &self.0.cookie
    }

    pub(crate) fn persistent(&self) -> bool {
        self.0.persistent
    }

    pub(crate) fn times(&self) -> &Times {
        &self.0.times
    }

    pub(crate) fn on_replay(&self) -> OnReplay {
        self.0.on_replay
    }

    pub(crate) fn not_before(&self) -> Option<Timestamp> {
        Some(self.0.not_before.load(Ordering::Relaxed)).filter(|millis| *millis > 0).map(Timestamp::from_millis)
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.0.clock.now()
    }

    pub(crate) fn handle(&self, id: &SessionId) -> Handle {
        self.sealer(Transport::Cookie).keyring().handle(id)
    }

    /// Sends an event to every observer, and to the log within the limit that keeps an attacker from flooding it.
    pub(crate) fn emit(&self, event: &Event) {
        match &self.0.throttle {
            Some(throttle) => throttle.pass(event, self.now().as_millis(), Event::trace),
            None => event.trace(),
        }
        for observer in &self.0.observers {
            observer.observe(event);
        }
    }

    /// Emits an event of ordinary requests, and creates it only if the log or an observer receives it.
    pub(crate) fn emit_if_heard(&self, event: impl FnOnce() -> Event) {
        // The next event that passes also reports those that were left out of the log.
        let reports = self.0.throttle.as_ref().is_some_and(Throttle::has_suppressed);
        if reports
            || !self.0.observers.is_empty()
            || tracing::enabled!(target: "secure_sessions", tracing::Level::DEBUG)
        {
            self.emit(&event());
        }
    }

    pub(crate) fn clear_site_data(&self) -> Option<&Arc<str>> {
        self.0.clear_site_data.as_ref()
    }

    /// Reports a store's failure, and returns it as the handler's error.
    pub(crate) fn store_failed(&self, operation: &'static str, error: StoreError) -> SessionError {
        self.emit(&Event::StoreError { operation, message: with_causes(&error) });
        SessionError::Store(error)
    }

    pub(crate) async fn queue(&self, id: &SessionId) -> MutexGuard<'_, ()> {
        let [first, ..] = id.as_bytes();
        self.0.queues[usize::from(*first) % QUEUES].lock().await
    }

    /// Returns the idle timeout and the absolute lifetime of a session with these overrides.
    pub(crate) fn lifetimes(&self, meta: &secure_sessions_core::Meta) -> (Option<Millis>, Millis) {
        (meta.idle_timeout.or(self.0.times.idle), meta.lifetime.unwrap_or(self.0.times.absolute))
    }
}

impl std::fmt::Debug for SessionManager {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SessionManager").field("cookie_name", &self.0.cookie_name).finish_non_exhaustive()
    }
}
