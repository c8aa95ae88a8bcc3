//! The contract in a real Memcached, and what it does not keep.
#![cfg(feature = "memcached")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use secure_sessions_store::conformance::Stores;
use secure_sessions_store::{
    Blob, BlobId, Bucket, Entry, MemcachedStore, Page, Revision, SessionId, SessionStore, StoreError, SubjectTag, Tags,
    Tombstone, VaultId, VaultStore, Which,
};
use services::{Engine, Service, Setup, Shared, or_skip};

use crate::common::{SUBJECT, listed, next, now, session, tombstone, unique, vault_stores};

mod common;

async fn open(url: String) -> MemcachedStore {
    MemcachedStore::open_lossy_with_prefix(&url, &unique("test:")).await.unwrap()
}

mod contract {
    use super::*;

    /// Held by the case that runs: a hundred calls for one session take turns, and the last one has three seconds.
    static TURN: LazyLock<Arc<tokio::sync::Mutex<()>>> = LazyLock::new(Arc::default);

    fn stores() -> Stores {
        let Some(url) = Shared::Memcached.url() else { return Stores::missing(Shared::Memcached.name()) };
        let turn = Arc::clone(&TURN).blocking_lock_owned();
        Stores::new(move || {
            let (url, _) = (url.clone(), &turn);
            open(url)
        })
        .expiring_by_itself()
    }

    secure_sessions_store::conformance_tests!(stores());

    mod of_vaults {
        use super::*;

        secure_sessions_store::vault_conformance_tests!(vault_stores(Shared::Memcached, open).expiring_by_itself());
    }
}

fn bucket(number: u8) -> Bucket {
    Bucket { handoff: Some(vec![1; 700]), ..session([number; 16], now()) }
}

/// A session of an id that `bucket` gives to no other, if the number is over 255.
fn numbered(number: usize) -> Bucket {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&number.to_be_bytes());
    Bucket { id: SessionId::from_bytes(id), ..bucket(1) }
}

/// A connection of another program.
struct Raw(BufReader<TcpStream>);

impl Raw {
    fn open(service: &Service) -> Self {
        Self(BufReader::new(TcpStream::connect(service.url().trim_start_matches("tcp://")).unwrap()))
    }

    fn send(&mut self, parts: &[&[u8]]) {
        self.0.get_mut().write_all(&parts.concat()).unwrap();
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        line
    }

    fn get(&mut self, key: &str) -> Vec<u8> {
        self.send(&[format!("mg {key} v\r\n").as_bytes()]);
        let head = self.line();
        let mut value = vec![0; head.trim_end().strip_prefix("VA ").unwrap().parse().unwrap()];
        self.0.read_exact(&mut value).unwrap();
        self.line();
        value
    }

    fn set(&mut self, key: &str, value: &[u8]) {
        self.send(&[format!("ms {key} {}\r\n", value.len()).as_bytes(), value, b"\r\n"]);
        assert_eq!(self.line(), "HD\r\n");
    }

    fn delete(&mut self, key: &str) {
        self.send(&[format!("md {key}\r\n").as_bytes()]);
        assert_eq!(self.line(), "HD\r\n");
    }

    /// Writes until there is no room for a value of any size.
    fn fill(&mut self) {
        let mut length = 1;
        while length < 100_000 {
            let value = vec![b'x'; length];
            for number in 0.. {
                let quiet = 300_000 / (length + 100);
                for last in 0..=quiet {
                    let mode = if last < quiet { " noreply" } else { "" };
                    let head = format!("add fill-{length}-{number}-{last} 0 0 {length}{mode}\r\n");
                    self.send(&[head.as_bytes(), &value, b"\r\n"]);
                }
                if self.line() == "SERVER_ERROR out of memory storing object\r\n" {
                    break;
                }
            }
            length += 1 + length / 8;
        }
    }
}

fn own(arguments: &[&str]) -> Option<Service> {
    or_skip(Setup::new(Engine::Memcached).arguments(arguments.iter().copied()).start())
}

#[tokio::test]
async fn a_restart_ends_every_session_and_the_store_goes_on() {
    let Some(service) = own(&[]) else { return };
    let store = MemcachedStore::open_lossy(service.url()).await.unwrap();
    let (one, two) = (bucket(1), bucket(2));
    store.insert(&one).await.unwrap();
    store.insert(&two).await.unwrap();
    let stone = tombstone(&two, None);
    assert!(store.remove(&two.id, Some(stone)).await.unwrap());
    service.kill().unwrap();
    let start = Instant::now();
    assert!(store.load(&one.id).await.unwrap_err().is_transient());
    assert!(store.insert(&bucket(3)).await.unwrap_err().is_transient());
    assert!(start.elapsed() < Duration::from_secs(10));
    service.restart().unwrap();
    // Ended, and nothing of it comes back.
    assert!(store.load(&one.id).await.unwrap().is_none());
    assert!(store.load(&two.id).await.unwrap().is_none());
    let next = Bucket { revision: Revision::new(2), ..one.clone() };
    assert!(!store.replace(&next, one.revision).await.unwrap());
    let stone = Tombstone { id: one.id, successor: Some(bucket(4).id), ..stone };
    assert!(!store.renew_into(&bucket(4), &one.id, one.revision, stone).await.unwrap());
    store.insert(&bucket(3)).await.unwrap();
    assert_eq!(store.list(Tags::Subjects(&[SubjectTag::from_bytes([1; 16])]), Page::first(10)).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_memcached_that_must_not_evict_refuses_writes_when_it_is_full() {
    let Some(service) = own(&["-M", "-m", "2"]) else { return };
    let store = MemcachedStore::open_lossy(service.url()).await.unwrap();
    let mut kept = Vec::new();
    let failure = loop {
        let number = u8::try_from(kept.len() % 250).unwrap();
        let mut id = [number; 16];
        id[..2].copy_from_slice(&u16::try_from(kept.len()).unwrap().to_be_bytes());
        let next = Bucket { id: SessionId::from_bytes(id), handoff: Some(vec![1; 4000]), ..bucket(number) };
        match store.insert(&next).await {
            Ok(()) => kept.push(next),
            Err(error) => break error,
        }
        assert!(kept.len() < 5000, "it never filled up");
    };
    assert!(failure.is_transient(), "{failure:?}");
    for kept in &kept {
        assert!(matches!(store.load(&kept.id).await.unwrap(), Some(Entry::Bucket(_))), "a session was evicted");
    }
    assert!(store.remove(&kept[0].id, None).await.unwrap());
    assert!(store.load(&kept[0].id).await.unwrap().is_none());
    // There may be no room for a tombstone.
    let ended = &kept[1];
    let stone = tombstone(ended, None);
    assert!(store.remove(&ended.id, Some(stone)).await.unwrap());
    assert!(!matches!(store.load(&ended.id).await.unwrap(), Some(Entry::Bucket(_))));
}

#[tokio::test]
async fn a_full_memcached_without_eviction_keeps_sessions_and_lets_them_end() {
    let Some(service) = own(&["-M", "-m", "2"]) else { return };
    let store = MemcachedStore::open_lossy(service.url()).await.unwrap();
    let kept: Vec<Bucket> = (0..20).map(numbered).collect();
    for kept in &kept {
        store.insert(kept).await.unwrap();
    }
    Raw::open(&service).fill();
    let new = numbered(20);
    let refused = store.insert(&new).await.unwrap_err();
    assert!(refused.is_transient(), "{refused:?}");
    assert_eq!(listed(&store, 1000).await, 20, "the index is gone");
    let refused = store.replace(&next(&kept[0]), Revision::FIRST).await.unwrap_err();
    assert!(refused.is_transient(), "{refused:?}");
    let stone = tombstone(&kept[0], Some(new.id));
    let refused = store.renew_into(&new, &kept[0].id, Revision::FIRST, stone).await.unwrap_err();
    assert!(refused.is_transient(), "{refused:?}");
    for kept in &kept {
        let found = store.load(&kept.id).await.unwrap();
        assert!(matches!(found, Some(Entry::Bucket(found)) if found.revision == Revision::FIRST), "a session is gone");
    }
    assert!(store.load(&new.id).await.unwrap().is_none());
    assert!(store.remove(&kept[0].id, Some(tombstone(&kept[0], None))).await.unwrap());
    assert!(store.load(&kept[0].id).await.unwrap().is_none());
    assert!(!store.remove(&kept[0].id, Some(tombstone(&kept[0], None))).await.unwrap());
    assert!(store.remove(&kept[1].id, None).await.unwrap());
    assert_eq!(listed(&store, 1000).await, 18);
    assert_eq!(store.remove_all(Which::Tagged(Tags::Subjects(&[SUBJECT])), None).await.unwrap(), 18);
    assert_eq!((listed(&store, 1000).await, store.count().await.unwrap()), (0, 0));
}

#[tokio::test]
async fn a_full_index_refuses_another_session_by_its_size_and_keeps_the_others() {
    let Some(service) = own(&["-I", "16k", "-o", "slab_chunk_max=8192"]) else { return };
    let store = MemcachedStore::open_lossy(service.url()).await.unwrap();
    let is_full = |outcome: Result<(), StoreError>| match outcome {
        Ok(()) => false,
        Err(StoreError::Rejected(said)) => {
            let said = said.to_string();
            assert!(["index", "16384 bytes", "-I"].iter().all(|word| said.contains(word)), "{said}");
            true
        }
        Err(error) => panic!("{error:?}"),
    };
    let mut kept = Vec::new();
    while !is_full(store.insert(&numbered(kept.len())).await) {
        kept.push(numbered(kept.len()));
    }
    assert!(kept.len() > 150);
    assert_eq!(listed(&store, 1000).await, kept.len(), "the index is gone");
    let new = numbered(1000);
    let stone = tombstone(&kept[0], Some(new.id));
    assert!(is_full(store.renew_into(&new, &kept[0].id, Revision::FIRST, stone).await.map(drop)));
    assert!(matches!(store.load(&kept[0].id).await.unwrap(), Some(Entry::Bucket(_))));
    assert!(store.load(&new.id).await.unwrap().is_none());
    // An ending makes room.
    assert!(store.remove(&kept[0].id, None).await.unwrap());
    store.insert(&new).await.unwrap();
    // So do sessions that were evicted, once their places are older than a session that has not come yet can be.
    let mut raw = Raw::open(&service);
    for kept in &kept[1..=10] {
        let id: String = kept.id.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        raw.delete(&format!("secure-sessions/s/{id}"));
    }
    assert!(is_full(store.insert(&numbered(1001)).await));
    let index = format!("secure-sessions/i/{}", "01".repeat(16));
    let places = String::from_utf8(raw.get(&index)).unwrap();
    let aged = places.lines().map(|line| format!("{}{}{}\n", &line[..16], "0".repeat(16), &line[32..]));
    raw.set(&index, aged.collect::<String>().as_bytes());
    for number in 1001..=1010 {
        store.insert(&numbered(number)).await.unwrap();
    }
    assert!(is_full(store.insert(&numbered(1011)).await));
    assert_eq!(listed(&store, 1000).await, kept.len());
    let removed = store.remove_all(Which::Tagged(Tags::Subjects(&[SUBJECT])), None).await.unwrap();
    assert_eq!((removed, store.count().await.unwrap()), (kept.len() as u64, 0));
}

#[tokio::test]
async fn a_value_over_the_item_size_is_refused_by_its_size() {
    let Some(service) = own(&["-I", "16k", "-o", "slab_chunk_max=8192"]) else { return };
    let store = MemcachedStore::open_lossy(service.url()).await.unwrap();
    let (vault, until) = (VaultId::from_bytes([1; 16]), bucket(1).expires_at);
    let blob = |number: u8, length| Blob { id: BlobId::from_bytes([number; 16]), bytes: vec![number; length] };
    store.put(&vault, &[blob(1, 3000)], until).await.unwrap();
    let error = store.put(&vault, &[blob(2, 40_000)], until).await.unwrap_err();
    let StoreError::Rejected(said) = &error else { panic!("{error:?}") };
    assert!(said.to_string().contains("40008 bytes") && said.to_string().contains("-I"), "{error:?}");
    let found = store.get(&vault, &[blob(1, 0).id, blob(2, 0).id]).await.unwrap();
    assert_eq!(found.iter().map(|found| found.as_ref().map(Vec::len)).collect::<Vec<_>>(), [Some(3000), None]);
}

#[tokio::test]
async fn a_restart_loses_private_values_and_takes_new_ones() {
    let Some(service) = own(&[]) else { return };
    let store = MemcachedStore::open_lossy(service.url()).await.unwrap();
    let (vault, until) = (VaultId::from_bytes([1; 16]), bucket(1).expires_at);
    let blob = |number: u8| Blob { id: BlobId::from_bytes([number; 16]), bytes: vec![number; 3000] };
    store.put(&vault, &[blob(1)], until).await.unwrap();
    service.kill().unwrap();
    assert!(store.get(&vault, &[blob(1).id]).await.unwrap_err().is_transient(), "an error is no lost value");
    service.restart().unwrap();
    assert_eq!(store.get(&vault, &[blob(1).id]).await.unwrap(), [None]);
    store.prolong(&vault, until).await.unwrap();
    store.put(&vault, &[blob(2)], until).await.unwrap();
    assert_eq!(store.get(&vault, &[blob(2).id]).await.unwrap(), [Some(blob(2).bytes)]);
    store.delete_all(&[vault]).await.unwrap();
    assert_eq!(store.get(&vault, &[blob(2).id]).await.unwrap(), [None]);
}

#[tokio::test]
async fn what_is_no_memcached_is_refused_and_one_that_is_not_there_is_unavailable() {
    for url in ["", "127.0.0.1:11211", "http://127.0.0.1", "redis://127.0.0.1"] {
        let outcome = MemcachedStore::open_lossy(url).await;
        assert!(matches!(outcome, Err(StoreError::Rejected(_))), "{url}: {outcome:?}");
    }
    let nobody = MemcachedStore::open_lossy("tcp://127.0.0.1:1").await;
    assert!(matches!(nobody, Err(StoreError::Unavailable(_))), "{nobody:?}");
}
