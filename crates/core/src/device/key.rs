//! The public key of a device, and the hash that a session carries of it.

use core::fmt;

use sha2::{Digest, Sha256};

use crate::format::{DEVICE_KEY_LEN, DEVICE_LEN, ES256};
use crate::ids::DeviceId;

/// The public key of a device: a point of the curve P-256, as its two coordinates.
///
/// A key that [`Sealer::register_device`](crate::Sealer::register_device) returned is on the curve.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct DeviceKey([u8; DEVICE_KEY_LEN]);

impl DeviceKey {
    /// Wraps both coordinates, `x` first, 32 bytes each, big-endian.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; DEVICE_KEY_LEN]) -> Self {
        Self(bytes)
    }

    /// Returns both coordinates, `x` first.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; DEVICE_KEY_LEN] {
        &self.0
    }

    /// Returns the device that has this key.
    #[must_use]
    pub fn id(&self) -> DeviceId {
        let hash: [u8; 32] = Sha256::new().chain_update([ES256]).chain_update(self.0).finalize().into();
        let mut id = [0; DEVICE_LEN];
        id.copy_from_slice(&hash[..DEVICE_LEN]);
        DeviceId::from_bytes(id)
    }
}

impl fmt::Debug for DeviceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DeviceKey(..)")
    }
}
