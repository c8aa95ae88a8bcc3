//! Deadlines, touches and the time in force.

use std::time::Duration;

use crate::support::{app, app_with, set_cookie};

#[tokio::test]
async fn the_token_rotates_past_the_rotation_interval_once_and_touches_are_damped() {
    let app = app();
    let cookie = app.visit(None, |session| session.insert("n", 1).unwrap()).await;
    app.pass(59);
    let (request, _) = app.request(cookie.as_deref()).await;
    assert!(request.finish(200).try_now().is_ok(), "nothing to write");
    app.pass(15 * 60);
    let (one, _) = app.request(cookie.as_deref()).await;
    let (two, _) = app.request(cookie.as_deref()).await;
    let newest = set_cookie(one.finish(200).await.as_ref());
    assert!(newest.is_some());
    assert_eq!(set_cookie(two.finish(200).await.as_ref()), newest, "the same rotation");
    assert_eq!(app.event_names().iter().filter(|name| **name == "rotated").count(), 1);
}

#[tokio::test]
async fn a_configured_touch_step_writes_no_sooner_and_ends_nobody_early() {
    let app = app_with(|builder| builder.touch_step(Duration::from_secs(300)));
    let cookie = app.visit(None, |session| session.insert("n", 1).unwrap()).await;
    app.pass(299);
    let (request, _) = app.request(cookie.as_deref()).await;
    assert!(request.finish(200).try_now().is_ok(), "nothing to write");
    // The visit before was not written, and counts all the same.
    app.pass(30 * 60);
    let (request, session) = app.request(cookie.as_deref()).await;
    assert_eq!(session.get::<u64>("n").unwrap(), Some(1));
    let cookie = set_cookie(request.finish(200).await.as_ref()).or(cookie);
    app.pass(35 * 60 + 1);
    let (_, session) = app.request(cookie.as_deref()).await;
    assert!(session.is_new(), "late by one step at most");
}

#[tokio::test]
async fn idle_and_absolute_timeouts_are_enforced_by_the_server() {
    let app = app();
    let cookie = app.visit(None, |session| session.insert("n", 1).unwrap()).await;
    app.pass(32 * 60);
    let (_, session) = app.request(cookie.as_deref()).await;
    assert!(session.is_new() && session.was_ended());

    let mut cookie = app.visit(None, |session| session.insert("n", 1).unwrap()).await;
    for _ in 0..23 {
        app.pass(20 * 60);
        cookie = app.visit(cookie.as_deref(), |session| assert_eq!(session.get("n").unwrap(), Some(1))).await;
    }
    app.pass(20 * 60);
    let (_, session) = app.request(cookie.as_deref()).await;
    assert!(session.is_new(), "activity does not extend the absolute deadline");
}

#[tokio::test]
async fn a_handler_of_many_minutes_does_not_make_its_session_look_idle() {
    let app = app();
    let cookie = app.visit(None, |session| session.insert("n", 1).unwrap()).await;
    app.pass(29 * 60);
    let (slow, _) = app.request(cookie.as_deref()).await;
    app.pass(6 * 60);
    let (_, session) = app.request(cookie.as_deref()).await;
    assert_eq!(session.get::<u64>("n").unwrap(), Some(1));
    slow.finish(200).await;
}

#[tokio::test]
async fn not_before_refuses_what_was_issued_earlier() {
    let app = app();
    let cookie = app.visit(None, |session| session.insert("n", 1).unwrap()).await;
    app.pass(1);
    app.manager.set_not_before(secure_sessions::Clock::now(&app.clock)).await.unwrap();
    let (_, session) = app.request(cookie.as_deref()).await;
    assert!(session.is_new());
    let cookie = app.visit(None, |session| session.insert("n", 2).unwrap()).await;
    let (_, session) = app.request(cookie.as_deref()).await;
    assert_eq!(session.get::<u32>("n").unwrap(), Some(2), "what was issued since is good");
}

#[tokio::test]
async fn a_session_s_own_timeouts_replace_the_configured_ones() {
    let app = app();
    let minute = Duration::from_secs(60);
    let idle = app.visit(None, |session| {
        session.insert("n", 1).unwrap();
        session.set_idle_timeout(5 * minute).unwrap();
    });
    let idle = idle.await;
    let life = app.visit(None, |session| {
        session.insert("n", 1).unwrap();
        session.set_lifetime(10 * minute).unwrap();
    });
    let life = life.await;
    app.pass(6 * 60);
    let (_, session) = app.request(idle.as_deref()).await;
    assert!(session.was_ended());
    let (_, session) = app.request(life.as_deref()).await;
    assert!(!session.is_new());
    app.pass(4 * 60);
    let (_, session) = app.request(life.as_deref()).await;
    assert!(session.was_ended());
}
