//! A browser's part: a jar for one cookie, and requests through a router.

#![allow(dead_code, reason = "each test program uses some of it")]

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode, header};
use tower::ServiceExt;

/// A browser with one cookie.
#[derive(Clone)]
pub(crate) struct Browser {
    app: Router,
    /// `name=value`, or an empty text.
    pub(crate) cookie: String,
}

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    /// The target of a redirect.
    pub(crate) fn location(&self) -> &str {
        self.headers[header::LOCATION].to_str().unwrap()
    }

    pub(crate) fn sets_cookie(&self) -> bool {
        self.headers.contains_key(header::SET_COOKIE)
    }
}

impl Browser {
    pub(crate) fn new(app: &Router) -> Self {
        Self { app: app.clone(), cookie: String::new() }
    }

    pub(crate) fn with(app: &Router, cookie: &str) -> Self {
        Self { app: app.clone(), cookie: cookie.to_owned() }
    }

    /// Sends a request, and takes the cookie of its answer.
    pub(crate) async fn get(&mut self, path: &str) -> Answer {
        let answer = self.send(path).await;
        self.take(&answer);
        answer
    }

    /// Sends a request with the cookie as it is, and leaves the answer's.
    pub(crate) async fn send(&self, path: &str) -> Answer {
        let mut request = Request::get(path);
        if !self.cookie.is_empty() {
            request = request.header(header::COOKIE, &self.cookie);
        }
        let response = self.app.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        let (head, body) = response.into_parts();
        let text = String::from_utf8(to_bytes(body, 1 << 20).await.unwrap().to_vec()).unwrap();
        Answer { status: head.status, headers: head.headers, text }
    }

    /// Takes the cookie of an answer, as a browser does.
    pub(crate) fn take(&mut self, answer: &Answer) {
        for header in answer.headers.get_all(header::SET_COOKIE) {
            let header = header.to_str().unwrap();
            let pair = header.split(';').next().unwrap();
            self.cookie = if header.contains("Max-Age=0") { String::new() } else { pair.to_owned() };
        }
    }
}
