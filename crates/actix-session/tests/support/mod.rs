//! A browser's part: a jar for one cookie, and requests through an application.

use actix_web::body::MessageBody;
use actix_web::dev::{Service, ServiceResponse};
use actix_web::http::header::{HeaderMap, LOCATION, SET_COOKIE};
use actix_web::http::{StatusCode, header};
use actix_web::test::{TestRequest, call_service, read_body};

/// A browser with one cookie.
#[derive(Clone, Default)]
pub(crate) struct Browser {
    /// `name=value`, or an empty text.
    pub(crate) cookie: String,
}

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

#[allow(dead_code, reason = "each test program uses some of it")]
impl Answer {
    /// The target of a redirect.
    pub(crate) fn location(&self) -> &str {
        self.headers.get(LOCATION).unwrap().to_str().unwrap()
    }

    pub(crate) fn sets_cookie(&self) -> bool {
        self.headers.contains_key(SET_COOKIE)
    }
}

impl Browser {
    /// Sends a request, and takes the cookie of its answer.
    pub(crate) async fn get<S, B>(&mut self, app: &S, path: &str) -> Answer
    where
        S: Service<actix_http::Request, Response = ServiceResponse<B>, Error = actix_web::Error>,
        B: MessageBody,
    {
        let answer = self.send(app, path).await;
        self.take(&answer);
        answer
    }

    /// Sends a request with the cookie as it is, and leaves the answer's.
    pub(crate) async fn send<S, B>(&self, app: &S, path: &str) -> Answer
    where
        S: Service<actix_http::Request, Response = ServiceResponse<B>, Error = actix_web::Error>,
        B: MessageBody,
    {
        let mut request = TestRequest::with_uri(path);
        if !self.cookie.is_empty() {
            request = request.insert_header((header::COOKIE, self.cookie.as_str()));
        }
        let response = call_service(app, request.to_request()).await;
        let (status, headers) = (response.status(), response.headers().clone());
        let text = String::from_utf8(read_body(response).await.to_vec()).unwrap();
        Answer { status, headers, text }
    }

    /// Takes the cookie of an answer, as a browser does.
    pub(crate) fn take(&mut self, answer: &Answer) {
        for header in answer.headers.get_all(SET_COOKIE) {
            let header = header.to_str().unwrap();
            let pair = header.split(';').next().unwrap();
            self.cookie = if header.contains("Max-Age=0") { String::new() } else { pair.to_owned() };
        }
    }
}
