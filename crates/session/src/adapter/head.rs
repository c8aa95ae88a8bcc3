//! The parts of a request that the engine reads: headers, method, path, peer address and body size.

use std::net::IpAddr;

/// The length of a request's body, as far as it is known before the body is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BodySize {
    /// The number of bytes; zero if there is no body.
    Exact(u64),
    /// A body whose length is known only when it has ended, or a request that may have such a body.
    Unknown,
}

impl BodySize {
    /// Returns the length that `Content-Length` and `Transfer-Encoding` declare, or `None` if neither header is
    /// present.
    ///
    /// By RFC 9112, section 6.3, an HTTP/1.1 request with neither has no body. In later versions it may have one; only
    /// the framework knows.
    pub fn declared(head: &(impl RequestHead + ?Sized)) -> Option<Self> {
        let mut size = None;
        head.for_each_value("content-length", &mut |value| {
            let length = std::str::from_utf8(value).ok().and_then(|text| text.trim().parse().ok());
            size = Some(length.map_or(Self::Unknown, Self::Exact));
        });
        // Asked last, since it overrides `Content-Length` (RFC 9112, section 6.3).
        head.for_each_value("transfer-encoding", &mut |_| size = Some(Self::Unknown));
        size
    }

    /// Returns `true` if a proxy may have held the request back until its body was complete, for longer than a grace.
    pub(crate) fn may_be_held_back(self) -> bool {
        const BUFFERED: u64 = 64 * 1024;
        !matches!(self, Self::Exact(bytes) if bytes <= BUFFERED)
    }
}

/// A request's head, as an adapter's framework represents it.
///
/// Adapters implement it. The engine asks only for the headers that it needs.
pub trait RequestHead {
    /// Calls `visit` with the raw bytes of each value of the header `name` (in lower case), in order.
    fn for_each_value(&self, name: &'static str, visit: &mut dyn FnMut(&[u8]));

    /// Returns the method, in upper case.
    fn method(&self) -> &str;

    /// Returns the path of the request's URL as the client sent it, or `None` if the framework does not report it. A query
    /// after it does not matter.
    ///
    /// Only a DPoP proof is compared with it, and refused without it: see
    /// [`Builder::dpop`](crate::Builder::dpop).
    fn path(&self) -> Option<&str> {
        None
    }

    /// Returns the address that the connection comes from, or `None` if the framework does not report it.
    fn peer(&self) -> Option<IpAddr> {
        None
    }

    /// Returns the length of the body.
    ///
    /// On a request whose body is long or of unknown length, the engine refuses a replay but does not revoke the
    /// session: a proxy may have held an honest request back until its body was complete.
    ///
    /// The default is the length that [`declared`](BodySize::declared) returns. Without one, GET and HEAD have no body,
    /// and all other requests are [`Unknown`](BodySize::Unknown): an HTTP/2 upload need not declare its length.
    /// Override this if your framework knows the version, or whether the body has ended: more replays then revoke their
    /// session.
    fn body_size(&self) -> BodySize {
        let without = if matches!(self.method(), "GET" | "HEAD") { BodySize::Exact(0) } else { BodySize::Unknown };
        BodySize::declared(self).unwrap_or(without)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Head(&'static str, &'static [(&'static str, &'static str)]);

    impl RequestHead for Head {
        fn for_each_value(&self, name: &'static str, visit: &mut dyn FnMut(&[u8])) {
            self.1.iter().filter(|(other, _)| *other == name).for_each(|(_, value)| visit(value.as_bytes()));
        }

        fn method(&self) -> &str {
            self.0
        }
    }

    #[test]
    fn a_body_whose_length_the_head_does_not_declare_is_unknown() {
        let chunked = &[("content-length", "7"), ("transfer-encoding", "chunked")];
        for (method, headers, expected) in [
            ("GET", &[][..], BodySize::Exact(0)),
            ("HEAD", &[], BodySize::Exact(0)),
            ("POST", &[], BodySize::Unknown),
            ("DELETE", &[], BodySize::Unknown),
            ("POST", &[("content-length", "0")], BodySize::Exact(0)),
            ("POST", &[("content-length", " 7 ")], BodySize::Exact(7)),
            ("POST", &[("content-length", "seven")], BodySize::Unknown),
            ("GET", &[("content-length", "-1")], BodySize::Unknown),
            ("GET", &[("transfer-encoding", "chunked")], BodySize::Unknown),
            ("GET", chunked, BodySize::Unknown),
        ] {
            assert_eq!(Head(method, headers).body_size(), expected, "{method} {headers:?}");
        }
    }

    #[test]
    fn only_a_body_of_at_most_64_kib_cannot_have_been_held_back() {
        assert!(!BodySize::Exact(64 * 1024).may_be_held_back());
        assert!(BodySize::Exact(64 * 1024 + 1).may_be_held_back());
        assert!(BodySize::Unknown.may_be_held_back());
    }
}
