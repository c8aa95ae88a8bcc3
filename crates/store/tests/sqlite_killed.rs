//! Writes that SQLite acknowledged survive the death of the process.
#![cfg(feature = "sqlite")]
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use secure_sessions_store::{
    Bucket, Entry, Fingerprint, Millis, Revision, SessionId, SessionStore, SqlStore, Timestamp, Tombstone,
};

/// Set in the process that is to be killed: the database's URL.
const CHILD: &str = "SECURE_SESSIONS_TEST_KILLED";
/// Acknowledged writes before each kill.
const BEFORE_KILL: usize = 30;

fn bucket(number: u64) -> Bucket {
    let at = Timestamp::from_millis(1_800_000_000_000);
    let mut id = [0; 16];
    id[..8].copy_from_slice(&number.to_be_bytes());
    Bucket {
        id: SessionId::from_bytes(id),
        revision: Revision::FIRST,
        subject: None,
        label: None,
        created_at: at,
        last_seen_at: at,
        expires_at: at.after(Millis::from_secs(28_800)),
        idle_timeout: None,
        rotated_at: at,
        generation: 1,
        current: Fingerprint::from_bytes([3; 16]),
        retired: Vec::new(),
        evicted: None,
        handoff: Some(vec![1; 700]),
    }
}

/// Insert, swap, renew to a number of its own, and tell after each what was acknowledged.
async fn write_until_killed(url: &str) {
    let store = SqlStore::connect(url).await.unwrap();
    let first = store.count().await.unwrap() * 1000 + 1;
    for number in first.. {
        let (kept, successor) = (bucket(2 * number), bucket(2 * number + 1));
        store.insert(&kept).await.unwrap();
        tell(&format!("inserted {}", 2 * number));
        let swapped = Bucket { revision: Revision::new(2), ..kept.clone() };
        assert!(store.replace(&swapped, Revision::FIRST).await.unwrap());
        tell(&format!("swapped {}", 2 * number));
        let tombstone =
            Tombstone { id: kept.id, ended_at: kept.created_at, expires_at: kept.expires_at, successor: None };
        assert!(store.renew_into(&successor, &kept.id, Revision::new(2), tombstone).await.unwrap());
        tell(&format!("renewed {}", 2 * number));
    }
}

fn tell(line: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").unwrap();
    out.flush().unwrap();
}

#[tokio::test]
async fn a_killed_process_loses_no_acknowledged_write() {
    if let Ok(url) = std::env::var(CHILD) {
        write_until_killed(&url).await;
        unreachable!("it writes until it is killed");
    }
    let directory = std::env::temp_dir().join(format!("secure-sessions-killed-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let url = format!("sqlite:{}", directory.join("sessions.db").display());
    let mut checked = 0;
    for _ in 0..5 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "a_killed_process_loses_no_acknowledged_write", "--nocapture"])
            .env(CHILD, &url)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut acknowledged = Vec::new();
        for line in BufReader::new(child.stdout.take().unwrap()).lines() {
            // The last line may be cut off by the kill, and the harness says things of its own.
            let Ok(line) = line else { break };
            let mut words = line.split(' ');
            if let (Some(what @ ("inserted" | "swapped" | "renewed")), Some(Ok(number))) =
                (words.next(), words.next().map(str::parse::<u64>))
            {
                acknowledged.push((what.to_owned(), number));
            }
            if acknowledged.len() == BEFORE_KILL {
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        assert!(acknowledged.len() >= BEFORE_KILL, "the process ended by itself");
        let store = SqlStore::connect(&url).await.unwrap();
        for (what, number) in acknowledged {
            let old = store.load(&bucket(number).id).await.unwrap();
            let new = store.load(&bucket(number + 1).id).await.unwrap();
            let least = match (what.as_str(), old, new) {
                // Later steps may have come too, each of them whole.
                (_, Some(Entry::Tombstone(_)), Some(Entry::Bucket(_))) => 3,
                (_, Some(Entry::Bucket(bucket)), None) => bucket.revision.get(),
                (what, old, new) => panic!("after `{what}`: {old:?} and {new:?}"),
            };
            let expected = match what.as_str() {
                "inserted" => 1,
                "swapped" => 2,
                _ => 3,
            };
            assert!(least >= expected, "`{what}` was acknowledged and is not there");
            checked += 1;
        }
        store.close().await;
    }
    assert!(checked >= 5 * BEFORE_KILL);
    std::fs::remove_dir_all(&directory).unwrap();
}
