//! Sessions for [Poem](https://docs.rs/poem), as an example of writing an adapter. It has what "Writing an adapter" in the
//! documentation of `secure-sessions` asks for, in that order. `src/main.rs` uses it.

use std::net::IpAddr;

use poem::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use poem::{Endpoint, FromRequest, IntoResponse, Middleware, Request, RequestBody, Response, error::ResponseError};
use secure_sessions::{RequestHead, RequestSession, ResponseHeaders, SessionData, SessionManager};

// 1. The request's head.

struct Head<'r>(&'r Request);

impl RequestHead for Head<'_> {
    fn for_each_value(&self, name: &'static str, visit: &mut dyn FnMut(&[u8])) {
        self.0.headers().get_all(name).iter().for_each(|value| visit(value.as_bytes()));
    }

    fn method(&self) -> &str {
        self.0.method().as_str()
    }

    fn peer(&self) -> Option<IpAddr> {
        self.0.remote_addr().as_socket_addr().map(std::net::SocketAddr::ip)
    }
}

// 2. The response's headers.

struct Answer<'r>(&'r mut HeaderMap);

impl ResponseHeaders for Answer<'_> {
    fn for_each_value(&self, name: &'static str, visit: &mut dyn FnMut(&[u8])) {
        self.0.get_all(name).iter().for_each(|value| visit(value.as_bytes()));
    }

    fn append(&mut self, name: &'static str, value: &str, sensitive: bool) {
        // The engine writes visible ASCII only.
        if let Ok(mut value) = HeaderValue::from_str(value) {
            value.set_sensitive(sensitive);
            self.0.append(HeaderName::from_static(name), value);
        }
    }

    fn set(&mut self, name: &'static str, value: &'static str) {
        self.0.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }

    fn remove(&mut self, name: &'static str) {
        self.0.remove(name);
    }
}

// 3 and 4. The middleware.

/// Carries sessions. Add it last, as the outermost: errors become responses here, so what catches them belongs inside.
pub struct SessionMiddleware(SessionManager);

impl SessionMiddleware {
    /// Carries the manager's sessions.
    #[must_use]
    pub fn new(manager: SessionManager) -> Self {
        Self(manager)
    }
}

impl<E: Endpoint> Middleware<E> for SessionMiddleware {
    type Output = SessionEndpoint<E>;

    fn transform(&self, inner: E) -> SessionEndpoint<E> {
        SessionEndpoint { inner, manager: self.0.clone() }
    }
}

/// The endpoint that [`SessionMiddleware`] makes.
pub struct SessionEndpoint<E> {
    inner: E,
    manager: SessionManager,
}

impl<E: Endpoint> Endpoint for SessionEndpoint<E> {
    type Output = Response;

    async fn call(&self, mut request: Request) -> poem::Result<Response> {
        let outer = request.extensions().get::<RequestSession>();
        if outer.is_some_and(|outer| outer.belongs_to(&self.manager)) {
            return self.inner.call(request).await.map(IntoResponse::into_response);
        }
        let session = self.manager.begin();
        request.extensions_mut().insert(session.clone());
        let result = self.inner.call(request).await;
        let mut response = result.map_or_else(poem::Error::into_response, IntoResponse::into_response);
        let reply = match session.finish(response.status().as_u16()).try_now() {
            Ok(reply) => reply,
            Err(finish) => finish.await,
        };
        if let Some(reply) = reply {
            if let Some(error) = reply.failure() {
                response = error_response(error);
            }
            reply.apply(&mut Answer(response.headers_mut()));
        }
        Ok(response)
    }
}

// 5. The types, and the framework's traits on them.

secure_sessions::adapter_types!();

async fn session(request: &Request) -> Result<Session, SessionError> {
    const NO_MIDDLEWARE: &str = "an endpoint asks for the session, but is not `.with(SessionMiddleware::new(manager))`";
    let begun = request.extensions().get::<RequestSession>();
    let begun = begun.ok_or_else(|| secure_sessions::SessionError::no_layer(NO_MIDDLEWARE))?;
    let loading = begun.session(&Head(request));
    Ok(Session::from(loading.await?))
}

impl<'r> FromRequest<'r> for Session {
    async fn from_request(request: &'r Request, _: &mut RequestBody) -> poem::Result<Self> {
        Ok(session(request).await?)
    }
}

impl<'r, T: SessionData> FromRequest<'r> for Typed<T> {
    async fn from_request(request: &'r Request, _: &mut RequestBody) -> poem::Result<Self> {
        Ok(Typed::new(&session(request).await?)?)
    }
}

impl ResponseError for SessionError {
    fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.kind().status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// Poem's own would send the text that is meant for the log.
    fn as_response(&self) -> Response {
        self.report();
        error_response(self.kind())
    }
}

fn error_response(error: &secure_sessions::SessionError) -> Response {
    let status = StatusCode::from_u16(error.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    Response::builder().status(status).content_type("text/plain; charset=utf-8").body(error.client_text())
}
