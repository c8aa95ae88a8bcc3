//! The applications of three frameworks behind one call. Each is called as its server would call it, without a socket.

use std::future::Future;
use std::pin::Pin;

use actix_web::http::header as actix_header;
use anyhow::{Context, Result};
use axum::Router;
use axum::body::Body;
use http::header::{COOKIE, SET_COOKIE};
use http::{HeaderMap, HeaderValue, Request};
use rocket::http::{Cookie, Header};
use rocket::local::asynchronous::Client;
use tower::Service;

/// The answer of an application.
#[derive(Debug)]
pub struct Answer {
    pub(super) status: u16,
    /// The values of `Set-Cookie`.
    pub cookies: Vec<String>,
}

pub(super) enum Application {
    Axum { router: Router, cookie: HeaderValue },
    Actix { call: Box<ActixCall>, cookie: actix_header::HeaderValue },
    Rocket { client: Box<Client>, header: Header<'static>, cookies: Vec<Cookie<'static>> },
}

type ActixCall = dyn Fn(actix_http::Request) -> Pin<Box<dyn Future<Output = Answer>>>;

impl Application {
    pub(super) fn axum(router: Router) -> Self {
        // As `axum::serve` does: handlers and layers are put together once, not with every request.
        Self::Axum { router: router.with_state(()), cookie: HeaderValue::from_static("") }
    }

    /// `call` is the application that `actix_web::test` makes: its type has no name.
    pub(super) fn actix(call: Box<ActixCall>) -> Self {
        Self::Actix { call, cookie: actix_header::HeaderValue::from_static("") }
    }

    pub(super) fn rocket(client: Client) -> Self {
        Self::Rocket { client: Box::new(client), header: Header::new("Cookie", ""), cookies: Vec::new() }
    }

    pub(super) async fn answer(&mut self, path: &'static str) -> Answer {
        match self {
            Self::Axum { router, cookie } => {
                let mut request = Request::new(Body::empty());
                *request.uri_mut() = http::Uri::from_static(path);
                request.headers_mut().insert(COOKIE, cookie.clone());
                let Ok(response) = router.call(request).await;
                Answer { status: response.status().as_u16(), cookies: set(response.headers()) }
            }
            Self::Actix { call, cookie } => {
                let request = actix_web::test::TestRequest::with_uri(path);
                call(request.insert_header((actix_header::COOKIE, cookie.clone())).to_request()).await
            }
            // A server fills the jar; a local client leaves that to its user.
            Self::Rocket { client, header, cookies } => {
                let request = client.get(path).header(header.clone()).cookies(cookies.iter().cloned());
                let response = request.dispatch().await;
                let cookies = response.headers().get("set-cookie").map(str::to_owned).collect();
                Answer { status: response.status().code, cookies }
            }
        }
    }

    /// Sends these cookies with every request from now on.
    pub(super) fn present(&mut self, jar: &[(String, String)]) -> Result<()> {
        let pairs: Vec<String> = jar.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let joined = pairs.join("; ");
        match self {
            Self::Axum { cookie, .. } => *cookie = HeaderValue::try_from(joined)?,
            Self::Actix { cookie, .. } => *cookie = actix_header::HeaderValue::from_str(&joined)?,
            Self::Rocket { header, cookies, .. } => {
                *header = Header::new("Cookie", joined);
                let parsed = pairs.into_iter().map(Cookie::parse_encoded);
                *cookies = parsed.collect::<Result<_, _>>().context("a cookie that does not parse")?;
            }
        }
        Ok(())
    }
}

fn set(headers: &HeaderMap) -> Vec<String> {
    headers.get_all(SET_COOKIE).iter().filter_map(|value| value.to_str().ok().map(str::to_owned)).collect()
}

pub(super) fn actix_answer(response: &actix_web::HttpResponse<impl Sized>) -> Answer {
    let cookies = response.headers().get_all(actix_header::SET_COOKIE);
    let cookies = cookies.filter_map(|value| value.to_str().ok().map(str::to_owned)).collect();
    Answer { status: response.status().as_u16(), cookies }
}
