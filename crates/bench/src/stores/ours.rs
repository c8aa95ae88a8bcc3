//! Our side: on Axum or Actix Web, with the defaults.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use axum::Router;
use axum::routing::get;
use bench_load::contents::{COUNT, FILL, FIRST_COUNT, READ, TEXTS, WRITE, status, text};
use bench_load::{POOL, Side, application};
use http::StatusCode;
use secure_sessions::{Aead, Builder, Session as Engine};
use secure_sessions_axum::{
    Clock, EngineError, Keyring, Session, SessionError, SessionLayer, SessionManager, SystemClock,
};
use secure_sessions_store::{EtcdStore, MemcachedStore, MemoryStore, RedbStore, RedisStore, SqlOptions, Timestamp};

/// The tokens that a side remembers: more than it has sessions at a time.
const REMEMBERED: usize = 10_000;

/// Our side on the framework of this name, with its store at this URL: `axum` with the defaults, `axum-ring` sealed by
/// ring, `axum-remembering` sealed by ring and remembering tokens.
///
/// # Errors
///
/// If the store cannot be opened, or there is no such framework.
pub async fn side(framework: &str, url: &str) -> Result<Side> {
    let clock = Passing::default();
    let (framework, setting) = framework.split_once('-').unwrap_or((framework, ""));
    let long = Duration::from_secs(400 * 24 * 60 * 60);
    // The data and its token fill a cookie that the default limit refuses.
    let builder = builder(url).await?.clock(clock.clone()).absolute_timeout(long).size_limit(4000);
    let manager = match setting {
        "" => builder,
        "ring" => builder.aead(Aead::Ring),
        "remembering" => builder.aead(Aead::Ring).remember_tokens(REMEMBERED),
        other => bail!("no setting {other}"),
    }
    .build()?;
    let call = match framework {
        "axum" => application::axum(axum_application(manager)),
        "actix" => actix::application(manager).await,
        other => bail!("no framework {other}"),
    };
    Ok(Side { call, pass: Rc::new(move |millis| clock.pass(millis)) })
}

/// A builder with the store at this URL. It erases the store's type: one that is erased already would cost each call twice.
async fn builder(url: &str) -> Result<Builder> {
    let (scheme, place) = url.split_once(':').with_context(|| format!("not a URL: {url}"))?;
    let keyring = Keyring::generate()?;
    Ok(match scheme {
        "memory" => SessionManager::builder(keyring, MemoryStore::new()),
        "redb" => SessionManager::builder(keyring, RedbStore::open(place).await?),
        "redis" if url.contains(',') => {
            let nodes: Vec<&str> = url.split(',').collect();
            SessionManager::builder(keyring, RedisStore::connect_cluster(&nodes).await?)
        }
        "redis" => SessionManager::builder(keyring, RedisStore::connect(url).await?),
        "http" => SessionManager::builder(keyring, EtcdStore::connect(&[url]).await?),
        "tcp" => SessionManager::builder(keyring, MemcachedStore::open_lossy(url).await?),
        _ => SessionManager::builder(keyring, SqlOptions::new().max_connections(POOL).connect(url).await?),
    })
}

/// A clock that lets time pass between two writes of a session. Without it a grace would be full of them, and each
/// would write a bucket with 128 fingerprints, as no user's session does.
#[derive(Debug, Clone, Default)]
struct Passing(Arc<AtomicU64>);

impl Passing {
    fn pass(&self, millis: u64) {
        self.0.fetch_add(millis, Ordering::Relaxed);
    }
}

impl Clock for Passing {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(SystemClock.now().as_millis() + self.0.load(Ordering::Relaxed))
    }
}

fn axum_application(manager: SessionManager) -> Router {
    async fn read(session: Session) -> Result<StatusCode, SessionError> {
        Ok(answer(session.get(COUNT)?))
    }
    async fn write(session: Session) -> Result<StatusCode, SessionError> {
        Ok(answer(Some(session.update(COUNT, count_up)?)))
    }
    async fn fill_by_request(session: Session) -> Result<(), SessionError> {
        Ok(fill(&session)?)
    }
    let routes = Router::new().route(READ, get(read)).route(WRITE, get(write)).route(FILL, get(fill_by_request));
    routes.layer(SessionLayer::new(manager))
}

fn count_up(count: &mut u64) -> u64 {
    *count += 1;
    *count
}

fn answer(count: Option<u64>) -> StatusCode {
    StatusCode::from_u16(status(count)).unwrap_or_default()
}

/// Each session is of a user of its own.
fn fill(session: &Engine) -> Result<(), EngineError> {
    static USERS: AtomicU64 = AtomicU64::new(0);
    session.login(&format!("user {}", USERS.fetch_add(1, Ordering::Relaxed)))?;
    session.insert(COUNT, FIRST_COUNT)?;
    TEXTS.into_iter().try_for_each(|key| session.insert(key, text()))
}

mod actix {
    use actix_web::http::StatusCode;
    use actix_web::{App, HttpResponse, web};
    use bench_load::Call;
    use secure_sessions_actix::{Session, SessionError, SessionMiddleware};

    use super::*;

    pub(super) async fn application(manager: SessionManager) -> Call {
        async fn read(session: Session) -> Result<HttpResponse, SessionError> {
            Ok(answer(session.get(COUNT)?))
        }
        async fn write(session: Session) -> Result<HttpResponse, SessionError> {
            Ok(answer(Some(session.update(COUNT, count_up)?)))
        }
        async fn fill_by_request(session: Session) -> Result<HttpResponse, SessionError> {
            fill(&session)?;
            Ok(HttpResponse::Ok().finish())
        }
        let app = App::new()
            .route(READ, web::get().to(read))
            .route(WRITE, web::get().to(write))
            .route(FILL, web::get().to(fill_by_request));
        application::actix(app.wrap(SessionMiddleware::new(manager))).await
    }

    fn answer(count: Option<u64>) -> HttpResponse {
        HttpResponse::new(StatusCode::from_u16(status(count)).unwrap_or_default())
    }
}
