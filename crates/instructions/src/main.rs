//! Requests to the engine, for a tool that counts instructions: `instructions read|write|unseen REQUESTS`.
//!
//! `cargo xtask instructions` runs it under callgrind, with fewer and with more requests, and divides the difference: what
//! is set up before does not count. No framework takes part, nothing waits, and no time passes but what the clock is told.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use futures_util::FutureExt;
use secure_sessions::{
    Keyring, ManualClock, MemoryStore, Reply, RequestHead, ResponseHeaders, Session, SessionManager,
};

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [case, requests] = arguments.as_slice() else { bail!("usage: instructions unseen|read|write REQUESTS") };
    let mut client = Client::new()?;
    client.request(|session| {
        session.login("ada")?;
        session.insert("user_id", 4711)?;
        session.insert("name", "Ada Lovelace")?;
        session.insert("email", "ada@example.org")?;
        session.insert("cart", (1..=20).map(|item| item * 1000).collect::<Vec<u32>>())?;
        session.insert("note", "n".repeat(160))?;
        Ok(())
    })?;
    for _ in 0..requests.parse::<u32>().context("not a number of requests")? {
        match case.as_str() {
            "unseen" => client.unseen()?,
            "read" => client.request(|session| {
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
}

impl Client {
    fn new() -> Result<Self> {
        let clock = ManualClock::at_millis(1_800_000_000_000);
        let builder = SessionManager::builder(Keyring::generate()?, MemoryStore::new()).clock(clock.clone());
        let manager = builder.absolute_timeout(Duration::from_secs(365 * 24 * 60 * 60)).build()?;
        Ok(Self { manager, clock, cookie: Vec::new() })
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

    /// What a browser does with a reply; some time passes until it sends the next request.
    fn take(&mut self, reply: &Reply) -> Result<()> {
        ensure!(reply.failure().is_none(), "not committed: {:?}", reply.failure());
        let mut answer = Answer(None);
        reply.apply(&mut answer);
        if let Some(cookie) = answer.0 {
            self.cookie = cookie.split(';').next().unwrap_or_default().as_bytes().to_vec();
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

/// Our `Set-Cookie` alone.
struct Answer(Option<String>);

impl ResponseHeaders for Answer {
    fn for_each_value(&self, _: &'static str, _: &mut dyn FnMut(&[u8])) {}

    fn append(&mut self, name: &'static str, value: &str, _: bool) {
        if name == "set-cookie" {
            self.0 = Some(value.to_owned());
        }
    }

    fn set(&mut self, _: &'static str, _: &'static str) {}

    fn remove(&mut self, _: &'static str) {}
}
