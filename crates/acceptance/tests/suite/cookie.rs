//! Lines 1 to 14: the cookie.

use serde_json::json;

use crate::support::client::{held, steps};
use crate::support::{MINUTE, SetCookie, Subject};

pub(crate) async fn c01_an_untouched_request_gets_no_cookie_and_asks_no_store(subject: Subject) {
    let server = subject.start().await;
    let reply = server.get("/").send().await;
    assert_eq!((reply.status, reply.text().as_str()), (200, "ok"));
    reply.assert_no_cookie();
    assert_eq!(reply.all("vary"), [""; 0], "a response that never looked at the session is left alone");
    assert_eq!(server.metrics().await.all_calls(), 0);
}

pub(crate) async fn c01_a_route_that_never_looks_asks_no_store_even_with_a_cookie(subject: Subject) {
    let server = subject.start().await;
    let mut browser = server.browser();
    browser.post("/set?k=a&v=1").await.new_cookie();
    let before = server.metrics().await.all_calls();
    browser.get("/").await.assert_no_cookie();
    server.get("/").cookie("garbage").send().await.assert_no_cookie();
    assert_eq!(server.metrics().await.all_calls(), before);
}

pub(crate) async fn c02_a_read_only_anonymous_request_gets_no_cookie_and_asks_no_store(subject: Subject) {
    let server = subject.start().await;
    let reply = server.get("/state").send().await;
    reply.assert_no_cookie();
    reply.assert_anonymous();
    assert_eq!(reply.json()["ended"], false);
    assert_eq!(reply.all("cache-control"), ["no-store"]);
    let metrics = server.metrics().await;
    assert_eq!((metrics.all_calls(), metrics.live()), (0, 0));
}

pub(crate) async fn c03_the_first_insert_sets_exactly_one_cookie_and_writes_one_bucket(subject: Subject) {
    let server = subject.start().await;
    let reply = server.post("/set?k=a&v=1").send().await;
    assert_eq!(reply.ok()["data"]["a"], "1");
    assert_eq!(reply.all("set-cookie").len(), 1);
    let metrics = server.metrics().await;
    assert_eq!((metrics.calls("insert"), metrics.all_calls(), metrics.live()), (1, 1, 1));
    assert_eq!(metrics.event("created"), 1);
}

pub(crate) async fn c04_the_default_attributes_are_exactly_these(subject: Subject) {
    let server = subject.start_with(&[("COOKIE_DEFAULTS", "1")]).await;
    let reply = server.post("/set?k=a&v=1").send().await;
    let cookie = reply.set_cookie().expect("a cookie");
    assert_eq!(cookie.name, "__Host-session");
    assert_eq!(cookie.attributes, ["HttpOnly", "Path=/", "SameSite=Lax", "Secure"]);
    assert!(cookie.value.len() > 250 && cookie.value.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b)));
}

pub(crate) async fn c05_every_attribute_can_be_overridden(subject: Subject) {
    let cookie_with = async |variables: &[(&'static str, &str)]| {
        let server = subject.start_with(variables).await;
        let cookie = server.post("/set?k=a&v=1").send().await.set_cookie().expect("a cookie");
        // And the server finds it again under its name.
        let state = server.get("/state").cookie(&cookie.value).send().await;
        assert_eq!(state.ok()["data"]["a"], "1");
        cookie
    };
    let plain = cookie_with(&[]).await;
    assert_eq!(plain.name, "session");
    assert_eq!(plain.attributes, ["HttpOnly", "Path=/", "SameSite=Lax"]);
    assert_eq!(cookie_with(&[("COOKIE_NAME", "sid")]).await.name, "sid");
    for (variable, value, expected) in [
        ("COOKIE_PATH", "/app", &["HttpOnly", "Path=/app", "SameSite=Lax"][..]),
        ("COOKIE_DOMAIN", "example.org", &["Domain=example.org", "HttpOnly", "Path=/", "SameSite=Lax"]),
        ("COOKIE_SAMESITE", "Strict", &["HttpOnly", "Path=/", "SameSite=Strict"]),
        ("COOKIE_SECURE", "1", &["HttpOnly", "Path=/", "SameSite=Lax", "Secure"]),
        ("COOKIE_HTTP_ONLY", "0", &["Path=/", "SameSite=Lax"]),
    ] {
        assert_eq!(cookie_with(&[(variable, value)]).await.attributes, expected, "{variable}");
    }
    let everywhere = cookie_with(&[("COOKIE_SECURE", "1"), ("COOKIE_SAMESITE", "None"), ("COOKIE_PARTITIONED", "1")]);
    assert_eq!(everywhere.await.attributes, ["HttpOnly", "Partitioned", "Path=/", "SameSite=None", "Secure"]);
    let prefixed = cookie_with(&[("COOKIE_NAME", "__Secure-id"), ("COOKIE_SECURE", "1"), ("COOKIE_PATH", "/x")]).await;
    assert_eq!(prefixed.name, "__Secure-id");
}

pub(crate) async fn c05_invalid_combinations_are_refused_at_build_time_with_what_to_change(subject: Subject) {
    for (variables, expected) in [
        (&[("COOKIE_NAME", "__Host-id")][..], "Secure"),
        (&[("COOKIE_NAME", "__Secure-id")], "Secure"),
        (&[("COOKIE_NAME", "__hOsT-id")], "Secure"),
        (&[("COOKIE_NAME", "__Host-id"), ("COOKIE_SECURE", "1"), ("COOKIE_DOMAIN", "example.org")], "Domain"),
        (&[("COOKIE_NAME", "__Host-id"), ("COOKIE_SECURE", "1"), ("COOKIE_PATH", "/app")], "Path"),
        (&[("COOKIE_DEFAULTS", "1"), ("COOKIE_SECURE", "0")], "Secure"),
        (&[("COOKIE_SAMESITE", "None")], "SameSite=None"),
        (&[("COOKIE_PARTITIONED", "1")], "Partitioned"),
        (&[("COOKIE_NAME", "a b")], "name"),
        (&[("COOKIE_NAME", "a=b")], "name"),
        (&[("COOKIE_NAME", "a;b")], "name"),
        (&[("COOKIE_NAME", "näme")], "name"),
        (&[("COOKIE_PATH", "app")], "Path"),
        (&[("COOKIE_PATH", "/a; Domain=evil.example")], "Path"),
        (&[("COOKIE_DOMAIN", "a; Path=/")], "Domain"),
        (&[("GRACE_MS", "0")], "grace"),
        (&[("ABSOLUTE_MS", "0")], "absolute"),
    ] {
        let setup = variables.iter().fold(subject.setup(), |setup, (name, value)| setup.set(name, value));
        let said = setup.refused().await;
        assert!(said.contains(expected), "{variables:?}: {said}");
    }
}

pub(crate) async fn c06_the_removal_repeats_every_attribute_with_max_age_0(subject: Subject) {
    for (variables, attributes) in [
        (&[][..], &["HttpOnly", "Max-Age=0", "Path=/", "SameSite=Lax"][..]),
        (
            &[
                ("COOKIE_PATH", "/app"),
                ("COOKIE_DOMAIN", "example.org"),
                ("COOKIE_SECURE", "1"),
                ("COOKIE_SAMESITE", "None"),
                ("COOKIE_PARTITIONED", "1"),
            ],
            &["Domain=example.org", "HttpOnly", "Max-Age=0", "Partitioned", "Path=/app", "SameSite=None", "Secure"],
        ),
        (&[("COOKIE_HTTP_ONLY", "0"), ("COOKIE_SAMESITE", "Strict")], &["Max-Age=0", "Path=/", "SameSite=Strict"]),
        (&[("PERSISTENT", "1")], &["HttpOnly", "Max-Age=0", "Path=/", "SameSite=Lax"]),
    ] {
        let server = subject.start_with(variables).await;
        let mut browser = server.browser();
        browser.post("/set?k=a&v=1").await.new_cookie();
        let removal = browser.post("/logout").await.set_cookie().expect("a removal");
        assert_eq!(
            (removal.value.as_str(), removal.attributes),
            ("", attributes.iter().map(|a| (*a).to_owned()).collect())
        );
    }
}

pub(crate) async fn c07_the_removal_of_a_host_cookie_is_one_that_browsers_accept(subject: Subject) {
    let server = subject.start_with(&[("COOKIE_DEFAULTS", "1")]).await;
    let mut browser = server.browser();
    browser.post("/set?k=a&v=1").await.new_cookie();
    for reply in [browser.clone().post("/logout").await, server.get("/state").cookie("garbage").send().await] {
        let lines = reply.all("set-cookie");
        assert_eq!(lines.len(), 1);
        let removal = SetCookie::parse(&lines[0]);
        assert!(removal.is_removal());
        assert_eq!(removal.name, "__Host-session");
        removal.assert_accepted_by_browsers();
    }
}

pub(crate) async fn c08_a_browser_session_cookie_has_neither_max_age_nor_expires(subject: Subject) {
    let server = subject.start().await;
    let mut browser = server.browser();
    for path in ["/set?k=a&v=1", "/login?user=alice", "/renew", "/set?k=a&v=2"] {
        let cookie = browser.post(path).await.set_cookie().expect("a cookie");
        assert_eq!((cookie.attribute("Max-Age"), cookie.attribute("Expires")), (None, None), "{path}");
    }
}

pub(crate) async fn c08_a_persistent_cookie_lives_as_its_session_does_up_to_400_days(subject: Subject) {
    let max_age = |cookie: &SetCookie| cookie.attribute("Max-Age").expect("Max-Age").parse::<i64>().unwrap();
    let near = |seconds: i64, expected: i64| assert!((expected - 30..=expected).contains(&seconds), "{seconds}");

    let server = subject.start_with(&[("PERSISTENT", "1")]).await;
    let mut browser = server.browser();
    near(max_age(&browser.post("/set?k=a&v=1").await.set_cookie().expect("a cookie")), 8 * 3600);
    for minutes in [20, 40] {
        server.advance(20 * MINUTE).await;
        let rotated = browser.post(&format!("/set?k=a&v={minutes}")).await.set_cookie().expect("a cookie");
        near(max_age(&rotated), 8 * 3600 - minutes * 60);
    }

    let days = 24 * 3600;
    let server = subject.start_with(&[("PERSISTENT", "1"), ("ABSOLUTE_MS", &(500 * days * 1000).to_string())]).await;
    let cookie = server.post("/set?k=a&v=1").send().await.set_cookie().expect("a cookie");
    assert_eq!(max_age(&cookie), 400 * days);

    // "Remember me", for one session of a server whose cookies end with the browser.
    let server = subject.start().await;
    let mut browser = server.browser();
    let remembered = browser.post(&steps(&["login:alice", "persistent:true"])).await.set_cookie().expect("a cookie");
    near(max_age(&remembered), 8 * 3600);
    let later = browser.post("/set?k=a&v=1").await.set_cookie().expect("a cookie");
    near(max_age(&later), 8 * 3600);
}

pub(crate) async fn c09_reading_a_session_sets_no_cookie_before_the_rotation_interval(subject: Subject) {
    let server = subject.start().await;
    let mut browser = server.browser();
    browser.post("/set?k=a&v=1").await.new_cookie();
    let before = server.metrics().await;
    for _ in 0..3 {
        browser.get("/state").await.assert_no_cookie();
    }
    let after = server.metrics().await;
    assert_eq!(after.calls("load") - before.calls("load"), 3, "one load for each request");
    assert_eq!(after.all_calls() - before.all_calls(), 3, "and nothing else");
    server.advance(14 * MINUTE).await;
    let reply = browser.get("/state").await;
    reply.assert_no_cookie();
    assert_eq!(reply.ok()["data"]["a"], "1");
}

pub(crate) async fn c10_past_the_rotation_interval_a_read_rotates_the_token_once(subject: Subject) {
    let server = subject.start().await;
    let mut browser = server.browser();
    let first = browser.post("/set?k=a&v=1").await.new_cookie();
    server.advance(16 * MINUTE).await;
    // Ten readers at once: one rotates, the others get what it made.
    let readers = (0..10).map(|_| browser.carrying(server.get("/state?gate=load"))).collect();
    let (replies, ()) = held(&server, readers, async {}).await;
    for reply in &replies {
        assert_eq!(reply.ok()["data"]["a"], "1");
        assert_ne!(reply.new_cookie(), first);
        assert_eq!(reply.new_cookie(), replies[0].new_cookie());
    }
    assert_eq!(server.metrics().await.event("rotated"), 1);
    browser.receive(&replies[0]);
    browser.get("/state").await.assert_no_cookie();
    assert_eq!(browser.data().await["a"], "1");
}

pub(crate) async fn c11_a_change_rotates(subject: Subject) {
    let server = subject.start().await;
    let mut browser = server.browser();
    let mut seen = vec![browser.post("/set?k=a&v=1").await.new_cookie()];
    for path in ["/set?k=a&v=2", "/set?k=b&v=1", "/remove?k=b", "/incr?k=n", "/clear"] {
        let next = browser.post(path).await.new_cookie();
        assert!(!seen.contains(&next), "{path}");
        seen.push(next);
    }
    let metrics = server.metrics().await;
    assert_eq!((metrics.event("created"), metrics.event("rotated"), metrics.live()), (1, 5, 1));
}

pub(crate) async fn c12_inserting_an_equal_value_changes_nothing(subject: Subject) {
    let server = subject.start().await;
    let mut browser = server.browser();
    browser.post("/set?k=a&v=1").await.new_cookie();
    let before = server.metrics().await;
    browser.post("/set?k=a&v=1").await.assert_no_cookie();
    // Changed and changed back within one request is no change either.
    browser.post(&steps(&["set:a=2", "set:b=1", "remove:b", "set:a=1"])).await.assert_no_cookie();
    assert_eq!(server.metrics().await.writes(), before.writes());
    assert_eq!(browser.data().await, serde_json::json!({ "a": "1" }));
}

pub(crate) async fn c12_an_equal_hash_map_changes_nothing(subject: Subject) {
    let server = subject.start().await;
    let mut browser = server.browser();
    for kind in ["hash-map", "hash-maps"] {
        // Made anew in each request, with another order of its entries.
        let insert = steps(&[&format!("{kind}:{kind}=8")]);
        browser.post(&insert).await.new_cookie();
        for _ in 0..5 {
            let reply = browser.post(&insert).await;
            assert_eq!(reply.ok()["steps"][0]["ok"], json!(null), "{kind}");
            reply.assert_no_cookie();
        }
        browser.post(&steps(&[&format!("{kind}:{kind}=9")])).await.new_cookie();
    }
}

pub(crate) async fn c13_there_are_never_two_cookies_of_ours(subject: Subject) {
    let server = subject.start().await;
    let mut browser = server.browser();
    // Every response of the suite is checked for this; here are those that have the most reasons for a cookie.
    for script in [
        &["set:a=1", "save", "set:a=2", "save", "set:a=3"][..],
        &["set:a=4", "renew", "save", "login:alice", "save", "set:b=1"],
        &["renew", "renew", "set:a=5", "login:bob"],
        &["set:a=6", "save", "logout"],
    ] {
        let reply = browser.post(&steps(script)).await;
        assert_eq!((reply.status, reply.all("set-cookie").len()), (200, 1), "{script:?}");
    }
    // A second layer of the same manager within the first.
    let reply = browser.post("/extra/nested?k=a&v=1").await;
    assert_eq!((reply.status, reply.all("set-cookie").len()), (200, 1));
    assert_eq!(browser.data().await["a"], "1");
    assert_eq!(server.metrics().await.live(), 1);
}

pub(crate) async fn c14_the_applications_own_cookies_survive(subject: Subject) {
    let server = subject.start().await;
    let mut browser = server.browser();
    let reply = browser.post("/extra/own-cookies?k=a&v=1").await;
    let mut lines = reply.all("set-cookie");
    lines.retain(|line| !line.starts_with("session="));
    assert_eq!(lines, ["theme=dark; Path=/", "session2=x; Path=/; HttpOnly"]);
    reply.new_cookie();
    // Also beside a removal, and on the way in.
    let jar = format!("theme=dark; session={}; session2=x", browser.token());
    let reply = server.post("/extra/own-cookies?k=a&v=2").header("cookie", &jar).send().await;
    assert_eq!(reply.all("set-cookie").len(), 3);
    browser.receive(&reply);
    assert_eq!(browser.data().await["a"], "2");
}
