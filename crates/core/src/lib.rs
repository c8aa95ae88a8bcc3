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
mod refusal;
mod sealer;
mod secret;
mod sizes;
mod tags;
mod time;
mod token;

pub use self::admit::{Admitted, Newest, Superseded, Verdict};
pub use self::aead::Aead;
pub use self::bucket::{
    Arrival, Bucket, BucketPolicy, CLOCK_TOLERANCE, Ending, Entry, Evicted, FIRST_GENERATION, MAX_TOUCH_STEP,
    NewBucket, PURGE_DELAY, Retired, Standing, Succession, Tombstone,
};
pub use self::cbor::CborError;
pub use self::context::ContextError;
pub use self::data::{DataError, DataMap, WrongType, decode, encode};
pub use self::handoff::HandoffError;
pub use self::ids::{
    Fingerprint, Handle, HandoffKey, InvalidHandle, KeyId, RandomError, Revision, SessionId, SubjectTag,
};
pub use self::keyring::{KeyKind, KeyState, Keyring, KeyringBuilder, KeyringError};
pub use self::keys::{FingerprintKey, KeyParseError, SealKey};
pub use self::meta::{Meta, MetaError};
pub use self::opened::{Opened, SealedUnder};
pub use self::record::RecordError;
pub use self::refusal::{Refusal, Suspect};
pub use self::sealer::{Content, Issued, SealError, Sealer};
pub use self::secret::SecretBytes;
pub use self::sizes::{SizeClasses, SizeError, Sizes};
pub use self::tags::LabelError;
pub use self::time::{Millis, Timestamp};
pub use self::token::{DecodeError, Token};
