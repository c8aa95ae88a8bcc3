//! Line 99: private and large values.

use futures_util::future::join_all;
use serde_json::json;

use crate::support::Subject;
use crate::support::client::{seeded, steps};

const VAULT: (&str, &str) = ("VAULT", "1");

pub(crate) async fn c99_a_private_value_is_kept_with_its_session_and_goes_with_it(subject: Subject) {
    let server = subject.start_with(&[VAULT]).await;
    let mut browser = seeded(&server).await;
    let before = browser.clone();
    let kept = browser.post(&steps(&["keep:t=secret", "keep-big:big=20000", "kept:t", "kept-keys"])).await.ok();
    assert_eq!(kept["steps"], json!([{ "ok": null }, { "ok": null }, { "ok": "secret" }, { "ok": ["big", "t"] }]));
    // It does not show in the data, and takes little room.
    assert_eq!(browser.data().await, json!({ "a": "1" }));
    browser.post("/login?user=alice").await.new_cookie();
    browser.post("/renew").await.new_cookie();
    let read =
        browser.post(&steps(&["kept:t", "kept-length:big", "kept-many:t,nothing", "remove:t", "kept:t"])).await.ok();
    let expected = json!([
        { "ok": "secret" }, { "ok": 20_000 }, { "ok": ["secret", null] }, { "ok": true }, { "ok": null }
    ]);
    assert_eq!(read["steps"], expected);
    let ended = browser.clone();
    browser.post("/logout").await;
    for mut old in [before, ended] {
        assert_eq!(old.post(&steps(&["kept-length:big"])).await.ok()["steps"], json!([{ "ok": null }]));
    }
}

pub(crate) async fn c99_a_large_value_spills_over_and_get_names_the_call_that_reads_it(subject: Subject) {
    let server = subject.start_with(&[VAULT, ("SPILL_OVER", "1024")]).await;
    let mut browser = seeded(&server).await;
    let reply = browser.post(&steps(&["big:tokens=8192", "set:small=1"])).await;
    assert_eq!(reply.ok()["steps"], json!([{ "ok": null }, { "ok": null }]));
    let read = browser.post(&steps(&["get:small", "kept:small", "kept-length:tokens", "get:tokens"])).await.ok();
    assert_eq!(read["steps"][0], json!({ "ok": "1" }));
    assert_eq!(read["steps"][1], json!({ "ok": "1" }));
    assert_eq!(read["steps"][2], json!({ "ok": 8192 }));
    let error = read["steps"][3]["error"].as_str().unwrap();
    assert!(error.contains("session.vault().get(\"tokens\").await"), "{error}");
    assert_eq!(read["steps"][3]["status"], 500);
    assert_eq!(browser.data().await, json!({ "a": "1", "small": "1" }));
}

pub(crate) async fn c99_parallel_requests_lose_no_private_value(subject: Subject) {
    let server = subject.start_with(&[VAULT]).await;
    let mut browser = seeded(&server).await;
    let paths: Vec<_> =
        (0..20).map(|n| format!("{}&reply_ms=20", steps(&["kept-incr:n", &format!("keep:k{n}=v{n}")]))).collect();
    let replies = join_all(paths.iter().map(|path| browser.carrying(server.post(path)).send())).await;
    for reply in &replies {
        let did = reply.ok()["steps"].clone();
        assert!(did[0]["ok"].is_u64() && did[1] == json!({ "ok": null }), "{did}");
    }
    let read = browser.post(&steps(&["kept-incr:n", "kept-keys"])).await.ok();
    assert_eq!(read["steps"][0], json!({ "ok": 21 }));
    assert_eq!(read["steps"][1]["ok"].as_array().unwrap().len(), 21);
}

pub(crate) async fn c99_a_5xx_keeps_no_private_value_and_a_limit_is_413(subject: Subject) {
    let server = subject.start_with(&[VAULT]).await;
    let mut browser = seeded(&server).await;
    browser.post(&steps(&["keep:t=one"])).await.new_cookie();
    assert_eq!(browser.post(&steps(&["keep:t=two", "status:500"])).await.status, 500);
    assert_eq!(browser.post(&steps(&["kept:t"])).await.ok()["steps"], json!([{ "ok": "one" }]));
    let refused = browser.post(&steps(&["keep-big:t=70000", "kept:t"])).await.ok();
    assert_eq!((refused["steps"][0]["status"].as_u64(), &refused["steps"][1]), (Some(413), &json!({ "ok": "one" })));
    let server = subject.start().await;
    let refused = server.browser().post(&steps(&["keep:t=one"])).await.ok();
    assert!(refused["steps"][0]["error"].as_str().unwrap().contains("vault(store)"), "{refused}");
}
