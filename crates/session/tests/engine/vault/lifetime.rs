//! A vault lives as long as its session: through logins and renewals, and until the session ends.

use std::sync::Arc;
use std::time::Duration;

use secure_sessions::store::{SessionId, Which, forward_methods};
use secure_sessions::{
    Keyring, ManualClock, MemoryStore, Session, SessionLimit, SessionManager, SessionStore, StoreError, VaultStore,
};
use tokio::sync::Barrier;

use super::{app, expect, keep, read};
use crate::support::shelf::Shelf;
use crate::support::{App, app_with, set_cookie};

#[tokio::test]
async fn a_session_without_private_values_asks_the_vault_at_its_logout_alone() {
    let (app, shelf) = app();
    let mut cookie = app.visit(None, |session| session.insert("n", 1).unwrap()).await.unwrap();
    cookie = app.visit(Some(&cookie), |session| session.login("alice").unwrap()).await.unwrap();
    cookie = app.visit(Some(&cookie), |session| session.update("n", |n: &mut u64| *n += 1).unwrap()).await.unwrap();
    let (_, session) = app.request(Some(&cookie)).await;
    assert_eq!((session.get("n").unwrap(), session.vault().get("n").await.unwrap()), (Some(2), Some(2)));
    app.visit(Some(&cookie), |session| session.clear().unwrap()).await.unwrap();
    assert_eq!(shelf.calls(), Vec::<&str>::new());
    app.visit(Some(&cookie), |session| session.logout().unwrap()).await;
    assert_eq!(shelf.calls(), ["delete_all"], "another request may have put one in meanwhile");
}

#[tokio::test]
async fn a_logout_deletes_the_vault_that_another_request_made_meanwhile() {
    let (app, shelf) = app();
    let cookie = app.visit(None, |session| session.login("alice").unwrap()).await.unwrap();
    let (request, session) = app.request(Some(&cookie)).await;
    session.logout().unwrap();
    keep(&app, Some(&cookie), "a", "one").await;
    assert_eq!(shelf.count(), 1);
    request.finish(200).await;
    assert_eq!(shelf.count(), 0);
}

#[tokio::test]
async fn a_logout_that_a_login_outran_takes_none_of_its_values() {
    type Change = fn(&Session);
    let changes: [Change; 3] = [
        |session| session.vault().insert("a", "two").unwrap(),
        |session| assert!(session.vault().remove("a").unwrap()),
        |session| session.clear().unwrap(),
    ];
    for change in changes {
        let (app, shelf) = app();
        let cookie = keep(&app, None, "a", "one").await;
        let (request, session) = app.request(Some(&cookie)).await;
        session.logout_keeping_data().unwrap();
        change(&session);
        let logged_in = app.visit(Some(&cookie), |session| session.login("alice").unwrap()).await.unwrap();
        request.finish(200).await;
        expect(&app, &logged_in, "a", "one").await;
        assert_eq!(shelf.count(), 1, "what it had put itself is gone");
    }
}

/// Sessions whose end waits, once they are gone, until the test has done something.
struct Slow {
    store: MemoryStore,
    step: Arc<Barrier>,
}

impl SessionStore for Slow {
    async fn remove_all(&self, which: Which<'_>, except: Option<&SessionId>) -> Result<u64, StoreError> {
        let removed = self.store.remove_all(which, except).await;
        self.step.wait().await;
        self.step.wait().await;
        removed
    }

    forward_methods!(self => &self.store; insert, load, replace, renew_into, remove, list, count, purge_expired);
}

#[tokio::test]
async fn ending_everything_spares_the_values_of_a_login_made_meanwhile() {
    let (shelf, step, clock) = (Shelf::default(), Arc::new(Barrier::new(2)), ManualClock::at_present());
    let store = MemoryStore::new();
    let slow = Slow { store: store.clone(), step: Arc::clone(&step) };
    let builder = SessionManager::builder(Keyring::generate().unwrap(), slow).insecure_dev().clock(clock.clone());
    let manager = builder.vault(shelf.clone()).build().unwrap();
    let app = App { manager, store, clock, events: Arc::default() };
    let old = alice(&app).await;
    app.pass(61);
    let manager = app.manager.clone();
    let ending = tokio::spawn(async move { manager.revoke_everything().await });
    step.wait().await;
    let new = alice(&app).await;
    step.wait().await;
    assert_eq!(ending.await.unwrap().unwrap(), 1);
    assert!(app.request(Some(&old)).await.1.is_new());
    expect(&app, &new, "a", "of alice").await;
    assert_eq!(shelf.count(), 1);
}

#[tokio::test]
async fn a_private_value_outlasts_login_and_renewal_and_goes_with_the_logout() {
    let (app, shelf) = app();
    let mut cookie = keep(&app, None, "a", "one").await;
    for step in [
        |session: &Session| session.login("alice").unwrap(),
        |session: &Session| session.renew().unwrap(),
        |session: &Session| session.insert("n", 1).unwrap(),
        |session: &Session| session.vault().insert("b", "two").unwrap(),
        |session: &Session| session.step_up(2).unwrap(),
    ] {
        cookie = app.visit(Some(&cookie), step).await.unwrap();
        expect(&app, &cookie, "a", "one").await;
    }
    assert_eq!(shelf.count(), 2);
    app.visit(Some(&cookie), |session| session.logout().unwrap()).await;
    assert_eq!(shelf.count(), 0);
}

#[tokio::test]
async fn every_way_to_end_a_session_deletes_its_vault() {
    type End = fn(&Session);
    let in_a_request: [(&str, End); 3] = [
        ("logout", |session| session.logout().unwrap()),
        ("logout everywhere", |session| session.logout_everywhere().unwrap()),
        ("another subject's login", |session| session.login("bob").unwrap()),
    ];
    for (name, end) in in_a_request {
        let (app, shelf) = app();
        let cookie = alice(&app).await;
        assert_eq!(shelf.count(), 1);
        let next = app.visit(Some(&cookie), end).await;
        assert_eq!(shelf.count(), 0, "{name}");
        if let Some(next) = next {
            assert_eq!(read(&app, &next, "a").await.unwrap(), None, "{name}");
        }
    }
    let (app, shelf) = app();
    let cookie = alice(&app).await;
    let handle = app.request(Some(&cookie)).await.1.id().unwrap();
    app.manager.revoke("alice", &handle).await.unwrap();
    assert_eq!(shelf.count(), 0, "revoke");
    alice(&app).await;
    alice(&app).await;
    assert_eq!(shelf.count(), 2);
    app.manager.revoke_subject("alice").await.unwrap();
    assert_eq!(shelf.count(), 0, "revoke_subject");
    keep(&app, None, "a", "one").await;
    // Those of the last minute could be of a session that begins meanwhile, by another host's clock.
    app.pass(61);
    app.manager.revoke_everything().await.unwrap();
    assert_eq!(shelf.count(), 0, "revoke_everything");
}

async fn alice(app: &App) -> String {
    let step = |session: &Session| {
        session.login("alice").unwrap();
        session.vault().insert("a", "of alice").unwrap();
    };
    app.visit(None, step).await.unwrap()
}

#[tokio::test]
async fn a_replay_and_an_eviction_delete_the_vault_of_the_session_that_they_end() {
    let shelf = Shelf::default();
    let vault = shelf.clone();
    let app = app_with(move |builder| builder.vault(vault).session_limit(SessionLimit::EvictOldest(1)));
    alice(&app).await;
    app.pass(1);
    let second = alice(&app).await;
    assert_eq!(shelf.count(), 1, "the first one was evicted");
    // The holder moves on, more than a grace passes, and a thief presents the old cookie.
    let mut newest = app.visit(Some(&second), |session| session.insert("n", 1).unwrap()).await.unwrap();
    for number in 2..4 {
        app.pass(61);
        newest = app.visit(Some(&newest), |session| session.insert("n", number).unwrap()).await.unwrap();
    }
    app.pass(61);
    assert!(app.request(Some(&second)).await.1.is_new());
    assert!(app.event_names().contains(&"replayed"));
    assert_eq!(shelf.count(), 0);
    assert!(app.request(Some(&newest)).await.1.is_new());
}

#[tokio::test]
async fn an_ending_that_follows_a_renewal_deletes_the_vault_of_the_successor() {
    let (app, shelf) = app();
    for (grace, end) in [(61, "a replay"), (1, "a logout with the cookie from before")] {
        let old = alice(&app).await;
        let new = app.visit(Some(&old), |session| session.renew().unwrap()).await.unwrap();
        expect(&app, &new, "a", "of alice").await;
        app.pass(grace);
        app.visit(Some(&old), |session| session.logout().unwrap()).await;
        assert!(app.request(Some(&new)).await.1.is_new(), "{end}");
        assert_eq!(shelf.count(), 0, "{end}");
    }
}

#[tokio::test]
async fn logout_keeping_data_carries_private_values_to_the_new_session() {
    let (app, shelf) = app();
    let cookie = alice(&app).await;
    let next = app.visit(Some(&cookie), |session| session.logout_keeping_data().unwrap()).await.unwrap();
    let (_, session) = app.request(Some(&next)).await;
    assert_eq!(session.subject(), None);
    expect(&app, &next, "a", "of alice").await;
    assert_eq!(shelf.count(), 1);
    app.visit(Some(&next), |session| session.logout().unwrap()).await;
    assert_eq!(shelf.count(), 0);
}

#[tokio::test]
async fn a_later_deadline_of_the_session_is_one_of_its_private_values() {
    let (app, shelf) = app();
    let mut cookie = keep(&app, None, "a", "one").await;
    let deadline = || shelf.content().blobs.values().next().unwrap().0;
    let first = deadline();
    app.pass(20 * 60);
    // A fresh lifetime begins at the login.
    cookie = app.visit(Some(&cookie), |session| session.login("alice").unwrap()).await.unwrap();
    assert_eq!(shelf.calls(), ["put", "prolong"]);
    let second = deadline();
    assert_eq!(second.since(first), Duration::from_secs(20 * 60).into());
    let longer = |session: &Session| session.set_lifetime(Duration::from_secs(24 * 3600)).unwrap();
    cookie = app.visit(Some(&cookie), longer).await.unwrap();
    assert_eq!(deadline().since(second), Duration::from_secs(16 * 3600).into(), "though no value changed");
    shelf.purge(second, 100).await.unwrap();
    expect(&app, &cookie, "a", "one").await;
    shelf.purge(deadline(), 100).await.unwrap();
    assert_eq!(shelf.count(), 0);
}

#[tokio::test]
async fn a_value_put_before_another_request_prolonged_the_session_stays_as_long() {
    let (app, shelf) = app();
    let cookie = keep(&app, None, "a", "one").await;
    let (slow, session) = app.request(Some(&cookie)).await;
    session.vault().insert("b", "two").unwrap();
    let longer = |session: &Session| session.set_lifetime(Duration::from_secs(24 * 3600)).unwrap();
    app.visit(Some(&cookie), longer).await.unwrap();
    let _ = slow.finish(200).await;
    let deadlines: Vec<_> = shelf.content().blobs.values().map(|(deadline, _)| *deadline).collect();
    assert_eq!(deadlines.len(), 2);
    assert_eq!(deadlines[0], deadlines[1]);
}

#[tokio::test]
async fn a_second_login_of_a_double_click_keeps_the_values_in_a_vault_of_its_own() {
    let (app, shelf) = app();
    let cookie = keep(&app, None, "a", "one").await;
    let (first, session) = app.request(Some(&cookie)).await;
    session.login("alice").unwrap();
    let (second, session) = app.request(Some(&cookie)).await;
    session.login("alice").unwrap();
    session.vault().insert("b", "two").unwrap();
    let first = set_cookie(first.finish(200).await.as_ref()).unwrap();
    let second = set_cookie(second.finish(200).await.as_ref()).unwrap();
    for (cookie, values) in [(&first, [Some("one"), None]), (&second, [Some("one"), Some("two")])] {
        let found = app.request(Some(cookie)).await.1.vault().get_many::<String>(&["a", "b"]).await.unwrap();
        assert_eq!(found.iter().map(Option::as_deref).collect::<Vec<_>>(), values);
    }
    app.visit(Some(&first), |session| session.logout().unwrap()).await;
    expect(&app, &second, "a", "one").await;
    app.visit(Some(&second), |session| session.logout().unwrap()).await;
    assert_eq!(shelf.count(), 0);
}
