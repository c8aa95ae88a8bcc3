//! Translates between `http` 1.x and the engine.

use std::net::IpAddr;

use http::header::{self, Entry, HeaderValue};
use http::{Extensions, HeaderMap, Method};
use http_body::Body;
use secure_sessions::{BodySize, RequestHead, ResponseHeaders};

secure_sessions::adapter_headers!(header);

pub(crate) struct Head<'r> {
    pub(crate) method: &'r Method,
    pub(crate) headers: &'r HeaderMap,
    pub(crate) extensions: &'r Extensions,
}

/// The client's address, as an extension of the request. Insert it in services without Axum's `ConnectInfo`, and behind
/// a proxy, where the connection's address is the proxy's. A binding to addresses looks here first.
///
/// ```
/// use std::net::IpAddr;
/// use secure_sessions_axum::ClientAddress;
///
/// /// Of a middleware outside of the session layer. Our proxy removes what clients send under this name.
/// fn behind_our_proxy<B>(mut request: http::Request<B>) -> http::Request<B> {
///     let header = request.headers().get("x-real-ip").and_then(|value| value.to_str().ok());
///     if let Some(address) = header.and_then(|text| text.parse::<IpAddr>().ok()) {
///         request.extensions_mut().insert(ClientAddress(address));
///     }
///     request
/// }
/// # let request = http::Request::builder().header("x-real-ip", "192.0.2.1").body(()).unwrap();
/// # assert!(behind_our_proxy(request).extensions().get::<ClientAddress>().is_some());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientAddress(pub IpAddr);

/// A request extension that marks a body which has not ended and does not declare its length: chunked, or HTTP/2
/// without a `Content-Length`. The layer sets it, since extractors see no body.
#[derive(Clone, Copy)]
pub(crate) struct UnknownLength;

impl UnknownLength {
    pub(crate) fn of(body: &impl Body) -> Option<Self> {
        (!body.is_end_stream() && body.size_hint().exact().is_none()).then_some(Self)
    }
}

impl RequestHead for Head<'_> {
    fn for_each_value(&self, name: &'static str, visit: &mut dyn FnMut(&[u8])) {
        for value in self.headers.get_all(known(name)) {
            visit(value.as_bytes());
        }
    }

    fn method(&self) -> &str {
        self.method.as_str()
    }

    fn peer(&self) -> Option<IpAddr> {
        // The connection's address may be a proxy's, so one that the application inserted takes precedence.
        self.extensions.get().map(|ClientAddress(address)| *address).or_else(|| connection(self.extensions))
    }

    fn body_size(&self) -> BodySize {
        BodySize::declared(self).unwrap_or_else(|| match self.extensions.get() {
            Some(UnknownLength) => BodySize::Unknown,
            None => BodySize::Exact(0),
        })
    }
}

/// Returns the connection's address, if the router is served by `into_make_service_with_connect_info`.
#[cfg(feature = "axum")]
fn connection(extensions: &Extensions) -> Option<IpAddr> {
    extensions.get::<axum::extract::ConnectInfo<std::net::SocketAddr>>().map(|info| info.0.ip())
}

#[cfg(not(feature = "axum"))]
fn connection(_: &Extensions) -> Option<IpAddr> {
    None
}

pub(crate) struct Answer<'r>(pub(crate) &'r mut HeaderMap);

impl ResponseHeaders for Answer<'_> {
    fn for_each_value(&self, name: &'static str, visit: &mut dyn FnMut(&[u8])) {
        for value in self.0.get_all(known(name)) {
            visit(value.as_bytes());
        }
    }

    fn append(&mut self, name: &'static str, value: &str, sensitive: bool) {
        // Cannot fail: the engine writes visible ASCII only.
        if let Ok(mut value) = HeaderValue::from_str(value) {
            value.set_sensitive(sensitive);
            self.0.append(known(name), value);
        }
    }

    fn set(&mut self, name: &'static str, value: &'static str) {
        self.0.insert(known(name), fixed(value));
    }

    fn remove(&mut self, name: &'static str) {
        self.0.remove(known(name));
    }

    fn set_if_absent(&mut self, name: &'static str, value: &'static str) -> bool {
        match self.0.entry(known(name)) {
            Entry::Occupied(_) => false,
            Entry::Vacant(vacant) => {
                vacant.insert(fixed(value));
                true
            }
        }
    }
}
