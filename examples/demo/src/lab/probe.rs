//! Sends the attacks' requests: real HTTP, over loopback, to this very server.

use std::time::Duration;

use reqwest::Method;
use reqwest::header::{CONTENT_TYPE, COOKIE, HeaderMap, SET_COOKIE};
use reqwest::redirect::Policy;
use serde_json::Value;

use super::LabError;
use super::target::peer;
use crate::events::{EventRing, Recorded};

/// The two kinds of session under attack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// secure-sessions.
    Ours,
    /// A plain sealed cookie.
    Peer,
}

/// The same thing for both sides.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pair<T> {
    /// The part of secure-sessions.
    pub ours: T,
    /// The part of the plain sealed cookie.
    pub peer: T,
}

/// The longest that an answer is waited for, on a busy machine too.
const PATIENCE: Duration = Duration::from_secs(60);

/// The cookie of the target on secure-sessions.
pub const OUR_COOKIE: &str = "lab-ours";

impl Side {
    /// The name of its session cookie.
    #[must_use]
    pub fn cookie_name(self) -> &'static str {
        match self {
            Self::Ours => OUR_COOKIE,
            Self::Peer => peer::COOKIE_NAME,
        }
    }

    /// Returns the path at which its routes are mounted.
    #[must_use]
    pub fn mount(self) -> &'static str {
        match self {
            Self::Ours => "/target/ours",
            Self::Peer => "/target/peer",
        }
    }
}

impl<T> Pair<T> {
    /// From what each side has.
    pub fn of(mut make: impl FnMut(Side) -> T) -> Self {
        Self { ours: make(Side::Ours), peer: make(Side::Peer) }
    }

    /// One side's.
    pub fn get(&self, side: Side) -> &T {
        match side {
            Side::Ours => &self.ours,
            Side::Peer => &self.peer,
        }
    }
}

/// A request to one of the targets.
#[derive(Debug, Clone)]
pub struct Request {
    /// `GET` or `POST`.
    pub method: Method,
    /// Below the target's mount.
    pub path: &'static str,
    /// The session cookie's value.
    pub cookie: Option<String>,
    /// A JSON body.
    pub body: Option<Value>,
}

impl Request {
    /// A `GET` with a cookie.
    #[must_use]
    pub fn get(path: &'static str, cookie: &str) -> Self {
        Self { method: Method::GET, path, cookie: Some(cookie.to_owned()), body: None }
    }

    /// A `POST` with a cookie and no body.
    #[must_use]
    pub fn post(path: &'static str, cookie: &str) -> Self {
        Self { method: Method::POST, path, cookie: Some(cookie.to_owned()), body: None }
    }
}

/// The effect of an answer on the session cookie.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum CookieChange {
    /// Nothing.
    #[default]
    Kept,
    /// A new value.
    Set(String),
    /// The browser is told to drop it.
    Removed,
}

/// A request that was sent, the answer to it, and what the engine reported meanwhile.
#[derive(Debug, Clone)]
pub struct Exchange {
    /// The request's first line.
    pub line: String,
    /// The cookie that it carried.
    pub cookie: Option<String>,
    /// The cookie's name.
    pub cookie_name: &'static str,
    /// Its body, if it had one.
    pub sent: Option<String>,
    /// The answer's status.
    pub status: u16,
    /// The status in words.
    pub reason: &'static str,
    /// The answer's effect on the cookie.
    pub cookie_change: CookieChange,
    /// The answer's body.
    pub answer: String,
    /// The engine's events; always empty for the peer, which has none.
    pub events: Vec<Recorded>,
}

impl Exchange {
    /// Returns `true` if the request was served.
    #[must_use]
    pub fn is_served(&self) -> bool {
        self.status == 200
    }

    /// Returns `true` if the engine reported this event.
    #[must_use]
    pub fn reported(&self, event: &str) -> bool {
        self.events.iter().any(|recorded| recorded.name == event)
    }

    /// The cookie that a browser has after this answer.
    #[must_use]
    pub fn cookie_afterwards(&self) -> Option<&str> {
        match &self.cookie_change {
            CookieChange::Set(value) => Some(value),
            CookieChange::Kept => self.cookie.as_deref(),
            CookieChange::Removed => None,
        }
    }
}

/// The lab's HTTP client.
#[derive(Debug, Clone)]
pub struct Probe {
    client: reqwest::Client,
    base: String,
    events: EventRing,
}

impl Probe {
    /// For the server at `base`, whose target on secure-sessions reports to `events`.
    ///
    /// # Errors
    ///
    /// [`LabError::Http`] if the client cannot be made.
    pub fn new(base: String, events: EventRing) -> Result<Self, LabError> {
        let client = reqwest::Client::builder().no_proxy().redirect(Policy::none()).timeout(PATIENCE).build()?;
        Ok(Self { client, base, events })
    }

    /// The engine's events.
    #[must_use]
    pub fn events(&self) -> &EventRing {
        &self.events
    }

    /// Sends one request.
    ///
    /// # Errors
    ///
    /// [`LabError::Http`] if there is no answer.
    pub async fn send(&self, side: Side, request: Request) -> Result<Exchange, LabError> {
        let Request { method, path, cookie, body } = request;
        let (path, mark) = (format!("{}{path}", side.mount()), self.events.mark());
        let line = format!("{method} {path}");
        let mut builder = self.client.request(method, format!("{}{path}", self.base));
        if let Some(cookie) = &cookie {
            builder = builder.header(COOKIE, format!("{}={cookie}", side.cookie_name()));
        }
        let sent = body.map(|body| body.to_string());
        if let Some(sent) = &sent {
            builder = builder.header(CONTENT_TYPE, "application/json").body(sent.clone());
        }
        let answer = builder.send().await?;
        let (status, cookie_change) = (answer.status(), cookie_change(side, answer.headers()));
        Ok(Exchange {
            line,
            cookie,
            cookie_name: side.cookie_name(),
            sent,
            status: status.as_u16(),
            reason: status.canonical_reason().unwrap_or_default(),
            cookie_change,
            answer: answer.text().await?,
            events: if side == Side::Ours { self.events.since(mark) } else { Vec::new() },
        })
    }
}

fn cookie_change(side: Side, headers: &HeaderMap) -> CookieChange {
    let ours = |header: &str| {
        let (pair, attributes) = header.split_once(';').unwrap_or((header, ""));
        let (name, value) = pair.split_once('=')?;
        let removed = attributes.split(';').any(|attribute| attribute.trim().eq_ignore_ascii_case("max-age=0"));
        let change = if removed { CookieChange::Removed } else { CookieChange::Set(value.to_owned()) };
        (name == side.cookie_name()).then_some(change)
    };
    headers.get_all(SET_COOKIE).iter().find_map(|header| ours(header.to_str().ok()?)).unwrap_or_default()
}
