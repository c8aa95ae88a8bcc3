//! Other crates' sessions with the same contents, each kept in the process or in the cookie.

use std::sync::Arc;

use anyhow::Result;
use axum::Router;
use axum::routing::get;
use axum_extra::extract::PrivateCookieJar;
use axum_extra::extract::cookie::{Cookie, Key};
use axum_session::{SessionConfig, SessionNullPool, SessionStore as AxumSessionStore};
use http::StatusCode;
use tower_sessions::session::{Id, Record};
use tower_sessions::{MemoryStore, Session, SessionManagerLayer, SessionStore, session_store};

use super::{Calls, Case, Contents, FILL, READ, TOWER_SESSIONS_READ, answer};

pub(super) async fn all(counted: bool) -> Result<Vec<Case>> {
    let (tower_sessions, calls) = if counted {
        let calls = Arc::new(Calls::default());
        (tower_sessions(Counted { store: MemoryStore::default(), calls: calls.clone() }), Some(calls))
    } else {
        (tower_sessions(MemoryStore::default()), None)
    };
    Ok(vec![
        Case::with_session(TOWER_SESSIONS_READ, tower_sessions, READ, calls).await?,
        Case::with_session("axum-extra 0.12 private jar, read", private_jar(), READ, None).await?,
        Case::with_session("axum_session 0.22, read", axum_session().await?, READ, None).await?,
    ])
}

fn tower_sessions(store: impl SessionStore + Clone) -> Router {
    async fn read(session: Session) -> StatusCode {
        answer(session.get("user_id").await.ok().flatten())
    }
    async fn fill(session: Session) -> Result<(), tower_sessions::session::Error> {
        let contents = Contents::new();
        session.insert("user_id", contents.user_id).await?;
        session.insert("name", contents.name).await?;
        session.insert("email", contents.email).await?;
        session.insert("cart", contents.cart).await?;
        session.insert("note", contents.note).await
    }
    let fill = |session| async { if fill(session).await.is_ok() { StatusCode::OK } else { StatusCode::IM_A_TEAPOT } };
    Router::new().route(READ, get(read)).route(FILL, get(fill)).layer(SessionManagerLayer::new(store))
}

/// No session at all: a sealed cookie that is trusted because it decrypts.
fn private_jar() -> Router {
    const NAME: &str = "session";
    async fn read(jar: PrivateCookieJar) -> StatusCode {
        let contents = jar.get(NAME).and_then(|cookie| serde_json::from_str::<Contents>(cookie.value()).ok());
        answer(contents.map(|contents| contents.user_id))
    }
    async fn fill(jar: PrivateCookieJar) -> PrivateCookieJar {
        jar.add(Cookie::new(NAME, serde_json::to_string(&Contents::new()).unwrap_or_default()))
    }
    Router::new().route(READ, get(read)).route(FILL, get(fill)).with_state(Key::generate())
}

async fn axum_session() -> Result<Router> {
    type Session = axum_session::Session<SessionNullPool>;
    async fn read(session: Session) -> StatusCode {
        answer(session.get("user_id"))
    }
    async fn fill(session: Session) {
        let contents = Contents::new();
        session.set("user_id", contents.user_id);
        session.set("name", contents.name);
        session.set("email", contents.email);
        session.set("cart", contents.cart);
        session.set("note", contents.note);
    }
    // There is no connection here, and so no address to bind to.
    let config = SessionConfig::default().with_ip_and_user_agent(false);
    let store = AxumSessionStore::<SessionNullPool>::new(None, config).await?;
    Ok(Router::new().route(READ, get(read)).route(FILL, get(fill)).layer(axum_session::SessionLayer::new(store)))
}

#[derive(Debug, Clone)]
struct Counted {
    store: MemoryStore,
    calls: Arc<Calls>,
}

#[async_trait::async_trait]
impl SessionStore for Counted {
    async fn create(&self, record: &mut Record) -> session_store::Result<()> {
        self.calls.write();
        self.store.create(record).await
    }

    async fn save(&self, record: &Record) -> session_store::Result<()> {
        self.calls.write();
        self.store.save(record).await
    }

    async fn load(&self, id: &Id) -> session_store::Result<Option<Record>> {
        self.calls.read();
        self.store.load(id).await
    }

    async fn delete(&self, id: &Id) -> session_store::Result<()> {
        self.calls.write();
        self.store.delete(id).await
    }
}
