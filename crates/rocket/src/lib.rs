#![doc = include_str!("../README.md")]

mod cross_origin;
mod csrf;
mod fairing;
mod guard;
mod headers;

pub use secure_sessions;
#[cfg(feature = "cached")]
pub use secure_sessions::CachedStore;
#[cfg(feature = "metrics")]
pub use secure_sessions::Metrics;
#[cfg(feature = "redis")]
pub use secure_sessions::RedisStore;
#[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
pub use secure_sessions::SqlStore;
pub use secure_sessions::{
    AnyStore, AuditFile, AuditLog, AuditRecord, AuditSink, Binding, BuildError, Builder, ClearSiteData, Clock,
    CrossOrigin, CrossOriginError, CrossOriginReason, CrossOriginRefused, DataMap, EndReason, Event, EventLimit, Flash,
    FlashLevel, Handle, KeySourceError, KeyWatch, Keyring, Login, ManualClock, MemoryStore, Millis, Observer,
    OnMismatch, OnReplay, PurgeHandle, RequestHead, RotationReason, SameSite, SessionData, SessionError as EngineError,
    SessionInfo, SessionLimit, SessionManager, SessionStore, SizeClasses, StoreError, SystemClock, Throttled,
    Timestamp, Transport, store, testing,
};

pub use self::cross_origin::{CrossOriginFairing, SameOrigin};
pub use self::csrf::CsrfSession;
pub use self::fairing::SessionFairing;
pub use self::guard::SessionExt;

secure_sessions::adapter_types!();
