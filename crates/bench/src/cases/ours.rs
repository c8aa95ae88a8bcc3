//! Our sessions, on MemoryStore and with the defaults: on Axum here, and what the other frameworks share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Result;
use axum::Router;
use axum::routing::get;
use http::StatusCode;
use secure_sessions_axum::{
    Clock, EngineError, Keyring, Session, SessionError, SessionLayer, SessionManager, SystemClock,
};
use secure_sessions_store::{MemoryStore, SessionStore, Timestamp, forward_methods};

use super::application::Application;
use super::{
    Calls, Case, Contents, FILL, Framework, OURS_READ, OURS_UNSEEN, OURS_WRITE, READ, UNSEEN, USUAL_SIZE, WRITE, status,
};
use crate::AEAD;

pub(super) async fn all(counted: bool) -> Result<Vec<Case>> {
    let mut cases = Vec::new();
    for (name, path) in [(OURS_UNSEEN, UNSEEN), (OURS_READ, READ), (OURS_WRITE, WRITE)] {
        let (manager, passing, calls) = if counted {
            let calls = Arc::new(Calls::default());
            let (manager, passing) = manager(Counted { store: MemoryStore::new(), calls: calls.clone() }, path)?;
            (manager, passing, Some(calls))
        } else {
            let (manager, passing) = manager_for(path)?;
            (manager, passing, None)
        };
        let application = Application::axum(application(manager, USUAL_SIZE));
        let case = Case::with_session(Framework::Axum, name, application, path).await?;
        cases.push(Case { calls, passing, ..case });
    }
    Ok(cases)
}

/// A manager for the requests to this path.
pub(super) fn manager_for(path: &str) -> Result<(SessionManager, Option<Passing>)> {
    manager(MemoryStore::new(), path)
}

/// A manager for the requests to this path of a server with many browsers.
pub(super) fn manager_served(path: &str) -> Result<SessionManager> {
    let builder = SessionManager::builder(Keyring::generate()?, MemoryStore::new()).aead(AEAD);
    let builder = if path == WRITE { builder.clock(InTurn).absolute_timeout(LONG) } else { builder };
    Ok(builder.build()?)
}

fn manager(store: impl SessionStore, path: &str) -> Result<(SessionManager, Option<Passing>)> {
    let builder = SessionManager::builder(Keyring::generate()?, store).aead(AEAD);
    if path != WRITE {
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

/// The same in a server: so much passes with each write that a session's turn comes again after that time.
struct InTurn;

/// Writes of this process.
static WRITES: AtomicU64 = AtomicU64::new(0);
/// Browsers that take turns at a server.
pub(crate) const BROWSERS: usize = 32;

impl Clock for InTurn {
    fn now(&self) -> Timestamp {
        let passed = WRITES.load(Ordering::Relaxed) * BETWEEN_WRITES / BROWSERS as u64;
        Timestamp::from_millis(SystemClock.now().as_millis() + passed)
    }
}

pub(super) fn application(manager: SessionManager, size: usize) -> Router {
    Router::new()
        .route(UNSEEN, get(|| async { StatusCode::OK }))
        .route(READ, get(read))
        .route(WRITE, get(write))
        .route(FILL, get(async move |session: Session| Ok::<_, SessionError>(fill(&session, size)?)))
        .layer(SessionLayer::new(manager))
}

async fn read(session: Session) -> Result<StatusCode, SessionError> {
    Ok(answer(session.get("user_id")?))
}

async fn write(session: Session) -> Result<StatusCode, SessionError> {
    Ok(answer(Some(session.update("user_id", count_up)?)))
}

pub(super) fn count_up(user_id: &mut u64) -> u64 {
    WRITES.fetch_add(1, Ordering::Relaxed);
    *user_id += 1;
    *user_id
}

pub(super) fn answer(user_id: Option<u64>) -> StatusCode {
    StatusCode::from_u16(status(user_id)).unwrap_or_default()
}

pub(super) fn fill(session: &secure_sessions_axum::secure_sessions::Session, size: usize) -> Result<(), EngineError> {
    let contents = Contents::of(size);
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
