//! Other crates' sessions in databases: `bench-peers PEER URL`, one side of `cargo xtask bench stores`.
//!
//! The peers are `tower` (tower-sessions' stores in memory, of sqlx and of redis), `tower-documented` (the same with the pool
//! of its documentation), `actix` (actix-session's Redis store) and `axum_session` (its own memory, in front of sqlx or
//! redis).

mod actix;
mod axum_session;
mod tower;

use std::rc::Rc;

use anyhow::{Result, bail};
use bench_load::Side;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [peer, url] = arguments.as_slice() else { bail!("usage: bench-peers PEER URL") };
    bench_load::run(async || {
        let call = match peer.as_str() {
            "tower" => tower::application(url, false).await?,
            "tower-documented" => tower::application(url, true).await?,
            "actix" => actix::application(url).await?,
            "axum_session" => axum_session::application(url).await?,
            other => bail!("no peer {other}"),
        };
        // They look at the system's clock.
        Ok(Side { call, pass: Rc::new(drop) })
    })
}
