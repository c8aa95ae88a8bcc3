//! The two kinds of keys, and their text forms.

use core::fmt;
use core::str::FromStr;

use rand_core::TryCryptoRng;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::base64url;
use crate::format::{FINGERPRINT_KEY_PREFIX, KEY_LEN, SEAL_KEY_PREFIX};
use crate::ids::{KeyId, RandomError, random};
use crate::kdf::KeySchedule;

/// An error in the text of a key. It never repeats the text.
#[derive(Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyParseError {
    /// The text starts with neither prefix, or with that of the other kind.
    #[error(
        "expected a {kind} key, which starts with `{prefix}`; found {found}. Generate one with `{kind_type}::generate`, or both with `Keyring::generate_texts`"
    )]
    Prefix {
        /// The kind of key: `seal` or `fingerprint`.
        kind: &'static str,
        /// The type of the key.
        kind_type: &'static str,
        /// The prefix of such a key.
        prefix: &'static str,
        /// A description of the text found instead.
        found: &'static str,
    },
    /// The text after the prefix is not canonical base64url of 32 bytes.
    #[error(
        "a {kind} key is `{prefix}` and 43 characters of base64url without padding; found {length} characters after the prefix, or others than A-Z a-z 0-9 - _"
    )]
    Encoding {
        /// The kind of key: `seal` or `fingerprint`.
        kind: &'static str,
        /// The prefix of such a key.
        prefix: &'static str,
        /// The number of characters after the prefix.
        length: usize,
    },
}

macro_rules! key_type {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $prefix:expr) => {
        $(#[$doc])*
        #[derive(Clone, Zeroize, ZeroizeOnDrop)]
        pub struct $name([u8; KEY_LEN]);

        impl $name {
            /// Generates a new random key.
            ///
            /// # Errors
            ///
            /// [`RandomError`] if the source of randomness fails.
            pub fn generate(rng: &mut (impl TryCryptoRng + ?Sized)) -> Result<Self, RandomError> {
                random(rng).map(Self)
            }

            /// Makes a key of 32 bytes that are already uniformly random, for example from a key management service.
            ///
            /// # Security
            ///
            /// Never pass a password, or any other text that a human chose.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; KEY_LEN]) -> Self {
                Self(bytes)
            }

            /// Returns the key's text form, which [`FromStr`] reads: its prefix and 43 characters of base64url.
            #[must_use]
            pub fn to_text(&self) -> Zeroizing<String> {
                let mut text = Zeroizing::new(String::with_capacity(
                    $prefix.len() + base64url::encoded_len(KEY_LEN),
                ));
                text.push_str($prefix);
                base64url::encode_into(&self.0, &mut text);
                text
            }

            /// Returns the id that tells this key from others and reveals nothing about it.
            #[must_use]
            pub fn id(&self) -> KeyId {
                self.schedule().key_id()
            }

            pub(crate) fn schedule(&self) -> KeySchedule {
                KeySchedule::new(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = KeyParseError;

            fn from_str(text: &str) -> Result<Self, KeyParseError> {
                let encoded = text.strip_prefix($prefix).ok_or(KeyParseError::Prefix {
                    kind: $kind,
                    kind_type: stringify!($name),
                    prefix: $prefix,
                    found: kind_of(text),
                })?;
                let refused = KeyParseError::Encoding { kind: $kind, prefix: $prefix, length: encoded.len() };
                if encoded.len() != base64url::encoded_len(KEY_LEN) {
                    return Err(refused);
                }
                let bytes = Zeroizing::new(base64url::decode(encoded.as_bytes()).map_err(|_| refused)?);
                let bytes: &[u8; KEY_LEN] = bytes.as_slice().try_into().map_err(|_| refused)?;
                Ok(Self(*bytes))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({}, ..)"), self.id())
            }
        }
    };
}

key_type!(
    /// A key that encrypts tokens: 32 random bytes, written `sealk1_` and base64url. Rotate it often.
    SealKey,
    "seal",
    SEAL_KEY_PREFIX
);

key_type!(
    /// A key that marks and fingerprints tokens and tags subjects: 32 random bytes, written `fpk1_` and base64url.
    /// Rotate it rarely, and keep it apart from the seal keys where you can.
    FingerprintKey,
    "fingerprint",
    FINGERPRINT_KEY_PREFIX
);

fn kind_of(text: &str) -> &'static str {
    if text.is_empty() {
        "an empty text"
    } else if text.starts_with(SEAL_KEY_PREFIX) {
        "a seal key (`sealk1_`)"
    } else if text.starts_with(FINGERPRINT_KEY_PREFIX) {
        "a fingerprint key (`fpk1_`)"
    } else {
        "neither prefix"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_round_trips_and_debug_hides_the_key() {
        let key = SealKey::from_bytes([7; 32]);
        let text = key.to_text();
        assert!(text.starts_with("sealk1_") && text.len() == 7 + 43);
        let again: SealKey = text.parse().expect("its own text");
        assert_eq!(again.id(), key.id());
        let debug = format!("{key:?}");
        assert!(!debug.contains(&text[7..]), "{debug}");
        assert!(debug.contains(&key.id().to_string()));
    }

    #[test]
    fn other_texts_are_refused_and_not_repeated() {
        let seal = SealKey::from_bytes([7; 32]).to_text();
        let swapped = seal.parse::<FingerprintKey>().expect_err("the other kind");
        assert!(swapped.to_string().contains("fpk1_"), "{swapped}");
        for text in [
            String::new(),
            "sealk1_".into(),
            "sealk1_secret".into(),
            format!("{}=", seal.as_str()),
            format!("{} ", seal.as_str()),
            format!("{}B", &seal[..seal.len() - 1]),
            seal.to_uppercase(),
        ] {
            let error = text.parse::<SealKey>().expect_err(&text).to_string();
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn the_error_says_what_stands_in_the_place_of_a_key() {
        let (seal, fingerprint) =
            (SealKey::from_bytes([7; 32]).to_text(), FingerprintKey::from_bytes([8; 32]).to_text());
        for (refused, found) in [
            ("".parse::<SealKey>().map(drop), "an empty text"),
            (fingerprint.parse::<SealKey>().map(drop), "a fingerprint key (`fpk1_`)"),
            (seal.parse::<FingerprintKey>().map(drop), "a seal key (`sealk1_`)"),
            ("hunter2".parse::<FingerprintKey>().map(drop), "neither prefix"),
        ] {
            let said = refused.expect_err(found).to_string();
            assert!(said.contains(found), "{said}");
        }
    }
}
