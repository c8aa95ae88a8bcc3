#![doc = include_str!("../README.md")]

mod fairing;
mod guard;
mod headers;

pub use secure_sessions;
#[cfg(feature = "sqlite")]
pub use secure_sessions::SqlStore;
pub use secure_sessions::{
    AnyStore, BuildError, Builder, Clock, DataMap, EndReason, Event, Handle, KeySourceError, Keyring, ManualClock,
    MemoryStore, Millis, Observer, OnReplay, PurgeHandle, RotationReason, SameSite, SessionData,
    SessionError as SessionErrorKind, SessionInfo, SessionManager, SessionStore, SizeClasses, StoreError, SystemClock,
    Timestamp, store, testing,
};

pub use self::fairing::SessionFairing;
pub use self::guard::SessionExt;

secure_sessions::adapter_types!();
