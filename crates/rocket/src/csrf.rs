//! The guard of a session whose request brought a CSRF token.

use std::ops::Deref;

use rocket::request::{FromRequest, Outcome};
use rocket::{Ignite, Request, Rocket, Sentinel};

use crate::guard::outcome;
use crate::headers::Head;
use crate::{Session, SessionError, SessionExt};

/// The session of a request that brought one of its CSRF tokens in the [header](crate::SessionManager::csrf_header).
/// The guard fails with 403 for any other request.
///
/// For forms without scripts, take a [`CsrfForm`](crate::CsrfForm).
///
/// ```
/// use rocket::post;
/// use secure_sessions_rocket::{CsrfSession, SessionError};
///
/// #[post("/pay")]
/// fn pay(session: CsrfSession) -> Result<&'static str, SessionError> {
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

#[rocket::async_trait]
impl<'r> FromRequest<'r> for CsrfSession {
    type Error = SessionError;

    async fn from_request(request: &'r Request<'_>) -> Outcome<Self, SessionError> {
        let session = request.session().await;
        outcome(session.and_then(|session| {
            session.verify_csrf(&Head(request))?;
            Ok(Self(session))
        }))
    }
}

/// Refuses the launch of a rocket without the session fairing.
impl Sentinel for CsrfSession {
    fn abort(rocket: &Rocket<Ignite>) -> bool {
        Session::abort(rocket)
    }
}
