//! The token: the sealed bytes that travel.

use core::fmt;

use crate::aead::STRIDE;
use crate::base64url;
use crate::format::{
    CIPHERTEXT_AT, FINGERPRINT_KEY_ID_AT, ISSUE_LEN, KEY_ID_LEN, MAX_TOKEN, MIN_TOKEN, NONCE_AT, NONCE_LEN,
    SEAL_KEY_ID_AT, TAG_LEN, VERSION,
};
use crate::ids::KeyId;

/// The sealed bytes that travel, of plausible length and known version. Nothing else about them is checked.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(Vec<u8>);

/// The reason why a cookie's value is no token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The value is shorter than the shortest token.
    #[error("{length} characters are fewer than any token has")]
    TooShort {
        /// The length in characters.
        length: usize,
    },
    /// The value is longer than any browser keeps.
    #[error("{length} characters are more than any token has")]
    TooLong {
        /// The length in characters.
        length: usize,
    },
    /// The value is not canonical base64url: it has padding, quotes, percent signs, white space or trailing bits.
    #[error("not canonical base64url")]
    NotCanonical,
    /// The version never existed.
    #[error("version {version} is not known")]
    Version {
        /// The first byte.
        version: u8,
    },
    /// The version is above ours: a host that runs a later release may have issued the token. Leave the browser's cookie
    /// alone, as with an unknown key.
    #[error("version {version} is later than {VERSION}, the latest that this release knows")]
    LaterVersion {
        /// The first byte.
        version: u8,
    },
}

impl Token {
    /// Decodes a cookie's value. Checks its length before anything else.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] if the value is no token.
    #[inline]
    pub fn decode(value: &[u8]) -> Result<Self, DecodeError> {
        let length = value.len();
        if length < const { base64url::encoded_len(MIN_TOKEN) } {
            return Err(DecodeError::TooShort { length });
        }
        if length > const { base64url::encoded_len(MAX_TOKEN) } {
            return Err(DecodeError::TooLong { length });
        }
        // With room for its decryption, so that the bytes never move.
        Self::from_bytes(base64url::decode_with_room(value, STRIDE).map_err(|_| DecodeError::NotCanonical)?)
    }

    /// Wraps the token's bytes, after checking length and version.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] if length or version is wrong.
    #[inline]
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, DecodeError> {
        let length = base64url::encoded_len(bytes.len());
        if bytes.len() < MIN_TOKEN {
            return Err(DecodeError::TooShort { length });
        }
        if bytes.len() > MAX_TOKEN {
            return Err(DecodeError::TooLong { length });
        }
        match bytes[0] {
            VERSION => Ok(Self(bytes)),
            version if version > VERSION => Err(DecodeError::LaterVersion { version }),
            version => Err(DecodeError::Version { version }),
        }
    }

    /// Returns the cookie's value: base64url without padding.
    #[must_use]
    pub fn encode(&self) -> String {
        base64url::encode(&self.0)
    }

    /// Appends the cookie's value.
    pub fn encode_into(&self, text: &mut String) {
        base64url::encode_into(&self.0, text);
    }

    /// Returns the bytes that travel.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    /// Returns version and both key ids, as the associated data has them.
    pub(crate) fn header(&self) -> &[u8; NONCE_AT] {
        self.array(0)
    }

    pub(crate) fn seal_key_id(&self) -> KeyId {
        KeyId::from_bytes(*self.array::<KEY_ID_LEN>(SEAL_KEY_ID_AT))
    }

    pub(crate) fn fingerprint_key_id(&self) -> KeyId {
        KeyId::from_bytes(*self.array::<KEY_ID_LEN>(FINGERPRINT_KEY_ID_AT))
    }

    pub(crate) fn nonce(&self) -> &[u8; NONCE_LEN] {
        self.array(NONCE_AT)
    }

    pub(crate) fn tag(&self) -> &[u8; TAG_LEN] {
        self.array(self.0.len() - ISSUE_LEN - TAG_LEN)
    }

    /// Returns the bytes that the mark covers: all but the mark itself.
    pub(crate) fn unmarked(&self) -> &[u8] {
        &self.0[..self.0.len() - ISSUE_LEN]
    }

    pub(crate) fn issue_mark(&self) -> &[u8; ISSUE_LEN] {
        self.array(self.0.len() - ISSUE_LEN)
    }

    /// Returns the range of the ciphertext.
    pub(crate) fn ciphertext_range(&self) -> core::ops::Range<usize> {
        CIPHERTEXT_AT..self.0.len() - ISSUE_LEN - TAG_LEN
    }

    /// Returns `N` bytes from `at`, which every token has: it is never shorter than [`MIN_TOKEN`].
    fn array<const N: usize>(&self, at: usize) -> &[u8; N] {
        match self.0[at..].first_chunk() {
            Some(bytes) => bytes,
            None => unreachable!("a token has at least {MIN_TOKEN} bytes"),
        }
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({} bytes)", self.0.len())
    }
}
