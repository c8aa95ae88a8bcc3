#![doc = include_str!("../README.md")]

mod any;
#[cfg(feature = "conformance")]
pub mod conformance;
mod error;
#[cfg(feature = "memory")]
mod memory;
#[cfg(feature = "purge")]
mod purge;
#[cfg(feature = "sqlite")]
mod sql;
mod store;

pub use secure_sessions_core::{
    Bucket, Entry, Fingerprint, Millis, Retired, Revision, SessionId, SubjectTag, Timestamp, Tombstone, record,
};

pub use self::any::AnyStore;
pub use self::error::{Cause, StoreError};
#[cfg(feature = "memory")]
pub use self::memory::MemoryStore;
#[cfg(feature = "purge")]
pub use self::purge::{Purge, PurgeHandle};
#[cfg(feature = "sqlite")]
pub use self::sql::{SqlOptions, SqlPool, SqlStore};
pub use self::store::{Page, SessionStore, Which};
/// The driver under [`SqlStore`], for an application that hands it a pool of its own.
#[cfg(feature = "sqlite")]
pub use sqlx;
