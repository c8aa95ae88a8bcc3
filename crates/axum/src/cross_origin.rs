//! The tower layer that refuses requests that another site caused.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::{Request, Response, StatusCode};
use pin_project_lite::pin_project;
use secure_sessions::{CrossOrigin, CrossOriginRefused};
use tower_layer::Layer;
use tower_service::Service;

use crate::headers::Head;

/// Refuses requests that another site caused: see [`CrossOrigin`]. It needs no session, and its order with the
/// [`SessionLayer`](crate::SessionLayer) does not matter; the layer that is added last runs first.
///
/// ```
/// use axum::{Router, routing::post};
/// use secure_sessions_axum::{CrossOrigin, CrossOriginLayer};
///
/// let check = CrossOrigin::builder().exempt_path("/webhooks/*").build()?;
/// let app: Router = Router::new().route("/pay", post(async || "paid")).layer(CrossOriginLayer::new(check));
/// # Ok::<_, secure_sessions_axum::CrossOriginError>(())
/// ```
#[derive(Debug, Clone)]
pub struct CrossOriginLayer<E = DefaultRefusal> {
    check: CrossOrigin,
    refusal: E,
}

impl CrossOriginLayer {
    /// Creates a layer that asks this check about every request.
    #[must_use]
    pub fn new(check: CrossOrigin) -> Self {
        Self { check, refusal: DefaultRefusal }
    }
}

impl<E> CrossOriginLayer<E> {
    /// Sets the application's own response to refused requests.
    ///
    /// ```
    /// # use axum::{http::StatusCode, response::{IntoResponse, Response}};
    /// # use secure_sessions_axum::{CrossOrigin, CrossOriginLayer, CrossOriginRefused};
    /// let layer = CrossOriginLayer::new(CrossOrigin::default())
    ///     .on_refusal(|refused: &CrossOriginRefused| (StatusCode::FORBIDDEN, refused.client_text()).into_response());
    /// ```
    #[must_use]
    pub fn on_refusal<F>(self, respond: F) -> CrossOriginLayer<F> {
        CrossOriginLayer { check: self.check, refusal: respond }
    }
}

/// Creates the response to a refused request.
pub trait RefusalResponse<B> {
    /// Returns the response.
    fn respond(&self, refused: &CrossOriginRefused) -> Response<B>;
}

/// The default response: status 403 and an empty body.
#[derive(Debug, Clone, Copy, Default)]
pub struct DefaultRefusal;

impl<B: Default> RefusalResponse<B> for DefaultRefusal {
    fn respond(&self, refused: &CrossOriginRefused) -> Response<B> {
        let mut response = Response::new(B::default());
        *response.status_mut() = StatusCode::from_u16(refused.status()).unwrap_or(StatusCode::FORBIDDEN);
        response
    }
}

impl<B, F: Fn(&CrossOriginRefused) -> Response<B>> RefusalResponse<B> for F {
    fn respond(&self, refused: &CrossOriginRefused) -> Response<B> {
        self(refused)
    }
}

impl<S, E: Clone> Layer<S> for CrossOriginLayer<E> {
    type Service = CrossOriginService<S, E>;

    fn layer(&self, inner: S) -> Self::Service {
        CrossOriginService { inner, layer: self.clone() }
    }
}

/// The service that [`CrossOriginLayer`] creates.
#[derive(Debug, Clone)]
pub struct CrossOriginService<S, E = DefaultRefusal> {
    inner: S,
    layer: CrossOriginLayer<E>,
}

impl<S, E, A, B> Service<Request<A>> for CrossOriginService<S, E>
where
    S: Service<Request<A>, Response = Response<B>>,
    E: RefusalResponse<B>,
{
    type Response = Response<B>;
    type Error = S::Error;
    type Future = CrossOriginFuture<S::Future, Response<B>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<A>) -> Self::Future {
        let uri = request.uri();
        let head = Head {
            method: request.method(),
            uri: request.uri(),
            headers: request.headers(),
            extensions: request.extensions(),
        };
        match self.layer.check.check(&head, uri.path(), uri.authority().map(http::uri::Authority::as_str)) {
            Ok(()) => CrossOriginFuture::Inner { future: self.inner.call(request) },
            Err(refused) => CrossOriginFuture::Refused { response: Some(self.layer.refusal.respond(&refused)) },
        }
    }
}

pin_project! {
    /// The future of [`CrossOriginService`].
    #[project = Projection]
    #[allow(missing_docs, reason = "its parts are nobody's business")]
    pub enum CrossOriginFuture<F, R> {
        Inner { #[pin] future: F },
        Refused { response: Option<R> },
    }
}

impl<F: Future<Output = Result<R, X>>, R, X> Future for CrossOriginFuture<F, R> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        match self.project() {
            Projection::Inner { future } => future.poll(context),
            Projection::Refused { response } => {
                response.take().map_or(Poll::Pending, |response| Poll::Ready(Ok(response)))
            }
        }
    }
}
