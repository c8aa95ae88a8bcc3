//! The handoff: the newest token, kept by the server, opened only by an older one of the same session.

use rand_core::TryCryptoRng;

use crate::admit::Admitted;
use crate::aead::AeadKey;
use crate::bucket::Bucket;
use crate::envelope;
use crate::format::{HANDOFF_LABEL, HANDOFF_VERSION};
use crate::ids::{HandoffKey, KeyId, RandomError, SessionId};
use crate::kdf::handoff_sealing_key;
use crate::keyring::KeyKind;
use crate::sealer::{AssociatedData, Refusal, Sealer};
use crate::time::Timestamp;
use crate::token::Token;

/// Why a handoff led nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HandoffError {
    /// The bucket no longer keeps one.
    #[error("the bucket keeps no handoff any more")]
    Missing,
    /// It was sealed under a key that is not in the keyring.
    #[error("the handoff names seal key {id}, which is not in the keyring")]
    UnknownKey {
        /// The key.
        id: KeyId,
    },
    /// The newest token is past its deadline.
    #[error("the newest token has expired")]
    Expired,
    /// It is not what we put there: somebody else writes to the store.
    #[error("the handoff is not the one that was put there: the store was changed by someone else")]
    Tampered,
}

impl Sealer {
    /// Seals a successor for the holders of older tokens of the same bucket.
    ///
    /// # Errors
    ///
    /// [`RandomError`] if there is no randomness.
    pub fn seal_handoff(
        &self,
        session_id: &SessionId,
        handoff_key: &HandoffKey,
        generation: u32,
        successor: &Token,
        rng: &mut (impl TryCryptoRng + ?Sized),
    ) -> Result<Vec<u8>, RandomError> {
        let seal = self.keyring().active_seal();
        let key = AeadKey::new(&handoff_sealing_key(&seal.handoff, handoff_key));
        let associated_data = self.handoff_data(seal.id, session_id, generation);
        envelope::seal(&key, seal.id, associated_data.as_slice(), successor.as_bytes(), rng)
    }

    /// Opens the bucket's handoff with the key that every token of the bucket carries, and checks what is inside as if
    /// it had been presented.
    ///
    /// # Errors
    ///
    /// [`HandoffError`]. After [`Tampered`](HandoffError::Tampered) the bucket must be left alone and nothing sealed
    /// again: it might be what an attacker sealed with a stolen key.
    pub fn follow(
        &self,
        bucket: &Bucket,
        handoff_key: &HandoffKey,
        now: Timestamp,
        not_before: Option<Timestamp>,
    ) -> Result<(Admitted, Token), HandoffError> {
        let handoff = bucket.handoff.as_deref().ok_or(HandoffError::Missing)?;
        let id = envelope::key_id(handoff).ok_or(HandoffError::Tampered)?;
        let seal = self.keyring().seal(id).ok_or(HandoffError::UnknownKey { id })?;
        let key = AeadKey::new(&handoff_sealing_key(&seal.handoff, handoff_key));
        let associated_data = self.handoff_data(id, &bucket.id, bucket.generation);
        let bytes = envelope::open(&key, associated_data.as_slice(), handoff).ok_or(HandoffError::Tampered)?;

        let token = Token::from_bytes(bytes).map_err(|_| HandoffError::Tampered)?;
        let opened = self.open(token.clone()).map_err(|refusal| match refusal {
            Refusal::UnknownKey { kind: KeyKind::Seal | KeyKind::Fingerprint, id } => HandoffError::UnknownKey { id },
            _ => HandoffError::Tampered,
        })?;
        let timely = opened.is_timely(now, not_before);
        let admitted = self.content(bucket, opened).ok_or(HandoffError::Tampered)?;
        if timely { Ok((admitted, token)) } else { Err(HandoffError::Expired) }
    }

    fn handoff_data(&self, seal_key_id: KeyId, session_id: &SessionId, generation: u32) -> AssociatedData {
        AssociatedData::new([
            HANDOFF_LABEL,
            &[HANDOFF_VERSION],
            seal_key_id.as_bytes(),
            session_id.as_bytes(),
            &generation.to_be_bytes(),
            self.context.with_length(),
        ])
    }
}
