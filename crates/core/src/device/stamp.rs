//! The stamp: a keyed digest at the end of each text, by which we know our own.

use crate::base64url;
use crate::format::{
    DEVICE_STAMP_LEN, KEY_ID_LEN, STAMP_DPOP, STAMP_IDENTIFIER, STAMP_REFRESH, STAMP_REGISTRATION, STAMP_TICKET,
    TAG_TRUNCATED_LEN,
};
use crate::ids::{KeyId, same};
use crate::keyring::{FingerprintSubkeys, KeyState, Keyring};

/// The reason why a text is not one that we stamped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StampError {
    /// The text is not canonical base64url of the right length.
    #[error("the text is not canonical base64url of the right length")]
    Malformed,
    /// The text names a key that is not in the ring: another host has stamped it, or the key was dropped.
    #[error("the fingerprint key {id} is not in the keyring")]
    UnknownKey {
        /// The key.
        id: KeyId,
    },
    /// The text is stamped under a key that has leaked, so that anybody may have made it.
    #[error("the fingerprint key {id} is compromised")]
    Compromised {
        /// The key.
        id: KeyId,
    },
    /// We have not stamped this text, or it was altered, or it serves another purpose.
    #[error("the stamp is not ours")]
    NotOurs,
}

/// The purpose of a stamped text, so that none stands in for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    Identifier,
    Ticket,
    Registration,
    Refresh,
    Dpop,
}

impl Purpose {
    fn label(self) -> &'static [u8] {
        match self {
            Self::Identifier => STAMP_IDENTIFIER,
            Self::Ticket => STAMP_TICKET,
            Self::Registration => STAMP_REGISTRATION,
            Self::Refresh => STAMP_REFRESH,
            Self::Dpop => STAMP_DPOP,
        }
    }
}

impl Keyring {
    /// Returns the stamp of these fields under the active key.
    pub(crate) fn stamp(&self, purpose: Purpose, fields: &[u8]) -> [u8; DEVICE_STAMP_LEN] {
        let key = self.active_fingerprint();
        let mut stamp = [0; DEVICE_STAMP_LEN];
        let (id, mac) = stamp.split_at_mut(KEY_ID_LEN);
        id.copy_from_slice(key.id.as_bytes());
        mac.copy_from_slice(&digest(key, purpose, fields));
        stamp
    }

    /// Checks the stamp of these fields under the key that it names, in constant time. Returns the key's state.
    fn state_of_stamp(
        &self,
        purpose: Purpose,
        fields: &[u8],
        stamp: &[u8; DEVICE_STAMP_LEN],
    ) -> Result<(KeyId, KeyState), StampError> {
        let Some((id, mac)) = stamp.split_first_chunk::<KEY_ID_LEN>() else { return Err(StampError::NotOurs) };
        let id = KeyId::from_bytes(*id);
        let key = self.fingerprint(id).ok_or(StampError::UnknownKey { id })?;
        match mac.first_chunk::<TAG_TRUNCATED_LEN>() {
            Some(mac) if same(mac, &digest(key, purpose, fields)) => Ok((id, key.state)),
            _ => Err(StampError::NotOurs),
        }
    }

    /// Checks the stamp of these fields as above, and refuses one of a key that has leaked.
    pub(crate) fn check_stamp(
        &self,
        purpose: Purpose,
        fields: &[u8],
        stamp: &[u8; DEVICE_STAMP_LEN],
    ) -> Result<(), StampError> {
        match self.state_of_stamp(purpose, fields, stamp)? {
            (id, KeyState::Compromised) => Err(StampError::Compromised { id }),
            _ => Ok(()),
        }
    }

    /// Returns the text of these fields, with their stamp at the end.
    pub(crate) fn stamped(&self, purpose: Purpose, fields: &[u8]) -> String {
        base64url::encode(&[fields, &self.stamp(purpose, fields)].concat())
    }

    /// Reads a text of `N` bytes of fields, and checks the stamp at its end. Returns the state of its key.
    pub(crate) fn read_stamped<const N: usize>(
        &self,
        purpose: Purpose,
        text: &[u8],
    ) -> Result<([u8; N], KeyId, KeyState), StampError> {
        let (fields, stamp) = split(text)?;
        let (id, state) = self.state_of_stamp(purpose, &fields, &stamp)?;
        Ok((fields, id, state))
    }
}

/// Decodes a text into `N` bytes and the stamp after them.
pub(crate) fn split<const N: usize>(text: &[u8]) -> Result<([u8; N], [u8; DEVICE_STAMP_LEN]), StampError> {
    // Compared first, so that a text of any length costs nothing.
    if text.len() != base64url::encoded_len(N + DEVICE_STAMP_LEN) {
        return Err(StampError::Malformed);
    }
    let bytes = base64url::decode(text).map_err(|_| StampError::Malformed)?;
    match (bytes.first_chunk(), bytes.last_chunk()) {
        (Some(fields), Some(stamp)) => Ok((*fields, *stamp)),
        _ => Err(StampError::Malformed),
    }
}

fn digest(key: &FingerprintSubkeys, purpose: Purpose, fields: &[u8]) -> [u8; TAG_TRUNCATED_LEN] {
    let label = purpose.label();
    let length = u8::try_from(label.len()).unwrap_or(u8::MAX);
    key.device.truncated(&[&[length], label, fields])
}
