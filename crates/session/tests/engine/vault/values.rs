//! Values that are put, read, changed and refused.

use std::sync::Arc;

use secure_sessions::{
    Builder, Keyring, MAX_VAULT_VALUE_LEN, ManualClock, Session, SessionError, SessionManager, VaultError, testing,
};

use super::{app, expect, keep, read};
use crate::support::{App, set_cookie};

#[tokio::test]
async fn a_private_value_is_read_back_at_once_and_by_the_next_request() {
    let (app, shelf) = app();
    let (request, session) = app.request(None).await;
    let vault = session.vault();
    assert_eq!(vault.get::<String>("a").await.unwrap(), None);
    vault.insert("a", "one").unwrap();
    assert_eq!(vault.get::<String>("a").await.unwrap().as_deref(), Some("one"));
    assert!(vault.contains_key("a") && session.contains_key("a") && !session.is_empty());
    assert_eq!((vault.keys(), session.keys()), (vec!["a".to_owned()], vec!["a".to_owned()]));
    assert_eq!(shelf.calls(), Vec::<&str>::new(), "nothing is put before the commit, and nothing read");
    let cookie = set_cookie(request.finish(200).await.as_ref()).unwrap();
    assert_eq!((shelf.calls(), shelf.count()), (vec!["put"], 1));
    expect(&app, &cookie, "a", "one").await;
    assert_eq!(shelf.calls(), ["get"]);
    assert!(matches!(app.request(Some(&cookie)).await.1.vault().get::<u64>("a").await, Err(SessionError::Data(_))));
}

#[tokio::test]
async fn many_values_are_read_in_one_round_trip() {
    let (app, shelf) = app();
    let cookie = app
        .visit(None, |session| {
            for number in 0..10 {
                session.vault().insert(&number.to_string(), number).unwrap();
            }
            session.insert("small", 99).unwrap();
        })
        .await
        .unwrap();
    assert_eq!(shelf.calls(), ["put"], "all of them in one put");
    let (_, session) = app.request(Some(&cookie)).await;
    let values = session.vault().get_many::<u64>(&["7", "absent", "3", "small"]).await.unwrap();
    assert_eq!(values, [Some(7), None, Some(3), Some(99)]);
    assert_eq!(shelf.calls(), ["get"]);
}

#[tokio::test]
async fn a_replaced_or_removed_value_is_deleted_after_the_swap() {
    let (app, shelf) = app();
    let mut cookie = keep(&app, None, "a", "one").await;
    cookie = keep(&app, Some(&cookie), "a", "two").await;
    assert_eq!((shelf.calls(), shelf.count()), (vec!["put", "put", "delete"], 1));
    expect(&app, &cookie, "a", "two").await;
    cookie = app.visit(Some(&cookie), |session| assert!(session.vault().remove("a").unwrap())).await.unwrap();
    assert_eq!((shelf.count(), read(&app, &cookie, "a").await.unwrap()), (0, None));
    cookie = keep(&app, Some(&cookie), "a", "three").await;
    cookie = app.visit(Some(&cookie), |session| session.clear().unwrap()).await.unwrap();
    assert_eq!((shelf.count(), read(&app, &cookie, "a").await.unwrap()), (0, None));
    // A value that is replaced within its request is never put.
    shelf.calls();
    let step = |session: &Session| {
        session.vault().insert("a", "one").unwrap();
        session.vault().insert("a", "two").unwrap();
        session.vault().insert("b", "gone").unwrap();
        session.remove("b").unwrap();
    };
    cookie = app.visit(Some(&cookie), step).await.unwrap();
    assert_eq!((shelf.calls(), shelf.count()), (vec!["put"], 1));
    expect(&app, &cookie, "a", "two").await;
}

#[tokio::test]
async fn what_is_not_committed_leaves_nothing_behind() {
    let (app, shelf) = app();
    let cookie = keep(&app, None, "a", "one").await;
    let (request, session) = app.request(Some(&cookie)).await;
    session.vault().insert("a", "two").unwrap();
    let _ = request.finish(500).await;
    // A panic ends a request without `finish`.
    let (_, session) = app.request(Some(&cookie)).await;
    session.vault().insert("a", "three").unwrap();
    drop(session);
    let (request, session) = app.request(Some(&cookie)).await;
    session.vault().insert("a", "four").unwrap();
    session.discard();
    let _ = request.finish(200).await;
    expect(&app, &cookie, "a", "one").await;
    assert_eq!(shelf.count(), 1);
    // The session ends while a request is under way: what that one puts, it also deletes.
    let (request, session) = app.request(Some(&cookie)).await;
    session.vault().insert("b", "late").unwrap();
    app.visit(Some(&cookie), |session| session.logout().unwrap()).await;
    let reply = request.finish(200).await;
    assert_eq!(set_cookie(reply.as_ref()), None);
    assert_eq!(shelf.count(), 0);
    assert!(matches!(session.vault().get::<String>("a").await, Err(SessionError::Ended)));
}

#[tokio::test]
async fn an_update_that_changes_nothing_writes_nothing() {
    let (app, shelf) = app();
    let cookie = keep(&app, None, "a", "one").await;
    let (request, session) = app.request(Some(&cookie)).await;
    let length = session.vault().update("a", |text: &mut String| text.len()).await.unwrap();
    assert_eq!((length, set_cookie(request.finish(200).await.as_ref())), (3, None));
    assert_eq!(shelf.calls(), ["put", "get"]);
}

#[tokio::test]
async fn a_closure_that_changes_the_session_is_refused_in_the_vault_too() {
    let (app, _) = app();
    let (_, session) = app.request(None).await;
    let inner = session.clone();
    let outcome = session.vault().update("a", move |_: &mut u64| inner.vault().insert("b", 1)).await.unwrap();
    assert!(matches!(outcome, Err(SessionError::ChangedInsideUpdate)));
}

#[tokio::test]
async fn without_a_vault_each_call_that_needs_one_is_a_typed_error() {
    let app = crate::support::app();
    let (request, session) = app.request(None).await;
    let vault = session.vault();
    let refused = |error: SessionError| {
        assert!(matches!(error, SessionError::NoVault) && error.to_string().contains("vault(store)"), "{error}");
    };
    refused(vault.insert("a", 1).unwrap_err());
    refused(vault.update("a", |n: &mut u64| *n += 1).await.unwrap_err());
    assert_eq!(vault.get::<u64>("a").await.unwrap(), None, "nothing is there, and it is known without a vault");
    assert!(!vault.remove("a").unwrap());
    assert_eq!(set_cookie(request.finish(200).await.as_ref()), None);
}

#[tokio::test]
async fn a_vault_that_is_configured_no_longer_leaves_the_session_alone() {
    let (store, keyring) = (secure_sessions::MemoryStore::new(), Keyring::generate().unwrap());
    let with = |configure: fn(Builder, secure_sessions::MemoryStore) -> Builder| {
        let builder = SessionManager::builder(keyring.clone(), store.clone()).insecure_dev();
        App {
            manager: configure(builder, store.clone()).build().unwrap(),
            store: store.clone(),
            clock: ManualClock::at_present(),
            events: Arc::default(),
        }
    };
    let (with, without) = (with(|builder, store| builder.vault(store)), with(|builder, _| builder));
    let mut cookie = keep(&with, None, "a", "one").await;
    for step in [
        |session: &Session| session.insert("n", 1).unwrap(),
        |session: &Session| session.login("alice").unwrap(),
        |session: &Session| session.renew().unwrap(),
    ] {
        cookie = without.visit(Some(&cookie), step).await.unwrap();
    }
    assert!(matches!(read(&without, &cookie, "a").await, Err(SessionError::NoVault)));
    expect(&with, &cookie, "a", "one").await;
}

#[tokio::test]
async fn a_value_over_a_limit_is_refused_and_nothing_is_changed() {
    let (app, shelf) = app();
    let (request, session) = app.request(None).await;
    let vault = session.vault();
    let error = vault.insert("a", "x".repeat(MAX_VAULT_VALUE_LEN)).unwrap_err();
    let source = VaultError::ValueTooLarge { length: MAX_VAULT_VALUE_LEN + 3 };
    assert!(
        matches!(&error, SessionError::Vault { key: Some(key), source: found } if &**key == "a" && *found == source)
    );
    assert_eq!((error.status(), error.client_text()), (413, "The session is too large."));
    assert!(error.to_string().contains("`a`") && error.to_string().contains("65535"), "{error}");
    assert!(session.is_empty());

    let largest = "x".repeat(MAX_VAULT_VALUE_LEN - 3);
    for key in ["a", "b", "c", "d"] {
        vault.insert(key, &largest).unwrap();
    }
    let error = vault.insert("e", "more").unwrap_err();
    assert!(matches!(error, SessionError::Vault { source: VaultError::SessionTooLarge { .. }, .. }), "{error}");
    let error = vault.update("e", |text: &mut String| text.push_str("more")).await.unwrap_err();
    assert!(matches!(error, SessionError::Vault { source: VaultError::SessionTooLarge { .. }, .. }), "{error}");
    assert_eq!(vault.keys(), ["a", "b", "c", "d"]);
    let cookie = set_cookie(request.finish(200).await.as_ref()).unwrap();
    assert_eq!(shelf.count(), 4);
    assert_eq!(read(&app, &cookie, "d").await.unwrap(), Some(largest));

    // The references themselves take room in the cookie.
    let (_, session) = app.request(None).await;
    let error = (0..64).find_map(|number| session.vault().insert(&format!("{number:0>200}"), 1).err()).unwrap();
    assert!(matches!(&error, SessionError::TooLarge { key: Some(_), .. }), "{error}");
}

#[tokio::test]
async fn a_dump_of_the_store_and_all_keys_hold_no_private_value_or_its_name() {
    let (app, shelf) = app();
    let secret = "the refresh token that nobody may read";
    let cookie = keep(&app, None, "refresh-token", secret).await;
    let dump = shelf.content().blobs.clone();
    for ((vault, id), (_, bytes)) in &dump {
        for hay in [&vault.as_bytes()[..], id.as_bytes(), bytes] {
            for needle in [secret.as_bytes(), b"refresh-token"] {
                assert!(!hay.windows(needle.len()).any(|window| window == needle));
            }
        }
    }
    // The store's own copy alone opens nothing: another session with the same blobs under the same names reads none.
    let other = keep(&app, None, "refresh-token", "another").await;
    let (_, bytes) = dump.values().next().unwrap();
    shelf.content().blobs.values_mut().for_each(|(_, kept)| kept.clone_from(bytes));
    assert!(matches!(read(&app, &other, "refresh-token").await, Err(SessionError::VaultLost { .. })));
    expect(&app, &cookie, "refresh-token", secret).await;
}

#[tokio::test]
async fn blobs_of_the_same_size_class_are_as_long_as_each_other() {
    let (app, shelf) = app();
    for length in [1, 100, 250] {
        keep(&app, None, "a", &"x".repeat(length)).await;
    }
    let lengths: Vec<_> = shelf.content().blobs.values().map(|(_, bytes)| bytes.len()).collect();
    assert_eq!(lengths, [273; 3]);
}

#[tokio::test]
async fn the_testing_manager_has_a_vault() {
    let (manager, _) = testing::manager();
    let begun = testing::session(&manager).with(|session| session.vault().insert("a", 7));
    let cookie = begun.cookie().await.unwrap();
    let session = testing::look(&manager, &cookie).await.unwrap();
    assert_eq!(session.vault().get::<u64>("a").await.unwrap(), Some(7));
}
