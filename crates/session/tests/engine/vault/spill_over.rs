//! Values that are too large for the cookie.

use secure_sessions::{BuildError, Keyring, SessionError, SessionManager};

use super::read;
use crate::support::shelf::Shelf;
use crate::support::{App, app_with};

fn app_that_spills(bytes: usize) -> (App, Shelf) {
    let shelf = Shelf::default();
    let vault = shelf.clone();
    (app_with(move |builder| builder.vault(vault).spill_over(bytes)), shelf)
}

#[tokio::test]
async fn a_large_value_spills_over_and_is_never_taken_for_absent() {
    let (app, shelf) = app_that_spills(100);
    let large = "x".repeat(8000);
    let mut cookie = app
        .visit(None, |session| {
            session.insert("small", "y").unwrap();
            session.insert("tokens", &large).unwrap();
            assert_eq!(session.get::<String>("small").unwrap().as_deref(), Some("y"));
        })
        .await
        .unwrap();
    let (_, session) = app.request(Some(&cookie)).await;
    assert_eq!(session.keys(), ["small", "tokens"]);
    assert!(session.contains_key("tokens"));
    assert_eq!(shelf.calls(), ["put"]);
    for error in [
        session.get::<String>("tokens").unwrap_err(),
        session.take::<String>("tokens").unwrap_err(),
        session.update("tokens", |text: &mut String| text.clear()).unwrap_err(),
        session.take_once::<String>("tokens").await.unwrap_err(),
    ] {
        assert!(matches!(&error, SessionError::InVault { key } if &**key == "tokens"), "{error}");
        assert!(error.to_string().contains("session.vault().get(\"tokens\").await"), "{error}");
        assert_eq!(error.status(), 500);
    }
    for key in ["tokens", "small"] {
        assert!(session.vault().get::<String>(key).await.unwrap().is_some(), "either place: {key}");
    }
    assert_eq!(session.vault().take::<String>("tokens").await.unwrap(), Some(large.clone()));
    assert_eq!(session.get::<String>("tokens").unwrap(), None);

    // A smaller value comes back into the cookie, and a larger one moves again.
    cookie = app.visit(Some(&cookie), |session| session.insert("tokens", "short").unwrap()).await.unwrap();
    assert_eq!(shelf.count(), 0);
    assert_eq!(app.request(Some(&cookie)).await.1.get::<String>("tokens").unwrap().as_deref(), Some("short"));
    cookie = app.visit(Some(&cookie), |session| session.insert("tokens", &large).unwrap()).await.unwrap();
    assert_eq!(read(&app, &cookie, "tokens").await.unwrap(), Some(large));
    cookie = app.visit(Some(&cookie), |session| assert!(session.remove("tokens").unwrap())).await.unwrap();
    assert_eq!((shelf.count(), read(&app, &cookie, "tokens").await.unwrap()), (0, None));
}

#[tokio::test]
async fn an_update_in_the_vault_takes_a_small_value_over_from_the_cookie() {
    let (app, shelf) = app_that_spills(100);
    let cookie = app.visit(None, |session| session.insert("notes", vec!["one"]).unwrap()).await.unwrap();
    let mut requests = Vec::new();
    for number in 2..4 {
        let (request, session) = app.request(Some(&cookie)).await;
        let add = move |notes: &mut Vec<String>| notes.push(number.to_string());
        session.vault().update("notes", add).await.unwrap();
        requests.push(request);
    }
    for request in requests {
        let _ = request.finish(200).await;
    }
    let (_, session) = app.request(Some(&cookie)).await;
    assert_eq!(session.vault().get::<Vec<String>>("notes").await.unwrap().unwrap(), ["one", "2", "3"]);
    assert_eq!(shelf.count(), 1);
}

#[test]
fn spill_over_without_a_vault_is_a_configuration_error() {
    let builder = SessionManager::builder(Keyring::generate().unwrap(), secure_sessions::MemoryStore::new());
    assert!(matches!(builder.spill_over(1024).build(), Err(BuildError::NoVault)));
}
