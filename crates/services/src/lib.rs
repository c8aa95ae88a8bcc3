//! Throwaway database servers for tests, started from the machine's binaries: PostgreSQL, MariaDB, Redis, etcd,
//! Memcached, and an emulator of DynamoDB.
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
//! A test that needs some server, and not one of its own, asks [`Shared`] for it. One that needs its own is skipped by
//! [`or_skip`] where the machine does not have the program. [`SmallDisk`] is a disk for a test to fill.

mod binary;
mod cluster;
mod disk;
mod engine;
mod error;
mod etcd;
mod http;
mod port;
mod process;
mod ready;
mod reaper;
mod resp;
mod scratch;
mod service;
mod shared;
mod skip;

pub use self::cluster::Cluster;
pub use self::disk::SmallDisk;
pub use self::engine::Engine;
pub use self::error::Error;
pub use self::etcd::EtcdCluster;
pub use self::port::free_port;
pub use self::scratch::scratch;
pub use self::service::{Service, Setup};
pub use self::shared::Shared;
pub use self::skip::or_skip;
