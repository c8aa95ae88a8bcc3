//! Both requests of a browser: the registration of a key, and the refresh of a ticket.
//!
//! The statuses are chosen by what they do to the browser's own session. It ends it at 400 and most others, and keeps
//! it at 403 with a challenge and at 503.

use secure_sessions_core::{DeviceIdentifier, ProofError, StampError};

use crate::adapter::head::RequestHead;
use crate::device::answer::{DeviceAnswer, DeviceAnswering};
use crate::device::instructions;
use crate::device::session::Witness;
use crate::event::Event;
use crate::event::origin::Origin;
use crate::manager::SessionManager;
use crate::transport::Transport;
use crate::transport::ticket::Devices;

/// Answers a request for a registration or a refresh; `None` for every other path.
pub(super) fn answer(
    manager: &SessionManager,
    devices: &Devices,
    head: &dyn RequestHead,
    path: &str,
) -> Option<DeviceAnswering> {
    let identifier = path.strip_prefix(&devices.settings.refresh_path);
    if identifier.is_none() && path != devices.settings.path {
        return None;
    }
    if head.method() != "POST" {
        let answer = DeviceAnswer { headers: vec![("allow", "POST".to_owned())], ..empty(405) };
        return Some(DeviceAnswering::new(std::future::ready(answer)));
    }
    let Some(identifier) = identifier else {
        return Some(DeviceAnswering::new(std::future::ready(register(manager, devices, head))));
    };
    let (manager, refresh) = (manager.clone(), Refresh::read(manager, head, identifier));
    Some(DeviceAnswering::new(async move {
        match manager.devices() {
            Some(devices) => refresh.answer(&manager, devices).await,
            None => empty(503),
        }
    }))
}

fn empty(status: u16) -> DeviceAnswer {
    DeviceAnswer { status, headers: Vec::new(), body: String::new() }
}

fn refuse(manager: &SessionManager, reason: &'static str, status: u16) -> DeviceAnswer {
    manager.emit(&Event::DeviceEndpointRefused { reason });
    empty(status)
}

/// Registers the key that signed the proof, for the session that the challenge was issued to. Whether that session is
/// still there shows when the ticket comes back beside its cookie.
fn register(manager: &SessionManager, devices: &Devices, head: &dyn RequestHead) -> DeviceAnswer {
    let sealer = manager.sealer(Transport::Cookie);
    let now = manager.now();
    let proof = match alone(head, "secure-session-response") {
        Ok(Some(proof)) => proof,
        Ok(None) => return refuse(manager, "proof_missing", 400),
        Err(Doubled) => return refuse(manager, "malformed", 400),
    };
    let registered = match sealer.register_device(&proof, now, &devices.policy) {
        Ok(registered) => registered,
        Err(error) => return refuse(manager, error.reason(), 400),
    };
    let keyring = sealer.keyring();
    let identifier = keyring.issue_identifier(&registered);
    let origin = alone(head, "origin").ok().flatten();
    let origin: Option<Origin> =
        origin.and_then(|origin| std::str::from_utf8(&origin).ok().and_then(|origin| origin.parse().ok()));
    DeviceAnswer {
        status: 200,
        body: instructions::session(&identifier, origin.as_ref(), devices, manager.cookie_is_cross_site()),
        headers: ticket(manager, devices, &registered),
    }
}

/// Returns the headers that bring a ticket, and the challenge for the next refresh, so that it takes one round trip.
fn ticket(manager: &SessionManager, devices: &Devices, registered: &DeviceIdentifier) -> Vec<(&'static str, String)> {
    let (sealer, now) = (manager.sealer(Transport::Cookie), manager.now());
    let ticket = sealer.keyring().issue_ticket(registered.key.id(), registered.handle, now, &devices.policy);
    vec![("set-cookie", devices.cookie.set(&ticket)), challenge(manager, devices, registered)]
}

fn challenge(manager: &SessionManager, devices: &Devices, of: &DeviceIdentifier) -> (&'static str, String) {
    let challenge = manager.sealer(Transport::Cookie).keyring().refresh_challenge(of.key.id(), manager.now());
    ("secure-session-challenge", format!(r#""{challenge}";id="{}""#, instructions::name(devices)))
}

/// A request for the next ticket, as its head says it.
struct Refresh {
    /// The end of the path.
    identifier: String,
    proof: Result<Option<Vec<u8>>, Doubled>,
    witness: Option<Witness>,
}

impl Refresh {
    fn read(manager: &SessionManager, head: &dyn RequestHead, identifier: &str) -> Self {
        Self {
            identifier: identifier.to_owned(),
            proof: alone(head, "secure-session-response"),
            witness: Witness::of(manager, head),
        }
    }

    async fn answer(self, manager: &SessionManager, devices: &Devices) -> DeviceAnswer {
        let read = manager.sealer(Transport::Cookie).keyring().read_identifier(self.identifier.as_bytes());
        let identifier = match read {
            Ok(identifier) => identifier,
            // This host may not have received the key yet: the browser keeps its session, and asks again later.
            Err(StampError::UnknownKey { .. }) => return refuse(manager, "unknown_key", 503),
            Err(_) => return refuse(manager, "identifier", 400),
        };
        let proved = match &self.proof {
            Ok(Some(proof)) => {
                let sealer = manager.sealer(Transport::Cookie);
                sealer.prove_device(proof, &identifier, manager.now(), &devices.policy)
            }
            // Without a proof the browser asks for a challenge.
            Ok(None) => Err(ProofError::Stale),
            Err(Doubled) => Err(ProofError::Malformed),
        };
        if let Err(error) = proved {
            if error != ProofError::Stale {
                manager.emit(&Event::DeviceEndpointRefused { reason: error.reason() });
            }
            return DeviceAnswer { headers: vec![challenge(manager, devices, &identifier)], ..empty(403) };
        }
        // Asked last, so that only a device with its key makes us ask the store.
        if let Some(witness) = self.witness
            && witness.contradicts(manager, &identifier).await
        {
            return DeviceAnswer { body: instructions::ended(devices), ..empty(200) };
        }
        DeviceAnswer { headers: ticket(manager, devices, &identifier), ..empty(200) }
    }
}

/// A header comes twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Doubled;

/// Returns the value of a header that must not come twice, without the quotes of a structured field's string.
fn alone(head: &dyn RequestHead, name: &'static str) -> Result<Option<Vec<u8>>, Doubled> {
    let (mut found, mut count) = (None, 0);
    head.for_each_value(name, &mut |value| {
        count += 1;
        let value = value.trim_ascii();
        let inner = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\""));
        found = Some(inner.unwrap_or(value).to_vec());
    });
    if count > 1 { Err(Doubled) } else { Ok(found) }
}
