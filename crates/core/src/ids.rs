//! The names of things: sessions, keys, subjects, revisions; and fingerprints.

use core::fmt;
use core::str::FromStr;
use std::borrow::Cow;

use rand_core::TryCryptoRng;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::format::{
    DEVICE_LEN, FINGERPRINT_LEN, HANDOFF_KEY_LEN, KEY_ID_LEN, SESSION_ID_LEN, TAG_TRUNCATED_LEN, VAULT_ID_LEN,
};

/// The caller's source of randomness failed.
#[derive(Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the system's source of randomness failed; no token can be made without it")]
pub struct RandomError;

/// Compares in constant time: as one number, since comparing byte by byte takes sixteen times as long.
pub(crate) fn same(one: &[u8; 16], other: &[u8; 16]) -> bool {
    u128::from_ne_bytes(*one).ct_eq(&u128::from_ne_bytes(*other)).into()
}

pub(crate) fn random<const N: usize>(rng: &mut (impl TryCryptoRng + ?Sized)) -> Result<[u8; N], RandomError> {
    let mut bytes = [0; N];
    rng.try_fill_bytes(&mut bytes).map_err(|_| RandomError)?;
    Ok(bytes)
}

macro_rules! opaque_bytes {
    ($(#[$doc:meta])* $name:ident, $len:expr) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; $len]);

        impl $name {
            /// Wraps the bytes as they are.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; $len]) -> Self {
                Self(bytes)
            }

            /// Returns the bytes, for a store to keep.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; $len] {
                &self.0
            }
        }

        impl TryFrom<&[u8]> for $name {
            type Error = core::array::TryFromSliceError;

            fn try_from(bytes: &[u8]) -> Result<Self, Self::Error> {
                bytes.try_into().map(Self)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(..)"))
            }
        }
    };
}

opaque_bytes!(
    /// The name of a bucket: 16 random bytes, known to the server and, sealed, inside the session's tokens.
    ///
    /// An id opens nothing by itself. But an attacker with write access to the store can end the session of an id that they
    /// know, so `Debug` hides it and events carry a [`Handle`] instead.
    SessionId,
    SESSION_ID_LEN
);

opaque_bytes!(
    /// A keyed tag of a subject's name: all that the store sees of the session's user.
    SubjectTag,
    TAG_TRUNCATED_LEN
);

opaque_bytes!(
    /// A keyed tag of the session at an identity provider that a session began with: all that the store sees of it. The
    /// sessions with one tag end together.
    GroupTag,
    TAG_TRUNCATED_LEN
);

opaque_bytes!(
    /// The name of a session's vault: 16 bytes in its bucket, which own the blobs, so that ending a session deletes them
    /// without a token. A renewal keeps the name.
    VaultId,
    VAULT_ID_LEN
);

opaque_bytes!(
    /// The name of one blob in a vault: derived from the secret that seals it, and revealing nothing of it.
    BlobId,
    VAULT_ID_LEN
);

opaque_bytes!(
    /// A device that sessions are bound to: the truncated hash of its public key. See [`DeviceKey`](crate::DeviceKey).
    DeviceId,
    DEVICE_LEN
);

impl SessionId {
    /// Draws a new random id.
    ///
    /// # Errors
    ///
    /// [`RandomError`] if the source of randomness fails.
    pub fn random(rng: &mut (impl TryCryptoRng + ?Sized)) -> Result<Self, RandomError> {
        random(rng).map(Self)
    }
}

/// The second half of the HMAC over a token, which the store keeps.
///
/// Compare it with [`matches`](Self::matches), in constant time: it has no `PartialEq`.
#[derive(Clone, Copy)]
pub struct Fingerprint([u8; FINGERPRINT_LEN]);

impl Fingerprint {
    /// Wraps bytes from a store.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; FINGERPRINT_LEN]) -> Self {
        Self(bytes)
    }

    /// Returns the bytes, for a store to keep.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; FINGERPRINT_LEN] {
        &self.0
    }

    /// Returns `true` if both are the same; compares in constant time.
    #[must_use]
    pub fn matches(&self, other: &Self) -> bool {
        same(&self.0, &other.0)
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fingerprint(..)")
    }
}

/// The name of a key: 4 bytes derived from it that reveal nothing about it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId([u8; KEY_ID_LEN]);

impl KeyId {
    pub(crate) const fn from_bytes(bytes: [u8; KEY_ID_LEN]) -> Self {
        Self(bytes)
    }

    /// Returns the bytes, as a token holds them.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; KEY_ID_LEN] {
        &self.0
    }
}

impl fmt::Display for KeyId {
    /// Writes eight hexadecimal digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", u32::from_be_bytes(self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

/// A number that grows with every write to a bucket; compare-and-swap compares it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Revision(u64);

impl Revision {
    /// The revision of a bucket that was never replaced.
    pub const FIRST: Self = Self(1);

    /// Wraps a number from a store.
    #[must_use]
    pub const fn new(revision: u64) -> Self {
        Self(revision)
    }

    /// Returns the number, for a store to keep.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    pub(crate) const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// A session's public name: an HMAC of its id, safe to show to its owner and to write to a log.
///
/// Its text is 22 characters of base64url. That is also how `Display` and serde write it, so a handle can be part of a
/// page, a form or a JSON answer, and come back from there.
///
/// ```
/// use secure_sessions_core::Handle;
///
/// let handle: Handle = "0123456789abcdefABCDEA".parse()?;
/// assert_eq!(handle.to_string(), "0123456789abcdefABCDEA");
/// # Ok::<_, secure_sessions_core::InvalidHandle>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Handle([u8; TAG_TRUNCATED_LEN]);

/// A text that is no [`Handle`].
#[derive(Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a session handle: expected 22 characters of base64url, as the list of sessions shows them")]
pub struct InvalidHandle;

impl Handle {
    pub(crate) const fn from_bytes(bytes: [u8; TAG_TRUNCATED_LEN]) -> Self {
        Self(bytes)
    }

    /// Returns the handle's bytes, for a type of another crate that identifies sessions by 128 bits.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; TAG_TRUNCATED_LEN] {
        self.0
    }
}

/// The bytes where a handle is left out.
pub(crate) const NO_SESSION: Handle = Handle([0; TAG_TRUNCATED_LEN]);

impl fmt::Display for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&crate::base64url::encode(&self.0))
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Handle({self})")
    }
}

impl FromStr for Handle {
    type Err = InvalidHandle;

    fn from_str(text: &str) -> Result<Self, InvalidHandle> {
        let bytes = crate::base64url::decode(text.as_bytes()).map_err(|_| InvalidHandle)?;
        bytes.as_slice().try_into().map(Self).map_err(|_| InvalidHandle)
    }
}

impl Serialize for Handle {
    /// Writes the text.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Handle {
    /// Reads the text.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

/// A bucket's handoff key: known only inside its tokens.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct HandoffKey([u8; HANDOFF_KEY_LEN]);

impl HandoffKey {
    /// Draws a new random key.
    ///
    /// # Errors
    ///
    /// [`RandomError`] if the source of randomness fails.
    pub fn random(rng: &mut (impl TryCryptoRng + ?Sized)) -> Result<Self, RandomError> {
        random(rng).map(Self)
    }

    pub(crate) const fn from_bytes(bytes: [u8; HANDOFF_KEY_LEN]) -> Self {
        Self(bytes)
    }

    pub(crate) const fn as_bytes(&self) -> &[u8; HANDOFF_KEY_LEN] {
        &self.0
    }
}

impl fmt::Debug for HandoffKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HandoffKey(..)")
    }
}
