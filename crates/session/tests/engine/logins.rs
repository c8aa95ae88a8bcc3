//! Logins and logouts.

use std::time::Duration;

use secure_sessions::{
    Clock, DeviceBound, Keyring, MemoryStore, MetaError, SessionError, SessionManager, SessionStore,
};

use crate::support::{Head, app, header, set_cookie};

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
async fn a_login_that_the_same_request_ends_offers_no_device_to_anybody() {
    let builder = SessionManager::builder(Keyring::generate().unwrap(), MemoryStore::new());
    let manager = builder.device_bound(DeviceBound::new()).build().unwrap();
    manager.device_paths().unwrap(); // As an adapter does.
    let offered = |reply: Option<&_>| header(reply, "secure-session-registration").is_some();
    for ends in [false, true] {
        let request = manager.begin();
        let session = request.session(&Head::with(None)).await.unwrap();
        session.login("alice").unwrap();
        session.save().await.unwrap();
        if ends {
            session.logout().unwrap();
            session.insert("n", 1).unwrap();
        }
        assert_eq!(offered(request.finish(200).await.as_ref()), !ends);
    }
}
