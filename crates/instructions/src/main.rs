//! Requests to the engine, for a tool that counts instructions: `instructions unseen|read|bound|write REQUESTS`.
//!
//! `cargo xtask instructions` runs it under callgrind, with fewer and with more requests, and divides the difference: what
//! is set up before does not count. No framework takes part, nothing waits, and no time passes but what the clock is told.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use forge::device::Device;
use futures_util::FutureExt;
use secure_sessions::{
    DeviceBound, Keyring, ManualClock, MemoryStore, Reply, RequestHead, ResponseHeaders, Session, SessionManager,
};

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [case, requests] = arguments.as_slice() else { bail!("usage: instructions unseen|read|bound|write REQUESTS") };
    let mut client = Client::new(case == "bound")?;
    client.request(|session| {
        session.login("ada")?;
        session.insert("user_id", 4711)?;
        session.insert("name", "Ada Lovelace")?;
        session.insert("email", "ada@example.org")?;
        session.insert("cart", (1..=20).map(|item| item * 1000).collect::<Vec<u32>>())?;
        session.insert("note", "n".repeat(160))?;
        Ok(())
    })?;
    if case == "bound" {
        client.bind()?;
    }
    for _ in 0..requests.parse::<u32>().context("not a number of requests")? {
        match case.as_str() {
            "unseen" => client.unseen()?,
            "read" | "bound" => client.request(|session| {
                ensure!(session.get::<u64>("user_id")?.is_some(), "the session was not there");
                Ok(())
            })?,
            "write" => client.request(|session| {
                ensure!(session.update("user_id", |user_id: &mut u64| *user_id += 1).is_ok(), "it was not written");
                Ok(())
            })?,
            _ => bail!("no such case: {case}"),
        }
    }
    Ok(())
}

/// A browser, and the application that it talks to.
struct Client {
    manager: SessionManager,
    clock: ManualClock,
    cookie: Vec<u8>,
    /// The ticket of the session's device, to be sent beside the cookie.
    ticket: Vec<u8>,
    /// The offer to bind the session to a device.
    offer: Option<String>,
}

impl Client {
    fn new(binds: bool) -> Result<Self> {
        let clock = ManualClock::at_millis(1_800_000_000_000);
        let builder = SessionManager::builder(Keyring::generate()?, MemoryStore::new()).clock(clock.clone());
        let builder = if binds { builder.device_bound(DeviceBound::new()) } else { builder };
        let manager = builder.absolute_timeout(Duration::from_secs(365 * 24 * 60 * 60)).build()?;
        // As an adapter that mounts routes: nothing is offered where nobody answers.
        ensure!(manager.device_paths().is_some() == binds, "sessions are bound only if asked for");
        Ok(Self { manager, clock, cookie: Vec::new(), ticket: Vec::new(), offer: None })
    }

    /// Registers a device and binds the session to it, as a browser does after the login.
    fn bind(&mut self) -> Result<()> {
        let offer = self.offer.take().context("a login offers")?;
        let part = |name: &str| offer.split_once(name)?.1.split('"').nth(1);
        let (challenge, session) = part("challenge=").zip(part("authorization=")).context("an offer")?;
        let proof = Device::new(&[7; 32]).registration(challenge, session);
        let answering = self.manager.device_endpoint(&Registration(&proof), "/.session/device");
        let answer = answering.and_then(FutureExt::now_or_never).context("nothing waits here")?;
        let mut headers = Answer::default();
        answer.apply(&mut headers);
        let ticket = headers.cookie.context("a ticket")?;
        self.ticket = format!("; {}", ticket.split(';').next().unwrap_or_default()).into_bytes();
        self.cookie.extend_from_slice(&self.ticket);
        self.request(|session| {
            ensure!(session.device() == secure_sessions::Device::Bound, "it was not bound");
            Ok(())
        })
    }

    fn unseen(&self) -> Result<()> {
        let request = self.manager.begin();
        ensure!(request.finish(200).now_or_never().context("nothing waits here")?.is_none(), "nobody looked");
        Ok(())
    }

    fn request(&mut self, handler: impl FnOnce(&Session) -> Result<()>) -> Result<()> {
        let request = self.manager.begin();
        let session = request.session(&Head(&self.cookie)).now_or_never().context("nothing waits here")??;
        handler(&session)?;
        drop(session);
        let reply = match request.finish(200).try_now() {
            Ok(reply) => reply,
            Err(finish) => finish.now_or_never().context("nothing waits here")?,
        };
        self.take(&reply.context("somebody looked")?)
    }

    /// Takes a reply in as a browser does; some time passes until it sends the next request.
    fn take(&mut self, reply: &Reply) -> Result<()> {
        ensure!(reply.failure().is_none(), "not committed: {:?}", reply.failure());
        let mut answer = Answer::default();
        reply.apply(&mut answer);
        if answer.offer.is_some() {
            self.offer = answer.offer;
        }
        if let Some(cookie) = answer.cookie {
            self.cookie = cookie.split(';').next().unwrap_or_default().as_bytes().to_vec();
            self.cookie.extend_from_slice(&self.ticket);
            self.clock.advance(Duration::from_secs(10));
        }
        Ok(())
    }
}

struct Head<'a>(&'a [u8]);

impl RequestHead for Head<'_> {
    fn for_each_value(&self, name: &'static str, visit: &mut dyn FnMut(&[u8])) {
        if name == "cookie" && !self.0.is_empty() {
            visit(self.0);
        }
    }

    fn method(&self) -> &'static str {
        "GET"
    }
}

/// The head of a registration.
struct Registration<'a>(&'a str);

impl RequestHead for Registration<'_> {
    fn for_each_value(&self, name: &'static str, visit: &mut dyn FnMut(&[u8])) {
        if name == "secure-session-response" {
            visit(self.0.as_bytes());
        }
    }

    fn method(&self) -> &'static str {
        "POST"
    }
}

/// Our `Set-Cookie`, and the offer to bind the session.
#[derive(Default)]
struct Answer {
    cookie: Option<String>,
    offer: Option<String>,
}

impl ResponseHeaders for Answer {
    fn for_each_value(&self, _: &'static str, _: &mut dyn FnMut(&[u8])) {}

    fn append(&mut self, name: &'static str, value: &str, _: bool) {
        match name {
            "set-cookie" => self.cookie = Some(value.to_owned()),
            "secure-session-registration" => self.offer = Some(value.to_owned()),
            _ => {}
        }
    }

    fn set(&mut self, _: &'static str, _: &'static str) {}

    fn remove(&mut self, _: &'static str) {}
}
