//! The middleware: begins each request's session and finishes it before the response's head leaves.

use std::fmt;
use std::future::{Future, Ready, ready};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use actix_web::body::{BoxBody, EitherBody};
use actix_web::dev::{RequestHead, Service, ServiceRequest, ServiceResponse, Transform, forward_ready};
use actix_web::error::InternalError;
use actix_web::http::StatusCode;
use actix_web::{Error, HttpMessage, HttpResponse};
use pin_project_lite::pin_project;
use secure_sessions::{DeviceAnswer, DeviceAnswering, Finish, Reply, RequestSession, SessionManager};

use crate::extract::{SessionExt, response};
use crate::headers::{Answer, Head};
use crate::{EngineError, Session, SessionError};

type OnError = Arc<dyn Fn(&EngineError, &RequestHead) -> HttpResponse + Send + Sync>;

/// The middleware that carries sessions. It wraps an app, a scope or a resource.
///
/// If sessions are [bound to devices](crate::DeviceBound), the middleware also answers the browser's own requests. It
/// must then be outside of a check of the origin or a limit of requests, and wrap the whole app.
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

    /// Creates a middleware for development: sessions in memory, generated keys, a cookie for plain http. See
    /// [`SessionManager::dev`]. Call it once, outside of the closure that makes the app for each worker.
    ///
    /// ```
    /// # async fn run() -> std::io::Result<()> {
    /// use actix_web::{App, HttpServer};
    /// use secure_sessions_actix::SessionMiddleware;
    ///
    /// let sessions = SessionMiddleware::dev();
    /// HttpServer::new(move || App::new().wrap(sessions.clone())).bind(("127.0.0.1", 8080))?.run().await
    /// # }
    /// ```
    ///
    /// # Panics
    ///
    /// Panics if the system's source of randomness fails.
    #[must_use]
    pub fn dev() -> Self {
        Self::new(SessionManager::dev())
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
    /// It gets the request's head, so that it can answer a page, JSON or a redirect. The middleware copies the head of each
    /// request for it. The default response has the error's status and [text](EngineError::client_text).
    ///
    /// ```
    /// # use actix_web::HttpResponse;
    /// # use actix_web::http::{StatusCode, header};
    /// # use secure_sessions_actix::{EngineError, SessionMiddleware};
    /// let middleware = SessionMiddleware::dev().on_error(|error, head| {
    ///     let mut response = HttpResponse::build(StatusCode::from_u16(error.status()).unwrap_or_default());
    ///     let wants_json = head.headers().get(header::ACCEPT).is_some_and(|accept| accept == "application/json");
    ///     match error {
    ///         _ if wants_json => response.json(error.client_text()),
    ///         EngineError::AuthenticationTooOld { .. } => {
    ///             HttpResponse::SeeOther().insert_header((header::LOCATION, "/confirm-password")).finish()
    ///         }
    ///         _ => response.body(error.client_text()),
    ///     }
    /// });
    /// ```
    #[must_use]
    pub fn on_error<F>(self, respond: F) -> Self
    where
        F: Fn(&EngineError, &RequestHead) -> HttpResponse + Send + Sync + 'static,
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
        if let Some(answering) = manager.device_endpoint(&Head(request.head()), request.path()) {
            let step = Step::Answering { answering, request: Some(request) };
            return ResponseFuture { step, session: None, outer: None, errors: None };
        }
        let nested = request.extensions().get::<RequestSession>().is_some_and(|outer| outer.belongs_to(manager));
        // A nested middleware of the same manager leaves the session to the outer one.
        let (session, outer) = if nested {
            (None, None)
        } else {
            let session = manager.begin();
            let outer = request.extensions_mut().insert(session.clone());
            (Some(session), outer)
        };
        let copied = || Box::new(copied(request.head()));
        let errors = on_error.clone().filter(|_| !nested).map(|respond| Errors { respond, head: copied() });
        let step = if *eager {
            let loading = Box::pin(request.session());
            Step::Loading { loading, request: Some(request), service: Rc::clone(&self.service) }
        } else {
            Step::Inner { future: self.service.call(request) }
        };
        ResponseFuture { step, session, outer, errors }
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
        errors: Option<Errors>,
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
        // A browser's own request, which binds a session to its device.
        Answering { #[pin] answering: DeviceAnswering, request: Option<ServiceRequest> },
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
                StepProjection::Answering { answering, request } => {
                    let answer = ready!(answering.poll(context));
                    let Some(request) = request.take() else { return Poll::Pending };
                    Ok(request.into_response(device_response(answer)).map_into_right_body())
                }
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
                    return Poll::Ready(applied(reply, outcome, this.errors.as_ref()));
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
                Ok(reply) => return Poll::Ready(applied(reply, outcome, this.errors.as_ref())),
                Err(finish) => this.step.set(Step::Finishing { finish, outcome: Some(outcome) }),
            }
        }
    }
}

fn device_response(answer: DeviceAnswer) -> HttpResponse {
    let status = StatusCode::from_u16(answer.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = HttpResponse::new(status);
    answer.apply(&mut Answer(response.headers_mut()));
    response.set_body(BoxBody::new(answer.into_body()))
}

/// The application's own response to errors, and the head of the request that it answers. A head and not the request, which
/// must not be held while the service runs.
struct Errors {
    respond: OnError,
    head: Box<RequestHead>,
}

impl Errors {
    fn response(&self, error: &EngineError) -> HttpResponse {
        (self.respond)(error, &self.head)
    }
}

fn copied(head: &RequestHead) -> RequestHead {
    let mut copy = RequestHead::default();
    copy.method = head.method.clone();
    copy.uri = head.uri.clone();
    copy.version = head.version;
    copy.headers = head.headers.clone();
    copy.peer_addr = head.peer_addr;
    copy
}

/// Replaces the outcome of a handler or an extractor that failed with a session error, if the application has its own
/// response to it.
fn replaced<B>(outcome: Outcome<B>, errors: Option<&Errors>) -> Outcome<B> {
    let Some(errors) = errors else { return outcome };
    let error = match &outcome {
        Ok(response) => response.response().error(),
        Err(error) => Some(error),
    };
    let Some(own) = error
        .and_then(|error| error.as_error::<SessionError>())
        .filter(|error| error.location().is_none())
        .map(|error| errors.response(error.kind()))
    else {
        return outcome;
    };
    match outcome {
        Ok(response) => Ok(response.into_response(own).map_into_right_body()),
        // An error stays an error for the middleware further out.
        Err(error) => Err(InternalError::from_response(error.to_string(), own).into()),
    }
}

fn applied<B>(reply: Option<Reply>, outcome: Outcome<B>, errors: Option<&Errors>) -> Outcome<B> {
    let outcome = replaced(outcome, errors);
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
    let mut replacement = errors.map_or_else(|| response(error), |errors| errors.response(error));
    reply.apply(&mut Answer(replacement.headers_mut()));
    match outcome {
        Ok(response) => Ok(response.into_response(replacement).map_into_right_body()),
        Err(_) => Err(InternalError::from_response(error.to_string(), replacement).into()),
    }
}
