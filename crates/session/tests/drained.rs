//! The end of a process: what clients that hung up asked for is in the store before the runtime ends.

#![allow(clippy::unwrap_used, unreachable_pub, reason = "a test fails by panicking")]

mod support;

use std::time::Duration;

use secure_sessions::store::{SessionId, StoreError, Tombstone, forward_methods};
use secure_sessions::{Keyring, MemoryStore, SessionManager, SessionStore};
use support::{Head, set_cookie};
use tokio::runtime::{Builder, Runtime};

/// Takes its time to remove.
#[derive(Clone)]
struct Slow(MemoryStore);

const SLOW: Duration = Duration::from_millis(200);

impl SessionStore for Slow {
    async fn remove(&self, id: &SessionId, tombstone: Option<Tombstone>) -> Result<bool, StoreError> {
        tokio::time::sleep(SLOW).await;
        self.0.remove(id, tombstone).await
    }

    forward_methods!(self => &self.0; insert, load, replace, renew_into, list, count, remove_all, purge_expired);
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_time().build().unwrap()
}

/// A manager, its store, and the cookie of somebody who is logged in.
fn logged_in(runtime: &Runtime) -> (SessionManager, MemoryStore, String) {
    let store = MemoryStore::new();
    runtime.block_on(async {
        let slow = Slow(store.clone());
        let manager = SessionManager::builder(Keyring::generate().unwrap(), slow).insecure_dev().build().unwrap();
        let request = manager.begin();
        request.session(&Head::with(None)).await.unwrap().login("alice").unwrap();
        let cookie = set_cookie(request.finish(200).await.as_ref()).unwrap();
        (manager, store, cookie)
    })
}

/// Logs out, and hangs up while the store is at it.
async fn log_out_and_hang_up(manager: &SessionManager, cookie: &str) {
    let request = manager.begin();
    request.session(&Head::with(Some(cookie))).await.unwrap().logout().unwrap();
    let finish = request.finish(200);
    assert!(tokio::time::timeout(SLOW / 10, finish).await.is_err(), "the store is slow");
}

#[test]
fn a_logout_whose_client_hung_up_outlives_the_runtime_that_was_drained() {
    let runtime = runtime();
    let (manager, store, cookie) = logged_in(&runtime);
    runtime.block_on(async {
        log_out_and_hang_up(&manager, &cookie).await;
        assert_eq!(store.count().await.unwrap(), 1, "it is under way");
        manager.drained().await;
    });
    drop(runtime);
    assert_eq!(self::runtime().block_on(store.count()).unwrap(), 0);
}

#[test]
fn drained_waits_for_nobody_where_no_commit_is_under_way() {
    let runtime = runtime();
    let (manager, _, cookie) = logged_in(&runtime);
    runtime.block_on(async {
        let request = manager.begin();
        let session = request.session(&Head::with(Some(&cookie))).await.unwrap();
        assert!(session.subject().is_some());
        let saving = session.save();
        drop(saving);
        // The request is still under way, but has nothing to commit yet.
        tokio::time::timeout(SLOW, manager.drained()).await.unwrap();
    });
}

#[test]
fn drained_waits_for_a_save_and_for_every_commit_of_many() {
    let runtime = runtime();
    let (manager, store, cookie) = logged_in(&runtime);
    runtime.block_on(async {
        let other = manager.begin();
        other.session(&Head::with(None)).await.unwrap().insert("n", 1).unwrap();
        let request = manager.begin();
        let session = request.session(&Head::with(Some(&cookie))).await.unwrap();
        session.logout().unwrap();
        assert!(tokio::time::timeout(SLOW / 10, session.save()).await.is_err(), "the store is slow");
        drop(other.finish(200));
        manager.drained().await;
        assert_eq!(store.count().await.unwrap(), 1, "the session of the other, and alice's is gone");
        manager.drained().await;
    });
}
