#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod adapter;
mod adapter_access;
mod adapter_types;
mod builder;
mod checkup;
mod clock;
mod config;
mod detached;
mod dev;
mod device;
mod error;
mod event;
#[doc(hidden)]
pub mod exports;
pub mod guide;
mod health;
mod inspect;
#[cfg(feature = "json")]
pub mod json;
mod keyring;
mod manager;
mod not_before;
mod refusal;
mod reload;
mod remember;
mod request;
mod request_session;
mod session;
mod subjects;
pub mod testing;
mod timed;
mod transport;

/// The system's source of randomness, for [`SealKey::generate`].
pub use getrandom::SysRng;
pub use secure_sessions_core::format::MAX_FLASH_LEN;
pub use secure_sessions_core::format::{MAX_VAULT_LEN, MAX_VAULT_VALUE_LEN, MAX_VAULT_VALUES};
pub use secure_sessions_core::{
    Aead, DataError, DataMap, DecodeError, FingerprintKey, Handle, InvalidHandle, KeyId, KeyKind, KeyParseError,
    KeyState, KeyringError, LabelError, MetaError, Millis, RandomError, SealKey, SecretBytes, SizeClasses, SizeError,
    Timestamp, VaultError, WrongType,
};
pub use secure_sessions_store as store;
#[cfg(feature = "cached")]
pub use secure_sessions_store::CachedStore;
#[cfg(feature = "memcached")]
pub use secure_sessions_store::MemcachedStore;
#[cfg(feature = "redb")]
pub use secure_sessions_store::RedbStore;
#[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
pub use secure_sessions_store::SqlStore;
pub use secure_sessions_store::{AnyStore, MemoryStore, PurgeHandle, SessionStore, StoreError, VaultStore};
#[cfg(feature = "dynamodb")]
pub use secure_sessions_store::{DynamoDbOptions, DynamoDbStore};
#[cfg(feature = "etcd")]
pub use secure_sessions_store::{EtcdOptions, EtcdStore};
#[cfg(feature = "redis")]
pub use secure_sessions_store::{RedisOptions, RedisStore};

pub use self::adapter::head::{BodySize, RequestHead};
pub use self::adapter::optional::optional;
pub use self::adapter::reply::{Reply, ResponseHeaders};
#[doc(hidden)]
pub use self::adapter_types::macros;
pub use self::builder::Builder;
pub use self::clock::{Clock, ManualClock, SystemClock};
pub use self::config::OnReplay;
pub use self::config::binding::{Binding, OnMismatch};
pub use self::config::build_error::BuildError;
pub use self::config::device::DeviceBound;
pub use self::config::limit::SessionLimit;
pub use self::config::site_data::ClearSiteData;
pub use self::device::answer::{DeviceAnswer, DeviceAnswering};
pub use self::error::SessionError;
pub use self::event::audit::{AuditBuilder, AuditFile, AuditLog, AuditRecord, AuditSink};
#[cfg(feature = "metrics")]
pub use self::event::counters::Metrics;
pub use self::event::device::DeviceSkipped;
pub use self::event::measure::Measure;
pub use self::event::origin::{CrossOriginReason, InvalidOrigin, Origin};
pub use self::event::throttle::{EventLimit, Throttled};
pub use self::event::vocabulary::{Detail, Severity};
pub use self::event::{EndReason, Event, Observer, RotationReason};
pub use self::health::{Health, Probe};
pub use self::inspect::{InspectedSession, InspectedToken, Inspection, TokenVerdict};
pub use self::keyring::{
    COMPROMISED_KEYS_VARIABLE, FINGERPRINT_KEYS_VARIABLE, KeySourceError, Keyring, SEAL_KEYS_VARIABLE,
};
pub use self::manager::SessionManager;
pub use self::reload::KeyWatch;
pub use self::request::finish::Finish;
pub use self::request::messages::{Flash, FlashLevel, MAX_FLASHES};
pub use self::request_session::{DeferredSession, RequestSession};
pub use self::session::Session;
pub use self::session::access::{Permission, User, local_path};
#[doc(hidden)]
pub use self::session::access::{check_permission, parse_subject};
pub use self::session::cross_origin::{
    CrossOrigin, CrossOriginBuilder, CrossOriginError, CrossOriginRefused, Provenance,
};
pub use self::session::csrf::CSRF_FIELD;
pub use self::session::device::Device;
pub use self::session::key::KeyToRemove;
pub use self::session::login::Login;
#[doc(hidden)]
pub use self::session::names::{CallLogout, CallRenew, CallTake};
pub use self::session::snapshot::Snapshot;
pub use self::session::typed::{SessionData, Typed};
pub use self::session::vault::Vault;
pub use self::subjects::SessionInfo;
pub use self::transport::cookie::{MAX_COOKIE_AGE, SameSite};
pub use self::transport::{DEFAULT_BEARER_HEADER, Transport};
