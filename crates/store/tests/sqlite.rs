//! The SQL store on SQLite: the contract, and what only a database has.
#![cfg(all(feature = "sqlite", feature = "conformance"))]
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use secure_sessions_store::sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};
use secure_sessions_store::sqlx::{self, Row};
use secure_sessions_store::{
    Bucket, Entry, Fingerprint, Millis, Page, Retired, Revision, SessionId, SessionStore, SqlOptions, SqlStore,
    StoreError, SubjectTag, Timestamp, Tombstone, Which, conformance,
};

/// A directory of its own, gone at the end.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let name = format!("secure-sessions-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = services::scratch().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self) -> PathBuf {
        self.0.join("sessions.db")
    }

    fn url(&self) -> String {
        format!("sqlite:{}", self.file().display())
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A store in a file that is removed with the last clone.
mod file {
    use std::sync::Arc;

    use secure_sessions_store::{SessionStore, SqlStore};

    use super::Directory;

    struct InFile(SqlStore, #[expect(dead_code, reason = "removes the file")] Arc<Directory>);

    impl InFile {
        async fn new() -> Self {
            let directory = Directory::new();
            Self(SqlStore::connect(&directory.url()).await.unwrap(), Arc::new(directory))
        }
    }

    impl SessionStore for InFile {
        secure_sessions_store::forward_methods!(self => &self.0;
            insert, load, replace, renew_into, remove, list, count, remove_all, purge_expired);
    }

    secure_sessions_store::conformance_tests!(InFile::new);
}

mod in_memory {
    use secure_sessions_store::SqlStore;

    secure_sessions_store::conformance_tests!(|| async { SqlStore::connect("sqlite::memory:").await.unwrap() });
}

const NOW: u64 = 1_800_000_000_000;

fn bucket(id: u8) -> Bucket {
    Bucket {
        id: SessionId::from_bytes([id; 16]),
        revision: Revision::FIRST,
        subject: Some(SubjectTag::from_bytes([1; 16])),
        label: None,
        created_at: Timestamp::from_millis(NOW),
        last_seen_at: Timestamp::from_millis(NOW),
        expires_at: Timestamp::from_millis(NOW + 28_800_000),
        idle_timeout: Some(Millis::from_secs(1800)),
        rotated_at: Timestamp::from_millis(NOW),
        generation: 1,
        current: Fingerprint::from_bytes([3; 16]),
        retired: Vec::new(),
        evicted: None,
        handoff: None,
    }
}

fn tombstone(id: u8) -> Tombstone {
    let at = Timestamp::from_millis(NOW);
    Tombstone {
        id: SessionId::from_bytes([id; 16]),
        ended_at: at,
        expires_at: at.after(Millis::from_secs(60)),
        successor: None,
    }
}

async fn plain_pool(file: &Path) -> sqlx::SqlitePool {
    let options = SqliteConnectOptions::new().filename(file).create_if_missing(true).busy_timeout(Duration::ZERO);
    SqlitePoolOptions::new().connect_with(options).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_survives_reopening() {
    let directory = Directory::new();
    conformance::survives_reopening(|| async { SqlStore::connect(&directory.url()).await.unwrap() }).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_missing_file_may_be_created_by_many_at_once() {
    for _ in 0..5 {
        let directory = Directory::new();
        let stores: Vec<_> = (0..8)
            .map(|_| {
                let url = directory.url();
                tokio::spawn(async move { SqlStore::connect(&url).await })
            })
            .collect();
        for store in stores {
            store.await.unwrap().unwrap().count().await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn connecting_waits_for_a_writer_before_it_switches_the_file_to_wal() {
    let directory = Directory::new();
    let pool = plain_pool(&directory.file()).await;
    let writing = pool.begin_with("BEGIN IMMEDIATE").await.unwrap();
    let connecting = tokio::spawn({
        let url = directory.url();
        async move { SqlStore::connect(&url).await }
    });
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(!connecting.is_finished(), "it did not wait");
    writing.rollback().await.unwrap();
    assert_eq!(connecting.await.unwrap().unwrap().count().await.unwrap(), 0);
}

#[tokio::test]
async fn a_database_is_in_wal_mode() {
    let directory = Directory::new();
    let store = SqlStore::connect(&directory.url()).await.unwrap();
    store.insert(&bucket(1)).await.unwrap();
    let pool = plain_pool(&directory.file()).await;
    let mode: String = sqlx::query("PRAGMA journal_mode").fetch_one(&pool).await.unwrap().get(0);
    assert_eq!(mode, "wal");
    assert!(directory.0.join("sessions.db-wal").exists());
}

#[tokio::test]
async fn an_operator_can_read_the_columns() {
    let directory = Directory::new();
    let store = SqlStore::connect(&directory.url()).await.unwrap();
    let at = Timestamp::from_millis(NOW);
    let retired =
        Retired { fingerprint: Fingerprint::from_bytes([4; 16]), generation: 1, superseded_at: at, dead_after: None };
    store.insert(&Bucket { label: Some(b"label".to_vec()), retired: vec![retired], ..bucket(1) }).await.unwrap();
    store.insert(&bucket(2)).await.unwrap();
    store.remove(&bucket(2).id, Some(tombstone(2))).await.unwrap();
    let pool = plain_pool(&directory.file()).await;
    let row = sqlx::query(
        "SELECT revision, hex(subject), label, datetime(last_seen_at / 1000, 'unixepoch'), expires_at - created_at, \
         idle_timeout / 60000, generation, length(retired), purge_at FROM secure_sessions WHERE ended_at IS NULL",
    )
    .fetch_one(&pool)
    .await
    .unwrap();
    assert_eq!(row.get::<i64, _>(0), 1);
    assert_eq!(row.get::<String, _>(1), "01".repeat(16));
    assert_eq!(row.get::<Vec<u8>, _>(2), b"label");
    assert_eq!(row.get::<String, _>(3), "2027-01-15 08:00:00");
    assert_eq!(row.get::<i64, _>(4), 28_800_000);
    assert_eq!(row.get::<i64, _>(5), 30);
    assert_eq!(row.get::<i64, _>(6), 1);
    assert_eq!(row.get::<i64, _>(7), 2 + 36);
    assert_eq!(row.get::<i64, _>(8).cast_unsigned(), bucket(1).purge_at().as_millis());
    let ended: Vec<u8> = sqlx::query("SELECT id FROM secure_sessions WHERE ended_at = 1800000000000")
        .fetch_one(&pool)
        .await
        .unwrap()
        .get(0);
    assert_eq!(ended, [2; 16]);
}

#[tokio::test]
async fn every_statement_on_the_request_path_uses_an_index() {
    let directory = Directory::new();
    let _store = SqlStore::connect(&directory.url()).await.unwrap();
    let pool = plain_pool(&directory.file()).await;
    for (statement, index) in [
        ("SELECT * FROM secure_sessions WHERE id = x'00'", "sqlite_autoindex_secure_sessions_1 (id=?)"),
        (
            "UPDATE secure_sessions SET revision = 2 WHERE id = x'00' AND revision = 1",
            "sqlite_autoindex_secure_sessions_1 (id=?)",
        ),
        (
            "SELECT * FROM secure_sessions WHERE subject IN (x'00', x'01') AND id > x'' ORDER BY id LIMIT 9",
            "secure_sessions_subject (subject=? AND id>?)",
        ),
        (
            "DELETE FROM secure_sessions WHERE purge_at <= 1 AND id IN (SELECT id FROM secure_sessions WHERE purge_at <= 1 ORDER BY purge_at LIMIT 9)",
            "secure_sessions_purge_at (purge_at<?)",
        ),
    ] {
        let plan =
            sqlx::query(sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {statement}"))).fetch_all(&pool).await.unwrap();
        let plan: Vec<String> = plan.iter().map(|row| row.get("detail")).collect();
        assert!(plan.iter().any(|step| step.contains(index)), "{statement}: {plan:?}");
        assert!(!plan.iter().any(|step| step.starts_with("SCAN")), "{statement}: {plan:?}");
    }
}

#[tokio::test]
async fn stores_with_different_tables_share_one_file_and_nothing_else() {
    let directory = Directory::new();
    let url = directory.url();
    let (users, admins) = (
        SqlStore::connect(&url).await.unwrap(),
        SqlOptions::new().table("admin_sessions").connect(&url).await.unwrap(),
    );
    users.insert(&bucket(1)).await.unwrap();
    assert!(admins.load(&bucket(1).id).await.unwrap().is_none());
    admins.insert(&bucket(1)).await.unwrap();
    assert_eq!(admins.remove_all(Which::Everything, None).await.unwrap(), 1);
    assert_eq!(users.count().await.unwrap(), 1);
    let pool = plain_pool(&directory.file()).await;
    let rows = sqlx::query("SELECT name FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%' ORDER BY name")
        .fetch_all(&pool)
        .await
        .unwrap();
    let names: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    assert_eq!(
        names,
        [
            "admin_sessions",
            "admin_sessions_migrations",
            "admin_sessions_purge_at",
            "admin_sessions_subject",
            "secure_sessions",
            "secure_sessions_migrations",
            "secure_sessions_purge_at",
            "secure_sessions_subject",
        ]
    );
}

#[tokio::test]
async fn a_table_name_that_would_need_quoting_is_refused() {
    for name in ["", "Sessions", "1st", "_x", "a b", "a;drop table users", "a\"b", "é", &"a".repeat(41)] {
        let refused = SqlOptions::new().table(name).connect("sqlite::memory:").await;
        assert!(matches!(refused, Err(StoreError::Rejected(_))), "{name}");
    }
    SqlOptions::new().table("a".repeat(40)).connect("sqlite::memory:").await.unwrap();
}

#[tokio::test]
async fn an_unknown_url_is_refused() {
    for url in ["", "sessions.db", "oracle://localhost/x", "sqlite", "mysql"] {
        assert!(matches!(SqlStore::connect(url).await, Err(StoreError::Rejected(_))), "{url}");
    }
}

#[tokio::test]
async fn a_directory_that_is_missing_is_an_error_that_says_so() {
    let refused = SqlStore::connect("sqlite:/there/is/no/such/directory/sessions.db").await.unwrap_err();
    assert!(refused.is_transient());
    let said = format!("{refused:?}");
    assert!(said.contains("unable to open database file"), "{said}");
    assert!(said.contains("the file /there/is/no/such/directory/sessions.db"), "{said}");
    assert!(said.ends_with("; /there/is/no/such/directory is not a directory"), "{said}");
}

#[tokio::test]
async fn a_file_that_is_no_database_is_an_error() {
    let directory = Directory::new();
    std::fs::write(directory.file(), "something else, and long enough to be looked at as a header".repeat(20)).unwrap();
    assert!(matches!(SqlStore::connect(&directory.url()).await, Err(StoreError::Corrupt(_))));
}

#[tokio::test]
async fn an_applications_pool_serves_and_keeps_its_own_tables() {
    let directory = Directory::new();
    let pool = plain_pool(&directory.file()).await;
    sqlx::query("CREATE TABLE users (name TEXT)").execute(&pool).await.unwrap();
    let store = SqlStore::from_pool(pool.clone()).await.unwrap();
    store.insert(&bucket(1)).await.unwrap();
    assert!(matches!(store.load(&bucket(1).id).await.unwrap(), Some(Entry::Bucket(_))));
    sqlx::query("INSERT INTO users VALUES ('alice')").execute(&pool).await.unwrap();
}

#[tokio::test]
async fn an_applications_pool_has_its_connection_back_after_each_call() {
    let directory = Directory::new();
    let options = SqliteConnectOptions::new().filename(directory.file()).create_if_missing(true);
    let pool = SqlitePoolOptions::new().max_connections(1).connect_with(options).await.unwrap();
    let store = SqlStore::from_pool(pool.clone()).await.unwrap();
    store.insert(&bucket(1)).await.unwrap();
    assert_eq!(store.count().await.unwrap(), 1);
    pool.acquire().await.unwrap();
}

#[tokio::test]
async fn with_one_connection_calls_and_transactions_take_turns() {
    let directory = Directory::new();
    let store = SqlOptions::new().max_connections(1).connect(&directory.url()).await.unwrap();
    for id in 1..20 {
        store.insert(&bucket(id)).await.unwrap();
        assert!(store.renew_into(&bucket(id + 100), &bucket(id).id, Revision::FIRST, tombstone(id)).await.unwrap());
        assert!(store.load(&bucket(id + 100).id).await.unwrap().is_some());
    }
    assert_eq!(store.remove_all(Which::Everything, None).await.unwrap(), 19);
    store.close().await;
}

#[test]
fn a_store_may_outlive_its_runtime() {
    let directory = Directory::new();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let store = runtime.block_on(async {
        let store = SqlStore::connect(&directory.url()).await.unwrap();
        store.insert(&bucket(1)).await.unwrap();
        store
    });
    drop(runtime);
    drop(store);
}

#[tokio::test]
async fn a_swap_that_also_changes_the_subject_is_one() {
    let directory = Directory::new();
    let store = SqlStore::connect(&directory.url()).await.unwrap();
    store.insert(&bucket(1)).await.unwrap();
    for (revision, subject) in [(2, Some([9; 16])), (3, None), (4, Some([8; 16]))] {
        let subject = subject.map(SubjectTag::from_bytes);
        let next = Bucket { revision: Revision::new(revision), subject, ..bucket(1) };
        assert!(store.replace(&next, Revision::new(revision - 1)).await.unwrap());
        assert!(!store.replace(&next, Revision::new(revision - 1)).await.unwrap());
        let Some(Entry::Bucket(found)) = store.load(&next.id).await.unwrap() else { panic!("it is gone") };
        assert_eq!((found.revision, found.subject), (next.revision, next.subject));
    }
}

#[tokio::test]
async fn a_table_of_a_newer_release_is_refused_and_left_alone() {
    let directory = Directory::new();
    let store = SqlStore::connect(&directory.url()).await.unwrap();
    store.insert(&bucket(1)).await.unwrap();
    let pool = plain_pool(&directory.file()).await;
    sqlx::query("INSERT INTO secure_sessions_migrations VALUES (1000)").execute(&pool).await.unwrap();
    let refused = SqlStore::connect(&directory.url()).await.unwrap_err();
    assert!(matches!(refused, StoreError::Rejected(_)));
    let source = std::error::Error::source(&refused).unwrap().to_string();
    assert!(source.contains("version 1000"), "{source}");
    assert_eq!(store.count().await.unwrap(), 1);
}

#[tokio::test]
async fn a_migration_that_fails_leaves_nothing_behind() {
    let directory = Directory::new();
    let pool = plain_pool(&directory.file()).await;
    // It is in the way of the first migration's last statement.
    sqlx::query("CREATE TABLE secure_sessions_purge_at (x INTEGER)").execute(&pool).await.unwrap();
    assert!(matches!(SqlStore::connect(&directory.url()).await, Err(StoreError::Rejected(_))));
    sqlx::query("DROP TABLE secure_sessions_purge_at").execute(&pool).await.unwrap();
    SqlStore::connect(&directory.url()).await.unwrap().insert(&bucket(1)).await.unwrap();
}

#[tokio::test]
async fn a_writer_elsewhere_makes_a_write_wait_and_then_fail_and_nothing_is_lost() {
    let directory = Directory::new();
    let store = SqlOptions::new().timeout(Duration::from_millis(100)).connect(&directory.url()).await.unwrap();
    store.insert(&bucket(1)).await.unwrap();
    let pool = plain_pool(&directory.file()).await;
    let mut elsewhere = pool.begin_with("BEGIN IMMEDIATE").await.unwrap();
    let changed = Bucket { revision: Revision::new(2), ..bucket(1) };
    let (successor, old) = (Bucket { id: bucket(2).id, ..changed.clone() }, bucket(1).id);
    let failures = [
        store.insert(&bucket(3)).await.unwrap_err(),
        store.replace(&changed, Revision::FIRST).await.unwrap_err(),
        store.renew_into(&successor, &old, Revision::FIRST, tombstone(1)).await.unwrap_err(),
        store.remove(&old, None).await.unwrap_err(),
        store.remove_all(Which::Everything, None).await.unwrap_err(),
        store.purge_expired(Timestamp::from_millis(u64::MAX), 10).await.unwrap_err(),
    ];
    for failure in failures {
        assert!(matches!(failure, StoreError::Unavailable(_)), "{failure:?}");
    }
    // Reading goes on.
    assert_eq!(store.count().await.unwrap(), 1);
    // What the other one wrote in the meantime is seen: the swap is refused, not lost.
    sqlx::query("UPDATE secure_sessions SET revision = 7").execute(&mut *elsewhere).await.unwrap();
    elsewhere.commit().await.unwrap();
    assert!(!store.replace(&changed, Revision::FIRST).await.unwrap());
    assert!(store.replace(&Bucket { revision: Revision::new(8), ..bucket(1) }, Revision::new(7)).await.unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_swaps_through_two_pools_one_wins() {
    let directory = Directory::new();
    let stores =
        [SqlStore::connect(&directory.url()).await.unwrap(), SqlStore::connect(&directory.url()).await.unwrap()];
    stores[0].insert(&bucket(1)).await.unwrap();
    for round in 1..=10 {
        let tasks: Vec<_> = (0..20)
            .map(|contender: usize| {
                let store = stores[contender % 2].clone();
                let changed = Bucket { revision: Revision::new(round + 1), ..bucket(1) };
                tokio::spawn(async move { store.replace(&changed, Revision::new(round)).await.unwrap() })
            })
            .collect();
        let mut wins = 0;
        for task in tasks {
            wins += u32::from(task.await.unwrap());
        }
        assert_eq!(wins, 1);
    }
}

#[tokio::test]
async fn a_row_that_someone_has_spoilt_is_an_error_and_not_a_missing_session() {
    let directory = Directory::new();
    let store = SqlStore::connect(&directory.url()).await.unwrap();
    let pool = plain_pool(&directory.file()).await;
    for (column, value) in [
        ("subject", "x'00'"),
        ("generation", "4294967296"),
        ("generation", "-1"),
        ("retired", "x'0001'"),
        ("retired", "x'ffff'"),
    ] {
        store.remove(&bucket(1).id, None).await.unwrap();
        store.insert(&bucket(1)).await.unwrap();
        let statement = format!("UPDATE secure_sessions SET {column} = {value}");
        sqlx::query(sqlx::AssertSqlSafe(statement)).execute(&pool).await.unwrap();
        let failure = store.load(&bucket(1).id).await.unwrap_err();
        assert!(matches!(failure, StoreError::Corrupt(_)), "{column} = {value}: {failure:?}");
    }
}

#[tokio::test]
async fn an_unreadable_row_is_listed_as_such_and_removed_like_any_other() {
    let directory = Directory::new();
    let store = SqlStore::connect(&directory.url()).await.unwrap();
    let pool = plain_pool(&directory.file()).await;
    let subject = bucket(1).subject.unwrap();
    let spoil = || async {
        for id in 1..=3 {
            let _ = store.insert(&bucket(id)).await;
        }
        let statement = "UPDATE secure_sessions SET retired = x'ffff' WHERE id = ?";
        sqlx::query(statement).bind(&bucket(2).id.as_bytes()[..]).execute(&pool).await.unwrap();
        let mut listed = Vec::new();
        let mut next = Some(Page::first(1));
        while let Some(page) = next {
            let found = store.list(&[subject], page).await.unwrap();
            next = page.next(&found);
            listed.extend(found.into_iter().map(|listed| match listed {
                Ok(bucket) => (bucket.id, true),
                Err(unreadable) => (unreadable.id, !matches!(unreadable.error, StoreError::Corrupt(_))),
            }));
        }
        assert_eq!(listed, [(bucket(1).id, true), (bucket(2).id, false), (bucket(3).id, true)]);
    };
    for stone in [None, Some(tombstone(2))] {
        spoil().await;
        assert!(store.remove(&bucket(2).id, stone).await.unwrap());
        assert_eq!(store.load(&bucket(2).id).await.unwrap().is_some(), stone.is_some());
        assert_eq!(store.list(&[subject], Page::first(9)).await.unwrap().len(), 2);
    }
    store.purge_expired(Timestamp::from_millis(u64::MAX), 10).await.unwrap();
    for which in [Which::Subjects(&[subject]), Which::Everything] {
        spoil().await;
        assert_eq!(store.remove_all(which, Some(&bucket(3).id)).await.unwrap(), 2);
        assert!(store.load(&bucket(2).id).await.unwrap().is_none());
    }
}

#[tokio::test]
async fn a_closed_store_is_unavailable() {
    let store = SqlStore::connect("sqlite::memory:").await.unwrap();
    let clone = store.clone();
    store.close().await;
    assert!(matches!(clone.load(&bucket(1).id).await, Err(StoreError::Unavailable(_))));
}

#[tokio::test]
async fn a_lost_table_is_rejected() {
    let directory = Directory::new();
    let store = SqlStore::connect(&directory.url()).await.unwrap();
    sqlx::query("DROP TABLE secure_sessions").execute(&plain_pool(&directory.file()).await).await.unwrap();
    let failure = store.load(&bucket(1).id).await.unwrap_err();
    assert!(matches!(failure, StoreError::Rejected(_)), "{failure:?}");
    assert!(!failure.is_transient());
}

#[tokio::test]
async fn numbers_beyond_an_i64_are_kept_and_their_deadline_is_the_last_instant() {
    let store = SqlStore::connect("sqlite::memory:").await.unwrap();
    let last = Timestamp::from_millis(u64::MAX);
    let eternal = Bucket { expires_at: last, idle_timeout: None, ..bucket(1) };
    store.insert(&eternal).await.unwrap();
    assert_eq!(store.purge_expired(Timestamp::from_millis(i64::MAX.unsigned_abs() - 1), 10).await.unwrap(), 0);
    let Some(Entry::Bucket(loaded)) = store.load(&eternal.id).await.unwrap() else { panic!("it was just inserted") };
    assert_eq!(loaded.expires_at, last);
    assert_eq!(store.purge_expired(last, 10).await.unwrap(), 1);
}

#[tokio::test]
async fn a_large_purge_goes_in_batches_and_counts_all() {
    let store = SqlStore::connect("sqlite::memory:").await.unwrap();
    for number in 0..2100_u32 {
        let mut id = [0; 16];
        id[..4].copy_from_slice(&number.to_be_bytes());
        store.insert(&Bucket { id: SessionId::from_bytes(id), ..bucket(1) }).await.unwrap();
    }
    let later = bucket(1).purge_at();
    assert_eq!(store.purge_expired(later, 2050).await.unwrap(), 2050);
    assert_eq!(store.purge_expired(later, 2050).await.unwrap(), 50);
}

#[tokio::test]
async fn a_touch_leaves_the_purges_date_and_the_purge_follows_it() {
    let directory = Directory::new();
    let store = SqlStore::connect(&directory.url()).await.unwrap();
    let pool = plain_pool(&directory.file()).await;
    let purge_at = async || {
        let date: i64 = sqlx::query_scalar("SELECT purge_at FROM secure_sessions").fetch_one(&pool).await.unwrap();
        Timestamp::from_millis(date.cast_unsigned())
    };
    let (first, second) = (Revision::FIRST, Revision::new(2));
    store.insert(&bucket(1)).await.unwrap();
    let seen = bucket(1).last_seen_at.after(Millis::from_secs(1000));
    let later = Bucket { revision: second, last_seen_at: seen, ..bucket(1) };
    assert!(store.replace(&later, first).await.unwrap());
    assert_eq!(purge_at().await, bucket(1).purge_at(), "it is left as it was");

    assert_eq!(store.purge_expired(bucket(1).purge_at(), 10).await.unwrap(), 0, "it is not due any more");
    assert_eq!(purge_at().await, later.purge_at(), "the purge moved it");

    let shorter = Bucket { revision: Revision::new(3), idle_timeout: Some(Millis::from_secs(60)), ..later };
    assert!(store.replace(&shorter, second).await.unwrap());
    assert_eq!(store.purge_expired(shorter.purge_at(), 10).await.unwrap(), 1, "an earlier deadline counts at once");
}

#[tokio::test]
async fn a_dropped_call_leaves_no_lock_behind() {
    let directory = Directory::new();
    let store = SqlOptions::new().timeout(Duration::from_secs(2)).connect(&directory.url()).await.unwrap();
    store.insert(&bucket(1)).await.unwrap();
    for polls in 0..60_u32 {
        let successor = Bucket { id: bucket(2).id, ..bucket(1) };
        let (id, stone) = (bucket(1).id, tombstone(1));
        {
            let mut call = std::pin::pin!(store.renew_into(&successor, &id, Revision::FIRST, stone));
            for _ in 0..polls {
                if tokio::time::timeout(Duration::from_micros(50), &mut call).await.is_ok() {
                    break;
                }
            }
        }
        // This one waits for whatever the dropped call still has to undo.
        store.insert(&bucket(3)).await.unwrap();
        store.remove(&bucket(3).id, None).await.unwrap();
        // Whole or not at all.
        let old = store.load(&id).await.unwrap();
        let new = store.load(&bucket(2).id).await.unwrap();
        match (old, new) {
            (Some(Entry::Bucket(_)), None) => {}
            (Some(Entry::Tombstone(_)), Some(Entry::Bucket(_))) => return,
            (old, new) => panic!("half a renewal: {old:?} {new:?}"),
        }
    }
    assert!(
        store
            .renew_into(&Bucket { id: bucket(2).id, ..bucket(1) }, &bucket(1).id, Revision::FIRST, tombstone(1))
            .await
            .unwrap()
    );
}

async fn expect(store: &SqlStore, bucket: &Bucket) {
    let Some(Entry::Bucket(found)) = store.load(&bucket.id).await.unwrap() else { panic!("{:?} is gone", bucket.id) };
    assert_eq!(found.to_record(), bucket.to_record());
}

/// A pool of one connection, whose settings can be changed under the store.
async fn one_connection(directory: &Directory) -> sqlx::SqlitePool {
    let options = SqliteConnectOptions::new()
        .filename(directory.file())
        .create_if_missing(true)
        .journal_mode(sqlx::sqlite::SqliteJournalMode::Wal)
        .synchronous(sqlx::sqlite::SqliteSynchronous::Full);
    SqlitePoolOptions::new().max_connections(1).connect_with(options).await.unwrap()
}

#[tokio::test]
async fn a_full_disk_loses_no_acknowledged_write_and_the_store_then_recovers() {
    let directory = Directory::new();
    let pool = one_connection(&directory).await;
    let store = SqlStore::from_pool(pool.clone()).await.unwrap();
    sqlx::query("PRAGMA max_page_count = 60").execute(&pool).await.unwrap();
    let mut kept = 0_u8;
    let big = |id| Bucket { handoff: Some(vec![id; 8000]), ..bucket(id) };
    let failure = loop {
        match store.insert(&big(kept)).await {
            Ok(()) => kept += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(failure, StoreError::Unavailable(_)), "{failure:?}");
    let successor = big(201);
    let renewal = store.renew_into(&successor, &big(0).id, Revision::FIRST, tombstone(0)).await;
    assert!(matches!(renewal, Ok(true) | Err(StoreError::Unavailable(_))), "{renewal:?}");
    // Logging out needs no room.
    assert!(store.remove(&big(1).id, None).await.unwrap());
    sqlx::query("PRAGMA max_page_count = 100000").execute(&pool).await.unwrap();
    store.insert(&big(200)).await.unwrap();
    assert!(store.load(&big(1).id).await.unwrap().is_none());
    for id in 2..kept {
        expect(&store, &big(id)).await;
    }
    let (old, new) = (store.load(&big(0).id).await.unwrap(), store.load(&successor.id).await.unwrap());
    match renewal {
        Ok(_) => assert!(matches!((old, new), (Some(Entry::Tombstone(_)), Some(Entry::Bucket(_))))),
        Err(_) => {
            assert!(matches!((old, new), (Some(Entry::Bucket(_)), None)));
            // On the connection on which it failed.
            assert!(store.renew_into(&successor, &big(0).id, Revision::FIRST, tombstone(0)).await.unwrap());
        }
    }
}

#[tokio::test]
async fn a_read_only_file_is_read_and_refuses_writes_until_it_is_back() {
    let directory = Directory::new();
    let pool = one_connection(&directory).await;
    let store = SqlStore::from_pool(pool.clone()).await.unwrap();
    store.insert(&bucket(1)).await.unwrap();
    sqlx::query("PRAGMA query_only = ON").execute(&pool).await.unwrap();
    let changed = Bucket { revision: Revision::new(2), ..bucket(1) };
    let failures = [
        store.insert(&bucket(2)).await.unwrap_err(),
        store.replace(&changed, Revision::FIRST).await.unwrap_err(),
        store.renew_into(&bucket(3), &bucket(1).id, Revision::FIRST, tombstone(1)).await.unwrap_err(),
        store.remove(&bucket(1).id, None).await.unwrap_err(),
    ];
    for failure in failures {
        assert!(matches!(failure, StoreError::Rejected(_)), "{failure:?}");
    }
    expect(&store, &bucket(1)).await;
    sqlx::query("PRAGMA query_only = OFF").execute(&pool).await.unwrap();
    assert!(store.replace(&changed, Revision::FIRST).await.unwrap());
}
