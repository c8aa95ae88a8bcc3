//! Ending is ending: logout, renewal, replay and login beside one another, in orders that are made, not hoped for.

#![allow(clippy::unwrap_used, clippy::panic, unreachable_pub, reason = "a test fails by panicking")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use secure_sessions::store::{Entry, SessionId, forward_methods};
use secure_sessions::{
    Binding, Clock, EndReason, Event, FlashLevel, MemoryStore, Millis, Session, SessionError, SessionStore, StoreError,
};

use support::{App, Head, app, app_with, set_cookie};

/// The cookie of a session that alice is logged in to.
async fn alice(app: &App) -> String {
    app.visit(None, |session| session.login("alice").unwrap()).await.unwrap()
}

async fn renewed(app: &App, cookie: &str) -> String {
    let next = app.visit(Some(cookie), |session| session.renew().unwrap()).await.unwrap();
    assert_ne!(next, cookie);
    next
}

/// Who is logged in with this cookie.
async fn subject(app: &App, cookie: &str) -> Option<String> {
    app.request(Some(cookie)).await.1.subject()
}

type Ends = fn(&Session);
const ENDINGS: [Ends; 3] = [
    |session| session.logout().unwrap(),
    |session| session.logout_everywhere().unwrap(),
    |session| session.logout_keeping_data().unwrap(),
];

#[tokio::test]
async fn a_logout_that_a_renewal_overtook_ends_the_renewed_session() {
    for end in ENDINGS {
        for renewals in [1, 2, 5] {
            let app = app();
            let cookie = alice(&app).await;
            let (request, session) = app.request(Some(&cookie)).await;
            let mut stolen = cookie.clone();
            for _ in 0..renewals {
                stolen = renewed(&app, &stolen).await;
            }
            end(&session);
            let reply = request.finish(200).await.unwrap();
            assert!(reply.failure().is_none());
            assert_eq!(set_cookie(Some(&reply)).as_deref(), Some(""), "the browser forgets the cookie");
            assert_eq!(subject(&app, &stolen).await, None, "after {renewals} renewals");
            assert_eq!(app.store.count().await.unwrap(), 0);
        }
    }
}

#[tokio::test]
async fn a_logout_with_a_cookie_that_was_renewed_just_before_ends_the_session() {
    let app = app();
    let cookie = alice(&app).await;
    let stolen = renewed(&app, &cookie).await;
    let (request, session) = app.request(Some(&cookie)).await;
    assert!(session.was_ended() && session.subject().is_none());
    let refused = session.logout_everywhere().unwrap_err();
    assert!(matches!(refused, SessionError::Ended), "nobody can tell whose sessions these are: {refused}");
    session.logout().unwrap();
    assert_eq!(set_cookie(request.finish(200).await.as_ref()).as_deref(), Some(""));
    assert_eq!(subject(&app, &stolen).await, None);
}

/// By its own clock the session is over; by that of every other host it is alive.
#[tokio::test]
async fn a_logout_at_a_host_with_a_clock_ahead_ends_the_session_everywhere() {
    for hours in [2, 20] {
        let app = app();
        let cookie = alice(&app).await;
        app.pass(hours * 3600);
        let (request, session) = app.request(Some(&cookie)).await;
        assert!(session.was_ended() && session.subject().is_none(), "it looks expired after {hours} hours");
        session.logout().unwrap();
        let reply = request.finish(200).await.unwrap();
        assert!(reply.failure().is_none());
        assert_eq!(set_cookie(Some(&reply)).as_deref(), Some(""));
        assert_eq!(app.store.count().await.unwrap(), 0, "it would be alive elsewhere");
    }
}

#[tokio::test]
async fn without_a_logout_an_expired_session_is_left_to_the_purge() {
    let app = app();
    let cookie = alice(&app).await;
    app.pass(7200);
    let (request, session) = app.request(Some(&cookie)).await;
    assert!(matches!(session.logout_everywhere(), Err(SessionError::NotLoggedIn)), "nobody is logged in any more");
    request.finish(200).await;
    app.visit(Some(&cookie), |session| session.insert("basket", 1).unwrap()).await.unwrap();
    assert_eq!(app.store.count().await.unwrap(), 2, "the expired one and the new one");
}

#[tokio::test]
async fn a_login_with_a_cookie_renewed_just_before_leaves_the_session_alone() {
    // A double click: the browser may be about to get the cookie of either.
    let app = app();
    let cookie = alice(&app).await;
    let other = renewed(&app, &cookie).await;
    let again = app.visit(Some(&cookie), |session| session.login("alice").unwrap()).await.unwrap();
    for cookie in [other, again] {
        assert_eq!(subject(&app, &cookie).await.as_deref(), Some("alice"));
    }
}

#[tokio::test]
async fn logout_everywhere_ends_sessions_that_are_renewed_meanwhile() {
    let app = app();
    let (own, other) = (alice(&app).await, alice(&app).await);
    let bob = app.visit(None, |session| session.login("bob").unwrap()).await.unwrap();
    let (request, session) = app.request(Some(&own)).await;
    session.logout_everywhere().unwrap();
    let (own_renewed, other_renewed) = (renewed(&app, &own).await, renewed(&app, &other).await);
    // It is kept whatever becomes of the response.
    request.finish(500).await;
    for cookie in [own, other, own_renewed, other_renewed] {
        assert_eq!(subject(&app, &cookie).await, None);
    }
    assert_eq!(subject(&app, &bob).await.as_deref(), Some("bob"));
    let (_, session) = app.request(None).await;
    assert!(matches!(session.logout_everywhere(), Err(SessionError::NotLoggedIn)));
}

#[tokio::test]
async fn revoking_by_handle_follows_a_renewal() {
    let app = app();
    let cookie = alice(&app).await;
    let (_, session) = app.request(Some(&cookie)).await;
    let handle = session.id().unwrap();
    let next = renewed(&app, &cookie).await;
    // The handle is of the old id, which is listed no more; that of the new one is.
    assert!(matches!(app.manager.revoke("alice", &handle).await, Err(SessionError::NoSuchSession)));
    let [listed] = app.manager.sessions_of("alice").await.unwrap().try_into().unwrap();
    app.manager.revoke("alice", &listed.handle).await.unwrap();
    assert_eq!(subject(&app, &next).await, None);
}

#[tokio::test]
async fn a_renewed_sessions_old_cookie_is_a_replay_that_ends_the_successor() {
    let app = app();
    let cookie = alice(&app).await;
    let next = renewed(&app, &renewed(&app, &cookie).await).await;
    app.pass(60);
    assert_eq!(subject(&app, &cookie).await, None);
    assert_eq!(subject(&app, &next).await.as_deref(), Some("alice"), "within the grace it may have been under way");
    app.pass(1);
    let (_, session) = app.request(Some(&cookie)).await;
    assert!(session.was_ended());
    let replayed = |revoked| {
        app.events
            .lock()
            .unwrap()
            .iter()
            .filter(|event| matches!(event, Event::Replayed { revoked: r, .. } if *r == revoked))
            .count()
    };
    assert_eq!((replayed(true), replayed(false)), (1, 0));
    assert_eq!(subject(&app, &next).await, None);
    // Presented again there is nothing left to revoke.
    app.request(Some(&cookie)).await;
    assert_eq!((replayed(true), replayed(false)), (1, 1));
}

#[tokio::test]
async fn a_session_renewed_without_end_ends_with_all_others_of_its_subject() {
    let app = app();
    let (cookie, other) = (alice(&app).await, alice(&app).await);
    let bob = app.visit(None, |session| session.login("bob").unwrap()).await.unwrap();
    let mut stolen = cookie.clone();
    for _ in 0..100 {
        stolen = renewed(&app, &stolen).await;
    }
    app.pass(61);
    app.request(Some(&cookie)).await;
    assert_eq!(app.event_names().last(), Some(&"replayed"));
    assert_eq!(app.store.count().await.unwrap(), 1);
    for (cookie, expected) in [(stolen, None), (other, None), (bob, Some("bob"))] {
        assert_eq!(subject(&app, &cookie).await.as_deref(), expected);
    }
}

#[tokio::test]
async fn an_anonymous_sessions_old_cookie_revokes_nobody() {
    let app = app();
    let fixed = app.visit(None, |session| session.insert("n", 1).unwrap()).await.unwrap();
    let victim = app.visit(Some(&fixed), |session| session.login("alice").unwrap()).await.unwrap();
    for seconds in [1, 120] {
        app.pass(seconds);
        let (request, session) = app.request(Some(&fixed)).await;
        session.logout().unwrap();
        request.finish(200).await;
        assert_eq!(subject(&app, &victim).await.as_deref(), Some("alice"), "after {seconds} s");
    }
    assert!(!app.event_names().contains(&"replayed"));
}

#[tokio::test]
async fn a_held_back_request_with_a_renewed_sessions_cookie_revokes_nobody() {
    let app = app();
    let cookie = alice(&app).await;
    let next = renewed(&app, &cookie).await;
    app.pass(61);
    let head = Head { body: secure_sessions::BodySize::Unknown, ..Head::with(Some(&cookie)) };
    let (_, session) = app.try_request(&head).await.unwrap();
    assert!(session.subject().is_none());
    assert_eq!(subject(&app, &next).await.as_deref(), Some("alice"));
}

#[tokio::test]
async fn another_subjects_login_inherits_nothing() {
    let app = app();
    let cookie = app
        .visit(None, |session| {
            session.login("alice").unwrap();
            session.insert("secret", 1).unwrap();
            session.flash(FlashLevel::Info, "for alice").unwrap();
            session.set_label("alice's").unwrap();
            session.set_persistent(true).unwrap();
            session.set_lifetime(std::time::Duration::from_secs(100 * 86_400)).unwrap();
        })
        .await
        .unwrap();
    let (request, session) = app.request(Some(&cookie)).await;
    session.login("bob").unwrap();
    assert!(session.is_empty(), "at once");
    let reply = request.finish(200).await;
    let whole = support::header(reply.as_ref(), "set-cookie").unwrap();
    assert!(!whole.contains("Max-Age"), "{whole}");
    let bob = set_cookie(reply.as_ref()).unwrap();
    let (_, session) = app.request(Some(&bob)).await;
    assert_eq!((session.subject().as_deref(), session.is_empty()), (Some("bob"), true));
    assert_eq!(session.take_flashes().unwrap(), []);
    let [info] = session.sessions().await.unwrap().try_into().unwrap();
    assert_eq!(info.label, None);
    assert!(info.expires_at.since(info.created_at) <= secure_sessions::Millis::from_secs(8 * 3600));
    assert_eq!(subject(&app, &cookie).await, None);
    // The old cookie of alice's says nothing of bob.
    app.pass(120);
    assert_eq!(subject(&app, &cookie).await, None);
    assert_eq!(subject(&app, &bob).await.as_deref(), Some("bob"));
}

#[tokio::test]
async fn another_subjects_login_stands_and_falls_with_the_response() {
    let app = app();
    let cookie = alice(&app).await;
    let (request, session) = app.request(Some(&cookie)).await;
    session.login("bob").unwrap();
    assert_eq!(set_cookie(request.finish(500).await.as_ref()), None);
    assert_eq!(subject(&app, &cookie).await.as_deref(), Some("alice"));
}

#[tokio::test]
async fn another_subjects_login_ends_a_session_that_is_renewed_meanwhile() {
    let app = app();
    let cookie = alice(&app).await;
    let (request, session) = app.request(Some(&cookie)).await;
    session.login("bob").unwrap();
    let stolen = renewed(&app, &cookie).await;
    let bob = set_cookie(request.finish(200).await.as_ref()).unwrap();
    assert_eq!(subject(&app, &stolen).await, None);
    assert_eq!(subject(&app, &bob).await.as_deref(), Some("bob"));
}

#[tokio::test]
async fn a_login_as_the_same_subject_keeps_its_data() {
    let app = app();
    let cookie = alice(&app).await;
    let cookie = app.visit(Some(&cookie), |session| session.insert("n", 1).unwrap()).await.unwrap();
    let again = app.visit(Some(&cookie), |session| session.login("alice").unwrap()).await.unwrap();
    assert_eq!(app.request(Some(&again)).await.1.get::<u64>("n").unwrap(), Some(1));
}

#[tokio::test]
async fn two_hundred_responses_at_once_hand_out_no_cookie_that_revokes() {
    let app = app();
    let cookie = app.visit(None, |session| session.insert("n", 0).unwrap()).await.unwrap();
    let mut under_way = Vec::new();
    for _ in 0..200 {
        let (request, session) = app.request(Some(&cookie)).await;
        session.update("n", |n: &mut u64| *n += 1).unwrap();
        under_way.push(request);
    }
    let mut handed_out = Vec::new();
    for request in under_way {
        handed_out.push(set_cookie(request.finish(200).await.as_ref()).unwrap());
    }
    for cookie in &handed_out {
        app.request(Some(cookie)).await;
    }
    assert!(app.event_names().contains(&"crowded_out") && !app.event_names().contains(&"replayed"));
    let (_, session) = app.request(handed_out.last().map(String::as_str)).await;
    assert_eq!(session.get::<u64>("n").unwrap(), Some(200));
    // One that was pushed out is refused, and does not replace what the browser may be about to get.
    let crowded_out = handed_out.first().unwrap();
    let (request, session) = app.request(Some(crowded_out)).await;
    assert!(session.is_new() && !session.was_ended());
    session.insert("n", 7).unwrap();
    assert_eq!(set_cookie(request.finish(200).await.as_ref()), None);
}

/// A browser that presents two live sessions of alice and bob.
async fn ambiguous(app: &App) -> (Head, [String; 2]) {
    let one = alice(app).await;
    let two = app.visit(None, |session| session.login("bob").unwrap()).await.unwrap();
    let mut head = Head::with(Some(&one));
    head.cookies.push(format!("session={two}"));
    (head, [one, two])
}

#[tokio::test]
async fn logout_ends_every_live_session_that_the_request_presented() {
    for end in [ENDINGS[0], ENDINGS[2]] {
        let app = app();
        let (head, cookies) = ambiguous(&app).await;
        let (request, session) = app.try_request(&head).await.unwrap();
        assert!(session.subject().is_none());
        end(&session);
        assert_eq!(set_cookie(request.finish(200).await.as_ref()).as_deref(), Some(""));
        for cookie in cookies {
            assert_eq!(subject(&app, &cookie).await, None);
        }
        assert_eq!(app.store.count().await.unwrap(), 0);
    }
}

#[tokio::test]
async fn login_ends_every_live_session_that_the_request_presented() {
    let app = app();
    let (head, cookies) = ambiguous(&app).await;
    let (request, session) = app.try_request(&head).await.unwrap();
    session.login("carol").unwrap();
    let carol = set_cookie(request.finish(200).await.as_ref()).unwrap();
    for cookie in &cookies {
        assert_eq!(subject(&app, cookie).await, None);
    }
    let replaced = |event: &Event| matches!(event, Event::Ended { reason: EndReason::Replaced, .. });
    assert_eq!(app.events.lock().unwrap().iter().filter(|event| replaced(event)).count(), 2);
    // Next to what the browser still sends, the new session is the only one that lives.
    let head =
        Head { cookies: [&cookies[..], &[carol]].concat().iter().map(|c| format!("session={c}")).collect(), ..head };
    let (_, session) = app.try_request(&head).await.unwrap();
    assert_eq!(session.subject().as_deref(), Some("carol"));
}

#[tokio::test]
async fn a_login_that_fails_leaves_the_presented_sessions_as_they_are() {
    let app = app();
    let (head, cookies) = ambiguous(&app).await;
    let (request, session) = app.try_request(&head).await.unwrap();
    session.login("carol").unwrap();
    assert_eq!(set_cookie(request.finish(500).await.as_ref()), None);
    assert_eq!(subject(&app, &cookies[0]).await.as_deref(), Some("alice"));
}

#[tokio::test]
async fn junk_of_any_number_never_costs_the_good_cookie() {
    let app = app();
    let cookie = alice(&app).await;
    let sealed_for_another = {
        let other = app_with(|builder| builder.cookie_name("other"));
        let (request, session) = other.request(None).await;
        session.insert("n", 1).unwrap();
        let reply = request.finish(200).await;
        let whole = support::header(reply.as_ref(), "set-cookie").unwrap();
        whole.trim_start_matches("other=").split(';').next().unwrap().to_owned()
    };
    for junk in ["x".to_owned(), "A".repeat(400), sealed_for_another, String::new()] {
        let mut values = vec![format!("session={junk}"); 20];
        values.push(format!("session={cookie}"));
        let head = Head { cookies: vec![values.join("; ")], ..Head::with(None) };
        let (request, session) = app.try_request(&head).await.unwrap();
        assert_eq!(session.subject().as_deref(), Some("alice"), "{junk}");
        assert_eq!(set_cookie(request.finish(200).await.as_ref()), None);
    }
}

#[tokio::test]
async fn more_live_sessions_than_are_asked_about_remove_no_cookie() {
    let app = app();
    let mut cookies = Vec::new();
    for n in 0..6 {
        let cookie = app.visit(None, |session| session.insert("n", n).unwrap()).await.unwrap();
        cookies.push(format!("session={cookie}"));
    }
    let head = Head { cookies, ..Head::with(None) };
    let (request, session) = app.try_request(&head).await.unwrap();
    assert!(session.is_new());
    assert_eq!(set_cookie(request.finish(200).await.as_ref()), None);
    assert_eq!(app.events.lock().unwrap().last(), Some(&Event::Ambiguous { count: 4 }));
}

#[tokio::test]
async fn a_blank_behind_the_value_does_not_remove_a_good_cookie() {
    let app = app();
    let cookie = alice(&app).await;
    for blank in [" ", "\t", "  "] {
        let head = Head { cookies: vec![format!("session={cookie}{blank}; a=b")], ..Head::with(None) };
        let (request, session) = app.try_request(&head).await.unwrap();
        assert!(session.is_new());
        assert_eq!(set_cookie(request.finish(200).await.as_ref()), None);
    }
}

#[tokio::test]
async fn a_token_of_a_later_version_is_left_alone_with_an_event() {
    let app = app();
    for first in ["Ag", "_w"] {
        let later = format!("{first}{}", "A".repeat(398));
        let (request, session) = app.request(Some(&later)).await;
        assert!(session.is_new());
        assert_eq!(set_cookie(request.finish(200).await.as_ref()), None);
        assert_eq!(app.event_names().last(), Some(&"unknown_key"));
    }
    assert_eq!(app.events.lock().unwrap().first(), Some(&Event::LaterVersion { version: 2 }));
}

#[tokio::test]
async fn what_is_written_after_a_logout_begins_a_new_session() {
    let app = app();
    let cookie = alice(&app).await;
    let cookie = app.visit(Some(&cookie), |session| session.insert("secret", 1).unwrap()).await.unwrap();
    let (_, session) = app.request(Some(&cookie)).await;
    let old = session.id();
    let next = app
        .visit(Some(&cookie), |session| {
            session.logout().unwrap();
            assert!(session.is_new() && session.id().is_none() && session.is_empty());
            session.flash(FlashLevel::Info, "You have been logged out.").unwrap();
            session.insert("language", "de").unwrap();
        })
        .await
        .unwrap();
    assert_eq!(subject(&app, &cookie).await, None, "the old cookie stays dead");
    let (_, session) = app.request(Some(&next)).await;
    assert_ne!(session.id(), old);
    assert_eq!((session.subject(), session.keys()), (None, vec!["language".to_owned()]));
    assert_eq!(session.take_flashes().unwrap().len(), 1);
}

#[tokio::test]
async fn a_failed_response_discards_what_follows_a_logout_and_keeps_the_logout() {
    let app = app();
    let cookie = alice(&app).await;
    let (request, session) = app.request(Some(&cookie)).await;
    session.logout().unwrap();
    session.insert("language", "de").unwrap();
    assert_eq!(set_cookie(request.finish(500).await.as_ref()).as_deref(), Some(""));
    assert_eq!(app.store.count().await.unwrap(), 0);
}

#[tokio::test]
async fn nothing_is_kept_after_a_logout_that_another_request_was_faster_with() {
    // The browser may hold a newer login's cookie by now.
    let app = app();
    let cookie = alice(&app).await;
    let (request, session) = app.request(Some(&cookie)).await;
    app.visit(Some(&cookie), |session| session.logout().unwrap()).await;
    session.logout().unwrap();
    session.insert("language", "de").unwrap();
    assert_eq!(set_cookie(request.finish(200).await.as_ref()), None);
    assert_eq!(app.store.count().await.unwrap(), 0);
}

#[tokio::test]
async fn logout_keeping_data_carries_the_newest_data_and_nothing_else() {
    for status in [200, 500] {
        let app = app();
        let cookie = alice(&app).await;
        let cookie = app.visit(Some(&cookie), |session| session.insert("basket", 1).unwrap()).await.unwrap();
        let (request, session) = app.request(Some(&cookie)).await;
        session.insert("address", "Street 1").unwrap();
        session.logout_keeping_data().unwrap();
        assert_eq!((session.subject(), session.get::<u64>("basket").unwrap()), (None, Some(1)));
        session.remove("address").unwrap();
        session.insert("language", "de").unwrap();
        // Another request of the session commits in between.
        app.visit(Some(&cookie), |session| session.update("basket", |n: &mut u64| *n += 1).unwrap()).await;
        let next = set_cookie(request.finish(status).await.as_ref()).unwrap();
        let (_, session) = app.request(Some(&next)).await;
        let expected = if status == 200 { vec!["basket", "language"] } else { vec!["basket"] };
        assert_eq!((session.subject(), session.keys()), (None, expected.into_iter().map(str::to_owned).collect()));
        assert_eq!(session.get::<u64>("basket").unwrap(), Some(2));
        assert_eq!(subject(&app, &cookie).await, None);
        // It began as an anonymous session: its old cookie is no replay of anything.
        app.pass(120);
        assert_eq!(subject(&app, &cookie).await, None);
        assert!(!app.request(Some(&next)).await.1.is_new());
    }
}

#[tokio::test]
async fn logout_keeping_data_of_a_session_that_ended_begins_no_new_one() {
    let app = app();
    let cookie = app.visit(None, |session| session.insert("basket", 1).unwrap()).await.unwrap();
    let (request, session) = app.request(Some(&cookie)).await;
    app.visit(Some(&cookie), |session| session.logout().unwrap()).await;
    session.logout_keeping_data().unwrap();
    assert_eq!(set_cookie(request.finish(200).await.as_ref()), None);
    assert_eq!(app.store.count().await.unwrap(), 0);
}

#[tokio::test]
async fn a_dead_cookie_from_a_client_that_the_binding_refuses_revokes_nobody() {
    let app = app_with(|builder| builder.bind_to(Binding::new().user_agent()));
    let at = |cookie: &str, agent: &str| {
        let mut head = Head::with(Some(cookie));
        head.headers.push(("user-agent", agent.to_owned()));
        head
    };
    let mut login = Head::with(None);
    login.headers.push(("user-agent", "Firefox".to_owned()));
    let (request, session) = app.try_request(&login).await.unwrap();
    session.login("alice").unwrap();
    let first = set_cookie(request.finish(200).await.as_ref()).unwrap();
    // By a rotation, and by a renewal.
    let changes: [fn(&Session); 2] = [|session| session.insert("n", 1).unwrap(), |session| session.renew().unwrap()];
    for change in changes {
        let (request, session) = app.try_request(&at(&first, "Firefox")).await.unwrap();
        change(&session);
        let second = set_cookie(request.finish(200).await.as_ref());
        let Some(second) = second else { continue };
        for _ in 0..3 {
            app.pass(61);
            app.try_request(&at(&second, "Firefox")).await.unwrap();
        }
        let (_, session) = app.try_request(&at(&first, "curl")).await.unwrap();
        assert!(session.is_new());
        assert!(!app.event_names().contains(&"replayed"));
        assert_eq!(app.event_names().last(), Some(&"binding_mismatch"));
        let (_, session) = app.try_request(&at(&second, "Firefox")).await.unwrap();
        assert_eq!(session.subject().as_deref(), Some("alice"));
    }
}

#[tokio::test]
async fn a_client_that_the_binding_refuses_ends_no_session() {
    let app = app_with(|builder| builder.bind_to(Binding::new().user_agent()));
    let by = |agent: &str, cookies: &[&str]| {
        let cookies = cookies.iter().map(|cookie| format!("session={cookie}")).collect();
        Head { cookies, headers: vec![("user-agent", agent.to_owned())], ..Head::with(None) }
    };
    let login = async |agent: &str, subject: &str| {
        let (request, session) = app.try_request(&by(agent, &[])).await.unwrap();
        session.login(subject).unwrap();
        set_cookie(request.finish(200).await.as_ref()).unwrap()
    };
    let stolen = login("Firefox", "alice").await;
    let own = login("curl", "mallory").await;
    let ends = async |cookies: &[&str], end: Ends| {
        let (request, session) = app.try_request(&by("curl", cookies)).await.unwrap();
        end(&session);
        request.finish(200).await;
    };
    // Next to a good one it does not even make the request ambiguous.
    let (_, session) = app.try_request(&by("curl", &[&stolen, &own])).await.unwrap();
    assert_eq!(session.subject().as_deref(), Some("mallory"));
    ends(&[&stolen], |session| session.logout().unwrap()).await;
    ends(&[&stolen, &own], |session| session.logout().unwrap()).await;
    let again = login("curl", "mallory").await;
    ends(&[&stolen, &again], |session| session.login("carol").unwrap()).await;
    // Just renewed, so that it cannot be judged.
    let (request, session) = app.try_request(&by("Firefox", &[&stolen])).await.unwrap();
    session.renew().unwrap();
    let next = set_cookie(request.finish(200).await.as_ref()).unwrap();
    ends(&[&stolen], |session| session.logout().unwrap()).await;
    let (_, session) = app.try_request(&by("Firefox", &[&next])).await.unwrap();
    assert_eq!(session.subject().as_deref(), Some("alice"));
    // Nor does it keep an idle one alive.
    let seen = async || app.manager.sessions_of("alice").await.unwrap().first().map(|info| info.last_seen_at);
    let before = seen().await;
    app.pass(120);
    app.try_request(&by("curl", &[&next])).await.unwrap();
    assert_eq!(seen().await, before);
}

#[tokio::test]
async fn sessions_made_by_a_clock_a_day_ahead_do_not_outlive_the_absolute_limit() {
    let app = app();
    let right = app.clock.now().as_millis();
    app.clock.set_millis(right + 86_400_000);
    let old = app.visit(None, |session| session.insert("n", 1).unwrap()).await.unwrap();
    let newer = app.visit(Some(&old), |session| session.insert("n", 2).unwrap()).await.unwrap();
    app.clock.set_millis(right);
    let limit = app.clock.now().after(Millis::from_secs(8 * 3600));
    let (request, session) = app.request(Some(&newer)).await;
    assert_eq!(session.expires_at(), Some(limit));
    request.finish(200).await;
    // An old token is handed the newest for no longer than usual.
    app.pass(61);
    app.visit(Some(&newer), |_| ()).await;
    app.pass(61);
    assert!(app.request(Some(&old)).await.1.is_new());
    assert_eq!(app.event_names().last(), Some(&"replayed"));
}

#[tokio::test]
async fn a_session_made_by_a_clock_a_day_ahead_ends_at_the_limit_of_the_right_one() {
    let app = app();
    let right = app.clock.now().as_millis();
    app.clock.set_millis(right + 86_400_000);
    let mut cookie = app.visit(None, |session| session.insert("n", 1).unwrap()).await.unwrap();
    app.clock.set_millis(right);
    for _ in 0..8 * 3 {
        cookie = app.visit(Some(&cookie), |session| assert!(!session.is_new())).await.unwrap();
        app.pass(20 * 60);
    }
    assert!(app.request(Some(&cookie)).await.1.is_new());
}

#[tokio::test]
async fn a_session_that_the_store_cannot_read_is_no_reason_to_answer_503_for_ever() {
    let (store, fault) = Unreadable::new();
    let manager = secure_sessions::SessionManager::builder(secure_sessions::Keyring::generate().unwrap(), store)
        .insecure_dev()
        .build()
        .unwrap();
    let request = manager.begin();
    request.session(&Head::with(None)).await.unwrap().login("alice").unwrap();
    let cookie = set_cookie(request.finish(200).await.as_ref()).unwrap();
    fault.store(true, Ordering::Relaxed);
    let request = manager.begin();
    let session = request.session(&Head::with(Some(&cookie))).await.unwrap();
    assert!(session.subject().is_none());
    session.insert("n", 1).unwrap();
    assert_eq!(set_cookie(request.finish(200).await.as_ref()), None, "the cookie is left alone");
    let request = manager.begin();
    request.session(&Head::with(Some(&cookie))).await.unwrap().logout().unwrap();
    assert_eq!(set_cookie(request.finish(200).await.as_ref()).as_deref(), Some(""));
    assert_eq!(manager.count().await.unwrap(), 0);
}

/// A store in memory whose entries can be made unreadable.
struct Unreadable {
    store: MemoryStore,
    fault: Arc<AtomicBool>,
}

impl Unreadable {
    fn new() -> (Self, Arc<AtomicBool>) {
        let fault = Arc::new(AtomicBool::new(false));
        (Self { store: MemoryStore::new(), fault: Arc::clone(&fault) }, fault)
    }
}

impl SessionStore for Unreadable {
    forward_methods!(self => &self.store; insert, replace, renew_into, remove, list, count, remove_all, purge_expired);

    async fn load(&self, id: &SessionId) -> Result<Option<Entry>, StoreError> {
        let entry = self.store.load(id).await?;
        if entry.is_some() && self.fault.load(Ordering::Relaxed) {
            return Err(StoreError::corrupt("cut off"));
        }
        Ok(entry)
    }
}
