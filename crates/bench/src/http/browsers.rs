//! The load: browsers that ask one thing after the other.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bench_load::Jar;
use futures_util::future::try_join_all;
use http::header::{COOKIE, HOST, SET_COOKIE};
use http::{HeaderValue, Request};
use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::spawn_local;

/// A browser with one connection, and the cookies of one session.
pub(super) struct Browser {
    requests: SendRequest<Empty<Bytes>>,
    host: HeaderValue,
    jar: Jar,
    /// The jar as a header.
    cookies: HeaderValue,
}

/// What came of a turn.
pub(super) struct Turn {
    pub(super) elapsed: Duration,
    /// Nanoseconds of each request.
    pub(super) latencies: Vec<f64>,
}

impl Browser {
    /// Connects. It presents this cookie until it is sent others.
    pub(super) async fn connect(server: SocketAddr, cookie: Option<&str>) -> Result<Self> {
        let stream = TcpStream::connect(server).await.context("cannot connect")?;
        stream.set_nodelay(true)?;
        let (requests, connection) = handshake(TokioIo::new(stream)).await?;
        spawn_local(connection);
        let host = HeaderValue::try_from(server.to_string())?;
        let mut browser = Self { requests, host, jar: Jar::default(), cookies: HeaderValue::from_static("") };
        browser.keep(cookie)?;
        Ok(browser)
    }

    /// Asks, takes the cookies of the answer, and reads it to its end.
    pub(super) async fn ask(&mut self, path: &'static str) -> Result<()> {
        let mut request = Request::get(path).header(HOST, self.host.clone()).body(Empty::new())?;
        if !self.cookies.is_empty() {
            request.headers_mut().insert(COOKIE, self.cookies.clone());
        }
        let (head, body) = self.requests.send_request(request).await?.into_parts();
        body.collect().await?;
        ensure!(head.status == 200, "{path} answered {}", head.status);
        self.keep(head.headers.get_all(SET_COOKIE).iter().filter_map(|value| value.to_str().ok()))
    }

    pub(super) fn has_cookies(&self) -> bool {
        !self.jar.is_empty()
    }

    fn keep<'a>(&mut self, set_cookie: impl IntoIterator<Item = &'a str>) -> Result<()> {
        let mut set_cookie = set_cookie.into_iter().peekable();
        if set_cookie.peek().is_some() {
            self.jar.keep(set_cookie);
            self.cookies = HeaderValue::from_str(self.jar.header())?;
        }
        Ok(())
    }
}

/// Every browser asks so often, all at the same time.
pub(super) async fn turn(browsers: &mut [Browser], path: &'static str, each: usize) -> Result<Turn> {
    let start = Instant::now();
    let latencies = try_join_all(browsers.iter_mut().map(|browser| async move {
        let mut latencies = Vec::with_capacity(each);
        for _ in 0..each {
            let start = Instant::now();
            browser.ask(path).await?;
            latencies.push(start.elapsed().as_secs_f64() * 1e9);
        }
        anyhow::Ok(latencies)
    }));
    let latencies = latencies.await?.concat();
    Ok(Turn { elapsed: start.elapsed(), latencies })
}
