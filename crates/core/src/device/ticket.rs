//! The ticket: a short-lived cookie that vouches for a device which has just proved its key.

use core::fmt;

use crate::bucket::CLOCK_TOLERANCE;
use crate::device::policy::DevicePolicy;
use crate::device::stamp::{Purpose, StampError};
use crate::format::{DEVICE_LEN, DEVICE_STAMP_LEN, DEVICE_TICKET_LEN, TAG_TRUNCATED_LEN};
use crate::ids::{DeviceId, Handle, NO_SESSION};
use crate::keyring::{KeyState, Keyring};
use crate::time::Timestamp;

/// The content of a device's ticket.
///
/// A ticket is worth something only beside a token: one that is bound to its device, or one of its session that is not
/// bound yet.
///
/// ```
/// use getrandom::SysRng;
/// use secure_sessions_core::{DeviceKey, DevicePolicy, DeviceTicket, Keyring, Millis, SessionId, Timestamp};
///
/// let keyring = Keyring::generate(&mut SysRng)?;
/// let policy = DevicePolicy { ticket_life: Millis::from_secs(600), grace: Millis::from_secs(60) };
/// let (device, session) = (DeviceKey::from_bytes([7; 64]).id(), SessionId::from_bytes([1; 16]));
/// let now = Timestamp::from_millis(1_750_000_000_000);
/// let text = keyring.issue_ticket(device, Some(keyring.handle(&session)), now, &policy);
///
/// let ticket = keyring.read_ticket(text.as_bytes()).expect("our own");
/// assert_eq!(ticket.device, device);
/// assert!(ticket.is_good(now, &policy));
/// assert!(!ticket.is_good(now.after(Millis::from_secs(661)), &policy));
/// # Ok::<_, secure_sessions_core::RandomError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct DeviceTicket {
    /// The end of its life.
    pub not_after: Timestamp,
    /// The device that proved its key.
    pub device: DeviceId,
    /// The session that the device was registered for, if that is certain. A renewal moves the session on, and the
    /// ticket keeps the first name.
    pub handle: Option<Handle>,
}

const FIELDS_LEN: usize = DEVICE_TICKET_LEN - DEVICE_STAMP_LEN;

impl DeviceTicket {
    /// Returns `true` if the ticket is good now, or was within the last grace.
    ///
    /// One that outlives the policy's ticket life was issued under another policy, or by a host whose clock was ahead:
    /// it is no longer good.
    #[must_use]
    pub fn is_good(&self, now: Timestamp, policy: &DevicePolicy) -> bool {
        now <= self.not_after.after(policy.grace)
            && self.not_after <= now.after(policy.ticket_life).after(CLOCK_TOLERANCE)
    }

    /// Returns when the device proved its key for this ticket.
    #[must_use]
    pub fn proved_at(&self, policy: &DevicePolicy) -> Timestamp {
        Timestamp::from_millis(self.not_after.as_millis().saturating_sub(policy.ticket_life.get()))
    }

    fn to_fields(self) -> [u8; FIELDS_LEN] {
        let mut fields = [0; FIELDS_LEN];
        let (not_after, rest) = fields.split_at_mut(8);
        let (device, handle) = rest.split_at_mut(DEVICE_LEN);
        not_after.copy_from_slice(&self.not_after.as_millis().to_be_bytes());
        device.copy_from_slice(self.device.as_bytes());
        handle.copy_from_slice(&self.handle.unwrap_or(NO_SESSION).to_bytes());
        fields
    }

    fn from_fields(fields: &[u8; FIELDS_LEN]) -> Option<Self> {
        let (not_after, rest) = fields.split_first_chunk()?;
        let (device, handle) = rest.split_first_chunk::<DEVICE_LEN>()?;
        Some(Self {
            not_after: Timestamp::from_millis(u64::from_be_bytes(*not_after)),
            device: DeviceId::from_bytes(*device),
            handle: Some(Handle::from_bytes(*handle.first_chunk::<TAG_TRUNCATED_LEN>()?))
                .filter(|handle| *handle != NO_SESSION),
        })
    }
}

impl Keyring {
    /// Issues a ticket to a device that has just proved its key: 80 characters of base64url.
    #[must_use]
    pub fn issue_ticket(
        &self,
        device: DeviceId,
        handle: Option<Handle>,
        now: Timestamp,
        policy: &DevicePolicy,
    ) -> String {
        let ticket = DeviceTicket { not_after: now.after(policy.ticket_life), device, handle };
        self.stamped(Purpose::Ticket, &ticket.to_fields())
    }

    /// Reads a ticket of ours. One under a compromised key is refused: its browser gets another one. Its time is for
    /// you to judge: see [`DeviceTicket::is_good`].
    ///
    /// # Errors
    ///
    /// [`StampError`] if it is not a ticket that we issued.
    pub fn read_ticket(&self, text: &[u8]) -> Result<DeviceTicket, StampError> {
        let (fields, id, state) = self.read_stamped(Purpose::Ticket, text)?;
        if state == KeyState::Compromised {
            return Err(StampError::Compromised { id });
        }
        DeviceTicket::from_fields(&fields).ok_or(StampError::Malformed)
    }
}

impl fmt::Debug for DeviceTicket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeviceTicket").field("not_after", &self.not_after).finish_non_exhaustive()
    }
}
