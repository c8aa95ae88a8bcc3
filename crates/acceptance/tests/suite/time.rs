//! Lines 48 to 53: time. The server's clock is moved; the seconds that a test takes do not matter.

use serde_json::json;

use crate::support::client::{seeded, steps};
use crate::support::{Browser, HOUR, MINUTE, Reply, Subject};

/// Refused as expired, and the cookie left alone.
#[track_caller]
fn assert_expired(reply: &Reply) {
    reply.assert_anonymous();
    reply.assert_no_cookie();
    assert_eq!(reply.json()["ended"], true);
}

pub(crate) async fn c48_idle_expiry_is_enforced_by_the_server(subject: Subject) {
    let server = subject.start().await;
    let mut browser = seeded(&server).await;
    // Never early: just within, again and again.
    for _ in 0..3 {
        server.advance(30 * MINUTE - 10_000).await;
        assert_eq!(browser.data().await, json!({ "a": "1" }));
    }
    // Late by one damping step at most: a minute here.
    server.advance(31 * MINUTE + 10_000).await;
    assert_expired(&browser.get("/state").await);
    assert_eq!(server.metrics().await.event("expired"), 1);
    // Being refused does not revive it.
    assert_expired(&browser.get("/state").await);
    assert_expired(&browser.get("/state").await);
}

pub(crate) async fn c48_idle_expiry_needs_no_clock_to_be_moved(subject: Subject) {
    let server = subject.start_with(&[("IDLE_MS", "200")]).await;
    let mut browser = seeded(&server).await;
    // 200 ms and a twentieth of it, by the wall.
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    assert_expired(&browser.get("/state").await);
}

pub(crate) async fn c48_a_route_that_never_looks_does_not_extend_the_idle_time(subject: Subject) {
    let server = subject.start().await;
    let mut browser = seeded(&server).await;
    server.advance(20 * MINUTE).await;
    browser.get("/").await.assert_no_cookie();
    server.advance(20 * MINUTE).await;
    assert_expired(&browser.get("/state").await);
}

pub(crate) async fn c49_absolute_expiry_cannot_be_extended_by_activity(subject: Subject) {
    let server = subject.start().await;
    let mut reader = seeded(&server).await;
    let mut writer = seeded(&server).await;
    let mut renewer = seeded(&server).await;
    for round in 0..23 {
        server.advance(20 * MINUTE).await;
        assert_eq!(reader.data().await, json!({ "a": "1" }), "round {round}");
        assert_eq!(writer.post("/incr?k=n").await.ok()["value"], round + 1);
        assert_eq!(renewer.post("/renew").await.ok()["data"], json!({ "a": "1" }), "round {round}");
    }
    server.advance(21 * MINUTE).await;
    for browser in [&mut reader, &mut writer, &mut renewer] {
        assert_expired(&browser.get("/state").await);
    }
    // Data that the client stores from now on goes into a new session.
    let reply = writer.post("/incr?k=n").await;
    assert_eq!(reply.ok()["value"], 1);
    reply.new_cookie();
}

pub(crate) async fn c50_a_per_session_override_works(subject: Subject) {
    let server = subject.start().await;
    let mut ordinary = seeded(&server).await;
    let mut short = seeded(&server).await;
    let mut fleeting = seeded(&server).await;
    let mut long = seeded(&server).await;
    short.post(&steps(&[&format!("lifetime:{}", 5 * MINUTE)])).await.new_cookie();
    fleeting.post(&steps(&[&format!("idle:{}", 2 * MINUTE)])).await.new_cookie();
    long.post(&steps(&[&format!("idle:{}", 9 * HOUR), &format!("lifetime:{}", 48 * HOUR)])).await.new_cookie();
    // It stays with the session through changes, renewals and a login.
    for path in ["/set?k=b&v=1", "/renew", "/login?user=alice"] {
        short.post(path).await.new_cookie();
        fleeting.post(path).await.new_cookie();
        long.post(path).await.new_cookie();
    }

    server.advance(4 * MINUTE).await;
    assert_expired(&fleeting.get("/state").await);
    assert_eq!(short.data().await["a"], "1");
    server.advance(2 * MINUTE).await;
    assert_expired(&short.get("/state").await);
    assert_eq!(ordinary.data().await["a"], "1");
    server.advance(8 * HOUR).await;
    assert_expired(&ordinary.get("/state").await);
    assert_eq!(long.data().await["a"], "1");
    for _ in 0..5 {
        server.advance(7 * HOUR).await;
        assert_eq!(long.data().await["a"], "1");
    }
    server.advance(6 * HOUR).await;
    assert_expired(&long.get("/state").await);
}

pub(crate) async fn c51_expired_but_not_yet_purged_is_refused(subject: Subject) {
    let server = subject.start().await;
    let mut browser = seeded(&server).await;
    browser.post("/login?user=alice").await;
    server.advance(40 * MINUTE).await;
    assert_eq!(server.metrics().await.live(), 1, "the bucket is still there");
    let writes = server.metrics().await.writes();
    for _ in 0..3 {
        assert_expired(&browser.get("/state").await);
    }
    // It is neither listed nor counted among the subject's, and cannot be renewed.
    let mut other = server.browser();
    other.post("/login?user=alice").await.new_cookie();
    assert_eq!(other.get("/sessions").await.ok().as_array().map(Vec::len), Some(1));
    let reply = browser.post("/renew").await;
    assert_eq!(reply.ok()["data"], json!({}));
    reply.assert_no_cookie();
    assert_eq!(server.metrics().await.writes(), writes + 1, "only the other login wrote");
}

pub(crate) async fn c52_purge_by_batches_returns_a_count_and_spares_the_living(subject: Subject) {
    let server = subject.start().await;
    for _ in 0..5 {
        seeded(&server).await;
    }
    let purge = async |limit: u32| {
        let reply = server.post(&format!("/extra/purge?limit={limit}")).send().await;
        reply.ok()["purged"].as_u64().unwrap()
    };
    assert_eq!(purge(100).await, 0);
    server.advance(35 * MINUTE).await;
    assert_eq!(purge(100).await, 0, "an expired bucket waits for an hour, so that late requests learn that it expired");
    server.advance(HOUR).await;
    let mut alive = seeded(&server).await;
    assert_eq!((purge(2).await, purge(2).await, purge(2).await, purge(2).await), (2, 2, 1, 0));
    assert_eq!(server.metrics().await.live(), 1);
    assert_eq!(alive.data().await, json!({ "a": "1" }));
    // A tombstone goes when its grace is over.
    alive.post("/logout").await.assert_removal();
    assert_eq!(purge(100).await, 0);
    server.advance(2 * MINUTE).await;
    assert_eq!(purge(100).await, 1);
}

pub(crate) async fn c52_the_purge_loop_survives_a_store_error(subject: Subject) {
    let server = subject.start_with(&[("PURGE_MS", "20")]).await;
    for _ in 0..5 {
        seeded(&server).await;
    }
    let purged = async |wanted: u64| {
        // After each error the loop waits twice as long.
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(90);
        while server.metrics().await.live() != wanted {
            assert!(std::time::Instant::now() < deadline, "the loop does not purge: {:?}", server.metrics().await);
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    server.fault("down").await;
    let calls = server.metrics().await.calls("purge_expired");
    while server.metrics().await.calls("purge_expired") == calls {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    server.advance(2 * HOUR).await;
    assert_eq!(server.metrics().await.live(), 5);
    server.fault("up").await;
    let mut alive = seeded(&server).await;
    purged(1).await;
    assert_eq!(alive.data().await, json!({ "a": "1" }));
}

pub(crate) async fn c53_a_clock_that_steps_back_harms_nobody(subject: Subject) {
    let server = subject.start().await;
    let mut browser = seeded(&server).await;
    browser.post("/login?user=alice").await;
    for (round, step) in
        [-30_000, -10 * MINUTE, 5 * MINUTE, -25 * MINUTE, 25 * MINUTE, 10 * MINUTE].into_iter().enumerate()
    {
        server.advance(step).await;
        assert_eq!(browser.state().await["subject"], "alice", "round {round}");
        assert_eq!(browser.post("/incr?k=n").await.ok()["value"], round + 1);
        browser.post("/renew").await.new_cookie();
        // A superseded token of before the step is still handed the newest one.
        let old = browser.token();
        browser.post(&format!("/set?k=round&v={round}")).await.new_cookie();
        let handed = server.get("/state").cookie(&old).send().await;
        assert_eq!((handed.new_cookie(), &handed.ok()["data"]["round"]), (browser.token(), &json!(round.to_string())));
    }
    let metrics = server.metrics().await;
    assert_eq!((metrics.event("replayed"), metrics.event("expired"), metrics.event("unremembered")), (0, 0, 0));
}

pub(crate) async fn c53_hosts_30_seconds_apart_harm_nobody(subject: Subject) {
    let ahead = subject.setup().set("CLOCK_OFFSET_MS", "15000").start().await;
    let behind = subject.setup().keys(&ahead.keys).database(ahead.database()).set("CLOCK_OFFSET_MS", "-15000");
    let behind = behind.start().await;
    let mut cookie = None;
    let mut value = 0;
    // Twelve minutes of one user, whom a load balancer sends to and fro, with lost responses and late requests.
    for round in 0..36 {
        let (host, other) = if round % 3 == 0 { (&ahead, &behind) } else { (&behind, &ahead) };
        let mut browser = Browser { server: host, cookie };
        let before = browser.cookie.clone();
        value += 1;
        assert_eq!(browser.post("/incr?k=n").await.ok()["value"], value, "round {round}");
        if let Some(before) = before {
            // A parallel request of the browser that was under way with the older cookie, at the other host.
            let late = other.get("/state").cookie(&before).send().await;
            assert_eq!(late.ok()["data"]["n"], value, "round {round}");
            if round % 4 == 1 {
                // The response that rotated got lost.
                browser.cookie = Some(before);
            }
        }
        cookie = browser.cookie;
        ahead.advance(20_000).await;
        behind.advance(20_000).await;
    }
    for host in [&ahead, &behind] {
        let metrics = host.metrics().await;
        for event in ["replayed", "expired", "unremembered", "ended"] {
            assert_eq!(metrics.event(event), 0, "{event}");
        }
    }
}
