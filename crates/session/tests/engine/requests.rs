//! One request after another, and many at once.

use std::sync::Arc;
use std::time::Duration;

use secure_sessions::{Event, Keyring, SessionError, SessionStore};

use crate::support::{Head, app, app_with, header, set_cookie};

#[tokio::test]
async fn an_untouched_anonymous_request_sets_nothing_and_stores_nothing() {
    let app = app();
    let (request, session) = app.request(None).await;
    assert_eq!(session.get::<u64>("n").unwrap(), None);
    assert!(session.is_new() && !session.was_ended() && session.id().is_none());
    let reply = request.finish(200).try_now().ok().flatten();
    assert_eq!(set_cookie(reply.as_ref()), None);
    assert_eq!(app.store.count().await.unwrap(), 0);
}

#[tokio::test]
async fn data_comes_back_with_the_next_request_and_a_read_sets_no_cookie() {
    let app = app();
    let cookie = app.visit(None, |session| session.insert("n", 7).unwrap()).await;
    let (request, session) = app.request(cookie.as_deref()).await;
    assert_eq!(session.get::<u64>("n").unwrap(), Some(7));
    session.insert("n", 7).unwrap();
    let reply = request.finish(200).try_now().ok().flatten();
    assert_eq!(set_cookie(reply.as_ref()), None, "an equal value changes nothing");
    assert!(matches!(session.insert("n", 8), Err(SessionError::Finished)));
    assert_eq!(session.get::<u64>("n").unwrap(), Some(7), "reads go on");
}

#[tokio::test]
async fn a_hundred_updates_from_one_cookie_end_at_exactly_a_hundred() {
    let app = Arc::new(app());
    let cookie = app.visit(None, |session| session.insert("n", 0).unwrap()).await.unwrap();
    let mut requests = Vec::new();
    for _ in 0..100 {
        requests.push(app.request(Some(&cookie)).await);
    }
    let commits = requests.into_iter().map(|(request, session)| {
        session.update("n", |n: &mut u64| *n += 1).unwrap();
        tokio::spawn(request.finish(200))
    });
    for commit in commits.collect::<Vec<_>>() {
        let reply = commit.await.unwrap().unwrap();
        assert!(reply.failure().is_none());
    }
    let (_, session) = app.request(Some(&cookie)).await;
    assert_eq!(session.get::<u64>("n").unwrap(), Some(100));
}

#[tokio::test]
async fn writers_of_different_keys_lose_nothing_to_one_another() {
    let app = app();
    let cookie = app.visit(None, |session| session.insert("n", 0).unwrap()).await;
    let (one, first) = app.request(cookie.as_deref()).await;
    let (two, second) = app.request(cookie.as_deref()).await;
    first.insert("a", 1).unwrap();
    second.insert("b", 2).unwrap();
    one.finish(200).await;
    let newest = set_cookie(two.finish(200).await.as_ref());
    let (_, session) = app.request(newest.as_deref()).await;
    assert_eq!(session.keys(), ["a", "b", "n"]);
}

#[tokio::test]
async fn after_a_lost_response_the_old_cookie_is_handed_the_newest_state() {
    let app = app();
    let old = app.visit(None, |session| session.insert("n", 1).unwrap()).await;
    app.visit(old.as_deref(), |session| session.insert("n", 2).unwrap()).await;
    app.pass(25 * 60);
    let (request, session) = app.request(old.as_deref()).await;
    assert_eq!(session.get::<u64>("n").unwrap(), Some(2), "never old data");
    let newest = set_cookie(request.finish(200).await.as_ref());
    assert!(newest.is_some() && newest != old);
    assert!(app.event_names().contains(&"handed_off"));
}

#[tokio::test]
async fn a_slow_handler_puts_no_stale_token_on_the_wire() {
    let app = app();
    let first = app.visit(None, |session| session.insert("n", 1).unwrap()).await;
    let second = app.visit(first.as_deref(), |session| session.insert("n", 2).unwrap()).await;
    let (slow, _) = app.request(first.as_deref()).await;
    let third = app.visit(second.as_deref(), |session| session.insert("n", 3).unwrap()).await;
    assert_eq!(set_cookie(slow.finish(200).await.as_ref()), third);
}

#[tokio::test]
async fn a_304_that_read_the_session_gets_no_cache_control_of_ours() {
    let app = app();
    let cookie = app.visit(None, |session| session.insert("n", 1).unwrap()).await.unwrap();
    for (status, expected) in [(200, Some("no-store")), (304, None)] {
        let (request, session) = app.request(Some(&cookie)).await;
        assert_eq!(session.get::<u64>("n").unwrap(), Some(1));
        let reply = request.finish(status).await;
        assert_eq!(header(reply.as_ref(), "cache-control").as_deref(), expected, "{status}");
    }
}

#[tokio::test]
async fn a_finish_whose_client_hung_up_still_commits() {
    let app = app();
    let (request, session) = app.request(None).await;
    session.insert("n", 1).unwrap();
    drop(request.finish(200));
    app.manager.drained().await;
    assert_eq!(app.store.count().await.unwrap(), 1);
}

#[tokio::test]
async fn garbage_is_removed_and_an_unknown_key_left_alone() {
    let app = app();
    for garbage in ["", "x", "\"quoted\"", &"A".repeat(400), &"x".repeat(5000)] {
        let (request, session) = app.request(Some(garbage)).await;
        assert!(session.is_new());
        assert_eq!(set_cookie(request.finish(200).await.as_ref()).as_deref(), Some(""), "{garbage}");
    }
    let cookie = app.visit(None, |session| session.insert("n", 1).unwrap()).await;
    app.manager.set_keyring(Keyring::generate().unwrap()).unwrap();
    let (request, session) = app.request(cookie.as_deref()).await;
    assert!(session.is_new());
    assert_eq!(set_cookie(request.finish(200).await.as_ref()), None);
    assert_eq!(app.event_names().last(), Some(&"unknown_key"));
    // Nothing tells a host that lacks a key from one that dropped it, whose visitors must get new sessions.
    let (request, session) = app.request(cookie.as_deref()).await;
    session.csrf_token().unwrap();
    assert!(set_cookie(request.finish(200).await.as_ref()).is_some_and(|new| !new.is_empty()));
}

#[tokio::test]
async fn two_live_sessions_in_one_request_are_nobody_unless_somebody_logs_in() {
    let app = app();
    let one = app.visit(None, |session| session.insert("n", 1).unwrap()).await.unwrap();
    let two = app.visit(None, |session| session.insert("n", 2).unwrap()).await.unwrap();
    let mut head = Head::with(Some(&one));
    head.cookies.push(format!("other=x; session={two}"));
    let (request, session) = app.try_request(&head).await.unwrap();
    assert!(session.is_new() && session.is_empty());
    session.insert("n", 3).unwrap();
    assert_eq!(set_cookie(request.finish(200).await.as_ref()), None);
    let (request, session) = app.try_request(&head).await.unwrap();
    session.login("alice").unwrap();
    assert!(set_cookie(request.finish(200).await.as_ref()).is_some());

    let one = app.visit(None, |session| session.insert("n", 1).unwrap()).await.unwrap();
    let newer = app.visit(Some(&one), |session| session.insert("n", 4).unwrap()).await.unwrap();
    head.cookies = vec![format!("session={one}; session={newer}; session=garbage")];
    let (request, session) = app.try_request(&head).await.unwrap();
    assert_eq!(session.get::<u64>("n").unwrap(), Some(4), "of one session the newest is judged");
    assert_eq!(set_cookie(request.finish(200).await.as_ref()), None);
}

#[tokio::test]
async fn a_client_that_ignores_every_new_cookie_goes_on() {
    let app = app_with(|builder| builder.rotation_interval(None));
    let cookie = app.visit(None, |session| session.insert("n", 0).unwrap()).await;
    for n in 1..=300_u64 {
        app.pass(2);
        app.visit(cookie.as_deref(), |session| session.update("n", |n: &mut u64| *n += 1).unwrap()).await;
        let (_, session) = app.request(cookie.as_deref()).await;
        assert_eq!(session.get::<u64>("n").unwrap(), Some(n));
    }
}

#[tokio::test]
async fn no_event_holds_an_id_or_a_token() {
    let app = app();
    let cookie = app.visit(None, |session| session.login("alice").unwrap()).await.unwrap();
    app.visit(Some(&cookie), |session| session.logout().unwrap()).await;
    for event in app.events.lock().unwrap().iter() {
        let text = format!("{event:?} {event}");
        assert!(!text.contains("alice") && !text.contains(&cookie), "{text}");
        assert!(!matches!(event, Event::StoreError { .. }));
    }
}

#[tokio::test]
async fn a_store_error_tells_the_log_its_cause_and_the_client_nothing() {
    let directory = std::env::temp_dir().join(format!("no-such-directory-{}", std::process::id()));
    let cause = std::fs::File::open(&directory).unwrap_err();
    let text = cause.to_string();
    let error = SessionError::from(secure_sessions::StoreError::unavailable(cause));
    assert!(error.to_string().contains(&text), "{error}");
    assert_eq!(error.status(), 503);
    assert!(!error.client_text().contains(&text));
}

#[tokio::test]
async fn a_test_session_is_one_that_the_application_accepts_until_it_expires() {
    let (manager, clock) = secure_sessions::testing::manager();
    let cookie = secure_sessions::testing::session(&manager).login("alice").insert("n", 7).cookie().await.unwrap();
    let mut head = Head::with(None);
    head.cookies.push(cookie);
    let session = manager.begin().session(&head).await.unwrap();
    assert_eq!((session.subject().as_deref(), session.get("n").unwrap()), (Some("alice"), Some(7)));
    clock.advance(Duration::from_secs(9 * 3600));
    let session = manager.begin().session(&head).await.unwrap();
    assert!(session.was_ended());
    assert_eq!(secure_sessions::testing::session(&manager).cookie().await.unwrap(), "");
}

#[tokio::test]
async fn a_session_in_this_process_is_there_without_a_wait() {
    let app = app();
    let loaded_at_once = |cookie: Option<&str>| {
        let request = app.manager.begin();
        // Nobody polls it.
        drop(request.session(&Head::with(cookie)));
        request.loaded()
    };
    assert!(loaded_at_once(None).unwrap().is_new());
    let first = app.visit(None, |session| session.insert("n", 1).unwrap()).await.unwrap();
    assert_eq!(loaded_at_once(Some(&first)).unwrap().get("n").unwrap(), Some(1));
    // A request that needs more than a look waits: one with a superseded cookie, and one whose visit is to be written.
    let second = app.visit(Some(&first), |session| session.insert("n", 2).unwrap()).await.unwrap();
    assert!(loaded_at_once(Some(&first)).is_none());
    assert_eq!(loaded_at_once(Some(&second)).unwrap().get("n").unwrap(), Some(2));
    app.pass(120);
    assert!(loaded_at_once(Some(&second)).is_none());
    app.visit(Some(&second), |session| assert_eq!(session.get("n").unwrap(), Some(2))).await;
    assert_eq!(loaded_at_once(Some(&second)).unwrap().get("n").unwrap(), Some(2));
}

#[tokio::test]
async fn a_change_is_committed_at_once_where_the_store_answers_at_once() {
    let app = app();
    let cookie = app.visit(None, |session| session.insert("n", 1).unwrap()).await;
    let (first, session) = app.request(cookie.as_deref()).await;
    session.insert("n", 2).unwrap();
    let (second, rival) = app.request(cookie.as_deref()).await;
    rival.insert("m", 3).unwrap();
    let reply = first.finish(200).try_now().ok().unwrap();
    let newest = set_cookie(reply.as_ref()).unwrap();
    // Somebody was faster: that is for the commit that waits, and loses nothing.
    let later = second.finish(200).try_now().err().unwrap();
    let merged = set_cookie(later.await.as_ref()).unwrap();
    for cookie in [&newest, &merged] {
        app.visit(Some(cookie), |session| {
            assert_eq!(session.get::<u8>("n").unwrap(), Some(2));
            assert_eq!(session.get::<u8>("m").unwrap(), Some(3));
        })
        .await;
    }
}
