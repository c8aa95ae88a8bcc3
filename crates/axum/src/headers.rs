//! Translates between `http` 1.x and the engine.

use std::net::IpAddr;

use http::header::{self, Entry, HeaderValue};
use http::{Extensions, HeaderMap, Method, Uri};
use http_body::Body;
use secure_sessions::{BodySize, RequestHead, ResponseHeaders};

secure_sessions::adapter_headers!(header);

pub(crate) struct Head<'r> {
    pub(crate) method: &'r Method,
    pub(crate) uri: &'r Uri,
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

    fn path(&self) -> Option<&str> {
        Some(sent(self.extensions).unwrap_or(self.uri).path())
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

/// Returns the URI as the client sent it: a nested router sees the path without its prefix.
#[cfg(feature = "axum")]
fn sent(extensions: &Extensions) -> Option<&Uri> {
    extensions.get().map(|axum::extract::OriginalUri(uri)| uri)
}

#[cfg(not(feature = "axum"))]
fn sent(_: &Extensions) -> Option<&Uri> {
    None
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

#[cfg(all(test, feature = "axum"))]
mod tests {
    use axum::Router;
    use axum::body::{Body, to_bytes};
    use axum::routing::get;
    use http::request::Parts;
    use tower::ServiceExt;

    use super::*;

    async fn path(Parts { method, uri, headers, extensions, .. }: Parts) -> String {
        let head = Head { method: &method, uri: &uri, headers: &headers, extensions: &extensions };
        head.path().unwrap_or_default().to_owned()
    }

    #[tokio::test]
    async fn a_nested_router_reports_the_path_that_the_client_sent() {
        let app: Router = Router::new().nest("/api", Router::new().route("/{*rest}", get(path)));
        let request = http::Request::get("/api/a%2Fb?q=1").body(Body::empty()).expect("a request");
        let response = app.oneshot(request).await.expect("infallible");
        let text = to_bytes(response.into_body(), 100).await.expect("a body");
        assert_eq!(text, "/api/a%2Fb");
    }
}
