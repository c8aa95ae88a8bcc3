//! Tables: who makes them, and those of another release.

use std::fs;
use std::time::Duration;

use services::Shared;

use crate::{Host, block_on};

#[test]
fn no_command_but_migrate_makes_a_file_or_a_table() {
    let host = Host::new();
    let (missing, url) = (host.path("typo.db"), format!("sqlite:{}", host.path("typo.db").display()));
    let empty = format!("sqlite:{}", host.path("empty.db").display());
    fs::write(host.path("empty.db"), "").expect("written");
    for command in [&["sessions", "count"][..], &["sessions", "list", "alice"], &["not-before", "now"], &["purge"]] {
        let run = host.run(&[&["--store", &url], command].concat(), "");
        assert!(
            run.code == 1 && run.err.contains("there is no such file: name another one"),
            "{command:?}: {}",
            run.err
        );
        let run = host.run(&[&["--store", &empty], command].concat(), "");
        assert!(run.code == 2 && run.err.contains("run `secure-sessions migrate`"), "{command:?}: {}", run.err);
        assert!(!run.err.contains("CREATE TABLE"), "{command:?}: {}", run.err);
    }
    for store in [&url, &empty] {
        let doctor = host.run(&["--store", store, "doctor"], "");
        assert!(doctor.code == 1 && doctor.out.contains("BAD      store"), "{}", doctor.out);
    }
    assert!(!missing.exists());
    let all = host.run(&["migrate", "--print", "sqlite"], "").out;
    let lacking = host.run(&["--store", &empty, "migrate", "--print"], "").out;
    assert!(lacking.ends_with(&all), "an empty database lacks all of it: {lacking}");
    let why = lacking.trim_end_matches(&all);
    assert!(why.lines().all(|line| line.starts_with("-- ")), "{why}");
    assert!(why.contains("unknown") && why.contains("no such table"), "that it is empty is not certain: {why}");
    assert_eq!(host.run(&["--store", &empty, "migrate"], "").code, 0);
    assert!(host.run(&["--store", &empty, "migrate", "--print"], "").out.contains("Nothing is missing"));
    assert_eq!(host.run(&["--store", &empty, "sessions", "count"], "").out.trim(), "0");
}

#[test]
fn a_table_of_another_release_is_left_alone_and_the_answer_says_what_to_do() {
    let host = Host::with_tables();
    let path = host.path("sessions.db");
    let change = |statement: &'static str| {
        block_on(async {
            use secure_sessions::store::sqlx;
            let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&path);
            let pool = sqlx::SqlitePool::connect_with(options).await.expect("a database");
            sqlx::query(statement).execute(&pool).await.expect("SQL");
            pool.close().await;
        });
    };
    change("INSERT INTO secure_sessions_migrations (version) VALUES (1000)");
    for command in [&["sessions", "count"][..], &["migrate"], &["migrate", "--print"]] {
        let run = host.run(command, "");
        assert!(run.code == 2 && run.err.contains("rolling out a new version"), "{command:?}: {}", run.err);
    }
    change("DELETE FROM secure_sessions_migrations WHERE version > 999");
    assert_eq!(host.run(&["sessions", "count"], "").code, 0, "the note is taken back");

    change("DELETE FROM secure_sessions_migrations WHERE version > 1");
    let run = host.run(&["sessions", "count"], "");
    assert!(
        run.code == 2 && run.err.contains("has version 1") && run.err.contains("`secure-sessions migrate`"),
        "{}",
        run.err
    );
    let sql = host.run(&["migrate", "--print"], "").out;
    assert!(sql.contains("VALUES (2)") && !sql.contains("VALUES (1)"), "what is missing, and no more: {sql}");
}

#[test]
fn the_printed_schema_is_what_the_store_would_create() {
    let host = Host::new();
    let sql = host.run(&["--table", "shop", "migrate", "--print", "sqlite"], "").out;
    let path = host.path("printed.db");
    let url = format!("sqlite:{}", path.display());
    block_on(async {
        let options =
            secure_sessions::store::sqlx::sqlite::SqliteConnectOptions::new().filename(&path).create_if_missing(true);
        let pool = secure_sessions::store::sqlx::SqlitePool::connect_with(options).await.expect("a database");
        secure_sessions::store::sqlx::raw_sql(secure_sessions::store::sqlx::AssertSqlSafe(sql))
            .execute(&pool)
            .await
            .expect("SQL");
        pool.close().await;
    });
    let store = ["--store", &url, "--table", "shop"];
    assert_eq!(host.run(&[&store[..], &["sessions", "count"]].concat(), "").out.trim(), "0");
}

#[test]
fn a_migration_may_take_longer_than_a_call() {
    use secure_sessions::store::sqlx::{self, AssertSqlSafe};
    let Some(url) = Shared::Postgres.url() else { return };
    let table = format!("cli_slow_{}", std::process::id());
    let host = Host::on(["--store", &url, "--table", &table].map(str::to_owned).to_vec());
    block_on(async {
        let pool = sqlx::PgPool::connect(&url).await.expect("a database");
        let run = |statement: String| sqlx::raw_sql(AssertSqlSafe(statement));
        let make = format!("CREATE TABLE {table}_migrations (version BIGINT NOT NULL PRIMARY KEY)");
        run(make).execute(&pool).await.expect("a table");
        let mut holder = pool.begin().await.expect("a transaction");
        // Others may read it, and not write to it.
        let lock = format!("LOCK TABLE {table}_migrations IN EXCLUSIVE MODE");
        run(lock).execute(&mut *holder).await.expect("a lock");
        let tool = tokio::task::spawn_blocking(move || host.run(&["migrate"], ""));
        let waiting = format!("SELECT 1 FROM pg_locks WHERE NOT granted AND relation = '{table}_migrations'::regclass");
        while run(waiting.clone()).fetch_optional(&pool).await.expect("the locks").is_none() {
            assert!(!tool.is_finished(), "it does not wait: {}", tool.await.expect("a run").err);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        // A call takes 5 seconds at most.
        tokio::time::sleep(Duration::from_secs(6)).await;
        let has_waited = !tool.is_finished();
        holder.commit().await.expect("released");
        let run = tool.await.expect("a run");
        assert!(has_waited && run.code == 0, "{} {}", run.out, run.err);
        pool.close().await;
    });
}
