#![doc = include_str!("../README.md")]

mod adapter;
mod clock;
mod commit;
mod config;
mod cookie;
mod detached;
mod error;
mod event;
mod finish;
mod head;
mod keyring;
mod load;
mod manager;
mod ops;
mod reply;
mod request;
mod session;
mod state;
mod subjects;
pub mod testing;
mod typed;

pub use secure_sessions_core::{
    DataError, DataMap, Handle, InvalidHandle, KeyId, KeyKind, KeyState, KeyringError, LabelError, MetaError, Millis,
    RandomError, SizeClasses, SizeError, Timestamp,
};
pub use secure_sessions_store as store;
#[cfg(feature = "sqlite")]
pub use secure_sessions_store::SqlStore;
pub use secure_sessions_store::{AnyStore, MemoryStore, PurgeHandle, SessionStore, StoreError};

#[doc(hidden)]
pub use self::adapter::macros;
pub use self::clock::{Clock, ManualClock, SystemClock};
pub use self::config::{BuildError, Builder, OnReplay};
pub use self::cookie::{MAX_COOKIE_AGE, SameSite};
pub use self::error::SessionError;
pub use self::event::{EndReason, Event, Observer, RotationReason};
pub use self::finish::Finish;
pub use self::head::{BodySize, RequestHead};
pub use self::keyring::{
    COMPROMISED_KEYS_VARIABLE, FINGERPRINT_KEYS_VARIABLE, KeySourceError, Keyring, SEAL_KEYS_VARIABLE,
};
pub use self::manager::SessionManager;
pub use self::reply::{Reply, ResponseHeaders};
pub use self::request::RequestSession;
pub use self::session::Session;
pub use self::subjects::SessionInfo;
pub use self::typed::{SessionData, Typed};
