//! Endings beside renewals: the cookie of before, and the session that it became.

use secure_sessions::{Event, SessionError, SessionStore};

use super::{ENDINGS, alice, renewed, subject};
use crate::support::{Head, app, set_cookie};

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
