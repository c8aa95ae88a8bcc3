#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod any;
#[cfg(feature = "cached")]
mod cached;
#[cfg(feature = "conformance")]
pub mod conformance;
#[cfg(feature = "dynamodb")]
mod dynamodb_store;
mod error;
#[cfg(feature = "etcd")]
mod etcd_store;
mod forward;
#[cfg(feature = "key-value")]
pub mod key_value;
#[cfg(feature = "memcached")]
mod memcached_store;
#[cfg(feature = "memory")]
mod memory;
#[cfg(any(feature = "key-value", feature = "redis"))]
mod passes;
#[cfg(feature = "purge")]
mod purge;
#[cfg(feature = "redb")]
mod redb_store;
#[cfg(feature = "redis")]
mod redis_store;
#[cfg(any(feature = "_sql", feature = "redis"))]
mod skew;
#[cfg(feature = "_sql")]
mod sql;
mod store;
mod tags;
mod vault;

pub use secure_sessions_core::{
    BlobId, Bucket, Entry, Fingerprint, GroupTag, Lifespan, MAX_BLOB_LEN, Millis, Retired, Revision, SessionId,
    SubjectTag, Timestamp, Tombstone, VaultId, record,
};

pub use self::any::AnyStore;
#[cfg(feature = "cached")]
pub use self::cached::CachedStore;
#[cfg(feature = "dynamodb")]
pub use self::dynamodb_store::{DynamoDbOptions, DynamoDbStore};
pub use self::error::{Cause, StoreError};
#[cfg(feature = "etcd")]
pub use self::etcd_store::{EtcdOptions, EtcdStore};
#[cfg(feature = "key-value")]
pub use self::key_value::{KeyValue, KvStore};
#[cfg(feature = "memcached")]
pub use self::memcached_store::MemcachedStore;
#[cfg(feature = "memory")]
pub use self::memory::MemoryStore;
#[cfg(feature = "purge")]
pub use self::purge::{Purge, PurgeHandle};
#[cfg(feature = "redb")]
pub use self::redb_store::RedbStore;
#[cfg(feature = "redis")]
pub use self::redis_store::{RedisOptions, RedisStore};
#[cfg(feature = "_sql")]
pub use self::sql::{MissingMigrations, SqlOptions, SqlPool, SqlStore};
pub use self::store::{Listed, Page, SessionStore, Unreadable, Which};
pub use self::tags::{Tag, Tags};
pub use self::vault::{AnyVaultStore, Blob, VaultStore};
/// The SDK under [`DynamoDbStore`], whose client you pass to it.
#[cfg(feature = "dynamodb")]
pub use ::aws_sdk_dynamodb;
/// The driver under [`RedisStore`], in case you pass it a client of your own.
#[cfg(feature = "redis")]
pub use ::redis;
/// The client under [`EtcdStore`], in case you pass it endpoints of your own.
#[cfg(feature = "etcd")]
pub use ::tonic;
/// The driver under [`SqlStore`], in case you pass it a pool of your own.
#[cfg(feature = "_sql")]
pub use sqlx;
