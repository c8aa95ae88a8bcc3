#![doc = include_str!("../README.md")]

mod extract;
mod headers;
mod middleware;

pub use secure_sessions;
#[cfg(feature = "sqlite")]
pub use secure_sessions::SqlStore;
pub use secure_sessions::{
    AnyStore, BuildError, Builder, Clock, Event, Handle, KeySourceError, Keyring, ManualClock, MemoryStore, Observer,
    OnReplay, SameSite, SessionData, SessionInfo, SessionManager, SessionStore, SizeClasses, StoreError, Timestamp,
    store,
};

pub use self::extract::SessionExt;
pub use self::middleware::{ResponseFuture, SessionMiddleware, SessionService};

secure_sessions::adapter_types!();
