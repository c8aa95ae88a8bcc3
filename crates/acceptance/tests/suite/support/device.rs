//! A browser that binds its session to a software key, as Chromium does with one in its device's hardware.

use forge::device::Device;
use serde_json::Value;

use super::client::{Outgoing, Reply};
use super::server::{Server, Subject};
use super::{SetCookie, forge::random};

/// Starts a server that offers to bind every login, with more variables.
pub(crate) async fn binding_server(subject: Subject, variables: &[(&'static str, &str)]) -> Server {
    let variables = [&[("DEVICE", "offer"), ("COOKIE_SECURE", "1")], variables].concat();
    subject.start_with(&variables).await
}

/// A browser with a device: its cookies, and what it keeps of the session that it bound.
#[derive(Clone)]
pub(crate) struct DeviceBrowser<'s> {
    pub(crate) server: &'s Server,
    pub(crate) device: Device,
    pub(crate) cookie: Option<String>,
    pub(crate) ticket: Option<String>,
    pub(crate) refresh_url: Option<String>,
    pub(crate) challenge: Option<String>,
}

/// The offer in the response to a login.
#[derive(Debug, Clone)]
pub(crate) struct Offer {
    pub(crate) path: String,
    pub(crate) challenge: String,
    pub(crate) authorization: String,
}

impl Offer {
    pub(crate) fn of(reply: &Reply) -> Option<Self> {
        let all = reply.all("secure-session-registration");
        assert!(all.len() <= 1, "two offers: {all:?}");
        let offer = all.first()?;
        assert!(offer.starts_with("(ES256);"), "{offer}");
        let part = |name: &str| {
            let (_, rest) = offer.split_once(&format!(r#"{name}=""#)).expect(name);
            rest.split_once('"').expect(name).0.to_owned()
        };
        Some(Self { path: part("path"), challenge: part("challenge"), authorization: part("authorization") })
    }
}

impl<'s> DeviceBrowser<'s> {
    pub(crate) fn new(server: &'s Server) -> Self {
        // A private key must be below the order of the curve, which is above 2^255.
        let mut key = random::<32>();
        key[0] &= 0x7f;
        let device = Device::new(&key);
        Self { server, device, cookie: None, ticket: None, refresh_url: None, challenge: None }
    }

    /// A browser of `alice` whose session is bound, and holds `a`.
    pub(crate) async fn bound(server: &'s Server) -> Self {
        let mut browser = Self::new(server);
        browser.log_in("alice").await;
        let reply = browser.post("/set?k=a&v=1").await;
        assert_eq!(reply.ok()["data"]["a"], "1");
        assert_eq!(browser.standing().await, "bound");
        browser
    }

    /// Logs in and registers, as browsers do without a word.
    pub(crate) async fn log_in(&mut self, user: &str) {
        let offer = self.offered(user).await;
        self.register(&offer).await.ok();
    }

    /// Logs in, and gives the offer to bind the session.
    pub(crate) async fn offered(&mut self, user: &str) -> Offer {
        let reply = self.post(&format!("/login?user={user}")).await;
        reply.new_cookie();
        Offer::of(&reply).expect("an offer")
    }

    pub(crate) async fn register(&mut self, offer: &Offer) -> Reply {
        let proof = self.device.registration(&offer.challenge, &offer.authorization);
        let reply = self.carrying(self.server.post(&offer.path));
        let reply =
            reply.header("secure-session-response", &proof).header("origin", "https://shop.example").send().await;
        if reply.status == 200 {
            self.refresh_url = Some(reply.ok()["refresh_url"].as_str().expect("a path").to_owned());
        }
        self.receive(&reply);
        reply
    }

    /// Renews the ticket as browsers do: with the challenge that they have, and once more if it is too old.
    pub(crate) async fn refresh(&mut self) -> Reply {
        let reply = self.refresh_once().await;
        if reply.status != 403 {
            return reply;
        }
        self.refresh_once().await
    }

    pub(crate) async fn refresh_once(&mut self) -> Reply {
        let request = self.carrying(self.refresh_request());
        let reply = request.send().await;
        self.receive(&reply);
        reply
    }

    /// The request of a refresh, without any cookie.
    pub(crate) fn refresh_request(&self) -> Outgoing<'s> {
        let request = self.unproved_refresh();
        match &self.challenge {
            Some(challenge) => request.header("secure-session-response", &self.device.refresh(challenge)),
            None => request,
        }
    }

    /// The request of a refresh, without any cookie or proof.
    pub(crate) fn unproved_refresh(&self) -> Outgoing<'s> {
        let request = self.server.post(self.refresh_url.as_deref().expect("a bound session"));
        request.header("sec-secure-session-id", &format!("\"{}-device\"", self.server.cookie_name))
    }

    pub(crate) async fn get(&mut self, path: &str) -> Reply {
        let request = self.server.get(path);
        self.send(request).await
    }

    pub(crate) async fn post(&mut self, path: &str) -> Reply {
        let request = self.server.post(path);
        self.send(request).await
    }

    pub(crate) async fn send(&mut self, request: Outgoing<'s>) -> Reply {
        let reply = self.carrying(request).send().await;
        self.receive(&reply);
        reply
    }

    /// Adds the cookies without sending.
    pub(crate) fn carrying(&self, request: Outgoing<'s>) -> Outgoing<'s> {
        let name = &self.server.cookie_name;
        let cookies = [(name.clone(), &self.cookie), (format!("{name}-device"), &self.ticket)];
        let pairs: Vec<String> =
            cookies.iter().filter_map(|(name, value)| Some(format!("{name}={}", value.as_ref()?))).collect();
        if pairs.is_empty() { request } else { request.header("cookie", &pairs.join("; ")) }
    }

    /// Keeps what a response sets.
    pub(crate) fn receive(&mut self, reply: &Reply) {
        let kept = |cookie: SetCookie| if cookie.is_removal() { None } else { Some(cookie.value) };
        if let Some(cookie) = reply.set_cookie() {
            self.cookie = kept(cookie);
        }
        if let Some(ticket) = ticket_of(reply) {
            self.ticket = kept(ticket);
        }
        let challenges = reply.all("secure-session-challenge");
        if let [challenge] = challenges.as_slice() {
            let challenge = challenge.strip_prefix('"').and_then(|rest| rest.split_once('"')).expect("a challenge").0;
            self.challenge = Some(challenge.to_owned());
        }
    }

    /// Returns what the session says of its device.
    pub(crate) async fn standing(&mut self) -> String {
        self.get("/extra/about").await.ok()["device"].as_str().expect("a device").to_owned()
    }

    pub(crate) async fn state(&mut self) -> Value {
        self.get("/state").await.ok()
    }

    /// The cookie alone: what an attacker who copied it from the disk some time ago holds.
    pub(crate) fn stolen_cookie(&self) -> String {
        self.cookie.clone().expect("the client has a cookie")
    }
}

/// The `Set-Cookie` of a ticket.
pub(crate) fn ticket_of(reply: &Reply) -> Option<SetCookie> {
    let mut tickets: Vec<SetCookie> = reply.all("set-cookie").iter().map(|line| SetCookie::parse(line)).collect();
    tickets.retain(|cookie| cookie.name.ends_with("-device"));
    assert!(tickets.len() <= 1, "two tickets: {tickets:#?}");
    let ticket = tickets.pop()?;
    ticket.assert_accepted_by_browsers();
    Some(ticket)
}
