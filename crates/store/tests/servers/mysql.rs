//! The properties of MySQL and MariaDB alone.

use std::time::Duration;

use secure_sessions_store::sqlx::mysql::MySqlPoolOptions;
use secure_sessions_store::sqlx::{self, Row};
use secure_sessions_store::{Bucket, Revision, SessionStore, SqlOptions, StoreError};

use crate::support::{Admin, Kind, NOW, all_of, block_on, run, session, tombstone};

#[test]
fn an_operator_can_read_the_columns() {
    run(Kind::MySql, |database| async move {
        let store = database.open().await;
        store.insert(&Bucket { label: Some(b"label".to_vec()), ..session(1) }).await.unwrap();
        store.insert(&session(2)).await.unwrap();
        store.remove(&session(2).id, Some(tombstone(session(2).id))).await.unwrap();
        let read = format!(
            "SELECT CONVERT(revision, CHAR), HEX(subject), CONVERT(label USING utf8mb4), \
             CONVERT(FROM_UNIXTIME(last_seen_at DIV 1000), CHAR), CONVERT((expires_at - created_at) DIV 60000, CHAR), \
             CONVERT(idle_timeout DIV 60000, CHAR), CONVERT(generation, CHAR), CONVERT(purge_at, CHAR) \
             FROM {} WHERE ended_at IS NULL",
            database.table
        );
        let mut admin = database.admin().await;
        let row = &admin.texts(&read).await[0];
        let purge_at = session(1).purge_at().as_millis().to_string();
        let subject = "01".repeat(16);
        assert_eq!(row[..], ["1", &subject, "label", "2027-01-15 08:00:00", "480", "30", "1", &purge_at]);
        let ended = format!("SELECT HEX(id) FROM {} WHERE ended_at = {NOW}", database.table);
        assert_eq!(admin.texts(&ended).await, [["02".repeat(16)]]);
        let engine = format!("SELECT engine FROM information_schema.tables WHERE table_name = '{}'", database.table);
        assert_eq!(admin.texts(&engine).await, [["InnoDB"]]);
    });
}

/// A pool by itself asks about each connection that comes back: as many round trips again.
#[test]
fn a_call_does_not_ask_the_server_whether_its_connection_works() {
    let Some(service) = Kind::MySql.service(|setup| setup) else { return };
    block_on(async {
        let store = SqlOptions::new().timeout(Duration::from_secs(30)).connect(service.url()).await.unwrap();
        store.insert(&session(1)).await.unwrap();
        let mut admin = Admin::connect(Kind::MySql, service.url()).await.unwrap();
        let questions = "SHOW GLOBAL STATUS LIKE 'Com_admin_commands'";
        let mut pings = async || admin.texts(questions).await[0][1].parse::<u64>().unwrap();
        let before = pings().await;
        for _ in 0..100 {
            store.load(&session(1).id).await.unwrap();
        }
        // On a machine that is so busy that a second passes between two calls it does ask.
        let asked = pings().await - before;
        assert!(asked < 10, "{asked} pings in 100 calls");
    });
}

#[test]
fn every_statement_on_the_request_path_uses_an_index() {
    run(Kind::MySql, |database| async move {
        let store = database.open().await;
        for id in 1..=50 {
            let subject = session(id).subject.filter(|_| id < 4);
            store.insert(&Bucket { subject, ..session(id) }).await.unwrap();
        }
        let mut admin = database.admin().await;
        let table = &database.table;
        for (statement, index) in [
            ("SELECT * FROM sessions WHERE id = UNHEX(REPEAT('01', 16))", "PRIMARY"),
            ("UPDATE sessions SET revision = 2 WHERE id = UNHEX(REPEAT('01', 16)) AND revision = 1", "PRIMARY"),
            ("UPDATE sessions SET ended_at = 2 WHERE id = UNHEX(REPEAT('01', 16)) AND ended_at IS NULL", "PRIMARY"),
            (
                "SELECT * FROM sessions WHERE subject = UNHEX(REPEAT('01', 16)) AND id > '' ORDER BY id LIMIT 9",
                "secure_sessions_subject",
            ),
            (
                "SELECT * FROM sessions WHERE group_tag = UNHEX(REPEAT('01', 16)) AND id > '' ORDER BY id LIMIT 9",
                "secure_sessions_group_tag",
            ),
            ("DELETE FROM sessions WHERE purge_at <= 1 ORDER BY purge_at LIMIT 9", "secure_sessions_purge_at"),
        ] {
            let index = index.replace("secure_sessions", table);
            let explain = format!("EXPLAIN FORMAT=JSON {}", statement.replace("sessions", table));
            let plan = &admin.texts(&explain).await[0][0];
            assert!(plan.contains(&format!("\"key\": \"{index}\"")), "{statement}: {plan}");
        }
    });
}

/// Each change of a table is committed by itself there, so a process may die between two.
#[test]
fn a_migration_that_was_cut_off_is_completed() {
    run(Kind::MySql, |database| async move {
        let store = database.open().await;
        store.insert(&session(1)).await.unwrap();
        store.close().await;
        let mut admin = database.admin().await;
        admin.run(&format!("DELETE FROM {}_migrations", database.table)).await;
        let store = database.open().await;
        assert_eq!(store.count().await.unwrap(), 1);
        assert_eq!(
            admin.numbers(&format!("SELECT version FROM {}_migrations ORDER BY version", database.table)).await,
            [1, 2, 3]
        );
        // And the lock is free again.
        assert_eq!(
            admin.numbers(&format!("SELECT CAST(IS_FREE_LOCK('{}_migrations') AS SIGNED)", database.table)).await,
            [1]
        );
    });
}

/// The swap would be refused where nothing but the revision is the same, or nothing changed.
#[test]
fn a_swap_counts_the_row_that_it_matched_and_not_the_one_that_it_changed() {
    run(Kind::MySql, |database| async move {
        let store = database.open().await;
        store.insert(&session(1)).await.unwrap();
        assert!(store.replace(&session(1), Revision::FIRST).await.unwrap());
    });
}

#[test]
fn a_pool_that_does_not_commit_by_itself_is_refused() {
    run(Kind::MySql, |database| async move {
        let pool = MySqlPoolOptions::new()
            .max_connections(1)
            .after_connect(|connection, _| {
                Box::pin(async move { sqlx::raw_sql("SET autocommit = 0").execute(connection).await.map(drop) })
            })
            .connect(&database.url)
            .await
            .unwrap();
        let refused = database.options().pool(pool).await.unwrap_err();
        assert!(matches!(refused, StoreError::Rejected(_)), "{refused:?}");
        assert!(all_of(&refused).contains("autocommit"));
    });
}

#[test]
fn an_applications_pool_is_left_as_it_is() {
    run(Kind::MySql, |database| async move {
        let pool = MySqlPoolOptions::new().max_connections(1).connect(&database.url).await.unwrap();
        let store = database.options().pool(pool.clone()).await.unwrap();
        store.insert(&session(1)).await.unwrap();
        store.renew_into(&session(2), &session(1).id, Revision::FIRST, tombstone(session(1).id)).await.unwrap();
        let isolation: String =
            sqlx::query("SHOW VARIABLES LIKE 'tx_isolation'").fetch_one(&pool).await.unwrap().get(1);
        assert_eq!(isolation, "REPEATABLE-READ");
        store.close().await;
    });
}
