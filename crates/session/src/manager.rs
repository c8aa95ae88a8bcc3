//! The manager: the state that all requests share.

use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};
use secure_sessions_core::{Handle, Millis, Opened, SessionId, Timestamp};
use secure_sessions_store::{AnyStore, AnyVaultStore, Purge, PurgeHandle, StoreError};
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::Instant;

use crate::clock::Clock;
use crate::config::binding::Binding;
use crate::config::build_error::BuildError;
use crate::config::limit::SessionLimit;
use crate::config::{OnReplay, Times};
use crate::detached::Commits;
use crate::error::{SessionError, with_causes};
use crate::event::measure::Measure;
use crate::event::throttle::{EventLimit, Throttle};
use crate::event::{Event, Observer};
use crate::health::Health;
use crate::keyring::Keyring;
use crate::not_before::NotBefore;
use crate::remember::Sealing;
use crate::timed::Timed;
use crate::transport::cookie::{CookieConfig, CookieWriter};
use crate::transport::dpop::Dpop;
use crate::transport::ticket::Devices;
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
    vault: Option<AnyVaultStore>,
    /// The most bytes of a value that stays in the cookie; above, it goes to the vault.
    spill_over: Option<usize>,
    cookie: CookieWriter,
    cookie_name: String,
    persistent: bool,
    times: Times,
    /// The sealer of the cookie transport.
    sealer: ArcSwap<Sealing>,
    cookies: bool,
    bearer: Option<Bearer>,
    binding: Option<Binding>,
    devices: Option<Box<Devices>>,
    dpop: Option<Box<Dpop>>,
    session_limit: SessionLimit,
    on_replay: OnReplay,
    not_before: NotBefore,
    clock: Arc<dyn Clock>,
    observers: Vec<Arc<dyn Observer>>,
    /// The observers that want measurements.
    measuring: Vec<Arc<dyn Observer>>,
    clear_site_data: Option<Arc<str>>,
    csrf_header: &'static str,
    login_url: Option<String>,
    throttle: Option<Throttle>,
    queues: [Mutex<()>; QUEUES],
    commits: Arc<Commits>,
    /// The newest answer of the health check, and when it came. Held while the store is asked.
    health: Mutex<Option<(Instant, Health)>>,
}

/// The number of queues for commits that conflicted with another one of their session. In a queue, each costs one more
/// try and not one for each rival. Sessions that share a queue wait for each other only while both have such conflicts.
const QUEUES: usize = 64;

/// The parts of a checked configuration.
pub(crate) struct Parts {
    pub(crate) store: AnyStore,
    pub(crate) vault: Option<AnyVaultStore>,
    pub(crate) spill_over: Option<usize>,
    pub(crate) cookie: CookieConfig,
    pub(crate) times: Times,
    pub(crate) sealer: Sealing,
    pub(crate) cookies: bool,
    pub(crate) bearer: Option<Bearer>,
    pub(crate) binding: Option<Binding>,
    pub(crate) devices: Option<Box<Devices>>,
    pub(crate) dpop: Option<Box<Dpop>>,
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
        let measuring: Vec<_> = parts.observers.iter().filter(|one| one.wants_measures()).map(Arc::clone).collect();
        let (mut store, mut vault) = (parts.store, parts.vault);
        if !measuring.is_empty() {
            store = AnyStore::new(Timed { store, observers: measuring.clone() });
            vault = vault.map(|store| AnyVaultStore::new(Timed { store, observers: measuring.clone() }));
        }
        Self(Arc::new(Shared {
            store,
            vault,
            spill_over: parts.spill_over,
            measuring,
            cookie: CookieWriter::new(&parts.cookie),
            persistent: parts.cookie.persistent,
            cookie_name: parts.cookie.name,
            times: parts.times,
            sealer: ArcSwap::from_pointee(parts.sealer),
            cookies: parts.cookies,
            bearer: parts.bearer,
            binding: parts.binding,
            devices: parts.devices,
            dpop: parts.dpop,
            session_limit: parts.session_limit,
            on_replay: parts.on_replay,
            not_before: NotBefore::new(parts.not_before),
            clock: parts.clock,
            observers: parts.observers,
            clear_site_data: parts.clear_site_data.map(Arc::from),
            csrf_header: parts.csrf_header,
            login_url: parts.login_url,
            throttle: parts.event_limit.map(Throttle::new),
            queues: [const { Mutex::const_new(()) }; QUEUES],
            commits: Arc::default(),
            health: Mutex::default(),
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

    /// Starts the background task that removes expired sessions, and private values left behind, from their stores, every
    /// minute by the manager's clock.
    /// The task survives store errors. It stops when you stop or drop the handle.
    ///
    /// Call it once per process, inside a tokio runtime. Several processes may do so on one store.
    #[must_use = "the task stops when the handle is dropped; `detach` lets it run for as long as the process"]
    pub fn spawn_purge(&self) -> PurgeHandle {
        let clock = Arc::clone(&self.0.clock);
        let purge = Purge::new(self.0.store.clone()).clock(move || clock.now());
        match &self.0.vault {
            Some(vault) => purge.vault(vault.clone()).spawn(),
            None => purge.spawn(),
        }
    }

    /// Waits until no commit of this manager is under way, and no ending of sessions, including those of clients that hung up.
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

    pub(crate) fn newest_health(&self) -> &Mutex<Option<(Instant, Health)>> {
        &self.0.health
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

    /// Returns the store of private values, if there is one.
    pub(crate) fn vault_store(&self) -> Option<&AnyVaultStore> {
        self.0.vault.as_ref()
    }

    pub(crate) fn spill_over(&self) -> Option<usize> {
        self.0.spill_over
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

    pub(crate) fn devices(&self) -> Option<&Devices> {
        self.0.devices.as_deref()
    }

    pub(crate) fn dpop(&self) -> Option<&Dpop> {
        self.0.dpop.as_deref()
    }

    /// Returns `true` if browsers send the cookie with requests that other sites cause.
    #[cfg(feature = "device")]
    pub(crate) fn cookie_is_cross_site(&self) -> bool {
        self.0.cookie.is_cross_site()
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

    /// Returns the time before which tokens are refused, as far as this process knows.
    pub(crate) fn not_before(&self) -> Option<Timestamp> {
        self.0.not_before.get()
    }

    pub(crate) fn known_not_before(&self) -> &NotBefore {
        &self.0.not_before
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

    /// Tells the observers that want measurements.
    pub(crate) fn measured(&self, measure: Measure) {
        for observer in &self.0.measuring {
            observer.measure(&measure);
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
