//! Sessions bound to properties of the client.

use serde_json::json;

use crate::support::client::{Outgoing, assert_refused};
use crate::support::forge;
use crate::support::hostile::CONTEXT;
use crate::support::{Server, Subject};

/// A session of alice from a client that `from` makes requests of.
async fn bound<'s>(server: &'s Server, from: impl Fn(Outgoing<'s>) -> Outgoing<'s>) -> String {
    from(server.post("/login?user=alice")).send().await.new_cookie()
}

pub(crate) async fn d3_another_user_agent_is_refused_without_touching_cookie_or_session(subject: Subject) {
    let server = subject.start_with(&[("BINDING", "user-agent")]).await;
    let cookie = bound(&server, firefox_of).await;
    let before = server.metrics().await;
    for path in ["/state", "/extra/about"] {
        let reply = curl_of(server.get(path).cookie(&cookie)).send().await;
        reply.assert_no_cookie();
    }
    assert_refused(&server.get("/state").cookie(&cookie).send().await);
    // Neither what it stores nor a logout reaches the session or the browser's cookie.
    for path in ["/set?k=a&v=1", "/logout"] {
        curl_of(server.post(path).cookie(&cookie)).send().await.assert_no_cookie();
    }
    let after = server.metrics().await;
    assert_eq!((after.writes(), after.event("binding_mismatch")), (before.writes(), 5));
    assert_eq!(firefox_of(server.get("/state").cookie(&cookie)).send().await.ok()["subject"], "alice");
    // A login makes a session of its own, bound to where it came from.
    let other = curl_of(server.post("/login?user=bob").cookie(&cookie)).send().await.new_cookie();
    assert_eq!(curl_of(server.get("/state").cookie(&other)).send().await.ok()["subject"], "bob");
    assert_eq!(firefox_of(server.get("/state").cookie(&cookie)).send().await.ok()["subject"], "alice");
    assert_refused(&firefox_of(server.get("/state").cookie(&other)).send().await);
    // The token holds a digest.
    let meta = forge::open(&cookie, &server.keys.seal, CONTEXT).meta;
    assert!(!meta.windows(7).any(|bytes| bytes == b"Firefox"));
}

fn firefox_of(request: Outgoing<'_>) -> Outgoing<'_> {
    request.header("user-agent", "Firefox/130")
}

fn curl_of(request: Outgoing<'_>) -> Outgoing<'_> {
    request.header("user-agent", "curl/8")
}

pub(crate) async fn d3_a_binding_lasts_through_rotations_and_handoffs_and_moves_with_a_login(subject: Subject) {
    let server = subject.start_with(&[("BINDING", "user-agent")]).await;
    let first = bound(&server, firefox_of).await;
    let second = firefox_of(server.post("/set?k=a&v=1").cookie(&first)).send().await.new_cookie();
    for cookie in [&first, &second] {
        assert_refused(&curl_of(server.get("/state").cookie(cookie)).send().await);
    }
    // The superseded token leads its own client on.
    assert_eq!(firefox_of(server.get("/state").cookie(&first)).send().await.new_cookie(), second);
    // Keys that were replaced take the binding along.
    let (old, new) = (server.keys.clone(), forge::Keys::random());
    server.swap_keys(&[&new, &old], &[&new, &old], "").await;
    let third = firefox_of(server.post("/set?k=a&v=2").cookie(&second)).send().await.new_cookie();
    server.swap_keys(&[&new], &[&new], "").await;
    assert_eq!(firefox_of(server.get("/state").cookie(&third)).send().await.ok()["data"], json!({ "a": "2" }));
    assert_refused(&curl_of(server.get("/state").cookie(&third)).send().await);
}

pub(crate) async fn d3_reported_mismatches_keep_the_session_and_a_renewal_binds_it_anew(subject: Subject) {
    let server = subject.start_with(&[("BINDING", "user-agent"), ("ON_MISMATCH", "report")]).await;
    let cookie = bound(&server, firefox_of).await;
    assert_eq!(curl_of(server.get("/state").cookie(&cookie)).send().await.ok()["subject"], "alice");
    let cookie = curl_of(server.post("/set?k=a&v=1").cookie(&cookie)).send().await.new_cookie();
    assert_eq!(server.metrics().await.event("binding_mismatch"), 2);
    assert!(server.event("binding_mismatch").await["session"].is_string());
    // A rotation does not hide it, a renewal takes the new client for the right one.
    let cookie = curl_of(server.post("/renew").cookie(&cookie)).send().await.new_cookie();
    assert_eq!(server.metrics().await.event("binding_mismatch"), 3);
    assert_eq!(curl_of(server.get("/state").cookie(&cookie)).send().await.ok()["data"], json!({ "a": "1" }));
    assert_eq!(server.metrics().await.event("binding_mismatch"), 3);
    assert_eq!(firefox_of(server.get("/state").cookie(&cookie)).send().await.ok()["subject"], "alice");
    assert_eq!(server.metrics().await.event("binding_mismatch"), 4);
}

pub(crate) async fn d3_an_address_is_bound_by_its_prefix(subject: Subject) {
    let server = subject.start_with(&[("BINDING", "address")]).await;
    let cookie = server.post("/login?user=alice").from([127, 0, 0, 1]).send().await.new_cookie();
    let neighbour = server.get("/state").from([127, 0, 0, 9]).cookie(&cookie).send().await;
    assert_eq!(neighbour.ok()["subject"], "alice");
    assert_refused(&server.get("/state").from([127, 0, 1, 1]).cookie(&cookie).send().await);
    assert_eq!(server.metrics().await.event("binding_mismatch"), 1);
}

pub(crate) async fn d3_a_custom_value_and_several_properties_at_once(subject: Subject) {
    let server = subject.start_with(&[("BINDING", "user-agent,address,custom")]).await;
    let request = |path: &str| server.get(path).header("user-agent", "Firefox/130");
    let login = server.post("/login?user=alice").header("user-agent", "Firefox/130").header("x-client", "7");
    let cookie = login.send().await.new_cookie();
    let same = request("/state").cookie(&cookie).header("x-client", "7").send().await;
    assert_eq!(same.ok()["subject"], "alice");
    assert_refused(&request("/state").cookie(&cookie).header("x-client", "8").send().await);
    assert_refused(&request("/state").cookie(&cookie).send().await);
    let moved = request("/state").from([127, 1, 0, 1]).cookie(&cookie).header("x-client", "7").send().await;
    assert_refused(&moved);
}
