#![doc = include_str!("../README.md")]

mod adapter;
mod audit;
mod binding;
mod caller;
mod clock;
mod commit;
mod config;
mod cookie;
#[cfg(feature = "metrics")]
mod counters;
mod cross_origin;
mod csrf;
mod detached;
mod ending;
mod entropy;
mod error;
mod event;
mod finish;
mod flash;
pub mod guide;
mod head;
mod keyring;
mod limit;
mod load;
mod login;
mod manager;
mod ops;
mod reload;
mod remember;
mod reply;
mod request;
mod session;
mod site_data;
mod state;
mod subjects;
pub mod testing;
mod throttle;
mod transport;
mod typed;
mod vocabulary;

pub use secure_sessions_core::{
    Aead, DataError, DataMap, Handle, InvalidHandle, KeyId, KeyKind, KeyState, KeyringError, LabelError, MetaError,
    Millis, RandomError, SizeClasses, SizeError, Timestamp,
};
pub use secure_sessions_store as store;
#[cfg(feature = "cached")]
pub use secure_sessions_store::CachedStore;
#[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
pub use secure_sessions_store::SqlStore;
pub use secure_sessions_store::{AnyStore, MemoryStore, PurgeHandle, SessionStore, StoreError};
#[cfg(feature = "redis")]
pub use secure_sessions_store::{RedisOptions, RedisStore};

#[doc(hidden)]
pub use self::adapter::macros;
pub use self::audit::{AuditBuilder, AuditFile, AuditLog, AuditRecord, AuditSink};
pub use self::binding::{Binding, OnMismatch};
pub use self::clock::{Clock, ManualClock, SystemClock};
pub use self::config::{BuildError, Builder, OnReplay};
pub use self::cookie::{MAX_COOKIE_AGE, SameSite};
#[cfg(feature = "metrics")]
pub use self::counters::Metrics;
pub use self::cross_origin::{
    CrossOrigin, CrossOriginBuilder, CrossOriginError, CrossOriginReason, CrossOriginRefused, InvalidOrigin, Origin,
    Provenance,
};
pub use self::error::SessionError;
pub use self::event::{EndReason, Event, Observer, RotationReason};
pub use self::finish::Finish;
pub use self::flash::{Flash, FlashLevel, MAX_FLASH_LEN, MAX_FLASHES};
pub use self::head::{BodySize, RequestHead};
pub use self::keyring::{
    COMPROMISED_KEYS_VARIABLE, FINGERPRINT_KEYS_VARIABLE, KeySourceError, Keyring, SEAL_KEYS_VARIABLE,
};
pub use self::limit::SessionLimit;
pub use self::login::Login;
pub use self::manager::SessionManager;
pub use self::reload::KeyWatch;
pub use self::reply::{Reply, ResponseHeaders};
pub use self::request::RequestSession;
pub use self::session::Session;
pub use self::site_data::ClearSiteData;
pub use self::subjects::SessionInfo;
pub use self::throttle::{EventLimit, Throttled};
pub use self::transport::{DEFAULT_BEARER_HEADER, Transport};
pub use self::typed::{SessionData, Typed};
pub use self::vocabulary::{Detail, Severity};
