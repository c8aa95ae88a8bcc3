//! Line 64, what lasts: no deadlock, long connections. And line 0, what the program offers beyond the checklist.

use std::time::Duration;

use futures_util::future::{join, join_all};
use serde_json::json;

use crate::support::client::{assert_refused, seeded, steps};
use crate::support::{Browser, HOUR, Subject};

pub(crate) async fn c64_one_thread_serves_many_slow_requests_of_one_session(subject: Subject) {
    let server = subject.start_with(&[("THREADS", "1")]).await;
    let browser = seeded(&server).await;
    let script = |n: usize| steps(&["incr:n", "sleep:100", "save", "sleep:50", &format!("set:k{n}=x"), "is-live"]);
    let paths: Vec<String> = (0..30).map(script).collect();
    let writers = join_all(paths.iter().map(|path| browser.carrying(server.post(path)).send()));
    let readers = join_all((0..30).map(|_| browser.carrying(server.get("/state?load_ms=100&reply_ms=100")).send()));
    // Clients that hang up in the middle hold nothing up.
    let hang_up =
        join_all(paths.iter().map(|path| {
            tokio::time::timeout(Duration::from_millis(60), browser.carrying(server.post(path)).try_send())
        }));
    let both = join(join(writers, readers), hang_up);
    let ((writers, readers), _) = tokio::time::timeout(Duration::from_secs(120), both).await.expect("no deadlock");
    for reply in writers.iter().chain(&readers) {
        assert_eq!(reply.status, 200, "{}", reply.text());
    }
    let data = browser.clone().data().await;
    let sum = data["n"].as_u64().unwrap();
    assert!((30..=60).contains(&sum), "{sum}: whoever hung up may be counted or not");
    assert!((0..30).all(|n| data[format!("k{n}")] == "x"));
}

pub(crate) async fn c00_load_ms_and_reply_ms_hold_a_request_of_any_route(subject: Subject) {
    let server = subject.start().await;
    let browser = seeded(&server).await;
    for path in
        ["/?load_ms=60&reply_ms=60", "/state?load_ms=120", "/metrics?load_ms=60&reply_ms=60", "/state?reply_ms=120"]
    {
        let start = std::time::Instant::now();
        assert_eq!(browser.clone().get(path).await.status, 200);
        assert!(start.elapsed() >= Duration::from_millis(120), "{path}");
    }
}

pub(crate) async fn c00_a_long_connection_learns_that_its_session_ended(subject: Subject) {
    use http_body_util::BodyExt;

    let server = subject.start().await;
    let mut browser = seeded(&server).await;
    browser.post("/login?user=alice").await.new_cookie();
    let mut body = browser.carrying(server.get("/live")).open().await.expect("a response").into_body();
    let mut line = async || {
        let frame = body.frame().await?.expect("the connection lasts");
        Some(String::from_utf8(frame.into_data().expect("data").to_vec()).unwrap())
    };
    assert_eq!(line().await.as_deref(), Some("live\n"));
    // A rotation does not end it.
    browser.post("/set?k=a&v=2").await.new_cookie();
    assert_eq!(line().await.as_deref(), Some("live\n"));
    browser.post("/logout").await.assert_removal();
    let mut last = line().await;
    while last.as_deref() == Some("live\n") {
        last = line().await;
    }
    assert_eq!(last.as_deref(), Some("ended\n"));
}

pub(crate) async fn c00_after_the_headers_are_gone_writes_are_an_error_and_reads_work(subject: Subject) {
    let server = subject.start().await;
    let mut browser = seeded(&server).await;
    let late = browser.get("/extra/late").await.ok();
    assert_eq!(late["data"], json!({ "a": "1" }));
    for change in ["insert", "login", "logout", "save"] {
        assert!(late[change].as_str().unwrap().contains("headers"), "{change}: {late}");
    }
    assert_eq!(browser.data().await, json!({ "a": "1" }));
    assert_eq!(server.metrics().await.live(), 1);
}

pub(crate) async fn c00_sessions_are_listed_and_revoked_one_by_one_all_others_and_all(subject: Subject) {
    let server = subject.start().await;
    let mut devices = Vec::new();
    for name in ["laptop", "phone", "tablet"] {
        let mut browser = server.browser();
        browser.post(&steps(&["login:alice", &format!("label:{name}")])).await.new_cookie();
        devices.push(browser);
        server.advance(1000).await;
    }
    let mut bob = server.browser();
    bob.post("/login?user=bob").await.new_cookie();
    let list = devices[0].get("/sessions").await.ok();
    let list = list.as_array().unwrap();
    let mut labels: Vec<_> = list.iter().map(|info| info["label"].as_str().unwrap()).collect();
    labels.sort_unstable();
    assert_eq!(labels, ["laptop", "phone", "tablet"]);
    let current: Vec<_> = list.iter().filter(|info| info["current"] == true).collect();
    assert!(current.len() == 1 && current[0]["label"] == "laptop");
    for info in list {
        let time = |name: &str| info[name].as_i64().unwrap();
        assert_eq!(time("expires_at") - time("created_at"), 8 * HOUR);
        assert!(time("last_seen_at") >= time("created_at"));
    }

    let handle = |label: &str| {
        let info = list.iter().find(|info| info["label"] == label).unwrap();
        info["handle"].as_str().unwrap().to_owned()
    };
    let revoke = async |browser: &mut Browser<'_>, label: &str| {
        browser.post(&format!("/sessions/revoke?handle={}", handle(label))).await.status
    };
    // Nobody revokes another subject's session by its handle.
    assert_eq!(revoke(&mut bob, "phone").await, 404);
    assert_eq!(revoke(&mut server.browser(), "phone").await, 401);
    assert_eq!(revoke(&mut devices[0], "phone").await, 200);
    assert_eq!(revoke(&mut devices[0], "phone").await, 404);
    assert_refused(&devices[1].get("/state").await);
    assert_eq!(devices[2].post("/sessions/revoke-others").await.ok()["revoked"], 1);
    assert_refused(&devices[0].get("/state").await);
    assert_eq!(devices[2].state().await["subject"], "alice");
    assert_eq!(server.post("/admin/revoke?user=alice").send().await.ok()["revoked"], 1);
    assert_refused(&devices[2].get("/state").await);
    assert_eq!(bob.state().await["subject"], "bob");
    assert_eq!(server.metrics().await.live(), 1);
}

pub(crate) async fn c00_csrf_tokens_are_of_one_session(subject: Subject) {
    let server = subject.start().await;
    let mut browser = server.browser();
    let token = browser.get("/csrf").await.ok()["token"].as_str().unwrap().to_owned();
    let other = server.browser().get("/csrf").await.ok()["token"].as_str().unwrap().to_owned();
    assert_eq!(browser.post("/protected").await.status, 403);
    for wrong in [&other, "", "x", &token[1..]] {
        assert_eq!(browser.send(server.post("/protected").header("x-csrf-token", wrong)).await.status, 403);
    }
    assert_eq!(browser.send(server.post("/protected").header("x-csrf-token", &token)).await.status, 200);
    assert_eq!(browser.post(&format!("/protected?csrf_token={token}")).await.status, 200);
    // Its session alone does not carry it over: without the cookie it proves nothing.
    assert_eq!(server.post(&format!("/protected?csrf_token={token}")).send().await.status, 403);
    // After a renewal there is a new one.
    browser.post("/renew").await.new_cookie();
    assert_eq!(browser.post(&format!("/protected?csrf_token={token}")).await.status, 403);
}
