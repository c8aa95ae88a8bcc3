#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod any;
#[cfg(feature = "cached")]
mod cached;
#[cfg(feature = "conformance")]
pub mod conformance;
mod error;
mod forward;
#[cfg(feature = "memory")]
mod memory;
#[cfg(feature = "purge")]
mod purge;
#[cfg(feature = "redis")]
mod redis_store;
#[cfg(any(feature = "_sql", feature = "redis"))]
mod skew;
#[cfg(feature = "_sql")]
mod sql;
mod store;

pub use secure_sessions_core::{
    Bucket, Entry, Fingerprint, Millis, Retired, Revision, SessionId, SubjectTag, Timestamp, Tombstone, record,
};

pub use self::any::AnyStore;
#[cfg(feature = "cached")]
pub use self::cached::CachedStore;
pub use self::error::{Cause, StoreError};
#[cfg(feature = "memory")]
pub use self::memory::MemoryStore;
#[cfg(feature = "purge")]
pub use self::purge::{Purge, PurgeHandle};
#[cfg(feature = "redis")]
pub use self::redis_store::{RedisOptions, RedisStore};
#[cfg(feature = "_sql")]
pub use self::sql::{SqlOptions, SqlPool, SqlStore};
pub use self::store::{Listed, Page, SessionStore, Unreadable, Which};
/// The driver under [`RedisStore`], in case you pass it a client of your own.
#[cfg(feature = "redis")]
pub use ::redis;
/// The driver under [`SqlStore`], in case you pass it a pool of your own.
#[cfg(feature = "_sql")]
pub use sqlx;
