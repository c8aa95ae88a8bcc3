//! The properties of every server, beside the contract.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use secure_sessions_store::sqlx::mysql::MySqlPoolOptions;
use secure_sessions_store::sqlx::postgres::PgPoolOptions;
use secure_sessions_store::{
    Bucket, Entry, Page, Retired, Revision, SessionStore, SqlPool, SqlStore, StoreError, Tags, Timestamp, Which,
};

use crate::common::{SUBJECT, listed, next};
use crate::support::{ALONE, Database, Kind, NOW, all_of, assert_transient, expect, numbered, run, session, tombstone};

macro_rules! on_every_server {
    ($($case:ident)*) => {
        mod on_postgres {
            use super::*;

            $(#[test] fn $case() { run(Kind::Postgres, super::$case); })*
        }

        mod on_mysql {
            use super::*;

            $(#[test] fn $case() { run(Kind::MySql, super::$case); })*
        }
    };
}

on_every_server! {
    a_missing_table_may_be_made_by_many_at_once
    a_table_of_a_newer_release_is_refused
    a_user_without_the_right_to_change_tables_can_use_one_that_is_there
    a_call_is_one_statement_and_a_renewal_one_transaction
    a_locked_row_makes_a_call_fail_in_time_and_nothing_is_lost
    an_exhausted_pool_makes_a_call_fail_in_time_and_serves_again
    a_dropped_call_leaves_no_lock_and_no_half_renewal
    a_dropped_read_never_answers_somebody_else
    a_pool_with_another_isolation_level_loses_no_race
    no_error_holds_a_value_of_a_row
    a_spoilt_row_is_an_error_and_not_a_missing_session
    an_unreadable_row_is_listed_as_such_and_removed_like_any_other
    many_sessions_of_one_subject_are_listed_and_ended_while_others_go_on
    a_lost_table_is_rejected
    a_closed_store_is_unavailable
    a_wrong_address_or_password_is_an_error_in_time
    numbers_beyond_an_i64_are_kept
    a_large_purge_goes_in_batches_and_counts_all
    two_purges_at_once_share_the_work
    logging_many_out_against_each_other_ends_all
}

/// A pool of the application's, with these connections.
async fn own_pool(database: &Database, connections: u32, script: &'static str) -> SqlPool {
    match database.kind {
        Kind::Postgres => PgPoolOptions::new()
            .max_connections(connections)
            .after_connect(move |connection, _| {
                Box::pin(
                    async move { secure_sessions_store::sqlx::raw_sql(script).execute(connection).await.map(drop) },
                )
            })
            .connect(&database.url)
            .await
            .unwrap()
            .into(),
        Kind::MySql => MySqlPoolOptions::new()
            .max_connections(connections)
            .after_connect(move |connection, _| {
                Box::pin(
                    async move { secure_sessions_store::sqlx::raw_sql(script).execute(connection).await.map(drop) },
                )
            })
            .connect(&database.url)
            .await
            .unwrap()
            .into(),
    }
}

async fn a_missing_table_may_be_made_by_many_at_once(database: Database) {
    let options = || database.options().max_connections(1);
    for _ in 0..3 {
        let opened = join_all((0..6).map(|_| options().connect(&database.url))).await;
        for store in opened {
            let store = store.unwrap();
            assert_eq!(store.count().await.unwrap(), 0);
            store.close().await;
        }
        let table = &database.table;
        let mut admin = database.admin().await;
        assert_eq!(admin.numbers(&format!("SELECT version FROM {table}_migrations ORDER BY version")).await, [1, 2, 3]);
        admin.run(&format!("DROP TABLE {table}, {table}_vault, {table}_not_before, {table}_migrations")).await;
    }
}

async fn a_table_of_a_newer_release_is_refused(database: Database) {
    database.open().await.close().await;
    let mut admin = database.admin().await;
    admin.run(&format!("INSERT INTO {}_migrations (version) VALUES (1000)", database.table)).await;
    let refused = database.options().connect(&database.url).await.unwrap_err();
    assert!(matches!(refused, StoreError::Rejected(_)), "{refused:?}");
    assert!(all_of(&refused).contains("version 1000"));
}

async fn a_user_without_the_right_to_change_tables_can_use_one_that_is_there(database: Database) {
    database.open().await.close().await;
    let table = &database.table;
    let user = format!("u{table}");
    let mut admin = database.admin().await;
    let grant = database.kind.pick(
        &format!(
            "{ALONE}; CREATE ROLE {user} LOGIN PASSWORD 'p'; REVOKE CREATE ON SCHEMA public FROM {user}; \
             GRANT SELECT, INSERT, UPDATE, DELETE ON {table} TO {user}; GRANT SELECT ON {table}_migrations TO {user}; \
             GRANT SELECT, INSERT, UPDATE, DELETE ON {table}_vault TO {user}; \
             GRANT SELECT, INSERT ON {table}_not_before TO {user}"
        ),
        &format!(
            "CREATE USER {user}@'%' IDENTIFIED BY 'p'; GRANT SELECT, INSERT, UPDATE, DELETE ON {table} TO {user}@'%'; \
             GRANT SELECT ON {table}_migrations TO {user}@'%'; \
             GRANT SELECT, INSERT, UPDATE, DELETE ON {table}_vault TO {user}@'%'; \
             GRANT SELECT, INSERT ON {table}_not_before TO {user}@'%'"
        ),
    );
    admin.run(&grant).await;
    let (scheme, rest) = database.url.split_once("://").unwrap();
    let place = rest.split_once('@').map_or(rest, |(_, place)| place);
    let store = database.options().connect(&format!("{scheme}://{user}:p@{place}")).await.unwrap();
    store.insert(&session(1)).await.unwrap();
    assert!(store.renew_into(&session(2), &session(1).id, Revision::FIRST, tombstone(session(1).id)).await.unwrap());
    assert_eq!(store.remove_all(Which::Everything, None).await.unwrap(), 1);
    assert_eq!(store.purge_expired(session(1).purge_at(), 10).await.unwrap(), 1);
    let at = session(1).created_at;
    store.raise_not_before(at).await.unwrap();
    assert_eq!(store.not_before().await.unwrap(), Some(at));
    store.close().await;
    let remove =
        database.kind.pick(&format!("DROP OWNED BY {user}; DROP ROLE {user}"), &format!("DROP USER {user}@'%'"));
    admin.run(&remove).await;
}

/// Counted by the server itself.
async fn a_call_is_one_statement_and_a_renewal_one_transaction(database: Database) {
    let store = database.options().max_connections(1).connect(&database.url).await.unwrap();
    let (first, second) = (session(1), session(2));
    store.insert(&first).await.unwrap();
    let Kind::MySql = database.kind else {
        // PostgreSQL counts transactions, of the whole database: another test's would count too. See `postgres`.
        return;
    };
    let pool = own_pool(&database, 1, "SET SESSION innodb_lock_wait_timeout = 30").await;
    let SqlPool::MySql(pool) = pool else { unreachable!("it is MySQL's") };
    let store = database.options().pool(pool.clone()).await.unwrap();
    let counted = async || {
        let row: Vec<(String, String)> = secure_sessions_store::sqlx::query_as(
            "SHOW SESSION STATUS WHERE Variable_name IN ('Com_select', 'Com_update', 'Com_insert', 'Com_commit')",
        )
        .fetch_all(&pool)
        .await
        .unwrap();
        ["Com_select", "Com_update", "Com_insert", "Com_commit"].map(|wanted| {
            let found = row.iter().find(|(name, _)| name == wanted).unwrap();
            found.1.parse::<u32>().unwrap()
        })
    };
    let mut before = counted().await;
    let mut since = async || {
        let now = counted().await;
        let difference: Vec<u32> = now.iter().zip(before).map(|(now, before)| now - before).collect();
        before = now;
        difference
    };
    store.load(&first.id).await.unwrap().unwrap();
    assert_eq!(since().await, [1, 0, 0, 0]);
    assert!(store.replace(&next(&first), Revision::FIRST).await.unwrap());
    assert_eq!(since().await, [0, 1, 0, 0]);
    assert!(store.renew_into(&second, &first.id, Revision::new(2), tombstone(first.id)).await.unwrap());
    assert_eq!(since().await, [0, 1, 1, 1]);
    store.remove(&second.id, Some(tombstone(second.id))).await.unwrap();
    assert_eq!(since().await, [0, 1, 0, 0]);
}

async fn a_locked_row_makes_a_call_fail_in_time_and_nothing_is_lost(database: Database) {
    let patient = database.open().await;
    // Long enough to be opened on a busy machine.
    let store = database.options().timeout(Duration::from_secs(3)).connect(&database.url).await.unwrap();
    for bucket in [session(1), session(2)] {
        patient.insert(&bucket).await.unwrap();
    }
    let mut elsewhere = database.admin().await;
    let table = &database.table;
    elsewhere.run(&format!("BEGIN; UPDATE {table} SET revision = 7 WHERE id = {}", literal(&database, 1))).await;
    let (changed, successor) = (next(&session(1)), session(3));
    let since = Instant::now();
    let within = Duration::from_secs(40);
    assert_transient(store.replace(&changed, Revision::FIRST).await, since, within);
    assert_transient(store.remove(&changed.id, None).await, since, within);
    assert_transient(
        store.renew_into(&successor, &changed.id, Revision::FIRST, tombstone(changed.id)).await,
        since,
        within,
    );
    assert_transient(store.remove_all(Which::Everything, None).await, since, within);
    // Reading goes on, and so does writing to other sessions.
    expect(&patient, &session(1)).await;
    assert!(patient.replace(&next(&session(2)), Revision::FIRST).await.unwrap());
    // The store sees the other one's write of the meantime: it refuses the swap, and loses nothing.
    elsewhere.run("COMMIT").await;
    assert!(!patient.replace(&changed, Revision::FIRST).await.unwrap());
    let later = Bucket { revision: Revision::new(8), ..session(1) };
    assert!(patient.replace(&later, Revision::new(7)).await.unwrap());
    assert!(patient.load(&successor.id).await.unwrap().is_none());
}

/// The id of a session, as the server writes it.
fn literal(database: &Database, id: u8) -> String {
    let hex = format!("{id:02x}").repeat(16);
    database.kind.pick(&format!("'\\x{hex}'"), &format!("x'{hex}'"))
}

async fn an_exhausted_pool_makes_a_call_fail_in_time_and_serves_again(database: Database) {
    let (timeout, within) = (Duration::from_secs(3), Duration::from_secs(40));
    let pool = own_pool(&database, 2, "SELECT 1").await;
    let patient = database.open().await;
    let store = database.options().timeout(timeout).pool(pool.clone()).await.unwrap();
    patient.insert(&session(1)).await.unwrap();
    let held: Vec<Box<dyn std::any::Any>> = match &pool {
        SqlPool::Postgres(pool) => {
            vec![Box::new(pool.acquire().await.unwrap()), Box::new(pool.acquire().await.unwrap())]
        }
        SqlPool::MySql(pool) => vec![Box::new(pool.acquire().await.unwrap()), Box::new(pool.acquire().await.unwrap())],
        _ => unreachable!("no other server"),
    };
    for _ in 0..3 {
        let (since, stone) = (Instant::now(), tombstone(session(1).id));
        assert_transient(store.load(&stone.id).await, since, within);
        let renewal = store.renew_into(&session(2), &stone.id, Revision::FIRST, stone).await;
        assert_transient(renewal, since, within);
    }
    drop(held);
    // A busy machine may take longer than this store waits.
    let since = Instant::now();
    while let Err(error) = store.load(&session(1).id).await {
        assert!(error.is_transient() && since.elapsed() < Duration::from_secs(60), "{error:?}");
    }
    assert!(patient.replace(&next(&session(1)), Revision::FIRST).await.unwrap());
}

async fn a_dropped_call_leaves_no_lock_and_no_half_renewal(database: Database) {
    let store = database.open().await;
    store.insert(&session(1)).await.unwrap();
    let (successor, id) = (session(2), session(1).id);
    for polls in 0..40_u32 {
        {
            let mut call = std::pin::pin!(store.renew_into(&successor, &id, Revision::FIRST, tombstone(id)));
            for _ in 0..polls {
                if tokio::time::timeout(Duration::from_micros(200), &mut call).await.is_ok() {
                    break;
                }
            }
        }
        // This one waits for whatever the server still has to undo.
        let gone = !store.replace(&session(1), Revision::FIRST).await.unwrap();
        let (old, new) = (store.load(&id).await.unwrap(), store.load(&successor.id).await.unwrap());
        match (old, new) {
            (Some(Entry::Bucket(_)), None) if !gone => {}
            (Some(Entry::Tombstone(_)), Some(Entry::Bucket(_))) if gone => return,
            (old, new) => panic!("half a renewal: {old:?} {new:?}"),
        }
    }
    assert!(store.renew_into(&successor, &id, Revision::FIRST, tombstone(id)).await.unwrap());
}

/// A connection that was left in the middle of an answer is not used again.
async fn a_dropped_read_never_answers_somebody_else(database: Database) {
    let store = database.options().max_connections(2).connect(&database.url).await.unwrap();
    let sessions: Vec<Bucket> = (0..20).map(numbered).collect();
    for bucket in &sessions {
        store.insert(bucket).await.unwrap();
    }
    for round in 0..100_u64 {
        let dropped = &sessions[usize::try_from(round % 20).unwrap()];
        let wait = Duration::from_micros(20 * (round % 25));
        let _ = tokio::time::timeout(wait, store.load(&dropped.id)).await;
        let wanted = &sessions[usize::try_from((round + 7) % 20).unwrap()];
        let Some(Entry::Bucket(found)) = store.load(&wanted.id).await.unwrap() else { panic!("it is there") };
        assert_eq!(found.id, wanted.id);
    }
}

async fn a_pool_with_another_isolation_level_loses_no_race(database: Database) {
    let script = database.kind.pick(
        "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE",
        "SET SESSION TRANSACTION ISOLATION LEVEL SERIALIZABLE",
    );
    let pool = own_pool(&database, 6, script.leak()).await;
    let store = database.options().pool(pool).await.unwrap();
    store.insert(&session(1)).await.unwrap();
    for round in 1..=10 {
        let changed = Bucket { revision: Revision::new(round + 1), ..session(1) };
        let swaps = join_all((0..20).map(|_| store.replace(&changed, Revision::new(round)))).await;
        let won = swaps.into_iter().filter(|swap| *swap.as_ref().unwrap()).count();
        assert!(won <= 1, "{won}");
        if won == 0 {
            // All of them may have been taken back.
            assert!(store.replace(&changed, Revision::new(round)).await.unwrap());
        }
    }
    // Renewals of different sessions, and everybody's end.
    let sessions: Vec<Bucket> = (0..20).map(numbered).collect();
    join_all(sessions.iter().map(async |bucket| store.insert(bucket).await.unwrap())).await;
    let renew = async |bucket: &Bucket| {
        let successor = Bucket { id: numbered(1000 + u64::from(bucket.id.as_bytes()[7])).id, ..next(bucket) };
        store.renew_into(&successor, &bucket.id, bucket.revision, tombstone(bucket.id)).await.unwrap()
    };
    let end = async || store.remove_all(Which::Everything, None).await.unwrap();
    futures_util::future::join3(join_all(sessions.iter().map(renew)), end(), end()).await;
    end().await;
    assert_eq!(store.count().await.unwrap(), 0);
    let long_after = Timestamp::from_millis(NOW * 2);
    futures_util::future::try_join(store.purge_expired(long_after, 1000), store.purge_expired(long_after, 1000))
        .await
        .unwrap();
}

async fn no_error_holds_a_value_of_a_row(database: Database) {
    let store = database.open().await;
    let secret = Bucket { handoff: Some(b"the-sealed-handoff".to_vec()), ..session(0xa7) };
    store.insert(&secret).await.unwrap();
    let table = &database.table;
    let mut admin = database.admin().await;
    let mut errors = vec![store.insert(&secret).await.unwrap_err()];
    assert!(matches!(errors[0], StoreError::Duplicate));
    // A constraint of somebody else's, and a column that has become too short.
    admin.run(&format!("ALTER TABLE {table} ADD CONSTRAINT {table}_fewer CHECK (generation < 5)")).await;
    let refused = Bucket { generation: 9, id: session(0xa8).id, ..secret.clone() };
    errors.push(store.insert(&refused).await.unwrap_err());
    errors.push(store.replace(&Bucket { generation: 9, ..next(&secret) }, secret.revision).await.unwrap_err());
    let shorten = database.kind.pick(
        &format!("ALTER TABLE {table} ALTER COLUMN label TYPE VARCHAR(2)"),
        &format!("ALTER TABLE {table} MODIFY label VARCHAR(2)"),
    );
    admin.run(&shorten).await;
    let long = Bucket { label: Some(b"a-sealed-label".to_vec()), id: session(0xa8).id, ..secret.clone() };
    errors.push(store.insert(&long).await.unwrap_err());
    for error in &errors[1..] {
        assert!(matches!(error, StoreError::Rejected(_)), "{error:?}");
    }
    for text in errors.iter().map(all_of) {
        // The number of this process, in the table's name, may look like any of these.
        let text = text.replace(table.as_str(), "sessions").to_lowercase();
        for value in ["a7a7", "a8a8", "167, 167", "168, 168", "sealed", "0303", "3, 3", "736561", "\u{a7}"] {
            assert!(!text.contains(value), "`{value}` in {text}");
        }
    }
}

async fn a_spoilt_row_is_an_error_and_not_a_missing_session(database: Database) {
    let store = database.open().await;
    let mut admin = database.admin().await;
    let bytes = |hex: &str| database.kind.pick(&format!("'\\x{hex}'"), &format!("x'{hex}'"));
    let mut spoilt = vec![
        ("generation", "4294967296".to_owned()),
        ("generation", "-1".to_owned()),
        ("retired", bytes("0001")),
        ("retired", bytes("ffff")),
    ];
    if database.kind == Kind::Postgres {
        spoilt.push(("subject", bytes("00")));
    }
    for (column, value) in spoilt {
        store.remove(&session(1).id, None).await.unwrap();
        store.insert(&session(1)).await.unwrap();
        admin.run(&format!("UPDATE {} SET {column} = {value}", database.table)).await;
        let failure = store.load(&session(1).id).await.unwrap_err();
        assert!(matches!(failure, StoreError::Corrupt(_)), "{column} = {value}: {failure:?}");
    }
}

async fn an_unreadable_row_is_listed_as_such_and_removed_like_any_other(database: Database) {
    let store = database.open().await;
    let mut admin = database.admin().await;
    let subject = session(1).subject.unwrap();
    for ending in 0..4 {
        for id in 1..=3 {
            let _ = store.insert(&session(id)).await;
        }
        let (literal, table) = (literal(&database, 2), &database.table);
        admin.run(&format!("UPDATE {table} SET generation = -1 WHERE id = {literal}")).await;
        let listed = store.list(Tags::Subjects(&[subject]), Page::first(2)).await.unwrap();
        assert!(matches!(&listed[0], Ok(bucket) if bucket.id == session(1).id));
        let Err(unreadable) = &listed[1] else { panic!("a spoilt row was read") };
        assert!(unreadable.id == session(2).id && matches!(unreadable.error, StoreError::Corrupt(_)));
        let rest = store.list(Tags::Subjects(&[subject]), Page::first(2).next(&listed).unwrap()).await.unwrap();
        assert!(matches!(&rest[..], [Ok(bucket)] if bucket.id == session(3).id));
        match ending {
            0 => assert!(store.remove(&session(2).id, None).await.unwrap()),
            1 => assert_eq!(
                store.remove_all(Which::Tagged(Tags::Subjects(&[subject])), Some(&session(3).id)).await.unwrap(),
                2
            ),
            2 => assert_eq!(store.remove_all(Which::Everything, None).await.unwrap(), 3),
            _ => assert!(store.remove(&session(2).id, Some(tombstone(session(2).id))).await.unwrap()),
        }
        assert_eq!(store.load(&session(2).id).await.unwrap().is_some(), ending == 3);
    }
}

/// Many sessions of one subject: each page and each step of their end takes time for itself. (Not more of them, since
/// other tests share the server.)
async fn many_sessions_of_one_subject_are_listed_and_ended_while_others_go_on(database: Database) {
    const MANY: u32 = 20_000;
    let (store, other) = (database.open().await, database.open().await);
    make_many(&database, &store, MANY).await;
    let own = Bucket { subject: None, ..numbered(u64::MAX) };
    other.insert(&own).await.unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let swaps = Arc::new(AtomicU32::new(0));
    let client = tokio::spawn({
        let (stop, swaps) = (Arc::clone(&stop), Arc::clone(&swaps));
        async move {
            let mut current = own;
            while !stop.load(Ordering::SeqCst) {
                assert!(other.replace(&next(&current), current.revision).await.unwrap());
                current = next(&current);
                swaps.fetch_add(1, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
    });
    let listed = listed(&store, 1000).await;
    let listing = swaps.load(Ordering::SeqCst);
    assert_eq!(store.remove_all(Which::Tagged(Tags::Subjects(&[SUBJECT])), None).await.unwrap(), u64::from(MANY));
    let ending = swaps.load(Ordering::SeqCst) - listing;
    stop.store(true, Ordering::SeqCst);
    client.await.unwrap();
    println!("{:?}: {listing} swaps beside the list, {ending} beside the end", database.kind);
    assert_eq!(listed, MANY as usize);
    assert_eq!(store.count().await.unwrap(), 1);
    // A client that waits until all have ended makes one swap meanwhile, or two.
    assert!(listing >= 5 && ending >= 5, "{listing} swaps beside the list, {ending} beside the end");
}

async fn a_lost_table_is_rejected(database: Database) {
    let store = database.open().await;
    database.admin().await.run(&format!("DROP TABLE {}", database.table)).await;
    let failure = store.load(&session(1).id).await.unwrap_err();
    assert!(matches!(failure, StoreError::Rejected(_)), "{failure:?}");
    assert!(!failure.is_transient());
}

async fn a_closed_store_is_unavailable(database: Database) {
    let store = database.open().await;
    let clone = store.clone();
    store.close().await;
    assert!(matches!(clone.load(&session(1).id).await, Err(StoreError::Unavailable(_))));
}

async fn a_wrong_address_or_password_is_an_error_in_time(database: Database) {
    let since = Instant::now();
    let scheme = database.kind.pick("postgres", "mysql");
    let options = || database.options().timeout(Duration::from_secs(2));
    let nobody = options().connect(&format!("{scheme}://nobody:topsecret@127.0.0.1:1/none")).await;
    assert!(!all_of(nobody.as_ref().unwrap_err()).contains("topsecret"));
    assert_transient(nobody, since, Duration::from_secs(10));
    // The server is there; the database is not.
    let wrong = database.url.rsplit_once('/').unwrap().0;
    let refused = options().connect(&format!("{wrong}/there_is_no_such_database")).await.unwrap_err();
    assert!(matches!(refused, StoreError::Rejected(_)), "{refused:?}");
    let unknown = SqlStore::connect("oracle://localhost/x").await.unwrap_err();
    assert!(matches!(unknown, StoreError::Rejected(_)), "{unknown:?}");
}

async fn numbers_beyond_an_i64_are_kept(database: Database) {
    let store = database.open().await;
    let last = Timestamp::from_millis(u64::MAX);
    let eternal = Bucket { expires_at: last, idle_timeout: None, revision: Revision::new(u64::MAX - 1), ..session(1) };
    store.insert(&eternal).await.unwrap();
    assert!(store.replace(&next(&eternal), eternal.revision).await.unwrap());
    assert_eq!(store.purge_expired(Timestamp::from_millis(i64::MAX.unsigned_abs() - 1), 10).await.unwrap(), 0);
    let Some(Entry::Bucket(loaded)) = store.load(&eternal.id).await.unwrap() else { panic!("it was just inserted") };
    assert_eq!((loaded.expires_at, loaded.revision), (last, Revision::new(u64::MAX)));
    assert_eq!(store.purge_expired(last, 10).await.unwrap(), 1);
}

/// Many due sessions, made by the server itself.
async fn make_many(database: &Database, store: &SqlStore, count: u32) {
    let at = Timestamp::from_millis(NOW);
    let retired = Retired { fingerprint: session(1).current, generation: 1, superseded_at: at, dead_after: None };
    store.insert(&Bucket { retired: vec![retired], ..session(0) }).await.unwrap();
    let table = &database.table;
    let columns = "revision, subject, label, created_at, last_seen_at, expires_at, idle_timeout, rotated_at, generation, \
                   fingerprint, retired, handoff, ended_at, due_at, purge_at";
    let script = database.kind.pick(
        &format!(
            "INSERT INTO {table} (id, {columns}) SELECT decode(lpad(to_hex(n), 32, '0'), 'hex'), {columns} \
             FROM {table}, generate_series(1, {count} - 1) AS n"
        ),
        &format!(
            "INSERT INTO {table} (id, {columns}) WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n \
             WHERE n < {count} - 1) SELECT UNHEX(LPAD(HEX(n), 32, '0')), {columns} FROM {table}, n"
        ),
    );
    let mut admin = database.admin().await;
    if database.kind == Kind::MySql {
        admin.run(&format!("SET SESSION max_recursive_iterations = {}", count + 10)).await;
    }
    admin.run(&script).await;
}

async fn a_large_purge_goes_in_batches_and_counts_all(database: Database) {
    let store = database.open().await;
    make_many(&database, &store, 2100).await;
    let later = session(1).purge_at();
    assert_eq!(store.purge_expired(later, 2050).await.unwrap(), 2050);
    assert_eq!(store.purge_expired(later, 2050).await.unwrap(), 50);
    assert_eq!(store.count().await.unwrap(), 0);
}

async fn two_purges_at_once_share_the_work(database: Database) {
    let (one, two) = (database.open().await, database.open().await);
    make_many(&database, &one, 5000).await;
    let later = session(1).purge_at();
    let purge = async |store: &SqlStore| {
        let mut removed = 0;
        loop {
            let batch = store.purge_expired(later, 500).await.unwrap();
            removed += batch;
            if batch < 500 {
                // Nothing that was due is left, whoever removed it.
                assert_eq!(store.count().await.unwrap(), 0);
                return removed;
            }
        }
    };
    let (first, second) = futures_util::future::join(purge(&one), purge(&two)).await;
    assert_eq!(first + second, 5000);
}

async fn logging_many_out_against_each_other_ends_all(database: Database) {
    let stores = [database.open().await, database.open().await];
    let sessions: Vec<Bucket> = (0..300).map(numbered).collect();
    for bucket in &sessions {
        stores[0].insert(bucket).await.unwrap();
    }
    let subject = [session(1).subject.unwrap()];
    let ended =
        join_all((0..6).map(|caller| stores[caller % 2].remove_all(Which::Tagged(Tags::Subjects(&subject)), None)));
    let touched = join_all(sessions.iter().step_by(3).map(|bucket| stores[1].replace(bucket, bucket.revision)));
    let (ended, _) = futures_util::future::join(ended, touched).await;
    let total: u64 = ended.into_iter().map(Result::unwrap).sum();
    assert_eq!(total, 300);
    assert_eq!(stores[0].count().await.unwrap(), 0);
}
