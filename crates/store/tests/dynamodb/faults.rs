//! Servers that die, or say nothing.

use std::time::{Duration, Instant};

use secure_sessions_store::{DynamoDbOptions, DynamoDbStore, Entry, Page, SessionStore, StoreError, Tags, Which};

use crate::common::clients::{Acknowledged, Clients, subject};
use crate::common::{SUBJECT, goes_on_after_a_kill};
use crate::support::{TABLE, bucket, client, open, own};

#[tokio::test]
async fn a_killed_server_is_an_error_at_once_and_the_store_goes_on() {
    let Some(service) = own() else { return };
    let store = open(service.url(), "test").await;
    let failure = goes_on_after_a_kill(&store, &service, Duration::from_secs(10)).await;
    assert!(matches!(failure, StoreError::Unavailable(_)), "{failure:?}");
}

#[tokio::test]
async fn a_silent_server_is_given_up_when_the_step_s_time_is_up() {
    let Some(service) = own() else { return };
    let patient = open(service.url(), "test").await;
    let options = DynamoDbOptions::new().prefix("test").timeout(Duration::from_secs(6));
    let store = options.open(client(service.url()), TABLE).await.unwrap();
    let (kept, late) = (bucket(1, Some(SUBJECT)), bucket(2, Some(SUBJECT)));
    patient.insert(&kept).await.unwrap();
    service.pause().unwrap();
    let start = Instant::now();
    assert!(matches!(store.load(&kept.id).await, Err(StoreError::Timeout)));
    assert!(matches!(store.insert(&late).await, Err(StoreError::Timeout)));
    assert!(matches!(store.list(Tags::Subjects(&[SUBJECT]), Page::first(10)).await, Err(StoreError::Timeout)));
    assert!(start.elapsed() < Duration::from_secs(60));
    service.resume().unwrap();
    assert!(matches!(patient.load(&kept.id).await.unwrap(), Some(Entry::Bucket(_))));
    // A write that was under way may still arrive, whole or not at all.
    let start = Instant::now();
    loop {
        let late = usize::from(patient.load(&late.id).await.unwrap().is_some());
        if patient.list(Tags::Subjects(&[SUBJECT]), Page::first(10)).await.unwrap().len() == 1 + late {
            break;
        }
        assert!(start.elapsed() < Duration::from_secs(60), "a session is there without its place in the index");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_killed_under_load_undoes_no_acknowledged_ending() {
    const CLIENTS: u8 = 8;
    let Some(service) = own() else { return };
    let store = open(service.url(), "test").await;
    let clients = Clients::start(&store, CLIENTS);
    for _ in 0..3 {
        clients.more(30).await;
        service.restart().unwrap();
    }
    clients.more_from_now(10).await;
    let acknowledged = clients.stop().await;
    acknowledged.check(&store).await;
    let Acknowledged { endings, kept, failures } = acknowledged;
    // Every session of a subject is in its index: those of lives that an error has cut short.
    for client in 1..=CLIENTS {
        let subjects = [subject(client)];
        let listed = store.list(Tags::Subjects(&subjects), Page::first(1000)).await.unwrap().len();
        let removed = store.remove_all(Which::Tagged(Tags::Subjects(&subjects)), None).await.unwrap();
        assert_eq!(usize::try_from(removed).unwrap(), listed);
    }
    let left = usize::try_from(store.count().await.unwrap()).unwrap();
    assert!(left >= kept.len() && left <= kept.len() + usize::try_from(failures).unwrap());
    let (ended, kept) = (endings.len(), kept.len());
    println!("{ended} endings and {kept} sessions acknowledged, {failures} failures, {left} sessions left");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unavailable() {
    let start = Instant::now();
    let nobody = DynamoDbStore::open(client("http://127.0.0.1:1"), TABLE).await;
    assert!(matches!(nobody, Err(StoreError::Unavailable(_))), "{nobody:?}");
    let nobody = DynamoDbStore::create_table(&client("http://127.0.0.1:1"), TABLE).await;
    assert!(matches!(nobody, Err(StoreError::Unavailable(_))), "{nobody:?}");
    assert!(start.elapsed() < Duration::from_secs(60));
}
