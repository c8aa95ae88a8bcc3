//! Refuses what the store has admitted, if it comes from another client or device than its session is bound to.

use std::sync::Arc;

use super::super::judged::Judged;
use super::super::standing::{standing, was_just_bound};
use super::{Claims, Judge};
use crate::event::Event;
use crate::request::device::Standing;
use crate::request::state::Other;
use crate::transport::Transport;

impl Judge<'_> {
    /// Refuses a client that its session's binding rejects: it must not read the session, end it, or keep it alive.
    #[inline]
    pub(super) fn admit_client(&self, claims: &Claims, judged: Judged) -> Judged {
        let Some(binding) = self.manager.binding() else { return judged };
        let client = match &judged {
            Judged::Refused(_) | Judged::Unproved { .. } => return judged,
            Judged::Live(live) => &live.newest.meta.binding,
            Judged::Expired(_) | Judged::Unjudged { .. } | Judged::Replayed(_) => &claims.client,
        };
        if !self.caller.is_other(self.presented.sealer.keyring(), &claims.id, client.as_deref()) {
            return judged;
        }
        // An expired session of another client is over, and no more.
        if matches!(judged, Judged::Expired(_)) {
            return if binding.refuses() { Judged::OVER } else { judged };
        }
        self.manager.emit(&Event::BindingMismatch { session: self.manager.handle(&claims.id) });
        if binding.refuses() { Judged::OUTDATED } else { judged }
    }

    /// Refuses a request that does not prove the device that its session is bound to: it must not read the session, get
    /// its newest token, or keep it alive. With a dead token it must not end it either.
    #[inline]
    pub(super) fn admit_device(&self, claims: &Claims, judged: Judged) -> Judged {
        let devices = self.manager.devices().filter(|_| self.caller.transport == Transport::Cookie);
        let Some(devices) = devices else { return judged };
        let standing = match &judged {
            Judged::Live(live) => {
                standing(devices, self.caller, self.presented.sealer.keyring(), live, self.presented.at)
            }
            Judged::Replayed(_) => claims
                .device
                .map_or(Standing::Unbound, |device| Standing::bound(devices, self.caller.tickets(), device)),
            _ => return judged,
        };
        if !standing.is_refused() {
            return judged;
        }
        match judged {
            // Two requests cross, and the second one binds the session: the first one has not got its ticket yet.
            Judged::Live(mut live) if claims.device.is_none() && was_just_bound(self.manager, devices, &live) => {
                Arc::make_mut(&mut live).came_unbound = true;
                Judged::Live(live)
            }
            judged => self.unproved(claims, standing, judged),
        }
    }

    /// Refuses a request under the scheme of another session than its own: a bound one needs `DPoP` with a proof of its
    /// key, and an unbound one `Bearer`.
    #[inline]
    pub(super) fn admit_key(&self, claims: &Claims, judged: Judged) -> Judged {
        if self.manager.dpop().is_none() || self.caller.transport != Transport::Bearer {
            return judged;
        }
        let key = match &judged {
            Judged::Live(live) => live.newest.meta.device,
            // A dead token ends its session by whatever scheme it comes, unless it takes a key to use it.
            Judged::Replayed(_) if claims.device.is_some() => claims.device,
            _ => return judged,
        };
        let standing = self.caller.possession.standing(key);
        if standing.is_refused() { self.unproved(claims, standing, judged) } else { judged }
    }

    /// Reports a request that does not prove the device of its session, and returns the verdict.
    fn unproved(&self, claims: &Claims, standing: Standing, judged: Judged) -> Judged {
        let session = self.manager.handle(&claims.id);
        self.manager.emit(&match standing {
            Standing::Mismatch => Event::DeviceMismatch { session },
            _ => Event::DeviceMissing { session, skipped: self.caller.tickets().and_then(|tickets| tickets.skipped) },
        });
        match judged {
            // A logout needs no proof: a user whose browser may make no signature for now must be able to leave.
            Judged::Live(live) => Judged::Unproved { session: Other::from(&*live), standing },
            _ => Judged::OUTDATED,
        }
    }
}
