//! Binding to properties of the client: what every request shows by itself, compared with what it was at login.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use secure_sessions_core::format::BINDING_LEN;
use secure_sessions_core::{Keyring, Meta, SessionId};

use crate::adapter::head::RequestHead;
use crate::config::build_error::BuildError;

/// What to do with a request whose client has other properties than its session is bound to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum OnMismatch {
    /// Serve it as an anonymous request. The client's cookie or token is left alone, and so is the session: a thief must
    /// not be able to log anyone out. It can log in, which makes a session of its own.
    #[default]
    Refuse,
    /// Serve it, and raise the event: for finding out how often honest clients change before refusing them.
    Report,
}

/// The properties of the client that sessions are bound to. Off unless given to
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
/// 1. A session is bound when it is made, and anew by each login, step-up and renewal.
/// 2. A session that was made before, or under other settings, is not refused: its next token binds it.
/// 3. The token carries a keyed digest, 16 bytes long; neither the store nor the token holds the properties.
///
/// # Security
///
/// A binding narrows what a stolen cookie is good for; it does not replace anything. A thief who sees the cookie mostly
/// sees the user agent too. Honest clients change: a browser's update changes its user agent, a phone its network, and
/// a host with IPv4 and IPv6 its family. They must log in again. Begin with [`OnMismatch::Report`].
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
    /// To nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// To the `User-Agent` header.
    pub fn user_agent(mut self) -> Self {
        self.user_agent = true;
        self
    }

    /// To the first 24 bits of the client's IPv4 address, or the first 56 of its IPv6 address.
    ///
    /// The address is that of the connection ([`RequestHead::peer`]). Behind a proxy that is the proxy's: bind to a
    /// [`custom`](Self::custom) value there, read from the header that your own proxy sets.
    pub fn address(self) -> Self {
        self.address_prefix(24, 56)
    }

    /// To so many bits of the client's IPv4 or IPv6 address.
    pub fn address_prefix(mut self, v4: u8, v6: u8) -> Self {
        self.address = Some(Prefix { v4, v6 });
        self
    }

    /// To any value of the request's head: a header that a proxy sets, the certificate of a client. `None` is a value
    /// of its own.
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

    /// What to do with other clients.
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
                properties.extend_from_slice(&u64::try_from(value.len()).unwrap_or(u64::MAX).to_be_bytes());
                properties.extend_from_slice(value);
            }
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

    /// Which properties are bound, in the bytes that stand before the digest. A digest of other properties is of no use.
    fn profile(&self) -> [u8; PROFILE_LEN] {
        let flag = |set, bit: u8| if set { bit } else { 0 };
        let flags = flag(self.user_agent, 1) | flag(self.address.is_some(), 2) | flag(self.custom.is_some(), 4);
        let Prefix { v4, v6 } = self.address.unwrap_or(Prefix { v4: 0, v6: 0 });
        [flags, v4, v6]
    }
}

const PROFILE_LEN: usize = 3;

impl Prefix {
    /// The family and the first bits of an address, the rest zero.
    fn of(self, address: IpAddr) -> Vec<u8> {
        // A socket for both families shows IPv4 clients as `::ffff:a.b.c.d`.
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

/// The properties of the client that one request came from, as far as sessions are bound to them.
#[derive(Clone)]
pub(crate) struct Client {
    profile: [u8; PROFILE_LEN],
    properties: Vec<u8>,
}

/// What a session's own binding says of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Match {
    /// The client that it is bound to, or it is bound to nothing that could be compared.
    Same,
    Other,
}

impl Client {
    pub(crate) fn compare(&self, keyring: &Keyring, id: &SessionId, meta: &Meta) -> Match {
        let Some(digest) = meta.binding.as_deref().and_then(|binding| binding.strip_prefix(&self.profile)) else {
            return Match::Same;
        };
        if keyring.is_bound_to(digest, id, &self.properties) { Match::Same } else { Match::Other }
    }

    /// Binds a session to this client.
    pub(crate) fn bind(&self, keyring: &Keyring, id: &SessionId, meta: &mut Meta) {
        meta.binding = Some([&self.profile[..], &keyring.bind(id, &self.properties)].concat());
    }

    /// Reserves the room of a binding that is still to be made.
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

    /// Whether a session that is bound to one client is that of the other.
    fn same(binding: &Binding, one: &Head, other: &Head) -> bool {
        let keyring = Keyring::generate(&mut SysRng).expect("random");
        let (id, mut meta) = (SessionId::from_bytes([1; 16]), Meta::default());
        binding.client(one).bind(&keyring, &id, &mut meta);
        meta.check().expect("short enough");
        binding.client(other).compare(&keyring, &id, &meta) == Match::Same
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
        assert_eq!(both.client(&Head::default()).compare(&keyring, &id, &meta), Match::Same);
        let wider = Binding::new().address_prefix(16, 48);
        assert_eq!(wider.client(&Head::default()).compare(&keyring, &id, &Meta::default()), Match::Same);
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
