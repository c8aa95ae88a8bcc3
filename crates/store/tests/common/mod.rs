//! Sessions, names and stores: what the tests of several stores share.
#![allow(clippy::unwrap_used, clippy::panic, dead_code, reason = "helpers of tests, which do not all use all of it")]

pub(crate) mod clients;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use secure_sessions_core::NewBucket;
use secure_sessions_store::conformance::Stores;
use secure_sessions_store::conformance::vault::VaultStores;
use secure_sessions_store::{
    Bucket, Entry, Fingerprint, Millis, Page, Revision, SessionId, SessionStore, StoreError, SubjectTag, Tags,
    Timestamp, Tombstone, VaultStore,
};
use services::{Service, Shared};

/// The subject of all sessions here that have one.
pub(crate) const SUBJECT: SubjectTag = SubjectTag::from_bytes([1; 16]);

/// Returns the present, as a store keeps it.
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    Timestamp::from_millis(Millis::from(since).get())
}

/// Returns a session of `SUBJECT` that begins at `at` and lasts for eight hours. Its other optional fields are empty.
pub(crate) fn session(id: [u8; 16], at: Timestamp) -> Bucket {
    let (id, first) = (SessionId::from_bytes(id), Fingerprint::from_bytes([3; 16]));
    let (subject, expires_at) = (Some(SUBJECT), at.after(Millis::from_secs(28_800)));
    Bucket::create(NewBucket { id, subject, group: None, label: None, expires_at, idle_timeout: None, first }, at)
}

/// Returns the bytes of an id. The ids of a row of numbers are spread over shards and nodes.
pub(crate) fn spread(number: u64) -> [u8; 16] {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    id[8..].copy_from_slice(&number.to_be_bytes());
    id
}

/// Returns the session after another write.
pub(crate) fn next(bucket: &Bucket) -> Bucket {
    Bucket { revision: Revision::new(bucket.revision.get() + 1), ..bucket.clone() }
}

/// Returns a session's tombstone.
pub(crate) fn tombstone(of: &Bucket, successor: Option<SessionId>) -> Tombstone {
    Tombstone { id: of.id, ended_at: of.created_at, expires_at: of.expires_at, successor }
}

/// Returns a name that no other store on a shared server has.
pub(crate) fn unique(what: &str) -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let started = now().as_millis();
    format!("{what}-{}-{started:x}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

/// Returns a maker of stores on the shared server of this kind, each opened by `open` with the server's URL. Without such a
/// server, every case is skipped.
pub(crate) fn stores<S: SessionStore, F>(server: Shared, open: fn(String) -> F) -> Stores
where
    F: Future<Output = S> + Send + 'static,
{
    match server.url() {
        Some(url) => Stores::new(move || open(url.clone())),
        None => Stores::missing(server.name()),
    }
}

/// Does the same as [`stores`] for private values.
pub(crate) fn vault_stores<S: VaultStore, F>(server: Shared, open: fn(String) -> F) -> VaultStores
where
    F: Future<Output = S> + Send + 'static,
{
    match server.url() {
        Some(url) => VaultStores::new(move || open(url.clone())),
        None => VaultStores::missing(server.name()),
    }
}

/// Returns how many sessions a store lists for `SUBJECT`, page by page. All of them can be read.
pub(crate) async fn listed(store: &impl SessionStore, page_size: u32) -> usize {
    let (mut listed, mut page) = (0, Some(Page::first(page_size)));
    while let Some(this) = page {
        let found = store.list(Tags::Subjects(&[SUBJECT]), this).await.unwrap();
        assert!(found.iter().all(Result::is_ok), "{found:?}");
        listed += found.len();
        page = this.next(&found);
    }
    listed
}

/// Loads each of these sessions, again and again until the store answers: it has a minute for all of them.
pub(crate) async fn are_found_again(store: &impl SessionStore, sessions: &[Bucket]) {
    let start = Instant::now();
    for session in sessions {
        while let Err(error) = store.load(&session.id).await {
            assert!(start.elapsed() < Duration::from_secs(60), "{error:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// Kills a server, and starts it again: the store says at once that it is away, goes on when it is back, and has lost nothing
/// that was acknowledged. Returns the error of a read in between.
pub(crate) async fn goes_on_after_a_kill(store: &impl SessionStore, server: &Service, at_once: Duration) -> StoreError {
    let [one, two, three] = [1, 2, 3].map(|number| session(spread(number), now()));
    store.insert(&one).await.unwrap();
    store.insert(&two).await.unwrap();
    assert!(store.remove(&two.id, Some(tombstone(&two, None))).await.unwrap());
    server.kill().unwrap();
    let start = Instant::now();
    let failure = store.load(&one.id).await.unwrap_err();
    assert!(failure.is_transient(), "{failure:?}");
    assert!(store.insert(&three).await.unwrap_err().is_transient());
    assert!(start.elapsed() < at_once);
    server.restart().unwrap();
    assert!(matches!(store.load(&one.id).await.unwrap(), Some(Entry::Bucket(_))));
    assert!(matches!(store.load(&two.id).await.unwrap(), Some(Entry::Tombstone(_))));
    store.insert(&three).await.unwrap();
    assert_eq!(listed(store, 10).await, 2);
    failure
}
