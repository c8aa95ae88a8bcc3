//! What the engine reads of a request.

use std::net::IpAddr;

/// The length of a request's body, as far as its head tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BodySize {
    /// So many bytes (`Content-Length`, or none at all).
    Exact(u64),
    /// Nobody knows (chunked).
    Unknown,
}

impl BodySize {
    /// Whether a proxy may have held the request back until its body was complete, for longer than a grace.
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
    fn each_value(&self, name: &'static str, visit: &mut dyn FnMut(&[u8]));

    /// The method, in upper case.
    fn method(&self) -> &str;

    /// The address that the connection comes from, if the framework tells.
    fn peer(&self) -> Option<IpAddr> {
        None
    }

    /// The length of the body: by default what `Content-Length` and `Transfer-Encoding` say.
    fn body_size(&self) -> BodySize {
        let mut size = BodySize::Exact(0);
        self.each_value("content-length", &mut |value| {
            size = std::str::from_utf8(value)
                .ok()
                .and_then(|text| text.trim().parse().ok())
                .map_or(BodySize::Unknown, BodySize::Exact);
        });
        self.each_value("transfer-encoding", &mut |_| size = BodySize::Unknown);
        size
    }
}
