//! Logins that end another session.

use secure_sessions::FlashLevel;

use super::{alice, renewed, subject};
use crate::support::{app, set_cookie};

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
    let whole = crate::support::header(reply.as_ref(), "set-cookie").unwrap();
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
