//! The tower layer that answers browsers which bind sessions to devices.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::{Request, Response, StatusCode};
use pin_project_lite::pin_project;
use secure_sessions::{DeviceAnswer, DeviceAnswering, SessionManager};
use tower_layer::Layer;
use tower_service::Service;

use crate::headers::{Answer, Head};

/// Answers the requests by which a browser registers a device and renews its ticket: see
/// [`DeviceBound`](crate::DeviceBound). All other requests go on.
///
/// Add it last, so that it is the outermost: a check of the origin, or a limit of requests, would refuse what browsers
/// send here. It wraps any service whose responses' body can be made of a `String`.
///
/// ```
/// use axum::{Router, routing::get};
/// use secure_sessions_axum::{DeviceLayer, Keyring, MemoryStore, SessionLayer, SessionManager};
///
/// let builder = SessionManager::builder(Keyring::generate()?, MemoryStore::new());
/// # #[cfg(feature = "device")]
/// let builder = builder.device_bound(secure_sessions_axum::DeviceBound::new());
/// let manager = builder.build()?;
/// let app: Router = Router::new()
///     .route("/", get(async || "hello"))
///     .layer(SessionLayer::new(manager.clone()))
///     .layer(DeviceLayer::new(manager));
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct DeviceLayer {
    manager: SessionManager,
}

impl DeviceLayer {
    /// Creates a layer that answers for the manager's sessions.
    #[must_use]
    pub fn new(manager: SessionManager) -> Self {
        Self { manager }
    }
}

impl<S> Layer<S> for DeviceLayer {
    type Service = DeviceService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        DeviceService { inner, manager: self.manager.clone() }
    }
}

/// The service that [`DeviceLayer`] creates.
#[derive(Debug, Clone)]
pub struct DeviceService<S> {
    inner: S,
    manager: SessionManager,
}

impl<S, A, B> Service<Request<A>> for DeviceService<S>
where
    S: Service<Request<A>, Response = Response<B>>,
    B: From<String>,
{
    type Response = Response<B>;
    type Error = S::Error;
    type Future = DeviceFuture<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<A>) -> Self::Future {
        let head = Head {
            method: request.method(),
            uri: request.uri(),
            headers: request.headers(),
            extensions: request.extensions(),
        };
        match self.manager.device_endpoint(&head, request.uri().path()) {
            Some(answering) => DeviceFuture::Answering { answering },
            None => DeviceFuture::Inner { future: self.inner.call(request) },
        }
    }
}

pin_project! {
    /// The future of [`DeviceService`].
    #[project = Projection]
    #[allow(missing_docs, reason = "its parts are nobody's business")]
    pub enum DeviceFuture<F> {
        Inner { #[pin] future: F },
        Answering { #[pin] answering: DeviceAnswering },
    }
}

impl<F, B, X> Future for DeviceFuture<F>
where
    F: Future<Output = Result<Response<B>, X>>,
    B: From<String>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        match self.project() {
            Projection::Inner { future } => future.poll(context),
            Projection::Answering { answering } => Poll::Ready(Ok(response(ready!(answering.poll(context))))),
        }
    }
}

fn response<B: From<String>>(answer: DeviceAnswer) -> Response<B> {
    let mut response = Response::new(B::from(String::new()));
    *response.status_mut() = StatusCode::from_u16(answer.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    answer.apply(&mut Answer(response.headers_mut()));
    *response.body_mut() = B::from(answer.into_body());
    response
}
