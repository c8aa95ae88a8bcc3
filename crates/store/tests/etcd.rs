//! The contract in a real etcd, and what a cluster keeps when a node is killed.
#![cfg(feature = "etcd")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

use std::time::{Duration, Instant};

use secure_sessions_store::conformance::survives_reopening;
use secure_sessions_store::{
    Blob, BlobId, Bucket, Entry, EtcdOptions, EtcdStore, Millis, Page, Revision, SessionStore, StoreError, Tags,
    VaultId, VaultStore, Which,
};
use services::{Engine, EtcdCluster, Service, Setup, Shared, or_skip};

use crate::common::clients::{Acknowledged, Clients};
use crate::common::{SUBJECT, goes_on_after_a_kill, now, session, spread, stores, tombstone, unique, vault_stores};

mod common;

/// Patient, because all cases run at once.
fn options() -> EtcdOptions {
    EtcdOptions::new().timeout(Duration::from_secs(30))
}

async fn open(url: String) -> EtcdStore {
    options().prefix(unique("test")).connect([url]).await.unwrap()
}

mod contract {
    use super::*;

    secure_sessions_store::conformance_tests!(stores(Shared::Etcd, open));

    mod of_vaults {
        use super::*;

        secure_sessions_store::vault_conformance_tests!(vault_stores(Shared::Etcd, open));
    }
}

#[tokio::test]
async fn a_timeout_without_end_is_no_panic() {
    let Some(url) = Shared::Etcd.url() else { return };
    let store = EtcdOptions::new().timeout(Duration::MAX).prefix(unique("test")).connect([url]).await.unwrap();
    assert_eq!(store.count().await.unwrap(), 0);
}

#[tokio::test]
async fn everything_is_there_when_the_store_is_opened_again() {
    let Some(url) = Shared::Etcd.url() else { return };
    let prefix = unique("test");
    let open = || async { options().prefix(&prefix).connect([url.as_str()]).await.unwrap() };
    survives_reopening(open).await.unwrap();
}

fn bucket(number: u64) -> Bucket {
    Bucket { handoff: Some(vec![1; 700]), ..session(spread(number), now()) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_killed_under_load_undoes_no_acknowledged_ending() {
    let Some(cluster) = or_skip(EtcdCluster::start()) else { return };
    let store =
        EtcdOptions::new().timeout(Duration::from_secs(10)).prefix("test").connect(cluster.urls()).await.unwrap();
    let clients = Clients::start(&store, 8);
    clients.more(40).await;
    let leader = cluster.leader().unwrap();
    cluster.nodes()[leader].kill().unwrap();
    let killed = Instant::now();
    clients.more_from_now(40).await;
    println!("went on after {:?}", killed.elapsed());
    cluster.nodes()[leader].restart().unwrap();
    let acknowledged = clients.stop().await;
    for node in cluster.urls() {
        acknowledged.check(&options().prefix("test").connect([node]).await.unwrap()).await;
    }
    let Acknowledged { endings, kept, failures } = acknowledged;
    // Nor does a late write undo one.
    for ended in endings.iter().take(20) {
        let late = Bucket { revision: Revision::new(3), ..ended.clone() };
        assert!(!store.replace(&late, ended.revision).await.unwrap());
    }
    println!("{} endings and {} sessions acknowledged, {failures} failures", endings.len(), kept.len());

    // A node that says nothing, with its connections open, does not keep the others' sessions away.
    let quiet = EtcdOptions::new().prefix("test").timeout(Duration::from_secs(15));
    let store = quiet.connect(cluster.urls()).await.unwrap();
    let node = (0..3).find(|node| *node != cluster.leader().unwrap()).unwrap();
    cluster.nodes()[node].pause().unwrap();
    for _ in 0..3 {
        assert!(store.load(&kept[0].id).await.unwrap().is_some());
    }
    cluster.nodes()[node].resume().unwrap();
}

fn started(setup: Setup) -> Option<Service> {
    or_skip(setup.within(services::scratch()).start())
}

#[tokio::test]
async fn a_killed_etcd_keeps_what_it_acknowledged_and_the_store_goes_on() {
    let Some(service) = started(Setup::new(Engine::Etcd)) else { return };
    // A node that is away is asked again until the time is up.
    let store = EtcdOptions::new().timeout(Duration::from_secs(8)).connect([service.url()]).await.unwrap();
    goes_on_after_a_kill(&store, &service, Duration::from_secs(40)).await;
}

#[tokio::test]
async fn a_full_etcd_still_ends_sessions() {
    let setup = Setup::new(Engine::Etcd).arguments(["--quota-backend-bytes", "1000000"]);
    let Some(service) = started(setup) else { return };
    let store = options().connect([service.url()]).await.unwrap();
    let mut kept = Vec::new();
    let failure = loop {
        let next = Bucket { handoff: Some(vec![7; 60_000]), ..bucket(kept.len() as u64) };
        match store.insert(&next).await {
            Ok(()) => kept.push(next),
            Err(error) => break error,
        }
        assert!(kept.len() < 100, "it never filled up");
        // etcd looks at the size of its file, to which it writes ten times a second.
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert!(matches!(&failure, StoreError::Unavailable(said) if said.to_string().contains("compact")), "{failure:?}");
    let next = Bucket { revision: Revision::new(2), ..kept[0].clone() };
    assert!(store.replace(&next, kept[0].revision).await.is_err(), "it is full");
    assert!(matches!(store.load(&kept[0].id).await.unwrap(), Some(Entry::Bucket(_))));
    assert!(store.remove(&kept[0].id, Some(tombstone(&kept[0], None))).await.unwrap());
    assert!(store.load(&kept[0].id).await.unwrap().is_none());
    assert!(store.remove(&kept[1].id, None).await.unwrap());
    let subject = [SUBJECT];
    assert_eq!(store.list(Tags::Subjects(&subject), Page::first(100)).await.unwrap().len(), kept.len() - 2);
    assert_eq!(store.remove_all(Which::Tagged(Tags::Subjects(&subject)), None).await.unwrap(), kept.len() as u64 - 2);
    assert_eq!(store.count().await.unwrap(), 0);
}

#[tokio::test]
async fn a_value_over_the_limit_of_a_request_is_refused_by_its_size() {
    let setup = Setup::new(Engine::Etcd).arguments(["--max-request-bytes", "20000"]);
    let Some(service) = started(setup) else { return };
    let store = options().connect([service.url()]).await.unwrap();
    let (vault, until) = (VaultId::from_bytes([1; 16]), now().after(Millis::from_secs(3600)));
    let blob = |number: u8, length| Blob { id: BlobId::from_bytes([number; 16]), bytes: vec![number; length] };
    store.put(&vault, &[blob(1, 16_000)], until).await.unwrap();
    let error = store.put(&vault, &[blob(2, 40_000)], until).await.unwrap_err();
    let StoreError::Rejected(said) = &error else { panic!("{error:?}") };
    assert!(
        said.to_string().contains("a request of 40") && said.to_string().contains("--max-request-bytes"),
        "{error:?}"
    );
    let found = store.get(&vault, &[blob(1, 0).id, blob(2, 0).id]).await.unwrap();
    assert_eq!(found.iter().map(|found| found.as_ref().map(Vec::len)).collect::<Vec<_>>(), [Some(16_000), None]);
}

/// The store's keys begin with `secure-sessions/`, in base64, and end before `secure-sessions0`.
const GRANT: &str = r#"{"name":"sessions","perm":{"permType":"READWRITE",
    "key":"c2VjdXJlLXNlc3Npb25zLw==","range_end":"c2VjdXJlLXNlc3Npb25zMA=="}}"#;

#[tokio::test]
async fn a_user_needs_rights_on_the_prefix_and_its_token_is_renewed() {
    let Some(service) = started(Setup::new(Engine::Etcd)) else { return };
    for (path, json) in [
        ("auth/user/add", r#"{"name":"root","password":"r"}"#),
        ("auth/user/grant", r#"{"user":"root","role":"root"}"#),
        ("auth/user/add", r#"{"name":"sessions","password":"s"}"#),
        ("auth/role/add", r#"{"name":"sessions"}"#),
        ("auth/role/grant", GRANT),
        ("auth/user/grant", r#"{"user":"sessions","role":"sessions"}"#),
        ("auth/enable", "{}"),
    ] {
        if path == "auth/user/grant" && json.contains(r#""role":"root""#) {
            service.etcd_call("auth/role/add", r#"{"name":"root"}"#).unwrap();
        }
        service.etcd_call(path, json).unwrap();
    }
    let url = service.url();
    let rejected = |outcome: Result<EtcdStore, StoreError>| {
        let error = outcome.unwrap_err();
        assert!(matches!(error, StoreError::Rejected(_)), "{error:?}");
    };
    rejected(options().connect([url]).await);
    rejected(options().user("sessions", "wrong").connect([url]).await);
    rejected(options().user("sessions", "s").prefix("other").connect([url]).await);
    let options = options().user("sessions", "s");
    assert!(!format!("{options:?}").contains("\"s\""));
    let store = options.connect([url]).await.unwrap();
    store.insert(&bucket(1)).await.unwrap();
    // It forgets its tokens.
    service.restart().unwrap();
    assert!(store.load(&bucket(1).id).await.unwrap().is_some());
    assert!(store.remove(&bucket(1).id, None).await.unwrap());
}

#[tokio::test]
async fn what_is_no_node_is_refused_and_one_that_is_not_there_is_unavailable() {
    for nodes in [&[][..], &[""], &["127.0.0.1"], &["redis://127.0.0.1"], &["http://u:secret@127.0.0.1:1"]] {
        let error = EtcdStore::connect(nodes).await.unwrap_err();
        assert!(matches!(error, StoreError::Rejected(_)), "{nodes:?}: {error:?}");
        assert!(!format!("{error:?}").contains("secret"));
    }
    let start = Instant::now();
    let nobody = EtcdOptions::new().timeout(Duration::from_millis(500)).connect(["http://127.0.0.1:1"]).await;
    // It is asked until the time is up, which may be in the middle of the last try.
    assert!(matches!(nobody, Err(StoreError::Unavailable(_) | StoreError::Timeout)), "{nobody:?}");
    assert!(start.elapsed() < Duration::from_secs(60));
}
