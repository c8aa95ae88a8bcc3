//! The applications of two frameworks behind one call. Each is called as its server would call it, without a socket.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;

use actix_web::App;
use actix_web::body::MessageBody;
use actix_web::dev::{Service as ActixService, ServiceFactory, ServiceRequest, ServiceResponse};
use axum::Router;
use axum::body::Body;
use http::header::{COOKIE, SET_COOKIE};
use http::{HeaderValue, Request, Uri};
use tower::Service as _;

/// The answer of an application.
#[derive(Debug)]
pub struct Answer {
    /// The status's number.
    pub status: u16,
    /// The values of `Set-Cookie`.
    pub cookies: Vec<String>,
}

/// An application: what it answers at this path to a request with these cookies.
pub type Call = Rc<dyn Fn(&'static str, &str) -> Pin<Box<dyn Future<Output = Answer>>>>;

/// An application on Axum.
#[must_use]
pub fn axum(router: Router) -> Call {
    // As `axum::serve` does: handlers and layers are put together once, not with every request.
    let router: Router = router.with_state(());
    Rc::new(move |path, cookies| {
        let mut router = router.clone();
        let mut request = Request::new(Body::empty());
        *request.uri_mut() = Uri::from_static(path);
        if let Some(cookies) = header(cookies) {
            request.headers_mut().insert(COOKIE, cookies);
        }
        Box::pin(async move {
            let Ok(response) = router.call(request).await;
            let cookies = response.headers().get_all(SET_COOKIE).iter();
            let cookies = cookies.filter_map(|value| value.to_str().ok().map(str::to_owned)).collect();
            Answer { status: response.status().as_u16(), cookies }
        })
    })
}

fn header(cookies: &str) -> Option<HeaderValue> {
    HeaderValue::from_str(cookies).ok().filter(|cookies| !cookies.is_empty())
}

/// An application on Actix Web: the service that a worker of the server would call.
pub async fn actix<T, B>(app: App<T>) -> Call
where
    T: ServiceFactory<
            ServiceRequest,
            Config = (),
            Response = ServiceResponse<B>,
            Error = actix_web::Error,
            InitError = (),
        > + 'static,
    B: MessageBody + 'static,
{
    let service = Rc::new(actix_web::test::init_service(app).await);
    Rc::new(move |path, cookies| {
        let mut request = actix_web::test::TestRequest::with_uri(path);
        if !cookies.is_empty() {
            request = request.insert_header((actix_web::http::header::COOKIE, cookies));
        }
        let answered = service.call(request.to_request());
        Box::pin(async move {
            match answered.await {
                Ok(response) => actix_answer(response.response()),
                Err(error) => actix_answer(&error.error_response()),
            }
        })
    })
}

fn actix_answer(response: &actix_web::HttpResponse<impl Sized>) -> Answer {
    let cookies = response.headers().get_all(actix_web::http::header::SET_COOKIE);
    let cookies = cookies.filter_map(|value| value.to_str().ok().map(str::to_owned)).collect();
    Answer { status: response.status().as_u16(), cookies }
}
