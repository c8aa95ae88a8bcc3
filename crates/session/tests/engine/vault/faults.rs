//! Vaults that fail, lose values or break their contract.

use std::sync::Arc;
use std::time::Duration;

use secure_sessions::store::{BlobId, Timestamp, VaultId, forward_vault_methods};
use secure_sessions::{Event, Keyring, ManualClock, Session, SessionError, SessionManager, StoreError, VaultStore};

use super::{app, expect, keep, read};
use crate::support::faulty::Faulty;
use crate::support::shelf::Shelf;
use crate::support::{App, app_with, set_cookie};

#[tokio::test]
async fn a_lost_value_is_a_typed_error_and_the_rest_of_the_session_is_untouched() {
    let (app, shelf) = app();
    let mut cookie = keep(&app, None, "a", "one").await;
    cookie = app.visit(Some(&cookie), |session| session.insert("n", 7).unwrap()).await.unwrap();
    cookie = keep(&app, Some(&cookie), "b", "two").await;
    let (_, session) = app.request(Some(&cookie)).await;
    let stored = shelf.content().blobs.clone();
    for altered in [false, true] {
        let alter: &dyn Fn(&mut Vec<u8>) = &|bytes| *bytes.last_mut().unwrap() ^= 1;
        shelf.content().blobs = stored.clone();
        if altered {
            shelf.content().blobs.values_mut().for_each(|(_, bytes)| alter(bytes));
        } else {
            shelf.content().blobs.clear();
        }
        app.events.lock().unwrap().clear();
        let error = session.vault().get::<String>("a").await.unwrap_err();
        assert!(matches!(&error, SessionError::VaultLost { key } if &**key == "a"), "{error}");
        assert!(error.to_string().contains("`a`"), "{error}");
        let session_lost = session.id().unwrap();
        assert_eq!(app.events.lock().unwrap()[..], [Event::VaultLost { session: session_lost, altered }]);
        assert_eq!(session.get("n").unwrap(), Some(7));
    }
    // Each of the two blobs in the place of the other.
    let names: Vec<_> = stored.keys().copied().collect();
    shelf.content().blobs = names.iter().rev().zip(stored.values()).map(|(name, blob)| (*name, blob.clone())).collect();
    assert!(matches!(session.vault().get::<String>("a").await, Err(SessionError::VaultLost { .. })));
    // Cut, and of no length at all.
    for length in [0, 1, 17, 100] {
        shelf.content().blobs = stored.clone();
        shelf.content().blobs.values_mut().for_each(|(_, bytes)| bytes.truncate(length));
        assert!(matches!(session.vault().get::<String>("a").await, Err(SessionError::VaultLost { .. })), "{length}");
    }
    // The key can be written again, and everything else goes on.
    cookie = keep(&app, Some(&cookie), "a", "new").await;
    expect(&app, &cookie, "a", "new").await;
}

/// Runs `step` in a request whose commit fails as planned, then commits again.
async fn fail_once(
    plan: impl Fn(&Faulty, &Shelf),
    begin: fn(&Session),
    step: fn(&Session),
) -> (App, Shelf, Option<String>) {
    let (store, shelf) = (Faulty::alone(), Shelf::default());
    let builder = SessionManager::builder(Keyring::generate().unwrap(), store.clone());
    let manager = builder.insecure_dev().vault(shelf.clone()).build().unwrap();
    let app = App { manager, store: store.store.clone(), clock: ManualClock::at_present(), events: Arc::default() };
    let cookie = app.visit(None, begin).await.unwrap();
    plan(&store, &shelf);
    let (request, session) = app.request(Some(&cookie)).await;
    step(&session);
    let failed = session.save().await;
    store.heal();
    shelf.heal();
    let reply = request.finish(200).await;
    assert!(reply.as_ref().is_some_and(|reply| reply.failure().is_none()), "{failed:?}");
    let cookie = set_cookie(reply.as_ref()).unwrap_or(cookie);
    (app, shelf, Some(cookie).filter(|cookie| !cookie.is_empty()))
}

#[tokio::test]
async fn whichever_call_fails_before_or_after_its_effect_no_reference_dangles() {
    let begin = |session: &Session| {
        session.vault().insert("a", "old").unwrap();
        session.vault().insert("stays", "there").unwrap();
    };
    type Step = fn(&Session);
    let steps: [(Step, &str); 3] = [
        (|session| session.vault().insert("a", "new").unwrap(), "new"),
        (
            |session| {
                session.vault().insert("a", "new").unwrap();
                session.login("alice").unwrap();
            },
            "new",
        ),
        (|session| session.login("alice").unwrap(), "old"),
    ];
    for carried_out in [false, true] {
        for (step, expected) in steps {
            for call in ["put", "delete", "prolong", "replace", "renew_into", "load"] {
                let plan = |store: &Faulty, shelf: &Shelf| {
                    store.fail(call, u32::from(call == "load"), carried_out);
                    shelf.fail(call, 0, carried_out);
                };
                let (app, shelf, cookie) = fail_once(plan, begin, step).await;
                let cookie = cookie.unwrap();
                expect(&app, &cookie, "a", expected).await;
                expect(&app, &cookie, "stays", "there").await;
                // A deletion that failed is the purge's.
                let left = usize::from(call == "delete" && !carried_out && expected == "new");
                assert_eq!(shelf.count(), 2 + left, "{call}, carried out: {carried_out}");
                app.visit(Some(&cookie), |session| session.logout().unwrap()).await;
                assert_eq!(shelf.count(), 0, "{call}, carried out: {carried_out}");
            }
        }
    }
}

#[tokio::test]
async fn a_failed_deletion_at_logout_is_left_to_the_purge() {
    for carried_out in [false, true] {
        let begin = |session: &Session| session.vault().insert("a", "one").unwrap();
        let plan = |_: &Faulty, shelf: &Shelf| shelf.fail("delete_all", 0, carried_out);
        let (app, shelf, cookie) = fail_once(plan, begin, |session| session.logout().unwrap()).await;
        assert_eq!((cookie, shelf.count()), (None, usize::from(!carried_out)));
        let purge = app.manager.spawn_purge();
        while shelf.content().calls.iter().all(|call| *call != "purge") {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(shelf.count(), usize::from(!carried_out), "it is not due yet");
        purge.stop().await;
        shelf.purge(Timestamp::from_millis(u64::MAX), 100).await.unwrap();
        assert_eq!(shelf.count(), 0);
    }
}

#[tokio::test]
async fn a_store_that_fails_while_reading_is_a_typed_error_and_an_event() {
    let (app, shelf) = app();
    let cookie = keep(&app, None, "a", "one").await;
    shelf.fail("get", 0, false);
    assert!(matches!(read(&app, &cookie, "a").await, Err(SessionError::Store(_))));
    assert!(app.event_names().contains(&"store_error"));
    expect(&app, &cookie, "a", "one").await;
}

/// A vault that answers with fewer blobs than it was asked for, against its contract.
struct Short(Shelf);

impl VaultStore for Short {
    forward_vault_methods!(self => &self.0; put, delete, delete_all, prolong, purge);

    async fn get(&self, _: &VaultId, _: &[BlobId]) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        Ok(Vec::new())
    }
}

#[tokio::test]
async fn a_vault_that_breaks_its_contract_loses_values_and_nothing_else() {
    let app = app_with(|builder| builder.vault(Short(Shelf::default())));
    let cookie = keep(&app, None, "a", "one").await;
    assert!(matches!(read(&app, &cookie, "a").await, Err(SessionError::VaultLost { .. })));
}
