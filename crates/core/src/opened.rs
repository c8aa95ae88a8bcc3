//! An opened token: decrypted and proven to be ours, its data still out of reach.

use core::fmt;
use core::ops::Range;

use crate::data::DataMap;
use crate::format::{
    EXPIRES_AT_AT, GENERATION_AT, HANDOFF_KEY_AT, ISSUED_AT_AT, META_AT, META_LEN_AT, MIN_BLOAT, SESSION_ID_LEN,
};
use crate::ids::{Fingerprint, HandoffKey, KeyId, SessionId};
use crate::keyring::{FingerprintSubkeys, KeyKind, KeyState, SealSubkeys};
use crate::meta::Meta;
use crate::secret::SecretBytes;
use crate::time::Timestamp;

/// A decrypted token that we once issued. Whether it is still good, its bucket decides:
/// [`Sealer::admit`](crate::Sealer::admit) turns it into [`Admitted`](crate::Admitted), and only that gives out data.
pub struct Opened {
    buffer: SecretBytes,
    meta: Range<usize>,
    data: Range<usize>,
    session_id: SessionId,
    handoff_key: HandoffKey,
    generation: u32,
    issued_at: Timestamp,
    expires_at: Timestamp,
    fingerprint: Fingerprint,
    keys: SealedUnder,
}

/// The keys that a token was made with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SealedUnder {
    /// The seal key and its state.
    pub seal: (KeyId, KeyState),
    /// The fingerprint key and its state.
    pub fingerprint: (KeyId, KeyState),
}

impl SealedUnder {
    /// Whether one of the two keys is no longer the active one: the next token comes under the new one.
    #[must_use]
    pub fn is_outdated(&self) -> bool {
        self.seal.1 != KeyState::Active || self.fingerprint.1 != KeyState::Active
    }

    /// The compromised one of the two keys, if either is: the token is to be replaced at once.
    #[must_use]
    pub fn compromised(&self) -> Option<(KeyKind, KeyId)> {
        let seal = (KeyKind::Seal, self.seal);
        let fingerprint = (KeyKind::Fingerprint, self.fingerprint);
        [seal, fingerprint]
            .into_iter()
            .find(|(_, (_, state))| *state == KeyState::Compromised)
            .map(|(kind, (id, _))| (kind, id))
    }
}

impl Opened {
    /// Reads the plaintext at `range` of the buffer; `None` if it is malformed.
    pub(crate) fn parse(
        buffer: SecretBytes,
        range: Range<usize>,
        fingerprint: Fingerprint,
        seal: &SealSubkeys,
        fingerprint_key: &FingerprintSubkeys,
    ) -> Option<Self> {
        let plaintext = buffer.get(range.clone())?;
        let meta_len = usize::from(u16::from_be_bytes(array(plaintext, META_LEN_AT)?));
        let meta = META_AT..META_AT + meta_len;
        let data_len = usize::from(u16::from_be_bytes(array(plaintext, meta.end)?));
        let data = meta.end + 2..meta.end + 2 + data_len;
        if data.end + MIN_BLOAT > plaintext.len() {
            return None;
        }
        Some(Self {
            session_id: SessionId::from_bytes(array::<SESSION_ID_LEN>(plaintext, 0)?),
            handoff_key: HandoffKey::from_bytes(array(plaintext, HANDOFF_KEY_AT)?),
            generation: u32::from_be_bytes(array(plaintext, GENERATION_AT)?),
            issued_at: Timestamp::from_millis(u64::from_be_bytes(array(plaintext, ISSUED_AT_AT)?)),
            expires_at: Timestamp::from_millis(u64::from_be_bytes(array(plaintext, EXPIRES_AT_AT)?)),
            meta: range.start + meta.start..range.start + meta.end,
            data: range.start + data.start..range.start + data.end,
            fingerprint,
            keys: SealedUnder { seal: (seal.id, seal.state), fingerprint: (fingerprint_key.id, fingerprint_key.state) },
            buffer,
        })
    }

    /// The bucket to ask.
    #[must_use]
    pub fn session_id(&self) -> SessionId {
        self.session_id
    }

    /// Which of the bucket's tokens this is.
    #[must_use]
    pub fn generation(&self) -> u32 {
        self.generation
    }

    /// What the bucket should know of this token.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// The keys that it was made with.
    #[must_use]
    pub fn sealed_under(&self) -> SealedUnder {
        self.keys
    }

    /// Whether the token's own times admit it: not past its deadline, and not issued before `not_before`.
    ///
    /// A time of issue in the future is no reason to refuse: hosts' clocks differ.
    #[must_use]
    pub fn is_timely(&self, now: Timestamp, not_before: Option<Timestamp>) -> bool {
        now < self.expires_at && not_before.is_none_or(|not_before| self.issued_at >= not_before)
    }

    pub(crate) fn handoff_key(&self) -> &HandoffKey {
        &self.handoff_key
    }

    pub(crate) fn issued_at(&self) -> Timestamp {
        self.issued_at
    }

    pub(crate) fn expires_at(&self) -> Timestamp {
        self.expires_at
    }

    pub(crate) fn meta(&self) -> Option<Meta> {
        Meta::parse(self.buffer.get(self.meta.clone())?).ok()
    }

    /// The data, without copying it.
    pub(crate) fn into_data(self) -> Option<(HandoffKey, DataMap)> {
        let data = DataMap::within(self.buffer, self.data).ok()?;
        Some((self.handoff_key, data))
    }
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opened").field("generation", &self.generation).finish_non_exhaustive()
    }
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}
