//! The properties of PostgreSQL alone.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use secure_sessions_store::sqlx::{self, PgPool, Row};
use secure_sessions_store::{Bucket, Retired, Revision, SessionStore, SqlOptions, Timestamp, Which};

use crate::common::next;
use crate::support::{Kind, NOW, block_on, run, session, tombstone};

#[test]
fn an_operator_can_read_the_columns() {
    run(Kind::Postgres, |database| async move {
        let store = database.open().await;
        let (label, handoff) = (Some(b"label".to_vec()), None);
        let retired = Retired {
            fingerprint: session(4).current,
            generation: 1,
            superseded_at: Timestamp::from_millis(NOW),
            dead_after: None,
        };
        store.insert(&Bucket { label, handoff, retired: vec![retired], ..session(1) }).await.unwrap();
        store.insert(&session(2)).await.unwrap();
        store.remove(&session(2).id, Some(tombstone(session(2).id))).await.unwrap();
        let read = format!(
            "SELECT revision, encode(subject, 'hex'), convert_from(label, 'UTF8'), \
             to_timestamp(last_seen_at / 1000.0) AT TIME ZONE 'UTC', (expires_at - created_at) / 60000, \
             idle_timeout / 60000, generation, octet_length(retired), purge_at FROM {} WHERE ended_at IS NULL",
            database.table
        );
        let mut admin = database.admin().await;
        let row = &admin.texts(&read).await[0];
        let purge_at = session(1).purge_at().as_millis().to_string();
        let subject = "01".repeat(16);
        assert_eq!(row[..], ["1", &subject, "label", "2027-01-15 08:00:00", "480", "30", "1", "38", &purge_at]);
        let ended = format!("SELECT encode(id, 'hex') FROM {} WHERE ended_at = {NOW}", database.table);
        assert_eq!(admin.texts(&ended).await, [["02".repeat(16)]]);
        let comment = format!("SELECT obj_description('{}'::regclass)", database.table);
        assert!(admin.texts(&comment).await[0][0].contains("milliseconds"));
    });
}

#[test]
fn every_statement_on_the_request_path_uses_an_index() {
    run(Kind::Postgres, |database| async move {
        database.open().await.close().await;
        let mut admin = database.admin().await;
        let table = &database.table;
        // The table is empty; what matters is whether an index can do it.
        admin.run("SET enable_seqscan = off; SET enable_bitmapscan = off; SET enable_sort = off").await;
        for (statement, index) in [
            ("SELECT * FROM sessions WHERE id = '\\x00'", "_pkey"),
            ("UPDATE sessions SET revision = 2 WHERE id = '\\x00' AND revision = 1", "_pkey"),
            ("UPDATE sessions SET ended_at = 2 WHERE id = '\\x00' AND ended_at IS NULL", "_pkey"),
            ("SELECT * FROM sessions WHERE subject = '\\x00' AND id > '\\x' ORDER BY id LIMIT 9", "_subject"),
            ("SELECT * FROM sessions WHERE group_tag = '\\x00' AND id > '\\x' ORDER BY id LIMIT 9", "_group_tag"),
            (
                "DELETE FROM sessions WHERE purge_at <= 1 AND id = ANY(ARRAY(SELECT id FROM sessions \
                 WHERE purge_at <= 1 ORDER BY purge_at LIMIT 9 FOR UPDATE SKIP LOCKED))",
                "_purge_at",
            ),
        ] {
            let plan = admin.texts(&format!("EXPLAIN {}", statement.replace("sessions", table))).await;
            let plan: Vec<&str> = plan.iter().map(|line| line[0].as_str()).collect();
            assert!(plan.iter().any(|step| step.contains(&format!("{table}{index}"))), "{statement}: {plan:#?}");
            assert!(!plan.iter().any(|step| step.contains("Seq Scan")), "{statement}: {plan:#?}");
        }
    });
}

#[test]
fn an_acknowledged_write_is_on_disk_also_where_the_server_is_set_otherwise() {
    run(Kind::Postgres, |database| async move {
        let url = format!("{}?options=-c%20synchronous_commit%3Doff", database.url);
        let options = database.options().max_connections(1).timeout(Duration::from_secs(30));
        let store = options.connect(&url).await.unwrap();
        store.insert(&session(1)).await.unwrap();
        // The server tells what the store's connection is set to, through a trigger that fires on it.
        let table = &database.table;
        let mut admin = database.admin().await;
        admin
            .run(&format!(
                "CREATE FUNCTION {table}_tell() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
                 NEW.created_at := CASE current_setting('synchronous_commit') WHEN 'on' THEN 1 ELSE 0 END; \
                 NEW.last_seen_at := CASE current_setting('statement_timeout') WHEN '30s' THEN 1 ELSE 0 END; \
                 NEW.rotated_at := CASE current_setting('idle_in_transaction_session_timeout') \
                 WHEN '30s' THEN 1 ELSE 0 END; RETURN NEW; END $$; \
                 CREATE TRIGGER tell BEFORE UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION {table}_tell()"
            ))
            .await;
        assert!(store.replace(&next(&session(1)), Revision::FIRST).await.unwrap());
        let told = admin.numbers(&format!("SELECT created_at + last_seen_at + rotated_at FROM {table}")).await;
        admin.run(&format!("DROP FUNCTION {table}_tell CASCADE")).await;
        assert_eq!(told, [3]);
    });
}

/// By the numbers of the transactions, which the rows bear.
#[test]
fn a_renewal_is_one_transaction_and_a_swap_another() {
    run(Kind::Postgres, |database| async move {
        let store = database.open().await;
        store.insert(&session(1)).await.unwrap();
        store.replace(&next(&session(1)), Revision::FIRST).await.unwrap();
        let mut admin = database.admin().await;
        let writers = format!("SELECT xmin::text::bigint FROM {} ORDER BY id", database.table);
        let swapped = admin.numbers(&writers).await[0];
        store.renew_into(&session(2), &session(1).id, Revision::new(2), tombstone(session(1).id)).await.unwrap();
        let renewed = admin.numbers(&writers).await;
        assert_eq!(renewed[0], renewed[1]);
        assert_ne!(renewed[0], swapped);
    });
}

#[test]
fn a_purge_does_not_wait_for_those_who_write_until_only_theirs_are_left() {
    run(Kind::Postgres, |database| async move {
        let store = database.open().await;
        for id in 1..=20 {
            store.insert(&session(id)).await.unwrap();
        }
        let mut elsewhere = database.admin().await;
        elsewhere
            .run(&format!("BEGIN; UPDATE {} SET revision = 7 WHERE id = '\\x{}'", database.table, "05".repeat(16)))
            .await;
        let later = session(1).purge_at();
        // It would wait in vain for the row that is locked.
        assert_eq!(store.purge_expired(later, 19).await.unwrap(), 19);
        // One is left, and it is not known what will become of it: the answer cannot be that none is.
        let hasty = database.options().timeout(Duration::from_secs(4)).connect(&database.url).await.unwrap();
        assert!(hasty.purge_expired(later, 19).await.is_err_and(|error| error.is_transient()));
        elsewhere.run("COMMIT").await;
        // The statement that was given up may have got it in the end.
        assert!(store.purge_expired(later, 19).await.unwrap() <= 1);
        assert_eq!(store.count().await.unwrap(), 0);
    });
}

/// Somebody who renews a session without a pause is nearly always in the middle of a renewal, which whoever ends sessions
/// waits for, to find that the session has another id by then.
#[test]
fn who_renews_without_a_pause_is_stopped_by_the_second_pass() {
    run(Kind::Postgres, |database| async move {
        let store = database.open().await;
        store.insert(&session(1)).await.unwrap();
        let mut thief = database.admin().await;
        let (table, begun) = (database.table.clone(), Arc::new(AtomicBool::new(false)));
        let ending = Arc::clone(&begun);
        let renewals = tokio::spawn(async move {
            let mut since = 0;
            for id in 2..=u8::MAX {
                let id = format!(r"\x{}", format!("{id:02x}").repeat(16));
                // One begins in the same instant in which the other is committed.
                let renew = format!(
                    "SELECT pg_sleep(0.2); COMMIT; BEGIN; WITH old AS (DELETE FROM {table} RETURNING *) \
                     INSERT INTO {table} SELECT (jsonb_populate_record(NULL::{table}, \
                     to_jsonb(old) || jsonb_build_object('id', '{id}'))).* FROM old"
                );
                thief.run(&renew).await;
                if thief.numbers(&format!("SELECT COUNT(*) FROM {table}")).await == [0] {
                    break;
                }
                since += u32::from(ending.load(Ordering::SeqCst));
            }
            since
        });
        tokio::time::sleep(Duration::from_millis(200)).await;
        begun.store(true, Ordering::SeqCst);
        assert_eq!(store.remove_all(Which::Everything, None).await.unwrap(), 1);
        // The one under way, one that began before the next pass, one in front of it; and more on a busy machine, but not all.
        let renewals = renewals.await.unwrap();
        assert!(renewals <= 50, "{renewals} renewals");
    });
}

#[test]
fn an_applications_pool_is_left_as_it_is() {
    run(Kind::Postgres, |database| async move {
        let pool = PgPool::connect(&database.url).await.unwrap();
        let store = database.options().pool(pool.clone()).await.unwrap();
        store.insert(&session(1)).await.unwrap();
        for setting in ["statement_timeout", "idle_in_transaction_session_timeout"] {
            let show = sqlx::AssertSqlSafe(format!("SHOW {setting}"));
            let value: String = sqlx::query(show).fetch_one(&pool).await.unwrap().get(0);
            assert_eq!(value, "0", "{setting}");
        }
        store.close().await;
    });
}

/// It has what was replicated so far, not what was acknowledged.
#[test]
fn a_standby_is_not_read() {
    let Some(service) = Kind::Postgres.service(|setup| setup) else { return };
    block_on(async {
        let options = || SqlOptions::new().timeout(Duration::from_secs(20));
        let store = options().connect(service.url()).await.unwrap();
        store.insert(&session(1)).await.unwrap();
        service.kill().unwrap();
        // From now on it waits for a primary's log, and answers readers meanwhile.
        std::fs::write(service.directory().join("data/standby.signal"), "").unwrap();
        service.restart().unwrap();
        for _ in 0..2 {
            assert!(store.load(&session(1).id).await.is_err_and(|error| error.is_transient()));
        }
        assert!(options().connect(service.url()).await.is_err_and(|error| error.is_transient()));
        // It is promoted.
        service.kill().unwrap();
        std::fs::remove_file(service.directory().join("data/standby.signal")).unwrap();
        service.restart().unwrap();
        assert!(store.replace(&next(&session(1)), Revision::FIRST).await.unwrap());
    });
}
