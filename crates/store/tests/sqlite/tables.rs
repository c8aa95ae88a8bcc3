//! The tables: their names, columns, indexes and migrations.

use secure_sessions_store::sqlx::{self, Row};
use secure_sessions_store::{
    Bucket, Fingerprint, MissingMigrations, Retired, SessionStore, SqlOptions, SqlStore, StoreError, Timestamp, Which,
};

use crate::{Directory, NOW, bucket, open, plain_pool, tombstone};

#[tokio::test]
async fn an_operator_can_read_the_columns() {
    let directory = Directory::new();
    let store = open(&directory.url()).await;
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
    let _store = open(&directory.url()).await;
    let pool = plain_pool(&directory.file()).await;
    for (statement, index) in [
        ("SELECT * FROM secure_sessions WHERE id = x'00'", "sqlite_autoindex_secure_sessions_1 (id=?)"),
        (
            "UPDATE secure_sessions SET revision = 2 WHERE id = x'00' AND revision = 1",
            "sqlite_autoindex_secure_sessions_1 (id=?)",
        ),
        (
            "SELECT * FROM (SELECT * FROM secure_sessions WHERE subject = x'00' AND id > x'' ORDER BY id LIMIT 9) AS part0 \
             UNION ALL SELECT * FROM (SELECT * FROM secure_sessions WHERE subject = x'01' AND id > x'' ORDER BY id LIMIT 9) \
             AS part1 ORDER BY id LIMIT 9",
            "secure_sessions_subject (subject=? AND id>?)",
        ),
        (
            "SELECT * FROM secure_sessions WHERE group_tag = x'00' AND id > x'' ORDER BY id LIMIT 9",
            "secure_sessions_group_tag (group_tag=? AND id>?)",
        ),
        (
            "SELECT id FROM secure_sessions WHERE group_tag IN (x'00', x'01') AND ended_at IS NULL AND id <> x'' LIMIT 9",
            "secure_sessions_group_tag (group_tag=?",
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
        // The parts of a list are pages themselves.
        let scans = |step: &String| step.starts_with("SCAN") && !step.starts_with("SCAN part");
        assert!(!plan.iter().any(scans), "{statement}: {plan:?}");
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
            "admin_sessions_group_tag",
            "admin_sessions_migrations",
            "admin_sessions_not_before",
            "admin_sessions_purge_at",
            "admin_sessions_subject",
            "admin_sessions_vault",
            "admin_sessions_vault_purge_at",
            "secure_sessions",
            "secure_sessions_group_tag",
            "secure_sessions_migrations",
            "secure_sessions_not_before",
            "secure_sessions_purge_at",
            "secure_sessions_subject",
            "secure_sessions_vault",
            "secure_sessions_vault_purge_at",
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
async fn a_table_of_a_newer_release_is_refused_and_left_alone() {
    let directory = Directory::new();
    let store = open(&directory.url()).await;
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
    open(&directory.url()).await.insert(&bucket(1)).await.unwrap();
}

#[tokio::test]
async fn a_lost_table_is_rejected() {
    let directory = Directory::new();
    let store = open(&directory.url()).await;
    sqlx::query("DROP TABLE secure_sessions").execute(&plain_pool(&directory.file()).await).await.unwrap();
    let failure = store.load(&bucket(1).id).await.unwrap_err();
    assert!(matches!(failure, StoreError::Rejected(_)), "{failure:?}");
    assert!(!failure.is_transient());
}

#[tokio::test]
async fn a_store_that_may_not_migrate_names_the_sql_that_is_missing() {
    let directory = Directory::new();
    let pool = plain_pool(&directory.file()).await;
    let options = || SqlOptions::new().migrates(false);
    let refused = options().connect(&directory.url()).await.unwrap_err();
    let StoreError::Rejected(cause) = refused else { panic!("{refused:?}") };
    let text = cause.to_string();
    assert!(text.contains("has version 0, this release needs "), "{text}");
    let sql = &text[text.find("CREATE TABLE").unwrap()..];
    assert_eq!(sql, SqlOptions::new().schema("sqlite").unwrap());
    let missing = cause.downcast_ref::<MissingMigrations>().unwrap();
    assert_eq!((missing.version, missing.sql.as_str()), (0, sql));
    let tables: i64 = sqlx::query_scalar("SELECT count(*) FROM sqlite_schema").fetch_one(&pool).await.unwrap();
    assert_eq!(tables, 0);
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql.to_owned())).execute(&pool).await.unwrap();
    let store = options().connect(&directory.url()).await.unwrap();
    store.insert(&bucket(1)).await.unwrap();
    assert_eq!(store.count().await.unwrap(), 1);
}

#[tokio::test]
async fn a_store_that_may_not_migrate_makes_no_file() {
    let directory = Directory::new();
    let refused = SqlOptions::new().migrates(false).connect(&directory.url()).await.unwrap_err();
    let said = format!("{refused:?}");
    assert!(said.ends_with("; there is no such file") && said.contains(directory.file().to_str().unwrap()), "{said}");
    assert!(!directory.file().exists());
}
