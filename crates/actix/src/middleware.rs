//! The middleware: begins each request's session and finishes it before the response's head leaves.

use std::fmt;
use std::future::{Future, Ready, ready};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use actix_web::body::EitherBody;
use actix_web::dev::{Service, ServiceRequest, ServiceResponse, Transform, forward_ready};
use actix_web::error::InternalError;
use actix_web::{Error, HttpMessage, HttpResponse};
use pin_project_lite::pin_project;
use secure_sessions::{Finish, Reply, RequestSession, SessionManager};

use crate::extract::{SessionExt, response};
use crate::headers::Answer;
use crate::{Session, SessionError};

type OnError = Arc<dyn Fn(&secure_sessions::SessionError) -> HttpResponse + Send + Sync>;

/// The middleware that carries sessions. It wraps an app, a scope or a resource.
///
/// Wrap it last: the middleware that is added last is the outermost, and only the services inside it see the session. A
/// nested middleware of the same manager shares the outer one's session.
///
/// A response commits what its request changed if its status is below 500, and neither 408 nor 499: see
/// [`RequestSession::finish`]. So if a timeout inside this middleware answers 408, the changes of the interrupted
/// handler are discarded.
#[derive(Clone)]
pub struct SessionMiddleware {
    manager: SessionManager,
    on_error: Option<OnError>,
    eager: bool,
}

impl SessionMiddleware {
    /// Creates a middleware that carries the manager's sessions.
    #[must_use]
    pub fn new(manager: SessionManager) -> Self {
        Self { manager, on_error: None, eager: false }
    }

    /// Loads the session of every request before it is routed, so that guards see it, as if every handler extracted
    /// `Session`. If the store fails, every route then answers 503.
    #[must_use]
    pub fn eager(self) -> Self {
        Self { eager: true, ..self }
    }

    /// Sets the application's own response to session errors. It replaces a response whose session could not be
    /// committed, and every [`SessionError`] that an extractor or a handler answers with.
    ///
    /// Use it to send users who must log in, or authenticate again, to the page that asks them. The default response
    /// has the error's status and [text](secure_sessions::SessionError::client_text).
    ///
    /// ```
    /// # use actix_web::{HttpResponse, http::StatusCode};
    /// # use secure_sessions_actix::{Keyring, MemoryStore, SessionManager, SessionMiddleware};
    /// # let manager = SessionManager::builder(Keyring::generate().unwrap(), MemoryStore::new()).build().unwrap();
    /// let middleware = SessionMiddleware::new(manager).on_error(|error| {
    ///     let status = StatusCode::from_u16(error.status()).unwrap_or_default();
    ///     HttpResponse::build(status).body(error.client_text())
    /// });
    /// ```
    #[must_use]
    pub fn on_error<F>(self, respond: F) -> Self
    where
        F: Fn(&secure_sessions::SessionError) -> HttpResponse + Send + Sync + 'static,
    {
        Self { on_error: Some(Arc::new(respond)), ..self }
    }
}

impl fmt::Debug for SessionMiddleware {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionMiddleware").field("eager", &self.eager).finish_non_exhaustive()
    }
}

impl<S, B> Transform<S, ServiceRequest> for SessionMiddleware
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error>,
{
    type Response = ServiceResponse<EitherBody<B>>;
    type Error = Error;
    type Transform = SessionService<S>;
    type InitError = ();
    type Future = Ready<Result<SessionService<S>, ()>>;

    fn new_transform(&self, service: S) -> Self::Future {
        ready(Ok(SessionService { service: Rc::new(service), middleware: self.clone() }))
    }
}

/// The service that [`SessionMiddleware`] creates.
#[derive(Debug)]
pub struct SessionService<S> {
    service: Rc<S>,
    middleware: SessionMiddleware,
}

impl<S, B> Service<ServiceRequest> for SessionService<S>
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error>,
{
    type Response = ServiceResponse<EitherBody<B>>;
    type Error = Error;
    type Future = ResponseFuture<S, B>;

    forward_ready!(service);

    fn call(&self, request: ServiceRequest) -> Self::Future {
        let SessionMiddleware { manager, on_error, eager } = &self.middleware;
        let nested = request.extensions().get::<RequestSession>().is_some_and(|outer| outer.belongs_to(manager));
        // A nested middleware of the same manager leaves the session to the outer one.
        let (session, outer) = if nested {
            (None, None)
        } else {
            let session = manager.begin();
            let outer = request.extensions_mut().insert(session.clone());
            (Some(session), outer)
        };
        let step = if *eager {
            let loading = Box::pin(request.session());
            Step::Loading { loading, request: Some(request), service: Rc::clone(&self.service) }
        } else {
            Step::Inner { future: self.service.call(request) }
        };
        ResponseFuture { step, session, outer, on_error: on_error.clone() }
    }
}

pin_project! {
    /// The future of [`SessionService`].
    pub struct ResponseFuture<S, B>
    where
        S: Service<ServiceRequest>,
    {
        #[pin]
        step: Step<S, B>,
        // `None` for a middleware inside another one of the same manager.
        session: Option<RequestSession>,
        // The session of another manager, whose middleware is further out.
        outer: Option<RequestSession>,
        on_error: Option<OnError>,
    }
}

type Loading = Pin<Box<dyn Future<Output = Result<Session, SessionError>>>>;
type Outcome<B> = Result<ServiceResponse<EitherBody<B>>, Error>;

pin_project! {
    #[project = StepProjection]
    enum Step<S, B>
    where
        S: Service<ServiceRequest>,
    {
        Loading { loading: Loading, request: Option<ServiceRequest>, service: Rc<S> },
        Inner { #[pin] future: S::Future },
        Finishing { finish: Finish, outcome: Option<Outcome<B>> },
    }
}

impl<S, B> Future for ResponseFuture<S, B>
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error>,
{
    type Output = Outcome<B>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Outcome<B>> {
        let mut this = self.project();
        loop {
            let outcome = match this.step.as_mut().project() {
                StepProjection::Loading { loading, request, service } => {
                    let loaded = ready!(loading.as_mut().poll(context));
                    let Some(request) = request.take() else { return Poll::Pending };
                    match loaded {
                        Ok(_) => {
                            let future = service.call(request);
                            this.step.set(Step::Inner { future });
                            continue;
                        }
                        Err(error) => Ok(request.error_response(error).map_into_right_body()),
                    }
                }
                StepProjection::Inner { future } => {
                    ready!(future.poll(context)).map(ServiceResponse::map_into_left_body)
                }
                StepProjection::Finishing { finish, outcome } => {
                    let reply = ready!(Pin::new(finish).poll(context));
                    let Some(outcome) = outcome.take() else { return Poll::Pending };
                    return Poll::Ready(applied(reply, outcome, this.on_error.as_ref()));
                }
            };
            // Unlike a tower request, this one goes back through the outer middleware, with its extensions.
            if let (Ok(response), Some(outer)) = (&outcome, this.outer.take()) {
                response.request().extensions_mut().insert(outer);
            }
            let Some(session) = this.session.take() else { return Poll::Ready(outcome) };
            let status = match &outcome {
                Ok(response) => response.status(),
                Err(error) => error.as_response_error().status_code(),
            };
            match session.finish(status.as_u16()).try_now() {
                Ok(reply) => return Poll::Ready(applied(reply, outcome, this.on_error.as_ref())),
                Err(finish) => this.step.set(Step::Finishing { finish, outcome: Some(outcome) }),
            }
        }
    }
}

/// Replaces the outcome of a handler or an extractor that failed with a session error, if the application has its own
/// response to it.
fn replaced<B>(outcome: Outcome<B>, on_error: Option<&OnError>) -> Outcome<B> {
    let Some(respond) = on_error else { return outcome };
    let error = match &outcome {
        Ok(response) => response.response().error(),
        Err(error) => Some(error),
    };
    let Some(own) = error
        .and_then(|error| error.as_error::<SessionError>())
        .filter(|error| error.location().is_none())
        .map(|error| respond(error.kind()))
    else {
        return outcome;
    };
    match outcome {
        Ok(response) => Ok(response.into_response(own).map_into_right_body()),
        // An error stays an error for the middleware further out.
        Err(error) => Err(InternalError::from_response(error.to_string(), own).into()),
    }
}

fn applied<B>(reply: Option<Reply>, outcome: Outcome<B>, on_error: Option<&OnError>) -> Outcome<B> {
    let outcome = replaced(outcome, on_error);
    let Some(reply) = reply else { return outcome };
    let Some(error) = reply.failure() else {
        return match outcome {
            Ok(mut response) => {
                reply.apply(&mut Answer(response.headers_mut()));
                Ok(response)
            }
            // The error becomes a response further out, so the headers are added there.
            Err(mut error) => {
                error.add_response_mapper(move |mut response| {
                    reply.apply(&mut Answer(response.headers_mut()));
                    response
                });
                Err(error)
            }
        };
    };
    tracing::error!(target: "secure_sessions", %error, "the response was replaced: its session was not committed");
    let mut replacement = on_error.map_or_else(|| response(error), |respond| respond(error));
    reply.apply(&mut Answer(replacement.headers_mut()));
    match outcome {
        Ok(response) => Ok(response.into_response(replacement).map_into_right_body()),
        Err(_) => Err(InternalError::from_response(error.to_string(), replacement).into()),
    }
}
