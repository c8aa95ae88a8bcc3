//! The device that a request comes from: its tickets, and what they say about a session that is bound to a device.

use secure_sessions_core::{Bucket, DeviceId, DeviceTicket, Keyring, SessionId, Timestamp};

use crate::adapter::head::RequestHead;
use crate::event::device::DeviceSkipped;
use crate::manager::SessionManager;
use crate::transport::ticket::Devices;
use crate::transport::{Transport, cookie};

/// The tickets that a request presented, and what its browser says where it has none.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tickets {
    /// Our own, within their life.
    good: Vec<DeviceTicket>,
    /// `true` if there was a cookie with a ticket's name.
    any: bool,
    /// The reason why the browser did not renew its ticket.
    pub(crate) skipped: Option<DeviceSkipped>,
}

impl Tickets {
    /// Reads the tickets of a request. Returns `None` for a browser that knows nothing of devices.
    ///
    /// Each is read, and the length of the head bounds their number: the good one may come behind any that a sibling host
    /// has set for the whole domain.
    pub(crate) fn read(manager: &SessionManager, devices: &Devices, head: &dyn RequestHead) -> Option<Self> {
        let mut tickets = Self::default();
        head.for_each_value("cookie", &mut |header| {
            cookie::for_each_value(header, &devices.cookie.name, |text| {
                tickets.any = true;
                let ticket = manager.sealer(Transport::Cookie).keyring().read_ticket(text);
                tickets.good.extend(ticket.ok().filter(|ticket| ticket.is_good(manager.now(), &devices.policy)));
            });
        });
        if !tickets.any {
            head.for_each_value("secure-session-skipped", &mut |value| tickets.skipped = Some(value.into()));
        }
        (tickets.any || tickets.skipped.is_some()).then_some(tickets)
    }

    /// Returns `true` if the request brought any, good or not.
    pub(crate) fn any(&self) -> bool {
        self.any
    }

    /// Returns the youngest that is good for this.
    fn youngest(&self, is_meant: impl Fn(&DeviceTicket) -> bool) -> Option<&DeviceTicket> {
        self.good.iter().filter(|ticket| is_meant(ticket)).max_by_key(|ticket| ticket.not_after)
    }
}

/// The relation of a request to the device that its session is bound to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Standing {
    /// The session is bound to none.
    #[default]
    Unbound,
    /// The session is not bound, and the device was registered for it: it is to be bound.
    Adopts { device: DeviceId, proved_at: Timestamp },
    /// The request comes from the device that the session is bound to.
    Bound { proved_at: Timestamp },
    /// The session was bound while the request was under way, so it is served as before.
    Early,
    /// The session is bound, or has to be, and the request proves no device.
    Missing,
    /// The session is bound, and the request proves another device.
    Mismatch,
}

impl Standing {
    /// Returns how the tickets of a request stand to a session that is not bound. `overdue` says that it has to be, by
    /// now.
    pub(crate) fn unbound(
        devices: &Devices,
        tickets: Option<&Tickets>,
        keyring: &Keyring,
        id: &SessionId,
        overdue: bool,
    ) -> Self {
        match tickets.and_then(|tickets| tickets.adoptable(keyring, id)) {
            Some(ticket) => Self::Adopts { device: ticket.device, proved_at: ticket.proved_at(&devices.policy) },
            None if overdue => Self::Missing,
            None => Self::Unbound,
        }
    }

    /// Returns how the tickets of a request stand to a session that is bound to this device.
    pub(crate) fn bound(devices: &Devices, tickets: Option<&Tickets>, device: DeviceId) -> Self {
        let Some(tickets) = tickets else { return Self::Missing };
        match tickets.youngest(|ticket| ticket.device == device) {
            Some(ticket) => Self::Bound { proved_at: ticket.proved_at(&devices.policy) },
            None if tickets.good.is_empty() => Self::Missing,
            None => Self::Mismatch,
        }
    }

    /// Returns `true` if a request at time `at` may come from a browser that had no key for this session yet: it
    /// registers one within a grace of the login, and a request that it sent before arrives within another. Browsers know
    /// the binding before by the same name, so that its end would be the end of both.
    pub(crate) fn may_be_registering(manager: &SessionManager, bucket: &Bucket, at: Timestamp) -> bool {
        let grace = manager.times().bucket.grace;
        at <= bucket.created_at.after(grace.plus(grace))
    }

    pub(crate) fn is_refused(self) -> bool {
        matches!(self, Self::Missing | Self::Mismatch)
    }
}

impl Tickets {
    /// Returns the ticket of a device that was registered for this very session.
    fn adoptable(&self, keyring: &Keyring, id: &SessionId) -> Option<&DeviceTicket> {
        self.youngest(|ticket| ticket.handle.is_some_and(|handle| keyring.is_handle_of(&handle, id)))
    }
}
