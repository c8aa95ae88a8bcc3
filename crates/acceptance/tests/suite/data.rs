//! Lines 15 to 25: the data.

use serde_json::json;

use crate::support::Subject;
use crate::support::client::{seeded, steps};

/// The path of a request with a value that needs escaping.
fn set(route: &str, key: &str, value: &str) -> String {
    let mut query = String::from(route);
    for (separator, name, text) in [("?", "k", key), ("&", "v", value)] {
        query.push_str(separator);
        query.push_str(name);
        query.push('=');
        text.bytes().for_each(|byte| query.push_str(&format!("%{byte:02X}")));
    }
    query
}

pub(crate) async fn c15_a_value_is_visible_on_the_next_request(subject: Subject) {
    let server = subject.start().await;
    let mut browser = seeded(&server).await;
    let state = browser.state().await;
    assert_eq!(state, json!({ "data": { "a": "1" }, "subject": null, "new": false, "ended": false }));
}

pub(crate) async fn c16_the_last_write_within_a_request_wins(subject: Subject) {
    let server = subject.start().await;
    let mut browser = server.browser();
    let reply = browser.post(&steps(&["set:a=1", "set:a=2", "remove:a", "set:a=3", "set:b=1", "remove:b"])).await;
    assert_eq!(reply.ok()["state"]["data"], json!({ "a": "3" }));
    assert_eq!(browser.data().await, json!({ "a": "3" }));
}

pub(crate) async fn c17_remove_on_a_loaded_session_persists(subject: Subject) {
    let server = subject.start().await;
    let mut browser = seeded(&server).await;
    browser.post("/set?k=b&v=2").await.new_cookie();
    assert_eq!(browser.post("/remove?k=a").await.ok()["data"], json!({ "b": "2" }));
    assert_eq!(browser.data().await, json!({ "b": "2" }));
    let taken = browser.post(&steps(&["take:b", "take:b"])).await.ok();
    assert_eq!(taken["steps"], json!([{ "ok": "2" }, { "ok": null }]));
    assert_eq!(browser.data().await, json!({}));
}

pub(crate) async fn c18_update_persists(subject: Subject) {
    let server = subject.start().await;
    let mut browser = server.browser();
    for n in 1..=3 {
        assert_eq!(browser.post("/incr?k=n").await.ok(), json!({ "value": n }));
    }
    let reply = browser.post(&steps(&["incr:n", "incr:n", "save", "incr:n"])).await.ok();
    assert_eq!(reply["steps"], json!([{ "ok": 4 }, { "ok": 5 }, { "ok": null }, { "ok": 6 }]));
    assert_eq!(browser.data().await, json!({ "n": 6 }));
}

pub(crate) async fn c19_removing_what_is_absent_changes_nothing(subject: Subject) {
    let server = subject.start().await;
    let mut browser = seeded(&server).await;
    let before = server.metrics().await;
    browser.post("/remove?k=absent").await.assert_no_cookie();
    browser.post(&steps(&["take:absent", "remove:"])).await.assert_no_cookie();
    server.post("/remove?k=absent").send().await.assert_no_cookie();
    server.post("/clear").send().await.assert_no_cookie();
    assert_eq!(server.metrics().await.writes(), before.writes());
    assert_eq!(browser.data().await, json!({ "a": "1" }));
}

pub(crate) async fn c20_clear_empties_and_the_session_stays(subject: Subject) {
    let server = subject.start().await;
    let mut browser = seeded(&server).await;
    browser.post("/login?user=alice").await.new_cookie();
    let id = browser.id().await;
    browser.post("/clear").await.new_cookie();
    let state = browser.state().await;
    assert_eq!(state, json!({ "data": {}, "subject": "alice", "new": false, "ended": false }));
    assert_eq!(browser.id().await, id);
    assert_eq!(server.metrics().await.live(), 1);
}

pub(crate) async fn c21_the_wrong_type_is_an_error_and_the_data_stays(subject: Subject) {
    let server = subject.start().await;
    let mut browser = seeded(&server).await;
    let reply = browser.post(&steps(&["get-number:a", "take-number:a", "incr:a", "get:a"])).await;
    let outcomes = reply.ok()["steps"].clone();
    for outcome in &outcomes.as_array().unwrap()[..3] {
        let error = outcome["error"].as_str().unwrap_or_else(|| panic!("{outcomes}"));
        assert!(error.contains("u64"), "{error}");
        assert_eq!(outcome["status"], 500);
    }
    assert_eq!(outcomes[3], json!({ "ok": "1" }));
    reply.assert_no_cookie();
    assert_eq!(browser.data().await, json!({ "a": "1" }));
}

pub(crate) async fn c22_an_unserialisable_value_is_an_error_and_the_state_stays(subject: Subject) {
    let server = subject.start().await;
    let mut browser = seeded(&server).await;
    let reply = browser.post(&steps(&["unserialisable:a", "unserialisable:b", "deep:c=40", "big:d=5000"])).await;
    let body = reply.ok();
    let outcomes = body["steps"].as_array().unwrap();
    assert!(outcomes.iter().all(|outcome| outcome["error"].is_string()), "{outcomes:?}");
    assert_eq!(outcomes[3]["status"], 413);
    assert_eq!(body["state"]["data"], json!({ "a": "1" }));
    reply.assert_no_cookie();
    assert_eq!(browser.data().await, json!({ "a": "1" }));
    // A request that changes something else as well keeps that.
    browser.post(&steps(&["set:b=2", "unserialisable:b", "big:c=5000", "unserialisable:a"])).await.new_cookie();
    assert_eq!(browser.data().await, json!({ "a": "1", "b": "2" }));
}

pub(crate) async fn c22_what_outgrows_the_cookie_is_413_and_the_previous_token_stays_good(subject: Subject) {
    let server = subject.start().await;
    let mut browser = seeded(&server).await;
    let reply = browser.post("/big?n=5000").await;
    reply.assert_no_cookie();
    let text = reply.json()["error"].as_str().unwrap().to_owned();
    assert!(reply.status == 413 && text.contains("4000") && text.contains("bytes"), "{} {text}", reply.status);
    // The adapter's own error, from `?`.
    let reply = browser.post("/extra/rejected").await;
    assert_eq!(reply.status, 413);
    reply.assert_no_cookie();
    assert_eq!(browser.data().await, json!({ "a": "1" }));

    // The largest that fits, by bisection, comes back whole.
    let (mut fits, mut refused) = (0, 5000);
    while refused - fits > 1 {
        let middle = usize::midpoint(fits, refused);
        match browser.clone().post(&format!("/big?n={middle}")).await.status {
            200 => fits = middle,
            413 => refused = middle,
            other => panic!("{other}"),
        }
    }
    assert!((2700..2900).contains(&fits), "{fits} bytes fit");
    let cookie = browser.post(&format!("/big?n={fits}")).await.new_cookie();
    assert!((3990..=4000).contains(&(cookie.len() + "session".len())), "{} bytes", cookie.len());
    assert_eq!(browser.data().await["big"].as_str().unwrap().len(), fits);
}

pub(crate) async fn c23_unicode_binary_nested_large_integers_and_floats_round_trip(subject: Subject) {
    let server = subject.start().await;
    let mut browser = server.browser();
    browser.post("/extra/sample").await.new_cookie();
    assert_eq!(browser.get("/extra/sample").await.ok(), json!({ "equal": true }));

    for text in ["", "naïve 日本語 🦀", "\0\u{7f}\u{10ffff}", "a=b; c=\"d\"\r\n%00", "<script>&amp;"] {
        browser.post(&set("/set", "ключ 🔑", text)).await;
        assert_eq!(browser.data().await["ключ 🔑"], text);
    }
    for value in [
        json!(null),
        json!(true),
        json!(u64::MAX),
        json!(i64::MIN),
        json!(9_007_199_254_740_993_u64),
        json!(0.1),
        json!(1.797_693_134_862_315_7e308),
        json!(5e-324),
        json!([1, [2, [3, [4, { "five": [] }]]]]),
        json!({ "nested": { "deeper": { "ü": [null, false, "x"] } }, "": {} }),
    ] {
        browser.post(&set("/extra/json", "v", &value.to_string())).await;
        assert_eq!(browser.data().await["v"], value);
    }
}

pub(crate) async fn c24_two_extractors_in_one_request_share_one_state(subject: Subject) {
    let server = subject.start().await;
    let mut browser = server.browser();
    let reply = browser.post("/extra/two?k=a&v=1").await;
    assert_eq!(reply.ok(), json!({ "second": "1" }));
    assert_eq!(reply.all("set-cookie").len(), 1);
    assert_eq!(browser.data().await, json!({ "a": "1" }));
    let before = server.metrics().await.calls("load");
    browser.post("/extra/two?k=a&v=2").await;
    assert_eq!(server.metrics().await.calls("load") - before, 1, "loaded once");
}

pub(crate) async fn c24_the_typed_view_mixes_with_keyed_access(subject: Subject) {
    let server = subject.start().await;
    let mut browser = seeded(&server).await;
    assert_eq!(browser.post("/extra/typed?item=pen").await.ok(), json!({ "items": ["pen"] }));
    browser.post("/set?k=note&v=hello").await.new_cookie();
    assert_eq!(browser.post("/extra/typed?item=ink").await.ok(), json!({ "items": ["pen", "ink"] }));
    let data = browser.data().await;
    assert_eq!((&data["a"], &data["items"], &data["note"]), (&json!("1"), &json!(["pen", "ink"]), &json!("hello")));
}

pub(crate) async fn c25_guards_and_inner_middleware_see_the_session(subject: Subject) {
    let server = subject.start().await;
    let mut browser = seeded(&server).await;
    let refused = browser.post("/extra/guarded").await;
    assert_eq!(refused.status, 403);
    refused.assert_no_cookie();
    browser.post("/login?user=alice").await.new_cookie();
    assert_eq!(browser.post("/extra/guarded").await.ok(), json!({ "guard": "passed" }));
    // The middleware's changes before and after the handler are kept.
    let data = browser.data().await;
    assert_eq!((&data["guard"], &data["after"], &data["a"]), (&json!("passed"), &json!("handler"), &json!("1")));
}
