//! The extractors, and their errors as responses.

use std::convert::Infallible;
use std::future::Future;

use axum_core::extract::{FromRequestParts, OptionalFromRequestParts};
use axum_core::response::{IntoResponse, Response};
use http::StatusCode;
use http::request::Parts;
use secure_sessions::{RequestSession, SessionData};

use crate::headers::Head;
use crate::{Session, SessionError, Typed};

const NO_LAYER: &str = "a handler or middleware extracts `Session`, but the request did not pass a `SessionLayer`: add `.layer(SessionLayer::new(manager))` to the router, after the routes and middleware that use sessions";

/// The session of a request's head, for middleware.
pub trait SessionExt {
    /// The request's session, loaded if nothing has looked at it yet.
    ///
    /// # Errors
    ///
    /// If the store fails, or the request did not pass a [`SessionLayer`](crate::SessionLayer).
    fn session(&self) -> impl Future<Output = Result<Session, SessionError>> + Send + 'static;
}

impl SessionExt for Parts {
    fn session(&self) -> impl Future<Output = Result<Session, SessionError>> + Send + 'static {
        session(&self.extensions, &Head { method: &self.method, headers: &self.headers })
    }
}

impl<B> SessionExt for http::Request<B> {
    fn session(&self) -> impl Future<Output = Result<Session, SessionError>> + Send + 'static {
        session(self.extensions(), &Head { method: self.method(), headers: self.headers() })
    }
}

fn session(
    extensions: &http::Extensions,
    head: &Head<'_>,
) -> impl Future<Output = Result<Session, SessionError>> + Send + use<> {
    let loading = extensions.get::<RequestSession>().map(|request| request.session(head));
    async move {
        let loading = loading.ok_or(secure_sessions::SessionError::NoLayer(NO_LAYER))?;
        Ok(Session::from(loading.await?))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Session {
    type Rejection = SessionError;

    fn from_request_parts(parts: &mut Parts, _: &S) -> impl Future<Output = Result<Self, SessionError>> + Send {
        parts.session()
    }
}

impl<S: Send + Sync> OptionalFromRequestParts<S> for Session {
    type Rejection = Infallible;

    /// `None` if the store fails, or the request did not pass a `SessionLayer`: for pages that work without a session.
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Infallible> {
        Ok(parts.session().await.ok())
    }
}

impl<S: Send + Sync, T: SessionData> FromRequestParts<S> for Typed<T> {
    type Rejection = SessionError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, SessionError> {
        Typed::new(&parts.session().await?)
    }
}

impl IntoResponse for SessionError {
    /// The error's status, and a text that tells nothing of the server's inside. The log tells it all.
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        if status.is_server_error() {
            tracing::error!(target: "secure_sessions", error = %self.kind(), "a handler met a session error");
        }
        (status, self.client_text()).into_response()
    }
}
