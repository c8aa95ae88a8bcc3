//! The tower layer: begins each request's session and finishes it before the response's head leaves.

use std::borrow::Cow;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::request::Parts;
use http::{Request, Response, StatusCode};
use http_body::Body;
use pin_project_lite::pin_project;
use secure_sessions::{Finish, Reply, RequestSession, SessionManager};
use tower_layer::Layer;
use tower_service::Service;

use crate::headers::{Answer, UnknownLength};
use crate::{EngineError, SessionError};

/// The layer that carries sessions. It wraps any service of `http` requests with any body; the body of the responses
/// needs a default.
///
/// Add it after the routes and after the layers that use sessions: the layer that is added last is the outermost. A
/// nested layer of the same manager shares the outer layer's session.
///
/// A response commits what its request changed if its status is below 500, and neither 408 nor 499: see
/// [`RequestSession::finish`]. So if a timeout layer inside this one answers 408, the changes of the interrupted
/// handler are discarded.
#[derive(Debug, Clone)]
pub struct SessionLayer<E = DefaultErrorResponse> {
    manager: SessionManager,
    errors: E,
}

impl SessionLayer {
    /// Creates a layer that carries the manager's sessions.
    #[must_use]
    pub fn new(manager: SessionManager) -> Self {
        Self { manager, errors: DefaultErrorResponse }
    }

    /// Creates a layer for development: sessions in memory, generated keys, a cookie for plain http. See
    /// [`SessionManager::dev`].
    ///
    /// ```
    /// use axum::{Router, routing::get};
    /// use secure_sessions_axum::{Session, SessionError, SessionLayer};
    ///
    /// async fn count(session: Session) -> Result<String, SessionError> {
    ///     Ok(session.update("visits", |visits: &mut u64| { *visits += 1; *visits })?.to_string())
    /// }
    ///
    /// let app: Router = Router::new().route("/", get(count)).layer(SessionLayer::dev());
    /// ```
    ///
    /// # Panics
    ///
    /// Panics if the system's source of randomness fails.
    #[must_use]
    pub fn dev() -> Self {
        Self::new(SessionManager::dev())
    }
}

impl<E> SessionLayer<E> {
    /// Sets the application's own response to session errors. It replaces a response whose session could not be
    /// committed, and a [`SessionError`](crate::SessionError) that an extractor or a handler answered with.
    ///
    /// It gets the request's head, as it reached the layer and without its extensions, so that it can answer a page, JSON
    /// or a redirect. The layer copies the head of each request for it.
    ///
    /// ```
    /// # use axum::Json;
    /// # use axum::http::{StatusCode, header, request::Parts};
    /// # use axum::response::{IntoResponse, Redirect};
    /// # use secure_sessions_axum::{EngineError, SessionLayer};
    /// let layer = SessionLayer::dev().on_error(|error: &EngineError, head: &Parts| {
    ///     let status = StatusCode::from_u16(error.status()).unwrap_or_default();
    ///     let wants_json = head.headers.get(header::ACCEPT).is_some_and(|accept| accept == "application/json");
    ///     match error {
    ///         _ if wants_json => (status, Json(error.client_text())).into_response(),
    ///         EngineError::AuthenticationTooOld { .. } => Redirect::to("/confirm-password").into_response(),
    ///         _ => (status, error.client_text()).into_response(),
    ///     }
    /// });
    /// ```
    #[must_use]
    pub fn on_error<F>(self, respond: F) -> SessionLayer<F> {
        SessionLayer { manager: self.manager, errors: respond }
    }
}

/// Creates the response that replaces one whose session could not be committed.
pub trait ErrorResponse<B> {
    /// `true` if the response depends on the request's head. The layer then copies the head of each request; otherwise the
    /// methods get an empty one.
    const NEEDS_HEAD: bool = true;

    /// Returns the response to a request with this head. The layer adds the headers that the session's end needs.
    fn respond(&self, error: &EngineError, head: &Parts) -> Response<B>;

    /// Returns the response that replaces an error of an extractor or a handler; `None` leaves that error's own
    /// response.
    fn respond_to_handler(&self, error: &EngineError, head: &Parts) -> Option<Response<B>> {
        Some(self.respond(error, head))
    }
}

/// The error that a response was created from, as an extension of it.
#[derive(Clone)]
pub(crate) struct Rejected(pub(crate) Arc<EngineError>);

impl SessionError {
    /// Creates the response of a middleware that cannot go on after this error: the error's status and an empty body.
    /// The application's own response of [`SessionLayer::on_error`] replaces it.
    ///
    /// A handler of Axum's returns the error itself.
    #[must_use]
    pub fn into_empty_response<B: Default>(self) -> Response<B> {
        let mut response = empty(self.kind());
        response.extensions_mut().insert(Rejected(Arc::new(self.into_kind())));
        response
    }
}

fn empty<B: Default>(error: &EngineError) -> Response<B> {
    let mut response = Response::new(B::default());
    *response.status_mut() = StatusCode::from_u16(error.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response
}

/// The default response: the error's status and an empty body.
#[derive(Debug, Clone, Copy, Default)]
pub struct DefaultErrorResponse;

impl<B: Default> ErrorResponse<B> for DefaultErrorResponse {
    const NEEDS_HEAD: bool = false;

    fn respond(&self, error: &EngineError, _: &Parts) -> Response<B> {
        empty(error)
    }

    /// Returns `None`, since the error's own response has a text.
    fn respond_to_handler(&self, _: &EngineError, _: &Parts) -> Option<Response<B>> {
        None
    }
}

impl<B, F: Fn(&EngineError, &Parts) -> Response<B>> ErrorResponse<B> for F {
    fn respond(&self, error: &EngineError, head: &Parts) -> Response<B> {
        self(error, head)
    }
}

impl<S, E: Clone> Layer<S> for SessionLayer<E> {
    type Service = SessionService<S, E>;

    fn layer(&self, inner: S) -> Self::Service {
        SessionService { inner, manager: self.manager.clone(), errors: self.errors.clone() }
    }
}

/// The service that [`SessionLayer`] creates.
#[derive(Debug, Clone)]
pub struct SessionService<S, E = DefaultErrorResponse> {
    inner: S,
    manager: SessionManager,
    errors: E,
}

impl<S, E, A, B> Service<Request<A>> for SessionService<S, E>
where
    S: Service<Request<A>, Response = Response<B>>,
    E: ErrorResponse<B> + Clone,
    A: Body,
{
    type Response = Response<B>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, E, S::Response, S::Error>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<A>) -> Self::Future {
        let outer = request.extensions().get::<RequestSession>();
        // A nested layer of the same manager leaves the session to the outer one.
        let session = if outer.is_some_and(|outer| outer.belongs_to(&self.manager)) {
            None
        } else {
            let session = self.manager.begin();
            if let Some(unknown) = UnknownLength::of(request.body()) {
                request.extensions_mut().insert(unknown);
            }
            request.extensions_mut().insert(session.clone());
            Some(session)
        };
        let head = (E::NEEDS_HEAD && session.is_some()).then(|| Box::new(copied(&request)));
        ResponseFuture { inner: self.inner.call(request), session, errors: self.errors.clone(), head, finishing: None }
    }
}

pin_project! {
    /// The future of [`SessionService`].
    pub struct ResponseFuture<F, E, R, X> {
        #[pin]
        inner: F,
        // `None` for a layer inside another one of the same manager.
        session: Option<RequestSession>,
        errors: E,
        // The request's head, if the error response needs it.
        head: Option<Box<Parts>>,
        // Boxed to keep the future small: few requests commit, but every request's future is moved.
        finishing: Option<Box<(Finish, Result<R, X>)>>,
    }
}

impl<F, E, B, X> Future for ResponseFuture<F, E, Response<B>, X>
where
    F: Future<Output = Result<Response<B>, X>>,
    E: ErrorResponse<B>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        if this.finishing.is_none() {
            let mut result = ready!(this.inner.poll(context));
            let Some(session) = this.session.take() else { return Poll::Ready(result) };
            // A service that fails without a response counts as one that answers 500.
            let status = result.as_ref().map_or(500, |response| response.status().as_u16());
            match session.finish(status).try_now() {
                Ok(reply) => {
                    apply(reply, &mut result, this.errors, this.head.take());
                    return Poll::Ready(result);
                }
                Err(finish) => *this.finishing = Some(Box::new((finish, result))),
            }
        }
        // Polled again after it was ready.
        let Some(finishing) = this.finishing else { return Poll::Pending };
        let reply = ready!(Pin::new(&mut finishing.0).poll(context));
        match this.finishing.take().map(|finishing| *finishing) {
            Some((_, mut result)) => {
                apply(reply, &mut result, this.errors, this.head.take());
                Poll::Ready(result)
            }
            None => Poll::Pending,
        }
    }
}

/// Copies a request's head, without its extensions.
fn copied<A>(request: &Request<A>) -> Parts {
    let (mut head, ()) = Request::new(()).into_parts();
    head.method = request.method().clone();
    head.uri = request.uri().clone();
    head.version = request.version();
    head.headers = request.headers().clone();
    head
}

fn apply<B, X>(
    reply: Option<Reply>,
    result: &mut Result<Response<B>, X>,
    errors: &impl ErrorResponse<B>,
    head: Option<Box<Parts>>,
) {
    let Ok(response) = result else { return };
    let head = || head.as_deref().map_or_else(|| Cow::Owned(Request::new(()).into_parts().0), Cow::Borrowed);
    // Replaced first, so that the session's headers go onto the response that leaves.
    if let Some(Rejected(error)) = response.extensions_mut().remove()
        && let Some(own) = errors.respond_to_handler(&error, &head())
    {
        *response = own;
    }
    if let Some(reply) = reply {
        if let Some(error) = reply.failure() {
            *response = errors.respond(error, &head());
        }
        reply.apply(&mut Answer(response.headers_mut()));
    }
}
