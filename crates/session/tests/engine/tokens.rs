//! Tokens and keys: replays, CSRF tokens, and keys that are replaced.

use secure_sessions::{Keyring, Session};

use crate::support::{App, Head, app, app_with, set_cookie};

/// Returns a cookie that was stolen, and the newest one of the same session, by which the stolen one is dead.
async fn stolen_and_newest(app: &App) -> [Option<String>; 2] {
    let stolen = app.visit(None, |session| session.insert("n", 1).unwrap()).await;
    let second = app.visit(stolen.as_deref(), |session| session.insert("n", 2).unwrap()).await;
    app.pass(61);
    let newest = app.visit(second.as_deref(), |session| session.insert("n", 3).unwrap()).await;
    app.pass(61);
    [stolen, newest]
}

#[tokio::test]
async fn a_dead_token_is_a_replay_and_ends_the_session() {
    let app = app();
    let [stolen, newest] = stolen_and_newest(&app).await;
    let (_, session) = app.request(stolen.as_deref()).await;
    assert!(session.is_new() && session.was_ended());
    assert_eq!(app.event_names().last(), Some(&"replayed"));
    let (_, session) = app.request(newest.as_deref()).await;
    assert!(session.is_new(), "the newer holder is out too");
}

#[tokio::test]
async fn a_replay_with_a_large_body_is_refused_without_ending_the_session() {
    let app = app();
    let [stolen, newest] = stolen_and_newest(&app).await;
    let mut head = Head::with(stolen.as_deref());
    head.body = secure_sessions::BodySize::Exact(64 * 1024 + 1);
    let (_, session) = app.try_request(&head).await.unwrap();
    assert!(session.is_new());
    let (_, session) = app.request(newest.as_deref()).await;
    assert_eq!(session.get::<u64>("n").unwrap(), Some(3));
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

fn set_keys(app: &App, seal: &str, fingerprint: &str, compromised: &str) {
    app.manager.set_keyring(Keyring::from_text(seal, fingerprint, compromised).unwrap()).unwrap();
}

/// Logs alice in at a device with this label.
async fn alice_at(app: &App, device: &str) -> Option<String> {
    let log_in = |session: &Session| {
        session.login("alice").unwrap();
        session.set_label(device).unwrap();
    };
    app.visit(None, log_in).await
}

#[tokio::test]
async fn an_accepted_key_opens_and_a_compromised_one_is_replaced_at_once() {
    let (seal, fingerprint) = Keyring::generate_texts().unwrap();
    let (new_seal, new_fingerprint) = Keyring::generate_texts().unwrap();
    let app = app();
    set_keys(&app, &seal, &fingerprint, "");
    let cookie = alice_at(&app, "laptop").await;
    let both = |new: &str, old: &str| format!("{new} {old}");
    set_keys(&app, &both(&new_seal, &seal), &both(&new_fingerprint, &fingerprint), "");
    let same = app.visit(cookie.as_deref(), |session| assert_eq!(session.subject().as_deref(), Some("alice"))).await;
    assert_eq!(same, cookie, "sealed again at the next rotation, not before");
    set_keys(&app, &new_seal, &new_fingerprint, &both(&seal, &fingerprint));
    let next = app.visit(cookie.as_deref(), |session| assert_eq!(session.subject().as_deref(), Some("alice"))).await;
    assert_ne!(next, cookie);
    set_keys(&app, &new_seal, &new_fingerprint, "");
    let (_, session) = app.request(next.as_deref()).await;
    assert_eq!(session.subject().as_deref(), Some("alice"));
    assert_eq!(session.sessions().await.unwrap()[0].label.as_deref(), Some("laptop"));
}

#[tokio::test]
async fn a_manager_told_to_refuse_replays_leaves_the_session_alone() {
    let app = app_with(|builder| builder.on_replay(secure_sessions::OnReplay::Refuse));
    let [stolen, newest] = stolen_and_newest(&app).await;
    let (_, session) = app.request(stolen.as_deref()).await;
    assert!(session.is_new());
    assert_eq!(app.event_names().last(), Some(&"replayed"));
    let (_, session) = app.request(newest.as_deref()).await;
    assert_eq!(session.get::<u64>("n").unwrap(), Some(3));
}

#[tokio::test]
async fn keys_replaced_while_a_handler_runs_keep_the_subject_and_the_label() {
    let (seal, fingerprint) = Keyring::generate_texts().unwrap();
    let (_, new_fingerprint) = Keyring::generate_texts().unwrap();
    let app = app();
    set_keys(&app, &seal, &fingerprint, "");
    let cookie = alice_at(&app, "phone").await;
    let both = format!("{} {}", *new_fingerprint, *fingerprint);
    let cookie = app
        .visit(cookie.as_deref(), |session| {
            set_keys(&app, &seal, &both, "");
            session.insert("n", 1).unwrap();
        })
        .await;
    // The old key goes for good.
    set_keys(&app, &seal, &new_fingerprint, "");
    app.visit(cookie.as_deref(), |session| {
        assert_eq!((session.subject().as_deref(), session.get("n").unwrap()), (Some("alice"), Some(1)));
    })
    .await;
    let listed = app.manager.sessions_of("alice").await.unwrap();
    assert_eq!(listed.iter().map(|session| session.label.as_deref()).collect::<Vec<_>>(), [Some("phone")]);
    assert!(!app.event_names().contains(&"store_tampered"));
}
