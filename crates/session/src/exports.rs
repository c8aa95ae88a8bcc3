//! The engine's types that an application needs besides its adapter's own. Each adapter exports all of them.

#[cfg(feature = "cached")]
pub use crate::CachedStore;
#[cfg(feature = "metrics")]
pub use crate::Metrics;
#[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
pub use crate::SqlStore;
pub use crate::{
    Aead, AnyStore, AuditBuilder, AuditFile, AuditLog, AuditRecord, AuditSink, Binding, BuildError, Builder,
    ClearSiteData, Clock, CrossOrigin, CrossOriginBuilder, CrossOriginError, CrossOriginReason, CrossOriginRefused,
    DataError, DataMap, Detail, EndReason, Event, EventLimit, FingerprintKey, Flash, FlashLevel, Handle, InvalidHandle,
    InvalidOrigin, KeyId, KeyKind, KeyParseError, KeySourceError, KeyState, KeyToRemove, KeyWatch, Keyring,
    KeyringError, LabelError, Login, MAX_FLASH_LEN, MAX_FLASHES, ManualClock, MemoryStore, MetaError, Millis, Observer,
    OnMismatch, OnReplay, Origin, PurgeHandle, RandomError, RequestHead, RotationReason, SameSite, SealKey,
    SessionData, SessionError as EngineError, SessionInfo, SessionLimit, SessionManager, SessionStore, Severity,
    SizeClasses, SizeError, StoreError, SysRng, SystemClock, Throttled, Timestamp, Transport, WrongType, store,
    testing,
};
pub use crate::{CSRF_FIELD, Permission, User, local_path};
#[cfg(feature = "redis")]
pub use crate::{RedisOptions, RedisStore};
