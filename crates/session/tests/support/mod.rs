//! A browser and an application, without HTTP: requests go straight through the engine.

#![allow(dead_code, reason = "not every test file uses all of it")]

pub mod address;
pub mod faulty;
pub mod output;
pub mod shelf;

use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use secure_sessions::{
    BodySize, Builder, Event, Keyring, ManualClock, MemoryStore, Reply, RequestHead, RequestSession, Session,
    SessionError, SessionManager,
};

pub struct App {
    pub manager: SessionManager,
    pub store: MemoryStore,
    pub clock: ManualClock,
    pub events: Arc<Mutex<Vec<Event>>>,
}

pub fn app() -> App {
    app_with(|builder| builder)
}

pub fn app_with(configure: impl FnOnce(Builder) -> Builder) -> App {
    let (store, clock) = (MemoryStore::new(), ManualClock::at_present());
    let events = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&events);
    let builder = SessionManager::builder(Keyring::generate().unwrap(), store.clone())
        .insecure_dev()
        .clock(clock.clone())
        .observer(move |event: &Event| seen.lock().unwrap().push(event.clone()));
    App { manager: configure(builder).build().unwrap(), store, clock, events }
}

impl App {
    pub fn pass(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }

    pub fn event_names(&self) -> Vec<&'static str> {
        self.events.lock().unwrap().iter().map(Event::name).collect()
    }

    pub async fn request(&self, cookie: Option<&str>) -> (RequestSession, Session) {
        self.try_request(&Head::with(cookie)).await.unwrap()
    }

    pub async fn try_request(&self, head: &Head) -> Result<(RequestSession, Session), SessionError> {
        let request = self.manager.begin();
        let session = request.session(head).await?;
        Ok((request, session))
    }

    /// One whole request: the cookie that comes back, or the one that went out, or none after a removal.
    pub async fn visit(&self, cookie: Option<&str>, handler: impl FnOnce(&Session)) -> Option<String> {
        let (request, session) = self.request(cookie).await;
        handler(&session);
        let reply = request.finish(200).await;
        match set_cookie(reply.as_ref()) {
            Some(value) if value.is_empty() => None,
            Some(value) => Some(value),
            None => cookie.map(str::to_owned),
        }
    }
}

#[derive(Clone)]
pub struct Head {
    pub cookies: Vec<String>,
    pub body: BodySize,
    pub headers: Vec<(&'static str, String)>,
    pub peer: Option<IpAddr>,
}

impl Head {
    pub fn with(cookie: Option<&str>) -> Self {
        let cookies = cookie.map(|value| format!("session={value}")).into_iter().collect();
        Self { cookies, body: BodySize::Exact(0), headers: Vec::new(), peer: None }
    }
}

impl RequestHead for Head {
    fn for_each_value(&self, name: &'static str, visit: &mut dyn FnMut(&[u8])) {
        if name == "cookie" {
            self.cookies.iter().for_each(|value| visit(value.as_bytes()));
        }
        self.headers.iter().filter(|(other, _)| *other == name).for_each(|(_, value)| visit(value.as_bytes()));
    }

    fn peer(&self) -> Option<IpAddr> {
        self.peer
    }

    fn method(&self) -> &str {
        "GET"
    }

    fn body_size(&self) -> BodySize {
        self.body
    }
}

/// The value that a reply sets; empty for a removal.
pub fn set_cookie(reply: Option<&Reply>) -> Option<String> {
    header(reply, "set-cookie").map(|value| {
        let value = value.strip_prefix("session=").unwrap();
        value.split(';').next().unwrap().to_owned()
    })
}

/// The bearer token that a reply brings; empty if it is to be forgotten.
pub fn bearer(reply: Option<&Reply>) -> Option<String> {
    header(reply, secure_sessions::DEFAULT_BEARER_HEADER)
}

/// The value of one of our headers, whole.
pub fn header(reply: Option<&Reply>, name: &str) -> Option<String> {
    struct Headers(Vec<(String, String)>);
    impl secure_sessions::ResponseHeaders for Headers {
        fn for_each_value(&self, _: &'static str, _: &mut dyn FnMut(&[u8])) {}
        fn append(&mut self, name: &'static str, value: &str, _: bool) {
            self.0.push((name.to_owned(), value.to_owned()));
        }
        fn set(&mut self, name: &'static str, value: &'static str) {
            self.0.push((name.to_owned(), value.to_owned()));
        }
        fn remove(&mut self, _: &'static str) {}
    }
    let mut headers = Headers(Vec::new());
    reply?.apply(&mut headers);
    let mut values = headers.0.into_iter().filter(|(other, _)| other == name).map(|(_, value)| value);
    let value = values.next();
    assert_eq!(values.next(), None, "never two of ours");
    value
}
