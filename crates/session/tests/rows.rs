//! Canaries through a session's life on every store that keeps its rows outside the process: what the database itself
//! shows of them is neither payload, label, subject nor provider, neither a key nor a token.
#![cfg(all(feature = "sqlite", feature = "postgres", feature = "mysql", feature = "redis"))]
#![allow(clippy::unwrap_used, clippy::panic, unreachable_pub, reason = "a test fails by panicking")]

mod support;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use secure_sessions::store::sqlx::mysql::MySqlRow;
use secure_sessions::store::sqlx::{self, Connection, MySqlConnection, PgConnection, Row};
use secure_sessions::store::{
    AnyStore, AnyVaultStore, Blob, BlobId, Bucket, Fingerprint, GroupTag, Revision, SessionId, SqlOptions, SubjectTag,
    VaultId, VaultStore, redis,
};
use secure_sessions::{
    Clock, Keyring, Login, ManualClock, MemoryStore, RedisOptions, Session, SessionManager, SessionStore, SqlStore,
    SystemClock,
};
use services::Shared;
use support::App;

/// In the payload, its keys, the subject and the label.
const CANARY: &str = "CANARY";

/// The offset of a token's nonce: after the version and the ids of both keys.
const NONCE_AT: usize = 9;

/// The number of bytes of a secret in a row that are no coincidence.
const TELLING: usize = 12;

/// A way to the rows beside the store.
enum Database {
    /// A folder with the database's files.
    Sqlite(PathBuf),
    /// A server's URL and the store's table.
    Postgres(String, String),
    MySql(String, String),
    /// A server's URL and the prefix of the store's keys.
    Redis(String, String),
}

impl Database {
    fn sqlite() -> Self {
        let folder = std::env::temp_dir().join(unique("secure-sessions-rows-"));
        std::fs::create_dir_all(&folder).unwrap();
        Self::Sqlite(folder)
    }

    /// On the server that all tests share; `None` where there is none.
    fn on(server: Shared) -> Option<Self> {
        let (url, name) = (server.url()?, unique("rows_"));
        Some(match server {
            Shared::Postgres => Self::Postgres(url, name),
            Shared::MySql => Self::MySql(url, name),
            Shared::Redis => Self::Redis(url, name),
            Shared::RedisCluster => panic!("its rows are those of a single server"),
            Shared::Etcd | Shared::Memcached | Shared::DynamoDb => panic!("its rows are KvStore's"),
        })
    }

    async fn store(&self) -> (AnyStore, AnyVaultStore) {
        let patience = Duration::from_secs(100);
        match self {
            Self::Sqlite(folder) => {
                let url = format!("sqlite:{}", folder.join("sessions.db").display());
                both(SqlStore::connect(&url).await.unwrap())
            }
            Self::Postgres(url, table) | Self::MySql(url, table) => {
                both(SqlOptions::new().table(table).timeout(patience).connect(url).await.unwrap())
            }
            Self::Redis(url, prefix) => {
                both(RedisOptions::new().prefix(prefix.as_str()).timeout(patience).connect(url).await.unwrap())
            }
        }
    }

    /// All that it keeps, row after row; SQLite: its files, and so what was overwritten too.
    async fn everything(&self) -> Vec<u8> {
        match self {
            Self::Sqlite(folder) => {
                let files = std::fs::read_dir(folder).unwrap();
                files.flat_map(|file| std::fs::read(file.unwrap().path()).unwrap()).collect()
            }
            Self::Postgres(url, table) => {
                let mut server = PgConnection::connect(url).await.unwrap();
                let mut bytes = Vec::new();
                for table in tables(table) {
                    let rows = sqlx::query(sql(format!("SELECT t::text FROM {table} t")));
                    let rows = rows.fetch_all(&mut server).await.unwrap();
                    bytes.extend(rows.iter().flat_map(|row| row.get::<String, _>(0).into_bytes()));
                }
                bytes
            }
            Self::MySql(url, table) => {
                let mut server = MySqlConnection::connect(url).await.unwrap();
                let cell = |row: &MySqlRow, at| row.get_unchecked::<Option<Vec<u8>>, _>(at).unwrap_or_default();
                let mut bytes = Vec::new();
                for table in tables(table) {
                    let rows = sqlx::raw_sql(sql(format!("SELECT * FROM {table}")));
                    for row in rows.fetch_all(&mut server).await.unwrap() {
                        bytes.extend((0..row.len()).flat_map(|at| cell(&row, at)));
                    }
                }
                bytes
            }
            Self::Redis(url, prefix) => {
                let mut server = redis::Client::open(url.as_str()).unwrap().get_connection().unwrap();
                let mut bytes = Vec::new();
                for key in keys(&mut server, prefix) {
                    bytes.extend_from_slice(&key);
                    let kind: String = redis::cmd("TYPE").arg(&key).query(&mut server).unwrap();
                    let parts: Vec<Vec<u8>> = match kind.as_str() {
                        "string" => vec![redis::cmd("GET").arg(&key).query(&mut server).unwrap()],
                        "zset" => redis::cmd("ZRANGE").arg(&key).arg(0).arg(-1).query(&mut server).unwrap(),
                        "hash" => redis::cmd("HVALS").arg(&key).query(&mut server).unwrap(),
                        kind => panic!("the store keeps a {kind}, which is not looked into"),
                    };
                    bytes.extend(parts.concat());
                }
                bytes
            }
        }
    }

    async fn remove(self) {
        match &self {
            Self::Sqlite(folder) => std::fs::remove_dir_all(folder).unwrap(),
            Self::Postgres(url, table) => {
                let mut server = PgConnection::connect(url).await.unwrap();
                sqlx::raw_sql(sql(dropped(table))).execute(&mut server).await.unwrap();
            }
            Self::MySql(url, table) => {
                let mut server = MySqlConnection::connect(url).await.unwrap();
                sqlx::raw_sql(sql(dropped(table))).execute(&mut server).await.unwrap();
            }
            Self::Redis(url, prefix) => {
                let mut server = redis::Client::open(url.as_str()).unwrap().get_connection().unwrap();
                for key in keys(&mut server, prefix) {
                    redis::cmd("DEL").arg(&key).exec(&mut server).unwrap();
                }
            }
        }
    }
}

fn unique(prefix: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("{prefix}{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

fn both(store: impl SessionStore + VaultStore + Clone) -> (AnyStore, AnyVaultStore) {
    (AnyStore::new(store.clone()), AnyVaultStore::new(store))
}

fn tables(table: &str) -> [String; 2] {
    [table.to_owned(), format!("{table}_vault")]
}

fn sql(statement: String) -> sqlx::AssertSqlSafe<String> {
    sqlx::AssertSqlSafe(statement)
}

fn dropped(table: &str) -> String {
    format!("DROP TABLE IF EXISTS {table}, {table}_vault, {table}_not_before, {table}_migrations")
}

fn keys(server: &mut redis::Connection, prefix: &str) -> Vec<Vec<u8>> {
    redis::cmd("KEYS").arg(format!("{prefix}:*")).query(server).unwrap()
}

/// Returns `true` if the rows contain the bytes: as they are, or in hexadecimal.
fn shows(rows: &[u8], secret: &[u8]) -> bool {
    let hex: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
    [secret, hex.as_bytes()].iter().any(|form| rows.windows(form.len()).any(|window| window == *form))
}

/// The bytes of base64url.
fn decoded(text: &str) -> Vec<u8> {
    let digit = |c: u8| match c {
        b'A'..=b'Z' => c - b'A',
        b'a'..=b'z' => c - b'a' + 26,
        b'0'..=b'9' => c - b'0' + 52,
        b'-' => 62,
        b'_' => 63,
        _ => panic!("not base64url"),
    };
    let (mut bytes, mut bits, mut pending) = (Vec::new(), 0_u32, 0);
    for c in text.bytes() {
        (bits, pending) = (bits << 6 | u32::from(digit(c)), pending + 6);
        if pending >= 8 {
            pending -= 8;
            bytes.push((bits >> pending).to_le_bytes()[0]);
        }
    }
    bytes
}

/// A session in which everything that is kept as it is given says what it must not.
fn telling() -> Bucket {
    let now = SystemClock.now();
    Bucket {
        id: SessionId::from_bytes([7; 16]),
        revision: Revision::FIRST,
        subject: Some(SubjectTag::from_bytes(*b"CANARY-of-a-tag!")),
        group: Some(GroupTag::from_bytes(*b"CANARY-of-group!")),
        label: Some(b"CANARY-label".to_vec()),
        created_at: now,
        last_seen_at: now,
        expires_at: now.after(Duration::from_secs(3600).into()),
        idle_timeout: None,
        rotated_at: now,
        generation: 1,
        current: Fingerprint::from_bytes(*b"CANARY-of-a-mark"),
        retired: Vec::new(),
        evicted: None,
        vault: None,
        handoff: Some(b"CANARY-handoff".to_vec()),
    }
}

/// Returns the rows after each step of a few sessions' lives, and every cookie that was set meanwhile.
async fn live(database: &Database, app: &App) -> (Vec<Vec<u8>>, Vec<String>) {
    let (mut rows, mut cookies) = (Vec::new(), Vec::new());
    let login = |session: &Session| {
        let login = Login::new("CANARY-subject").provider_session("CANARY-issuer", "CANARY-session");
        session.login_with(login).unwrap();
        session.insert("CANARY-key", "CANARY-value").unwrap();
        session.vault().insert("CANARY-private-key", "CANARY-private-value").unwrap();
        session.set_label("CANARY-label").unwrap();
    };
    let write = |session: &Session| session.update_or("n", || 0_u64, |n: &mut u64| *n += 1).unwrap();
    let first = app.visit(None, login).await;
    rows.push(database.everything().await);
    let second = app.visit(first.as_deref(), write).await;
    rows.push(database.everything().await);
    // Handed the newest state.
    let third = app.visit(first.as_deref(), write).await;
    app.pass(90);
    let fourth = app.visit(third.as_deref(), write).await;
    rows.push(database.everything().await);
    let renewed = app.visit(fourth.as_deref(), |session| session.renew().unwrap()).await;
    rows.push(database.everything().await);
    cookies.extend([first, second, third, fourth, renewed.clone()]);
    app.visit(renewed.as_deref(), |session| session.logout().unwrap()).await;
    // Its tombstone, and a session without a subject.
    cookies.push(app.visit(None, |session| session.insert("CANARY-key", CANARY).unwrap()).await);
    rows.push(database.everything().await);
    (rows, cookies.into_iter().flatten().collect())
}

/// Asserts that the search finds the data that is there.
async fn is_found(database: Database) {
    let (store, vault) = database.store().await;
    let planted = telling();
    store.insert(&planted).await.unwrap();
    let blob = Blob { id: BlobId::from_bytes([7; 16]), bytes: b"CANARY-blob".to_vec() };
    vault.put(&VaultId::from_bytes([7; 16]), &[blob], planted.expires_at).await.unwrap();
    let rows = database.everything().await;
    for what in ["CANARY-of-a-tag", "CANARY-label", "CANARY-of-a-mark", "CANARY-handoff", "CANARY-blob"] {
        assert!(shows(&rows, what.as_bytes()), "{what} is there and was not found");
    }
    database.remove().await;
}

async fn is_silent(database: Database) {
    let (seal, fingerprint) = Keyring::generate_texts().unwrap();
    let clock = ManualClock::at_present();
    let (store, vault) = database.store().await;
    let manager = SessionManager::builder(Keyring::from_text(&seal, &fingerprint, "").unwrap(), store)
        .vault(vault)
        .insecure_dev()
        .clock(clock.clone())
        .build()
        .unwrap();
    let app = App { manager, store: MemoryStore::new(), clock, events: Arc::default() };
    let (rows, cookies) = live(&database, &app).await;
    assert_eq!(cookies.len(), 6, "every step but the logout sets one");

    let mut secrets = vec![("a canary", CANARY.as_bytes().to_vec())];
    for key in [&seal, &fingerprint] {
        let (_, text) = key.split_once('_').unwrap();
        secrets.push(("a key's text", text.as_bytes()[..TELLING].to_vec()));
        secrets.push(("a key", decoded(text)[..TELLING].to_vec()));
    }
    for cookie in &cookies {
        let token = decoded(cookie);
        secrets.push(("a cookie", cookie.as_bytes()[NONCE_AT * 4 / 3..][..TELLING].to_vec()));
        secrets.push(("a token", token[NONCE_AT..][..TELLING].to_vec()));
        secrets.push(("an issue mark", token[token.len() - TELLING..].to_vec()));
    }
    for (step, rows) in rows.iter().enumerate() {
        assert!(rows.len() > 100, "no rows after step {step}");
        for (name, secret) in &secrets {
            assert!(!shows(rows, secret), "{name} is in a row after step {step}");
        }
    }
    database.remove().await;
}

fn run(database: Option<Database>, control: Option<Database>) {
    let (Some(database), Some(control)) = (database, control) else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        is_found(control).await;
        is_silent(database).await;
    });
}

#[test]
fn the_files_of_sqlite_say_nothing_of_what_a_session_holds_or_who_it_is() {
    run(Some(Database::sqlite()), Some(Database::sqlite()));
}

#[test]
fn the_rows_of_postgres_say_nothing_of_what_a_session_holds_or_who_it_is() {
    run(Database::on(Shared::Postgres), Database::on(Shared::Postgres));
}

#[test]
fn the_rows_of_mariadb_say_nothing_of_what_a_session_holds_or_who_it_is() {
    run(Database::on(Shared::MySql), Database::on(Shared::MySql));
}

#[test]
fn the_keys_and_values_of_redis_reveal_no_session_content_and_no_user() {
    run(Database::on(Shared::Redis), Database::on(Shared::Redis));
}
