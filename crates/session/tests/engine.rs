//! The engine without HTTP: what each request sees and sets, and what the store keeps.

#![allow(clippy::unwrap_used, clippy::panic, unreachable_pub, reason = "a test fails by panicking")]

mod support;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use secure_sessions::{Clock, Event, Keyring, MetaError, SessionError, SessionStore};
use support::{Head, app, app_with, header, set_cookie};

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
async fn a_dead_token_is_a_replay_and_ends_the_session() {
    let app = app();
    let stolen = app.visit(None, |session| session.insert("n", 1).unwrap()).await;
    let second = app.visit(stolen.as_deref(), |session| session.insert("n", 2).unwrap()).await;
    app.pass(61);
    let third = app.visit(second.as_deref(), |session| session.insert("n", 3).unwrap()).await;
    app.pass(61);
    let (_, session) = app.request(stolen.as_deref()).await;
    assert!(session.is_new() && session.was_ended());
    assert_eq!(app.event_names().last(), Some(&"replayed"));
    let (_, session) = app.request(third.as_deref()).await;
    assert!(session.is_new(), "the newer holder is out too");
}

#[tokio::test]
async fn a_replay_with_a_large_body_is_refused_without_ending_the_session() {
    let app = app();
    let stolen = app.visit(None, |session| session.insert("n", 1).unwrap()).await;
    let second = app.visit(stolen.as_deref(), |session| session.insert("n", 2).unwrap()).await;
    app.pass(61);
    let third = app.visit(second.as_deref(), |session| session.insert("n", 3).unwrap()).await;
    app.pass(61);
    let mut head = Head::with(stolen.as_deref());
    head.body = secure_sessions::BodySize::Exact(64 * 1024 + 1);
    let (_, session) = app.try_request(&head).await.unwrap();
    assert!(session.is_new());
    let (_, session) = app.request(third.as_deref()).await;
    assert_eq!(session.get::<u64>("n").unwrap(), Some(3));
}

#[tokio::test]
async fn login_changes_the_id_keeps_the_data_and_ends_the_old_cookie() {
    let app = app();
    let before = app.visit(None, |session| session.insert("cart", "book").unwrap()).await;
    let after = app.visit(before.as_deref(), |session| session.login("alice").unwrap()).await;
    let (_, session) = app.request(after.as_deref()).await;
    assert_eq!(session.subject().as_deref(), Some("alice"));
    assert_eq!(session.get::<String>("cart").unwrap().as_deref(), Some("book"));
    let (request, session) = app.request(before.as_deref()).await;
    assert!(session.was_ended() && session.subject().is_none() && session.is_empty());
    session.insert("n", 1).unwrap();
    assert_eq!(set_cookie(request.finish(200).await.as_ref()), None, "the newer cookie is not overwritten");
    assert_eq!(app.store.count().await.unwrap(), 1);
}

#[tokio::test]
async fn a_double_clicked_login_ends_logged_in_twice_over() {
    let app = app();
    let before = app.visit(None, |session| session.insert("n", 1).unwrap()).await;
    let (one, first) = app.request(before.as_deref()).await;
    let (two, second) = app.request(before.as_deref()).await;
    first.login("alice").unwrap();
    second.login("alice").unwrap();
    for request in [one, two] {
        let cookie = set_cookie(request.finish(200).await.as_ref());
        let (_, session) = app.request(cookie.as_deref()).await;
        assert_eq!(session.subject().as_deref(), Some("alice"));
        assert_eq!(session.get::<u64>("n").unwrap(), Some(1));
    }
}

#[tokio::test]
async fn a_login_carries_along_what_another_request_committed_meanwhile() {
    let app = app();
    let before = app.visit(None, |session| session.insert("n", 1).unwrap()).await;
    let (request, session) = app.request(before.as_deref()).await;
    session.login("alice").unwrap();
    app.visit(before.as_deref(), |session| session.insert("m", 2).unwrap()).await;
    let cookie = set_cookie(request.finish(200).await.as_ref());
    let (_, session) = app.request(cookie.as_deref()).await;
    assert_eq!(session.keys(), ["m", "n"]);
}

#[tokio::test]
async fn logout_is_final_also_for_a_request_under_way() {
    let app = app();
    let cookie = app.visit(None, |session| session.login("alice").unwrap()).await;
    let (slow, session) = app.request(cookie.as_deref()).await;
    session.insert("n", 1).unwrap();
    assert_eq!(app.visit(cookie.as_deref(), |session| session.logout().unwrap()).await, None);
    let reply = slow.finish(200).await.unwrap();
    assert!(matches!(reply.failure(), Some(SessionError::Ended)));
    assert_eq!(set_cookie(Some(&reply)), None);
    assert_eq!(app.store.count().await.unwrap(), 0);
    app.pass(3600);
    let (_, session) = app.request(cookie.as_deref()).await;
    assert!(session.is_new() && session.subject().is_none());
}

#[tokio::test]
async fn a_session_made_and_ended_in_one_request_leaves_no_cookie_or_bucket() {
    let app = app();
    for saves in [false, true] {
        let (request, session) = app.request(None).await;
        session.insert("n", 1).unwrap();
        if saves {
            session.save().await.unwrap();
        }
        session.logout().unwrap();
        assert_eq!(session.get::<u64>("n").unwrap(), None);
        assert_eq!(set_cookie(request.finish(200).await.as_ref()), None);
        assert_eq!(app.store.count().await.unwrap(), 0);
    }
}

#[tokio::test]
async fn a_login_after_a_logout_in_one_request_begins_without_the_old_data() {
    let app = app();
    let alice = app
        .visit(None, |session| {
            session.login("alice").unwrap();
            session.insert("secret", 1).unwrap();
        })
        .await;
    let bob = app
        .visit(alice.as_deref(), |session| {
            session.logout().unwrap();
            session.login("bob").unwrap();
        })
        .await;
    let (_, session) = app.request(bob.as_deref()).await;
    assert_eq!((session.subject().as_deref(), session.is_empty()), (Some("bob"), true));
    let (_, session) = app.request(alice.as_deref()).await;
    assert!(session.is_new());
}

#[tokio::test]
async fn a_5xx_discards_changes_and_login_but_keeps_a_logout() {
    let app = app();
    let cookie = app.visit(None, |session| session.insert("n", 1).unwrap()).await;
    let (request, session) = app.request(cookie.as_deref()).await;
    session.insert("n", 2).unwrap();
    session.login("alice").unwrap();
    let reply = request.finish(500).await;
    assert_eq!(set_cookie(reply.as_ref()), None);
    let (request, session) = app.request(cookie.as_deref()).await;
    assert_eq!((session.get::<u64>("n").unwrap(), session.subject()), (Some(1), None));
    session.logout().unwrap();
    assert_eq!(set_cookie(request.finish(503).await.as_ref()).as_deref(), Some(""), "removed");
    assert_eq!(app.store.count().await.unwrap(), 0);
}

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
async fn an_insert_that_outgrows_the_cookie_fails_at_once_and_changes_nothing() {
    let app = app();
    let cookie = app.visit(None, |session| session.insert("n", 1).unwrap()).await;
    let (request, session) = app.request(cookie.as_deref()).await;
    let error = session.insert("big", "x".repeat(2500)).unwrap_err();
    assert!(
        matches!(error, SessionError::TooLarge { key: Some(ref key), size, limit: 2800 } if size > 2800 && **key == *"big"),
        "{error}"
    );
    assert!(!session.contains_key("big"));
    assert_eq!(set_cookie(request.finish(200).await.as_ref()), None);
    session.get::<u64>("n").unwrap();
}

#[tokio::test]
async fn a_merge_that_outgrows_the_cookie_is_413_and_keeps_the_previous_token() {
    let app = app();
    let cookie = app.visit(None, |session| session.insert("n", 1).unwrap()).await;
    let (one, first) = app.request(cookie.as_deref()).await;
    let (two, second) = app.request(cookie.as_deref()).await;
    first.insert("a", "x".repeat(1200)).unwrap();
    second.insert("b", "x".repeat(1200)).unwrap();
    one.finish(200).await;
    let reply = two.finish(200).await.unwrap();
    assert_eq!(reply.failure().map(SessionError::status), Some(413));
    assert_eq!(set_cookie(Some(&reply)), None);
    let (_, session) = app.request(cookie.as_deref()).await;
    assert_eq!(session.keys(), ["a", "n"]);
}

#[tokio::test]
async fn the_closure_of_an_update_cannot_change_the_session() {
    let app = app();
    let (_, session) = app.request(None).await;
    let inner = session.clone();
    let result = session.update("n", move |n: &mut u64| {
        *n += 1;
        inner.insert("m", 1).is_err()
    });
    assert!(result.unwrap());
    assert_eq!(session.keys(), ["n"]);
    session.insert("m", 1).unwrap();
}

#[tokio::test]
async fn saved_changes_survive_a_5xx_and_updates_are_made_once() {
    let app = app();
    let calls = Arc::new(AtomicU64::new(0));
    let cookie = app.visit(None, |session| session.insert("n", 1).unwrap()).await;
    let (request, session) = app.request(cookie.as_deref()).await;
    let counted = Arc::clone(&calls);
    session
        .update("n", move |n: &mut u64| {
            counted.fetch_add(1, Ordering::SeqCst);
            *n += 1;
        })
        .unwrap();
    session.save().await.unwrap();
    let newest = set_cookie(request.finish(500).await.as_ref());
    assert!(newest.is_some(), "what was saved reaches the client");
    let (_, session) = app.request(newest.as_deref()).await;
    assert_eq!(session.get::<u64>("n").unwrap(), Some(2));
    assert_eq!(calls.load(Ordering::SeqCst), 1, "the commit met nobody, and keeps what the handler saw");
}

#[tokio::test]
async fn a_login_after_a_logout_in_one_request_inherits_nothing_from_the_old_one() {
    let app = app();
    let cookie = app.visit(None, |session| {
        session.login("alice").unwrap();
        session.set_persistent(true).unwrap();
        session.set_idle_timeout(Duration::from_secs(60)).unwrap();
        session.set_lifetime(Duration::from_secs(600)).unwrap();
        session.set_label("alice's telephone").unwrap();
        session.step_up(3).unwrap();
    });
    let (request, session) = app.request(cookie.await.as_deref()).await;
    session.logout().unwrap();
    session.login("bob").unwrap();
    let reply = request.finish(200).await.unwrap();
    assert!(
        !header(Some(&reply), "set-cookie").unwrap().contains("Max-Age"),
        "who stays logged in was for alice to say"
    );

    let (_, session) = app.request(set_cookie(Some(&reply)).as_deref()).await;
    assert_eq!((session.subject().as_deref(), session.assurance()), (Some("bob"), None));
    let sessions = session.sessions().await.unwrap();
    assert_eq!((sessions.len(), sessions[0].label.as_deref()), (1, None));
    assert_eq!(session.expires_at(), Some(app.clock.now().after(Duration::from_secs(8 * 60 * 60).into())));
    app.pass(120);
    assert!(session.is_live().await.unwrap(), "alice's idle timeout ended bob's session");
}

#[tokio::test]
async fn only_statuses_below_500_but_for_408_and_499_commit() {
    for (status, commits) in [
        (200, true),
        (304, true),
        (400, true),
        (407, true),
        (409, true),
        (498, true),
        (408, false),
        (499, false),
        (500, false),
        (599, false),
    ] {
        let app = app();
        let cookie = app.visit(None, |session| session.insert("n", 1).unwrap()).await.unwrap();
        let (request, session) = app.request(Some(&cookie)).await;
        session.insert("n", 2).unwrap();
        session.login("alice").unwrap();
        let reply = request.finish(status).await;
        assert!(reply.as_ref().and_then(|reply| reply.failure()).is_none(), "{status}");
        assert_eq!(set_cookie(reply.as_ref()).is_some(), commits, "{status}");
        assert_eq!(app.event_names().contains(&"renewed"), commits, "{status}");
    }
}

#[tokio::test]
async fn an_equal_hash_map_changes_nothing_and_the_order_of_a_list_counts() {
    let app = app();
    let basket = || (0..20).map(|n| (format!("article {n}"), n)).collect::<HashMap<_, u32>>();
    let cookie = app.visit(None, |session| {
        session.insert("basket", basket()).unwrap();
        session.insert("tags", BTreeSet::from(["b", "a"])).unwrap();
        session.insert("list", ["b", "a"]).unwrap();
    });
    let cookie = cookie.await.unwrap();
    for _ in 0..10 {
        let (request, session) = app.request(Some(&cookie)).await;
        let found = session.get::<HashMap<String, u32>>("basket").unwrap().unwrap();
        assert_eq!(found, basket());
        session.insert("basket", found).unwrap();
        session.insert("basket", basket()).unwrap();
        session.insert("tags", BTreeSet::from(["a", "b"])).unwrap();
        session.update("basket", |basket: &mut HashMap<String, u32>| basket.shrink_to_fit()).unwrap();
        assert_eq!(set_cookie(request.finish(200).await.as_ref()), None);
    }
    let (request, session) = app.request(Some(&cookie)).await;
    session.insert("list", ["a", "b"]).unwrap();
    assert!(set_cookie(request.finish(200).await.as_ref()).is_some());
}

#[tokio::test]
async fn a_login_without_a_subject_is_a_typed_error_and_changes_nothing() {
    let app = app();
    let (request, session) = app.request(None).await;
    let error = session.login("").unwrap_err();
    assert!(matches!(error, SessionError::Meta(MetaError::SubjectEmpty)), "{error:?}");
    assert!(error.to_string().contains("identifier of the account"), "{error}");
    assert_eq!((error.status(), session.subject()), (400, None));
    assert_eq!(set_cookie(request.finish(200).await.as_ref()), None);
}

#[tokio::test]
async fn a_logout_is_kept_whatever_the_status() {
    for status in [200, 408, 499, 503] {
        let app = app();
        let cookie = app.visit(None, |session| session.login("alice").unwrap()).await.unwrap();
        let (request, session) = app.request(Some(&cookie)).await;
        session.insert("n", 1).unwrap();
        session.logout().unwrap();
        assert_eq!(set_cookie(request.finish(status).await.as_ref()).as_deref(), Some(""), "{status}");
        assert_eq!(app.store.count().await.unwrap(), 0, "{status}");
    }
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
    for _ in 0..100 {
        if app.store.count().await.unwrap() == 1 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("the commit did not run to its end");
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
async fn a_csrf_token_makes_a_session_and_is_good_for_it_alone() {
    let app = app();
    let (request, session) = app.request(None).await;
    let token = session.csrf_token().unwrap();
    let cookie = set_cookie(request.finish(200).await.as_ref());
    let (_, session) = app.request(cookie.as_deref()).await;
    assert!(session.is_csrf_token(&token) && !session.is_csrf_token("x"));
    let (_, other) = app.request(None).await;
    assert!(!other.is_csrf_token(&token));
}

#[tokio::test]
async fn a_subject_lists_and_revokes_its_sessions() {
    let app = app();
    let one = app
        .visit(None, |session| {
            session.login("alice").unwrap();
            session.set_label("laptop").unwrap();
        })
        .await;
    let two = app.visit(None, |session| session.login("alice").unwrap()).await;
    app.visit(None, |session| session.login("bob").unwrap()).await;
    let (_, session) = app.request(one.as_deref()).await;
    let mut sessions = session.sessions().await.unwrap();
    sessions.sort_by_key(|session| !session.current);
    assert_eq!(sessions.len(), 2);
    assert_eq!((sessions[0].current, sessions[0].label.as_deref()), (true, Some("laptop")));
    assert_eq!(Some(sessions[0].handle), session.id());
    let handle = sessions.iter().find(|info| !info.current).unwrap().handle;
    session.revoke(&handle).await.unwrap();
    assert!(matches!(session.revoke(&handle).await, Err(SessionError::NoSuchSession)));
    let (_, other) = app.request(two.as_deref()).await;
    assert!(other.is_new());
    assert_eq!(app.manager.revoke_subject("bob").await.unwrap(), 1);
    assert!(session.is_live().await.unwrap());
    assert_eq!(session.revoke_others().await.unwrap(), 0);
    assert_eq!(app.manager.revoke_everything().await.unwrap(), 1);
    assert!(!session.is_live().await.unwrap());
}

#[tokio::test]
async fn an_accepted_key_opens_and_a_compromised_one_is_replaced_at_once() {
    let (seal, fingerprint) = Keyring::generate_texts().unwrap();
    let (new_seal, new_fingerprint) = Keyring::generate_texts().unwrap();
    let app = app();
    app.manager.set_keyring(Keyring::from_text(&seal, &fingerprint, "").unwrap()).unwrap();
    let cookie = app
        .visit(None, |session| {
            session.login("alice").unwrap();
            session.set_label("laptop").unwrap();
        })
        .await;
    let both = |new: &str, old: &str| format!("{new} {old}");
    app.manager
        .set_keyring(Keyring::from_text(&both(&new_seal, &seal), &both(&new_fingerprint, &fingerprint), "").unwrap())
        .unwrap();
    let same = app.visit(cookie.as_deref(), |session| assert_eq!(session.subject().as_deref(), Some("alice"))).await;
    assert_eq!(same, cookie, "sealed again at the next rotation, not before");
    app.manager
        .set_keyring(Keyring::from_text(&new_seal, &new_fingerprint, &both(&seal, &fingerprint)).unwrap())
        .unwrap();
    let next = app.visit(cookie.as_deref(), |session| assert_eq!(session.subject().as_deref(), Some("alice"))).await;
    assert_ne!(next, cookie);
    app.manager.set_keyring(Keyring::from_text(&new_seal, &new_fingerprint, "").unwrap()).unwrap();
    let (_, session) = app.request(next.as_deref()).await;
    assert_eq!(session.subject().as_deref(), Some("alice"));
    assert_eq!(session.sessions().await.unwrap()[0].label.as_deref(), Some("laptop"));
}

#[tokio::test]
async fn not_before_refuses_what_was_issued_earlier() {
    let app = app();
    let cookie = app.visit(None, |session| session.insert("n", 1).unwrap()).await;
    app.pass(1);
    app.manager.set_not_before(Some(secure_sessions::Clock::now(&app.clock)));
    let (_, session) = app.request(cookie.as_deref()).await;
    assert!(session.is_new());
    app.manager.set_not_before(None);
    let (_, session) = app.request(cookie.as_deref()).await;
    assert!(!session.is_new());
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
async fn logout_everywhere_ends_this_session_and_all_others_of_its_subject() {
    let app = app();
    let here = app.visit(None, |session| session.login("alice").unwrap()).await;
    app.visit(None, |session| session.login("alice").unwrap()).await;
    let bob = app.visit(None, |session| session.login("bob").unwrap()).await;
    let (request, session) = app.request(here.as_deref()).await;
    session.logout_everywhere().unwrap();
    assert_eq!(set_cookie(request.finish(200).await.as_ref()).as_deref(), Some(""), "removed");
    assert!(app.manager.sessions_of("alice").await.unwrap().is_empty());
    let (_, session) = app.request(bob.as_deref()).await;
    assert_eq!(session.subject().as_deref(), Some("bob"));
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

#[tokio::test]
async fn a_manager_told_to_refuse_replays_leaves_the_session_alone() {
    let app = app_with(|builder| builder.on_replay(secure_sessions::OnReplay::Refuse));
    let stolen = app.visit(None, |session| session.insert("n", 1).unwrap()).await;
    let second = app.visit(stolen.as_deref(), |session| session.insert("n", 2).unwrap()).await;
    app.pass(61);
    let third = app.visit(second.as_deref(), |session| session.insert("n", 3).unwrap()).await;
    app.pass(61);
    let (_, session) = app.request(stolen.as_deref()).await;
    assert!(session.is_new());
    assert_eq!(app.event_names().last(), Some(&"replayed"));
    let (_, session) = app.request(third.as_deref()).await;
    assert_eq!(session.get::<u64>("n").unwrap(), Some(3));
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
    // Whatever needs more than a look waits: a superseded cookie, and a visit that is to be written.
    let second = app.visit(Some(&first), |session| session.insert("n", 2).unwrap()).await.unwrap();
    assert!(loaded_at_once(Some(&first)).is_none());
    assert_eq!(loaded_at_once(Some(&second)).unwrap().get("n").unwrap(), Some(2));
    app.pass(120);
    assert!(loaded_at_once(Some(&second)).is_none());
    app.visit(Some(&second), |session| assert_eq!(session.get("n").unwrap(), Some(2))).await;
    assert_eq!(loaded_at_once(Some(&second)).unwrap().get("n").unwrap(), Some(2));
}

#[tokio::test]
async fn keys_replaced_while_a_handler_runs_keep_the_subject_and_the_label() {
    let (seal, fingerprint) = Keyring::generate_texts().unwrap();
    let (_, new_fingerprint) = Keyring::generate_texts().unwrap();
    let app = app();
    app.manager.set_keyring(Keyring::from_text(&seal, &fingerprint, "").unwrap()).unwrap();
    let cookie = app
        .visit(None, |session| {
            session.login("alice").unwrap();
            session.set_label("phone").unwrap();
        })
        .await;
    let both = format!("{} {}", *new_fingerprint, *fingerprint);
    let cookie = app
        .visit(cookie.as_deref(), |session| {
            app.manager.set_keyring(Keyring::from_text(&seal, &both, "").unwrap()).unwrap();
            session.insert("n", 1).unwrap();
        })
        .await;
    // The old key goes for good.
    app.manager.set_keyring(Keyring::from_text(&seal, &new_fingerprint, "").unwrap()).unwrap();
    app.visit(cookie.as_deref(), |session| {
        assert_eq!((session.subject().as_deref(), session.get("n").unwrap()), (Some("alice"), Some(1)));
    })
    .await;
    let listed = app.manager.sessions_of("alice").await.unwrap();
    assert_eq!(listed.iter().map(|session| session.label.as_deref()).collect::<Vec<_>>(), [Some("phone")]);
    assert!(!app.event_names().contains(&"store_tampered"));
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
