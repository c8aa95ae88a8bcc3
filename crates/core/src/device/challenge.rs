//! Challenges: what a device signs to prove its key. We keep none of them.

use crate::bucket::CLOCK_TOLERANCE;
use crate::device::policy::DevicePolicy;
use crate::device::stamp::{Purpose, StampError, split};
use crate::format::{DEVICE_CHALLENGE_LEN, DEVICE_LEN, DEVICE_STAMP_LEN};
use crate::ids::{DeviceId, Handle};
use crate::keyring::Keyring;
use crate::time::{Millis, Timestamp};

const ISSUED_AT_LEN: usize = DEVICE_CHALLENGE_LEN - DEVICE_STAMP_LEN;

impl Keyring {
    /// Makes the challenge for the registration of a device with this session: 38 characters of base64url.
    #[must_use]
    pub fn registration_challenge(&self, session: Handle, now: Timestamp) -> String {
        self.challenge(Purpose::Registration, &session.to_bytes(), now)
    }

    /// Makes the challenge for a device's next proof: 38 characters of base64url.
    #[must_use]
    pub fn refresh_challenge(&self, device: DeviceId, now: Timestamp) -> String {
        self.challenge(Purpose::Refresh, device.as_bytes(), now)
    }

    /// Returns `true` if this is a challenge of ours for the registration of a device with this session, and young
    /// enough.
    ///
    /// # Errors
    ///
    /// [`StampError`] if it is no such challenge.
    pub fn is_registration_challenge(
        &self,
        text: &[u8],
        session: Handle,
        now: Timestamp,
        policy: &DevicePolicy,
    ) -> Result<bool, StampError> {
        self.is_challenge(text, Purpose::Registration, &session.to_bytes(), now, policy)
    }

    /// Returns `true` if this is a challenge of ours to this device, and young enough.
    ///
    /// # Errors
    ///
    /// [`StampError`] if it is no such challenge.
    pub fn is_refresh_challenge(
        &self,
        text: &[u8],
        device: DeviceId,
        now: Timestamp,
        policy: &DevicePolicy,
    ) -> Result<bool, StampError> {
        self.is_challenge(text, Purpose::Refresh, device.as_bytes(), now, policy)
    }

    /// Makes the nonce for a client's next DPoP proof (RFC 9449, section 8): 38 characters of base64url. It is meant for
    /// every client, because a client needs one before it has shown a key.
    #[must_use]
    pub fn dpop_nonce(&self, now: Timestamp) -> String {
        self.challenge(Purpose::Dpop, &[0; DEVICE_LEN], now)
    }

    /// Returns when this nonce was issued, or `None` if that is longer ago than `life`.
    ///
    /// # Errors
    ///
    /// [`StampError`] if it is no nonce of ours.
    pub fn dpop_nonce_issued_at(
        &self,
        text: &[u8],
        now: Timestamp,
        life: Millis,
    ) -> Result<Option<Timestamp>, StampError> {
        self.issued_at(text, Purpose::Dpop, &[0; DEVICE_LEN], now, life)
    }

    fn challenge(&self, purpose: Purpose, of: &[u8; DEVICE_LEN], now: Timestamp) -> String {
        let issued_at = now.as_millis().to_be_bytes();
        let stamp = self.stamp(purpose, &[&issued_at[..], of].concat());
        crate::base64url::encode(&[&issued_at[..], &stamp].concat())
    }

    fn is_challenge(
        &self,
        text: &[u8],
        purpose: Purpose,
        of: &[u8; DEVICE_LEN],
        now: Timestamp,
        policy: &DevicePolicy,
    ) -> Result<bool, StampError> {
        Ok(self.issued_at(text, purpose, of, now, policy.challenge_life())?.is_some())
    }

    fn issued_at(
        &self,
        text: &[u8],
        purpose: Purpose,
        of: &[u8; DEVICE_LEN],
        now: Timestamp,
        life: Millis,
    ) -> Result<Option<Timestamp>, StampError> {
        let (issued_at, stamp) = split::<ISSUED_AT_LEN>(text)?;
        self.check_stamp(purpose, &[&issued_at[..], of].concat(), &stamp)?;
        let issued_at = Timestamp::from_millis(u64::from_be_bytes(issued_at));
        // A host whose clock is ahead may have issued it, but not far ahead: that would prolong its life.
        let is_young = now <= issued_at.after(life) && issued_at <= now.after(CLOCK_TOLERANCE);
        Ok(is_young.then_some(issued_at))
    }
}
