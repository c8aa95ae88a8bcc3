//! A store in a file, whose process is killed while it writes: what it had acknowledged is there afterwards.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use secure_sessions_store::{Bucket, Entry, Revision, SessionStore, Timestamp};

use crate::common::{next, session, tombstone};

/// Acknowledged writes before each kill.
pub(crate) const BEFORE_KILL: usize = 30;

fn bucket(number: u64) -> Bucket {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&number.to_be_bytes());
    Bucket { handoff: Some(vec![1; 700]), ..session(id, Timestamp::from_millis(1_800_000_000_000)) }
}

/// Inserts, swaps, renews to a number of its own, and tells after each what was acknowledged.
pub(crate) async fn write_until_killed(store: &impl SessionStore) {
    let first = store.count().await.unwrap() * 1000 + 1;
    for number in first.. {
        let (kept, successor) = (bucket(2 * number), bucket(2 * number + 1));
        store.insert(&kept).await.unwrap();
        tell(&format!("inserted {}", 2 * number));
        assert!(store.replace(&next(&kept), Revision::FIRST).await.unwrap());
        tell(&format!("swapped {}", 2 * number));
        assert!(store.renew_into(&successor, &kept.id, Revision::new(2), tombstone(&kept, None)).await.unwrap());
        tell(&format!("renewed {}", 2 * number));
    }
}

fn tell(line: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").unwrap();
    out.flush().unwrap();
}

/// Runs this test once more in a process of its own, which finds `place` in `variable` and writes there, and kills it.
/// Returns the writes that it had acknowledged.
pub(crate) fn acknowledged(test: &str, variable: &str, place: impl AsRef<OsStr>) -> Vec<(String, u64)> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(variable, place)
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
    acknowledged
}

/// Checks that the store has each of these writes, or a later step of the same session. Returns how many there are.
pub(crate) async fn check(store: &impl SessionStore, acknowledged: Vec<(String, u64)>) -> usize {
    let checked = acknowledged.len();
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
    }
    checked
}
