//! The tool as an operator runs it, on every engine.

#![allow(clippy::expect_used, clippy::panic, reason = "helpers of tests fail by panicking")]

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use secure_sessions::store::{AnyStore, SqlOptions};
use secure_sessions::{Keyring, RedisOptions, SessionManager, testing};
use services::Shared;

/// The output of a run, and its exit code.
struct Run {
    code: i32,
    out: String,
    err: String,
}

/// An operator's host: a folder with a key file.
struct Host {
    folder: tempfile::TempDir,
    store: Vec<String>,
}

impl Host {
    fn new() -> Self {
        let host = Self { folder: tempfile::tempdir().expect("a folder"), store: Vec::new() };
        let made = host.run(&["keys", "new", &host.keys()], "");
        assert_eq!(made.code, 0, "{}", made.err);
        host
    }

    fn on(store: Vec<String>) -> Self {
        Self { store, ..Self::new() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn keys(&self) -> String {
        self.path("keys.txt").display().to_string()
    }

    fn run(&self, arguments: &[&str], input: &str) -> Run {
        let mut child = Command::new(env!("CARGO_BIN_EXE_secure-sessions"))
            .env("SECURE_SESSIONS_KEY_FILE", self.keys())
            .args(&self.store)
            .args(arguments)
            .env_remove("SECURE_SESSIONS_STORE")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the tool starts");
        // A command that reads no input closes it.
        let _ = child.stdin.take().expect("input").write_all(input.as_bytes());
        let output = child.wait_with_output().expect("the tool ends");
        Run {
            code: output.status.code().expect("a code"),
            out: String::from_utf8(output.stdout).expect("text"),
            err: String::from_utf8(output.stderr).expect("text"),
        }
    }

    fn json(&self, arguments: &[&str], input: &str) -> serde_json::Value {
        let run = self.run(&[&["--json"], arguments].concat(), input);
        serde_json::from_str(&run.out).unwrap_or_else(|_| panic!("{arguments:?} printed {} {}", run.out, run.err))
    }

    fn ids(&self, kind: &str) -> Vec<String> {
        let list = self.json(&["keys", "list"], "");
        let keys = list["keys"].as_array().expect("keys").iter().filter(|key| key["kind"] == kind);
        keys.map(|key| key["id"].as_str().expect("an id").to_owned()).collect()
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(future)
}

#[test]
fn a_new_key_file_is_its_owners_alone_and_is_never_overwritten() {
    let host = Host::new();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = fs::metadata(host.keys()).expect("made").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    let before = fs::read_to_string(host.keys()).expect("keys");
    let again = host.run(&["keys", "new", &host.keys()], "");
    assert_eq!(again.code, 2);
    assert!(again.err.contains("never overwritten"), "{}", again.err);
    assert_eq!(fs::read_to_string(host.keys()).expect("keys"), before);
    assert_eq!(host.run(&["keys", "check"], "").code, 0);
}

#[test]
fn keys_for_the_environment_are_what_the_application_reads() {
    let host = Host::new();
    let run = host.run(&["keys", "new", "--env"], "");
    let lines: Vec<&str> = run.out.lines().collect();
    let [seal, fingerprint] = lines.as_slice() else { panic!("{}", run.out) };
    let value = |line: &str, name: &str| line.strip_prefix(&format!("{name}=")).expect("the variable").to_owned();
    let seal = value(seal, secure_sessions::SEAL_KEYS_VARIABLE);
    let fingerprint = value(fingerprint, secure_sessions::FINGERPRINT_KEYS_VARIABLE);
    assert!(Keyring::from_text(&seal, &fingerprint, "").is_ok());
}

#[test]
fn a_key_change_keeps_comments_and_refuses_to_drop_the_active_key() {
    let host = Host::new();
    let [old] = host.ids("seal")[..].to_vec().try_into().expect("one key");
    fs::OpenOptions::new()
        .append(true)
        .open(host.keys())
        .expect("keys")
        .write_all(b"# of the shop\n")
        .expect("written");
    assert_eq!(host.run(&["keys", "rotate", "--add", "seal"], "").code, 0);
    let ids = host.ids("seal");
    assert_eq!((ids.len(), &ids[0]), (2, &old), "the new key does not seal yet");
    let refused = host.run(&["keys", "rotate", "--drop", &old], "");
    assert_eq!(refused.code, 2);
    assert!(refused.err.contains("active seal key"), "{}", refused.err);
    assert_eq!(host.run(&["keys", "rotate", "--activate", &ids[1]], "").code, 0);
    assert_eq!(host.ids("seal")[0], ids[1]);
    assert_eq!(host.run(&["keys", "rotate", "--compromised", &old], "").code, 0);
    let check = host.run(&["keys", "check"], "");
    assert!(check.code == 1 && check.out.contains("compromised"), "{}", check.out);
    assert_eq!(host.run(&["keys", "rotate", "--drop", &old], "").code, 0);
    assert_eq!(host.ids("seal"), [ids[1].clone()]);
    assert!(fs::read_to_string(host.keys()).expect("keys").contains("# of the shop"));
    let unknown = host.run(&["keys", "rotate", "--drop", "00000000"], "");
    assert!(unknown.code == 2 && unknown.err.contains("keys list"), "{}", unknown.err);
}

#[test]
fn a_key_of_zeros_and_a_file_for_all_to_read_are_problems() {
    let host = Host::new();
    let zero = secure_sessions_core::SealKey::from_bytes([0; 32]).to_text();
    let text = fs::read_to_string(host.keys()).expect("keys");
    fs::write(host.keys(), format!("{}\n{text}", zero.as_str())).expect("written");
    let check = host.run(&["keys", "check"], "");
    assert!(check.code == 1 && check.out.contains("32 zero bytes"), "{}", check.out);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(host.keys(), fs::Permissions::from_mode(0o644)).expect("set");
        let check = host.run(&["keys", "check"], "");
        assert!(check.out.contains("chmod 600"), "{}", check.out);
    }
}

#[test]
fn bad_input_ends_with_2_and_says_what_to_do() {
    let host = Host::new();
    for (arguments, expected) in [
        (&["sessions", "count"][..], "--store"),
        (&["sessions", "revoke", "alice", "no handle"], "sessions list"),
        (&["--store", "mongodb://x", "sessions", "count"], "sqlite:"),
        (&["--store", "sqlite::memory:", "--table", "Drop Table", "purge"], "table name"),
        (&["token", "inspect", "--data"], "--store"),
        (&["token", "inspect", "no/such/file"], "no/such/file"),
        (&["--keys", "no/such/keys", "keys", "list"], "no/such/keys"),
        (&["keys", "rotate"], "--activate"),
        (&["keys", "rotate", "--add", "cookie"], "fingerprint"),
        (&["migrate", "--print", "oracle"], "postgres"),
        (&["sessions", "revoke-all"], "--everybody"),
    ] {
        let run = host.run(arguments, "");
        assert_eq!(run.code, 2, "{arguments:?}: {} {}", run.out, run.err);
        assert!(run.err.contains(expected), "{arguments:?} said: {}", run.err);
    }
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let host = Host::new();
    let mut child = Command::new(env!("CARGO_BIN_EXE_secure-sessions"))
        .args(["migrate", "--print", "mysql"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .current_dir(host.folder.path())
        .spawn()
        .expect("the tool starts");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("the tool ends");
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
}

#[test]
fn a_store_that_is_not_there_ends_with_1() {
    let host = Host::on(vec!["--store".to_owned(), "redis://127.0.0.1:1/".to_owned()]);
    let run = host.run(&["sessions", "count"], "");
    assert_eq!(run.code, 1, "{}", run.err);
    assert!(host.run(&["doctor"], "").out.contains("BAD"), "the doctor goes on");
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
fn the_doctor_compares_keys_and_reads_headers() {
    let host = Host::new();
    let ids = [host.ids("seal"), host.ids("fingerprint")].concat().join(",");
    let headers = "HTTP/1.1 200 OK\r\nset-cookie: __Host-session=AAAA; Path=/; Secure; HttpOnly; SameSite=Lax\r\ncache-control: no-store\r\n";
    let good = host.run(&["doctor", "--expect-keys", &ids, "--headers", "-"], headers);
    assert_eq!(good.code, 0, "{}", good.out);
    let bad = host.run(&["doctor", "--expect-keys", "00000000", "--headers", "-"], "HTTP/1.1 200 OK\r\n");
    assert_eq!(bad.code, 1);
    assert!(bad.out.contains("missing here: [00000000]") && bad.out.contains("no Set-Cookie"), "{}", bad.out);
}

/// Drives every command that needs a store.
fn on_engine(store: AnyStore, arguments: Vec<String>) {
    let host = Host::on(arguments);
    let manager = manager(&host, store);
    assert_eq!(host.run(&["migrate"], "").code, 0);
    let doctor = host.run(&["doctor"], "");
    assert_eq!(doctor.code, 0, "{}", doctor.out);
    assert!(doctor.out.contains("made, read and ended"), "{}", doctor.out);

    let subject = format!("alice-{}", std::process::id());
    let cookie = || {
        let session = testing::session(&manager).login(subject.clone()).insert("cart", ["book"]);
        block_on(session.cookie()).expect("a session")
    };
    let (cookie, other) = (cookie(), cookie());
    let list = host.json(&["sessions", "list", &subject], "");
    let handles: Vec<&str> =
        list["sessions"].as_array().expect("a list").iter().filter_map(|one| one["handle"].as_str()).collect();
    assert_eq!(handles.len(), 2);

    let good = host.json(&["token", "inspect"], &cookie);
    assert_eq!((&good["verdict"], &good["subject"]), (&"current".into(), &subject.as_str().into()), "{good}");
    assert!(good.get("data").is_none(), "the data is asked for by name");
    let with_data = host.json(&["token", "inspect", "--data"], &cookie);
    assert_eq!(with_data["data"]["cart"][0], "book");

    let handle = good["session"].as_str().expect("a handle");
    assert!(handles.contains(&handle));
    assert_eq!(host.json(&["sessions", "revoke", &subject, handle], "")["ended"], 1);
    assert_eq!(host.run(&["sessions", "revoke", &subject, handle], "").code, 1, "it has ended already");
    let ended = host.run(&["token", "inspect"], &cookie);
    assert!(ended.code == 1 && ended.out.contains("ended"), "{}", ended.out);
    assert_eq!(host.json(&["token", "inspect"], &other)["verdict"], "current");
    assert_eq!(host.json(&["sessions", "revoke-all", &subject], "")["ended"], 1);
    assert_eq!(host.json(&["sessions", "list", &subject], "")["sessions"].as_array().map(Vec::len), Some(0));
    assert!(host.json(&["sessions", "count"], "")["sessions"].is_u64());
    assert!(host.json(&["purge"], "")["removed"].is_u64());
}

/// The application's manager, with the host's keys.
fn manager(host: &Host, store: AnyStore) -> SessionManager {
    let keyring = Keyring::from_file(host.keys()).expect("keys");
    SessionManager::builder(keyring, store).build().expect("the defaults")
}

fn on_sql(url: String) {
    let table = format!("cli_{}", std::process::id());
    // Its runtime ends with the call, and with it the pool's connections: each command of the test opens its own.
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let store = runtime.block_on(SqlOptions::new().table(&table).connect(&url)).expect("a store");
    let arguments = ["--store", &url, "--table", &table].map(str::to_owned).to_vec();
    runtime.block_on(async {
        tokio::task::spawn_blocking(move || on_engine(AnyStore::new(store), arguments)).await.expect("no panic")
    });
}

#[test]
fn every_command_works_on_sqlite() {
    let folder = tempfile::tempdir().expect("a folder");
    on_sql(format!("sqlite:{}", folder.path().join("sessions.db").display()));
}

#[test]
fn every_command_works_on_postgres() {
    let Some(url) = Shared::Postgres.url() else { return };
    on_sql(url);
}

#[test]
fn every_command_works_on_mysql() {
    let Some(url) = Shared::MySql.url() else { return };
    on_sql(url);
}

fn on_redis(url: String) {
    let prefix = format!("cli-{}:", std::process::id());
    let nodes: Vec<String> = url.split(',').map(str::to_owned).collect();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let options = RedisOptions::new().prefix(prefix.clone());
    let store = runtime.block_on(async {
        match nodes.as_slice() {
            [one] => options.connect(one).await,
            several => options.connect_cluster(several.iter().map(String::as_str)).await,
        }
    });
    let store = AnyStore::new(store.expect("a store"));
    let arguments = ["--store", &url, "--prefix", &prefix].map(str::to_owned).to_vec();
    runtime
        .block_on(async { tokio::task::spawn_blocking(move || on_engine(store, arguments)).await.expect("no panic") });
}

#[test]
fn every_command_works_on_redis() {
    let Some(url) = Shared::Redis.url() else { return };
    on_redis(url);
}

#[test]
fn every_command_works_on_a_redis_cluster() {
    let Some(url) = Shared::RedisCluster.url() else { return };
    on_redis(url);
}

#[test]
fn a_cookie_says_why_it_is_refused() {
    let host = Host::new();
    let stranger = Host::new();
    let store = || AnyStore::new(secure_sessions::MemoryStore::new());
    let cookie =
        |host: &Host| block_on(testing::session(&manager(host, store())).insert("n", 1).cookie()).expect("a session");
    let own = cookie(&host);
    assert_eq!(host.json(&["token", "inspect"], &own)["verdict"], "authentic");
    assert_eq!(host.json(&["token", "inspect"], &cookie(&stranger))["verdict"], "unknown_key");
    assert_eq!(host.json(&["--cookie-name", "other", "token", "inspect"], &own)["verdict"], "not_authentic");
    // Within the mark, which is the last 16 bytes.
    let (start, end) = own.split_at(own.len() - 20);
    let damaged = format!("{start}{}", end.replace(|letter: char| letter.is_ascii_alphabetic(), "A"));
    assert_eq!(host.json(&["token", "inspect"], &damaged)["verdict"], "unmarked");
    assert_eq!(host.json(&["token", "inspect"], "__Host-session=hello")["verdict"], "not_a_token");
    assert_eq!(host.run(&["token", "inspect"], "").code, 2, "nothing to look into");
    let file = host.path("cookie.txt");
    fs::write(&file, &own).expect("written");
    assert_eq!(host.json(&["token", "inspect", file.to_str().expect("text")], "")["verdict"], "authentic");
    assert!(Path::new(&host.keys()).exists());
}
