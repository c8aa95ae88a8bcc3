//! A write that prolongs a session touches no index.

use std::time::{Duration, Instant};

use secure_sessions_store::{Bucket, Millis, SessionStore};

use crate::support::{Database, Kind, run, session};

/// A session that is seen again, so many seconds later.
fn touched(bucket: &Bucket, seconds: u64) -> Bucket {
    let mut next = crate::common::next(bucket);
    next.last_seen_at = next.last_seen_at.after(Millis::from_secs(seconds));
    next
}

async fn the_purge_follows(database: Database) {
    let store = database.open().await;
    let mut admin = database.admin().await;
    let purge_at = format!("SELECT purge_at FROM {}", database.table);
    let first = session(1);
    store.insert(&first).await.unwrap();
    let later = touched(&first, 1000);
    assert!(store.replace(&later, first.revision).await.unwrap());
    assert_eq!(admin.numbers(&purge_at).await, [first.purge_at().as_millis().cast_signed()], "it is left as it was");

    assert_eq!(store.purge_expired(first.purge_at(), 10).await.unwrap(), 0, "it is not due any more");
    assert_eq!(admin.numbers(&purge_at).await, [later.purge_at().as_millis().cast_signed()], "the purge moved it");

    let shorter = Bucket { idle_timeout: Some(Millis::from_secs(60)), ..crate::common::next(&later) };
    assert!(shorter.purge_at() < later.purge_at());
    assert!(store.replace(&shorter, later.revision).await.unwrap());
    assert_eq!(store.purge_expired(shorter.purge_at(), 10).await.unwrap(), 1, "an earlier deadline counts at once");
}

#[test]
fn a_touch_leaves_the_purges_date_and_the_purge_follows_it() {
    run(Kind::Postgres, the_purge_follows);
    run(Kind::MySql, the_purge_follows);
}

/// A purge looks at many that live before it comes to the one that is due.
#[test]
fn a_purge_gets_past_any_number_of_sessions_that_were_touched() {
    for kind in [Kind::Postgres, Kind::MySql] {
        run(kind, |database| async move {
            let store = database.open().await;
            store.insert(&session(255)).await.unwrap();
            let mut admin = database.admin().await;
            // Twelve hundred more, which were all touched.
            let columns = "revision, label, created_at, last_seen_at, expires_at, idle_timeout, rotated_at, generation, \
                           fingerprint, retired, handoff, purge_at";
            let id = kind.pick("decode(md5(n::text), 'hex')", "UNHEX(MD5(n))");
            let numbers = kind
                .pick("generate_series(1, 1200) AS n", "(SELECT a.seq + 1 AS n FROM seq_0_to_1199 AS a) AS numbers");
            admin
                .run(&format!(
                    "INSERT INTO {t} (id, due_at, {columns}) SELECT {id}, due_at + 1000000, {columns} FROM {t}, {numbers}",
                    t = database.table
                ))
                .await;
            assert_eq!(store.purge_expired(session(255).purge_at(), 10).await.unwrap(), 1);
            assert_eq!(store.count().await.unwrap(), 1200);
        });
    }
}

#[test]
fn in_postgres_a_touch_is_an_update_that_writes_to_no_index() {
    run(Kind::Postgres, |database| async move {
        const TOUCHES: i64 = 30;
        let store = database.open().await;
        // All versions of a small row have room on its page, so that none has to be cleaned up.
        let mut seen = Bucket { handoff: None, ..session(1) };
        store.insert(&seen).await.unwrap();
        for _ in 0..TOUCHES {
            let next = touched(&seen, 60);
            assert!(store.replace(&next, seen.revision).await.unwrap());
            seen = next;
        }
        // The server counts what a connection did when it ends.
        store.close().await;
        let mut admin = database.admin().await;
        let counted = |column| {
            format!(
                "SELECT COALESCE(sum({column}), 0)::bigint FROM pg_stat_user_tables WHERE relname = '{}'",
                database.table
            )
        };
        let since = Instant::now();
        while admin.numbers(&counted("n_tup_upd")).await != [TOUCHES] {
            assert!(since.elapsed() < Duration::from_secs(20), "the server did not count");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(admin.numbers(&counted("n_tup_hot_upd")).await, [TOUCHES]);
    });
}
