//! The device or key that a session is bound to: this module judges whether the request proves it, and tells the request's state.

use secure_sessions_core::{Keyring, Timestamp};

use crate::manager::SessionManager;
use crate::request::caller::Caller;
use crate::request::device::Standing;
use crate::request::state::{Admission, State};
use crate::transport::Transport;
use crate::transport::ticket::Devices;

/// Returns how a request at time `at` stands to the device of a live session.
pub(super) fn standing(
    devices: &Devices,
    caller: &Caller,
    keyring: &Keyring,
    live: &Admission,
    at: Timestamp,
) -> Standing {
    match live.newest.meta.device {
        _ if live.came_unbound => Standing::Early,
        Some(device) => Standing::bound(devices, caller.tickets(), device),
        None => Standing::unbound(devices, caller.tickets(), keyring, &live.bucket.id, is_overdue(devices, live, at)),
    }
}

/// Returns `true` if the session is bound, and the request's own token, which is not, was superseded within the last
/// grace.
pub(super) fn was_just_bound(manager: &SessionManager, devices: &Devices, live: &Admission) -> bool {
    let (at, grace) = (live.arrival.at, manager.times().bucket.grace);
    let own = live.bucket.retired.iter().find(|retired| retired.fingerprint.matches(&live.arrival.fingerprint));
    live.newest.meta.device.is_some()
        && !is_overdue(devices, live, at)
        && own.is_some_and(|own| at <= own.superseded_at.after(grace))
}

/// Returns `true` if a session has to be bound by now.
fn is_overdue(devices: &Devices, live: &Admission, at: Timestamp) -> bool {
    let deadline = devices.settings.required.map(|after| live.bucket.created_at.after(after));
    live.newest.meta.subject.is_some() && deadline.is_some_and(|deadline| at > deadline)
}

/// Records how the request stands to the device of its session. Binds a session that is to be bound, and takes a ticket
/// away that proves nothing for it, so that the browser asks for another one.
pub(super) fn stand_by_device(manager: &SessionManager, state: &mut State) {
    if state.caller.transport == Transport::Bearer {
        if let Some(live) = state.live().filter(|_| manager.dpop().is_some()) {
            state.device = state.caller.possession.standing(live.newest.meta.device);
        }
        return;
    }
    let Some(devices) = manager.devices() else { return };
    // Soon after a login the session's own ticket may be on its way to the browser: a removal would hit that one.
    let mut may_be_registering = false;
    if let Some(live) = state.live() {
        may_be_registering = Standing::may_be_registering(manager, &live.bucket, live.arrival.at);
        let sealer = manager.sealer(Transport::Cookie);
        let standing = standing(devices, &state.caller, sealer.keyring(), live, live.arrival.at);
        let device = match standing {
            Standing::Adopts { device, .. } if !state.caller.untouched => {
                let mut meta = live.newest.meta.clone();
                meta.device = Some(device);
                // A full session of an earlier configuration goes on unbound.
                sealer.check_size(&meta, &live.newest.data).is_ok().then_some(device)
            }
            _ => None,
        };
        state.pending.settings.device = device;
        state.device = standing;
    } else if state.device == Standing::Unbound {
        return;
    }
    let proves_nothing = state.device.is_refused() || (state.device == Standing::Unbound && !may_be_registering);
    state.remove_ticket = proves_nothing && state.caller.has_ticket();
}
