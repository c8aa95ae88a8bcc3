//! A subject's sessions beyond the checklist: how it authenticated, how many it may have, and what is asked in vain.

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::client::{alice, assert_refused, steps};
use crate::support::forge::{encode, random};
use crate::support::{Browser, MINUTE, Reply, Server, Subject};

/// The outcomes of `/extra/steps`, each `null` for success or the status of its error.
fn outcomes(reply: &Reply) -> Vec<Value> {
    let steps = reply.json()["steps"].as_array().unwrap().clone();
    steps.into_iter().map(|step| step.get("status").cloned().unwrap_or_default()).collect()
}

async fn about(browser: &mut Browser<'_>) -> Value {
    browser.get("/extra/about").await.ok()
}

pub(crate) async fn d1_a_step_up_renews_session_and_authentication_and_a_login_starts_anew(subject: Subject) {
    let server = subject.start().await;
    let asked = ["recent:60000", "assurance:1", "assurance:2"];
    // Nobody is logged in, so nobody steps up.
    let reply = server.post(&steps(&["recent:60000", "assurance:1", "step-up:2"])).send().await;
    assert_eq!(outcomes(&reply), [401, 401, 401]);
    reply.assert_no_cookie();

    let mut browser = server.browser();
    browser.post(&steps(&["set:a=1", "login-with:alice=1"])).await.new_cookie();
    assert_eq!(outcomes(&browser.post(&steps(&asked)).await), [json!(null), json!(null), json!(403)]);
    let before = about(&mut browser).await;
    assert_eq!(before["assurance"], 1);
    server.advance(2 * MINUTE).await;
    assert_eq!(outcomes(&browser.post(&steps(&asked)).await), [json!(403), json!(null), json!(403)]);

    let superseded = browser.token();
    let reply = browser.post(&steps(&["step-up:2", "recent:60000", "assurance:2"])).await;
    assert_eq!(outcomes(&reply), [json!(null), json!(null), json!(null)]);
    reply.new_cookie();
    assert_refused(&server.get("/state").cookie(&superseded).send().await);
    let after = about(&mut browser).await;
    assert_eq!((&after["assurance"], &after["expires_at"]), (&json!(2), &before["expires_at"]));
    assert_ne!(after["id"], before["id"]);
    assert!(after["authenticated_at"].as_i64() >= before["authenticated_at"].as_i64().map(|at| at + 2 * MINUTE));
    assert_eq!(browser.state().await["data"], json!({ "a": "1" }));
    assert_eq!(outcomes(&browser.post(&steps(&asked)).await), [json!(null), json!(null), json!(null)]);

    // A response of 500 keeps none of it.
    server.advance(2 * MINUTE).await;
    browser.post(&steps(&["step-up:3", "status:500"])).await.assert_no_cookie();
    assert_eq!(about(&mut browser).await, after);

    // A login has a life and a level of its own.
    server.advance(20 * MINUTE).await;
    browser.post("/login?user=alice").await.new_cookie();
    let again = about(&mut browser).await;
    assert_eq!(again["assurance"], json!(null));
    assert!(again["expires_at"].as_i64() >= after["expires_at"].as_i64().map(|at| at + 20 * MINUTE));
}

pub(crate) async fn d1_bad_handles_labels_and_subjects_are_typed_errors_that_change_nothing(subject: Subject) {
    let server = subject.start().await;
    let (mut browser, mut bob) = (alice(&server).await, server.browser());
    bob.post("/login?user=bob").await.new_cookie();
    let theirs = bob.id().await;
    let unknown = encode(&random::<16>());
    let mut refusals = Vec::new();
    for handle in [&theirs, &unknown] {
        let reply = browser.post(&format!("/sessions/revoke?handle={handle}")).await;
        assert_eq!(reply.status, 404);
        refusals.push(reply.text());
    }
    assert_eq!(refusals[0], refusals[1], "nothing tells whether the handle is another subject's");
    for malformed in ["", "x", &unknown[1..], &format!("{unknown}A")] {
        assert_eq!(browser.post(&format!("/sessions/revoke?handle={malformed}")).await.status, 400);
    }
    assert_eq!(server.browser().post(&format!("/sessions/revoke?handle={theirs}")).await.status, 401);
    assert_eq!(bob.state().await["subject"], "bob");

    let (writes, cookie) = (server.metrics().await.writes(), browser.token());
    for step in ["label-big:513", "label-big:1048576", "login-big:513", "login-big:1048576"] {
        let reply = browser.post(&steps(&[step])).await;
        assert_eq!(outcomes(&reply), [400], "{step}");
        assert_eq!(reply.json()["state"]["subject"], "alice");
        reply.assert_no_cookie();
    }
    assert_eq!((server.metrics().await.writes(), browser.token()), (writes, cookie));
    let reply = server.post(&steps(&["login-big:1048576"])).send().await;
    reply.assert_no_cookie();
    assert_eq!(reply.json()["state"]["subject"], json!(null));
}

pub(crate) async fn d1_revoking_the_session_that_asks_is_a_logout(subject: Subject) {
    let server = subject.start().await;
    let mut browser = alice(&server).await;
    let (own, cookie) = (browser.id().await, browser.token());
    browser.post(&format!("/sessions/revoke?handle={own}")).await.assert_removal();
    server.get("/state").cookie(&cookie).send().await.assert_anonymous();
    assert_eq!(server.metrics().await.live(), 0);
}

pub(crate) async fn d1_a_login_can_end_all_other_sessions_in_the_same_request(subject: Subject) {
    let server = subject.start().await;
    let (mut lost, mut bob) = (alice(&server).await, server.browser());
    bob.post("/login?user=bob").await.new_cookie();
    let mut browser = server.browser();
    browser.post(&steps(&["login:alice", "revoke-others"])).await.new_cookie();
    assert_refused(&lost.get("/state").await);
    assert_eq!(browser.state().await["subject"], "alice");
    assert_eq!(bob.state().await["subject"], "bob");
    // Also where there was an anonymous session before.
    let mut third = server.browser();
    third.post("/set?k=a&v=1").await.new_cookie();
    third.post(&steps(&["login:alice", "revoke-others"])).await.new_cookie();
    assert_refused(&browser.get("/state").await);
    assert_eq!(third.state().await["data"], json!({ "a": "1" }));
    third.post(&steps(&["logout-everywhere"])).await.assert_removal();
    assert_eq!(server.metrics().await.live(), 1);
}

/// Counts the cookies among these that still are sessions of alice.
async fn alive(server: &Server, cookies: &[String]) -> usize {
    let states = join_all(cookies.iter().map(|cookie| server.get("/state").cookie(cookie).send())).await;
    states.iter().filter(|reply| reply.ok()["subject"] == "alice").count()
}

pub(crate) async fn d1_a_login_over_the_limit_evicts_the_oldest_session(subject: Subject) {
    let server = subject.start_with(&[("SESSION_LIMIT", "evict:2")]).await;
    let mut cookies = Vec::new();
    for expected in [1, 2, 2, 2] {
        cookies.push(server.post("/login?user=alice").send().await.new_cookie());
        assert_eq!(alive(&server, &cookies).await, expected);
        assert_eq!(alive(&server, &cookies[cookies.len() - 1..]).await, 1, "the newest stays");
    }
    assert_eq!(alive(&server, &cookies[2..]).await, 2);
    assert_eq!(server.event("ended").await["reason"], "Evicted");
    // To log in again in one of them makes no other way.
    let mut browser = server.browser_with(&cookies[3]);
    browser.post("/login?user=alice").await.new_cookie();
    assert_eq!(alive(&server, &[cookies[2].clone(), browser.token()]).await, 2);
    // Nor does another subject, or who is not logged in.
    server.post("/login?user=bob").send().await.new_cookie();
    server.post("/set?k=a&v=1").send().await.new_cookie();
    assert_eq!(alive(&server, &[cookies[2].clone(), browser.token()]).await, 2);
    // A clock that was set back turns no order around.
    server.advance(-MINUTE).await;
    let latest = server.post("/login?user=alice").send().await.new_cookie();
    assert_eq!(alive(&server, &[browser.token(), latest]).await, 2);
}

pub(crate) async fn d1_parallel_logins_leave_exactly_the_limit_where_the_oldest_are_evicted(subject: Subject) {
    let server = subject.start_with(&[("SESSION_LIMIT", "evict:2")]).await;
    let mut cookies = Vec::new();
    for round in 0..3 {
        let logins = (0..8).map(|_| server.post("/login?user=alice&load_ms=20").send());
        cookies.extend(join_all(logins).await.iter().map(Reply::new_cookie));
        assert_eq!(alive(&server, &cookies).await, 2, "round {round}");
        assert_eq!(server.metrics().await.live(), 2, "round {round}");
    }
    assert_eq!(alive(&server, &cookies[16..]).await, 2, "of those that logged in last");
}

pub(crate) async fn d1_a_login_over_the_limit_is_refused_until_a_session_ends(subject: Subject) {
    let server = subject.start_with(&[("SESSION_LIMIT", "refuse:2")]).await;
    let mut devices = [server.browser(), server.browser()];
    for device in &mut devices {
        device.post("/login?user=alice").await.new_cookie();
    }
    let mut third = server.browser();
    third.post("/set?k=a&v=1").await.new_cookie();
    let refused = third.post("/login?user=alice").await;
    assert_eq!(refused.status, 409);
    refused.assert_no_cookie();
    assert_eq!(third.state().await["data"], json!({ "a": "1" }), "what it had before stays");
    // A handler meets the error with `save`, and goes on without the login.
    let reply = third.post(&steps(&["login:alice", "save", "discard", "set:b=2"])).await;
    assert_eq!(outcomes(&reply)[1], 409);
    reply.new_cookie();
    assert_eq!(third.state().await["subject"], json!(null));
    assert!(server.metrics().await.event("login_refused") >= 2);
    // A device that has a place keeps it through another login.
    devices[0].post("/login?user=alice").await.new_cookie();
    devices[1].post("/logout").await.assert_removal();
    third.post("/login?user=alice").await.new_cookie();
    assert_eq!(third.state().await["data"], json!({ "a": "1", "b": "2" }));
    // A session that expired takes no place, purged or not.
    server.advance(31 * MINUTE).await;
    devices[1].post("/login?user=alice").await.new_cookie();
}

pub(crate) async fn d1_parallel_logins_never_exceed_a_limit_that_refuses_further_ones(subject: Subject) {
    let server = subject.start_with(&[("SESSION_LIMIT", "refuse:2")]).await;
    let logins = (0..8).map(|_| server.post("/login?user=alice&load_ms=20").send());
    let replies = join_all(logins).await;
    let mut cookies = Vec::new();
    for reply in &replies {
        match reply.status {
            200 => cookies.push(reply.new_cookie()),
            status => {
                assert_eq!(status, 409);
                reply.assert_no_cookie();
            }
        }
    }
    assert!((1..=2).contains(&cookies.len()), "{} logins were let in", cookies.len());
    assert_eq!(alive(&server, &cookies).await, cookies.len(), "who was let in stays");
    assert_eq!(server.metrics().await.live(), u64::try_from(cookies.len()).unwrap());
}

pub(crate) async fn d1_session_errors_of_a_handler_become_responses_of_the_applications_own(subject: Subject) {
    let server = subject.start().await;
    let mut browser = server.browser();
    let reply = browser.get("/extra/recent").await;
    assert_eq!((reply.status, reply.text().as_str()), (401, "Log in first."));
    browser.post("/login?user=alice").await.new_cookie();
    assert_eq!(browser.get("/extra/recent").await.ok()["recent"], true);
    server.advance(2 * MINUTE).await;
    let reply = browser.get("/extra/recent").await;
    assert_eq!((reply.status, reply.text().as_str()), (403, "Authenticate again."));

    let server = subject.start_with(&[("ON_ERROR", "1")]).await;
    let mut browser = server.browser();
    let reply = browser.get("/extra/recent").await;
    assert_eq!((reply.status, reply.all("location")), (303, vec!["/login".to_owned()]));
    browser.post("/login?user=alice").await.new_cookie();
    server.advance(2 * MINUTE).await;
    let reply = browser.get("/extra/recent").await;
    assert_eq!((reply.status, reply.all("location")), (303, vec!["/again".to_owned()]));
    assert_eq!(reply.all("cache-control"), ["no-store"]);
    let reply = browser.post("/extra/rejected").await;
    assert_eq!((reply.status, reply.all("x-own")), (413, vec!["1".to_owned()]));
    // Likewise what the commit met.
    server.fault("commit").await;
    let reply = browser.post("/set?k=a&v=1").await;
    assert_eq!((reply.status, reply.all("x-own")), (503, vec!["1".to_owned()]));
}

const LOGOUT: &str = "/extra/provider-logout?iss=https%3A%2F%2Flogin.example&sid=";

/// Returns the browser of a user who came from this session at the provider.
async fn from_provider<'s>(server: &'s Server, user: &str, sid: &str) -> Browser<'s> {
    let mut browser = server.browser();
    browser.post(&steps(&[&format!("login-from:{user}={sid}")])).await.new_cookie();
    browser
}

pub(crate) async fn g1_the_providers_logout_ends_what_came_from_its_session_and_no_more(subject: Subject) {
    let server = subject.start().await;
    let mut ended = [from_provider(&server, "alice", "1").await, from_provider(&server, "alice", "1").await];
    let mut others = [from_provider(&server, "alice", "2").await, alice(&server).await];
    // They go on for a while: changed, renewed, logged in anew from another session.
    ended[0].post("/set?k=a&v=1").await.new_cookie();
    ended[1].post("/renew").await.new_cookie();
    let mut moved = from_provider(&server, "alice", "1").await;
    moved.post(&steps(&["login-from:alice=2"])).await.new_cookie();

    assert_eq!(server.post(&format!("{LOGOUT}3")).send().await.ok()["revoked"], 0);
    assert_eq!(server.post(&format!("{LOGOUT}1")).send().await.ok()["revoked"], 2);
    let event = server.event("ended").await;
    assert_eq!((&event["reason"], &event["count"]), (&json!("ProviderLogout"), &json!(2)));
    for browser in &mut ended {
        browser.get("/state").await.assert_anonymous();
    }
    for browser in others.iter_mut().chain([&mut moved]) {
        assert_eq!(browser.state().await["subject"], "alice");
    }
    assert_eq!(server.post(&format!("{LOGOUT}1")).send().await.ok()["revoked"], 0, "delivered again");
    // A logout token without a session is about the user.
    assert_eq!(server.post("/admin/revoke?user=alice").send().await.ok()["revoked"], 3);
    let refused = server.post(LOGOUT).send().await;
    assert_eq!(refused.status, 400, "{}", refused.text());
}

pub(crate) async fn g1_a_thief_who_renews_against_the_providers_logout_does_not_survive_it(subject: Subject) {
    let server = subject.start().await;
    for round in 0..5 {
        let mut bystander = from_provider(&server, "alice", "2").await;
        let mut thieves = Vec::new();
        for _ in 0..3 {
            thieves.push(from_provider(&server, "alice", "1").await);
        }
        // Each renews in a loop, as fast as it can, until it is thrown out.
        let renewing = join_all(thieves.iter_mut().map(async |thief| {
            for _ in 0..10_000 {
                let reply = thief.post("/renew").await;
                // 409: its session ended while this was under way.
                if reply.status == 409 || reply.json()["subject"] != "alice" {
                    return;
                }
            }
            panic!("round {round}: a thief survived");
        }));
        let ending = async {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            server.post(&format!("{LOGOUT}1")).send().await.ok()["revoked"].as_u64().unwrap()
        };
        let (_, revoked) = futures_util::future::join(renewing, ending).await;
        assert!(revoked >= 1, "round {round}");
        assert_eq!(server.metrics().await.live(), 1, "round {round}");
        for thief in &mut thieves {
            thief.get("/state").await.assert_anonymous();
        }
        bystander.post("/logout").await.assert_removal();
    }
}
