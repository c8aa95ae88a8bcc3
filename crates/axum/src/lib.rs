#![doc = include_str!("../README.md")]

mod ext;
#[cfg(feature = "axum")]
mod extract;
mod headers;
mod layer;

pub use secure_sessions;
#[cfg(feature = "sqlite")]
pub use secure_sessions::SqlStore;
pub use secure_sessions::{
    AnyStore, BuildError, Builder, Clock, DataMap, EndReason, Event, Handle, KeySourceError, Keyring, ManualClock,
    MemoryStore, Millis, Observer, OnReplay, PurgeHandle, RotationReason, SameSite, SessionData,
    SessionError as SessionErrorKind, SessionInfo, SessionManager, SessionStore, SizeClasses, StoreError, SystemClock,
    Timestamp, store, testing,
};

pub use self::ext::SessionExt;
pub use self::layer::{DefaultErrorResponse, ErrorResponse, ResponseFuture, SessionLayer, SessionService};

secure_sessions::adapter_types!();

/// The project's README: its quick start must compile.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
