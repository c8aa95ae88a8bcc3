//! The reasons why a token is not opened, and the suspicion of one without a right mark.

use crate::bucket::Bucket;
use crate::ids::{Fingerprint, KeyId, SessionId};
use crate::keyring::KeyKind;

/// The reason why a token was not opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The token names a key that is not in the keyring: not yet, or no longer.
    #[error("the token names {kind} key {id}, which is not in the keyring")]
    UnknownKey {
        /// The kind of the key.
        kind: KeyKind,
        /// The id, as the token names it.
        id: KeyId,
    },
    /// Neither the mark nor the seal fits: the token was changed on the way, is of another context, or was invented.
    #[error("the token is not authentic")]
    NotAuthentic,
    /// The seal fits and the mark does not: a holder of the seal key made the token, or somebody damaged the last bytes of
    /// one of ours. Ask the bucket which it is; see [`Suspect::is_damaged`].
    #[error("the token was sealed with seal key {}, and its mark is wrong", .0.key())]
    Unmarked(Suspect),
    /// The mark fits and the seal does not: a holder of both keys made the token. **The named key has leaked**: the one of the
    /// two that you have not listed as compromised yet, if there is one.
    #[error("the token was made with {kind} key {id}, and not by us: the key has leaked")]
    Forged {
        /// The kind of the key that the forger holds, too.
        kind: KeyKind,
        /// The key.
        id: KeyId,
    },
    /// The token is marked as ours but cannot be read: a later version of this library made it, or both keys have leaked.
    #[error("the token's content is malformed")]
    Malformed,
}

/// The claims of a token without a right mark. Believe none of them: ask its bucket once, for
/// [`is_damaged`](Self::is_damaged) alone.
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

    /// Returns `true` if the bucket knows this token but for the mark at its end: its holder damaged it.
    ///
    /// Otherwise the seal key has leaked. The other half of the HMAC tells the two cases apart: nobody can make it without
    /// both keys, and it does not travel.
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
