//! The time before which tokens are refused: a set of all that were given, of which the latest counts.
//!
//! Members have one score and are numbers of one width, so Redis keeps them in the order of time. They are only ever added, so
//! that parallel calls, and a command that was sent twice, cannot move the time back.
//!
//! Every host asks for it before it admits anybody. So a cluster keeps it on three shards: all of them have to take it, and one
//! answer is enough.

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;
use redis::{Cmd, cmd};
use secure_sessions_core::Timestamp;
use tokio::time::timeout;

use super::Inner;
use super::connection::Until;
use super::error::unexpected;
use crate::StoreError;

/// The wait for the other shards once one has answered. One may have lost its part.
const PATIENCE: Duration = Duration::from_millis(100);

pub(super) async fn latest(inner: &Inner) -> Result<Option<Timestamp>, StoreError> {
    if !inner.connection.is_cluster() {
        // A replica would answer a `ZRANGE` from the past: after a failover, the connection may still lead to the old primary.
        // It refuses the read that `get` makes, and the next command goes to the new one.
        // (In a cluster, nodes tell by themselves where a key has moved.)
        inner.connection.get(&inner.keys.unused()).await?;
        return latest_under(inner, inner.keys.not_before()).await;
    }
    let keys = inner.keys.not_before_in_a_cluster().into_iter();
    let mut asked: FuturesUnordered<_> = keys.map(|key| latest_under(inner, key)).collect();
    let mut latest = asked.next().await.unwrap_or_else(|| Err(unexpected()));
    loop {
        let answer = match &latest {
            Ok(_) => timeout(PATIENCE, asked.next()).await.ok().flatten(),
            Err(_) => asked.next().await,
        };
        let Some(answer) = answer else { return latest };
        latest = match (latest, answer) {
            (Ok(latest), Ok(other)) => Ok(latest.max(other)),
            (Ok(latest), Err(_)) => Ok(latest),
            (Err(_), answer) => answer,
        };
    }
}

async fn latest_under(inner: &Inner, key: String) -> Result<Option<Timestamp>, StoreError> {
    let mut last = cmd("ZRANGE");
    last.arg(key).arg(-1).arg(-1);
    let members: Vec<String> = inner.connection.query(&last).await?;
    let millis = members.first().map(|member| member.parse().map_err(|_| unexpected())).transpose()?;
    Ok(millis.map(Timestamp::from_millis))
}

pub(super) async fn add(inner: &Inner, at: Timestamp) -> Result<(), StoreError> {
    if !inner.connection.is_cluster() {
        return add_under(inner, inner.keys.not_before(), at).await;
    }
    let keys = inner.keys.not_before_in_a_cluster().into_iter();
    // All of them, although one fails.
    join_all(keys.map(|key| add_under(inner, key, at))).await.into_iter().collect()
}

async fn add_under(inner: &Inner, key: String, at: Timestamp) -> Result<(), StoreError> {
    let mut add = cmd("ZADD");
    add.arg(&key).arg(0).arg(format!("{:020}", at.as_millis()));
    // It ends sessions, so a failover must not lose it.
    inner.connection.query_or(add, Until::Replica(&key), |_| false, Cmd::new).await.map(drop)
}
