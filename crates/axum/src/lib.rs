#![doc = include_str!("../README.md")]

mod cross_origin;
#[cfg(feature = "axum")]
mod csrf;
mod ext;
#[cfg(feature = "axum")]
mod extract;
mod headers;
mod layer;

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

pub use self::cross_origin::{
    CrossOriginFuture, CrossOriginLayer, CrossOriginService, DefaultRefusal, RefusalResponse,
};
#[cfg(feature = "axum")]
pub use self::csrf::CsrfSession;
pub use self::ext::SessionExt;
pub use self::headers::ClientAddress;
pub use self::layer::{DefaultErrorResponse, ErrorResponse, ResponseFuture, SessionLayer, SessionService};

secure_sessions::adapter_types!();

/// The project's README: its quick start must compile.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
