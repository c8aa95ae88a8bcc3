//! Line 67: the store fails, the server is killed.

use serde_json::json;

use crate::support::client::{alice, steps};
use crate::support::{Reply, Subject};

/// The text of the injected error: for the log, and for no response.
const DETAIL: &str = "db-7.internal";

#[track_caller]
fn assert_opaque_503(reply: &Reply) {
    assert_eq!(reply.status, 503, "{}", reply.text());
    reply.assert_no_cookie();
    let text = reply.text().to_lowercase();
    for detail in [DETAIL, "injected", "store", "load", "revision"] {
        assert!(!text.contains(detail), "{text}");
    }
}

pub(crate) async fn c67_a_store_down_at_load_is_an_opaque_503_and_the_session_survives_it(subject: Subject) {
    let server = subject.start_with(&[("LOG", "info")]).await;
    let mut browser = alice(&server).await;
    server.fault("down").await;
    let cookie = browser.token();
    for request in
        [server.get("/state"), server.post("/set?k=a&v=2"), server.post("/logout"), server.post("/login?user=eve")]
    {
        assert_opaque_503(&browser.send(request).await);
    }
    server.logged(DETAIL).await;
    assert_eq!(server.event("store_error").await["operation"], "load");
    // The server still serves a client that never looks at a session, or has none.
    assert_eq!(browser.get("/").await.status, 200);
    server.get("/state").send().await.assert_anonymous();
    assert_opaque_503(&server.post("/set?k=a&v=1").send().await);
    server.get("/state").cookie("garbage").send().await.assert_anonymous();

    server.fault("up").await;
    assert_eq!(browser.token(), cookie);
    let state = browser.state().await;
    assert_eq!((&state["subject"], &state["data"]), (&json!("alice"), &json!({ "a": "1" })));
}

pub(crate) async fn c67_a_store_that_is_down_at_commit_is_a_503_and_nothing_is_half_done(subject: Subject) {
    let server = subject.start_with(&[("LOG", "info")]).await;
    let mut browser = alice(&server).await;
    let cookie = browser.token();
    server.fault("commit").await;
    for path in ["/set?k=a&v=2", "/incr?k=n", "/renew", "/login?user=bob", "/logout", "/extra/redirect?k=a&v=2"] {
        assert_opaque_503(&browser.post(path).await);
    }
    assert_opaque_503(&server.post("/set?k=a&v=1").send().await);
    // `save` gives the handler a typed error; what it answers is up to it, and the commit fails as well.
    let reply = browser.post(&steps(&["set:a=2", "save"])).await;
    assert_opaque_503(&reply);
    server.logged(DETAIL).await;
    // Reading needs no write: upkeep that fails is an event and no error.
    assert_eq!(browser.data().await, json!({ "a": "1" }));
    server.advance(16 * 60_000).await;
    let reply = browser.get("/state").await;
    assert_eq!(reply.ok()["data"], json!({ "a": "1" }));
    reply.assert_no_cookie();

    server.fault("up").await;
    assert_eq!(browser.token(), cookie);
    let state = browser.state().await;
    assert_eq!((&state["subject"], &state["data"]), (&json!("alice"), &json!({ "a": "1" })));
    assert_eq!(server.metrics().await.live(), 1);
}

pub(crate) async fn c67_a_handlers_own_5xx_is_not_replaced_by_a_failed_commit(subject: Subject) {
    let server = subject.start().await;
    let mut browser = alice(&server).await;
    server.fault("commit").await;
    for path in ["/fail?k=a&v=2".to_owned(), steps(&["logout", "status:502"])] {
        let reply = browser.post(&path).await;
        assert!([500, 502].contains(&reply.status), "{}", reply.status);
        assert!(reply.json().is_object());
        reply.assert_no_cookie();
    }
    server.fault("up").await;
    assert_eq!(browser.state().await["subject"], "alice");
}

pub(crate) async fn c67_a_randomly_failing_store_loses_and_repeats_no_acknowledged_write(subject: Subject) {
    let server = subject.start().await;
    let mut browser = alice(&server).await;
    server.fault("random").await;
    let (mut acknowledged, mut failed) = (0, 0);
    for _ in 0..200 {
        let reply = browser.post("/incr?k=n").await;
        match reply.status {
            200 => acknowledged += 1,
            503 => {
                assert_opaque_503(&reply);
                failed += 1;
            }
            other => panic!("{other}: {}", reply.text()),
        }
    }
    assert!(acknowledged > 10 && failed > 10, "{acknowledged} {failed}");
    server.fault("up").await;
    assert_eq!(browser.data().await, json!({ "a": "1", "n": acknowledged }));
}

pub(crate) async fn c67_a_write_whose_acknowledgement_was_lost_is_not_made_twice(subject: Subject) {
    let server = subject.start().await;
    let mut browser = alice(&server).await;
    // The commit within the handler is carried out and reported as failed; the one at the end tries again.
    server.fault("lost").await;
    let reply = browser.post(&steps(&["incr:n", "save", "incr:n"])).await;
    let outcomes = reply.ok()["steps"].clone();
    assert_eq!(outcomes[1]["status"], 503, "{outcomes}");
    reply.new_cookie();
    assert_eq!(browser.data().await, json!({ "a": "1", "n": 2 }));
    // Likewise for a session's first commit, and for a login.
    for (script, data) in
        [(&["incr:n", "save"][..], json!({ "n": 1 })), (&["login:bob", "incr:n", "save", "incr:n"], json!({ "n": 2 }))]
    {
        let before = server.metrics().await.live();
        let mut browser = server.browser();
        server.fault("lost").await;
        browser.post(&steps(script)).await.new_cookie();
        assert_eq!(browser.data().await, data, "{script:?}");
        assert_eq!(server.metrics().await.live(), before + 1, "{script:?}");
    }
    // A login as oneself goes on, one as another subject begins afresh.
    for (user, n) in [("alice", 4), ("bob", 2)] {
        server.fault("lost").await;
        let reply = browser.post(&steps(&[&format!("login:{user}"), "incr:n", "save", "incr:n"])).await;
        reply.new_cookie();
        let state = browser.state().await;
        assert_eq!((&state["subject"], &state["data"]["n"]), (&json!(user), &json!(n)));
    }
    // Without a second try the client is told that it failed, and finds it done: it may send it again by itself.
    server.fault("lost").await;
    let reply = browser.post("/set?k=b&v=2").await;
    assert_eq!(reply.status, 503);
    reply.assert_no_cookie();
    assert_eq!(browser.data().await["b"], "2");
}

pub(crate) async fn c67_a_logout_with_a_lost_acknowledgement_ends_session_and_cookie(subject: Subject) {
    let server = subject.start().await;
    let mut browser = alice(&server).await;
    let cookie = browser.token();
    server.fault("lost").await;
    browser.post("/logout").await.assert_removal();
    server.get("/state").cookie(&cookie).send().await.assert_anonymous();
    let metrics = server.metrics().await;
    assert_eq!((metrics.live(), metrics.event("ended"), metrics.event("store_error")), (0, 1, 1));
}

pub(crate) async fn c67_a_killed_server_loses_no_acknowledged_write(subject: Subject) {
    let mut server = subject.start().await;
    let (keys, database) = (server.keys.clone(), server.database().clone());
    let mut cookie = alice(&server).await.token();
    let mut acknowledged = 0;
    for round in 0..5 {
        {
            let mut browser = server.browser_with(&cookie);
            for _ in 0..10 {
                acknowledged += 1;
                assert_eq!(browser.post("/incr?k=n").await.ok()["value"], acknowledged, "round {round}");
            }
            cookie = browser.token();
        }
        // In the middle of more writes, whose answers nobody gets.
        let under_load = async {
            let writes = (0..20).map(|_| server.post("/set?k=b&v=2").cookie(&cookie).try_send());
            let _ =
                tokio::time::timeout(std::time::Duration::from_millis(5), futures_util::future::join_all(writes)).await;
        };
        under_load.await;
        server.kill();
        server = subject.setup().keys(&keys).database(&database).start().await;
        let state = server.browser_with(&cookie).state().await;
        assert_eq!((&state["subject"], &state["data"]["n"]), (&json!("alice"), &json!(acknowledged)), "round {round}");
    }
    // Also what has ended stays ended.
    let mut browser = server.browser_with(&cookie);
    browser.post("/logout").await.assert_removal();
    server.kill();
    let server = subject.setup().keys(&keys).database(&database).start().await;
    server.get("/state").cookie(&cookie).send().await.assert_anonymous();
}
