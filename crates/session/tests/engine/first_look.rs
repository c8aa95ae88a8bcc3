//! Two first looks at one request's session at the same time.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};

use secure_sessions::MemoryStore;
use secure_sessions::store::{Bucket, Entry, SessionId, SessionStore, StoreError};
use tokio::sync::Semaphore;

use crate::support::{Head, app_with, set_cookie};

/// Answers without a wait, but for one load that it keeps back.
#[derive(Clone)]
struct KeepsOneBack {
    store: MemoryStore,
    next: Arc<AtomicBool>,
    released: Arc<Semaphore>,
}

impl SessionStore for KeepsOneBack {
    fn peek(&self, id: &SessionId) -> Option<Bucket> {
        if self.next.swap(false, Ordering::SeqCst) { None } else { self.store.peek(id) }
    }

    async fn load(&self, id: &SessionId) -> Result<Option<Entry>, StoreError> {
        let entry = self.store.load(id).await;
        self.released.acquire().await.unwrap().forget();
        entry
    }

    secure_sessions::store::forward_methods!(self => &self.store;
        insert, replace, renew_into, remove, list, count, remove_all, purge_expired);
}

/// Returns the output that a future has at once, if it has one.
fn now<F: Future>(future: &mut Pin<Box<F>>) -> Option<F::Output> {
    match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

fn keeps_one_back() -> (KeepsOneBack, crate::support::App) {
    let store = KeepsOneBack { store: MemoryStore::new(), next: Arc::default(), released: Arc::new(Semaphore::new(0)) };
    let app = app_with(|_| {
        secure_sessions::SessionManager::builder(secure_sessions::Keyring::generate().unwrap(), store.clone())
            .insecure_dev()
    });
    (store, app)
}

#[tokio::test]
async fn a_deferred_session_counts_as_looked_at_only_when_it_is_used() {
    let app = crate::support::app();
    let cookie = app.visit(None, |session| session.insert("n", 1).unwrap()).await;
    let head = Head::with(cookie.as_deref());

    let request = app.manager.begin();
    let deferred = request.defer(&head);
    let presented = deferred.presented();
    assert!(presented.is_some() && request.loaded().is_none());
    assert!(request.finish(200).await.is_none(), "nothing is to be said of a session that nobody looked at");

    let request = app.manager.begin();
    let session = request.defer(&head).session().await.unwrap();
    assert_eq!((session.get("n").unwrap(), session.id()), (Some(1), presented));
    assert!(request.finish(200).await.is_some());

    let nobody = app.manager.begin().defer(&Head::with(None));
    assert_eq!(nobody.presented(), None);
    assert!(nobody.session().await.unwrap().is_new());
}

#[tokio::test]
async fn two_looks_at_a_deferred_session_share_one_load() {
    let (store, app) = keeps_one_back();
    let cookie = app.visit(None, |session| session.insert("n", 1).unwrap()).await;
    let request = app.manager.begin();
    let deferred = request.defer(&Head::with(cookie.as_deref()));
    store.next.store(true, Ordering::SeqCst);
    let (mut first, mut second) = (Box::pin(deferred.session()), Box::pin(deferred.session()));
    assert!(now(&mut first).is_none() && now(&mut second).is_none(), "the store keeps the load back");
    store.released.add_permits(1);
    first.await.unwrap().insert("n", 2).unwrap();
    assert_eq!(second.await.unwrap().get::<u32>("n").unwrap(), Some(2), "both are one session");
    request.finish(200).await;
}

#[tokio::test]
async fn a_look_that_waits_for_the_store_sees_the_session_of_one_that_did_not() {
    let (store, app) = keeps_one_back();
    let cookie = app.visit(None, |session| session.insert("n", 1).unwrap()).await;
    let head = Head::with(cookie.as_deref());
    // The first token that a process judges always waits: for the time before which tokens are refused.
    store.released.add_permits(1);
    app.request(cookie.as_deref()).await;

    store.next.store(true, Ordering::SeqCst);
    let request = app.manager.begin();
    let mut waiting = Box::pin(request.session(&head));
    assert!(now(&mut waiting).is_none(), "the store keeps the first look back");
    let answered = now(&mut Box::pin(request.session(&head)));
    let session = answered.expect("the second is answered at once").unwrap();
    session.insert("n", 2).unwrap();

    store.released.add_permits(1);
    let first = waiting.await.unwrap();
    assert_eq!(first.get::<u32>("n").unwrap(), Some(2), "both are one session");
    first.insert("m", 3).unwrap();
    let newer = set_cookie(request.finish(200).await.as_ref());
    let (_, session) = app.request(newer.as_deref()).await;
    assert_eq!((session.get("n").unwrap(), session.get("m").unwrap()), (Some(2), Some(3)));
}
