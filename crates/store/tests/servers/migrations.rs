//! Changes of tables: apart from the application's user, and without a server's locks.

use std::net::SocketAddr;
use std::sync::Arc;

use futures_util::future::join_all;
use secure_sessions_store::{Blob, BlobId, Revision, SessionStore, StoreError, Tags, VaultId, VaultStore, Which};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use crate::common::next;
use crate::support::{ALONE, Database, Kind, all_of, run, session, tombstone};

/// An application's user, with the rights that the documentation lists and no other; dropped at the end.
struct User {
    name: String,
    url: String,
}

impl User {
    async fn create(database: &Database) -> Self {
        let name = format!("u{}", database.table);
        let script = database.kind.pick(
            &format!("{ALONE}; CREATE ROLE {name} LOGIN PASSWORD 'p'; REVOKE CREATE ON SCHEMA public FROM PUBLIC"),
            &format!("CREATE USER {name}@'%' IDENTIFIED BY 'p'"),
        );
        database.admin().await.run(&script).await;
        let (scheme, rest) = database.url.split_once("://").unwrap();
        let place = rest.split_once('@').map_or(rest, |(_, place)| place);
        Self { url: format!("{scheme}://{name}:p@{place}"), name }
    }

    async fn grant(&self, database: &Database) {
        let (table, name) = (&database.table, &self.name);
        let user = database.kind.pick(name, &format!("{name}@'%'"));
        let mut admin = database.admin().await;
        admin.run(&format!("GRANT SELECT, INSERT, UPDATE, DELETE ON {table} TO {user}")).await;
        admin.run(&format!("GRANT SELECT, INSERT, UPDATE, DELETE ON {table}_vault TO {user}")).await;
        admin.run(&format!("GRANT SELECT, INSERT ON {table}_not_before TO {user}")).await;
        admin.run(&format!("GRANT SELECT ON {table}_migrations TO {user}")).await;
    }

    async fn drop(self, database: &Database) {
        let name = &self.name;
        let script =
            database.kind.pick(&format!("DROP OWNED BY {name}; DROP ROLE {name}"), &format!("DROP USER {name}@'%'"));
        database.admin().await.run(&script).await;
    }
}

async fn apart(database: Database) {
    let mut admin = database.admin().await;
    let user = User::create(&database).await;
    // On MySQL, a user who has no right in a database cannot even enter it.
    if database.kind == Kind::MySql {
        admin.run(&format!("CREATE TABLE {0}_migrations (version BIGINT NOT NULL PRIMARY KEY)", database.table)).await;
        admin.run(&format!("GRANT SELECT ON {}_migrations TO {}@'%'", database.table, user.name)).await;
    }
    let options = || database.options().migrates(false);
    let refused = options().connect(&user.url).await.unwrap_err();
    let StoreError::Rejected(cause) = &refused else { panic!("{refused:?}") };
    let cause = cause.to_string();
    assert!(cause.contains("has version 0, this release needs "), "{cause}");
    // The administrator runs exactly the SQL that the error names.
    let sql = &cause[cause.find("CREATE TABLE").unwrap()..];
    assert_eq!(sql, database.options().schema(&database.kind.pick("postgres", "mysql")).unwrap());
    let mut missing = admin.try_run(&format!("SELECT 1 FROM {}", database.table)).await;
    assert!(missing.is_err(), "the store made its table all the same");
    for statement in sql.split_inclusive(";\n") {
        missing = admin.try_run(statement).await;
        assert!(missing.is_ok(), "{statement}: {missing:?}");
    }
    user.grant(&database).await;

    let store = options().connect(&user.url).await.unwrap();
    store.insert(&session(1)).await.unwrap();
    assert!(store.replace(&next(&session(1)), Revision::FIRST).await.unwrap());
    assert!(store.load(&session(1).id).await.unwrap().is_some());
    let stone = tombstone(session(1).id);
    assert!(store.renew_into(&session(2), &session(1).id, Revision::new(2), stone).await.unwrap());
    let subject = [session(2).subject.unwrap()];
    assert_eq!(store.list(Tags::Subjects(&subject), secure_sessions_store::Page::first(9)).await.unwrap().len(), 1);
    assert!(store.remove(&session(2).id, Some(tombstone(session(2).id))).await.unwrap());
    store.insert(&session(3)).await.unwrap();
    assert_eq!(store.remove_all(Which::Everything, None).await.unwrap(), 1);
    assert_eq!(store.count().await.unwrap(), 0);
    assert_eq!(store.purge_expired(session(1).purge_at(), 10).await.unwrap(), 2);
    assert!(store.now().await.unwrap().is_some());
    store.raise_not_before(session(1).created_at).await.unwrap();
    let (vault, blob) = (VaultId::from_bytes([7; 16]), Blob { id: BlobId::from_bytes([8; 16]), bytes: vec![9; 300] });
    let at = session(1).created_at;
    store.put(&vault, std::slice::from_ref(&blob), at).await.unwrap();
    store.prolong(&vault, session(1).expires_at).await.unwrap();
    assert_eq!(store.get(&vault, &[blob.id]).await.unwrap(), [Some(blob.bytes.clone())]);
    store.delete(&vault, &[blob.id]).await.unwrap();
    store.put(&vault, std::slice::from_ref(&blob), at).await.unwrap();
    store.delete_all(&[vault]).await.unwrap();
    store.put(&vault, &[blob], at).await.unwrap();
    assert_eq!(store.purge(at, 10).await.unwrap(), 1);
    store.close().await;
    if database.kind == Kind::Postgres {
        // `remove_all` may take it, against a client who renews without a pause.
        let mut own = crate::support::Admin::connect(database.kind, &user.url).await.unwrap();
        own.run(&format!("BEGIN; LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE; ROLLBACK", database.table)).await;
    }
    // A table that is a version behind lacks the rest; a newer one is refused, as ever.
    admin.run(&format!("DELETE FROM {}_migrations WHERE version > 1", database.table)).await;
    let behind = all_of(&options().connect(&user.url).await.unwrap_err());
    assert!(behind.contains("has version 1, this release needs "), "{behind}");
    assert!(
        behind.contains("_not_before (") && behind.contains("_vault (") && !behind.contains("last_seen_at"),
        "{behind}"
    );
    admin.run(&format!("INSERT INTO {}_migrations (version) VALUES (1000)", database.table)).await;
    let newer = options().connect(&user.url).await.unwrap_err();
    assert!(all_of(&newer).contains("a newer release"), "{newer:?}");
    user.drop(&database).await;
}

#[test]
fn a_store_that_may_not_migrate_names_the_sql_and_then_lives_on_few_rights() {
    run(Kind::Postgres, apart);
    run(Kind::MySql, apart);
}

async fn back_to_an_older_release(database: Database) {
    let mut admin = database.admin().await;
    let options = || database.options().max_connections(1);
    let running = options().connect(&database.url).await.unwrap();
    running.insert(&session(1)).await.unwrap();
    let log = format!("{}_migrations", database.table);
    // A newer release changes the tables, in a way that this one can live with.
    admin.run(&format!("ALTER TABLE {} ADD COLUMN later BIGINT", database.table)).await;
    admin.run(&format!("INSERT INTO {log} (version) VALUES (1000)")).await;
    let refused = options().connect(&database.url).await.unwrap_err();
    assert!(all_of(&refused).contains("rolling out a new version"), "{refused:?}");
    assert!(running.replace(&next(&session(1)), Revision::FIRST).await.unwrap(), "a host that runs goes on");

    let newest = admin.numbers(&format!("SELECT MAX(version) FROM {log} WHERE version < 1000")).await[0];
    admin.run(&format!("DELETE FROM {log} WHERE version > {newest}")).await;
    let older = options().connect(&database.url).await.unwrap();
    assert!(older.load(&session(1).id).await.unwrap().is_some());
    older.insert(&session(2)).await.unwrap();
    // Forward again: with its note, the change is not made a second time.
    admin.run(&format!("DELETE FROM {log} WHERE version = {newest}")).await;
    admin.run(&format!("INSERT INTO {log} (version) VALUES ({newest})")).await;
    let newer = options().connect(&database.url).await.unwrap();
    assert_eq!(newer.count().await.unwrap(), 2);
    for store in [running, older, newer] {
        store.close().await;
    }
}

#[test]
fn an_older_release_opens_newer_tables_once_their_note_is_taken_back() {
    run(Kind::Postgres, back_to_an_older_release);
    run(Kind::MySql, back_to_an_older_release);
}

/// A way to the server on which it knows neither `LOCK TABLE` nor advisory locks, and cannot tune tables, as databases that only
/// speak its protocol. As CockroachDB, it changes no table in a transaction that is less than serializable.
async fn poorer(server: String) -> SocketAddr {
    let mut serializable = false;
    changed(server, move |message| {
        replace(message, b"LOCK TABLE", b"LACK TABLE");
        replace(message, b"pg_advisory", b"pg_advisorx");
        replace(message, b"SET STORAGE", b"SET STORAGF");
        replace(message, b"fillfactor", b"fillfactox");
        let has = |word: &[u8]| message.windows(word.len()).any(|part| part == word);
        if has(b"BEGIN") {
            serializable = has(b"ISOLATION LEVEL SERIALIZABLE");
        }
        let changes = [&b"CREATE "[..], b"ALTER ", b"COMMENT "].into_iter().any(has);
        assert!(!changes || serializable, "{}", String::from_utf8_lossy(message));
        std::future::ready(())
    })
    .await
}

/// A way to the server on which its client's messages are changed, those of each connection by a clone of its own.
async fn changed<F: Future<Output = ()> + Send>(
    server: String,
    change: impl FnMut(&mut [u8]) -> F + Clone + Send + 'static,
) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let server = TcpStream::connect(&server).await.unwrap();
            let (mut from_client, mut to_client) = client.into_split();
            let (mut from_server, mut to_server) = server.into_split();
            tokio::spawn(async move { tokio::io::copy(&mut from_server, &mut to_client).await });
            let mut change = change.clone();
            tokio::spawn(async move {
                let mut buffer = vec![0; 1 << 16];
                while let Ok(length @ 1..) = from_client.read(&mut buffer).await {
                    let message = &mut buffer[..length];
                    change(message).await;
                    if to_server.write_all(message).await.is_err() {
                        break;
                    }
                }
            });
        }
    });
    address
}

/// Returns `true` if there was anything to replace.
fn replace<const N: usize>(message: &mut [u8], from: &[u8; N], to: &[u8; N]) -> bool {
    let mut replaced = false;
    for at in 0..message.len().saturating_sub(from.len() - 1) {
        if message[at..].starts_with(from) {
            message[at..at + to.len()].copy_from_slice(to);
            replaced = true;
        }
    }
    replaced
}

#[test]
fn a_table_that_another_process_has_made_meanwhile_is_taken() {
    run(Kind::Postgres, |database| async move {
        let place = database.place();
        let (arrived, made) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
        let proxy = changed(place.clone(), {
            let (arrived, made) = (arrived.clone(), made.clone());
            move |message| {
                // PostgreSQL's own look at what exists can come too early by a moment. Here it always does.
                let makes = replace(message, b"IF NOT EXISTS", b"             ");
                let (arrived, made) = (arrived.clone(), made.clone());
                async move {
                    if makes {
                        arrived.add_permits(1);
                        let _ = made.acquire().await;
                    }
                }
            }
        })
        .await;
        let (url, options) = (database.url.replace(&place, &proxy.to_string()), database.options());
        let late = tokio::spawn(async move { options.connect(&url).await });
        let _ = arrived.acquire().await;
        database.open().await.close().await;
        made.close();
        late.await.unwrap().unwrap().close().await;
    });
}

/// Counts the tables that leave room on their pages, and the columns that are not compressed.
async fn tuned(admin: &mut crate::support::Admin, table: &str) -> [i64; 2] {
    let tables = format!("relname IN ('{table}', '{table}_vault')");
    let room = format!("SELECT count(*) FROM pg_class WHERE {tables} AND 'fillfactor=85' = ANY(reloptions)");
    let columns = format!(
        "SELECT count(*) FROM pg_attribute a JOIN pg_class c ON c.oid = attrelid WHERE {tables} AND attstorage = 'e'"
    );
    [admin.numbers(&room).await[0], admin.numbers(&columns).await[0]]
}

#[test]
fn postgres_tunes_its_tables_also_where_an_administrator_makes_them() {
    run(Kind::Postgres, |database| async move {
        let mut admin = database.admin().await;
        let store = database.options().connect(&database.url).await.unwrap();
        assert_eq!(tuned(&mut admin, &database.table).await, [1, 3]);
        store.close().await;
        let by_hand = format!("{}_h", database.table);
        admin.run(&database.options().table(&by_hand).schema("postgres").unwrap()).await;
        assert_eq!(tuned(&mut admin, &by_hand).await, [1, 3]);
        let drop = ["", "_vault", "_not_before", "_migrations"].map(|table| format!("DROP TABLE {by_hand}{table};"));
        admin.run(&drop.concat()).await;
    });
}

#[test]
fn postgres_without_locks_and_tuning_migrates_and_ends_sessions() {
    run(Kind::Postgres, |database| async move {
        let place = database.place();
        let proxy = poorer(place.clone()).await;
        let url = database.url.replace(&place, &proxy.to_string());
        let options = || database.options().max_connections(2);
        let stores = join_all((0..6).map(|_| options().connect(&url))).await;
        let mut stores: Vec<_> = stores.into_iter().map(Result::unwrap).collect();
        let mut admin = database.admin().await;
        let versions = admin.numbers(&format!("SELECT version FROM {}_migrations ORDER BY 1", database.table)).await;
        assert!(
            versions.iter().zip(1..).all(|(version, number)| *version == number) && !versions.is_empty(),
            "{versions:?}"
        );
        assert_eq!(tuned(&mut admin, &database.table).await, [0, 0]);
        let store = stores.pop().unwrap();
        store.insert(&session(1)).await.unwrap();
        // Its first pass finds the session and waits for this renewal; the second would take the table's lock.
        let renewal = format!(
            "BEGIN; WITH old AS (DELETE FROM {0} RETURNING *) INSERT INTO {0} SELECT (jsonb_populate_record(NULL::{0}, \
             to_jsonb(old) || jsonb_build_object('id', '\\x{1}'))).* FROM old",
            database.table,
            "02".repeat(16)
        );
        admin.run(&renewal).await;
        let ending = tokio::spawn({
            let store = store.clone();
            async move { store.remove_all(Which::Everything, None).await }
        });
        let mut other = database.admin().await;
        let waits =
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'DELETE FROM %'";
        while other.numbers(&format!("{waits} AND query LIKE '%{}%'", database.table)).await != [1] {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        admin.run("COMMIT").await;
        assert_eq!(ending.await.unwrap().unwrap(), 1);
        assert_eq!(store.count().await.unwrap(), 0);
        for store in stores.into_iter().chain([store]) {
            store.close().await;
        }
    });
}
