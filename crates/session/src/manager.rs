//! The manager: what all requests share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::{ArcSwap, Guard};
use secure_sessions_core::{Handle, Millis, Sealer, SessionId, Timestamp};
use secure_sessions_store::{AnyStore, Purge, PurgeHandle, SessionStore, StoreError};
use tokio::sync::{Mutex, MutexGuard};

use crate::clock::Clock;
use crate::config::{BuildError, Builder, OnReplay, Parts, Times};
use crate::cookie::CookieWriter;
use crate::error::{SessionError, with_causes};
use crate::event::{Event, Observer};
use crate::keyring::Keyring;
use crate::request::RequestSession;

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
    sealer: ArcSwap<Sealer>,
    on_replay: OnReplay,
    /// Milliseconds; zero for none.
    not_before: AtomicU64,
    clock: Arc<dyn Clock>,
    observers: Vec<Arc<dyn Observer>>,
    queues: [Mutex<()>; QUEUES],
}

/// Commits that met another one of their session queue up, so that each costs one more try and not one for each rival.
/// Sessions that share a queue wait for one another only while both have such conflicts.
const QUEUES: usize = 64;

impl SessionManager {
    /// Starts with the defaults. The keys are for signing and sealing, the store for fingerprints.
    pub fn builder(keyring: Keyring, store: impl SessionStore) -> Builder {
        Builder::new(keyring, store)
    }

    pub(crate) fn from_parts(parts: Parts) -> Self {
        Self(Arc::new(Shared {
            store: parts.store,
            cookie: CookieWriter::new(&parts.cookie),
            persistent: parts.cookie.persistent,
            cookie_name: parts.cookie.name,
            times: parts.times,
            sealer: ArcSwap::from_pointee(parts.sealer),
            on_replay: parts.on_replay,
            not_before: AtomicU64::new(parts.not_before.map_or(0, Timestamp::as_millis)),
            clock: parts.clock,
            observers: parts.observers,
            queues: [const { Mutex::const_new(()) }; QUEUES],
        }))
    }

    /// Begins a request. An adapter keeps what it gets with the request, and calls [`RequestSession::finish`] before it
    /// sends the response's headers. This captures nothing and reads nothing.
    #[must_use]
    pub fn begin(&self) -> RequestSession {
        RequestSession::new(self.clone())
    }

    /// The cookie's name.
    #[must_use]
    pub fn cookie_name(&self) -> &str {
        &self.0.cookie_name
    }

    /// The most bytes that the cookie's name and value may have.
    #[must_use]
    pub fn size_limit(&self) -> usize {
        self.sealer().sizes().limit()
    }

    /// The store.
    #[must_use]
    pub fn store(&self) -> &AnyStore {
        &self.0.store
    }

    /// Replaces the keys while requests run. Requests that began with the old keys end with them.
    ///
    /// # Errors
    ///
    /// None today: the cookie's name and sizes were checked when the manager was built.
    pub fn set_keyring(&self, keyring: Keyring) -> Result<(), BuildError> {
        let sizes = self.sealer().sizes().clone();
        let sealer = Sealer::new(keyring.0, &self.0.cookie_name, sizes)?;
        self.0.sealer.store(Arc::new(sealer));
        Ok(())
    }

    /// Refuses, from now on, every token issued earlier; `None` ends that.
    pub fn set_not_before(&self, not_before: Option<Timestamp>) {
        self.0.not_before.store(not_before.map_or(0, Timestamp::as_millis), Ordering::SeqCst);
    }

    /// Starts the background task that removes expired sessions from the store, every minute by the manager's clock. It
    /// survives store errors, and stops when the handle is dropped or told to.
    ///
    /// Call it once per process, inside a tokio runtime. Several processes on one store do no harm.
    #[must_use = "the task stops when the handle is dropped; `detach` lets it run for as long as the process"]
    pub fn spawn_purge(&self) -> PurgeHandle {
        let clock = Arc::clone(&self.0.clock);
        Purge::new(self.0.store.clone()).clock(move || clock.now()).spawn()
    }

    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    pub(crate) fn sealer(&self) -> Guard<Arc<Sealer>> {
        self.0.sealer.load()
    }

    /// The sealer, to be held across an await.
    pub(crate) fn sealer_owned(&self) -> Arc<Sealer> {
        self.0.sealer.load_full()
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
        self.sealer().keyring().handle(id)
    }

    pub(crate) fn emit(&self, event: &Event) {
        event.trace();
        for observer in &self.0.observers {
            observer.observe(event);
        }
    }

    /// Reports a store's failure, and makes it the handler's error.
    pub(crate) fn store_failed(&self, operation: &'static str, error: StoreError) -> SessionError {
        self.emit(&Event::StoreError { operation, message: with_causes(&error) });
        SessionError::Store(error)
    }

    pub(crate) async fn queue(&self, id: &SessionId) -> MutexGuard<'_, ()> {
        let [first, ..] = id.as_bytes();
        self.0.queues[usize::from(*first) % QUEUES].lock().await
    }

    /// The idle timeout and the absolute lifetime that a session with these overrides has.
    pub(crate) fn lifetimes(&self, meta: &secure_sessions_core::Meta) -> (Option<Millis>, Millis) {
        (meta.idle_timeout.or(self.0.times.idle), meta.lifetime.unwrap_or(self.0.times.absolute))
    }
}

impl std::fmt::Debug for SessionManager {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SessionManager").field("cookie_name", &self.0.cookie_name).finish_non_exhaustive()
    }
}
