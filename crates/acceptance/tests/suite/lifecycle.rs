//! Lines 26 to 35: login, renewal, logout.

use serde_json::json;

use crate::support::client::steps;
use crate::support::{HOUR, Reply, Server, Subject};

/// Presents a cookie, and asserts that the server takes its client for anonymous and sets no cookie.
async fn assert_refused(server: &Server, cookie: &str) -> Reply {
    let reply = server.get("/state").cookie(cookie).send().await;
    reply.assert_anonymous();
    reply.assert_no_cookie();
    reply
}

pub(crate) async fn c26_renew_changes_id_and_cookie_and_keeps_the_data(subject: Subject) {
    let server = subject.start().await;
    let mut browser = server.browser();
    browser.post("/set?k=a&v=1").await;
    for path in ["/renew", "/login?user=alice", "/renew", "/login?user=alice"] {
        let (old_id, old_cookie) = (browser.id().await, browser.token());
        let cookie = browser.post(path).await.new_cookie();
        assert_ne!((browser.id().await, cookie), (old_id, old_cookie), "{path}");
        assert_eq!(browser.data().await, json!({ "a": "1" }), "{path}");
    }
    assert_eq!(browser.state().await["subject"], "alice");
    let metrics = server.metrics().await;
    assert_eq!((metrics.event("renewed"), metrics.live()), (4, 1));
}

pub(crate) async fn c26_renew_keeps_the_deadline_and_login_begins_a_new_life(subject: Subject) {
    let server = subject.start_with(&[("IDLE_MS", "0")]).await;
    let mut browser = server.browser();
    browser.post("/set?k=a&v=1").await;
    let deadline = async |browser: &mut crate::support::Browser<'_>| {
        browser.get("/extra/about").await.ok()["expires_at"].as_i64().unwrap()
    };
    let first = deadline(&mut browser).await;
    server.advance(HOUR).await;
    browser.post("/renew").await;
    assert_eq!(deadline(&mut browser).await, first);
    browser.post("/login?user=alice").await;
    assert!(deadline(&mut browser).await >= first + HOUR);
}

pub(crate) async fn c27_the_old_cookie_is_refused_at_once_after_a_renewal(subject: Subject) {
    let server = subject.start().await;
    for path in ["/renew", "/login?user=alice"] {
        let mut browser = server.browser();
        let old = browser.post("/set?k=a&v=1").await.new_cookie();
        browser.post(path).await.new_cookie();
        let reply = assert_refused(&server, &old).await;
        assert_eq!(reply.json()["ended"], true);
        // Nor does it end the session that it led to.
        assert_eq!(browser.data().await, json!({ "a": "1" }));
    }
    assert_eq!(server.metrics().await.live(), 2);
}

pub(crate) async fn c28_renew_twice_or_on_a_new_session_is_fine(subject: Subject) {
    let server = subject.start().await;
    // A session without anything in it is not made.
    let reply = server.post("/renew").send().await;
    assert_eq!(reply.status, 200);
    reply.assert_no_cookie();
    assert_eq!(server.metrics().await.live(), 0);

    let mut browser = server.browser();
    browser.post(&steps(&["renew", "set:a=1", "renew"])).await.new_cookie();
    assert_eq!(server.metrics().await.live(), 1);
    let id = browser.id().await;
    browser.post(&steps(&["renew", "renew"])).await.new_cookie();
    assert_ne!(browser.id().await, id);
    browser.post(&steps(&["renew", "save", "renew", "save"])).await.new_cookie();
    assert_eq!(browser.data().await, json!({ "a": "1" }));
    assert_eq!(server.metrics().await.live(), 1);
}

pub(crate) async fn c29_an_insert_after_renew_is_kept(subject: Subject) {
    let server = subject.start().await;
    let mut browser = server.browser();
    browser.post("/set?k=a&v=1").await;
    browser.post(&steps(&["renew", "set:b=2", "remove:a"])).await.new_cookie();
    assert_eq!(browser.data().await, json!({ "b": "2" }));
    browser.post(&steps(&["login:alice", "incr:n"])).await.new_cookie();
    browser.post(&steps(&["renew", "save", "incr:n"])).await.new_cookie();
    assert_eq!(browser.data().await, json!({ "b": "2", "n": 2 }));
    assert_eq!(browser.state().await["subject"], "alice");
}

pub(crate) async fn c30_logout_ends_the_bucket_and_removes_the_cookie(subject: Subject) {
    let server = subject.start().await;
    let mut browser = server.browser();
    browser.post("/set?k=a&v=1").await;
    browser.post("/login?user=alice").await;
    let cookie = browser.token();
    let reply = browser.post("/logout").await;
    reply.assert_removal();
    assert_eq!(reply.ok()["data"], json!({}));
    assert_eq!(reply.json()["subject"], json!(null));
    assert_eq!(browser.cookie, None);
    let metrics = server.metrics().await;
    assert_eq!((metrics.live(), metrics.event("ended")), (0, 1));
    assert_eq!(assert_refused(&server, &cookie).await.json()["ended"], true);
}

pub(crate) async fn c31_every_earlier_cookie_is_refused_after_logout(subject: Subject) {
    let server = subject.start().await;
    let mut browser = server.browser();
    let mut cookies = Vec::new();
    for path in
        ["/set?k=a&v=1", "/set?k=a&v=2", "/login?user=alice", "/set?k=a&v=3", "/renew", "/incr?k=n", "/incr?k=n"]
    {
        cookies.push(browser.post(path).await.new_cookie());
    }
    browser.post("/logout").await.assert_removal();
    let created = server.metrics().await.calls("insert");
    for minutes in [0, 2, 90] {
        // At once, when the tombstones are gone, and much later.
        server.advance(minutes * 60_000).await;
        for (index, cookie) in cookies.iter().enumerate() {
            assert_eq!(assert_refused(&server, cookie).await.json()["ended"], true, "cookie {index}");
        }
    }
    let metrics = server.metrics().await;
    assert_eq!((metrics.live(), metrics.calls("insert")), (0, created), "nothing is created under a presented id");
}

pub(crate) async fn c32_a_session_made_and_ended_in_one_request_leaves_no_cookie_or_bucket(subject: Subject) {
    let server = subject.start().await;
    for script in [&["set:a=1", "logout"][..], &["login:alice", "set:a=1", "logout"], &["logout"]] {
        let reply = server.post(&steps(script)).send().await;
        assert_eq!(reply.ok()["state"]["data"], json!({}));
        reply.assert_no_cookie();
    }
    let metrics = server.metrics().await;
    assert_eq!((metrics.all_calls(), metrics.live()), (0, 0));
    // Even if it was already saved.
    let reply = server.post(&steps(&["set:a=1", "save", "logout"])).send().await;
    assert_eq!(reply.status, 200);
    assert!(reply.set_cookie().is_none_or(|cookie| cookie.is_removal()));
    assert_eq!(server.metrics().await.live(), 0);
}

pub(crate) async fn c33_operations_after_logout_never_reach_what_ended(subject: Subject) {
    let server = subject.start().await;
    let logged_in = async || {
        let mut browser = server.browser();
        browser.post("/set?k=a&v=1").await;
        browser.post("/login?user=alice").await;
        browser
    };
    // Nothing is written, so nothing begins.
    let mut browser = logged_in().await;
    let cookie = browser.token();
    let script = ["logout", "remove:a", "clear", "take:a", "renew", "label:x", "persistent:true", "logout", "save"];
    let reply = browser.post(&steps(&script)).await;
    let state = &reply.ok()["state"];
    assert_eq!((&state["subject"], &state["data"]), (&json!(null), &json!({})), "{state}");
    reply.assert_removal();
    assert_eq!(server.metrics().await.live(), 0);
    assert_refused(&server, &cookie).await;
    // A second logout ends the session that began after the first.
    let mut browser = logged_in().await;
    let cookie = browser.token();
    let reply = browser.post(&steps(&["logout", "set:b=2", "incr:n", "logout", "save", "set:c=3"])).await;
    assert_eq!(reply.ok()["state"]["data"], json!({ "c": "3" }));
    reply.new_cookie();
    let state = browser.state().await;
    assert_eq!((&state["subject"], &state["data"]), (&json!(null), &json!({ "c": "3" })));
    assert_eq!(server.metrics().await.live(), 1);
    assert_refused(&server, &cookie).await;
}

pub(crate) async fn c33_a_login_after_logout_in_one_request_starts_empty(subject: Subject) {
    let server = subject.start().await;
    let mut browser = server.browser();
    browser.post("/set?k=secret&v=of-alice").await;
    browser.post("/login?user=alice").await;
    let cookie = browser.token();
    // To change the account: what the handler saw after the logout was an empty session.
    let reply = browser.post(&steps(&["logout", "login:bob", "set:b=1"])).await;
    assert_eq!(reply.ok()["state"]["data"], json!({ "b": "1" }));
    reply.new_cookie();
    let state = browser.state().await;
    assert_eq!((&state["subject"], &state["data"]), (&json!("bob"), &json!({ "b": "1" })));
    assert_refused(&server, &cookie).await;
    assert_eq!(server.metrics().await.live(), 1);
}

pub(crate) async fn c34_a_5xx_discards_data_changes_login_and_renew(subject: Subject) {
    let server = subject.start().await;
    // Without a session: none is made.
    let reply = server.post("/fail?k=a&v=1").send().await;
    assert_eq!(reply.status, 500);
    reply.assert_no_cookie();
    assert_eq!(server.metrics().await.live(), 0);

    let mut browser = server.browser();
    browser.post("/set?k=a&v=1").await;
    let (id, writes) = (browser.id().await, server.metrics().await.writes());
    for path in [
        "/fail?k=a&v=2".to_owned(),
        steps(&["set:a=2", "login:alice", "status:500"]),
        steps(&["renew", "set:b=2", "status:503"]),
        steps(&["clear", "status:599"]),
    ] {
        let reply = browser.post(&path).await;
        assert!(reply.status >= 500, "{path}");
        reply.assert_no_cookie();
        let state = browser.state().await;
        assert_eq!((&state["data"], &state["subject"]), (&json!({ "a": "1" }), &json!(null)), "{path}");
    }
    assert_eq!((browser.id().await, server.metrics().await.writes()), (id, writes));
    // A 4xx keeps them.
    assert_eq!(browser.post(&steps(&["set:a=4", "status:404"])).await.status, 404);
    assert_eq!(browser.data().await, json!({ "a": "4" }));
    // So does `save`, whatever happens afterwards.
    assert_eq!(browser.post(&steps(&["set:a=5", "save", "set:a=6", "status:500"])).await.status, 500);
    assert_eq!(browser.data().await, json!({ "a": "5" }));
}

pub(crate) async fn c34_a_5xx_keeps_logout_and_handoff(subject: Subject) {
    let server = subject.start().await;
    let mut browser = server.browser();
    let old = browser.post("/set?k=a&v=1").await.new_cookie();
    let newest = browser.post("/set?k=a&v=2").await.new_cookie();
    let reply = server.post("/fail?k=a&v=3").cookie(&old).send().await;
    assert_eq!((reply.status, reply.new_cookie()), (500, newest));
    assert_eq!(browser.data().await, json!({ "a": "2" }));

    let reply = browser.post(&steps(&["set:a=3", "logout", "status:500"])).await;
    assert_eq!(reply.status, 500);
    reply.assert_removal();
    assert_eq!(server.metrics().await.live(), 0);
}

pub(crate) async fn c34_a_panic_commits_nothing(subject: Subject) {
    let server = subject.start().await;
    let mut browser = server.browser();
    browser.post("/set?k=a&v=1").await;
    for script in [&["set:a=2", "panic"][..], &["login:alice", "panic"]] {
        // A framework closes the connection, or answers 500.
        if let Ok(reply) = browser.carrying(server.post(&steps(script))).try_send().await {
            assert_eq!(reply.status, 500, "{script:?}");
            reply.assert_no_cookie();
        }
        let state = browser.state().await;
        assert_eq!((&state["data"], &state["subject"]), (&json!({ "a": "1" }), &json!(null)), "{script:?}");
    }
    // A panic that arrives as a 500 is one, and keeps a logout; one that ends the connection keeps nothing.
    match browser.carrying(server.post(&steps(&["logout", "panic"]))).try_send().await {
        Ok(reply) => reply.assert_removal(),
        Err(_) => assert_eq!(browser.data().await, json!({ "a": "1" })),
    }
    // Data saved before the panic stays.
    let mut browser = server.browser();
    browser.post("/set?k=a&v=1").await;
    let _ = browser.carrying(server.post(&steps(&["set:a=2", "save", "set:a=3", "panic"]))).try_send().await;
    assert_eq!(browser.data().await, json!({ "a": "2" }));
}

pub(crate) async fn c35_redirects_save(subject: Subject) {
    let server = subject.start().await;
    let mut browser = server.browser();
    let reply = browser.post("/extra/redirect?k=a&v=1").await;
    assert_eq!((reply.status, reply.all("location")), (303, vec!["/state".to_owned()]));
    reply.new_cookie();
    assert_eq!(browser.data().await, json!({ "a": "1" }));
}
