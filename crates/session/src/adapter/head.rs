//! What the engine reads of a request.

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
    /// Returns the length that `Content-Length` and `Transfer-Encoding` declare, or `None` if neither is there.
    ///
    /// By RFC 9112, section 6.3, an HTTP/1.1 request with neither has no body. In later versions it may have one, which
    /// only the framework can tell.
    pub fn declared(head: &(impl RequestHead + ?Sized)) -> Option<Self> {
        let mut size = None;
        head.for_each_value("content-length", &mut |value| {
            let length = std::str::from_utf8(value).ok().and_then(|text| text.trim().parse().ok());
            size = Some(length.map_or(Self::Unknown, Self::Exact));
        });
        head.for_each_value("transfer-encoding", &mut |_| size = Some(Self::Unknown));
        size
    }

    /// Returns `true` if a proxy may have held the request back until its body was complete, for longer than a grace.
    pub(crate) fn may_be_held_back(self) -> bool {
        const BUFFERED: u64 = 64 * 1024;
        !matches!(self, Self::Exact(bytes) if bytes <= BUFFERED)
    }
}

/// A request's head, as an adapter's framework has it.
///
/// Implemented by adapters; the engine asks only for what it needs.
pub trait RequestHead {
    /// Calls `visit` with each value of the header `name` (in lower case), in order, as its bytes are.
    fn for_each_value(&self, name: &'static str, visit: &mut dyn FnMut(&[u8]));

    /// The method, in upper case.
    fn method(&self) -> &str;

    /// The address that the connection comes from, if the framework tells.
    fn peer(&self) -> Option<IpAddr> {
        None
    }

    /// The length of the body. A replay on a request whose body is long or of unknown length is refused without
    /// revoking the session, since a proxy may have held an honest request back until its body was complete.
    ///
    /// By default [`declared`](BodySize::declared) says it. Without a declared length GET and HEAD have no body, and all
    /// other requests are [`Unknown`](BodySize::Unknown): an HTTP/2 upload need not declare its length. If your framework
    /// knows the version, or whether the body has ended, override this: more replays revoke then.
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
