//! The extractor of a session whose request brought a CSRF token.

use std::future::Future;
use std::ops::Deref;
use std::pin::Pin;

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest};

use crate::headers::Head;
use crate::{Session, SessionError, SessionExt};

/// The session of a request that brought one of its CSRF tokens in the [header](crate::SessionManager::csrf_header).
/// Any other request is answered with 403.
///
/// For forms without scripts, extract a [`CsrfForm`](crate::CsrfForm).
///
/// ```
/// use secure_sessions_actix::{CsrfSession, SessionError};
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

impl FromRequest for CsrfSession {
    type Error = SessionError;
    type Future = Pin<Box<dyn Future<Output = Result<Self, SessionError>>>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move {
            let session = request.session().await?;
            session.verify_csrf(&Head(request.head()))?;
            Ok(Self(session))
        })
    }
}
