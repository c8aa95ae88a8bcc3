//! Lines 70 to 79: sessions that are bound to a device.

use std::time::Instant;

use forge::device::{self, Device};
use serde_json::json;

use crate::parallel::carried_out;
use crate::support::client::{assert_refused, held};
use crate::support::device::{DeviceBrowser, Offer, binding_server, ticket_of};
use crate::support::forge::{Keys, decode};
use crate::support::{MINUTE, Reply, Server, Subject};

/// A ticket's life and a grace.
const LIFE: i64 = 11 * MINUTE;

async fn get<'s>(browser: &DeviceBrowser<'s>, cookie: &str, ticket: Option<&str>) -> Reply {
    let ticket = ticket.map(str::to_owned);
    DeviceBrowser { cookie: Some(cookie.to_owned()), ticket, ..browser.clone() }.get("/state").await
}

pub(crate) async fn c70_a_stolen_cookie_without_the_ticket_gets_nothing(subject: Subject) {
    let server = binding_server(subject, &[]).await;
    let mut owner = DeviceBrowser::bound(&server).await;
    let stolen = owner.stolen_cookie();
    let before = server.metrics().await;
    let thief = || server.browser_with(&stolen);
    assert_refused(&thief().get("/state").await);
    assert_eq!(thief().get("/extra/about").await.ok()["device"], "missing");
    // It neither writes, nor keeps the session alive, nor moves it to another id.
    server.advance(2 * MINUTE).await;
    for path in ["/set?k=a&v=stolen", "/renew", "/incr?k=n", "/sessions/revoke-others"] {
        thief().post(path).await.assert_no_cookie();
    }
    let after = server.metrics().await;
    assert_eq!((after.writes(), after.event("device_missing")), (before.writes(), 6));
    let event = server.event("device_missing").await;
    assert_eq!((&event["skipped"], event["session"].is_string()), (&json!(null), true));
    // With its age the ticket dies, and takes a thief who has both along. The owner's browser has a new one by then.
    let (both, ticket) = (owner.stolen_cookie(), owner.ticket.clone().unwrap());
    assert_eq!(get(&owner, &both, Some(&ticket)).await.ok()["subject"], "alice");
    server.advance(LIFE - 3 * MINUTE).await;
    assert_eq!(owner.refresh().await.status, 200);
    server.advance(2 * MINUTE).await;
    assert_refused(&get(&owner, &both, Some(&ticket)).await);
    assert_eq!(owner.state().await["data"], json!({ "a": "1" }));
    assert_eq!(server.metrics().await.event("replayed"), 0);
}

pub(crate) async fn c70_a_thief_whose_ticket_died_cannot_have_rotated_the_owner_out(subject: Subject) {
    let server = binding_server(subject, &[("ABSOLUTE_MS", "86400000"), ("IDLE_MS", "0")]).await;
    let mut owner = DeviceBrowser::bound(&server).await;
    // While the ticket lives, a thief of the whole jar moves the session on. Its owner's return is a replay, then.
    let mut thief = owner.clone();
    thief.post("/set?k=a&v=stolen").await.new_cookie();
    server.advance(LIFE + MINUTE).await;
    assert_refused(&thief.get("/state").await);
    assert_eq!(owner.refresh().await.status, 200);
    // The owner's own token is superseded, and alive, since nobody moved on a grace later.
    assert_eq!(owner.state().await["data"]["a"], "stolen");
    assert_refused(&thief.get("/state").await);
}

pub(crate) async fn c70_what_a_login_offers_follows_the_settings(subject: Subject) {
    let server = binding_server(subject, &[("DEVICE", "answer-only")]).await;
    let mut browser = DeviceBrowser::new(&server);
    let login = browser.post("/login?user=alice").await;
    assert!(Offer::of(&login).is_none());
    assert_eq!(browser.standing().await, "unbound");
    // An old session is never offered, nor one that moves on without a login.
    let server = binding_server(subject, &[("DEVICE_REQUIRED_MS", "120000")]).await;
    let mut browser = DeviceBrowser::new(&server);
    assert!(Offer::of(&browser.post("/set?k=a&v=1").await).is_none(), "an anonymous session");
    let offer = browser.offered("alice").await;
    for path in ["/renew", "/set?k=b&v=1", "/extra/steps?do=step-up:2"] {
        assert!(Offer::of(&browser.post(path).await).is_none(), "{path}");
    }
    assert!(Offer::of(&browser.post("/extra/steps?do=login:bob&do=status:500").await).is_none(), "a failed login");
    assert!(Offer::of(&browser.post("/extra/steps?do=login:alice&do=save&do=status:500").await).is_some());
    // The server requires a device here: it takes an unbound session for nothing after the time to bind it.
    browser.register(&offer).await.ok();
    assert_eq!(browser.standing().await, "unbound", "the offer was another session's");
    let superseded = browser.stolen_cookie();
    browser.post("/set?k=c&v=1").await.new_cookie();
    server.advance(2 * MINUTE + 1).await;
    assert_refused(&server.browser_with(&superseded).get("/state").await);
    assert_eq!(browser.get("/state").await.ok()["subject"], json!(null));
    assert_eq!(browser.standing().await, "missing");
    let mut bound = DeviceBrowser::bound(&server).await;
    server.advance(2 * MINUTE + 1).await;
    assert_eq!(bound.state().await["subject"], "alice");
}

pub(crate) async fn c70_routes_can_ask_for_a_device_and_for_a_fresh_proof(subject: Subject) {
    let server = binding_server(subject, &[]).await;
    let mut browser = DeviceBrowser::new(&server);
    browser.post("/login?user=alice").await.new_cookie();
    let asked = browser.post("/extra/steps?do=require-device").await;
    assert!(asked.text().contains("does not prove a device"), "{}", asked.text());
    assert_eq!(browser.post("/extra/proof?max_age_ms=60000").await.status, 403);
    let mut browser = DeviceBrowser::bound(&server).await;
    assert!(!browser.post("/extra/steps?do=require-device").await.text().contains("does not prove"));
    assert_eq!(browser.post("/extra/proof?max_age_ms=60000").await.ok(), json!({ "proved": true }));
    // A session that the request begins has no device, whether it is committed yet or not.
    for begins in ["login:alice", "logout", "logout-keeping-data"] {
        for saves in ["", "&do=save"] {
            let mut browser = DeviceBrowser::bound(&server).await;
            let asked = browser.post(&format!("/extra/steps?do={begins}{saves}&do=require-device")).await;
            assert!(asked.text().contains("does not prove a device"), "{begins}{saves}: {}", asked.text());
        }
    }
    let renewed = browser.post("/extra/steps?do=renew&do=save&do=require-device").await;
    assert!(!renewed.text().contains("does not prove"), "{}", renewed.text());
    server.advance(2 * MINUTE).await;
    let reply = browser.post("/extra/proof?max_age_ms=60000").await;
    assert_eq!((reply.status, reply.all("location")), (307, vec!["/extra/proof?max_age_ms=60000".to_owned()]));
    assert_eq!(browser.ticket, None, "the browser has to sign before it comes back");
    assert_eq!(browser.post("/extra/proof?max_age_ms=60000").await.status, 403, "and gets no second redirect without");
    assert_eq!(browser.refresh().await.status, 200);
    assert_eq!(browser.post("/extra/proof?max_age_ms=60000").await.ok(), json!({ "proved": true }));
}

pub(crate) async fn c71_a_ticket_of_another_device_session_key_or_time_gets_nothing(subject: Subject) {
    let server = binding_server(subject, &[]).await;
    let mut owner = DeviceBrowser::bound(&server).await;
    let other = DeviceBrowser::bound(&server).await;
    let (cookie, own) = (owner.stolen_cookie(), owner.ticket.clone().unwrap());
    let foreign = other.ticket.clone().unwrap();
    let reply = get(&owner, &cookie, Some(&foreign)).await;
    assert_refused(&reply);
    assert!(ticket_of(&reply).expect("a removal").is_removal(), "the browser asks for another one");
    assert_eq!(server.metrics().await.event("device_mismatch"), 1);
    server.event("device_mismatch").await;

    let bytes = decode(&own);
    let (not_after, device, handle) = (number(&bytes[..8]), array(&bytes[8..24]), array(&bytes[24..40]));
    let ours = |not_after, device, handle| device::ticket(&server.keys.fingerprint, not_after, &device, &handle);
    assert_eq!(ours(not_after, device, handle), own, "written a second time");
    let minutes = |minutes: i64| not_after.saturating_add_signed(minutes * MINUTE);
    let changed = |at: usize| {
        let mut text = own.clone().into_bytes();
        text[at] = if text[at] == b'A' { b'B' } else { b'A' };
        String::from_utf8(text).unwrap()
    };
    for (what, ticket) in [
        ("of another key", device::ticket(&Keys::random().fingerprint, not_after, &device, &handle)),
        ("too old", ours(minutes(-12), device, handle)),
        ("good for longer than a ticket is", ours(minutes(12), device, handle)),
        ("of a device that nobody has", ours(not_after, [7; 16], handle)),
        ("altered", changed(3)),
        ("with another stamp", changed(70)),
        ("padded", format!("{own}=")),
        ("empty", String::new()),
        ("huge", "A".repeat(3000)),
    ] {
        let reply = get(&owner, &cookie, Some(&ticket)).await;
        assert_refused(&reply);
        assert!(ticket_of(&reply).is_some_and(|cookie| cookie.is_removal()), "{what}");
    }
    // The good one among others counts.
    let name = &server.cookie_name;
    let header = format!("{name}={cookie}; {name}-device=x; {name}-device={foreign}; {name}-device={own}");
    assert_eq!(server.get("/state").header("cookie", &header).send().await.ok()["subject"], "alice");
    // Also behind any number that a sibling host has set for the whole domain, its own good ones included.
    let planted = [changed(3), foreign.clone(), "x".to_owned(), "A".repeat(80), String::new()];
    let planted: String = planted.iter().cycle().take(25).map(|value| format!("{name}-device={value}; ")).collect();
    let header = format!("{planted}{name}={cookie}; {name}-device={own}");
    let reply = server.get("/state").header("cookie", &header).send().await;
    assert_eq!((reply.ok()["subject"].as_str(), ticket_of(&reply).is_none()), (Some("alice"), true));
    assert_eq!(owner.state().await["data"], json!({ "a": "1" }));
    // For a session that is not bound, a ticket of another session binds nothing.
    let mut unbound = DeviceBrowser::new(&server);
    unbound.offered("bob").await;
    unbound.ticket = Some(own);
    server.advance(2 * MINUTE + 1).await;
    let reply = unbound.post("/set?k=b&v=1").await;
    assert_eq!(reply.ok()["subject"], "bob");
    assert_eq!((unbound.ticket.clone(), unbound.standing().await), (None, "unbound".to_owned()));
}

fn number(bytes: &[u8]) -> u64 {
    u64::from_be_bytes(bytes.try_into().unwrap())
}

fn array(bytes: &[u8]) -> [u8; 16] {
    bytes.try_into().unwrap()
}

pub(crate) async fn c72_a_lost_registration_answer_locks_nobody_out(subject: Subject) {
    let server = binding_server(subject, &[]).await;
    let mut browser = DeviceBrowser::new(&server);
    let offer = browser.offered("alice").await;
    browser.clone().register(&offer).await.ok();
    // Nothing of the answer arrived: the session goes on unbound, and the next login offers again.
    assert_eq!(browser.standing().await, "unbound");
    assert_eq!(browser.post("/set?k=a&v=1").await.ok()["data"]["a"], "1");
    browser.log_in("alice").await;
    assert_eq!(browser.standing().await, "bound");
    // The answer arrived, and the response that bound the session did not: the same ticket goes on.
    let mut browser = DeviceBrowser::new(&server);
    browser.log_in("alice").await;
    browser.clone().get("/state").await.new_cookie();
    assert_eq!(browser.standing().await, "bound");
    assert_eq!(browser.state().await["subject"], "alice");
    assert_eq!(server.metrics().await.event("device_bound"), 2);
}

pub(crate) async fn c72_tabs_that_come_at_once_bind_the_session_once(subject: Subject) {
    let server = binding_server(subject, &[]).await;
    let mut browser = DeviceBrowser::new(&server);
    browser.log_in("alice").await;
    // Some came before the ticket did, and write all the same.
    let early = DeviceBrowser { ticket: None, ..browser.clone() };
    let tabs = (0..12).map(|n| {
        let tab = if n % 3 == 0 { &early } else { &browser };
        tab.carrying(server.post("/incr?k=n&gate=load"))
    });
    let (replies, ()) = held(&server, tabs.collect(), async {}).await;
    for reply in &replies {
        assert_eq!(reply.ok(), json!({ "value": 1 }));
        browser.receive(reply);
    }
    assert_eq!(browser.state().await["data"]["n"], 12);
    assert_eq!((browser.standing().await.as_str(), server.metrics().await.event("device_bound")), ("bound", 1));
    assert_refused(&server.browser_with(&browser.stolen_cookie()).get("/state").await);
}

pub(crate) async fn c72_a_request_under_way_when_the_session_is_bound_is_served(subject: Subject) {
    let server = binding_server(subject, &[]).await;
    let mut browser = DeviceBrowser::new(&server);
    browser.log_in("alice").await;
    let early = server.browser_with(&browser.stolen_cookie());
    assert_eq!(browser.standing().await, "bound");
    // Sent before the ticket came, and overtaken by the request that bound the session.
    let reply = early.clone().post("/incr?k=n").await;
    assert_eq!(reply.ok()["value"], 1);
    assert_eq!(early.clone().get("/extra/about").await.ok()["device"], "unbound");
    // The newest token that it gets is bound like any other, and a grace later nothing can be under way any more.
    assert_refused(&server.browser_with(&reply.new_cookie()).get("/state").await);
    server.advance(MINUTE + 1).await;
    assert_refused(&early.clone().get("/state").await);
    assert_eq!(browser.state().await["data"]["n"], 1);
    assert_eq!(server.metrics().await.event("replayed"), 0);
}

pub(crate) async fn c72_a_registration_is_for_one_session_whatever_comes_in_between(subject: Subject) {
    let server = binding_server(subject, &[]).await;
    // A renewal: the ticket is the session's before it, and the browser's own session ends at its next refresh.
    let mut browser = DeviceBrowser::new(&server);
    let offer = browser.offered("alice").await;
    browser.post("/renew").await.new_cookie();
    browser.register(&offer).await.ok();
    assert_eq!(browser.standing().await, "unbound");
    assert!(browser.ticket.is_some(), "left alone, as the right one may be on its way");
    server.advance(2 * MINUTE + 1).await;
    assert_eq!(browser.standing().await, "unbound");
    assert_eq!(browser.ticket, None, "taken away, so that the browser refreshes now");
    assert_eq!(browser.refresh().await.ok()["continue"], false);
    // A renewal after it is bound keeps the device.
    browser.log_in("alice").await;
    assert_eq!(browser.standing().await, "bound");
    browser.post("/renew").await.new_cookie();
    browser.post("/extra/steps?do=step-up:2").await.new_cookie();
    assert_eq!(browser.standing().await, "bound");
    assert_refused(&server.browser_with(&browser.stolen_cookie()).get("/state").await);
    // A login: the new session is offered anew, and the old key is worth nothing to it.
    let before = browser.clone();
    let offer = browser.offered("alice").await;
    assert_eq!(browser.standing().await, "unbound");
    assert_eq!(browser.ticket, before.ticket, "left alone: the registration replaces it");
    browser.device = Device::new(&[5; 32]);
    browser.register(&offer).await.ok();
    assert_eq!(browser.standing().await, "bound");
    assert_eq!(server.metrics().await.event("device_bound"), 2);
}

pub(crate) async fn c72_a_thief_without_the_challenge_cannot_bind_a_key(subject: Subject) {
    let server = binding_server(subject, &[]).await;
    let mut owner = DeviceBrowser::new(&server);
    let offer = owner.offered("alice").await;
    // With the cookie, which is not bound yet, and a registration of the thief's own.
    let mut thief = DeviceBrowser::new(&server);
    let own = thief.offered("mallory").await;
    thief.register(&own).await.ok();
    let mixed = Offer { challenge: own.challenge.clone(), ..offer.clone() };
    assert_eq!(thief.clone().register(&mixed).await.status, 400, "of another session");
    let mixed = Offer { challenge: "A".repeat(38), ..offer.clone() };
    assert_eq!(thief.clone().register(&mixed).await.status, 400, "made up");
    thief.cookie.clone_from(&owner.cookie);
    assert_eq!(thief.state().await["subject"], "alice", "the cookie is not bound yet");
    assert_eq!(server.metrics().await.event("device_bound"), 0);
    owner.register(&offer).await.ok();
    assert_eq!(owner.standing().await, "bound");
    server.advance(MINUTE + 1).await;
    assert_refused(&thief.get("/state").await);
    // The offer's challenge does not live longer than the ticket would.
    let mut late = DeviceBrowser::new(&server);
    let offer = late.offered("bob").await;
    server.advance(LIFE + 1).await;
    assert_eq!(late.register(&offer).await.status, 400);
    let reasons = server.events("device_endpoint_refused", 3).await;
    let reasons: Vec<_> = reasons.iter().map(|event| event["reason"].as_str().unwrap()).collect();
    assert_eq!(reasons, ["challenge", "challenge", "stale"]);
}

pub(crate) async fn c73_a_refresh_depends_on_no_cookie_and_follows_one_that_came(subject: Subject) {
    let server = binding_server(subject, &[("CROSS_ORIGIN", "refuse")]).await;
    let mut owner = DeviceBrowser::bound(&server).await;
    // As after a link from another site: no cookie, and the site is named as the one that caused it.
    let reply = owner.refresh_request().header("sec-fetch-site", "cross-site").send().await;
    assert_eq!((reply.status, reply.text().as_str()), (200, ""));
    let ticket = ticket_of(&reply).expect("a ticket");
    let attributes = ["HttpOnly", "Max-Age=600", "Path=/", "SameSite=Lax", "Secure"];
    assert_eq!(
        (ticket.name.as_str(), ticket.attributes.as_slice()),
        ("session-device", &attributes.map(str::to_owned)[..])
    );
    assert_eq!(get(&owner, &owner.stolen_cookie(), Some(&ticket.value)).await.ok()["subject"], "alice");
    assert!(reply.all("cache-control").contains(&"no-store".to_owned()));
    // The session's own cookie, current or superseded, and that of a renewal that is not received yet.
    let superseded = owner.clone();
    owner.post("/set?k=b&v=1").await.new_cookie();
    let renewed = owner.clone();
    owner.post("/renew").await.new_cookie();
    let metrics = server.metrics().await;
    for mut browser in [owner.clone(), superseded, renewed] {
        let reply = browser.refresh().await;
        assert_eq!((reply.status, reply.text().as_str(), ticket_of(&reply).is_some()), (200, "", true));
        assert!(reply.set_cookie().is_none());
    }
    assert_eq!(server.metrics().await.writes(), metrics.writes(), "a refresh changes no session");
    // Another device's session, one that is not bound, and one that is over.
    let mut other = DeviceBrowser::bound(&server).await;
    let mut unbound = DeviceBrowser::new(&server);
    unbound.offered("bob").await;
    let anonymous = server.browser().post("/set?k=a&v=1").await.new_cookie();
    let mut ended = owner.clone();
    // A login that is young may be registering its own key under the same name, which the end would hit.
    let reply = DeviceBrowser { cookie: Some(unbound.stolen_cookie()), ..owner.clone() }.refresh().await;
    assert_eq!((reply.status, reply.text().as_str(), ticket_of(&reply).is_some()), (200, "", true));
    server.advance(2 * MINUTE + 1).await;
    for cookie in [other.stolen_cookie(), unbound.stolen_cookie(), anonymous] {
        let reply = DeviceBrowser { cookie: Some(cookie), ..owner.clone() }.refresh().await;
        assert_eq!(reply.ok()["continue"], false);
        assert_eq!(reply.ok()["session_identifier"], "session-device");
        assert!(ticket_of(&reply).is_none());
    }
    owner.post("/logout").await.assert_removal();
    server.advance(MINUTE + 1).await;
    assert_eq!(ended.refresh().await.ok()["continue"], false);
    assert_eq!(other.state().await["subject"], "alice");
}

pub(crate) async fn c73_a_refresh_that_crosses_a_login_ends_no_newer_binding(subject: Subject) {
    let server = binding_server(subject, &[]).await;
    // The browser still sends the old key's ticket while it logs in again and registers the next key.
    let spared = async |old: &DeviceBrowser<'_>, beside: &str| {
        let reply = DeviceBrowser { cookie: Some(beside.to_owned()), ..old.clone() }.refresh().await;
        assert_eq!((reply.status, reply.text().as_str(), ticket_of(&reply).is_some()), (200, "", true));
    };
    let ended = async |old: &DeviceBrowser<'_>, beside: &str| {
        let reply = DeviceBrowser { cookie: Some(beside.to_owned()), ..old.clone() }.refresh().await;
        assert_eq!((&reply.ok()["continue"], ticket_of(&reply).is_none()), (&json!(false), true));
    };
    for user in ["alice", "bob"] {
        let mut browser = DeviceBrowser::bound(&server).await;
        let old = browser.clone();
        let offer = browser.offered(user).await;
        let offered = browser.stolen_cookie();
        // The session before is over, and the one after it is not bound yet.
        spared(&old, &old.stolen_cookie()).await;
        spared(&old, &offered).await;
        browser.device = Device::new(&[5; 32]);
        browser.register(&offer).await.ok();
        spared(&old, &offered).await;
        assert_eq!(browser.standing().await, "bound");
        // The browser has registered its key within a grace, and the refresh was under way for half of another.
        for minutes in [0, 1] {
            server.advance(minutes * MINUTE).await;
            spared(&old, &offered).await;
            spared(&old, &browser.stolen_cookie()).await;
        }
        server.advance(MINUTE + 1).await;
        ended(&old, &browser.stolen_cookie()).await;
        assert_eq!(browser.state().await["subject"], user);
    }
    // The same after a logout: the browser may log in again before the answer arrives.
    let mut browser = DeviceBrowser::bound(&server).await;
    let old = browser.clone();
    browser.post("/logout").await.assert_removal();
    spared(&old, &old.stolen_cookie()).await;
    server.advance(MINUTE + 1).await;
    ended(&old, &old.stolen_cookie()).await;
    // A session that was revoked leaves no time to go by.
    let old = DeviceBrowser::bound(&server).await;
    server.post("/admin/revoke?user=alice").send().await.ok();
    ended(&old, &old.stolen_cookie()).await;
}

pub(crate) async fn c74_hostile_proofs_are_refused_without_ending_the_browsers_session(subject: Subject) {
    let server = binding_server(subject, &[]).await;
    let mut owner = DeviceBrowser::bound(&server).await;
    let before = server.metrics().await;
    let challenge = owner.challenge.clone().unwrap();
    let (device, other) = (owner.device.clone(), Device::new(&[9; 32]));
    let claims = format!(r#"{{"jti":"{challenge}"}}"#);
    let header = |alg: &str, more: &str| format!(r#"{{"alg":"{alg}","typ":"dbsc+jwt"{more}}}"#);
    let jwk = |device: &Device| format!(r#","jwk":{}"#, device.jwk());
    let good = device.refresh(&challenge);
    let hostile = [
        device.sign(&header("none", ""), &claims),
        device.sign(&header("HS256", ""), &claims),
        device.sign(&header("ES384", ""), &claims),
        format!("{}.", good.rsplit_once('.').unwrap().0),
        device.sign(&header("ES256", &jwk(&device)), &claims),
        other.sign(&header("ES256", &jwk(&other)), &claims),
        other.refresh(&challenge),
        format!("{good}A"),
        format!("{good}.x"),
        "A".repeat(5000),
        "\u{7f}".to_owned(),
    ];
    for proof in &hostile[..hostile.len() - 1] {
        let reply = owner.unproved_refresh().header("secure-session-response", proof).send().await;
        assert_eq!((reply.status, reply.all("secure-session-challenge").len()), (403, 1), "{proof}");
        assert!(ticket_of(&reply).is_none());
    }
    let refused = server.metrics().await.event("device_endpoint_refused");
    assert_eq!(refused - before.event("device_endpoint_refused"), u64::try_from(hostile.len() - 1).unwrap());
    // Two proofs are none, and none is answered by a challenge without an event.
    let twice = owner.refresh_request().header("secure-session-response", &good).send().await;
    assert_eq!(twice.status, 403);
    assert_eq!(owner.unproved_refresh().send().await.status, 403);
    assert_eq!(server.metrics().await.event("device_endpoint_refused"), refused + 1);
    // A challenge that is too old is replaced, and one that was used before gives one ticket more: it is as
    // short-lived.
    let mut again = owner.clone();
    assert_eq!(again.refresh_once().await.status, 200);
    assert_eq!(owner.refresh_once().await.status, 200);
    server.advance(LIFE + 1).await;
    assert_eq!(owner.refresh_once().await.status, 403);
    assert_eq!(owner.refresh_once().await.status, 200);
    assert_eq!(server.metrics().await.event("device_endpoint_refused"), refused + 1);
    assert_eq!(owner.state().await["subject"], "alice");
    // Identifiers: malformed, of another key, missing. Other methods.
    let refresh = |identifier: &str| server.post(&format!("/.session/device/refresh/{identifier}"));
    let handle = [1; 16];
    let foreign = device::identifier(&Keys::random().fingerprint, &handle, &device.public_key());
    assert_eq!(refresh("x").send().await.status, 400);
    assert_eq!(refresh(&"A".repeat(135)).send().await.status, 503, "a key that this host may get yet");
    assert_eq!(refresh(&foreign).send().await.status, 503);
    let mut altered = owner.refresh_url.clone().unwrap().rsplit_once('/').unwrap().1.to_owned();
    altered.replace_range(30..31, if &altered[30..31] == "A" { "B" } else { "A" });
    assert_eq!(refresh(&altered).send().await.status, 400);
    for path in ["/.session/device", "/.session/device/refresh/x"] {
        let reply = server.get(path).send().await;
        assert_eq!((reply.status, reply.all("allow")), (405, vec!["POST".to_owned()]));
    }
    assert_eq!(server.get("/.session/device/").send().await.status, 404);
    // A registration without a proof, or with a hostile one.
    assert_eq!(server.post("/.session/device").send().await.status, 400);
    for proof in &hostile[..hostile.len() - 1] {
        let reply = server.post("/.session/device").header("secure-session-response", proof).send().await;
        assert_eq!(reply.status, 400, "{proof}");
    }
}

pub(crate) async fn c75_a_handoff_needs_the_ticket_and_leaves_the_bucket_alone_without(subject: Subject) {
    let server = binding_server(subject, &[]).await;
    let mut owner = DeviceBrowser::bound(&server).await;
    let superseded = owner.stolen_cookie();
    owner.post("/set?k=a&v=2").await.new_cookie();
    let before = server.metrics().await;
    assert_refused(&server.browser_with(&superseded).get("/state").await);
    let after = server.metrics().await;
    assert_eq!((after.writes(), after.event("handed_off")), (before.writes(), before.event("handed_off")));
    let ticket = owner.ticket.clone();
    let reply = get(&owner, &superseded, ticket.as_deref()).await;
    assert_eq!((&reply.ok()["data"]["a"], reply.new_cookie()), (&json!("2"), owner.stolen_cookie()));
    // A token from before the session was bound is no way in either, once no honest request can be under way with it.
    let mut early = DeviceBrowser::new(&server);
    early.log_in("alice").await;
    let unbound = early.stolen_cookie();
    early.post("/set?k=a&v=1").await.new_cookie();
    server.advance(MINUTE + 1).await;
    assert_refused(&server.browser_with(&unbound).get("/state").await);
    // Dead, it is no replay without a ticket: an attacker without the device ends nobody's session. With one it is.
    owner.post("/set?k=a&v=3").await.new_cookie();
    server.advance(MINUTE + 1).await;
    assert_refused(&server.browser_with(&superseded).get("/state").await);
    assert_eq!(owner.state().await["data"]["a"], "3");
    assert_eq!(server.metrics().await.event("replayed"), 0);
    assert_refused(&get(&owner, &superseded, ticket.as_deref()).await);
    assert_eq!(server.event("replayed").await["revoked"], true);
}

pub(crate) async fn c76_a_host_that_binds_no_session_does_not_unbind_one(subject: Subject) {
    let first = binding_server(subject, &[]).await;
    let setup = subject.setup().keys(&first.keys).database(first.database());
    let plain = setup.set("COOKIE_SECURE", "1").start().await;
    let mut owner = DeviceBrowser::bound(&first).await;
    // A host without the setting serves the session as it is, and passes its device on.
    let mut elsewhere = DeviceBrowser { server: &plain, ..owner.clone() };
    for path in ["/set?k=a&v=2", "/renew", "/extra/steps?do=step-up:2", "/set?k=b&v=3"] {
        elsewhere.post(path).await.new_cookie();
    }
    owner.cookie.clone_from(&elsewhere.cookie);
    assert_eq!(owner.standing().await, "bound");
    assert_refused(&first.browser_with(&owner.stolen_cookie()).get("/state").await);
    // Its logins begin sessions that are not bound, and it answers no browser.
    assert!(Offer::of(&elsewhere.post("/login?user=alice").await).is_none());
    assert_eq!(plain.post("/.session/device").send().await.status, 404);
    owner.cookie.clone_from(&elsewhere.cookie);
    assert_eq!(owner.standing().await, "unbound");
}

pub(crate) async fn c77_a_hundred_writers_across_a_refresh_add_up(subject: Subject) {
    let server = binding_server(subject, &[]).await;
    let mut owner = DeviceBrowser::bound(&server).await;
    server.advance(9 * MINUTE).await;
    let old = owner.clone();
    assert_eq!(owner.refresh().await.status, 200);
    assert_ne!(old.ticket, owner.ticket);
    let writers = (0..100).map(|n| {
        let browser = if n % 2 == 0 { &old } else { &owner };
        browser.carrying(server.post("/incr?k=n&gate=load"))
    });
    // While all are under way, the old ticket ends.
    let since = Instant::now();
    let (replies, ()) = held(&server, writers.collect(), async { server.advance(2 * MINUTE + 1).await }).await;
    let done = carried_out(&replies, since);
    for reply in &done {
        assert_eq!(reply.ok(), json!({ "value": 1 }));
        owner.receive(reply);
    }
    assert_eq!(owner.state().await["data"], json!({ "a": "1", "n": done.len() }));
    assert_eq!(server.metrics().await.event("device_missing"), 0);
}

pub(crate) async fn c78_a_logout_needs_no_proof_and_takes_the_ticket_along(subject: Subject) {
    let server = binding_server(subject, &[]).await;
    let owner = DeviceBrowser::bound(&server).await;
    let reply = owner.clone().post("/logout").await;
    reply.assert_removal();
    assert!(ticket_of(&reply).expect("a removal").is_removal());
    assert_eq!(server.metrics().await.live(), 0);

    // A browser that may make no signature for now.
    let mut owner = DeviceBrowser::bound(&server).await;
    owner.ticket = None;
    let skipped = r#"quota_exceeded;session_identifier="x""#;
    let request = server.get("/state").header("secure-session-skipped", skipped);
    assert_eq!(owner.send(request).await.ok()["subject"], json!(null));
    assert_eq!(server.event("device_missing").await["skipped"], "quota_exceeded");
    let reply = owner.post("/logout").await;
    reply.assert_removal();
    assert_eq!(server.metrics().await.live(), 0);
    // A login without a proof ends nothing: the cookie may be stolen.
    let mut owner = DeviceBrowser::bound(&server).await;
    let mut thief = server.browser_with(&owner.stolen_cookie());
    // Its form needs a token, which is none for requests of the session.
    let page = thief.get("/csrf").await;
    page.assert_no_cookie();
    let token = page.ok()["token"].as_str().unwrap().to_owned();
    let form = || server.post("/protected").header("x-csrf-token", &token);
    assert_eq!(thief.send(form()).await.status, 200);
    assert_eq!(owner.send(form()).await.status, 403);
    thief.post("/login?user=mallory").await.new_cookie();
    assert_eq!(thief.state().await["subject"], "mallory");
    assert_eq!(owner.state().await["subject"], "alice");
    assert_eq!(server.metrics().await.live(), 2);
}

pub(crate) async fn c79_a_store_that_is_down_ends_no_browsers_session(subject: Subject) {
    let server: Server = binding_server(subject, &[]).await;
    let mut owner = DeviceBrowser::bound(&server).await;
    let mut fresh = DeviceBrowser::new(&server);
    let offer = fresh.offered("alice").await;
    server.fault("down").await;
    let reply = owner.refresh().await;
    assert_eq!((reply.status, reply.text().as_str(), ticket_of(&reply).is_some()), (200, "", true));
    fresh.register(&offer).await.ok();
    assert_eq!(owner.get("/state").await.status, 503);
    server.fault("up").await;
    assert_eq!(owner.state().await["data"], json!({ "a": "1" }));
    assert_eq!(fresh.standing().await, "bound");
}

pub(crate) async fn c79_a_store_that_refuses_writes_keeps_no_freshly_bound_browser_out(subject: Subject) {
    let server = binding_server(subject, &[("DEVICE_REQUIRED_MS", "120000")]).await;
    let mut browser = DeviceBrowser::new(&server);
    browser.log_in("alice").await;
    let unbound = browser.stolen_cookie();
    server.fault("commit").await;
    // Its requests read the session, as those of a browser without a key do. What they change is refused as ever.
    let read = browser.get("/state").await;
    assert_eq!((read.ok()["subject"].as_str(), read.set_cookie().is_none()), (Some("alice"), true));
    let saved = browser.post("/extra/steps?do=save&do=require-device").await;
    assert_eq!(saved.ok()["steps"], json!([{ "ok": null }, { "ok": null }]));
    assert_eq!(browser.post("/set?k=a&v=1").await.status, 503);
    // No time to bind the session is gained: without the ticket it is refused once that is over, and with it served.
    server.advance(2 * MINUTE + 1).await;
    assert_refused(&server.browser_with(&unbound).get("/state").await);
    assert_eq!(browser.state().await["subject"], "alice");
    assert_eq!(server.metrics().await.event("device_bound"), 0);
    server.fault("up").await;
    assert_eq!(browser.standing().await, "bound");
    assert_eq!(server.metrics().await.event("device_bound"), 1);
    assert_refused(&server.browser_with(&unbound).get("/state").await);
}
