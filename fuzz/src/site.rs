//! A small site on the engine, with a few sessions whose cookies are known.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arbitrary::Arbitrary;
use secure_sessions::store::{Entry, SessionId};
use secure_sessions::{
    Keyring, ManualClock, MemoryStore, RequestHead, ResponseHeaders, Session, SessionManager, SessionStore, StoreError,
};
use tokio::runtime::Runtime;

pub use crate::CONTEXT;

/// The cookies that the site once set.
#[derive(Arbitrary, Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// Alice's current cookie.
    Alice,
    /// The one before it: superseded, alive.
    AliceEarlier,
    /// Bob's current cookie.
    Bob,
    /// The cookie of a session that was ended by its user, long ago.
    Ended,
    /// The cookie of another site, under keys that this one does not have.
    Elsewhere,
}

/// The result of one request.
#[derive(Debug)]
pub struct Seen {
    /// Whose session it was.
    pub subject: Option<String>,
    /// The value that the session holds under `name`.
    pub name: Option<String>,
    /// The response's `Set-Cookie`.
    pub set_cookie: Option<String>,
    /// The number of times that the store was asked for a bucket.
    pub loads: u64,
    /// The number of times that the store was told to change one.
    pub writes: u64,
}

/// See the module.
#[derive(Debug)]
pub struct Site {
    runtime: Runtime,
    manager: SessionManager,
    calls: Arc<Calls>,
    /// In the order of [`Known`].
    tokens: [String; 5],
}

impl Default for Site {
    fn default() -> Self {
        Self::new()
    }
}

impl Site {
    /// A site with its sessions.
    ///
    /// # Panics
    ///
    /// If the engine refuses any of it.
    #[must_use]
    pub fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let calls = Arc::new(Calls::default());
        let (manager, elsewhere) = (manager(&calls), manager(&Arc::default()));
        let tokens = runtime.block_on(async {
            let log_in =
                |name| move |session: &Session| session.login(name).and_then(|()| session.insert("name", name));
            let earlier = cookie(&manager, "", log_in("alice")).await;
            let current = cookie(&manager, &earlier, |session| session.insert("more", 1)).await;
            let bob = cookie(&manager, "", log_in("bob")).await;
            let ended = cookie(&manager, "", log_in("carol")).await;
            manager.revoke_subject("carol").await.expect("a store in memory");
            let foreign = cookie(&elsewhere, "", log_in("alice")).await;
            [current, earlier, bob, ended, foreign]
        });
        Self { runtime, manager, calls, tokens }
    }

    /// The value of a known cookie.
    #[must_use]
    pub fn token(&self, known: Known) -> &str {
        &self.tokens[known as usize]
    }

    /// A request that reads its session.
    ///
    /// # Panics
    ///
    /// If it is an error.
    #[must_use]
    pub fn visit(&self, cookie_headers: &[Vec<u8>]) -> Seen {
        let before = (self.calls.loads.load(Ordering::Relaxed), self.calls.writes.load(Ordering::Relaxed));
        let (subject, name, set_cookie) = self.runtime.block_on(async {
            let request = self.manager.begin();
            let session = request.session(&Head(cookie_headers)).await.expect("a store that works");
            let name = session.get("name").expect("a text");
            assert!(!session.is_new() || session.is_empty());
            let subject = session.subject();
            let headers = end(request.finish(200)).await;
            assert_eq!(headers.value("cache-control"), Some("no-store"));
            (subject, name, headers.value("set-cookie").map(str::to_owned))
        });
        let (loads, writes) = (self.calls.loads.load(Ordering::Relaxed), self.calls.writes.load(Ordering::Relaxed));
        Seen { subject, name, set_cookie, loads: loads - before.0, writes: writes - before.1 }
    }
}

fn manager(calls: &Arc<Calls>) -> SessionManager {
    let store = Counted { store: MemoryStore::new(), calls: Arc::clone(calls) };
    SessionManager::builder(Keyring::generate().expect("randomness"), store)
        .cookie_name(CONTEXT)
        .clock(ManualClock::at_millis(1_700_000_000_000))
        .build()
        .expect("a valid configuration")
}

/// The cookie that a request leaves with after `change`.
async fn cookie(
    manager: &SessionManager,
    token: &str,
    change: impl FnOnce(&Session) -> Result<(), secure_sessions::SessionError>,
) -> String {
    let request = manager.begin();
    let header = format!("{CONTEXT}={token}").into_bytes();
    let session = request.session(&Head(&[header])).await.expect("a store that works");
    change(&session).expect("a change that fits");
    let headers = end(request.finish(200)).await;
    let cookie = headers.value("set-cookie").expect("a changed session sets its cookie");
    let (_, value) = cookie.split_once('=').expect("a name and a value");
    value.split(';').next().expect("a value").to_owned()
}

async fn end(finish: secure_sessions::Finish) -> Headers {
    let mut headers = Headers::default();
    if let Some(reply) = finish.await {
        assert!(reply.failure().is_none());
        reply.apply(&mut headers);
    }
    headers
}

struct Head<'a>(&'a [Vec<u8>]);

impl RequestHead for Head<'_> {
    fn for_each_value(&self, name: &'static str, visit: &mut dyn FnMut(&[u8])) {
        if name == "cookie" {
            self.0.iter().for_each(|header| visit(header));
        }
    }

    fn method(&self) -> &str {
        "GET"
    }
}

#[derive(Default)]
struct Headers(Vec<(&'static str, String)>);

impl Headers {
    /// The header's value. There is one at most.
    fn value(&self, name: &str) -> Option<&str> {
        let mut values = self.0.iter().filter(|(other, _)| *other == name).map(|(_, value)| value.as_str());
        let value = values.next();
        assert_eq!(values.next(), None, "two headers {name}");
        value
    }
}

impl ResponseHeaders for Headers {
    fn for_each_value(&self, name: &'static str, visit: &mut dyn FnMut(&[u8])) {
        self.0.iter().filter(|(other, _)| *other == name).for_each(|(_, value)| visit(value.as_bytes()));
    }

    fn append(&mut self, name: &'static str, value: &str, _sensitive: bool) {
        self.0.push((name, value.to_owned()));
    }

    fn set(&mut self, name: &'static str, value: &'static str) {
        self.remove(name);
        self.0.push((name, value.to_owned()));
    }

    fn remove(&mut self, name: &'static str) {
        self.0.retain(|(other, _)| *other != name);
    }
}

#[derive(Debug, Default)]
struct Calls {
    loads: AtomicU64,
    writes: AtomicU64,
}

impl Calls {
    fn write(&self) {
        self.writes.fetch_add(1, Ordering::Relaxed);
    }
}

struct Counted {
    store: MemoryStore,
    calls: Arc<Calls>,
}

impl Counted {
    fn writing(&self) -> &MemoryStore {
        self.calls.write();
        &self.store
    }
}

impl SessionStore for Counted {
    async fn load(&self, id: &SessionId) -> Result<Option<Entry>, StoreError> {
        self.calls.loads.fetch_add(1, Ordering::Relaxed);
        self.store.load(id).await
    }

    secure_sessions::store::forward_methods!(self => &self.store; list, count);
    secure_sessions::store::forward_methods!(self => self.writing();
        insert, replace, renew_into, remove, remove_all, purge_expired);
}
