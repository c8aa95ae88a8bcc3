//! Lines 81 and 83: what a superseded cookie tells, and what it does not.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::parallel::carried_out;
use crate::support::client::{alice, assert_refused, held, seeded};
use crate::support::forge;
use crate::support::hostile::{CONTEXT, present};
use crate::support::{Browser, HOUR, MINUTE, Server, Subject};

/// A grace and a second.
const PAST_THE_GRACE: i64 = 61_000;

pub(crate) async fn c81_the_cookie_from_before_a_renew_is_a_replay_after_the_grace(subject: Subject) {
    let server = subject.start().await;
    for (round, renewal) in ["/renew", "/login?user=alice", "/extra/steps?do=step-up:2"].into_iter().enumerate() {
        let replays = u64::try_from(round).unwrap();
        // The thief renews, and is the only one who holds the session from then on.
        let owner = alice(&server).await;
        let mut thief = owner.clone();
        thief.post(renewal).await.new_cookie();
        for later in [0, 30_000] {
            server.advance(later).await;
            let reply = present(&server, &owner.token()).await;
            assert_refused(&reply);
            assert_eq!(reply.json()["ended"], true, "{renewal}");
            assert_eq!(thief.state().await["subject"], "alice", "{renewal}: not yet, it may have been under way");
        }
        assert_eq!(server.metrics().await.event("replayed"), replays, "{renewal}");
        server.advance(PAST_THE_GRACE).await;
        assert_refused(&present(&server, &owner.token()).await);
        assert_eq!(server.metrics().await.event("replayed"), replays + 1, "{renewal}");
        assert_eq!(server.events("replayed", round + 1).await[round]["revoked"], true, "{renewal}");
        assert_refused(&thief.get("/state").await);
        assert_eq!(server.metrics().await.live(), 0, "{renewal}");
    }
    // Presented again it is refused as before, and there is nothing left to revoke.
    let mut thief = alice(&server).await;
    let old = thief.token();
    thief.post("/renew").await.new_cookie();
    server.advance(PAST_THE_GRACE).await;
    for _ in 0..3 {
        assert_refused(&present(&server, &old).await);
    }
    let replays = server.events("replayed", 4).await;
    assert_eq!(replays.iter().filter(|event| event["revoked"] == true).count(), 4);
    assert_eq!(server.metrics().await.live(), 0);
}

pub(crate) async fn c81_a_small_grace_by_the_wall_clock(subject: Subject) {
    let server = subject.start_with(&[("GRACE_MS", "200")]).await;
    let owner = alice(&server).await;
    let mut thief = owner.clone();
    thief.post("/renew").await.new_cookie();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_refused(&present(&server, &owner.token()).await);
    assert_refused(&thief.get("/state").await);
    assert_eq!(server.event("replayed").await["revoked"], true);
}

pub(crate) async fn c81_the_whole_chain_of_renewals_ends(subject: Subject) {
    let server = subject.start().await;
    // Long after, as long as the successor lives; and whichever of the earlier cookies it is.
    for (earlier, later) in [(0, PAST_THE_GRACE), (1, PAST_THE_GRACE), (0, 7 * HOUR)] {
        let mut thief = alice(&server).await;
        let mut cookies = vec![thief.token()];
        for _ in 0..3 {
            thief.post("/renew").await.new_cookie();
            cookies.push(thief.token());
        }
        // The thief keeps the session from becoming idle.
        for _ in 0..later / (20 * MINUTE) {
            server.advance(20 * MINUTE).await;
            assert_eq!(thief.state().await["subject"], "alice");
        }
        server.advance(later % (20 * MINUTE)).await;
        assert_refused(&present(&server, &cookies[earlier]).await);
        assert_refused(&thief.get("/state").await);
        assert_eq!(server.metrics().await.live(), 0, "{earlier}, {later} ms later");
    }
}

pub(crate) async fn c81_a_superseded_cookie_from_before_a_renew_is_one_too(subject: Subject) {
    let server = subject.start().await;
    let mut thief = alice(&server).await;
    let superseded = thief.token();
    thief.post("/set?k=a&v=2").await.new_cookie();
    thief.post("/renew").await.new_cookie();
    server.advance(PAST_THE_GRACE).await;
    assert_refused(&present(&server, &superseded).await);
    assert_refused(&thief.get("/state").await);
    assert_eq!(server.event("replayed").await["revoked"], true);
}

pub(crate) async fn c81_an_anonymous_sessions_old_cookie_revokes_nobody(subject: Subject) {
    let server = subject.start().await;
    for renewal in ["/renew", "/login?user=alice"] {
        let mut browser = seeded(&server).await;
        let old = browser.token();
        browser.post(renewal).await.new_cookie();
        for later in [0, PAST_THE_GRACE, 20 * MINUTE, 25 * MINUTE] {
            server.advance(later).await;
            assert_refused(&present(&server, &old).await);
            assert_eq!(browser.data().await, json!({ "a": "1" }), "{renewal}, {later} ms later");
        }
    }
    assert_eq!(server.metrics().await.event("replayed"), 0);
}

pub(crate) async fn c81_on_a_body_that_may_have_been_held_back_it_revokes_nobody(subject: Subject) {
    let server = subject.start().await;
    let owner = alice(&server).await;
    let mut browser = owner.clone();
    browser.post("/renew").await.new_cookie();
    server.advance(PAST_THE_GRACE).await;
    for request in [server.post("/set?k=a&v=3").body(65 * 1024), server.post("/set?k=a&v=3").chunked()] {
        assert_eq!(request.cookie(&owner.token()).send().await.status, 200);
        assert_eq!(browser.data().await, json!({ "a": "1" }), "the session goes on");
    }
    server.post("/set?k=a&v=3").cookie(&owner.token()).body(64 * 1024).send().await;
    browser.get("/state").await.assert_anonymous();
}

pub(crate) async fn c81_where_replays_are_only_refused_the_renewed_session_goes_on(subject: Subject) {
    let server = subject.start_with(&[("ON_REPLAY", "refuse")]).await;
    let owner = alice(&server).await;
    let mut browser = owner.clone();
    browser.post("/renew").await.new_cookie();
    server.advance(PAST_THE_GRACE).await;
    assert_refused(&present(&server, &owner.token()).await);
    assert_eq!(server.event("replayed").await["revoked"], false);
    assert_eq!(browser.state().await["subject"], "alice");
}

/// A grace of five minutes: a busy machine needs more than the usual one to present two hundred cookies.
const LONG_GRACE: (&str, &str) = ("GRACE_MS", "300000");

/// Presents each of these cookies in turn within the grace, as browsers would that kept one of two hundred responses each, and
/// checks that nobody is revoked.
async fn assert_none_revokes(server: &Server, cookies: &[String], total: u64) {
    let generation = |cookie: &String| forge::open(cookie, &server.keys.seal, CONTEXT).generation;
    let newest = cookies.iter().max_by_key(|cookie| generation(cookie)).expect("a cookie");
    for (index, cookie) in cookies.iter().enumerate() {
        let reply = present(server, cookie).await;
        assert_eq!(reply.status, 200, "cookie {index}");
        assert_eq!(server.metrics().await.live(), 1, "cookie {index} of {} revoked its session", cookies.len());
    }
    assert_eq!(present(server, newest).await.ok()["data"]["n"], total, "the newest stays good");
    for minutes in [6, 8] {
        server.advance(minutes * MINUTE).await;
        assert_eq!(present(server, newest).await.ok()["data"]["n"], total, "{minutes} minutes later");
    }
    let metrics = server.metrics().await;
    assert_eq!((metrics.live(), metrics.event("replayed"), metrics.event("store_tampered")), (1, 0, 0), "nor an alarm");
}

pub(crate) async fn c83_two_hundred_responses_not_yet_received_revoke_nobody(subject: Subject) {
    let server = subject.start_with(&[LONG_GRACE]).await;
    let browser = seeded(&server).await;
    // One after the other, so that it is the same everywhere; the browser has not seen any of them when it asks again.
    let mut cookies = vec![browser.token()];
    for _ in 0..200 {
        cookies.push(browser.carrying(server.post("/incr?k=n")).send().await.new_cookie());
    }
    assert_none_revokes(&server, &cookies, 200).await;
}

pub(crate) async fn c83_two_hundred_responses_under_way_at_once_revoke_nobody(subject: Subject) {
    let server = subject.start_with(&[LONG_GRACE]).await;
    let browser = seeded(&server).await;
    let writers = (0..200).map(|_| browser.carrying(server.post("/incr?k=n&gate=load"))).collect();
    let since = Instant::now();
    let (replies, ()) = held(&server, writers, async {}).await;
    let done = carried_out(&replies, since);
    let cookies: Vec<String> = done.iter().map(|reply| reply.new_cookie()).collect();
    assert_none_revokes(&server, &cookies, u64::try_from(done.len()).unwrap()).await;
}

pub(crate) async fn c49_a_clock_that_was_ahead_gives_no_session_a_longer_life(subject: Subject) {
    let server = subject.start_with(&[("IDLE_MS", "0")]).await;
    server.advance(24 * HOUR).await;
    let mut browsers = [alice(&server).await, seeded(&server).await];
    // The clock is put right, and the sessions are seen and used.
    server.advance(-24 * HOUR).await;
    for browser in &mut browsers {
        assert_eq!(browser.data().await, json!({ "a": "1" }));
        browser.post("/set?k=a&v=2").await.new_cookie();
    }
    server.advance(7 * HOUR).await;
    for browser in &mut browsers {
        assert_eq!(browser.data().await, json!({ "a": "2" }));
    }
    server.advance(HOUR + 2 * MINUTE).await;
    for browser in &mut browsers {
        browser.get("/state").await.assert_anonymous();
    }
}

pub(crate) async fn c53_after_the_clock_was_ahead_an_old_cookie_dies_as_ever(subject: Subject) {
    let server = subject.start_with(&[("IDLE_MS", "0")]).await;
    server.advance(6 * HOUR).await;
    let mut browser: Browser<'_> = seeded(&server).await;
    let old = browser.token();
    browser.post("/set?k=a&v=2").await.new_cookie();
    server.advance(-6 * HOUR).await;
    // Its session is seen moving on for as long as it takes by the right time, and twice that.
    for _ in 0..6 {
        server.advance(PAST_THE_GRACE).await;
        assert_eq!(browser.data().await, json!({ "a": "2" }));
    }
    assert_refused(&present(&server, &old).await);
}

pub(crate) async fn d3_a_dead_cookie_of_a_client_that_the_binding_refuses_revokes_nobody(subject: Subject) {
    let server = subject.start_with(&[("BINDING", "user-agent")]).await;
    let firefox =
        |path: &str, cookie: &str| server.post(path).header("user-agent", "Firefox/130").cookie(cookie).send();
    for renewal in ["/set?k=a&v=1", "/renew"] {
        let login = server.post("/login?user=alice").header("user-agent", "Firefox/130").send();
        let dead = login.await.new_cookie();
        let mut newest = firefox(renewal, &dead).await.new_cookie();
        for _ in 0..2 {
            server.advance(PAST_THE_GRACE).await;
            newest = firefox("/remove?k=none", &newest).await.set_cookie().map_or(newest, |cookie| cookie.value);
        }
        let elsewhere = server.get("/state").header("user-agent", "curl/8").cookie(&dead).send().await;
        assert_refused(&elsewhere);
        assert_eq!(server.metrics().await.event("replayed"), 0, "{renewal}");
        let reply = server.get("/state").header("user-agent", "Firefox/130").cookie(&newest).send().await;
        assert_eq!(reply.ok()["subject"], "alice", "{renewal}");
    }
    assert!(server.metrics().await.event("binding_mismatch") >= 2);
    // From its own client it is a replay, as everywhere.
    let [dead, newest] = {
        let login = server.post("/login?user=bob").header("user-agent", "Firefox/130").send();
        let dead = login.await.new_cookie();
        let newest = firefox("/renew", &dead).await.new_cookie();
        [dead, newest]
    };
    server.advance(PAST_THE_GRACE).await;
    // By a request that surely has no body: one that may have been held back revokes nobody.
    let reply = server.get("/state").header("user-agent", "Firefox/130").cookie(&dead).send().await;
    assert_refused(&reply);
    let reply = server.get("/state").header("user-agent", "Firefox/130").cookie(&newest).send().await;
    assert_refused(&reply);
}
