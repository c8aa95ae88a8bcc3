//! Our sessions, on MemoryStore and with the defaults: on Axum here, and what the other frameworks share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Result;
use axum::Router;
use axum::routing::get;
use http::StatusCode;
use secure_sessions::{Aead, Builder};
use secure_sessions_axum::{
    Clock, EngineError, Keyring, Session, SessionError, SessionLayer, SessionManager, SystemClock,
};
use secure_sessions_store::{MemoryStore, SessionStore, Timestamp, forward_methods};

use super::application::Application;
use super::{Calls, Case, Contents, FILL, Framework, Kind, READ, UNSEEN, WRITE, status};

/// Ours, with the defaults.
pub const RUSTCRYPTO: &str = "secure-sessions, RustCrypto";
/// Ours, sealed by ring.
pub const RING: &str = "secure-sessions, ring";
/// Ours, sealed by ring, with tokens remembered after they were opened.
pub const REMEMBERING: &str = "secure-sessions, ring, remembering";
/// Ours, where nothing is sealed or opened.
pub const UNSEALED: &str = "secure-sessions";

/// A setting of ours: the name of its rows, and what it changes of the defaults.
pub(super) type Setting = (&'static str, fn(Builder) -> Builder);

/// The settings that reads and writes are measured with, through every framework.
const SETTINGS: [Setting; 3] = [
    (RUSTCRYPTO, |builder| builder),
    (RING, |builder| builder.aead(Aead::Ring)),
    (REMEMBERING, |builder| builder.aead(Aead::Ring).remember_tokens(10_000)),
];

/// Returns every kind of request with every setting that makes a difference to it.
pub(super) fn kinds() -> impl Iterator<Item = (Kind, Setting)> {
    let unsealed: Setting = (UNSEALED, |builder| builder);
    let sealed = [Kind::Read, Kind::Write].into_iter().flat_map(|kind| SETTINGS.map(|setting| (kind, setting)));
    [(Kind::Unseen, unsealed), (Kind::Anonymous, unsealed)].into_iter().chain(sealed)
}

pub(super) async fn all(counted: bool) -> Result<Vec<Case>> {
    let mut cases = Vec::new();
    for (kind, setting) in kinds() {
        let calls = counted.then(Arc::<Calls>::default);
        let (manager, passing) = manager_counting(calls.as_ref(), kind, setting)?;
        let case = Case::new(Framework::Axum, kind, setting.0, Application::axum(application(manager))).await?;
        cases.push(Case { calls, passing, ..case });
    }
    Ok(cases)
}

/// Makes a manager for requests of this kind.
pub(super) fn manager_for(kind: Kind, setting: Setting) -> Result<(SessionManager, Option<Passing>)> {
    manager(MemoryStore::new(), kind, setting)
}

/// Makes the same, with a store that counts what it is asked.
pub(super) fn manager_counting(
    calls: Option<&Arc<Calls>>,
    kind: Kind,
    setting: Setting,
) -> Result<(SessionManager, Option<Passing>)> {
    match calls {
        Some(calls) => manager(Counted { store: MemoryStore::new(), calls: Arc::clone(calls) }, kind, setting),
        None => manager_for(kind, setting),
    }
}

fn manager(store: impl SessionStore, kind: Kind, (_, set): Setting) -> Result<(SessionManager, Option<Passing>)> {
    let builder = set(SessionManager::builder(Keyring::generate()?, store));
    if kind != Kind::Write {
        return Ok((builder.build()?, None));
    }
    let passing = Passing::default();
    Ok((builder.clock(passing.clone()).absolute_timeout(LONG).build()?, Some(passing)))
}

const LONG: Duration = Duration::from_secs(400 * 24 * 60 * 60);
/// Milliseconds between two writes of a session.
const BETWEEN_WRITES: u64 = 10_000;

/// A clock that lets time pass between two writes of a session. Without it a grace would be full of them, and each
/// would write a bucket with 128 fingerprints, as no user's session does.
#[derive(Clone, Default)]
pub(super) struct Passing(Arc<AtomicU64>);

impl Passing {
    pub(super) fn pass(&self) {
        self.0.fetch_add(BETWEEN_WRITES, Ordering::Relaxed);
    }
}

impl Clock for Passing {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(SystemClock.now().as_millis() + self.0.load(Ordering::Relaxed))
    }
}

fn application(manager: SessionManager) -> Router {
    Router::new()
        .route(UNSEEN, get(|| async { StatusCode::OK }))
        .route(READ, get(read))
        .route(WRITE, get(write))
        .route(FILL, get(async move |session: Session| Ok::<_, SessionError>(fill(&session)?)))
        .layer(SessionLayer::new(manager))
}

async fn read(session: Session) -> Result<StatusCode, SessionError> {
    Ok(answer(session.get("user_id")?))
}

async fn write(session: Session) -> Result<StatusCode, SessionError> {
    Ok(answer(Some(session.update("user_id", count_up)?)))
}

pub(super) fn count_up(user_id: &mut u64) -> u64 {
    *user_id += 1;
    *user_id
}

pub(super) fn answer(user_id: Option<u64>) -> StatusCode {
    StatusCode::from_u16(status(user_id)).unwrap_or_default()
}

pub(super) fn fill(session: &secure_sessions::Session) -> Result<(), EngineError> {
    let contents = Contents::new();
    session.login("ada")?;
    session.insert("user_id", contents.user_id)?;
    session.insert("name", contents.name)?;
    session.insert("email", contents.email)?;
    session.insert("cart", contents.cart)?;
    session.insert("note", contents.note)
}

struct Counted {
    store: MemoryStore,
    calls: Arc<Calls>,
}

impl Counted {
    fn read(&self) -> &MemoryStore {
        self.calls.read();
        &self.store
    }

    fn write(&self) -> &MemoryStore {
        self.calls.write();
        &self.store
    }
}

impl SessionStore for Counted {
    forward_methods!(self => self.read(); load, peek, list, count);
    forward_methods!(self => self.write(); insert, replace, renew_into, remove, remove_all, purge_expired);
}
