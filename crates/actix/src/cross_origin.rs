//! The middleware that refuses requests that another site caused.

use std::fmt;
use std::future::{Future, Ready, ready};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use actix_web::body::EitherBody;
use actix_web::dev::{Service, ServiceRequest, ServiceResponse, Transform, forward_ready};
use actix_web::http::StatusCode;
use actix_web::http::header::ContentType;
use actix_web::http::uri::Authority;
use actix_web::{Error, HttpResponse};
use pin_project_lite::pin_project;
use secure_sessions::{CrossOrigin, CrossOriginRefused};

use crate::headers::Head;

type OnRefusal = Arc<dyn Fn(&CrossOriginRefused) -> HttpResponse + Send + Sync>;

/// Refuses requests that another site caused: see [`CrossOrigin`]. It needs no session, and its order with the
/// [`SessionMiddleware`](crate::SessionMiddleware) does not matter; the middleware that is added last runs first.
///
/// ```
/// use actix_web::{App, web};
/// use secure_sessions_actix::{CrossOrigin, CrossOriginMiddleware};
///
/// let check = CrossOrigin::builder().exempt_path("/webhooks/*").build()?;
/// let app = App::new().route("/pay", web::post().to(async || "paid")).wrap(CrossOriginMiddleware::new(check));
/// # Ok::<_, secure_sessions_actix::CrossOriginError>(())
/// ```
#[derive(Clone)]
pub struct CrossOriginMiddleware {
    check: CrossOrigin,
    on_refusal: OnRefusal,
}

impl CrossOriginMiddleware {
    /// Creates a middleware that asks this check about every request.
    #[must_use]
    pub fn new(check: CrossOrigin) -> Self {
        Self { check, on_refusal: Arc::new(default_response) }
    }

    /// Sets the application's own response to refused requests. The default has the refusal's status and text.
    ///
    /// ```
    /// # use actix_web::HttpResponse;
    /// # use secure_sessions_actix::{CrossOrigin, CrossOriginMiddleware};
    /// let middleware = CrossOriginMiddleware::new(CrossOrigin::default())
    ///     .on_refusal(|refused| HttpResponse::Forbidden().body(refused.client_text()));
    /// ```
    #[must_use]
    pub fn on_refusal<F>(self, respond: F) -> Self
    where
        F: Fn(&CrossOriginRefused) -> HttpResponse + Send + Sync + 'static,
    {
        Self { on_refusal: Arc::new(respond), ..self }
    }
}

fn default_response(refused: &CrossOriginRefused) -> HttpResponse {
    let status = StatusCode::from_u16(refused.status()).unwrap_or(StatusCode::FORBIDDEN);
    HttpResponse::build(status).content_type(ContentType::plaintext()).body(refused.client_text())
}

impl fmt::Debug for CrossOriginMiddleware {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CrossOriginMiddleware").field("check", &self.check).finish_non_exhaustive()
    }
}

impl<S, B> Transform<S, ServiceRequest> for CrossOriginMiddleware
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error>,
{
    type Response = ServiceResponse<EitherBody<B>>;
    type Error = Error;
    type Transform = CrossOriginService<S>;
    type InitError = ();
    type Future = Ready<Result<CrossOriginService<S>, ()>>;

    fn new_transform(&self, service: S) -> Self::Future {
        ready(Ok(CrossOriginService { service, middleware: self.clone() }))
    }
}

/// The service that [`CrossOriginMiddleware`] creates.
#[derive(Debug)]
pub struct CrossOriginService<S> {
    service: S,
    middleware: CrossOriginMiddleware,
}

impl<S, B> Service<ServiceRequest> for CrossOriginService<S>
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error>,
{
    type Response = ServiceResponse<EitherBody<B>>;
    type Error = Error;
    type Future = CrossOriginFuture<S::Future, B>;

    forward_ready!(service);

    fn call(&self, request: ServiceRequest) -> Self::Future {
        let CrossOriginMiddleware { check, on_refusal } = &self.middleware;
        // Not `connection_info`, which trusts `Forwarded`: an attacker can send that header.
        let authority = request.uri().authority().map(Authority::as_str);
        match check.check(&Head(request.head()), request.path(), authority) {
            Ok(()) => CrossOriginFuture::Inner { future: self.service.call(request) },
            Err(refused) => {
                let response = request.into_response(on_refusal(&refused)).map_into_right_body();
                CrossOriginFuture::Refused { response: Some(response) }
            }
        }
    }
}

pin_project! {
    /// The future of [`CrossOriginService`].
    #[project = Projection]
    #[allow(missing_docs, reason = "its parts are nobody's business")]
    pub enum CrossOriginFuture<F, B> {
        Inner { #[pin] future: F },
        Refused { response: Option<ServiceResponse<EitherBody<B>>> },
    }
}

impl<F, B> Future for CrossOriginFuture<F, B>
where
    F: Future<Output = Result<ServiceResponse<B>, Error>>,
{
    type Output = Result<ServiceResponse<EitherBody<B>>, Error>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            Projection::Inner { future } => {
                future.poll(context).map(|result| result.map(ServiceResponse::map_into_left_body))
            }
            Projection::Refused { response } => {
                response.take().map_or(Poll::Pending, |response| Poll::Ready(Ok(response)))
            }
        }
    }
}
