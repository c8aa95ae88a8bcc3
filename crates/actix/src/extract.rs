//! The extractors, and their errors as responses.

use std::future::Future;
use std::pin::Pin;

use actix_web::dev::{Extensions, Payload, RequestHead, ServiceRequest};
use actix_web::guard::GuardContext;
use actix_web::http::StatusCode;
use actix_web::http::header::{self, ContentType};
use actix_web::{FromRequest, HttpMessage, HttpRequest, HttpResponse, ResponseError};
use secure_sessions::{RequestSession, SessionData};

use crate::headers::Head;
use crate::{Session, SessionError, Typed};

const NO_MIDDLEWARE: &str = "a handler or middleware asks for the session, but the request did not pass a `SessionMiddleware`: add `.wrap(SessionMiddleware::new(manager))` to the app or scope, after the middleware that uses sessions";

/// Access to a request's session, for middleware and guards.
pub trait SessionExt {
    /// Returns the request's session. Loads it if nothing has looked at it yet. The future does not borrow the request.
    ///
    /// # Errors
    ///
    /// Fails if the store fails, or the request did not pass a [`SessionMiddleware`](crate::SessionMiddleware).
    #[doc(alias = "get_session")]
    fn session(&self) -> impl Future<Output = Result<Session, SessionError>> + Send + 'static;

    /// Returns the request's session if it is already loaded.
    ///
    /// Use it in guards, which cannot wait. Under a middleware that is [`eager`](crate::SessionMiddleware::eager) the
    /// session is always loaded.
    ///
    /// ```
    /// use actix_web::guard::{Guard, fn_guard};
    /// use secure_sessions_actix::SessionExt;
    ///
    /// fn logged_in() -> impl Guard {
    ///     fn_guard(|context| context.loaded_session().is_some_and(|session| session.subject().is_some()))
    /// }
    /// ```
    fn loaded_session(&self) -> Option<Session>;

    /// Lets this request read its session without keeping it alive: see [`RequestSession::untouched`]. Call it before
    /// anything looks at the session. It does nothing if the request did not pass a
    /// [`SessionMiddleware`](crate::SessionMiddleware).
    ///
    /// ```
    /// use actix_web::{App, Error, body::MessageBody, dev, middleware::{Next, from_fn}, web};
    /// use secure_sessions_actix::{LoggedIn, SessionExt};
    ///
    /// async fn untouched(
    ///     request: dev::ServiceRequest,
    ///     next: Next<impl MessageBody>,
    /// ) -> Result<dev::ServiceResponse<impl MessageBody>, Error> {
    ///     request.untouched();
    ///     next.call(request).await
    /// }
    ///
    /// async fn unread(user: LoggedIn) -> String {
    ///     format!("none, {}", user.subject())
    /// }
    ///
    /// // Outside of all middleware that looks at the session.
    /// let polled = web::scope("/unread").route("", web::get().to(unread)).wrap(from_fn(untouched));
    /// # let app = App::new().service(polled);
    /// ```
    fn untouched(&self);
}

impl SessionExt for HttpRequest {
    fn untouched(&self) {
        untouched(&self.extensions());
    }

    fn session(&self) -> impl Future<Output = Result<Session, SessionError>> + Send + 'static {
        session(&self.extensions(), self.head())
    }

    fn loaded_session(&self) -> Option<Session> {
        loaded(&self.extensions())
    }
}

impl SessionExt for ServiceRequest {
    fn untouched(&self) {
        untouched(&self.extensions());
    }

    fn session(&self) -> impl Future<Output = Result<Session, SessionError>> + Send + 'static {
        session(&self.extensions(), self.head())
    }

    fn loaded_session(&self) -> Option<Session> {
        loaded(&self.extensions())
    }
}

impl SessionExt for GuardContext<'_> {
    fn untouched(&self) {
        untouched(&self.req_data());
    }

    fn session(&self) -> impl Future<Output = Result<Session, SessionError>> + Send + 'static {
        session(&self.req_data(), self.head())
    }

    fn loaded_session(&self) -> Option<Session> {
        loaded(&self.req_data())
    }
}

fn session(
    extensions: &Extensions,
    head: &RequestHead,
) -> impl Future<Output = Result<Session, SessionError>> + Send + use<> {
    let loading = extensions.get::<RequestSession>().map(|request| request.session(&Head(head)));
    async move {
        let loading = loading.ok_or_else(|| secure_sessions::SessionError::no_layer(NO_MIDDLEWARE))?;
        Ok(Session::from(loading.await?))
    }
}

fn untouched(extensions: &Extensions) {
    if let Some(request) = extensions.get::<RequestSession>() {
        request.untouched();
    }
}

fn loaded(extensions: &Extensions) -> Option<Session> {
    extensions.get::<RequestSession>().and_then(RequestSession::loaded).map(Session::from)
}

/// The session of a request is always there: one without a cookie has a session that is new. Do not extract
/// `Option<Session>`: Actix Web makes it `None` when the store is down, which reads like a user who is not logged in. Extract
/// `Session` and look at its `subject`, or [`OptionalSession`] in a handler that may run outside of the middleware.
impl FromRequest for Session {
    type Error = SessionError;
    type Future = Pin<Box<dyn Future<Output = Result<Self, SessionError>>>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        Box::pin(request.session())
    }
}

/// The session of a request, or `None` if the request did not pass a [`SessionMiddleware`](crate::SessionMiddleware), which
/// the log then says. If the store fails, the request is answered with 503, while Actix Web makes an `Option<Session>` `None`.
///
/// It does not tell if somebody is logged in: every request that passed the middleware has a session. For that, extract
/// `Session` and look at its `subject`.
///
/// ```
/// use secure_sessions_actix::OptionalSession;
///
/// async fn footer(OptionalSession(session): OptionalSession) -> &'static str {
///     if session.is_some() { "with sessions" } else { "without sessions" }
/// }
/// ```
#[derive(Debug, Clone)]
pub struct OptionalSession(pub Option<Session>);

impl FromRequest for OptionalSession {
    type Error = SessionError;
    type Future = Pin<Box<dyn Future<Output = Result<Self, SessionError>>>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let session = request.session();
        Box::pin(async move { secure_sessions::optional(session.await).map(Self) })
    }
}

impl<T: SessionData> FromRequest for Typed<T> {
    type Error = SessionError;
    type Future = Pin<Box<dyn Future<Output = Result<Self, SessionError>>>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let session = request.session();
        Box::pin(async move { Typed::new(&session.await?) })
    }
}

impl ResponseError for SessionError {
    fn status_code(&self) -> StatusCode {
        status(self)
    }

    /// Returns the error's status, and a text that reveals nothing about the server's internals. The log has the
    /// details.
    fn error_response(&self) -> HttpResponse {
        self.report();
        response(self)
    }
}

/// Returns the response that a client sees for an error.
pub(crate) fn response(error: &secure_sessions::SessionError) -> HttpResponse {
    let mut response = HttpResponse::build(status(error));
    if let Some(location) = error.location() {
        response.insert_header((header::LOCATION, location));
    }
    response.content_type(ContentType::plaintext()).body(error.client_text())
}

fn status(error: &secure_sessions::SessionError) -> StatusCode {
    StatusCode::from_u16(error.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}
