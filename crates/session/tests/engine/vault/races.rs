//! Requests beside one another that change the same vault.

use std::sync::Arc;
use std::time::Duration;

use secure_sessions::store::{BlobId, VaultId, forward_vault_methods};
use secure_sessions::{SessionError, StoreError, VaultStore};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::{app, expect, keep};
use crate::support::shelf::Shelf;
use crate::support::{App, app_with, set_cookie};

#[tokio::test]
async fn parallel_writers_of_different_keys_both_keep_their_values() {
    let (app, shelf) = app();
    for first in [None, Some("there before")] {
        let mut cookie = app.visit(None, |session| session.insert("n", 1).unwrap()).await.unwrap();
        if let Some(value) = first {
            cookie = keep(&app, Some(&cookie), "zero", value).await;
        }
        let before = shelf.count();
        let (one, session) = app.request(Some(&cookie)).await;
        session.vault().insert("a", "one").unwrap();
        let (two, session) = app.request(Some(&cookie)).await;
        session.vault().insert("b", "two").unwrap();
        shelf.calls();
        let _ = one.finish(200).await;
        let _ = two.finish(200).await;
        expect(&app, &cookie, "a", "one").await;
        expect(&app, &cookie, "b", "two").await;
        assert_eq!(shelf.count(), before + 2);
        let vaults: std::collections::BTreeSet<_> = shelf.content().blobs.keys().map(|(vault, _)| *vault).collect();
        assert_eq!(vaults.len(), if first.is_some() { 2 } else { 1 }, "one vault for each session");
        let puts = shelf.calls().into_iter().filter(|call| *call == "put").count();
        assert_eq!(puts, 2, "a conflict puts nothing again");
    }
}

#[tokio::test]
async fn of_two_writers_of_one_key_the_last_stays_and_the_others_blob_goes() {
    let (app, shelf) = app();
    let cookie = keep(&app, None, "a", "zero").await;
    let (one, session) = app.request(Some(&cookie)).await;
    session.vault().insert("a", "one").unwrap();
    let (two, session) = app.request(Some(&cookie)).await;
    session.vault().insert("a", "two").unwrap();
    let _ = one.finish(200).await;
    let _ = two.finish(200).await;
    expect(&app, &cookie, "a", "two").await;
    assert_eq!(shelf.count(), 1);
}

#[tokio::test]
async fn parallel_updates_of_one_private_value_all_count() {
    let (app, shelf) = app();
    let mut cookie = app.visit(None, |session| session.insert("n", 1).unwrap()).await.unwrap();
    for round in 1..=2 {
        let mut requests = Vec::new();
        for _ in 0..10 {
            let (request, session) = app.request(Some(&cookie)).await;
            let vault = session.vault();
            let seen = vault.update("sum", |sum: &mut Vec<u64>| {
                sum.push(1);
                sum.len()
            });
            assert_eq!(seen.await.unwrap(), (round - 1) * 10 + 1, "as this request saw it first");
            requests.push(request);
        }
        for request in requests {
            cookie = set_cookie(request.finish(200).await.as_ref()).unwrap();
        }
        let sum = app.request(Some(&cookie)).await.1.vault().get::<Vec<u64>>("sum").await.unwrap().unwrap();
        assert_eq!((sum.len(), shelf.count()), (round * 10, 1));
    }
}

#[tokio::test]
async fn a_value_that_another_request_replaced_or_removed_is_not_taken_for_lost() {
    let (app, _) = app();
    let cookie = app
        .visit(None, |session| {
            session.vault().insert("a", "one").unwrap();
            session.vault().insert("b", "one").unwrap();
        })
        .await
        .unwrap();
    let (_, slow) = app.request(Some(&cookie)).await;
    app.visit(Some(&cookie), |session| {
        session.vault().insert("a", "two").unwrap();
        session.remove("b").unwrap();
    })
    .await;
    let values = slow.vault().get_many::<String>(&["a", "b"]).await.unwrap();
    assert_eq!(values, [Some("two".to_owned()), None]);
    assert!(!app.event_names().contains(&"vault_lost"));
}

/// A vault whose reads wait until the test lets them go on.
#[derive(Clone)]
struct Gated {
    shelf: Shelf,
    asked: Arc<Semaphore>,
    may_go: Arc<Semaphore>,
}

impl VaultStore for Gated {
    forward_vault_methods!(self => &self.shelf; put, delete, delete_all, prolong, purge);

    async fn get(&self, vault: &VaultId, ids: &[BlobId]) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        self.asked.add_permits(1);
        self.may_go.acquire().await.unwrap().forget();
        self.shelf.get(vault, ids).await
    }
}

impl Gated {
    /// Returns an application, its vault, the cookie of a session that has a value for `a`, and a request that reads it.
    async fn with_reader() -> (App, Self, String, JoinHandle<Result<Option<String>, SessionError>>) {
        let closed = || Arc::new(Semaphore::new(0));
        let gated = Self { shelf: Shelf::default(), asked: closed(), may_go: closed() };
        let vault = gated.clone();
        let app = app_with(move |builder| builder.vault(vault));
        let cookie = keep(&app, None, "a", "zero").await;
        let (_, slow) = app.request(Some(&cookie)).await;
        let reading = tokio::spawn(async move { slow.vault().get("a").await });
        (app, gated, cookie, reading)
    }

    /// Waits until a reader asks for the value whose place it has found out.
    async fn is_asked(&self) {
        let asked = timeout(Duration::from_secs(60), self.asked.acquire()).await;
        asked.unwrap_or_else(|_| panic!("no further read")).unwrap().forget();
    }

    /// Lets another request replace the value of `a` before the reader reads it.
    async fn overtake(&self, app: &App, cookie: &str, value: &str) {
        self.is_asked().await;
        keep(app, Some(cookie), "a", value).await;
        self.may_go.add_permits(1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_value_replaced_again_and_again_is_not_taken_for_lost() {
    let (app, vault, cookie, reading) = Gated::with_reader().await;
    for value in ["one", "two", "three"] {
        vault.overtake(&app, &cookie, value).await;
    }
    vault.may_go.add_permits(1);
    assert_eq!(reading.await.unwrap().unwrap().as_deref(), Some("three"));
    assert!(!app.event_names().contains(&"vault_lost"));
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_is_overtaken_for_five_seconds_gives_up_and_nothing_is_lost() {
    let (app, vault, cookie, reading) = Gated::with_reader().await;
    vault.overtake(&app, &cookie, "one").await;
    vault.is_asked().await;
    tokio::time::advance(Duration::from_secs(5)).await;
    keep(&app, Some(&cookie), "a", "two").await;
    vault.may_go.add_permits(1);
    assert!(matches!(reading.await.unwrap(), Err(SessionError::Conflict)));
    assert!(!app.event_names().contains(&"vault_lost"));
    vault.may_go.add_permits(1);
    expect(&app, &cookie, "a", "two").await;
}

#[tokio::test]
async fn a_hundred_requests_at_once_lose_no_private_update() {
    let (app, shelf) = app();
    let cookie = keep(&app, None, "a", "one").await;
    let app = Arc::new(app);
    let mut tasks = Vec::new();
    for _ in 0..100 {
        let (app, cookie) = (Arc::clone(&app), cookie.clone());
        tasks.push(tokio::spawn(async move {
            let (request, session) = app.request(Some(&cookie)).await;
            session.vault().update("sum", |sum: &mut u64| *sum += 1).await.unwrap();
            tokio::task::yield_now().await;
            let reply = request.finish(200).await;
            assert!(reply.is_some_and(|reply| reply.failure().is_none()));
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    let sum = app.request(Some(&cookie)).await.1.vault().get::<u64>("sum").await.unwrap();
    assert_eq!((sum, shelf.count()), (Some(100), 2));
}
