//! The extractors, and their errors as responses.

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;

use axum_core::extract::{FromRequestParts, OptionalFromRequestParts};
use axum_core::response::{IntoResponse, Response};
use http::request::Parts;
use http::{StatusCode, header};
use secure_sessions::SessionData;

use crate::layer::Rejected;
use crate::{Session, SessionError, SessionExt, Typed};

impl<S: Send + Sync> FromRequestParts<S> for Session {
    type Rejection = SessionError;

    fn from_request_parts(parts: &mut Parts, _: &S) -> impl Future<Output = Result<Self, SessionError>> + Send {
        parts.session()
    }
}

impl<S: Send + Sync> OptionalFromRequestParts<S> for Session {
    type Rejection = Infallible;

    /// Returns `None` if the store fails, or the request did not pass a `SessionLayer`. Use it for pages that work
    /// without a session.
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
    /// Returns the error's status, and a text that reveals nothing about the server's internals. The log has the
    /// details.
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        if let Some(location) = self.location() {
            // A redirect needs no response of the application's own.
            return (status, [(header::LOCATION, location)], self.client_text()).into_response();
        }
        if status.is_server_error() {
            tracing::error!(target: "secure_sessions", error = %self.kind(), "a handler met a session error");
        }
        let mut response = (status, self.client_text()).into_response();
        // The layer finds the error here, and may replace the response by the application's own.
        response.extensions_mut().insert(Rejected(Arc::new(self.into_kind())));
        response
    }
}
