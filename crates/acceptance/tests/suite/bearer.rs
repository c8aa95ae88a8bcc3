//! The same sessions as bearer tokens: `Authorization: Bearer` in, a response header out.

use ::forge::device::Device;
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::client::{Outgoing, alice, assert_refused, steps};
use crate::support::forge::{self, Plaintext};
use crate::support::{Reply, Server, Subject};

/// A client that does with the token what the documentation asks for.
#[derive(Clone)]
pub(crate) struct Api<'s> {
    server: &'s Server,
    pub(crate) token: Option<String>,
}

impl<'s> Api<'s> {
    /// Logged in as this user.
    pub(crate) async fn login(server: &'s Server, user: &str) -> Self {
        let reply = server.post(&format!("/login?user={user}&bearer=1")).send().await;
        Self { server, token: Some(reply.new_token()) }
    }

    pub(crate) async fn get(&mut self, path: &str) -> Reply {
        let request = self.server.get(path);
        self.send(request).await
    }

    pub(crate) async fn post(&mut self, path: &str) -> Reply {
        let request = self.server.post(path);
        self.send(request).await
    }

    async fn send(&mut self, request: Outgoing<'s>) -> Reply {
        let request = match &self.token {
            Some(token) => request.bearer(token),
            None => request,
        };
        let reply = request.send().await;
        if let Some(token) = reply.bearer() {
            self.token = Some(token).filter(|token| !token.is_empty());
        }
        reply
    }

    pub(crate) fn token(&self) -> String {
        self.token.clone().expect("the client has a token")
    }

    pub(crate) async fn state(&mut self) -> Value {
        self.get("/state").await.ok()
    }
}

#[track_caller]
fn assert_no_token(reply: &Reply) {
    assert_eq!((reply.bearer(), reply.set_cookie()), (None, None), "{} {}", reply.status, reply.text());
}

pub(crate) async fn d4_a_session_travels_as_a_bearer_token_through_its_whole_life(subject: Subject) {
    let server = subject.start_with(&[("BEARER", "1")]).await;
    let reply = server.post("/login?user=alice&bearer=1").send().await;
    let mut api = Api { server: &server, token: Some(reply.new_token()) };
    reply.assert_no_cookie();
    // A request that only reads gets no token, and its response is kept out of caches all the same.
    let reply = api.get("/state").await;
    assert_no_token(&reply);
    assert_eq!(reply.ok()["subject"], "alice");
    assert_eq!(reply.all("cache-control"), ["no-store"]);
    assert_eq!(reply.all("vary").join(", ").to_ascii_lowercase(), "cookie, authorization");
    assert_eq!(api.get("/extra/about").await.ok()["transport"], "bearer");
    // Rotation, a lost response, crossed responses.
    let first = api.token();
    let second = api.post("/set?k=a&v=1").await.new_token();
    assert_ne!(first, second);
    let lost = server.get("/state").bearer(&first).send().await;
    assert_eq!((lost.ok()["data"].clone(), lost.new_token()), (json!({ "a": "1" }), second.clone()));
    let replies = join_all((0..10).map(|_| server.post("/incr?k=n").bearer(&second).send())).await;
    assert!(replies.iter().all(|reply| reply.status == 200));
    api.token = Some(replies[0].new_token());
    assert_eq!(api.state().await["data"], json!({ "a": "1", "n": 10 }));
    // Renewal and login.
    let superseded = api.token();
    api.post("/renew").await.new_token();
    assert_no_token(&server.get("/state").bearer(&superseded).send().await);
    server.get("/state").bearer(&superseded).send().await.assert_anonymous();
    api.post("/login?user=bob").await.new_token();
    assert_eq!(api.state().await["subject"], "bob");
    assert_eq!(api.get("/sessions").await.ok().as_array().map(Vec::len), Some(1));
    // Removal.
    let last = api.token();
    let reply = api.post("/logout").await;
    assert_eq!((reply.bearer().as_deref(), &api.token), (Some(""), &None));
    server.get("/state").bearer(&last).send().await.assert_anonymous();
    assert_eq!(server.metrics().await.live(), 0);
}

pub(crate) async fn d4_a_dead_bearer_token_is_a_replay(subject: Subject) {
    let server = subject.start_with(&[("BEARER", "1")]).await;
    let mut api = Api::login(&server, "alice").await;
    let stolen = api.token();
    for n in 0..3 {
        api.post(&format!("/set?k=a&v={n}")).await.new_token();
        server.advance(61_000).await;
    }
    assert_no_token(&server.get("/state").bearer(&stolen).send().await);
    assert_eq!(server.metrics().await.event("replayed"), 1);
    assert_eq!(api.state().await["subject"], json!(null));
}

pub(crate) async fn d4_a_cookies_token_is_no_bearer_token_and_the_other_way_round(subject: Subject) {
    let server = subject.start_with(&[("BEARER", "1")]).await;
    let (browser, api) = (alice(&server).await, Api::login(&server, "alice").await);
    let before = server.metrics().await.all_calls();
    let reply = server.get("/state").bearer(&browser.token()).send().await;
    reply.assert_anonymous();
    reply.assert_no_cookie();
    assert_eq!(reply.bearer().as_deref(), Some(""), "garbage, to be forgotten");
    let reply = server.get("/state").cookie(&api.token()).send().await;
    reply.assert_anonymous();
    reply.assert_removal();
    let metrics = server.metrics().await;
    assert_eq!((metrics.all_calls(), metrics.event("forged")), (before, 0), "neither reaches the store");
    // Both go on where they belong.
    assert_eq!(browser.clone().state().await["subject"], "alice");
    assert_eq!(api.clone().state().await["subject"], "alice");
}

pub(crate) async fn d4_where_both_come_the_bearer_token_alone_counts(subject: Subject) {
    let server = subject.start_with(&[("BEARER", "1")]).await;
    let (browser, mut api) = (alice(&server).await, Api::login(&server, "bob").await);
    let cookie = browser.token();
    let both = |path: &str, token: &str| server.post(path).cookie(&cookie).bearer(token);
    let reply = both("/set?k=b&v=1", &api.token()).send().await;
    assert_eq!(reply.ok()["subject"], "bob");
    api.token = Some(reply.new_token());
    assert_eq!(api.state().await["data"], json!({ "b": "1" }));
    // It is never made up for by the cookie, whatever is wrong with it.
    let calls = server.metrics().await.all_calls();
    for token in ["", "x", "eyJhbGciOiJub25lIn0.e30.", &cookie] {
        let reply = both("/renew", token).send().await;
        reply.assert_anonymous();
        reply.assert_no_cookie();
    }
    assert_eq!(server.metrics().await.all_calls(), calls, "the cookie is not even looked at");
    // Another scheme is nothing of ours.
    let basic = server.get("/state").cookie(&cookie).header("authorization", "Basic YWxpY2U6eA==").send().await;
    assert_eq!(basic.ok()["subject"], "alice");
    // A logout by one leaves the other.
    assert_eq!(both("/logout", &api.token()).send().await.bearer().as_deref(), Some(""));
    assert_eq!(browser.clone().state().await["subject"], "alice");
}

pub(crate) async fn d4_a_cookie_never_becomes_a_bearer_token(subject: Subject) {
    let server = subject.start_with(&[("BEARER", "1")]).await;
    let mut browser = alice(&server).await;
    let reply = browser.post("/login?user=alice&bearer=1").await;
    assert_eq!((reply.status, reply.bearer(), reply.set_cookie()), (400, None, None));
    for script in [&["use-bearer", "login:bob"][..], &["login:bob", "use-bearer"], &["set:b=1", "save", "use-bearer"]] {
        let reply = browser.post(&steps(script)).await;
        assert_eq!(reply.bearer(), None, "{script:?}");
        reply.new_cookie();
    }
    // One that was made a moment ago in this request neither.
    let reply = server.post(&steps(&["set:a=1", "save", "use-bearer"])).send().await;
    assert_eq!((reply.bearer(), reply.ok()["steps"][2]["status"].clone()), (None, json!(400)));
    reply.new_cookie();
    // Without the transport there is no way to it.
    let server = subject.start().await;
    let reply = server.post("/login?user=alice&bearer=1").send().await;
    assert_eq!((reply.status, reply.bearer(), reply.set_cookie()), (400, None, None));
    let mut browser = alice(&server).await;
    let ignored = browser.send(server.get("/state").header("authorization", "Bearer x")).await;
    assert_eq!(ignored.ok()["subject"], "alice");
    assert_eq!(ignored.all("vary").join(",").to_ascii_lowercase(), "cookie");
}

pub(crate) async fn d4_without_cookies_every_session_is_a_bearer_token(subject: Subject) {
    let server = subject.start_with(&[("BEARER_HEADER", "session-token"), ("COOKIES", "0")]).await;
    let reply = server.post("/set?k=a&v=1").send().await;
    reply.assert_no_cookie();
    let mut api = Api { server: &server, token: Some(reply.new_token()) };
    assert_eq!(api.state().await["data"], json!({ "a": "1" }));
    let reply = server.get("/state").cookie(&api.token()).send().await;
    assert_refused(&reply);
    assert_eq!(reply.all("vary").join(",").to_ascii_lowercase(), "authorization");
    let refused = subject.setup().set("COOKIES", "0").refused().await;
    assert!(refused.contains("turn one of them on"), "{refused}");
    let refused = subject.setup().set("BEARER_HEADER", "Session-Token").refused().await;
    assert!(refused.contains("lower-case"), "{refused}");
}

pub(crate) async fn d4_forged_bearer_tokens_raise_the_alarm(subject: Subject) {
    let server = subject.start_with(&[("BEARER", "1")]).await;
    let mut api = Api::login(&server, "alice").await;
    let context = "bearer:session-token";
    let known = forge::open(&api.token(), &server.keys.seal, context);
    let calls = server.metrics().await.all_calls();
    let forged = forge::seal_without_mark(&Plaintext { generation: 9, ..known }, &server.keys, context);
    let reply = server.get("/state").bearer(&forged).send().await;
    reply.assert_anonymous();
    assert_no_token(&reply);
    let metrics = server.metrics().await;
    // Its bucket was asked whether it is a damaged token of its own holder.
    assert_eq!((metrics.event("forged"), metrics.all_calls()), (1, calls + 1));
    assert_eq!(api.state().await["subject"], "alice");
}

pub(crate) async fn d4_a_token_that_is_bound_by_dpop_works_with_its_key_alone(subject: Subject) {
    const ORIGIN: &str = "https://api.example.org";
    let server = subject.start_with(&[("BEARER", "1"), ("DPOP", ORIGIN)]).await;
    let (owner, thief) = (Device::new(&[1; 32]), Device::new(&[2; 32]));
    let login = |nonce: &str| {
        // The query is part of the request and not of the proof.
        let proof = owner.dpop("POST", &format!("{ORIGIN}/login"), nonce, None);
        server.post("/login?user=alice&bearer=1").header("dpop", &proof).send()
    };
    // A login without a nonce is not processed, and its answer brings one.
    let reply = login("").await;
    assert_eq!((reply.status, reply.bearer(), reply.set_cookie()), (401, None, None));
    assert_eq!(reply.all("www-authenticate"), [r#"DPoP error="use_dpop_nonce", algs="ES256""#]);
    assert_eq!(server.metrics().await.all_calls(), 0);
    let nonce = reply.all("dpop-nonce").remove(0);
    let token = login(&nonce).await.new_token();
    let get = |device: &Device, path: &str| {
        let proof = device.dpop("GET", &format!("{ORIGIN}{path}"), &nonce, Some(&token));
        server
            .get("/extra/about?x=%2Fy")
            .header("authorization", &format!("DPoP {token}"))
            .header("dpop", &proof)
            .send()
    };
    let about = get(&owner, "/extra/about").await.ok();
    assert_eq!((&about["transport"], &about["device"]), (&json!("bearer"), &json!("bound")));
    assert_eq!(get(&owner, "/state").await.status, 401);
    assert_eq!(get(&thief, "/extra/about").await.ok()["device"], "missing");
    let reply = server.get("/state").bearer(&token).send().await;
    assert_no_token(&reply);
    reply.assert_anonymous();
    let metrics = server.metrics().await;
    let events = ["device_bound", "device_missing", "device_mismatch", "device_endpoint_refused"];
    assert_eq!(events.map(|name| metrics.event(name)), [1, 1, 1, 1]);
}
