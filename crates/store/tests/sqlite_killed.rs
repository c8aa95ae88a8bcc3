//! Writes that SQLite acknowledged survive the death of the process.
#![cfg(feature = "sqlite")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

use secure_sessions_store::SqlStore;

use crate::killed::BEFORE_KILL;

mod common;
mod killed;

/// Set in the process that is to be killed: the database's URL.
const CHILD: &str = "SECURE_SESSIONS_TEST_KILLED";

#[tokio::test]
async fn a_killed_process_loses_no_acknowledged_write() {
    if let Ok(url) = std::env::var(CHILD) {
        killed::write_until_killed(&SqlStore::connect(&url).await.unwrap()).await;
        unreachable!("it writes until it is killed");
    }
    let directory = std::env::temp_dir().join(format!("secure-sessions-killed-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let url = format!("sqlite:{}", directory.join("sessions.db").display());
    let mut checked = 0;
    for _ in 0..5 {
        let acknowledged = killed::acknowledged("a_killed_process_loses_no_acknowledged_write", CHILD, &url);
        let store = SqlStore::connect(&url).await.unwrap();
        checked += killed::check(&store, acknowledged).await;
        store.close().await;
    }
    assert!(checked >= 5 * BEFORE_KILL);
    std::fs::remove_dir_all(&directory).unwrap();
}
