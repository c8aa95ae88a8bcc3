//! The lives of tickets and challenges.

use crate::time::Millis;

/// The times of device-bound sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DevicePolicy {
    /// The life of a ticket, after which the browser must prove its key again.
    pub ticket_life: Millis,
    /// The time that a request may be under way, and for which an ended ticket is still good.
    pub grace: Millis,
}

impl DevicePolicy {
    /// Returns how long a challenge may be answered: the browser has one from the answer before, a ticket life ago.
    #[must_use]
    pub const fn challenge_life(&self) -> Millis {
        self.ticket_life.plus(self.grace)
    }
}
