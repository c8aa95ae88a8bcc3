//! Lines 80, 82, 84, 89 and 90: what ends, ends, whatever happens beside it; and what begins afterwards begins afresh.

use serde_json::{Value, json};

use crate::support::client::{alice, assert_refused, held, seeded, steps};
use crate::support::hostile::present;
use crate::support::{Browser, HOUR, Reply, Server, Subject};

/// The requests by which a user ends their own session.
const ENDINGS: [&str; 3] = ["/logout", "/logout-everywhere", "/logout-keeping-data"];

/// The same request, held at the gate once its session was loaded.
fn gated(path: &str) -> String {
    format!("{path}{}gate=load", if path.contains('?') { '&' } else { '?' })
}

/// Renews so many times, as a thief with a copy of the cookie.
async fn renew(thief: &mut Browser<'_>, times: u32) {
    for _ in 0..times {
        thief.post("/renew").await.new_cookie();
    }
}

/// Accepts two outcomes: the ending reached the session that the renewal led to, or it was a conflict that the client
/// learns of. A success beside a session that lives on is none.
async fn assert_over(thief: &mut Browser<'_>, ending: &Reply, what: &str) {
    if ending.status == 409 {
        ending.assert_no_cookie();
        return;
    }
    assert_eq!(ending.status, 200, "{what}: {}", ending.text());
    let survivor = thief.get("/state").await.ok();
    assert_eq!(survivor["subject"], json!(null), "{what}: answered 200, and the renewed session lives on");
    survivor["new"].as_bool().filter(|new| *new).unwrap_or_else(|| panic!("{what}: {survivor}"));
}

pub(crate) async fn c80_a_renew_while_the_handler_of_an_ending_runs_saves_nobody(subject: Subject) {
    for renewals in [1, 2] {
        for ending in ENDINGS {
            let server = subject.start().await;
            let owner = alice(&server).await;
            let mut thief = owner.clone();
            let slow = vec![owner.carrying(server.post(&gated(ending)))];
            let (replies, ()) = held(&server, slow, renew(&mut thief, renewals)).await;
            assert_over(&mut thief, &replies[0], &format!("{ending}, {renewals} renewals")).await;
            owner.clone().get("/state").await.assert_anonymous();
        }
    }
}

pub(crate) async fn c80_a_renew_between_an_endings_decision_and_its_write_saves_nobody(subject: Subject) {
    for renewals in [1, 2] {
        for ending in ENDINGS {
            let server = subject.start().await;
            let owner = alice(&server).await;
            let mut thief = owner.clone();
            server.fault("hold").await;
            let slow = vec![owner.carrying(server.post(ending))];
            let (replies, ()) = held(&server, slow, async {
                server.fault("up").await;
                renew(&mut thief, renewals).await;
            })
            .await;
            assert_over(&mut thief, &replies[0], &format!("{ending}, {renewals} renewals")).await;
            owner.clone().get("/state").await.assert_anonymous();
        }
    }
}

pub(crate) async fn c80_an_ending_with_the_cookie_from_before_a_renew_is_no_silent_success(subject: Subject) {
    for (renewals, later) in [(1, 0), (2, 0), (1, 30_000), (2, 30_000)] {
        for ending in ENDINGS {
            let server = subject.start().await;
            let mut owner = alice(&server).await;
            let mut thief = owner.clone();
            renew(&mut thief, renewals).await;
            // Still within the grace: later the cookie is a replay.
            server.advance(later).await;
            let reply = owner.post(ending).await;
            assert_over(&mut thief, &reply, &format!("{ending}, {renewals} renewals, {later} ms later")).await;
        }
    }
}

pub(crate) async fn c80_a_renew_that_an_ending_overtook_makes_no_session(subject: Subject) {
    for ending in ENDINGS {
        let server = subject.start().await;
        let mut owner = alice(&server).await;
        let thief = owner.clone();
        server.fault("hold").await;
        let slow = vec![thief.carrying(server.post("/renew"))];
        let (replies, ()) = held(&server, slow, async {
            server.fault("up").await;
            assert_eq!(owner.post(ending).await.status, 200, "{ending}");
        })
        .await;
        assert_eq!(replies[0].status, 409, "{ending}: {}", replies[0].text());
        replies[0].assert_no_cookie();
        // The new anonymous session of the one that keeps its data is there, and no other.
        assert_eq!(server.metrics().await.live(), u64::from(ending == "/logout-keeping-data"), "{ending}");
    }
}

/// The handle of the session that is not the one that asks.
async fn other_handle(browser: &mut Browser<'_>) -> String {
    let list = browser.get("/sessions").await.ok();
    let other = list.as_array().unwrap().iter().find(|info| info["current"] == false);
    other.expect("another session")["handle"].as_str().unwrap().to_owned()
}

pub(crate) async fn c80_a_renew_beside_a_revocation_from_elsewhere_saves_nobody(subject: Subject) {
    for (renewals, way) in
        [1, 2].into_iter().flat_map(|renewals| ["handle", "others", "admin"].map(|way| (renewals, way)))
    {
        let server = subject.start().await;
        let (stolen, mut other) = (alice(&server).await, alice(&server).await);
        let mut thief = stolen.clone();
        let path = match way {
            "handle" => format!("/sessions/revoke?handle={}", other_handle(&mut other).await),
            "others" => "/sessions/revoke-others".to_owned(),
            _ => "/admin/revoke?user=alice".to_owned(),
        };
        server.fault("hold").await;
        let slow = vec![other.carrying(server.post(&path))];
        let (replies, ()) = held(&server, slow, async {
            server.fault("up").await;
            renew(&mut thief, renewals).await;
        })
        .await;
        assert_over(&mut thief, &replies[0], &format!("{way}, {renewals} renewals")).await;
    }
}

pub(crate) async fn c80_a_renew_that_a_revocation_overtook_makes_no_session(subject: Subject) {
    for way in ["handle", "others", "admin"] {
        let server = subject.start().await;
        let (stolen, mut other) = (alice(&server).await, alice(&server).await);
        let handle = other_handle(&mut other).await;
        server.fault("hold").await;
        let slow = vec![stolen.carrying(server.post("/renew"))];
        let (replies, ()) = held(&server, slow, async {
            server.fault("up").await;
            let reply = match way {
                "handle" => other.post(&format!("/sessions/revoke?handle={handle}")).await,
                "others" => other.post("/sessions/revoke-others").await,
                _ => server.post("/admin/revoke?user=alice").send().await,
            };
            assert_eq!(reply.status, 200, "{way}");
        })
        .await;
        assert_eq!(replies[0].status, 409, "{way}: {}", replies[0].text());
        replies[0].assert_no_cookie();
        assert_eq!(server.metrics().await.live(), u64::from(way != "admin"), "{way}");
    }
}

pub(crate) async fn c80_logging_out_everywhere_ends_the_session_that_asks_and_all_others(subject: Subject) {
    let server = subject.start().await;
    let (mut one, mut two, mut bob) = (alice(&server).await, alice(&server).await, server.browser());
    bob.post("/login?user=bob").await.new_cookie();
    // A failure afterwards does not bring it back.
    let reply = one.post(&steps(&["logout-everywhere", "status:500"])).await;
    assert_eq!(reply.status, 500);
    reply.assert_removal();
    two.get("/state").await.assert_anonymous();
    assert_eq!((server.metrics().await.live(), bob.state().await["subject"].clone()), (1, json!("bob")));
    // Nobody to log out is an error that the client learns of, and nothing changes.
    for mut nobody in [server.browser(), seeded(&server).await] {
        let before = nobody.state().await;
        let reply = nobody.post("/logout-everywhere").await;
        assert_eq!(reply.status, 401, "{}", reply.text());
        assert!(reply.json()["error"].is_string());
        reply.assert_no_cookie();
        assert_eq!(nobody.state().await, before);
    }
}

pub(crate) async fn c82_a_login_as_another_subject_begins_afresh(subject: Subject) {
    let server = subject.start().await;
    let mut browser = alice(&server).await;
    let script = ["flash:for alice", "label:alice's laptop", "persistent:true", "lifetime:3600000", "idle:600000"];
    let reply = browser.post(&steps(&script)).await;
    assert!(reply.set_cookie().unwrap().attribute("Max-Age").is_some());
    let old = browser.token();

    let reply = browser.post("/login?user=bob").await;
    assert_eq!(reply.set_cookie().unwrap().attribute("Max-Age"), None, "persistence");
    assert_eq!(reply.ok()["data"], json!({}), "data, as the handler sees it");
    let state = browser.state().await;
    assert_eq!((&state["subject"], &state["data"]), (&json!("bob"), &json!({})));
    let list = browser.get("/sessions").await.ok();
    let info = &list.as_array().unwrap()[0];
    assert_eq!(info["label"], json!(null), "label");
    let life = info["expires_at"].as_i64().unwrap() - info["created_at"].as_i64().unwrap();
    assert_eq!(life, 8 * HOUR, "lifetime");
    let reply = browser.post(&steps(&["flashes"])).await;
    assert_eq!(reply.ok()["steps"][0]["ok"], json!([]), "flash messages");
    assert_refused(&present(&server, &old).await);
    assert_eq!(server.metrics().await.live(), 1);
    // The idle timeout of the default too.
    server.advance(20 * 60_000).await;
    assert_eq!(browser.state().await["subject"], "bob", "idle timeout");
}

pub(crate) async fn c82_a_login_in_ones_own_or_an_anonymous_session_keeps_it(subject: Subject) {
    let server = subject.start().await;
    for mut browser in [alice(&server).await, seeded(&server).await] {
        browser.post(&steps(&["flash:kept", "set:b=2"])).await.new_cookie();
        browser.post("/login?user=alice").await.new_cookie();
        assert_eq!(browser.data().await, json!({ "a": "1", "b": "2" }));
        assert_eq!(browser.post(&steps(&["flashes"])).await.ok()["steps"][0]["ok"], json!(["kept"]));
    }
}

pub(crate) async fn c82_what_the_previous_user_writes_meanwhile_is_not_carried_along(subject: Subject) {
    let server = subject.start().await;
    let browser = alice(&server).await;
    let login = vec![browser.carrying(server.post("/login?user=bob&gate=load"))];
    let (replies, _) =
        held(&server, login, async { browser.clone().post("/set?k=secret&v=of-alice").await.ok() }).await;
    let mut bob = server.browser_with(&replies[0].new_cookie());
    let state = bob.state().await;
    assert_eq!((&state["subject"], &state["data"]), (&json!("bob"), &json!({})));
    // Data written after the login, in the same request, is the new user's own.
    let reply = bob.post(&steps(&["login:carol", "set:b=1"])).await;
    assert_eq!(reply.ok()["state"]["data"], json!({ "b": "1" }));
    assert_eq!(bob.data().await, json!({ "b": "1" }));
}

pub(crate) async fn c82_a_login_without_a_name_is_a_typed_error_that_changes_nothing(subject: Subject) {
    let server = subject.start().await;
    for mut browser in [server.browser(), seeded(&server).await, alice(&server).await] {
        let before = browser.state().await;
        for path in ["/login?user=", "/login"] {
            let reply = browser.post(path).await;
            assert_eq!(reply.status, 400, "{path}: {}", reply.text());
            assert!(reply.json()["error"].is_string());
            reply.assert_no_cookie();
        }
        assert_eq!(browser.state().await, before);
    }
}

/// Sessions of alice and mallory, and a request that presents both: a host-only cookie and one with a Domain, or one
/// that a sibling host planted.
async fn two_at_once(server: &Server) -> (String, [String; 2]) {
    let mut mallory = server.browser();
    mallory.post("/login?user=mallory").await.new_cookie();
    let tokens = [mallory.token(), alice(server).await.token()];
    (format!("session={}; session={}", tokens[0], tokens[1]), tokens)
}

pub(crate) async fn c84_a_login_ends_every_session_that_its_request_presented(subject: Subject) {
    let server = subject.start().await;
    let (jar, tokens) = two_at_once(&server).await;
    let login = |path: &str| server.post(path).header("cookie", &jar).send();
    // A failed one ends none.
    assert_eq!(login(&steps(&["login:carol", "status:500"])).await.status, 500);
    for (token, user) in tokens.iter().zip(["mallory", "alice"]) {
        assert_eq!(present(&server, token).await.ok()["subject"], user);
    }
    let carol = login("/login?user=carol").await.new_cookie();
    for token in &tokens {
        assert_refused(&present(&server, token).await);
    }
    // The browser may go on to send the other cookie beside the new one.
    for dead in &tokens {
        let jar = format!("session={dead}; session={carol}");
        let reply = server.get("/state").header("cookie", &jar).send().await;
        assert_eq!((&reply.ok()["subject"], &reply.ok()["data"]), (&json!("carol"), &json!({})));
    }
    assert_eq!(server.metrics().await.live(), 1);
}

pub(crate) async fn c84_a_logout_ends_every_session_that_its_request_presented(subject: Subject) {
    for path in ["/logout".to_owned(), steps(&["logout", "status:500"])] {
        let server = subject.start().await;
        let (jar, tokens) = two_at_once(&server).await;
        // One of the two is superseded: it leads to the newest token of its session.
        let newest = server.post("/set?k=a&v=2").cookie(&tokens[1]).send().await.new_cookie();
        let reply = server.post(&path).header("cookie", &jar).send().await;
        assert_eq!(reply.status, if path == "/logout" { 200 } else { 500 });
        reply.assert_removal();
        for token in tokens.iter().chain([&newest]) {
            server.get("/state").cookie(token).send().await.assert_anonymous();
        }
        assert_eq!(server.metrics().await.live(), 0, "{path}");
    }
}

pub(crate) async fn c89_a_408_and_a_499_discard_like_a_5xx(subject: Subject) {
    let server = subject.start().await;
    for status in [408, 499] {
        // A handler that was cut off in the middle may have done half of its work.
        let reply = server.post(&format!("/fail?k=a&v=1&status={status}")).send().await;
        assert_eq!(reply.status, status);
        reply.assert_no_cookie();

        let mut browser = seeded(&server).await;
        let id = browser.id().await;
        for path in [
            format!("/fail?k=a&v=2&status={status}"),
            steps(&["login:alice", &format!("status:{status}")]),
            steps(&["renew", "set:b=2", &format!("status:{status}")]),
        ] {
            let reply = browser.post(&path).await;
            assert_eq!(reply.status, status, "{path}");
            reply.assert_no_cookie();
            let state = browser.state().await;
            assert_eq!((&state["data"], &state["subject"]), (&json!({ "a": "1" }), &json!(null)), "{path}");
        }
        assert_eq!(browser.id().await, id);
        // Data saved before stays, and so does a logout.
        browser.post(&steps(&["set:a=5", "save", "set:a=6", &format!("status:{status}")])).await;
        assert_eq!(browser.data().await, json!({ "a": "5" }));
        let cookie = browser.token();
        browser.post(&steps(&["logout", &format!("status:{status}")])).await.assert_removal();
        assert_refused(&present(&server, &cookie).await);
    }
    // Every other error of the client's keeps what the handler wrote.
    for status in [400, 404, 409, 422, 429] {
        let mut browser = seeded(&server).await;
        assert_eq!(browser.post(&format!("/fail?k=a&v={status}&status={status}")).await.status, status);
        assert_eq!(browser.data().await, json!({ "a": status.to_string() }));
    }
}

/// The flash messages, which are taken.
async fn flashes(browser: &mut Browser<'_>) -> Value {
    browser.post(&steps(&["flashes"])).await.ok()["steps"][0]["ok"].take()
}

pub(crate) async fn c90_what_is_written_after_a_logout_is_kept_under_a_new_id(subject: Subject) {
    let server = subject.start().await;
    let mut browser = alice(&server).await;
    let (old, id) = (browser.token(), browser.id().await);
    let reply = browser.post(&steps(&["logout", "flash:You have been logged out.", "set:language=de"])).await;
    assert_eq!(reply.ok()["state"]["data"], json!({ "language": "de" }), "and nothing of what was there before");
    assert_eq!(reply.json()["state"]["subject"], json!(null));
    reply.new_cookie();
    assert_refused(&present(&server, &old).await);
    assert_ne!(browser.id().await, id);
    let state = browser.state().await;
    assert_eq!((&state["subject"], &state["data"]), (&json!(null), &json!({ "language": "de" })));
    assert_eq!(flashes(&mut browser).await, json!(["You have been logged out."]));
    assert_eq!(server.metrics().await.live(), 1);
    // Either alone is enough.
    for step in ["flash:Bye.", "set:b=1"] {
        let mut browser = alice(&server).await;
        browser.post(&steps(&["logout", step])).await.new_cookie();
        assert_eq!(browser.state().await["subject"], json!(null));
    }
}

pub(crate) async fn c90_what_fails_after_a_logout_is_discarded_and_the_logout_is_kept(subject: Subject) {
    let server = subject.start().await;
    let mut browser = alice(&server).await;
    let old = browser.token();
    let reply = browser.post(&steps(&["logout", "flash:You have been logged out.", "status:500"])).await;
    assert_eq!(reply.status, 500);
    reply.assert_removal();
    assert_refused(&present(&server, &old).await);
    assert_eq!(server.metrics().await.live(), 0);
}

pub(crate) async fn c90_a_logout_that_keeps_data_carries_it_to_an_anonymous_session(subject: Subject) {
    let server = subject.start().await;
    let mut browser = alice(&server).await;
    let script = ["set:basket=full", "flash:for alice", "label:laptop", "persistent:true", "lifetime:3600000"];
    browser.post(&steps(&script)).await.new_cookie();
    let (old, id) = (browser.token(), browser.id().await);
    let reply = browser.post("/logout-keeping-data").await;
    assert_eq!(reply.ok()["data"], json!({ "a": "1", "basket": "full" }));
    assert_eq!(reply.json()["subject"], json!(null));
    assert_eq!(reply.set_cookie().unwrap().attribute("Max-Age"), None, "persistence is left behind");
    let about = browser.get("/extra/about").await.ok();
    assert_ne!(about["id"], json!(id));
    assert_eq!(about["authenticated_at"], json!(null));
    let state = browser.state().await;
    assert_eq!((&state["subject"], &state["data"]), (&json!(null), &json!({ "a": "1", "basket": "full" })));
    assert_eq!(flashes(&mut browser).await, json!([]), "so are messages");
    // The old cookie stays dead, and neither leads to the new session nor ends it.
    for later in [0, 61_000, 20 * 60_000] {
        server.advance(later).await;
        assert_refused(&present(&server, &old).await);
        assert_eq!(browser.data().await["basket"], "full", "{later} ms later");
    }
    assert_eq!(server.metrics().await.live(), 1);
    // Changes by the handler in the same request count, before the logout and after it.
    let mut browser = alice(&server).await;
    browser.post(&steps(&["set:address=private"])).await.new_cookie();
    let script = ["remove:address", "logout-keeping-data", "set:b=2", "flash:Bye."];
    browser.post(&steps(&script)).await.new_cookie();
    assert_eq!(browser.data().await, json!({ "a": "1", "b": "2" }));
    assert_eq!(flashes(&mut browser).await, json!(["Bye."]));
}

pub(crate) async fn c90_a_logout_that_keeps_data_ends_the_session_on_a_5xx_too(subject: Subject) {
    let server = subject.start().await;
    for status in [500, 503, 408] {
        let mut browser = alice(&server).await;
        let old = browser.token();
        let script = ["set:half=done", "logout-keeping-data", "set:half=again", &format!("status:{status}")];
        assert_eq!(browser.post(&steps(&script)).await.status, status);
        assert_refused(&present(&server, &old).await);
        // The browser may keep a basket or nothing. Nobody is logged in, and nothing of the failed request is there.
        let state = browser.state().await;
        assert_eq!((&state["subject"], &state["data"]["half"]), (&json!(null), &json!(null)), "{status}: {state}");
    }
}
