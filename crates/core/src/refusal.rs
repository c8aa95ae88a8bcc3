//! Why a token was not opened, and what one without a right mark is worth.

use crate::bucket::Bucket;
use crate::ids::{Fingerprint, KeyId, SessionId};
use crate::keyring::KeyKind;

/// Why a token was not opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// A key that we do not have, or not yet, or no more.
    #[error("the token names {kind} key {id}, which is not in the keyring")]
    UnknownKey {
        /// The kind of the key.
        kind: KeyKind,
        /// Its id, as the token has it.
        id: KeyId,
    },
    /// Neither the mark nor the seal fits: changed on the way, of another context, or made up.
    #[error("the token is not authentic")]
    NotAuthentic,
    /// The seal fits and the mark does not: made by somebody who holds the seal key, or a token of ours whose last bytes
    /// were damaged. Ask the bucket which; see [`Suspect::is_damaged`].
    #[error("the token was sealed with seal key {}, and its mark is wrong", .0.key())]
    Unmarked(Suspect),
    /// The mark fits and the seal does not: made by somebody who holds both keys. **The named key has leaked**: the one of
    /// the two that you have not listed as compromised yet, if there is one.
    #[error("the token was made with {kind} key {id}, and not by us: the key has leaked")]
    Forged {
        /// The kind of the key that the forger holds, too.
        kind: KeyKind,
        /// The key.
        id: KeyId,
    },
    /// It is marked as ours, and cannot be read: of a later version of this library, or both keys have leaked.
    #[error("the token's content is malformed")]
    Malformed,
}

/// What a token without a right mark says of itself. None of it is to be believed: ask its bucket once, for nothing else
/// than [`is_damaged`](Self::is_damaged).
#[derive(Debug, Clone, Copy)]
pub struct Suspect {
    pub(crate) key: KeyId,
    pub(crate) session_id: SessionId,
    pub(crate) generation: u32,
    pub(crate) fingerprint: Fingerprint,
}

impl Suspect {
    /// Returns the seal key that the token was sealed with.
    #[must_use]
    pub fn key(&self) -> KeyId {
        self.key
    }

    /// Returns the bucket to ask.
    #[must_use]
    pub fn session_id(&self) -> SessionId {
        self.session_id
    }

    /// Returns `true` if this is a token that the bucket knows, with another mark at its end: its holder damaged it.
    ///
    /// Otherwise the seal key has leaked. The other half of the HMAC tells the two apart: nobody can make it without both
    /// keys, and it does not travel.
    #[must_use]
    pub fn is_damaged(&self, bucket: &Bucket) -> bool {
        let knows = |kept: &Fingerprint| kept.matches(&self.fingerprint);
        bucket.id == self.session_id
            && ((bucket.generation == self.generation && knows(&bucket.current))
                || bucket
                    .retired
                    .iter()
                    .any(|retired| retired.generation == self.generation && knows(&retired.fingerprint)))
    }
}

impl PartialEq for Suspect {
    fn eq(&self, other: &Self) -> bool {
        (self.key, self.session_id, self.generation) == (other.key, other.session_id, other.generation)
            && self.fingerprint.matches(&other.fingerprint)
    }
}

impl Eq for Suspect {}
