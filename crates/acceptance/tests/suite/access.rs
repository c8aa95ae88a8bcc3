//! Lines 95 to 98: what every application asks of its sessions besides data.

use serde_json::json;

use crate::support::client::{held, seeded, steps};
use crate::support::{MINUTE, Reply, Server, Subject};

fn taken(replies: &[Reply]) -> usize {
    replies.iter().filter(|reply| reply.ok()["steps"][0]["ok"] == "1").count()
}

pub(crate) async fn c95_of_parallel_requests_exactly_one_takes_a_value_once(subject: Subject) {
    let server = subject.start().await;
    let mut browser = seeded(&server).await;
    let path = format!("{}&gate=load", steps(&["take-once:a"]));
    let takers = (0..20).map(|_| browser.carrying(server.post(&path))).collect();
    let (replies, ()) = held(&server, takers, async {}).await;
    assert_eq!(taken(&replies), 1);
    assert_eq!(browser.data().await, json!({}));
    assert_eq!(taken(&[browser.post(&steps(&["take-once:a"])).await]), 0);
}

pub(crate) async fn c95_a_value_taken_once_stays_taken_after_a_5xx(subject: Subject) {
    let server = subject.start().await;
    let mut browser = seeded(&server).await;
    let reply = browser.post(&steps(&["take-once:a", "set:b=2", "status:500"])).await;
    assert_eq!(reply.json()["steps"][0]["ok"], "1");
    assert_eq!(browser.data().await, json!({}));
}

pub(crate) async fn c95_of_two_servers_on_one_store_exactly_one_takes_a_value_once(subject: Subject) {
    let one = subject.start().await;
    let two = subject.setup().keys(&one.keys).database(one.database()).start().await;
    let cookie = seeded(&one).await.token();
    let path = format!("{}&gate=load", steps(&["take-once:a"]));
    let [at_one, at_two] = [&one, &two].map(|server| (0..5).map(|_| server.post(&path).cookie(&cookie)).collect());
    let (first, second) = held(&one, at_one, async {
        let open_one = async { assert_eq!(one.post("/extra/gate").send().await.status, 200) };
        held(&two, at_two, open_one).await.0
    })
    .await;
    assert_eq!(taken(&first) + taken(&second), 1);
}

pub(crate) async fn c96_a_page_that_reads_untouched_does_not_keep_its_session_alive(subject: Subject) {
    let server = subject.start().await;
    let mut browser = seeded(&server).await;
    let writes = server.metrics().await.writes();
    for _ in 0..2 {
        server.advance(14 * MINUTE).await;
        let reply = browser.get("/extra/untouched").await;
        assert_eq!(reply.ok()["data"], json!({ "a": "1" }));
        reply.assert_no_cookie();
    }
    assert_eq!(server.metrics().await.writes(), writes);
    server.advance(4 * MINUTE).await;
    browser.get("/state").await.assert_anonymous();
}

pub(crate) async fn c96_a_touch_works_after_the_headers_are_gone(subject: Subject) {
    let server = subject.start().await;
    let mut browser = seeded(&server).await;
    assert_eq!(browser.get("/extra/late").await.ok()["touch"], true);
    assert_eq!(server.browser().get("/extra/late").await.ok()["touch"], false);
}

async fn navigate(server: &Server, path: &str) -> (u16, Vec<String>) {
    let reply = server.get(path).header("accept", "text/html,*/*;q=0.8").send().await;
    reply.assert_no_cookie();
    (reply.status, reply.all("location"))
}

pub(crate) async fn c97_who_is_not_logged_in_is_sent_to_the_login_page_or_answered_401(subject: Subject) {
    for more in [vec![], vec![("ON_ERROR", "1")]] {
        let server = subject.start_with(&[&[("LOGIN_URL", "/login")], more.as_slice()].concat()).await;
        for path in ["/extra/me", "/extra/subject", "/extra/admin"] {
            let location = format!("/login?next={path}%3Fa%3D1%26b%3D%252F");
            assert_eq!(navigate(&server, &format!("{path}?a=1&b=%2F")).await, (303, vec![location]));
        }
        assert_eq!(navigate(&server, "/extra/maybe").await.0, 200);
    }
    let server = subject.start_with(&[("LOGIN_URL", "/login")]).await;
    assert_eq!(server.get("/extra/me").send().await.status, 401, "no browser that navigates");
    let server = subject.start().await;
    assert_eq!(navigate(&server, "/extra/me").await, (401, vec![]));
}

pub(crate) async fn c97_a_route_gets_its_user_or_answers_403_or_500(subject: Subject) {
    let server = subject.start_with(&[("FAULTS", "1")]).await;
    let mut browser = server.browser();
    assert_eq!(browser.get("/extra/maybe").await.ok(), json!({ "name": null }));
    browser.post("/login?user=alice").await.new_cookie();
    for path in ["/extra/me", "/extra/subject", "/extra/maybe"] {
        assert_eq!(browser.get(path).await.ok(), json!({ "name": "alice" }), "{path}");
    }
    assert_eq!(browser.get("/extra/admin").await.status, 403);
    browser.post("/login?user=admin").await.new_cookie();
    assert_eq!(browser.get("/extra/admin").await.ok(), json!({ "name": "admin" }));

    // A failure is never taken for a logout.
    assert_eq!(server.post("/admin/fault?mode=down").send().await.status, 200);
    for path in ["/extra/me", "/extra/subject", "/extra/maybe", "/extra/admin"] {
        let reply = browser.get(path).await;
        assert_eq!(reply.status, 503, "{path}");
        reply.assert_no_cookie();
    }
    assert_eq!(server.post("/admin/fault?mode=up").send().await.status, 200);
    browser.post("/login?user=broken").await.new_cookie();
    for path in ["/extra/me", "/extra/maybe"] {
        let reply = browser.get(path).await;
        assert_eq!(reply.status, 500, "{path}");
        assert!(!reply.text().contains("db-7"), "{}", reply.text());
    }
    assert_eq!(browser.state().await["subject"], "broken");

    browser.post("/login?user=gone").await.new_cookie();
    let reply = browser.get("/extra/me").await;
    assert_eq!(reply.status, 401);
    reply.assert_removal();
    assert_eq!(server.metrics().await.live(), 0);
    browser.post("/login?user=gone").await.new_cookie();
    let reply = browser.get("/extra/maybe").await;
    assert_eq!(reply.ok(), json!({ "name": null }));
    reply.assert_removal();
}

pub(crate) async fn c98_a_form_without_its_sessions_token_is_refused_and_changes_nothing(subject: Subject) {
    let server = subject.start().await;
    let mut browser = seeded(&server).await;
    let token = browser.get("/csrf").await.ok()["token"].as_str().unwrap().to_owned();
    let theirs = server.browser().get("/csrf").await.ok()["token"].as_str().unwrap().to_owned();
    for form in [
        "amount=7".to_owned(),
        String::new(),
        "amount=7&csrf_token=".to_owned(),
        format!("amount=7&csrf_token={theirs}"),
        format!("amount=7&csrf_token={token}&csrf_token={token}"),
    ] {
        assert_eq!(browser.send(server.post("/extra/form").form(&form)).await.status, 403, "{form}");
    }
    let outside = server.post("/extra/form").form(&format!("amount=7&csrf_token={token}"));
    assert_eq!(outside.send().await.status, 403, "without the session");
    let status = browser.send(server.post("/extra/form").form(&format!("amount=x&csrf_token={token}"))).await.status;
    assert!(matches!(status, 400 | 422), "{status}");
    assert_eq!(browser.data().await, json!({ "a": "1" }));

    let form = format!("note=caf%C3%A9+au+lait%26&csrf_token={token}&amount=7");
    let reply = browser.send(server.post("/extra/form").form(&form)).await;
    assert_eq!(reply.ok(), json!({ "amount": 7, "note": "caf\u{e9} au lait&" }));
    assert_eq!(browser.data().await, json!({ "a": "1", "paid": 7 }));
}

pub(crate) async fn c98_data_of_another_type_counts_as_its_default(subject: Subject) {
    let server = subject.start().await;
    let mut browser = server.browser();
    browser.post("/set?k=items&v=text").await.new_cookie();
    assert_eq!(browser.post("/extra/typed?item=book").await.status, 500);
    assert_eq!(browser.post("/extra/lenient?item=book").await.ok(), json!({ "items": ["book"] }));
    assert_eq!(browser.data().await["items"], json!(["book"]));
    assert_eq!(server.metrics().await.event("unreadable"), 1);
    assert_eq!(browser.post("/extra/typed?item=pen").await.ok(), json!({ "items": ["book", "pen"] }));
}
