//! Binds sessions to properties of the client: compares those of each request with those at login.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use secure_sessions_core::format::BINDING_LEN;
use secure_sessions_core::{Keyring, Meta, SessionId};

use crate::adapter::head::RequestHead;
use crate::config::build_error::BuildError;

/// The action on a request whose client differs from the one that its session is bound to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum OnMismatch {
    /// Serves the request as an anonymous one. The client keeps its cookie or token, and the session stays live: an
    /// attacker with a stolen token must not be able to log its owner out. The client can log in, which creates a
    /// session of its own.
    #[default]
    Refuse,
    /// Serves the request, and raises the event. Use it to find out how often honest clients change before you refuse
    /// them.
    Report,
}

/// The properties of the client that sessions are bound to. Sessions are bound to nothing unless you pass a binding to
/// [`Builder::bind_to`](crate::Builder::bind_to).
///
/// ```
/// use secure_sessions::{Binding, Keyring, MemoryStore, OnMismatch, SessionManager};
///
/// let binding = Binding::new().user_agent().address().on_mismatch(OnMismatch::Report);
/// let manager = SessionManager::builder(Keyring::generate()?, MemoryStore::new()).bind_to(binding).build()?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
///
/// 1. A session is bound when it is created, and again by each login, step-up and renewal.
/// 2. A session that was created earlier, or under other settings, is not refused: its next token binds it.
/// 3. The token carries a keyed digest, 16 bytes long; neither the store nor the token holds the properties.
///
/// # Security
///
/// A binding limits the use of a stolen cookie; it replaces no other protection. An attacker who sees the cookie mostly
/// sees the user agent too. Honest clients change: a browser's update changes its user agent, a phone changes its
/// network, and a host with IPv4 and IPv6 changes its address family. Their users must then log in again. Begin with
/// [`OnMismatch::Report`].
#[derive(Clone, Default)]
#[must_use]
pub struct Binding {
    user_agent: bool,
    address: Option<Prefix>,
    custom: Option<Arc<Custom>>,
    on_mismatch: OnMismatch,
}

type Custom = dyn Fn(&dyn RequestHead) -> Option<Vec<u8>> + Send + Sync;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Prefix {
    v4: u8,
    v6: u8,
}

impl Binding {
    /// Creates a binding to no property. Add at least one.
    pub fn new() -> Self {
        Self::default()
    }

    /// Binds to the `User-Agent` header.
    pub fn user_agent(mut self) -> Self {
        self.user_agent = true;
        self
    }

    /// Binds to the first 24 bits of the client's IPv4 address, or the first 56 of its IPv6 address.
    ///
    /// The address is the connection's ([`RequestHead::peer`]). Behind a proxy it is the proxy's: bind to a
    /// [`custom`](Self::custom) value there, read from the header that your own proxy sets.
    pub fn address(self) -> Self {
        self.address_prefix(24, 56)
    }

    /// Binds to the first `v4` bits of the client's IPv4 address, or the first `v6` bits of its IPv6 address.
    pub fn address_prefix(mut self, v4: u8, v6: u8) -> Self {
        self.address = Some(Prefix { v4, v6 });
        self
    }

    /// Binds to any value of the request's head, such as a header that a proxy sets, or a client's certificate. `None`
    /// counts as a value of its own.
    ///
    /// ```
    /// use secure_sessions::{Binding, RequestHead};
    ///
    /// // Set by our own proxy, which removes what clients send under this name.
    /// fn client_address(head: &dyn RequestHead) -> Option<Vec<u8>> {
    ///     let mut address = None;
    ///     head.for_each_value("x-real-ip", &mut |value| address = Some(value.to_vec()));
    ///     address
    /// }
    ///
    /// let binding = Binding::new().custom(client_address);
    /// ```
    pub fn custom(mut self, value: impl Fn(&dyn RequestHead) -> Option<Vec<u8>> + Send + Sync + 'static) -> Self {
        self.custom = Some(Arc::new(value));
        self
    }

    /// Sets the action on requests of other clients.
    pub fn on_mismatch(mut self, on_mismatch: OnMismatch) -> Self {
        self.on_mismatch = on_mismatch;
        self
    }

    pub(crate) fn refuses(&self) -> bool {
        self.on_mismatch == OnMismatch::Refuse
    }

    pub(crate) fn check(&self) -> Result<(), BuildError> {
        if !self.user_agent && self.address.is_none() && self.custom.is_none() {
            return Err(BuildError::Binding {
                problem: "it names no property; leave `bind_to` out to bind to nothing",
            });
        }
        if self.address.is_some_and(|prefix| prefix.v4 > 32 || prefix.v6 > 128 || (prefix.v4 == 0 && prefix.v6 == 0)) {
            return Err(BuildError::Binding {
                problem: "an IPv4 prefix has 0 to 32 bits, an IPv6 prefix 0 to 128, and one of them at least one",
            });
        }
        Ok(())
    }

    /// Reads the properties of one request.
    pub(crate) fn client(&self, head: &dyn RequestHead) -> Client {
        let mut properties = Vec::with_capacity(256);
        let mut property = |value: Option<&[u8]>| match value {
            Some(value) => {
                // The length in front keeps neighbouring properties apart.
                properties.extend_from_slice(&u64::try_from(value.len()).unwrap_or(u64::MAX).to_be_bytes());
                properties.extend_from_slice(value);
            }
            // No value has this length, so an absent property differs from an empty one.
            None => properties.extend_from_slice(&u64::MAX.to_be_bytes()),
        };
        if self.user_agent {
            let mut agent = None;
            head.for_each_value("user-agent", &mut |value| agent.get_or_insert_with(Vec::new).extend_from_slice(value));
            property(agent.as_deref());
        }
        if let Some(prefix) = self.address {
            property(head.peer().map(|address| prefix.of(address)).as_deref());
        }
        if let Some(custom) = &self.custom {
            property(custom(head).as_deref());
        }
        Client { profile: self.profile(), properties }
    }

    /// Returns the bytes before the digest, which say which properties are bound. A digest of other properties cannot
    /// be compared.
    fn profile(&self) -> [u8; PROFILE_LEN] {
        let flag = |set, bit: u8| if set { bit } else { 0 };
        let flags = flag(self.user_agent, 1) | flag(self.address.is_some(), 2) | flag(self.custom.is_some(), 4);
        let Prefix { v4, v6 } = self.address.unwrap_or(Prefix { v4: 0, v6: 0 });
        [flags, v4, v6]
    }
}

const PROFILE_LEN: usize = 3;

impl Prefix {
    /// Returns the address family, and the address with all bits after the prefix set to zero.
    fn of(self, address: IpAddr) -> Vec<u8> {
        // A dual-stack socket shows IPv4 clients as `::ffff:a.b.c.d`.
        match address.to_canonical() {
            IpAddr::V4(address) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.v4)).unwrap_or(0);
                [&[4], &(address.to_bits() & mask).to_be_bytes()[..]].concat()
            }
            IpAddr::V6(address) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.v6)).unwrap_or(0);
                [&[6], &(address.to_bits() & mask).to_be_bytes()[..]].concat()
            }
        }
    }
}

impl fmt::Debug for Binding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Binding")
            .field("user_agent", &self.user_agent)
            .field("address", &self.address)
            .field("custom", &self.custom.is_some())
            .field("on_mismatch", &self.on_mismatch)
            .finish()
    }
}

/// The properties of one request's client, as far as sessions are bound to them.
#[derive(Clone)]
pub(crate) struct Client {
    profile: [u8; PROFILE_LEN],
    properties: Vec<u8>,
}

/// The result of comparing a client with a session's binding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Match {
    /// The client that the session is bound to, or a binding with nothing to compare.
    Same,
    Other,
}

impl Client {
    /// Compares this client with the one that a session is bound to.
    pub(crate) fn compare(&self, keyring: &Keyring, id: &SessionId, binding: Option<&[u8]>) -> Match {
        let Some(digest) = binding.and_then(|binding| binding.strip_prefix(&self.profile)) else {
            // Bound to nothing, or under other settings: the next token binds it.
            return Match::Same;
        };
        if keyring.is_bound_to(digest, id, &self.properties) { Match::Same } else { Match::Other }
    }

    /// Binds a session to this client.
    pub(crate) fn bind(&self, keyring: &Keyring, id: &SessionId, meta: &mut Meta) {
        meta.binding = Some([&self.profile[..], &keyring.bind(id, &self.properties)].concat());
    }

    /// Reserves the bytes of a binding that is added later.
    pub(crate) fn reserve(meta: &mut Meta) {
        meta.binding.get_or_insert_with(|| vec![0; PROFILE_LEN + BINDING_LEN]);
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use getrandom::SysRng;

    use super::*;

    #[derive(Default)]
    struct Head {
        agent: Option<&'static str>,
        peer: Option<IpAddr>,
    }

    impl RequestHead for Head {
        fn for_each_value(&self, name: &'static str, visit: &mut dyn FnMut(&[u8])) {
            if name == "user-agent"
                && let Some(agent) = self.agent
            {
                visit(agent.as_bytes());
            }
        }

        fn method(&self) -> &'static str {
            "GET"
        }

        fn peer(&self) -> Option<IpAddr> {
            self.peer
        }
    }

    fn from(address: impl Into<IpAddr>) -> Head {
        Head { peer: Some(address.into()), ..Head::default() }
    }

    /// Returns `true` if a session that is bound to one client accepts the other.
    fn same(binding: &Binding, one: &Head, other: &Head) -> bool {
        let keyring = Keyring::generate(&mut SysRng).expect("random");
        let (id, mut meta) = (SessionId::from_bytes([1; 16]), Meta::default());
        binding.client(one).bind(&keyring, &id, &mut meta);
        meta.check().expect("short enough");
        binding.client(other).compare(&keyring, &id, meta.binding.as_deref()) == Match::Same
    }

    #[test]
    fn an_address_is_compared_by_its_prefix_and_family() {
        let binding = Binding::new().address();
        let v4 = |last: [u8; 2]| from(Ipv4Addr::new(192, 0, last[0], last[1]));
        assert!(same(&binding, &v4([2, 1]), &v4([2, 255])));
        assert!(!same(&binding, &v4([2, 1]), &v4([3, 1])));
        let v6 = |text: &str| from(text.parse::<Ipv6Addr>().expect("an address"));
        assert!(same(&binding, &v6("2001:db8:0:1100::1"), &v6("2001:db8:0:11ff::2")));
        assert!(!same(&binding, &v6("2001:db8:0:1100::1"), &v6("2001:db8:0:1200::1")));
        assert!(same(&binding, &v6("::ffff:192.0.2.1"), &v4([2, 9])), "one client on a socket for both families");
        assert!(!same(&binding, &v6("::1"), &v4([2, 1])));
        assert!(!same(&binding, &v4([2, 1]), &Head::default()), "no address is a value of its own");
        let exact = Binding::new().address_prefix(32, 128);
        assert!(!same(&exact, &v4([2, 1]), &v4([2, 2])) && same(&exact, &v4([2, 1]), &v4([2, 1])));
        assert!(same(&Binding::new().address_prefix(0, 56), &v4([2, 1]), &v4([9, 9])));
    }

    #[test]
    fn properties_do_not_run_into_one_another_and_absence_is_a_value() {
        let agent = |agent| Head { agent, ..Head::default() };
        let binding = Binding::new().user_agent();
        assert!(same(&binding, &agent(Some("a")), &agent(Some("a"))));
        for other in [None, Some(""), Some("b"), Some("a ")] {
            assert!(!same(&binding, &agent(Some("a")), &agent(other)), "{other:?}");
        }
        assert!(!same(&binding, &agent(None), &agent(Some(""))));
    }

    #[test]
    fn a_binding_under_other_settings_is_not_compared() {
        let keyring = Keyring::generate(&mut SysRng).expect("random");
        let (id, mut meta) = (SessionId::from_bytes([1; 16]), Meta::default());
        let head = Head { agent: Some("a"), ..Head::default() };
        Binding::new().user_agent().client(&head).bind(&keyring, &id, &mut meta);
        let both = Binding::new().user_agent().address();
        assert_eq!(both.client(&Head::default()).compare(&keyring, &id, meta.binding.as_deref()), Match::Same);
        let wider = Binding::new().address_prefix(16, 48);
        assert_eq!(wider.client(&Head::default()).compare(&keyring, &id, None), Match::Same);
    }

    #[test]
    fn what_cannot_be_bound_to_is_refused() {
        for binding in [
            Binding::new(),
            Binding::new().address_prefix(33, 56),
            Binding::new().address_prefix(24, 129),
            Binding::new().address_prefix(0, 0),
        ] {
            assert!(binding.check().is_err(), "{binding:?}");
        }
        Binding::new().address().check().expect("the default prefixes");
    }
}
