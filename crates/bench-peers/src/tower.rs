//! tower-sessions on Axum, with its stores for SQL databases and for Redis.

use std::str::FromStr;

use anyhow::{Result, bail};
use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use bench_load::contents::{COUNT, FILL, FIRST_COUNT, READ, TEXTS, WRITE, status, text};
use bench_load::{Call, POOL, application};
use tower_sessions::session::Error;
use tower_sessions::{MemoryStore, Session, SessionManagerLayer, SessionStore};
use tower_sessions_redis_store::RedisStore;
use tower_sessions_redis_store::fred::prelude::{ClientLike, Config, Pool, Server, ServerConfig};
use tower_sessions_redis_store::fred::types::config::ClusterDiscoveryPolicy;
use tower_sessions_sqlx_store::sqlx::Database;
use tower_sessions_sqlx_store::sqlx::mysql::MySqlPoolOptions;
use tower_sessions_sqlx_store::sqlx::pool::PoolOptions;
use tower_sessions_sqlx_store::sqlx::postgres::PgPoolOptions;
use tower_sessions_sqlx_store::sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous,
};
use tower_sessions_sqlx_store::{MySqlStore, PostgresStore, SqliteStore};

/// The pool that its documentation shows asks the server before each use whether it is there. Unless `documented`, it
/// does not, as ours does not.
pub(crate) async fn application(url: &str, documented: bool) -> Result<Call> {
    let (scheme, _) = url.split_once(':').unwrap_or_default();
    Ok(match scheme {
        "memory" => routes(MemoryStore::default()),
        "sqlite" => {
            // As durable as ours: its default is a rollback journal.
            let options = SqliteConnectOptions::from_str(url)?.create_if_missing(true);
            let options = options.journal_mode(SqliteJournalMode::Wal).synchronous(SqliteSynchronous::Full);
            let pool = pool(SqlitePoolOptions::new(), documented).connect_with(options).await?;
            let store = SqliteStore::new(pool);
            store.migrate().await?;
            routes(store)
        }
        "postgres" => {
            let store = PostgresStore::new(pool(PgPoolOptions::new(), documented).connect(url).await?);
            store.migrate().await?;
            routes(store)
        }
        "mysql" => {
            let store = MySqlStore::new(pool(MySqlPoolOptions::new(), documented).connect(url).await?);
            store.migrate().await?;
            routes(store)
        }
        "redis" => {
            let pool = Pool::new(redis(url)?, None, None, None, POOL as usize)?;
            // The task ends with the process.
            drop(pool.init().await?);
            routes(RedisStore::new(pool))
        }
        other => bail!("no store for {other}"),
    })
}

/// Several URLs are the nodes of a cluster.
fn redis(urls: &str) -> Result<Config> {
    let nodes: Vec<Config> = urls.split(',').map(Config::from_url).collect::<Result<_, _>>()?;
    let hosts: Vec<Server> = nodes.iter().flat_map(|node| node.server.hosts()).collect();
    let server = match hosts.as_slice() {
        [server] => ServerConfig::Centralized { server: server.clone() },
        _ => ServerConfig::Clustered { hosts, policy: ClusterDiscoveryPolicy::default() },
    };
    Ok(Config { server, ..Config::default() })
}

fn pool<DB: Database>(options: PoolOptions<DB>, documented: bool) -> PoolOptions<DB> {
    options.max_connections(POOL).test_before_acquire(documented)
}

fn routes(store: impl SessionStore + Clone) -> Call {
    let routes = Router::new().route(READ, get(read)).route(WRITE, get(write)).route(FILL, get(fill));
    application::axum(routes.layer(SessionManagerLayer::new(store)))
}

async fn read(session: Session) -> StatusCode {
    answer(session.get(COUNT).await.ok().flatten())
}

async fn write(session: Session) -> StatusCode {
    answer(count_up(&session).await.ok())
}

async fn count_up(session: &Session) -> Result<u64, Error> {
    let count = session.get::<u64>(COUNT).await?.unwrap_or_default() + 1;
    session.insert(COUNT, count).await?;
    Ok(count)
}

async fn fill(session: Session) -> StatusCode {
    answer(try_fill(&session).await.ok())
}

async fn try_fill(session: &Session) -> Result<u64, Error> {
    session.insert(COUNT, FIRST_COUNT).await?;
    for key in TEXTS {
        session.insert(key, text()).await?;
    }
    Ok(FIRST_COUNT)
}

fn answer(count: Option<u64>) -> StatusCode {
    StatusCode::from_u16(status(count)).unwrap_or_default()
}
