//! Lines 54 to 57: requests of one session at once.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::client::{assert_refused, held, seeded, until_held};
use crate::support::{Browser, MINUTE, Reply, Subject};

pub(crate) async fn c54_a_hundred_parallel_requests_with_one_cookie_are_all_admitted(subject: Subject) {
    let server = subject.start().await;
    let mut browser = seeded(&server).await;
    let readers = || (0..100).map(|_| browser.carrying(server.get("/state?gate=load"))).collect();
    // With the current token, which is superseded while they are all under way.
    let (replies, newest) =
        held(&server, readers(), async { browser.clone().post("/set?k=a&v=2").await.new_cookie() }).await;
    for reply in &replies {
        assert_eq!((&reply.ok()["new"], &reply.ok()["data"]), (&json!(false), &json!({ "a": "1" })));
    }
    // With a superseded token.
    let (replies, ()) = held(&server, readers(), async {}).await;
    for reply in &replies {
        assert_eq!((&reply.ok()["data"], reply.new_cookie()), (&json!({ "a": "2" }), newest.clone()));
    }
    browser.receive(&replies[0]);
    assert_eq!(browser.data().await, json!({ "a": "2" }));
}

/// Returns the replies to the requests that were carried out. A commit that meets others gives up, with a 409, only after it has
/// tried for five seconds: on a busy machine.
pub(crate) fn carried_out(replies: &[Reply], since: Instant) -> Vec<&Reply> {
    let took = since.elapsed();
    let (done, gave_up): (Vec<&Reply>, Vec<&Reply>) = replies.iter().partition(|reply| reply.status == 200);
    for reply in &gave_up {
        assert_eq!(reply.status, 409, "{}", reply.text());
        assert!(took >= Duration::from_secs(5), "{} gave up after {took:?}", gave_up.len());
    }
    done
}

pub(crate) async fn c55_a_hundred_parallel_updates_from_one_cookie_add_up(subject: Subject) {
    let server = subject.start().await;
    let mut browser = seeded(&server).await;
    let writers = (0..100).map(|_| browser.carrying(server.post("/incr?k=n&gate=load"))).collect();
    let since = Instant::now();
    let (replies, ()) = held(&server, writers, async {}).await;
    let done = carried_out(&replies, since);
    for reply in &done {
        // Each saw the counter as it was when it arrived.
        assert_eq!(reply.ok(), json!({ "value": 1 }));
    }
    // The cookie that all had, and that of any response, lead to the sum.
    assert_eq!(browser.clone().data().await["n"], done.len());
    for reply in done.iter().step_by(9) {
        browser.receive(reply);
        assert_eq!(browser.data().await, json!({ "a": "1", "n": done.len() }));
    }
    assert_eq!(server.metrics().await.live(), 1);
}

pub(crate) async fn c55_two_servers_on_one_database_add_up(subject: Subject) {
    let one = subject.start().await;
    let two = subject.setup().keys(&one.keys).database(one.database()).start().await;
    let browser = seeded(&one).await;
    let cookie = browser.token();
    let [at_one, at_two] =
        [&one, &two].map(|server| (0..25).map(|_| server.post("/incr?k=n&gate=load").cookie(&cookie)).collect());
    // All are under way at both servers before the first commits.
    let since = Instant::now();
    let (first, second) = held(&one, at_one, async {
        let open_one = async { assert_eq!(one.post("/extra/gate").send().await.status, 200) };
        held(&two, at_two, open_one).await.0
    })
    .await;
    let done = carried_out(&first, since).len() + carried_out(&second, since).len();
    for server in [&one, &two] {
        assert_eq!(Browser { server, ..browser.clone() }.data().await["n"], done);
    }
}

pub(crate) async fn c56_parallel_writers_of_different_keys_lose_nothing(subject: Subject) {
    let server = subject.start().await;
    let mut browser = seeded(&server).await;
    let paths = (0..20).map(|n| format!("/set?k=k{n}&v={n}&gate=load")).chain(["/remove?k=a&gate=load".to_owned()]);
    let writers = paths.map(|path| browser.carrying(server.post(&path))).collect();
    let (replies, ()) = held(&server, writers, async {}).await;
    for reply in &replies {
        reply.ok();
    }
    let expected: serde_json::Map<_, _> = (0..20).map(|n| (format!("k{n}"), json!(n.to_string()))).collect();
    assert_eq!(browser.data().await, json!(expected));
}

pub(crate) async fn c56_clear_takes_out_the_keys_that_are_there_at_its_commit(subject: Subject) {
    let server = subject.start().await;
    let browser = seeded(&server).await;
    let clear = vec![browser.carrying(server.post("/clear?gate=load"))];
    let (_, ()) = held(&server, clear, async {
        browser.clone().post("/set?k=b&v=2").await.new_cookie();
    })
    .await;
    assert_eq!(browser.clone().data().await, json!({}));
}

pub(crate) async fn c56_login_carries_along_what_another_request_committed_meanwhile(subject: Subject) {
    let server = subject.start().await;
    let browser = seeded(&server).await;
    let login = vec![browser.carrying(server.post("/login?user=alice&gate=load"))];
    let (replies, _) = held(&server, login, async { browser.clone().post("/set?k=cart&v=full").await.ok() }).await;
    let mut logged_in = server.browser_with(&replies[0].new_cookie());
    let state = logged_in.state().await;
    assert_eq!((&state["subject"], &state["data"]), (&json!("alice"), &json!({ "a": "1", "cart": "full" })));
}

pub(crate) async fn c57_logout_racing_a_slow_write_stays_logged_out(subject: Subject) {
    let server = subject.start().await;
    for slow_path in ["/set?k=b&v=2&gate=load", "/incr?k=n&gate=reply", "/renew?gate=reply", "/clear?gate=load"] {
        let mut browser = seeded(&server).await;
        browser.post("/login?user=alice").await.new_cookie();
        let old = browser.token();
        let slow = vec![browser.carrying(server.post(slow_path))];
        let (replies, newer) = held(&server, slow, async {
            let mut browser = browser.clone();
            browser.post("/logout").await.assert_removal();
            browser.post("/login?user=bob").await.new_cookie()
        })
        .await;
        // A typed error in place of the handler's answer, and no Set-Cookie at all.
        assert_eq!(replies[0].status, 409, "{slow_path}: {}", replies[0].text());
        replies[0].assert_no_cookie();
        for cookie in [&old, &newer] {
            let state = server.get("/state").cookie(cookie).send().await.ok();
            let subject = if cookie == &newer { json!("bob") } else { json!(null) };
            assert_eq!(state["subject"], subject, "{slow_path}");
        }
    }
    assert_eq!(server.metrics().await.live(), 4, "the new logins, and nothing else");
}

pub(crate) async fn c57_a_logout_between_a_commits_decision_and_its_write_wins(subject: Subject) {
    let server = subject.start().await;
    for slow_path in ["/set?k=b&v=2", "/incr?k=n", "/renew"] {
        let mut browser = seeded(&server).await;
        browser.post("/login?user=alice").await.new_cookie();
        server.fault("hold").await;
        let slow = vec![browser.carrying(server.post(slow_path))];
        let (replies, ()) = held(&server, slow, async {
            server.fault("up").await;
            browser.clone().post("/logout").await.assert_removal();
        })
        .await;
        assert_eq!(replies[0].status, 409, "{slow_path}");
        replies[0].assert_no_cookie();
        assert_eq!(server.metrics().await.live(), 0, "{slow_path}");
    }
}

pub(crate) async fn c57_a_login_whose_bucket_is_written_or_ended_meanwhile_ends_logged_in(subject: Subject) {
    let server = subject.start().await;
    for (meanwhile, data) in [
        ("/set?k=cart&v=full", json!({ "a": "1", "cart": "full" })),
        ("/logout", json!({ "a": "1" })),
        ("/login?user=alice", json!({ "a": "1" })),
    ] {
        let browser = seeded(&server).await;
        server.fault("hold").await;
        let login = vec![browser.carrying(server.post("/login?user=alice"))];
        let (replies, ()) = held(&server, login, async {
            server.fault("up").await;
            assert_eq!(browser.clone().post(meanwhile).await.status, 200);
        })
        .await;
        let state = server.get("/state").cookie(&replies[0].new_cookie()).send().await.ok();
        assert_eq!((&state["subject"], &state["data"]), (&json!("alice"), &data), "{meanwhile}");
        browser.clone().get("/state").await.assert_anonymous();
    }
}

pub(crate) async fn c57_a_commit_runs_to_its_end_when_the_client_hangs_up(subject: Subject) {
    let server = subject.start().await;
    let browser = seeded(&server).await;
    for (path, done) in [("/incr?k=n", "n"), ("/set?k=b&v=2", "b")] {
        server.fault("hold").await;
        let request = browser.carrying(server.post(path)).try_send();
        let hang_up = async {
            until_held(&server, 1).await;
            server.fault("up").await;
        };
        // The request is dropped, and with it its connection, while the store is being asked to write.
        tokio::select! {
            _ = request => panic!("the write is held"),
            () = hang_up => {}
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(server.post("/extra/gate").send().await.status, 200);
        let deadline = Instant::now() + Duration::from_secs(60);
        while browser.clone().data().await[done].is_null() {
            assert!(Instant::now() < deadline, "{path} was cut off");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

pub(crate) async fn c57_a_request_after_the_tombstone_gets_a_session_of_its_own(subject: Subject) {
    let server = subject.start().await;
    let mut browser = seeded(&server).await;
    browser.post("/login?user=alice").await.new_cookie();
    let old = browser.token();
    browser.post("/logout").await.assert_removal();
    server.post("/set?k=b&v=2").cookie(&old).send().await.assert_no_cookie();
    server.advance(2 * MINUTE).await;
    // No request is under way any more whose answer this could spoil.
    let cookie = server.post("/set?k=b&v=2").cookie(&old).send().await.new_cookie();
    let state = server.get("/state").cookie(&cookie).send().await.ok();
    assert_eq!((&state["subject"], &state["data"]), (&json!(null), &json!({ "b": "2" })));
    assert_refused(&server.get("/state").cookie(&old).send().await);
}

pub(crate) async fn c57_a_slow_read_of_a_session_that_ended_meanwhile_sets_no_cookie(subject: Subject) {
    let server = subject.start().await;
    let mut browser = seeded(&server).await;
    let superseded = browser.token();
    browser.post("/set?k=a&v=2").await.new_cookie();
    // Both a reader that owes nothing and one that was to be handed the newest token.
    let slow = vec![
        browser.carrying(server.get("/state?gate=load")),
        server.get("/state?gate=load").cookie(&superseded),
        server.get("/state?gate=reply").cookie(&superseded),
    ];
    let (replies, ()) = held(&server, slow, async {
        server.advance(16 * MINUTE).await;
        browser.clone().post("/logout").await.assert_removal();
    })
    .await;
    for reply in &replies {
        assert_eq!((reply.status, &reply.ok()["data"]), (200, &json!({ "a": "2" })), "it read before the logout");
        reply.assert_no_cookie();
    }
    assert_eq!(server.metrics().await.live(), 0);
}

pub(crate) async fn c57_a_request_that_arrives_after_the_logout_touches_no_newer_cookie(subject: Subject) {
    let server = subject.start().await;
    let mut browser = seeded(&server).await;
    browser.post("/login?user=alice").await.new_cookie();
    let old = browser.token();
    browser.post("/logout").await.assert_removal();
    // Sent before the logout's answer came: reads, writes, a second logout.
    for path in ["/set?k=b&v=2", "/incr?k=n", "/renew", "/logout", "/extra/redirect?k=a&v=1"] {
        let reply = server.post(path).cookie(&old).send().await;
        assert!(reply.status < 400, "{path}");
        reply.assert_no_cookie();
    }
    let reply = server.get("/state").cookie(&old).send().await;
    assert_eq!(reply.ok()["ended"], true);
    assert_eq!(server.metrics().await.live(), 0);
}

pub(crate) async fn c57_a_double_clicked_logout_ends_logged_out(subject: Subject) {
    let server = subject.start().await;
    let mut browser = seeded(&server).await;
    browser.post("/login?user=alice").await.new_cookie();
    let clicks = (0..2).map(|_| browser.carrying(server.post("/logout?gate=load"))).collect();
    let (replies, ()) = held(&server, clicks, async {}).await;
    assert_eq!((replies[0].status, replies[1].status), (200, 200));
    assert!(replies.iter().any(|reply| reply.set_cookie().is_some_and(|cookie| cookie.is_removal())));
    assert_eq!(server.metrics().await.live(), 0);
    browser.get("/state").await.assert_anonymous();
}

pub(crate) async fn c57_a_double_clicked_login_ends_logged_in(subject: Subject) {
    let server = subject.start().await;
    // With a session before it, and without one.
    for mut browser in [seeded(&server).await, server.browser()] {
        let before = browser.cookie.clone();
        let clicks = (0..2).map(|_| browser.carrying(server.post("/login?user=alice&gate=load"))).collect();
        let (replies, ()) = held(&server, clicks, async {}).await;
        // Whichever response the browser handles last.
        for reply in &replies {
            let state = server.get("/state").cookie(&reply.new_cookie()).send().await.ok();
            assert_eq!(state["subject"], "alice");
            assert_eq!(state["data"], if before.is_some() { json!({ "a": "1" }) } else { json!({}) });
        }
        if let Some(before) = before {
            server.get("/state").cookie(&before).send().await.assert_anonymous();
        }
        browser.receive(&replies[0]);
        assert_eq!(browser.state().await["subject"], "alice");
    }
    // Clicked again when the first is through, with the old cookie.
    let mut browser = seeded(&server).await;
    let old = browser.token();
    browser.post("/login?user=alice").await.new_cookie();
    let again = server.post("/login?user=alice").cookie(&old).send().await.new_cookie();
    assert_eq!(server.get("/state").cookie(&again).send().await.ok()["subject"], "alice");
}
