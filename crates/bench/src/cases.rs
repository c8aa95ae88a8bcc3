//! The requests that are compared. Each is one GET with a cookie, answered by `ok`.

mod floors;
mod ours;
mod peers;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result, ensure};
use axum::Router;
use axum::body::Body;
use http::header::{COOKIE, SET_COOKIE};
use http::{HeaderValue, Request, StatusCode};
use tower::Service;

/// The route that looks at no session.
const UNSEEN: &str = "/unseen";
/// The route that reads one value of the session.
const READ: &str = "/read";
/// The route that logs in and fills a session, before anything is measured.
const FILL: &str = "/fill";

/// The name of the case that the others are measured against.
pub const BARE: &str = "bare route";
/// A layer that does nothing.
pub const NO_OP: &str = "no-op layer";
/// Ours, on a route that never looks at the session.
pub const OURS_UNSEEN: &str = "secure-sessions, never looked at";
/// Ours, reading one value of a logged-in session.
pub const OURS_READ: &str = "secure-sessions, authenticated read";
/// tower-sessions, reading the same.
pub const TOWER_SESSIONS_READ: &str = "tower-sessions 0.15, authenticated read";

/// One application and the request that is sent to it again and again.
#[derive(Debug)]
pub struct Case {
    /// What is measured.
    pub name: &'static str,
    application: Router,
    path: &'static str,
    cookie: HeaderValue,
    /// What the store was asked, where it is counted.
    pub calls: Option<Arc<Calls>>,
}

/// How often a store was asked.
#[derive(Debug, Default)]
pub struct Calls {
    reads: AtomicU64,
    writes: AtomicU64,
}

impl Calls {
    fn read(&self) {
        self.reads.fetch_add(1, Ordering::Relaxed);
    }

    fn write(&self) {
        self.writes.fetch_add(1, Ordering::Relaxed);
    }

    /// Reads and writes so far.
    #[must_use]
    pub fn so_far(&self) -> (u64, u64) {
        (self.reads.load(Ordering::Relaxed), self.writes.load(Ordering::Relaxed))
    }
}

/// Every case, with its session made and its first request answered. With `counted`, stores count what they are asked.
///
/// # Errors
///
/// If one of the applications does not answer as it should.
pub async fn all(counted: bool) -> Result<Vec<Case>> {
    let mut cases = floors::all();
    cases.extend(ours::all(counted).await?);
    cases.extend(peers::all(counted).await?);
    for case in &mut cases {
        let response = case.send(case.path).await?;
        ensure!(response.status() == StatusCode::OK, "{}: {}", case.name, response.status());
    }
    Ok(cases)
}

impl Case {
    fn without_session(name: &'static str, application: Router) -> Self {
        // Long like ours, so that every case has the same request to carry.
        let cookie = HeaderValue::from_static("session=bm9ib2R5IHJlYWRzIHRoaXM");
        Self { name, application, path: UNSEEN, cookie, calls: None }
    }

    /// Makes a session by the application's own `FILL` route, and sends its cookie from then on.
    async fn with_session(
        name: &'static str,
        application: Router,
        path: &'static str,
        calls: Option<Arc<Calls>>,
    ) -> Result<Self> {
        let mut case = Self { path, calls, ..Self::without_session(name, application) };
        let response = case.send(FILL).await?;
        let status = response.status();
        ensure!(status == StatusCode::OK, "{name}: {FILL} answered {status}");
        let mut cookies = Vec::new();
        for header in response.headers().get_all(SET_COOKIE) {
            let header = header.to_str().with_context(|| format!("{name}: a cookie that is not ASCII"))?;
            cookies.push(header.split(';').next().unwrap_or_default().to_owned());
        }
        ensure!(!cookies.is_empty(), "{name}: {FILL} set no cookie");
        case.cookie = HeaderValue::try_from(cookies.join("; "))?;
        Ok(case)
    }

    async fn send(&mut self, path: &'static str) -> Result<axum::response::Response> {
        let request = Request::get(path).header(COOKIE, self.cookie.clone()).body(Body::empty())?;
        Ok(self.application.call(request).await?)
    }

    /// One request and its answer: what is measured.
    pub async fn once(&mut self) -> bool {
        let mut request = Request::new(Body::empty());
        *request.uri_mut() = http::Uri::from_static(self.path);
        request.headers_mut().insert(COOKIE, self.cookie.clone());
        matches!(self.application.call(request).await, Ok(response) if response.status() == StatusCode::OK)
    }
}

/// What a session holds: 300 bytes as CBOR, of which a request reads the first.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
struct Contents {
    user_id: u64,
    name: String,
    email: String,
    cart: Vec<u32>,
    note: String,
}

const USER_ID: u64 = 4711;

impl Contents {
    fn new() -> Self {
        Self {
            user_id: USER_ID,
            name: "Ada Lovelace".to_owned(),
            email: "ada@example.org".to_owned(),
            cart: (1..=20).map(|item| item * 1000).collect(),
            note: "n".repeat(160),
        }
    }
}

/// A handler's answer: whether it saw the session's value.
fn answer(user_id: Option<u64>) -> StatusCode {
    if user_id == Some(USER_ID) { StatusCode::OK } else { StatusCode::UNAUTHORIZED }
}
