//! The origin of a request, apart from its session: its transport and its client.

use std::borrow::Cow;
use std::sync::Arc;

use secure_sessions_core::{Keyring, Meta, SessionId};

use crate::adapter::head::RequestHead;
use crate::config::binding::{Client, Match};
use crate::manager::SessionManager;
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
}

impl Caller {
    pub(crate) fn new(manager: &SessionManager, transport: Transport, head: &dyn RequestHead) -> Self {
        let client = manager.binding().map(|binding| Arc::new(binding.client(head)));
        Self { transport, untouched: false, is_unseen: false, client }
    }

    /// Returns `true` if this client is not the one that the session is bound to.
    pub(crate) fn is_other(&self, keyring: &Keyring, id: &SessionId, meta: &Meta) -> bool {
        self.client.as_ref().is_some_and(|client| client.compare(keyring, id, meta) == Match::Other)
    }

    /// Binds a new session to this client.
    pub(crate) fn bind(&self, keyring: &Keyring, id: &SessionId, meta: &mut Meta) {
        match &self.client {
            Some(client) => client.bind(keyring, id, meta),
            None => meta.binding = None,
        }
    }

    /// Binds a session to this client under the active key, unless it is bound to another one.
    pub(crate) fn bind_again(&self, keyring: &Keyring, id: &SessionId, meta: &mut Meta) {
        if !self.is_other(keyring, id, meta) {
            self.bind(keyring, id, meta);
        }
    }

    /// Reserves the room for a binding, if sessions are bound.
    pub(crate) fn reserve(&self, meta: &mut Cow<'_, Meta>) {
        if self.client.is_some() {
            Client::reserve(meta.to_mut());
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
