#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod admit;
mod aead;
mod base64url;
mod binding;
mod bucket;
mod cbor;
mod codec;
mod context;
mod data;
mod debug;
mod device;
mod envelope;
pub mod format;
mod handoff;
#[cfg(test)]
#[path = "../tests/protocol/support/hex.rs"]
mod hex;
mod ids;
mod kdf;
mod keyring;
mod keys;
mod mac;
mod meta;
mod opened;
pub mod record;
mod references;
mod refusal;
mod sealer;
mod secret;
mod sizes;
mod tags;
mod time;
mod token;
mod vault;

pub use self::admit::{Admitted, Newest, Superseded, Verdict};
pub use self::aead::Aead;
pub use self::bucket::{
    Arrival, Bucket, BucketPolicy, CLOCK_TOLERANCE, DEFAULT_TOUCH_STEP, Ending, Entry, Evicted, FIRST_GENERATION,
    Lifespan, MAX_TOUCH_STEP, NewBucket, PURGE_DELAY, Retired, Standing, Succession, Tombstone,
};
pub use self::cbor::CborError;
pub use self::context::ContextError;
pub use self::data::{DataError, DataMap, WrongType, decode, encode, encode_private};
#[cfg(feature = "device")]
#[cfg_attr(docsrs, doc(cfg(feature = "device")))]
pub use self::device::{DPOP_NONCE_LIFE, DpopProven, DpopRequest, ProofError};
pub use self::device::{DeviceIdentifier, DeviceKey, DevicePolicy, DeviceTicket, StampError};
pub use self::handoff::HandoffError;
pub use self::ids::{
    BlobId, DeviceId, Fingerprint, GroupTag, Handle, HandoffKey, InvalidHandle, KeyId, RandomError, Revision,
    SessionId, SubjectTag, VaultId,
};
pub use self::keyring::{KeyKind, KeyState, Keyring, KeyringBuilder, KeyringError};
pub use self::keys::{FingerprintKey, KeyParseError, SealKey};
pub use self::meta::{Meta, MetaError, ProviderSession};
pub use self::opened::{Opened, SealedUnder};
pub use self::record::RecordError;
pub use self::references::{BlobKey, Reference, References, VaultError};
pub use self::refusal::{Refusal, Suspect};
pub use self::sealer::{Content, Issued, SealError, Sealer};
pub use self::secret::SecretBytes;
pub use self::sizes::{SizeClasses, SizeError, Sizes};
pub use self::tags::LabelError;
pub use self::time::{Millis, Timestamp};
pub use self::token::{DecodeError, Token};
pub use self::vault::{BlobError, MAX_BLOB_LEN, blob_len};
