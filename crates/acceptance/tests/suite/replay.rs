//! Lines 58 to 63: lost and crossed responses, superseded cookies and dead ones.

use std::time::Duration;

use serde_json::json;

use crate::support::client::{assert_refused, held, seeded};
use crate::support::{Browser, MINUTE, Server, Subject};

/// The most bytes that a bucket may take here: 128 superseded tokens of 36 bytes, the newest token of the smallest
/// class sealed as a handoff, and some 150 bytes of ids and times.
const LARGEST_RECORD: u64 = 128 * 36 + (321 + 44) + 200;

async fn largest_record(server: &Server) -> u64 {
    server.get("/extra/largest-record").send().await.ok()["largest_record"].as_u64().unwrap()
}

pub(crate) async fn c58_a_client_that_missed_the_new_cookie_goes_on_with_the_newest_state(subject: Subject) {
    let server = subject.start().await;
    let old = seeded(&server).await.token();
    let lost = server.browser_with(&old);
    lost.clone().post("/set?k=a&v=2").await.new_cookie();
    // At once, and any time later within the session's life: every response gets lost.
    for round in 0..23 {
        let reply = lost.clone().get("/state").await;
        assert_eq!(reply.ok()["data"]["a"], "2", "round {round}");
        assert_ne!(reply.new_cookie(), old);
        if round % 4 == 0 {
            assert_eq!(lost.clone().post("/incr?k=n").await.ok()["value"], round / 4 + 1);
        }
        server.advance(20 * MINUTE).await;
    }
    // The one response that comes through puts it right.
    let mut browser = server.browser_with(&old);
    browser.get("/state").await.new_cookie();
    browser.get("/state").await.assert_no_cookie();
    assert_eq!(browser.data().await, json!({ "a": "2", "n": 6 }));
    let metrics = server.metrics().await;
    assert_eq!((metrics.event("replayed"), metrics.live()), (0, 1));
}

pub(crate) async fn c58_a_lost_login_or_renewal_answer_needs_a_new_login_but_is_no_replay(subject: Subject) {
    let server = subject.start().await;
    for path in ["/login?user=alice", "/renew"] {
        let mut browser = seeded(&server).await;
        browser.clone().post(path).await.new_cookie();
        assert_refused(&browser.get("/state").await);
        browser.post("/login?user=alice").await.new_cookie();
        assert_eq!(browser.state().await["subject"], "alice");
    }
    assert_eq!(server.metrics().await.event("replayed"), 0);
}

pub(crate) async fn c58_the_response_carries_the_newest_token_of_its_own_time(subject: Subject) {
    let server = subject.start().await;
    let browser = seeded(&server).await;
    browser.clone().post("/set?k=a&v=2").await.new_cookie();
    // A slow reader with a superseded token: while its handler runs, the session moves on once more.
    let slow = ["load", "reply"].map(|gate| browser.carrying(server.get(&format!("/state?gate={gate}")))).into();
    let (replies, newest) =
        held(&server, slow, async { browser.clone().post("/set?k=a&v=3").await.new_cookie() }).await;
    for reply in &replies {
        assert_eq!((&reply.ok()["data"]["a"], reply.new_cookie()), (&json!("2"), newest.clone()));
    }
}

pub(crate) async fn c59_two_responses_that_crossed_leave_the_client_with_both_changes(subject: Subject) {
    let server = subject.start().await;
    let mut browser = seeded(&server).await;
    // The one that commits first is answered last.
    let first = browser.carrying(server.post("/set?k=b&v=2")).send().await;
    let second = browser.carrying(server.post("/set?k=c&v=3")).send().await;
    browser.receive(&second);
    browser.receive(&first);
    assert_eq!(browser.token(), first.new_cookie(), "the browser holds the superseded token");
    for minutes in [0, 1, 5] {
        server.advance(minutes * MINUTE).await;
        let mut browser = browser.clone();
        assert_eq!(browser.data().await, json!({ "a": "1", "b": "2", "c": "3" }), "{minutes} minutes later");
        assert_ne!(browser.token(), first.new_cookie());
    }
    assert_eq!(server.metrics().await.event("replayed"), 0);
}

/// Rotates twice over, so that the first token is superseded, seen moved on from, and dead.
async fn with_a_dead_token(server: &Server) -> (String, Browser<'_>) {
    let mut browser = seeded(server).await;
    let dead = browser.token();
    browser.post("/set?k=a&v=2").await.new_cookie();
    // A grace after it was superseded its successor is presented; a grace after that it is dead.
    for _ in 0..2 {
        server.advance(61_000).await;
        assert_eq!(browser.data().await, json!({ "a": "2" }));
    }
    (dead, browser)
}

pub(crate) async fn c60_a_dead_cookie_revokes_its_session_with_an_event_for_every_holder(subject: Subject) {
    let server = subject.start().await;
    let (dead, mut browser) = with_a_dead_token(&server).await;
    let reply = server.get("/state").cookie(&dead).send().await;
    assert_refused(&reply);
    assert_eq!(reply.json()["ended"], true);
    let metrics = server.metrics().await;
    assert_eq!((metrics.event("replayed"), metrics.live()), (1, 0));
    assert_eq!(server.event("replayed").await["revoked"], true);
    assert_refused(&browser.get("/state").await);
    assert_refused(&server.get("/state").cookie(&dead).send().await);
    assert_eq!(server.metrics().await.event("replayed"), 1);
}

pub(crate) async fn c60_theft_is_noticed_once_one_holder_stays_away_while_the_other_rotates(subject: Subject) {
    let server = subject.start().await;
    for the_thief_stays_away in [true, false] {
        // Both hold the current cookie: nothing tells them apart.
        let mut owner = seeded(&server).await;
        let mut thief = owner.clone();
        assert_eq!((owner.data().await, thief.data().await), (json!({ "a": "1" }), json!({ "a": "1" })));
        let (active, away) = if the_thief_stays_away { (&mut owner, &mut thief) } else { (&mut thief, &mut owner) };
        active.post("/set?k=a&v=2").await.new_cookie();
        for _ in 0..2 {
            server.advance(61_000).await;
            assert_eq!(active.data().await, json!({ "a": "2" }));
        }
        assert_refused(&away.get("/state").await);
        assert_refused(&active.get("/state").await);
    }
    let metrics = server.metrics().await;
    assert_eq!((metrics.event("replayed"), metrics.live()), (2, 0));
}

pub(crate) async fn c60_with_a_small_grace_by_the_wall_clock(subject: Subject) {
    let server = subject.start_with(&[("GRACE_MS", "100")]).await;
    let mut browser = seeded(&server).await;
    let dead = browser.token();
    browser.post("/set?k=a&v=2").await.new_cookie();
    for _ in 0..2 {
        tokio::time::sleep(Duration::from_millis(150)).await;
        assert_eq!(browser.data().await, json!({ "a": "2" }));
    }
    assert_refused(&server.get("/state").cookie(&dead).send().await);
    let metrics = server.metrics().await;
    assert_eq!((metrics.event("replayed"), metrics.live()), (1, 0));
}

pub(crate) async fn c60_a_superseded_cookie_that_is_still_alive_is_handed_the_newest(subject: Subject) {
    let server = subject.start().await;
    let mut browser = seeded(&server).await;
    let old = browser.token();
    let newest = browser.post("/set?k=a&v=2").await.new_cookie();
    let handed = async |minutes: &str| {
        let reply = server.get("/state").cookie(&old).send().await;
        assert_eq!((&reply.ok()["data"], reply.new_cookie()), (&json!({ "a": "2" }), newest.clone()), "{minutes}");
    };
    handed("at once").await;
    server.advance(61_000).await;
    handed("a grace later, while nobody has shown the newest").await;
    assert_eq!(browser.data().await, json!({ "a": "2" }));
    handed("right after the newest was shown").await;
    server.advance(30_000).await;
    handed("within the grace after that").await;
    let metrics = server.metrics().await;
    assert_eq!((metrics.event("handed_off"), metrics.event("replayed")), (4, 0));
}

pub(crate) async fn c60_a_dead_cookie_on_a_large_or_endless_body_is_refused_without_revoking(subject: Subject) {
    let server = subject.start().await;
    let (dead, mut browser) = with_a_dead_token(&server).await;
    // A proxy may have held these back until their bodies were complete.
    for request in [server.post("/set?k=a&v=3").body(65 * 1024), server.post("/set?k=a&v=3").chunked()] {
        let reply = request.cookie(&dead).send().await;
        assert_eq!(reply.status, 200);
        let metrics = server.metrics().await;
        assert!(metrics.event("replayed") > 0 && metrics.event("handed_off") == 0);
        assert_eq!(browser.data().await, json!({ "a": "2" }), "the session goes on");
    }
    assert_eq!(server.event("replayed").await["revoked"], false);
    // A small body is not held back.
    server.post("/set?k=a&v=3").cookie(&dead).body(64 * 1024).send().await;
    browser.get("/state").await.assert_anonymous();
}

pub(crate) async fn c60_where_replays_are_only_refused_the_session_goes_on(subject: Subject) {
    let server = subject.start_with(&[("ON_REPLAY", "refuse")]).await;
    let (dead, mut browser) = with_a_dead_token(&server).await;
    assert_refused(&server.get("/state").cookie(&dead).send().await);
    assert_eq!(server.metrics().await.event("replayed"), 1);
    assert_eq!(browser.data().await, json!({ "a": "2" }));
}

pub(crate) async fn c61_an_old_cookie_never_brings_old_data_back(subject: Subject) {
    let server = subject.start().await;
    let mut browser = server.browser();
    let mut cookies = Vec::new();
    for n in 1..=5 {
        cookies.push(browser.post(&format!("/set?k=balance&v={n}")).await.new_cookie());
    }
    cookies.push(browser.post("/remove?k=balance").await.new_cookie());
    // Presented with reads and writes, in any order: the state is always the newest.
    for cookie in cookies.iter().rev().chain(&cookies) {
        let state = server.get("/state").cookie(cookie).send().await.ok();
        assert_eq!(state["data"].get("balance"), None);
        server.post("/incr?k=n").cookie(cookie).send().await.ok();
    }
    let mut newest = server.browser_with(&cookies[0]);
    assert_eq!(newest.data().await, json!({ "n": 12 }));
    // An equal value is judged against the newest state, not against the old one.
    server.post("/set?k=balance&v=1").cookie(&cookies[0]).send().await.new_cookie();
    assert_eq!(newest.data().await, json!({ "balance": "1", "n": 12 }));
}

pub(crate) async fn c62_a_pre_login_cookie_never_leads_to_the_logged_in_session(subject: Subject) {
    let server = subject.start().await;
    // Fixation: the attacker's own anonymous session is planted in the victim's browser.
    let mut planted = seeded(&server).await;
    let superseded = planted.token();
    planted.post("/set?k=a&v=2").await.new_cookie();
    let mut victim = planted.clone();
    victim.post("/login?user=alice").await.new_cookie();
    victim.post("/set?k=secret&v=x").await.new_cookie();
    for minutes in [0, 2, 20] {
        server.advance(minutes * MINUTE).await;
        for cookie in [&superseded, &planted.token()] {
            for request in [server.get("/state"), server.post("/renew")] {
                let reply = request.cookie(cookie).send().await;
                assert_refused(&reply);
                assert_eq!(reply.json()["ended"], true);
            }
        }
        assert_eq!(victim.state().await["data"], json!({ "a": "2", "secret": "x" }), "nor does it end it");
    }
    assert_eq!(server.metrics().await.live(), 1);
}

pub(crate) async fn c63_a_client_that_ignores_every_cookie_for_a_thousand_writes_goes_on(subject: Subject) {
    let server = subject.start().await;
    let stubborn = seeded(&server).await;
    for n in 1..=1000 {
        assert_eq!(stubborn.clone().post("/incr?k=n").await.ok()["value"], n);
    }
    assert!(largest_record(&server).await <= LARGEST_RECORD, "{}", largest_record(&server).await);
    assert_eq!(stubborn.clone().data().await, json!({ "a": "1", "n": 1000 }));
    // And with minutes between the writes.
    for n in 1..=150 {
        server.advance(MINUTE + MINUTE / 2).await;
        assert_eq!(stubborn.clone().post("/incr?k=m").await.ok()["value"], n);
    }
    assert!(largest_record(&server).await <= LARGEST_RECORD, "{}", largest_record(&server).await);
    assert_eq!(server.metrics().await.event("replayed"), 0);
}

pub(crate) async fn c63_the_bucket_is_bounded_under_any_pattern(subject: Subject) {
    let server = subject.start().await;
    let mut browser = seeded(&server).await;
    let mut earlier: Vec<Browser<'_>> = vec![browser.clone()];
    // Every fifth response is lost, and some old tokens come again, in bursts and with pauses.
    for n in 0..300_usize {
        if n % 50 == 49 {
            server.advance(25_000).await;
        }
        let reply = browser.carrying(server.post("/incr?k=n")).send().await;
        assert_eq!(reply.ok()["value"], n + 1);
        if n % 5 != 0 {
            browser.receive(&reply);
        }
        earlier.push(browser.clone());
        let old = &earlier[earlier.len().saturating_sub(1 + n % 7)];
        assert_eq!(old.clone().data().await["n"], n + 1);
    }
    assert!(largest_record(&server).await <= LARGEST_RECORD, "{}", largest_record(&server).await);
    assert_eq!(server.metrics().await.live(), 1);
}
