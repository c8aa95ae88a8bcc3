//! The identifier: the browser's name for its device-bound session, which carries the device's key and certifies it.

use core::fmt;

use crate::device::key::DeviceKey;
use crate::device::stamp::{Purpose, StampError};
use crate::format::{DEVICE_IDENTIFIER_LEN, DEVICE_KEY_LEN, DEVICE_STAMP_LEN, ES256, TAG_TRUNCATED_LEN};
use crate::ids::{Handle, NO_SESSION};
use crate::keyring::{KeyState, Keyring};

/// The content of the identifier by which a browser names a device-bound session. The browser sends it with each
/// refresh, so that no store has to keep the key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct DeviceIdentifier {
    /// The key that the device registered.
    pub key: DeviceKey,
    /// The session that it was registered for, if that is certain.
    pub handle: Option<Handle>,
}

const FIELDS_LEN: usize = DEVICE_IDENTIFIER_LEN - DEVICE_STAMP_LEN;

impl DeviceIdentifier {
    fn to_fields(self) -> [u8; FIELDS_LEN] {
        let mut fields = [ES256; FIELDS_LEN];
        let (handle, key) = fields[1..].split_at_mut(TAG_TRUNCATED_LEN);
        handle.copy_from_slice(&self.handle.unwrap_or(NO_SESSION).to_bytes());
        key.copy_from_slice(self.key.as_bytes());
        fields
    }

    fn from_fields(fields: &[u8; FIELDS_LEN]) -> Option<Self> {
        let (&[algorithm], rest) = fields.split_first_chunk::<1>()?;
        let (handle, key) = rest.split_first_chunk::<TAG_TRUNCATED_LEN>()?;
        let key = *key.first_chunk::<DEVICE_KEY_LEN>()?;
        let known = algorithm == ES256;
        let handle = Some(Handle::from_bytes(*handle)).filter(|handle| *handle != NO_SESSION);
        known.then_some(Self { key: DeviceKey::from_bytes(key), handle })
    }
}

impl Keyring {
    /// Names a device-bound session for its browser: 135 characters of base64url.
    #[must_use]
    pub fn issue_identifier(&self, identifier: &DeviceIdentifier) -> String {
        self.stamped(Purpose::Identifier, &identifier.to_fields())
    }

    /// Reads an identifier of ours. One under a compromised key may be anybody's, so the session that it names is left
    /// out: a device that was bound proves itself as before, and no other can be bound by it.
    ///
    /// # Errors
    ///
    /// [`StampError`] if it is not an identifier that we issued.
    pub fn read_identifier(&self, text: &[u8]) -> Result<DeviceIdentifier, StampError> {
        let (fields, _, state) = self.read_stamped(Purpose::Identifier, text)?;
        let mut identifier = DeviceIdentifier::from_fields(&fields).ok_or(StampError::Malformed)?;
        if state == KeyState::Compromised {
            identifier.handle = None;
        }
        Ok(identifier)
    }
}

impl fmt::Debug for DeviceIdentifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DeviceIdentifier(..)")
    }
}
