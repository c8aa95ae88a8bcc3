//! Every command, on every engine.

use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region};
use secure_sessions::store::{AnyStore, AnyVaultStore, Blob, BlobId, SqlOptions, Timestamp, VaultId, VaultStore};
use secure_sessions::{
    DynamoDbOptions, EtcdOptions, Login, MemcachedStore, RedisOptions, SessionStore, StoreError, testing,
};
use services::Shared;

use crate::{Host, block_on, cookie_of, manager};

/// Drives every command that needs a store.
fn on_engine(store: AnyStore, vault: &AnyVaultStore, arguments: Vec<String>) {
    let host = Host::on(arguments);
    let manager = manager(&host, store);
    assert_eq!(host.run(&["migrate"], "").code, 0);
    let doctor = host.run(&["doctor"], "");
    assert_eq!(doctor.code, 0, "{}", doctor.out);
    assert!(doctor.out.contains("a session with a private value was made, read and ended"), "{}", doctor.out);

    let subject = format!("alice-{}", std::process::id());
    let (cookie, other) = (cookie_of(&manager, &subject), cookie_of(&manager, &subject));
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
    assert_eq!(host.json(&["token", "inspect"], &cookie)["event"], "ended", "the word of the log");
    assert_eq!(host.json(&["token", "inspect"], &other)["verdict"], "current");
    assert_eq!(host.json(&["sessions", "revoke-all", &subject], "")["ended"], 1);
    assert_eq!(host.json(&["sessions", "list", &subject], "")["sessions"].as_array().map(Vec::len), Some(0));
    let (issuer, sid) = ("https://login.example", format!("{subject}-1"));
    let came_from = |sid: &str| {
        let login = Login::new(&subject).provider_session(issuer, sid);
        block_on(testing::session(&manager).with(|session| session.login_with(login)).cookie()).expect("a session")
    };
    let (one, two) = (came_from(&sid), came_from(&format!("{subject}-2")));
    let ended = host.json(&["sessions", "revoke-all", "--provider-session", issuer, &sid], "");
    assert_eq!(ended["ended"], 1);
    assert_eq!(host.run(&["token", "inspect"], &one).code, 1);
    assert_eq!(host.json(&["token", "inspect"], &two)["verdict"], "current");
    assert_eq!(host.json(&["sessions", "revoke-all", &subject], "")["ended"], 1);
    assert!(host.json(&["sessions", "count"], "")["sessions"].is_u64());

    assert_eq!(host.json(&["not-before"], "")["not_before"], serde_json::Value::Null);
    let set = host.json(&["not-before", "2026-01-31T13:00:00+01:00"], "");
    assert_eq!(set["not_before"], "2026-01-31T12:00:00Z", "{set}");
    let (one, two) = (cookie_of(&manager, &subject), host.json(&["not-before", "now"], ""));
    assert_eq!(host.json(&["not-before"], ""), two, "it is kept");
    let earlier = host.run(&["not-before", "2026-01-31T12:00:00Z"], "");
    assert!(earlier.code == 0 && earlier.out.contains("stays"), "it never moves back: {}", earlier.out);
    assert_eq!(host.json(&["token", "inspect"], &one)["verdict"], "not_before");
    assert!(host.json(&["purge"], "")["removed"].is_u64());
    // An orphan: no session knows of it.
    let (owner, id) = (VaultId::from_bytes([7; 16]), BlobId::from_bytes([8; 16]));
    block_on(vault.put(&owner, &[Blob { id, bytes: vec![9; 300] }], Timestamp::from_millis(1))).expect("a vault");
    assert!(host.json(&["purge"], "")["removed"].is_u64());
    // DynamoDB removes what has expired by itself, in a day or two.
    if !host.store[1].starts_with("dynamodb:") {
        assert_eq!(block_on(vault.get(&owner, &[id])).expect("a vault"), [None]);
    }
}

fn on_sql(url: String) {
    let table = format!("cli_{}", std::process::id());
    let host = Host::new();
    let run = host.run(&["--store", &url, "--table", "no_such_table", "sessions", "count"], "");
    let sqlite = url.starts_with("sqlite:");
    assert!(run.code == if sqlite { 1 } else { 2 } && run.err.contains("there is no"), "{}", run.err);
    // Its runtime ends with the call, and with it the pool's connections: each command of the test opens its own.
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let store = runtime.block_on(SqlOptions::new().table(&table).connect(&url)).expect("a store");
    let arguments = ["--store", &url, "--table", &table].map(str::to_owned).to_vec();
    runtime.block_on(async {
        let vault = AnyVaultStore::new(store.clone());
        tokio::task::spawn_blocking(move || on_engine(AnyStore::new(store), &vault, arguments)).await.expect("no panic")
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
    // Several tests use one server, and what one sets for all hosts is not the others'.
    static STORES: AtomicU32 = AtomicU32::new(0);
    let prefix = format!("cli-{}-{}:", std::process::id(), STORES.fetch_add(1, Ordering::Relaxed));
    let nodes: Vec<String> = match url.starts_with("redis+sentinel:") {
        true => vec![url.clone()],
        false => url.split(',').map(str::to_owned).collect(),
    };
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let options = RedisOptions::new().prefix(prefix.clone());
    let store = runtime.block_on(async {
        match nodes.as_slice() {
            [one] => options.connect(one).await,
            several => options.connect_cluster(several.iter().map(String::as_str)).await,
        }
    });
    let store = store.expect("a store");
    let (store, vault) = (AnyStore::new(store.clone()), AnyVaultStore::new(store));
    let arguments = ["--store", &url, "--prefix", &prefix].map(str::to_owned).to_vec();
    runtime.block_on(async {
        tokio::task::spawn_blocking(move || on_engine(store, &vault, arguments)).await.expect("no panic")
    });
}

#[test]
fn every_command_works_on_etcd() {
    let Some(url) = Shared::Etcd.url() else { return };
    let prefix = format!("cli-{}", std::process::id());
    let options = EtcdOptions::new().prefix(prefix.clone());
    on_server(options.connect([url.clone()]), &format!("etcd:{url}"), &prefix);
}

#[test]
fn every_command_works_on_dynamodb() {
    let Some(url) = Shared::DynamoDb.url() else { return };
    let table = format!("cli-{}", std::process::id());
    let store = format!("dynamodb:{url}/{table}");
    let host = Host::on(vec!["--store".to_owned(), store.clone()]);
    let early = host.run(&["sessions", "count"], "");
    assert!(early.code == 2 && early.err.contains("there is no table"), "{}", early.err);
    assert_eq!(host.run(&["migrate"], "").code, 0);
    let config = aws_sdk_dynamodb::Config::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::from_static("eu-central-1"))
        .credentials_provider(Credentials::new("tests", "secret", None, None, "tests"))
        .endpoint_url(url)
        .http_client(aws_smithy_http_client::Builder::new().build_http());
    let client = aws_sdk_dynamodb::Client::from_conf(config.build());
    on_server(DynamoDbOptions::new().prefix("cli").open(client, &table), &store, "cli");
}

#[test]
fn dynamodb_without_credentials_is_refused_by_the_name_of_what_is_missing() {
    for missing in ["AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"] {
        let output = Command::new(env!("CARGO_BIN_EXE_secure-sessions"))
            .args(["--store", "dynamodb:sessions", "sessions", "count"])
            .envs(["AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"].map(|name| (name, "given")))
            .env(missing, "")
            .output()
            .expect("the tool runs");
        assert_eq!(output.status.code(), Some(2));
        assert!(String::from_utf8_lossy(&output.stderr).contains(missing), "{output:?}");
    }
}

#[test]
fn every_command_works_on_memcached() {
    let Some(url) = Shared::Memcached.url() else { return };
    let prefix = format!("cli-{}", std::process::id());
    on_server(MemcachedStore::open_lossy_with_prefix(&url, &prefix), &format!("memcached:{url}"), &prefix);
}

fn on_server<S: SessionStore + VaultStore + Clone>(
    store: impl Future<Output = Result<S, StoreError>>,
    url: &str,
    prefix: &str,
) {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let store = runtime.block_on(store).expect("a store");
    let (store, vault) = (AnyStore::new(store.clone()), AnyVaultStore::new(store));
    let arguments = ["--store", url, "--prefix", prefix].map(str::to_owned).to_vec();
    runtime.block_on(async {
        tokio::task::spawn_blocking(move || on_engine(store, &vault, arguments)).await.expect("no panic")
    });
}

#[test]
fn every_command_works_on_redis() {
    let Some(url) = Shared::Redis.url() else { return };
    on_redis(url);
}

#[test]
fn every_command_works_on_a_redis_behind_sentinels() {
    let Some(url) = Shared::Redis.url() else { return };
    // The one that all tests share, watched by two sentinels of this test's own.
    let address = url.trim_start_matches("redis://").trim_end_matches('/');
    let port = address.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).expect("a port");
    let sentinels = [0; 2].map(|_| services::Service::redis_sentinel("shop", port).expect("a sentinel"));
    for sentinel in &sentinels {
        // The machine may be busy, and that is no failure of the server's.
        sentinel.redis_call(&["SENTINEL", "SET", "shop", "down-after-milliseconds", "60000"]).expect("a sentinel");
    }
    on_redis(format!("redis+sentinel://127.0.0.1:{},127.0.0.1:{}/shop", sentinels[0].port(), sentinels[1].port()));
}

#[test]
fn every_command_works_on_a_redis_cluster() {
    let Some(url) = Shared::RedisCluster.url() else { return };
    on_redis(url);
}
