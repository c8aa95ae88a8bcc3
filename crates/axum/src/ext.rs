//! Access to a request's session, for middleware and for services that are not Axum's.

use std::future::Future;

use http::request::Parts;
use secure_sessions::{DeferredSession, RequestSession};

use crate::headers::Head;
use crate::{Session, SessionError};

const NO_LAYER: &str = "a handler or middleware extracts `Session`, but the request did not pass a `SessionLayer`: add `.layer(SessionLayer::new(manager))` to the router, after the routes and middleware that use sessions";

/// Access to the session of a request's head, for middleware.
pub trait SessionExt {
    /// Returns the request's session. Loads it if nothing has looked at it yet.
    ///
    /// # Errors
    ///
    /// Fails if the store fails, or the request did not pass a [`SessionLayer`](crate::SessionLayer).
    fn session(&self) -> impl Future<Output = Result<Session, SessionError>> + Send + 'static;

    /// Lets this request read its session without keeping it alive: see [`RequestSession::untouched`]. Call it before
    /// anything looks at the session. It does nothing if the request did not pass a
    /// [`SessionLayer`](crate::SessionLayer).
    ///
    /// ```
    /// # #[cfg(feature = "axum")] {
    /// use axum::{Router, extract::Request, middleware::map_request, routing::get};
    /// use secure_sessions_axum::{LoggedIn, SessionExt};
    ///
    /// async fn untouched(request: Request) -> Request {
    ///     request.untouched();
    ///     request
    /// }
    ///
    /// let polled: Router = Router::new()
    ///     .route("/unread", get(async |user: LoggedIn| format!("none, {}", user.subject())))
    ///     .layer(map_request(untouched)); // Outside of all middleware that looks at the session.
    /// # }
    /// ```
    fn untouched(&self);

    /// Opens the request's session without asking the store: see [`RequestSession::defer`].
    ///
    /// # Errors
    ///
    /// Fails if the request did not pass a [`SessionLayer`](crate::SessionLayer).
    fn deferred_session(&self) -> Result<DeferredSession, SessionError>;
}

impl SessionExt for Parts {
    fn untouched(&self) {
        untouched(&self.extensions);
    }

    fn session(&self) -> impl Future<Output = Result<Session, SessionError>> + Send + 'static {
        session(
            &self.extensions,
            &Head { method: &self.method, uri: &self.uri, headers: &self.headers, extensions: &self.extensions },
        )
    }

    fn deferred_session(&self) -> Result<DeferredSession, SessionError> {
        deferred(
            &self.extensions,
            &Head { method: &self.method, uri: &self.uri, headers: &self.headers, extensions: &self.extensions },
        )
    }
}

impl<B> SessionExt for http::Request<B> {
    fn untouched(&self) {
        untouched(self.extensions());
    }

    fn session(&self) -> impl Future<Output = Result<Session, SessionError>> + Send + 'static {
        let extensions = self.extensions();
        session(extensions, &Head { method: self.method(), uri: self.uri(), headers: self.headers(), extensions })
    }

    fn deferred_session(&self) -> Result<DeferredSession, SessionError> {
        let extensions = self.extensions();
        deferred(extensions, &Head { method: self.method(), uri: self.uri(), headers: self.headers(), extensions })
    }
}

fn untouched(extensions: &http::Extensions) {
    if let Some(request) = extensions.get::<RequestSession>() {
        request.untouched();
    }
}

fn session(
    extensions: &http::Extensions,
    head: &Head<'_>,
) -> impl Future<Output = Result<Session, SessionError>> + Send + use<> {
    let loading = extensions.get::<RequestSession>().map(|request| request.session(head));
    async move {
        let loading = loading.ok_or_else(|| secure_sessions::SessionError::no_layer(NO_LAYER))?;
        Ok(Session::from(loading.await?))
    }
}

fn deferred(extensions: &http::Extensions, head: &Head<'_>) -> Result<DeferredSession, SessionError> {
    let deferred = extensions.get::<RequestSession>().map(|request| request.defer(head));
    Ok(deferred.ok_or(secure_sessions::SessionError::NoLayer(NO_LAYER))?)
}
