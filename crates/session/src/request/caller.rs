//! The origin of a request, apart from its session: its transport and its client.

use std::borrow::Cow;
use std::sync::Arc;

use secure_sessions_core::format::DEVICE_LEN;
use secure_sessions_core::{DeviceId, Keyring, Meta, SessionId};

use crate::adapter::head::RequestHead;
use crate::config::binding::{Client, Match};
use crate::manager::SessionManager;
use crate::request::device::Tickets;
use crate::request::dpop::{Possession, ProofRefused};
use crate::transport::Transport;

/// A request's transport and client. Clones are cheap.
#[derive(Clone, Default)]
pub(crate) struct Caller {
    pub(crate) transport: Transport,
    /// `true` if the request must not keep its session alive.
    pub(crate) untouched: bool,
    /// `true` if no user is going to see the response. Read only if there are messages that wait for one.
    pub(crate) is_unseen: bool,
    /// The client's properties; `None` unless sessions are bound to them.
    client: Option<Arc<Client>>,
    /// The tickets of the request's device; `None` unless sessions are bound to devices, and the request brought any.
    tickets: Option<Arc<Tickets>>,
    /// `true` if sessions may be bound to devices.
    devices: bool,
    /// The proof of possession that the request brings by DPoP.
    pub(crate) possession: Possession,
    /// The reason to refuse the request before its session is looked at.
    pub(crate) refused: Option<ProofRefused>,
    /// `true` if bearer tokens may be bound to keys.
    dpop: bool,
}

impl Caller {
    pub(crate) fn new(manager: &SessionManager, transport: Transport, head: &dyn RequestHead) -> Self {
        let client = manager.binding().map(|binding| Arc::new(binding.client(head)));
        let devices = manager.devices().is_some() && transport == Transport::Cookie;
        let (possession, refused) = match manager.dpop().map(|dpop| Possession::read(manager, dpop, head)) {
            None => (Possession::default(), None),
            Some(Ok(possession)) => (possession, None),
            Some(Err(refused)) => (Possession::default(), Some(refused)),
        };
        let dpop = manager.dpop().is_some();
        Self {
            transport,
            untouched: false,
            is_unseen: false,
            client,
            tickets: None,
            devices,
            possession,
            refused,
            dpop,
        }
    }

    /// Reads the tickets of the request's device, if sessions are bound to devices.
    pub(crate) fn read_tickets(&mut self, manager: &SessionManager, head: &dyn RequestHead) {
        if let Some(devices) = manager.devices().filter(|_| self.devices) {
            self.tickets = Tickets::read(manager, devices, head).map(Arc::new);
        }
    }

    pub(crate) fn tickets(&self) -> Option<&Tickets> {
        self.tickets.as_deref()
    }

    /// Returns `true` if the request brought a ticket, good or not.
    pub(crate) fn has_ticket(&self) -> bool {
        self.tickets().is_some_and(Tickets::any)
    }

    /// Returns `true` if this client is not the one that the session is bound to.
    pub(crate) fn is_other(&self, keyring: &Keyring, id: &SessionId, binding: Option<&[u8]>) -> bool {
        self.client.as_ref().is_some_and(|client| client.compare(keyring, id, binding) == Match::Other)
    }

    /// Binds a new session to this client.
    pub(crate) fn bind(&self, keyring: &Keyring, id: &SessionId, meta: &mut Meta) {
        match &self.client {
            Some(client) => client.bind(keyring, id, meta),
            None => meta.binding = None,
        }
    }

    /// Returns the key that a login binds its session to.
    pub(crate) fn key_to_bind(&self) -> Option<DeviceId> {
        self.possession.key().filter(|_| self.transport == Transport::Bearer)
    }

    /// Binds a session to this client under the active key, unless it is bound to another one.
    pub(crate) fn bind_again(&self, keyring: &Keyring, id: &SessionId, meta: &mut Meta) {
        if !self.is_other(keyring, id, meta.binding.as_deref()) {
            self.bind(keyring, id, meta);
        }
    }

    /// Reserves the room for a binding and for a device, if sessions are bound.
    pub(crate) fn reserve(&self, meta: &mut Cow<'_, Meta>) {
        if self.client.is_some() {
            Client::reserve(meta.to_mut());
        }
        let bearer = self.transport == Transport::Bearer;
        if (if bearer { self.dpop } else { self.devices }) && meta.device.is_none() {
            meta.to_mut().device = Some(DeviceId::from_bytes([0; DEVICE_LEN]));
        }
    }
}

/// Returns `true` if no user is going to see the response: the request asks for the head alone, or prefetches a page
/// that its user may never open.
pub(crate) fn is_unseen(head: &dyn RequestHead) -> bool {
    let mut prefetches = false;
    // A structured field (Fetch, section 3.9): `prefetch`, or `prefetch;prerender`.
    head.for_each_value("sec-purpose", &mut |value| prefetches |= value.trim_ascii().starts_with(b"prefetch"));
    prefetches || head.method() == "HEAD"
}
