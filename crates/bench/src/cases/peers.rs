//! Other crates' sessions on Axum with the same contents, each kept in the process or in the cookie.

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

use super::application::Application;
use super::ours::answer;
use super::{Calls, Case, Contents, FILL, Framework, Kind, PRIVATE_JAR, READ, UNSEEN, WRITE};

const AXUM_SESSION: &str = "axum_session 0.22";

pub(super) async fn all(counted: bool) -> Result<Vec<Case>> {
    let mut cases = Vec::new();
    for kind in [Kind::Unseen, Kind::Anonymous, Kind::Read, Kind::Write] {
        let calls = counted.then(Arc::<Calls>::default);
        let router = match &calls {
            Some(calls) => tower_sessions(Counted { store: MemoryStore::default(), calls: calls.clone() }),
            None => tower_sessions(MemoryStore::default()),
        };
        cases.push(Case { calls, ..case(kind, Framework::Axum.usual(), router).await? });
        // A jar has no layer that a route could be under.
        if kind != Kind::Unseen {
            cases.push(case(kind, PRIVATE_JAR, private_jar()).await?);
        }
        cases.push(case(kind, AXUM_SESSION, axum_session().await?).await?);
    }
    Ok(cases)
}

async fn case(kind: Kind, name: &'static str, router: Router) -> Result<Case> {
    Case::new(Framework::Axum, kind, name, Application::axum(router)).await
}

fn tower_sessions(store: impl SessionStore + Clone) -> Router {
    tower_sessions_routes().layer(SessionManagerLayer::new(store))
}

/// Handlers of tower-sessions' `Session`, whoever gives it to them.
pub(super) fn tower_sessions_routes() -> Router {
    async fn read(session: Session) -> StatusCode {
        answer(session.get("user_id").await.ok().flatten())
    }
    async fn write(session: Session) -> Result<StatusCode, tower_sessions::session::Error> {
        let user_id = session.get::<u64>("user_id").await?.unwrap_or_default() + 1;
        session.insert("user_id", user_id).await?;
        Ok(answer(Some(user_id)))
    }
    async fn fill(session: Session) -> Result<(), tower_sessions::session::Error> {
        let contents = Contents::new();
        session.insert("user_id", contents.user_id).await?;
        session.insert("name", contents.name).await?;
        session.insert("email", contents.email).await?;
        session.insert("cart", contents.cart).await?;
        session.insert("note", contents.note).await
    }
    let write = |session| async { write(session).await.unwrap_or(StatusCode::IM_A_TEAPOT) };
    let fill = |session| async { if fill(session).await.is_ok() { StatusCode::OK } else { StatusCode::IM_A_TEAPOT } };
    let routes = Router::new().route(READ, get(read)).route(WRITE, get(write)).route(FILL, get(fill));
    routes.route(UNSEEN, get(|| async { StatusCode::OK }))
}

/// No session at all: a sealed cookie that is trusted because it decrypts.
fn private_jar() -> Router {
    const NAME: &str = "session";
    fn contents(jar: &PrivateCookieJar) -> Option<Contents> {
        jar.get(NAME).and_then(|cookie| serde_json::from_str(cookie.value()).ok())
    }
    fn set(jar: PrivateCookieJar, contents: &Contents) -> PrivateCookieJar {
        jar.add(Cookie::new(NAME, serde_json::to_string(contents).unwrap_or_default()))
    }
    async fn read(jar: PrivateCookieJar) -> StatusCode {
        answer(contents(&jar).map(|contents| contents.user_id))
    }
    async fn write(jar: PrivateCookieJar) -> (PrivateCookieJar, StatusCode) {
        let Some(mut contents) = contents(&jar) else { return (jar, StatusCode::UNAUTHORIZED) };
        contents.user_id += 1;
        (set(jar, &contents), answer(Some(contents.user_id)))
    }
    async fn fill(jar: PrivateCookieJar) -> PrivateCookieJar {
        set(jar, &Contents::new())
    }
    let routes = Router::new().route(READ, get(read)).route(WRITE, get(write)).route(FILL, get(fill));
    routes.with_state(Key::generate())
}

async fn axum_session() -> Result<Router> {
    type Session = axum_session::Session<SessionNullPool>;
    async fn read(session: Session) -> StatusCode {
        answer(session.get("user_id"))
    }
    async fn write(session: Session) -> StatusCode {
        let user_id = session.get::<u64>("user_id").unwrap_or_default() + 1;
        session.set("user_id", user_id);
        answer(Some(user_id))
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
    let routes = Router::new().route(READ, get(read)).route(WRITE, get(write)).route(FILL, get(fill));
    let routes = routes.route(UNSEEN, get(|| async { StatusCode::OK }));
    Ok(routes.layer(axum_session::SessionLayer::new(store)))
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
