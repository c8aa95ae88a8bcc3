//! Handlers go on after a logout, in the same request.

use secure_sessions::{FlashLevel, SessionStore};

use super::{alice, subject};
use crate::support::{app, set_cookie};

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
