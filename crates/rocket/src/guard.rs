//! The request guards, and their errors as responses.

use std::future::Future;

use rocket::http::Status;
use rocket::request::{FromRequest, Outcome};
use rocket::response::{self, Responder};
use rocket::{Ignite, Request, Rocket, Sentinel};
use secure_sessions::SessionData;

use crate::fairing::{NO_FAIRING, begun, error_response, is_attached};
use crate::headers::Head;
use crate::{Session, SessionError, Typed};

/// Access to a request's session, for guards, fairings, catchers and responders.
pub trait SessionExt {
    /// Returns the request's session. Loads it if nothing has looked at it yet.
    ///
    /// # Errors
    ///
    /// Fails if the store fails, if no [`SessionFairing`](crate::SessionFairing) is attached, or if its `on_response`
    /// has already run for this request and nothing had looked before.
    fn session(&self) -> impl Future<Output = Result<Session, SessionError>> + Send + 'static;

    /// Lets this request read its session without keeping it alive: see
    /// [`RequestSession::untouched`](secure_sessions::RequestSession::untouched). Call it before anything looks at the
    /// session. It does nothing if no [`SessionFairing`](crate::SessionFairing) is attached.
    ///
    /// ```
    /// use rocket::Request;
    /// use secure_sessions_rocket::SessionExt;
    ///
    /// /// Of a request fairing.
    /// fn on_request(request: &mut Request<'_>) {
    ///     if request.uri().path().starts_with("/poll/") {
    ///         request.untouched();
    ///     }
    /// }
    /// ```
    fn untouched(&self);
}

impl SessionExt for Request<'_> {
    fn session(&self) -> impl Future<Output = Result<Session, SessionError>> + Send + 'static {
        let loading = begun(self).map(|session| session.session(&Head(self)));
        async move { Ok(Session::from(loading?.await?)) }
    }

    fn untouched(&self) {
        if let Ok(session) = begun(self) {
            session.untouched();
        }
    }
}

/// Fails with the error's status, which a catcher may turn into a page: 503 if the store fails.
///
/// The session of a request is always there: one without a cookie has a session that is new. Do not take `Option<Session>`:
/// Rocket makes it `None` when the store is down, which reads like a user who is not logged in. Take `Session` and look at
/// its `subject`.
#[rocket::async_trait]
impl<'r> FromRequest<'r> for Session {
    type Error = SessionError;

    async fn from_request(request: &'r Request<'_>) -> Outcome<Self, SessionError> {
        outcome(request.session().await)
    }
}

/// The session of a request, or `None` if no [`SessionFairing`](crate::SessionFairing) is attached, which the log then says.
/// If the store fails, so does the guard, with 503, while Rocket makes an `Option<Session>` `None`.
///
/// It does not tell if somebody is logged in: under the fairing every request has a session. For that, take `Session` and
/// look at its `subject`.
///
/// ```
/// use rocket::get;
/// use secure_sessions_rocket::OptionalSession;
///
/// #[get("/footer")]
/// fn footer(session: OptionalSession) -> &'static str {
///     if session.0.is_some() { "with sessions" } else { "without sessions" }
/// }
/// ```
#[derive(Debug, Clone)]
pub struct OptionalSession(pub Option<Session>);

#[rocket::async_trait]
impl<'r> FromRequest<'r> for OptionalSession {
    type Error = SessionError;

    async fn from_request(request: &'r Request<'_>) -> Outcome<Self, SessionError> {
        outcome(secure_sessions::optional(request.session().await).map(Self))
    }
}

#[rocket::async_trait]
impl<'r, T: SessionData> FromRequest<'r> for Typed<T> {
    type Error = SessionError;

    async fn from_request(request: &'r Request<'_>) -> Outcome<Self, SessionError> {
        outcome(request.session().await.and_then(|session| Typed::new(&session)))
    }
}

pub(crate) fn outcome<T>(result: Result<T, SessionError>) -> Outcome<T, SessionError> {
    match result {
        Ok(value) => Outcome::Success(value),
        Err(error) => {
            // Its way is to a catcher, which is not told the error.
            error.report();
            Outcome::Error((Status::new(error.status()), error))
        }
    }
}

/// Refuses the launch of a rocket without the fairing.
impl Sentinel for Session {
    fn abort(rocket: &Rocket<Ignite>) -> bool {
        let missing = !is_attached(rocket);
        if missing {
            tracing::error!(target: "secure_sessions", "{NO_FAIRING}");
        }
        missing
    }
}

impl<T> Sentinel for Typed<T> {
    fn abort(rocket: &Rocket<Ignite>) -> bool {
        Session::abort(rocket)
    }
}

impl<'r> Responder<'r, 'static> for SessionError {
    /// Returns the error's status, and a text that reveals nothing about the server's internals. The log has the
    /// details.
    fn respond_to(self, request: &'r Request<'_>) -> response::Result<'static> {
        self.report();
        error_response(self.kind(), request)
    }
}
