//! Requests that present several cookies, or cookies that are no use.

use secure_sessions::{Binding, EndReason, Event, Session, SessionStore};

use super::{ENDINGS, Ends, alice, subject};
use crate::support::{App, Head, app, app_with, set_cookie};

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
        let whole = crate::support::header(reply.as_ref(), "set-cookie").unwrap();
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
async fn a_thief_who_changes_without_pause_is_noticed_once_they_pause() {
    let app = app();
    let owner = alice(&app).await;
    let mut thief = owner.clone();
    // More than a bucket remembers, within each grace, for ten minutes.
    for change in 0..1300 {
        app.clock.advance(std::time::Duration::from_millis(460));
        thief = app.visit(Some(&thief), |session| session.insert("n", change).unwrap()).await.unwrap();
    }
    assert_eq!(subject(&app, &owner).await, None, "the owner is refused");
    assert_eq!(app.event_names().last(), Some(&"crowded_out"), "and nobody is accused");
    assert_eq!(subject(&app, &thief).await.as_deref(), Some("alice"));
    for _ in 0..2 {
        app.pass(61);
        assert_eq!(subject(&app, &thief).await.as_deref(), Some("alice"));
    }
    assert_eq!(subject(&app, &owner).await, None);
    assert!(matches!(app.events.lock().unwrap().last(), Some(Event::Replayed { revoked: true, .. })));
    assert_eq!(subject(&app, &thief).await, None);
}
