//! Handlers write data: these tests show the limits, and when a change is committed.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use secure_sessions::{SessionError, SessionStore};

use crate::support::{app, set_cookie};

#[tokio::test]
async fn a_5xx_discards_changes_and_login_but_keeps_a_logout() {
    let app = app();
    let cookie = app.visit(None, |session| session.insert("n", 1).unwrap()).await;
    let (request, session) = app.request(cookie.as_deref()).await;
    session.insert("n", 2).unwrap();
    session.login("alice").unwrap();
    let reply = request.finish(500).await;
    assert_eq!(set_cookie(reply.as_ref()), None);
    let (request, session) = app.request(cookie.as_deref()).await;
    assert_eq!((session.get::<u64>("n").unwrap(), session.subject()), (Some(1), None));
    session.logout().unwrap();
    assert_eq!(set_cookie(request.finish(503).await.as_ref()).as_deref(), Some(""), "removed");
    assert_eq!(app.store.count().await.unwrap(), 0);
}

#[tokio::test]
async fn an_insert_that_outgrows_the_cookie_fails_at_once_and_changes_nothing() {
    let app = app();
    let cookie = app.visit(None, |session| session.insert("n", 1).unwrap()).await;
    let (request, session) = app.request(cookie.as_deref()).await;
    let error = session.insert("big", "x".repeat(2500)).unwrap_err();
    assert!(
        matches!(error, SessionError::TooLarge { key: Some(ref key), size, limit: 2800 } if size > 2800 && **key == *"big"),
        "{error}"
    );
    assert!(!session.contains_key("big"));
    assert_eq!(set_cookie(request.finish(200).await.as_ref()), None);
    session.get::<u64>("n").unwrap();
}

#[tokio::test]
async fn a_merge_that_outgrows_the_cookie_is_413_and_keeps_the_previous_token() {
    let app = app();
    let cookie = app.visit(None, |session| session.insert("n", 1).unwrap()).await;
    let (one, first) = app.request(cookie.as_deref()).await;
    let (two, second) = app.request(cookie.as_deref()).await;
    first.insert("a", "x".repeat(1200)).unwrap();
    second.insert("b", "x".repeat(1200)).unwrap();
    one.finish(200).await;
    let reply = two.finish(200).await.unwrap();
    assert_eq!(reply.failure().map(SessionError::status), Some(413));
    assert_eq!(set_cookie(Some(&reply)), None);
    let (_, session) = app.request(cookie.as_deref()).await;
    assert_eq!(session.keys(), ["a", "n"]);
}

#[tokio::test]
async fn the_closure_of_an_update_cannot_change_the_session() {
    let app = app();
    let (_, session) = app.request(None).await;
    let inner = session.clone();
    let result = session.update("n", move |n: &mut u64| {
        *n += 1;
        inner.insert("m", 1).is_err()
    });
    assert!(result.unwrap());
    assert_eq!(session.keys(), ["n"]);
    session.insert("m", 1).unwrap();
}

#[tokio::test]
async fn saved_changes_survive_a_5xx_and_updates_are_made_once() {
    let app = app();
    let calls = Arc::new(AtomicU64::new(0));
    let cookie = app.visit(None, |session| session.insert("n", 1).unwrap()).await;
    let (request, session) = app.request(cookie.as_deref()).await;
    let counted = Arc::clone(&calls);
    session
        .update("n", move |n: &mut u64| {
            counted.fetch_add(1, Ordering::SeqCst);
            *n += 1;
        })
        .unwrap();
    session.save().await.unwrap();
    let newest = set_cookie(request.finish(500).await.as_ref());
    assert!(newest.is_some(), "what was saved reaches the client");
    let (_, session) = app.request(newest.as_deref()).await;
    assert_eq!(session.get::<u64>("n").unwrap(), Some(2));
    assert_eq!(calls.load(Ordering::SeqCst), 1, "the commit met nobody, and keeps what the handler saw");
}

#[tokio::test]
async fn only_statuses_below_500_but_for_408_and_499_commit() {
    for (status, commits) in [
        (200, true),
        (304, true),
        (400, true),
        (407, true),
        (409, true),
        (498, true),
        (408, false),
        (499, false),
        (500, false),
        (599, false),
    ] {
        let app = app();
        let cookie = app.visit(None, |session| session.insert("n", 1).unwrap()).await.unwrap();
        let (request, session) = app.request(Some(&cookie)).await;
        session.insert("n", 2).unwrap();
        session.login("alice").unwrap();
        let reply = request.finish(status).await;
        assert!(reply.as_ref().and_then(|reply| reply.failure()).is_none(), "{status}");
        assert_eq!(set_cookie(reply.as_ref()).is_some(), commits, "{status}");
        assert_eq!(app.event_names().contains(&"renewed"), commits, "{status}");
    }
}

#[tokio::test]
async fn an_equal_hash_map_changes_nothing_and_the_order_of_a_list_counts() {
    let app = app();
    let basket = || (0..20).map(|n| (format!("article {n}"), n)).collect::<HashMap<_, u32>>();
    let cookie = app.visit(None, |session| {
        session.insert("basket", basket()).unwrap();
        session.insert("tags", BTreeSet::from(["b", "a"])).unwrap();
        session.insert("list", ["b", "a"]).unwrap();
    });
    let cookie = cookie.await.unwrap();
    for _ in 0..10 {
        let (request, session) = app.request(Some(&cookie)).await;
        let found = session.get::<HashMap<String, u32>>("basket").unwrap().unwrap();
        assert_eq!(found, basket());
        session.insert("basket", found).unwrap();
        session.insert("basket", basket()).unwrap();
        session.insert("tags", BTreeSet::from(["a", "b"])).unwrap();
        session.update("basket", |basket: &mut HashMap<String, u32>| basket.shrink_to_fit()).unwrap();
        assert_eq!(set_cookie(request.finish(200).await.as_ref()), None);
    }
    let (request, session) = app.request(Some(&cookie)).await;
    session.insert("list", ["a", "b"]).unwrap();
    assert!(set_cookie(request.finish(200).await.as_ref()).is_some());
}
