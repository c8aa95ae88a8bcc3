//! The envelope of sealed labels: `key_id(4) | nonce(24) | ciphertext | tag(16)`.

use rand_core::TryCryptoRng;

use crate::aead::{Aead, AeadKey};
use crate::format::{KEY_ID_LEN, LABEL_OVERHEAD, NONCE_LEN, TAG_LEN};
use crate::ids::{KeyId, RandomError, random};

pub(crate) fn seal(
    key: &AeadKey,
    key_id: KeyId,
    associated_data: &[u8],
    plaintext: &[u8],
    rng: &mut (impl TryCryptoRng + ?Sized),
) -> Result<Vec<u8>, RandomError> {
    let nonce = random::<NONCE_LEN>(rng)?;
    let mut sealed = Vec::with_capacity(LABEL_OVERHEAD + plaintext.len());
    sealed.extend_from_slice(key_id.as_bytes());
    sealed.extend_from_slice(&nonce);
    sealed.extend_from_slice(plaintext);
    let tag = key.seal(Aead::default(), &nonce, associated_data, &mut sealed[KEY_ID_LEN + NONCE_LEN..]);
    sealed.extend_from_slice(&tag);
    Ok(sealed)
}

pub(crate) fn key_id(sealed: &[u8]) -> Option<KeyId> {
    sealed.first_chunk().map(|id| KeyId::from_bytes(*id))
}

pub(crate) fn open(key: &AeadKey, associated_data: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
    let (_, rest) = sealed.split_first_chunk::<KEY_ID_LEN>()?;
    let (nonce, rest) = rest.split_first_chunk::<NONCE_LEN>()?;
    let (ciphertext, tag) = rest.split_last_chunk::<TAG_LEN>()?;
    let mut buffer = ciphertext.to_vec();
    key.open(Aead::default(), nonce, associated_data, &mut buffer, tag).ok()?;
    Some(buffer)
}
