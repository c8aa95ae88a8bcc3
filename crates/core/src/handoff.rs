//! The handoff: the newest token, kept by the server, opened only by an older one of the same session.

use rand_core::TryCryptoRng;
use zeroize::Zeroizing;

use crate::admit::{Admitted, Unfit, content};
use crate::aead::{STRIDE, in_strides, xchacha20};
use crate::bucket::Bucket;
use crate::format::{HANDOFF_LABEL, HANDOFF_OVERHEAD, HANDOFF_VERSION, KEY_ID_LEN, KEY_LEN, NONCE_LEN};
use crate::ids::{HandoffKey, KeyId, RandomError, SessionId, random};
use crate::keyring::{KeyKind, SealSubkeys};
use crate::refusal::Refusal;
use crate::sealer::Sealer;
use crate::time::Timestamp;
use crate::token::Token;

/// The reason why a handoff led nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HandoffError {
    /// The bucket no longer keeps a handoff.
    #[error("the bucket no longer keeps a handoff")]
    Missing,
    /// The handoff's seal key, or its token's fingerprint key, is not in the keyring: this host may not have received it yet.
    /// Nobody is accused, since nothing of it can be checked.
    #[error("the handoff names {kind} key {id}, which is not in the keyring")]
    UnknownKey {
        /// The kind of the key.
        kind: KeyKind,
        /// The key.
        id: KeyId,
    },
    /// The newest token has a critical entry that a later version wrote.
    #[error("the newest token has the critical entry {key}, which this version does not know")]
    Critical {
        /// The entry's key.
        key: u64,
    },
    /// The newest token is past its deadline.
    #[error("the newest token has expired")]
    Expired,
    /// The handoff is not the one that we stored: somebody else writes to the store.
    #[error("the handoff is not the one that we stored: someone else writes to the store")]
    Tampered,
}

impl Sealer {
    /// Seals a successor for the holders of older tokens of the same bucket.
    ///
    /// The successor's own mark authenticates it, so a stream cipher alone encrypts it.
    ///
    /// # Errors
    ///
    /// [`RandomError`] if the source of randomness fails.
    pub fn seal_handoff(
        &self,
        session_id: &SessionId,
        handoff_key: &HandoffKey,
        successor: &Token,
        rng: &mut (impl TryCryptoRng + ?Sized),
    ) -> Result<Vec<u8>, RandomError> {
        let seal = self.keyring().active_seal();
        let nonce = random::<NONCE_LEN>(rng)?;
        let mut sealed = Vec::with_capacity(HANDOFF_OVERHEAD + successor.as_bytes().len() + STRIDE);
        sealed.extend_from_slice(seal.id.as_bytes());
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(successor.as_bytes());
        let key = self.handoff_sealing_key(seal, session_id, handoff_key);
        in_strides(&mut sealed, HANDOFF_OVERHEAD, |token| xchacha20(&key, &nonce, token));
        Ok(sealed)
    }

    /// Opens the bucket's handoff with the key that every token of the bucket carries, and checks the token inside as if it
    /// had been presented: its mark is right, it names the same seal key as its envelope, and its id, generation and
    /// fingerprint are the bucket's. Nothing of it is used before all of that is compared.
    ///
    /// # Errors
    ///
    /// [`HandoffError`]. After [`Tampered`](HandoffError::Tampered), leave the bucket alone and seal nothing again: an
    /// attacker may have sealed the content with a stolen key.
    pub fn follow(
        &self,
        bucket: &Bucket,
        handoff_key: &HandoffKey,
        now: Timestamp,
        not_before: Option<Timestamp>,
    ) -> Result<(Admitted, Token), HandoffError> {
        let handoff = bucket.handoff.as_deref().ok_or(HandoffError::Missing)?;
        let (id, rest) = handoff.split_first_chunk::<KEY_ID_LEN>().ok_or(HandoffError::Tampered)?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>().ok_or(HandoffError::Tampered)?;
        let id = KeyId::from_bytes(*id);
        let seal = self.keyring().seal(id).ok_or(HandoffError::UnknownKey { kind: KeyKind::Seal, id })?;

        let mut bytes = Vec::with_capacity(sealed.len() + STRIDE);
        bytes.extend_from_slice(sealed);
        let key = self.handoff_sealing_key(seal, &bucket.id, handoff_key);
        in_strides(&mut bytes, 0, |token| xchacha20(&key, nonce, token));
        let token = Token::from_bytes(bytes).map_err(|_| HandoffError::Tampered)?;
        if token.seal_key_id() != id {
            return Err(HandoffError::Tampered);
        }
        let opened = self.open(token.clone()).map_err(|refusal| match refusal {
            Refusal::UnknownKey { kind, id } => HandoffError::UnknownKey { kind, id },
            _ => HandoffError::Tampered,
        })?;
        let timely = opened.is_timely(now, not_before);
        let admitted = content(bucket, opened).map_err(|unfit| match unfit {
            Unfit::Critical { key } => HandoffError::Critical { key },
            Unfit::Tampered => HandoffError::Tampered,
        })?;
        if timely { Ok((admitted, token)) } else { Err(HandoffError::Expired) }
    }

    fn handoff_sealing_key(
        &self,
        seal: &SealSubkeys,
        session_id: &SessionId,
        handoff_key: &HandoffKey,
    ) -> Zeroizing<[u8; KEY_LEN]> {
        Zeroizing::new(seal.handoff.mac(&[
            HANDOFF_LABEL,
            &[HANDOFF_VERSION],
            session_id.as_bytes(),
            self.context.with_length(),
            handoff_key.as_bytes(),
        ]))
    }
}
