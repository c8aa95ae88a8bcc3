//! Our side: on Axum or Actix Web, with the defaults.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Result, bail};
use axum::Router;
use axum::routing::get;
use bench_load::contents::{COUNT, FILL, FIRST_COUNT, READ, TEXTS, WRITE, status, text};
use bench_load::{POOL, Side, application};
use http::StatusCode;
use secure_sessions::{Aead, Session as Engine};
use secure_sessions_axum::{
    Clock, EngineError, Keyring, Session, SessionError, SessionLayer, SessionManager, SystemClock,
};
use secure_sessions_store::{RedisStore, SqlOptions, Timestamp};

/// Our side on the framework of this name (`axum`, or `axum-ring` to seal by ring), with its store at this URL.
///
/// # Errors
///
/// If the store cannot be opened, or there is no such framework.
pub async fn side(framework: &str, url: &str) -> Result<Side> {
    let clock = Passing::default();
    let (framework, aead) = match framework.strip_suffix("-ring") {
        Some(framework) => (framework, Aead::Ring),
        None => (framework, Aead::default()),
    };
    let manager = manager(url, clock.clone(), aead).await?;
    let call = match framework {
        "axum" => application::axum(axum_application(manager)),
        "actix" => actix::application(manager).await,
        other => bail!("no framework {other}"),
    };
    Ok(Side { call, pass: Rc::new(move |millis| clock.pass(millis)) })
}

async fn manager(url: &str, clock: Passing, aead: Aead) -> Result<SessionManager> {
    let keyring = Keyring::generate()?;
    let builder = if url.starts_with("redis:") {
        SessionManager::builder(keyring, RedisStore::connect(url).await?)
    } else {
        SessionManager::builder(keyring, SqlOptions::new().max_connections(POOL).connect(url).await?)
    };
    let long = Duration::from_secs(400 * 24 * 60 * 60);
    Ok(builder.aead(aead).clock(clock).absolute_timeout(long).build()?)
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
