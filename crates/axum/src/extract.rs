//! The extractors, and their errors as responses.

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
    type Rejection = SessionError;

    /// Returns `None` only if the request did not pass a `SessionLayer`, which the log then says. If the store fails, the
    /// request is answered with 503.
    ///
    /// It does not tell if somebody is logged in: every request that passed the layer has a session. For that, extract
    /// `Session` and look at its `subject`.
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, SessionError> {
        secure_sessions::optional(parts.session().await)
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
        self.report();
        let status = StatusCode::from_u16(self.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        if let Some(location) = self.location() {
            // A redirect needs no response of the application's own.
            return (status, [(header::LOCATION, location)], self.client_text()).into_response();
        }
        let mut response = (status, self.client_text()).into_response();
        // The layer finds the error here, and may replace the response by the application's own.
        response.extensions_mut().insert(Rejected(Arc::new(self.into_kind())));
        response
    }
}
