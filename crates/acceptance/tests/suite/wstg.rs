//! OWASP's Web Security Testing Guide, Session Management Testing, WSTG-SESS-01 to -11: one case for each.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::client::{alice, assert_refused, seeded, steps};
use crate::support::{HOUR, MINUTE, Reply, Server, SetCookie, Subject};

fn decoded(token: &str) -> Vec<u8> {
    base64_simd::URL_SAFE_NO_PAD.decode_to_vec(token).expect("base64url")
}

fn encoded(token: &[u8]) -> String {
    base64_simd::URL_SAFE_NO_PAD.encode_to_string(token)
}

/// Bytes of a token before its nonce: a version and two key ids.
const HEADER: usize = 9;

pub(crate) async fn wstg_sess_01_tokens_are_unpredictable_say_nothing_and_cannot_be_altered(subject: Subject) {
    let server = subject.start().await;
    let mut tokens = Vec::new();
    for n in 0..48 {
        // Many sessions of one user, and one of many users with the same data.
        let user = if n % 2 == 0 { "alice".to_owned() } else { format!("subscriber{n}") };
        let reply = server.post(&steps(&[&format!("login:{user}"), "set:standing=member"])).send().await;
        tokens.push(decoded(&reply.new_cookie()));
    }
    let lengths: BTreeSet<usize> = tokens.iter().map(Vec::len).collect();
    assert_eq!(lengths.len(), 1, "the length tells nothing of who it is");
    let distinct: BTreeSet<_> = tokens.iter().collect();
    assert_eq!(distinct.len(), tokens.len());
    assert!(tokens.iter().all(|token| token[..HEADER] == tokens[0][..HEADER]));
    // Behind the header no byte of 48 tokens takes fewer than 20 of 256 values (expected: 44), and half of all bits are set.
    for at in HEADER..tokens[0].len() {
        let values: BTreeSet<u8> = tokens.iter().map(|token| token[at]).collect();
        assert!(values.len() > 20, "byte {at} takes {} values", values.len());
    }
    let ones: u32 = tokens.iter().flat_map(|token| &token[HEADER..]).map(|byte| byte.count_ones()).sum();
    let bits = u32::try_from(8 * tokens.len() * (tokens[0].len() - HEADER)).unwrap();
    assert!(ones.abs_diff(bits / 2) < bits / 100, "{ones} of {bits}");
    for token in &tokens {
        // Random bytes hold none of this length.
        for word in ["alice", "subscriber", "member", "standing"] {
            assert!(!token.windows(word.len()).any(|part| part == word.as_bytes()), "`{word}` is in a token");
        }
    }
    // Altered, cut, or put together of two: refused.
    let (a, b) = (&tokens[0], &tokens[2]);
    let half = a.len() / 2;
    let spliced = [&a[..half], &b[half..]].concat();
    let extended = [a, &[0][..]].concat();
    let mut altered = a.clone();
    altered[half] ^= 1;
    for changed in [&spliced[..], &altered, &extended, &a[..half], &a[1..]] {
        server.get("/state").cookie(&encoded(changed)).send().await.assert_anonymous();
    }
    assert_eq!(server.get("/state").cookie(&encoded(a)).send().await.ok()["subject"], "alice");
}

pub(crate) async fn wstg_sess_02_every_set_cookie_has_all_protective_attributes(subject: Subject) {
    let server = subject.start_with(&[("COOKIE_DEFAULTS", "1")]).await;
    let mut browser = server.browser();
    for path in ["/set?k=a&v=1", "/login?user=alice", "/renew", "/set?k=a&v=2", "/logout"] {
        let reply = browser.post(path).await;
        let lines = reply.all("set-cookie");
        assert_eq!(lines.len(), 1, "{path}");
        let cookie = SetCookie::parse(&lines[0]);
        assert_eq!(cookie.name, "__Host-session", "{path}");
        cookie.assert_accepted_by_browsers();
        for (name, value) in [("Secure", ""), ("HttpOnly", ""), ("SameSite", "Lax"), ("Path", "/")] {
            assert_eq!(cookie.attribute(name), Some(value), "{path} {name}");
        }
        assert_eq!((cookie.attribute("Domain"), cookie.attribute("Expires")), (None, None), "{path}");
    }
}

pub(crate) async fn wstg_sess_03_a_fixed_cookie_is_not_adopted_and_never_logged_in(subject: Subject) {
    let server = subject.start().await;
    // An attacker plants the cookie of a session of his own in the victim's browser.
    let mut attacker = seeded(&server).await;
    let mut victim = server.browser_with(&attacker.token());
    let logged_in = victim.post("/login?user=alice").await.new_cookie();
    assert_ne!(logged_in, attacker.token());
    let reply = attacker.get("/state").await;
    assert_eq!(reply.ok()["subject"], Value::Null);
    assert_eq!(reply.ok()["data"], json!({}));
    assert_eq!(victim.state().await["subject"], "alice");
    // A value of the attacker's own invention becomes nobody's session.
    for invented in ["0123456789abcdef0123456789abcdef", &encoded(&[1; 400])] {
        let mut victim = server.browser_with(invented);
        let cookie = victim.post("/set?k=a&v=1").await.new_cookie();
        assert_ne!(cookie, *invented);
        server.get("/state").cookie(invented).send().await.assert_anonymous();
    }
    // And the same when a privilege changes within a session.
    let before = victim.token();
    assert_ne!(victim.post("/renew").await.new_cookie(), before);
    assert_refused(&server.get("/state").cookie(&before).send().await);
}

pub(crate) async fn wstg_sess_04_the_token_travels_only_in_the_cookie_and_is_never_cached(subject: Subject) {
    let server = subject.start().await;
    let mut browser = alice(&server).await;
    let token = browser.token();
    // It is taken from nowhere else.
    for request in [
        server.get(&format!("/state?session={token}")),
        server.get("/state").header("x-session", &token),
        server.get("/state").header("authorization", &format!("Session {token}")),
        server.get("/state").header("cookie", &format!("Session={token}; sessionid={token}")),
    ] {
        request.send().await.assert_anonymous();
    }
    // It is sent nowhere else: not in a body (every response is checked for that), nor in a redirect or another header.
    let exposed = |reply: &Reply, token: &str| {
        let others = reply.headers.iter().filter(|(name, _)| *name != "set-cookie");
        let in_headers = others.into_iter().any(|(_, value)| String::from_utf8_lossy(value.as_bytes()).contains(token));
        in_headers || reply.text().contains(token)
    };
    for path in ["/set?k=a&v=2", "/extra/redirect?k=a&v=3", "/login?user=alice", "/extra/public?k=a&v=4"] {
        let reply = browser.post(path).await;
        let cookie = reply.new_cookie();
        assert!(!exposed(&reply, &cookie), "{path}");
        let caching = reply.all("cache-control").join(",");
        assert!(caching.contains("no-store"), "{path}: {caching}");
        assert!(reply.all("vary").join(",").to_ascii_lowercase().contains("cookie"), "{path}");
    }
    let reply = browser.get("/state").await;
    assert_eq!(reply.all("cache-control"), ["no-store"]);
    assert!(!exposed(&reply, &browser.token()));
}

pub(crate) async fn wstg_sess_05_a_forged_request_of_another_site_is_refused(subject: Subject) {
    let server = subject.start_with(&[("CROSS_ORIGIN", "refuse")]).await;
    let mut browser = alice(&server).await;
    // Browsers mark a form of another site in their headers. If they do not, it lacks a token that its site cannot know.
    let forged =
        server.post("/set?k=a&v=evil").header("sec-fetch-site", "cross-site").header("origin", "https://evil.example");
    assert_eq!(browser.send(forged).await.status, 403);
    let forged = server.post("/set?k=a&v=evil").header("origin", "https://evil.example");
    assert_eq!(browser.send(forged).await.status, 403);
    assert_eq!(browser.post("/protected").await.status, 403);
    let token = browser.get("/csrf").await.ok()["token"].as_str().unwrap().to_owned();
    let genuine = server.post("/protected").header("sec-fetch-site", "same-origin").header("x-csrf-token", &token);
    assert_eq!(browser.send(genuine).await.status, 200);
    assert_eq!(browser.data().await["a"], "1");
    // The token is another one each time, so that compression leaks none.
    assert_ne!(browser.get("/csrf").await.ok()["token"], json!(token));
}

pub(crate) async fn wstg_sess_06_a_logout_ends_the_session_on_the_server(subject: Subject) {
    let server = subject.start().await;
    let mut browser = alice(&server).await;
    let mut other = alice(&server).await;
    let mut earlier = vec![browser.token()];
    browser.post("/set?k=a&v=2").await.new_cookie();
    earlier.push(browser.token());
    browser.post("/logout").await.assert_removal();
    for cookie in &earlier {
        assert_refused(&server.get("/state").cookie(cookie).send().await);
        server.post("/set?k=a&v=3").cookie(cookie).send().await.assert_no_cookie();
    }
    // For good: also when the tombstone is gone.
    server.advance(10 * MINUTE).await;
    for cookie in &earlier {
        assert_refused(&server.get("/state").cookie(cookie).send().await);
    }
    assert_eq!(other.state().await["subject"], "alice", "the other device stays logged in");
    assert_eq!(server.post("/admin/revoke?user=alice").send().await.ok()["revoked"], 1);
    assert_refused(&other.get("/state").await);
}

pub(crate) async fn wstg_sess_07_idle_and_absolute_timeouts_are_enforced_by_the_server(subject: Subject) {
    let server = subject.start().await;
    let mut idle = alice(&server).await;
    let mut busy = alice(&server).await;
    server.advance(29 * MINUTE).await;
    assert_eq!(busy.state().await["subject"], "alice");
    server.advance(3 * MINUTE).await;
    assert_refused(&idle.get("/state").await);
    // Activity does not outlast the absolute deadline.
    for _ in 0..17 {
        server.advance(25 * MINUTE).await;
        assert_eq!(busy.state().await["subject"], "alice");
    }
    server.advance(8 * HOUR - (32 + 17 * 25) * MINUTE + 1000).await;
    assert_refused(&busy.get("/state").await);
}

pub(crate) async fn wstg_sess_08_no_data_of_a_session_makes_it_another_subjects(subject: Subject) {
    let server = subject.start().await;
    let mut browser = server.browser();
    // Data that one page stores, under any name, is no login to another page: the data cannot reach the subject.
    for key in ["subject", "user", "user_id", "authenticated_at", "1", "meta"] {
        let state = browser.post(&format!("/set?k={key}&v=admin")).await.ok();
        assert_eq!(state["subject"], Value::Null, "{key}");
    }
    assert_eq!(browser.post("/extra/guarded").await.status, 403);
    assert_eq!(browser.get("/sessions").await.ok(), json!([]));
    browser.post("/login?user=alice").await.new_cookie();
    assert_eq!(browser.state().await["subject"], "alice");
    let state = browser.post("/clear").await.ok();
    assert_eq!(
        (&state["subject"], &state["data"]),
        (&json!("alice"), &json!({})),
        "and clearing the data is no logout"
    );
    // A session of another kind, under the same keys, is none of this one.
    let other = subject.setup().set("COOKIE_NAME", "recovery").keys(&server.keys).start().await;
    let recovery = other.post("/login?user=admin").send().await.new_cookie();
    server.get("/state").cookie(&recovery).send().await.assert_anonymous();
}

pub(crate) async fn wstg_sess_09_a_stolen_cookie_is_bounded_by_rotation_and_noticed(subject: Subject) {
    let server = subject.start().await;
    let mut victim = alice(&server).await;
    let mut thief = server.browser_with(&victim.token());
    // The current cookie is the bearer. But it rotates with use, and whoever stays behind is found out.
    assert_eq!(thief.state().await["subject"], "alice");
    server.advance(16 * MINUTE).await;
    victim.get("/state").await.new_cookie();
    server.advance(2 * MINUTE).await;
    victim.post("/set?k=a&v=2").await.new_cookie();
    server.advance(2 * MINUTE).await;
    assert_refused(&thief.get("/state").await);
    let replayed = server.event("replayed").await;
    assert_eq!(replayed["revoked"], true);
    assert_refused(&victim.get("/state").await);
    // Over plain http there is nothing to steal: a browser keeps and sends the default cookie over https only.
    let server: Server = subject.start_with(&[("COOKIE_DEFAULTS", "1")]).await;
    let cookie = server.post("/login?user=alice").send().await.set_cookie().expect("a cookie");
    assert_eq!(cookie.attribute("Secure"), Some(""));
}

pub(crate) async fn wstg_sess_10_the_token_has_no_algorithm_to_choose_and_no_optional_part(subject: Subject) {
    let server = subject.start().await;
    let browser = alice(&server).await;
    let token = decoded(&browser.token());
    // No JWT: neither one without a signature, nor one that is signed with the key's public text.
    for jwt in [
        "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZG1pbiJ9.",
        "eyJhbGciOiJIUzI1NiIsImtpZCI6Ii4uLy4uL2Rldi9udWxsIn0.eyJzdWIiOiJhZG1pbiJ9.YWJj",
    ] {
        server.get("/state").cookie(jwt).send().await.assert_anonymous();
    }
    // Another version, another key's id, a token without its mark or its tag, marks of zeros.
    let with = |at: usize, byte: u8| {
        let mut changed = token.clone();
        changed[at] = byte;
        changed
    };
    let length = token.len();
    let zeroed = [&token[..length - 32], &[0; 32][..]].concat();
    for changed in
        [with(0, 0), with(0, 2), with(1, !token[1]), with(5, !token[5]), token[..length - 16].to_vec(), zeroed]
    {
        server.get("/state").cookie(&encoded(&changed)).send().await.assert_anonymous();
    }
    // The server alone decides until when it is good, and for which cookie: see also wstg_sess_07 and wstg_sess_08.
    assert_eq!(server.get("/state").cookie(&encoded(&token)).send().await.ok()["subject"], "alice");
}

pub(crate) async fn wstg_sess_11_parallel_sessions_are_listed_and_revoked_by_their_owner(subject: Subject) {
    let server = subject.start().await;
    let mut laptop = alice(&server).await;
    let mut phone = alice(&server).await;
    let mut bob = server.browser();
    bob.post("/login?user=bob").await.new_cookie();
    let list = laptop.get("/sessions").await.ok();
    assert_eq!(list.as_array().unwrap().len(), 2);
    let others: Vec<&Value> = list.as_array().unwrap().iter().filter(|info| info["current"] == false).collect();
    let handle = others[0]["handle"].as_str().unwrap();
    assert_eq!(bob.post(&format!("/sessions/revoke?handle={handle}")).await.status, 404, "of one's own alone");
    assert_eq!(laptop.post(&format!("/sessions/revoke?handle={handle}")).await.ok()["revoked"], true);
    assert_refused(&phone.get("/state").await);
    let mut tablet = alice(&server).await;
    assert_eq!(laptop.post("/sessions/revoke-others").await.ok()["revoked"], 1);
    assert_refused(&tablet.get("/state").await);
    assert_eq!(laptop.state().await["subject"], "alice");
    assert_eq!(bob.state().await["subject"], "bob");
}
