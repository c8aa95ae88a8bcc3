//! Throwaway database servers for tests, started from the machine's binaries: PostgreSQL, MariaDB, Redis.
//!
//! Each has a directory of its own under the system's temporary folder and a free port of 127.0.0.1. It can be killed,
//! started again with the same data, and paused. When the [`Service`] is dropped, or this process ends in whatever way,
//! the server is killed and its directory removed.
//!
//! ```no_run
//! let redis = services::Service::redis()?;
//! println!("{}", redis.url());
//! redis.kill()?;
//! redis.restart()?;
//! # Ok::<(), services::Error>(())
//! ```
//!
//! A test that needs some server, and not one of its own, asks [`Shared`] for it.

mod binary;
mod cluster;
mod engine;
mod error;
mod process;
mod ready;
mod reaper;
mod resp;
mod scratch;
mod service;
mod shared;

pub use self::cluster::Cluster;
pub use self::engine::Engine;
pub use self::error::Error;
pub use self::scratch::scratch;
pub use self::service::{Service, Setup, free_port};
pub use self::shared::Shared;
