//! An opened token: decrypted and proven to be ours, its data still out of reach.

use core::fmt;
use core::ops::Range;

use crate::data::DataMap;
use crate::format::{
    EXPIRES_AT_AT, GENERATION_AT, HANDOFF_KEY_AT, ISSUED_AT_AT, META_AT, META_LEN_AT, MIN_BLOAT, SESSION_ID_LEN,
};
use crate::ids::{DeviceId, Fingerprint, HandoffKey, KeyId, SessionId, SubjectTag};
use crate::keyring::{KeyKind, KeyState};
use crate::meta::ProviderSession;
use crate::meta::{Meta, MetaError};
use crate::secret::SecretBytes;
use crate::time::Timestamp;

/// A decrypted token whose mark proves that we issued it. Its bucket decides whether it is still good:
/// [`Sealer::admit`](crate::Sealer::admit) turns it into [`Admitted`](crate::Admitted), and only that gives out data.
///
/// Its content stays in its buffer until you ask for it: nothing is copied from a token that is refused in the end.
#[derive(Clone)]
pub struct Opened {
    buffer: SecretBytes,
    /// The offset of the plaintext in the buffer.
    plaintext: u16,
    /// The range of the data map in the buffer; the meta map ends two bytes before it.
    data: (u16, u16),
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
    /// Returns `true` if one of the two keys is no longer the active one: the next token is sealed under the new one.
    #[must_use]
    pub fn is_outdated(&self) -> bool {
        self.seal.1 != KeyState::Active || self.fingerprint.1 != KeyState::Active
    }

    /// Returns the compromised one of the two keys, if there is one: replace the token at once.
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
    #[inline]
    pub(crate) fn parse(
        buffer: SecretBytes,
        range: Range<usize>,
        fingerprint: Fingerprint,
        keys: SealedUnder,
    ) -> Option<Self> {
        let plaintext = buffer.get(range.clone())?;
        let length_at = |at: usize| plaintext.get(at..)?.first_chunk().map(|length| u16::from_be_bytes(*length));
        let data = META_AT + usize::from(length_at(META_LEN_AT)?) + 2;
        let end = data + usize::from(length_at(data - 2)?);
        if end + MIN_BLOAT > plaintext.len() {
            return None;
        }
        let within_buffer = |at: usize| u16::try_from(range.start + at).ok();
        Some(Self {
            plaintext: within_buffer(0)?,
            data: (within_buffer(data)?, within_buffer(end)?),
            fingerprint,
            keys,
            buffer,
        })
    }

    /// Returns the id of the bucket to ask.
    #[must_use]
    pub fn session_id(&self) -> SessionId {
        SessionId::from_bytes(*self.fixed::<SESSION_ID_LEN>(0))
    }

    /// Returns the number of this token within its bucket.
    #[must_use]
    pub fn generation(&self) -> u32 {
        u32::from_be_bytes(*self.fixed(GENERATION_AT))
    }

    /// Returns the fingerprint that the bucket should have.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// Returns the keys that it was made with.
    #[must_use]
    pub fn sealed_under(&self) -> SealedUnder {
        self.keys
    }

    /// Returns `true` if the token's own times admit it: it is not past its deadline, nor issued before `not_before`.
    ///
    /// A time of issue in the future is no reason to refuse it: hosts' clocks differ.
    #[must_use]
    pub fn is_timely(&self, now: Timestamp, not_before: Option<Timestamp>) -> bool {
        now < self.expires_at() && not_before.is_none_or(|not_before| self.issued_at() >= not_before)
    }

    /// Returns the digest and the device that the session is bound to, which reveal nothing of its data: a client that
    /// a binding refuses must not be able to end a session with an old token of it.
    #[must_use]
    pub fn bindings(&self) -> (Option<Vec<u8>>, Option<DeviceId>) {
        match self.meta() {
            Ok((mut meta, _)) => (meta.binding.take(), meta.device),
            Err(_) => (None, None),
        }
    }

    /// Returns the subject that the token was issued for, to end all of its sessions if this one cannot be followed. It does
    /// not prove that the subject sent the request.
    #[must_use]
    pub fn subject(&self) -> Option<String> {
        let (mut meta, _) = self.meta().ok()?;
        meta.subject.take()
    }

    /// Returns the session at an identity provider that the token's login came from. It proves nothing about the request.
    #[must_use]
    pub fn provider_session(&self) -> Option<ProviderSession> {
        self.meta().ok()?.0.provider_session
    }

    pub(crate) fn handoff_key(&self) -> HandoffKey {
        HandoffKey::from_bytes(*self.fixed(HANDOFF_KEY_AT))
    }

    pub(crate) fn issued_at(&self) -> Timestamp {
        Timestamp::from_millis(u64::from_be_bytes(*self.fixed(ISSUED_AT_AT)))
    }

    pub(crate) fn expires_at(&self) -> Timestamp {
        Timestamp::from_millis(u64::from_be_bytes(*self.fixed(EXPIRES_AT_AT)))
    }

    /// Returns the engine's entries, and the tag of the subject.
    pub(crate) fn meta(&self) -> Result<(Meta, Option<SubjectTag>), MetaError> {
        let start = usize::from(self.plaintext) + META_AT;
        Meta::parse(self.buffer.get(start..usize::from(self.data.0) - 2).ok_or(MetaError::Malformed)?)
    }

    /// Returns the data without copying it or looking at its entries.
    pub(crate) fn into_data(self) -> Option<DataMap> {
        DataMap::within(self.buffer, self.data.0.into()..self.data.1.into()).ok()
    }

    /// Returns `N` bytes of the fixed part, before the meta map.
    fn fixed<const N: usize>(&self, at: usize) -> &[u8; N] {
        match self.buffer[usize::from(self.plaintext) + at..].first_chunk() {
            Some(bytes) => bytes,
            None => unreachable!("a token that was parsed has all of its fixed part"),
        }
    }
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opened").field("generation", &self.generation()).finish_non_exhaustive()
    }
}
