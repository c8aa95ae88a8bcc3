//! The SQL store on SQLite: the contract, and what only a database has.
#![cfg(all(feature = "sqlite", feature = "conformance"))]
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

#[path = "../common/mod.rs"]
mod common;
mod contract;
mod faults;
mod files;
mod pools;
mod purges;
mod rows;
mod tables;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use secure_sessions_store::sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};
use secure_sessions_store::{
    Bucket, Entry, Millis, SessionId, SessionStore, SqlOptions, SqlStore, Timestamp, Tombstone, sqlx,
};

use crate::common::session;

/// A directory of its own, gone at the end.
pub(crate) struct Directory(PathBuf);

impl Directory {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let name = format!("secure-sessions-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = services::scratch().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.0.join("sessions.db")
    }

    pub(crate) fn url(&self) -> String {
        format!("sqlite:{}", self.file().display())
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Opens a store that waits for longer than any call takes on a busy machine.
pub(crate) async fn open(url: &str) -> SqlStore {
    SqlOptions::new().timeout(Duration::from_secs(100)).connect(url).await.unwrap()
}

pub(crate) const NOW: u64 = 1_800_000_000_000;

pub(crate) fn bucket(id: u8) -> Bucket {
    let idle_timeout = Some(Millis::from_secs(1800));
    Bucket { idle_timeout, ..session([id; 16], Timestamp::from_millis(NOW)) }
}

pub(crate) fn tombstone(id: u8) -> Tombstone {
    let at = Timestamp::from_millis(NOW);
    Tombstone {
        id: SessionId::from_bytes([id; 16]),
        ended_at: at,
        expires_at: at.after(Millis::from_secs(60)),
        successor: None,
    }
}

pub(crate) async fn plain_pool(file: &Path) -> sqlx::SqlitePool {
    let options = SqliteConnectOptions::new().filename(file).create_if_missing(true).busy_timeout(Duration::ZERO);
    SqlitePoolOptions::new().connect_with(options).await.unwrap()
}

pub(crate) async fn expect(store: &SqlStore, bucket: &Bucket) {
    let Some(Entry::Bucket(found)) = store.load(&bucket.id).await.unwrap() else { panic!("{:?} is gone", bucket.id) };
    assert_eq!(found.to_record(), bucket.to_record());
}
