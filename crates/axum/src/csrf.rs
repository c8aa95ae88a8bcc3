//! The extractor of a session whose request brought a CSRF token.

use std::ops::Deref;

use axum_core::extract::FromRequestParts;
use http::request::Parts;

use crate::headers::Head;
use crate::{Session, SessionError, SessionExt};

/// The session of a request that brought one of its CSRF tokens in the [header](crate::SessionManager::csrf_header).
/// Any other request is answered with 403.
///
/// For forms without scripts, extract a [`CsrfForm`](crate::CsrfForm).
///
/// ```
/// use secure_sessions_axum::{CsrfSession, SessionError};
///
/// async fn pay(session: CsrfSession) -> Result<&'static str, SessionError> {
///     session.remove("cart")?;
///     Ok("paid")
/// }
/// ```
#[derive(Debug, Clone)]
pub struct CsrfSession(pub Session);

impl Deref for CsrfSession {
    type Target = Session;

    fn deref(&self) -> &Session {
        &self.0
    }
}

impl<S: Send + Sync> FromRequestParts<S> for CsrfSession {
    type Rejection = SessionError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, SessionError> {
        let session = parts.session().await?;
        session.verify_csrf(&Head {
            method: &parts.method,
            uri: &parts.uri,
            headers: &parts.headers,
            extensions: &parts.extensions,
        })?;
        Ok(Self(session))
    }
}
