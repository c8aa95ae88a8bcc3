//! axum_session on Axum, with its stores for SQL servers and for Redis behind its own memory, as by default.

use std::fmt::Debug;

use anyhow::{Result, bail};
use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use axum_session::{DatabasePool, Session, SessionConfig, SessionLayer, SessionNullPool, SessionStore};
use axum_session_redispool::SessionRedisPool;
use axum_session_sqlx::{SessionMySqlPool, SessionPgPool};
use bench_load::contents::{COUNT, FILL, FIRST_COUNT, READ, TEXTS, WRITE, status, text};
use bench_load::{Call, POOL, application};
use redis::Client;
use redis_pool::RedisPool;
use sqlx::mysql::MySqlPoolOptions;
use sqlx::postgres::PgPoolOptions;

pub(crate) async fn application(url: &str) -> Result<Call> {
    let (scheme, _) = url.split_once(':').unwrap_or_default();
    match scheme {
        "memory" => routes::<SessionNullPool>(None).await,
        "postgres" => {
            let pool = PgPoolOptions::new().max_connections(POOL).connect(url).await?;
            routes(Some(SessionPgPool::from(pool))).await
        }
        "mysql" => {
            let pool = MySqlPoolOptions::new().max_connections(POOL).connect(url).await?;
            routes(Some(SessionMySqlPool::from(pool))).await
        }
        "redis" => {
            let pool = RedisPool::new(Client::open(url)?, POOL as usize, Some(POOL as usize));
            routes(Some(SessionRedisPool::from(pool))).await
        }
        other => bail!("no store for {other}"),
    }
}

async fn routes<P: DatabasePool + Clone + Debug + Send + Sync + 'static>(pool: Option<P>) -> Result<Call> {
    // There is no connection here, and so no address to bind to.
    let config = SessionConfig::default().with_ip_and_user_agent(false);
    let store = SessionStore::<P>::new(pool, config).await?;
    let routes = Router::new().route(READ, get(read::<P>)).route(WRITE, get(write::<P>)).route(FILL, get(fill::<P>));
    Ok(application::axum(routes.layer(SessionLayer::new(store))))
}

async fn read<P: DatabasePool + Clone + Debug + Send + Sync + 'static>(session: Session<P>) -> StatusCode {
    answer(session.get(COUNT))
}

async fn write<P: DatabasePool + Clone + Debug + Send + Sync + 'static>(session: Session<P>) -> StatusCode {
    let count = session.get::<u64>(COUNT).unwrap_or_default() + 1;
    session.set(COUNT, count);
    answer(Some(count))
}

async fn fill<P: DatabasePool + Clone + Debug + Send + Sync + 'static>(session: Session<P>) -> StatusCode {
    session.set(COUNT, FIRST_COUNT);
    for key in TEXTS {
        session.set(key, text());
    }
    answer(Some(FIRST_COUNT))
}

fn answer(count: Option<u64>) -> StatusCode {
    StatusCode::from_u16(status(count)).unwrap_or_default()
}
