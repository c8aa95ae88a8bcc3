//! Lost answers, and DynamoDB's errors.

use std::time::{Duration, Instant};

use secure_sessions_store::{Bucket, DynamoDbStore, Entry, Page, Revision, SessionStore, StoreError, Tags};
use services::Shared;
use tokio::sync::oneshot;

use crate::common::{SUBJECT, next, tombstone, unique};
use crate::proxy::{Fault, Proxy, error};
use crate::support::{TABLE, bucket, client, open, options};

/// A store behind a proxy, and the same one without.
async fn proxied() -> Option<(Proxy, DynamoDbStore, DynamoDbStore)> {
    let url = Shared::DynamoDb.url()?;
    let prefix = unique("test");
    let direct = open(&url, &prefix).await;
    let proxy = Proxy::start(&url).await;
    let store = options(&prefix).open(client(proxy.url()), TABLE).await.unwrap();
    Some((proxy, store, direct))
}

async fn revision(store: &DynamoDbStore, bucket: &Bucket) -> Option<Revision> {
    match store.load(&bucket.id).await.unwrap() {
        Some(Entry::Bucket(found)) => Some(found.revision),
        _ => None,
    }
}

#[tokio::test]
async fn a_write_whose_answer_was_lost_has_happened_once() {
    let Some((proxy, store, direct)) = proxied().await else { return };
    for (number, subject) in [(1, None), (11, Some(SUBJECT))] {
        let (first, other) = (bucket(number, subject), bucket(number + 1, subject));
        // A session of nobody is one item, and any other two in a transaction.
        let (one, two) = if subject.is_none() { ("PutItem", "PutItem") } else { ("TransactWriteItems", "PutItem") };
        proxy.plan(one, Fault::LoseAnswer);
        store.insert(&first).await.unwrap();
        proxy.plan(two, Fault::LoseAnswer);
        assert!(store.replace(&next(&first), first.revision).await.unwrap());
        assert_eq!(revision(&direct, &first).await, Some(Revision::new(2)));
        // The second attempt meets a transaction.
        proxy.plan("PutItem", Fault::LoseAnswer);
        proxy.plan("PutItem", error(400, "TransactionConflictException", ""));
        let third = next(&next(&first));
        assert!(store.replace(&third, Revision::new(2)).await.unwrap());
        proxy.plan("TransactWriteItems", Fault::LoseAnswer);
        let stone = tombstone(&first, Some(other.id));
        assert!(store.renew_into(&other, &first.id, third.revision, stone).await.unwrap());
        assert!(matches!(direct.load(&first.id).await.unwrap(), Some(Entry::Tombstone(found)) if found == stone));
        proxy.plan(one, Fault::LoseAnswer);
        assert!(store.remove(&other.id, Some(tombstone(&other, None))).await.unwrap());
        assert!(matches!(direct.load(&other.id).await.unwrap(), Some(Entry::Tombstone(_))));
        let last = bucket(number + 2, subject);
        store.insert(&last).await.unwrap();
        // A removal without a tombstone is a transaction even if it is of one item.
        proxy.plan("TransactWriteItems", Fault::LoseAnswer);
        assert!(store.remove(&last.id, None).await.unwrap());
        assert!(direct.load(&last.id).await.unwrap().is_none());
        assert_eq!(proxy.planned(), 0);
        assert_eq!(direct.count().await.unwrap(), 0);
        assert!(direct.list(Tags::Subjects(&[SUBJECT]), Page::first(10)).await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn a_write_that_another_one_followed_is_not_taken_for_refused() {
    let Some((proxy, store, direct)) = proxied().await else { return };
    let first = bucket(1, None);
    store.insert(&first).await.unwrap();
    let (answered, is_answered) = oneshot::channel();
    let (release, go_on) = oneshot::channel();
    proxy.plan("PutItem", Fault::LoseAnswerLater { answered, go_on });
    let second = next(&first);
    let lost = tokio::spawn(async move { store.replace(&second, first.revision).await });
    is_answered.await.unwrap();
    let third = Bucket { revision: Revision::new(3), ..bucket(1, None) };
    assert!(direct.replace(&third, Revision::new(2)).await.unwrap(), "the write has happened");
    release.send(()).unwrap();
    let outcome = lost.await.unwrap();
    assert!(matches!(outcome, Err(StoreError::Unavailable(_))), "{outcome:?}");
    assert_eq!(revision(&direct, &third).await, Some(Revision::new(3)));
}

#[tokio::test]
async fn a_write_that_dynamodb_put_off_and_then_refused_is_a_plain_conflict() {
    let Some((proxy, store, direct)) = proxied().await else { return };
    let first = bucket(1, None);
    direct.insert(&first).await.unwrap();
    for code in ["ThrottlingException", "ProvisionedThroughputExceededException"] {
        proxy.plan("PutItem", error(400, code, ""));
        let outcome = store.insert(&first).await;
        assert!(matches!(outcome, Err(StoreError::Duplicate)), "{outcome:?}");
        assert_eq!(proxy.planned(), 0);
    }
    // This answer does not say whether the item was written.
    proxy.plan("PutItem", error(500, "InternalServerError", ""));
    let outcome = store.insert(&first).await;
    assert!(matches!(outcome, Err(StoreError::Unavailable(_))), "{outcome:?}");
    assert_eq!(proxy.planned(), 0);
    assert_eq!(revision(&direct, &first).await, Some(Revision::FIRST));
}

#[tokio::test]
async fn opening_a_table_tries_every_right() {
    let Some((proxy, store, _)) = proxied().await else { return };
    for right in ["DescribeTable", "DescribeTimeToLive", "GetItem", "BatchGetItem", "Query", "PutItem", "DeleteItem"] {
        proxy.plan(right, error(400, "AccessDeniedException", ""));
        let outcome = options("rights").open(client(proxy.url()), TABLE).await;
        assert!(matches!(outcome, Err(StoreError::Rejected(_))), "{right}: {outcome:?}");
        assert_eq!(proxy.planned(), 0, "{right}");
    }
    options("rights").open(client(proxy.url()), TABLE).await.unwrap();
    assert_eq!(store.count().await.unwrap(), 0);
}

/// DynamoDB's words for a transaction of two items of which the first was the reason that it did not happen.
fn canceled(code: &str) -> Fault {
    let reasons = format!(r#","CancellationReasons":[{{"Code":"{code}","Message":"planted"}},{{"Code":"None"}}]"#);
    error(400, "TransactionCanceledException", &reasons)
}

#[tokio::test]
async fn a_call_that_dynamodb_puts_off_is_made_a_little_later() {
    let Some((proxy, store, direct)) = proxied().await else { return };
    let (first, other) = (bucket(1, Some(SUBJECT)), bucket(2, Some(SUBJECT)));
    for code in ["TransactionConflict", "ProvisionedThroughputExceeded", "ThrottlingError"] {
        proxy.plan("TransactWriteItems", canceled(code));
    }
    store.insert(&first).await.unwrap();
    for code in ["TransactionConflictException", "ReplicatedWriteConflictException", "ThrottlingException"] {
        proxy.plan("PutItem", error(400, code, ""));
    }
    assert!(store.replace(&next(&first), first.revision).await.unwrap());
    store.insert(&other).await.unwrap();
    proxy.plan("BatchGetItem", Fault::Unprocessed);
    proxy.plan("BatchGetItem", Fault::Unprocessed);
    assert_eq!(store.list(Tags::Subjects(&[SUBJECT]), Page::first(10)).await.unwrap().len(), 2);
    proxy.plan("GetItem", error(500, "InternalServerError", ""));
    assert_eq!(revision(&store, &first).await, Some(Revision::new(2)));
    assert_eq!(proxy.planned(), 0);
    assert_eq!(direct.count().await.unwrap(), 2);
}

#[tokio::test]
async fn a_transaction_that_lost_to_another_is_judged_again() {
    let Some((proxy, store, direct)) = proxied().await else { return };
    let (first, other) = (bucket(1, Some(SUBJECT)), bucket(2, Some(SUBJECT)));
    store.insert(&first).await.unwrap();
    // The transaction that was in its way has ended the session.
    proxy.plan("TransactWriteItems", canceled("TransactionConflict"));
    let renewal = {
        let (store, first, other) = (store.clone(), first.clone(), other.clone());
        let stone = tombstone(&first, Some(other.id));
        async move { store.renew_into(&other, &first.id, first.revision, stone).await }
    };
    assert!(direct.remove(&first.id, Some(tombstone(&first, None))).await.unwrap());
    assert!(!renewal.await.unwrap());
    assert!(direct.load(&other.id).await.unwrap().is_none());
}

#[tokio::test]
async fn an_error_says_what_happened_and_whether_a_later_call_may_succeed() {
    let Some((proxy, store, _)) = proxied().await else { return };
    let first = bucket(1, Some(SUBJECT));
    store.insert(&first).await.unwrap();
    for (status, code, is_transient) in [
        (400, "AccessDeniedException", false),
        (400, "ResourceNotFoundException", false),
        (400, "ValidationException", false),
        (400, "UnrecognizedClientException", false),
        (400, "ProvisionedThroughputExceededException", true),
        (400, "RequestLimitExceeded", true),
        (400, "ThrottlingException", true),
        (500, "InternalServerError", true),
        (503, "ServiceUnavailable", true),
    ] {
        for operation in ["GetItem", "PutItem"] {
            // For each attempt of the client.
            (0..3).for_each(|_| proxy.plan(operation, error(status, code, "")));
            let outcome = match operation {
                "GetItem" => store.load(&first.id).await.map(drop),
                _ => store.replace(&next(&first), first.revision).await.map(drop),
            };
            let failure = outcome.unwrap_err();
            assert_eq!(failure.is_transient(), is_transient, "{failure:?}");
            assert_eq!(matches!(failure, StoreError::Rejected(_)), !is_transient, "{failure:?}");
            assert!(format!("{failure:?}").contains(code), "{failure:?}");
            proxy.forget_plan();
        }
    }
    for code in ["AccessDenied", "ValidationError"] {
        proxy.plan("TransactWriteItems", canceled(code));
        let refused = store.remove(&first.id, None).await;
        assert!(matches!(refused, Err(StoreError::Rejected(_))), "{refused:?}");
    }
    assert_eq!(revision(&store, &first).await, Some(Revision::FIRST));
}

#[tokio::test]
async fn a_conflict_without_end_is_an_error_when_the_step_s_time_is_up() {
    let Some(url) = Shared::DynamoDb.url() else { return };
    let proxy = Proxy::start(&url).await;
    open(&url, "unused").await;
    let options = options(&unique("test")).timeout(Duration::from_secs(5));
    let store = options.open(client(proxy.url()), TABLE).await.unwrap();
    (0..1000).for_each(|_| proxy.plan("TransactWriteItems", canceled("TransactionConflict")));
    let start = Instant::now();
    let outcome = store.insert(&bucket(1, Some(SUBJECT))).await;
    assert!(matches!(outcome, Err(StoreError::Timeout)), "{outcome:?}");
    assert!(start.elapsed() < Duration::from_secs(30));
    // It pauses longer each time.
    assert!((1..=50).contains(&(1000 - proxy.planned())), "{} left", proxy.planned());
}
