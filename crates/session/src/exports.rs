//! The engine's types that an application needs besides its adapter's own. Each adapter exports all of them.

#[cfg(feature = "cached")]
pub use crate::CachedStore;
#[cfg(feature = "memcached")]
pub use crate::MemcachedStore;
#[cfg(feature = "metrics")]
pub use crate::Metrics;
#[cfg(feature = "redb")]
pub use crate::RedbStore;
#[cfg(any(feature = "sqlite", feature = "postgres", feature = "mysql"))]
pub use crate::SqlStore;
pub use crate::{
    Aead, AnyStore, AuditBuilder, AuditFile, AuditLog, AuditRecord, AuditSink, Binding, BuildError, Builder,
    ClearSiteData, Clock, CrossOrigin, CrossOriginBuilder, CrossOriginError, CrossOriginReason, CrossOriginRefused,
    DataError, DataMap, DecodeError, Detail, Device, DeviceBound, DeviceSkipped, EndReason, Event, EventLimit,
    FingerprintKey, Flash, FlashLevel, Handle, Health, InspectedSession, InspectedToken, Inspection, InvalidHandle,
    InvalidOrigin, KeyId, KeyKind, KeyParseError, KeySourceError, KeyState, KeyToRemove, KeyWatch, Keyring,
    KeyringError, LabelError, Login, MAX_FLASH_LEN, MAX_FLASHES, ManualClock, Measure, MemoryStore, MetaError, Millis,
    Observer, OnMismatch, OnReplay, Origin, Probe, PurgeHandle, RandomError, RequestHead, RotationReason, SameSite,
    SealKey, SessionData, SessionError as EngineError, SessionInfo, SessionLimit, SessionManager, SessionStore,
    Severity, SizeClasses, SizeError, Snapshot, StoreError, SysRng, SystemClock, Throttled, Timestamp, TokenVerdict,
    Transport, VaultError, VaultStore, WrongType, store, testing,
};
pub use crate::{CSRF_FIELD, MAX_VAULT_LEN, MAX_VAULT_VALUE_LEN, MAX_VAULT_VALUES, Permission, User, local_path};
#[cfg(feature = "dynamodb")]
pub use crate::{DynamoDbOptions, DynamoDbStore};
#[cfg(feature = "etcd")]
pub use crate::{EtcdOptions, EtcdStore};
#[cfg(feature = "redis")]
pub use crate::{RedisOptions, RedisStore};
