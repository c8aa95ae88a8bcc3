//! One server process per case: started on a free port, killed when it is dropped.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use serde_json::Value;
use services::Shared;

use super::client::{Browser, Connections, Outgoing};
use super::database::Database;
use super::forge::Keys;

/// The adapter and the store that a case runs against.
#[derive(Clone, Copy)]
pub(crate) struct Subject {
    /// The path of the adapter's server.
    pub(crate) binary: &'static str,
    /// The store behind it.
    pub(crate) store: Store,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Store {
    Memory,
    Sqlite,
    Postgres,
    /// MariaDB or MySQL.
    MySql,
    Redis,
}

impl Store {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgres",
            Self::MySql => "mysql",
            Self::Redis => "redis",
        }
    }

    /// Returns `true` if this machine has the store; if not, it prints so.
    pub(crate) fn is_available(self) -> bool {
        self.shared().is_none_or(|shared| shared.url().is_some())
    }

    /// The URL of the server that all cases share, for a store on a server.
    pub(crate) fn server(self) -> Option<String> {
        self.shared()?.url()
    }

    fn shared(self) -> Option<Shared> {
        match self {
            Self::Memory | Self::Sqlite => None,
            Self::Postgres => Some(Shared::Postgres),
            Self::MySql => Some(Shared::MySql),
            Self::Redis => Some(Shared::Redis),
        }
    }
}

impl Subject {
    /// `axum` of `.../acceptance-axum`.
    pub(crate) fn adapter(&self) -> &'static str {
        self.binary.rsplit_once("acceptance-").map_or(self.binary, |(_, adapter)| adapter.trim_end_matches(".exe"))
    }

    /// With the defaults of the acceptance program, the routes under `/extra`, and fault injection.
    pub(crate) async fn start(&self) -> Server {
        self.setup().start().await
    }

    pub(crate) async fn start_with(&self, variables: &[(&'static str, &str)]) -> Server {
        variables.iter().fold(self.setup(), |setup, (name, value)| setup.set(name, value)).start().await
    }

    pub(crate) fn setup(&self) -> Setup {
        Setup { subject: *self, keys: Keys::random(), database: None, variables: Vec::new() }
    }
}

/// A server that is about to be started.
pub(crate) struct Setup {
    subject: Subject,
    keys: Keys,
    database: Option<Arc<Database>>,
    variables: Vec<(&'static str, String)>,
}

impl Setup {
    pub(crate) fn set(mut self, name: &'static str, value: &str) -> Self {
        self.variables.push((name, value.to_owned()));
        self
    }

    pub(crate) fn keys(mut self, keys: &Keys) -> Self {
        self.keys = keys.clone();
        self
    }

    /// On the database of another server.
    pub(crate) fn database(mut self, database: &Arc<Database>) -> Self {
        self.database = Some(Arc::clone(database));
        self
    }

    pub(crate) async fn start(self) -> Server {
        let Started { mut server, listening } = self.spawn().await;
        match listening.recv_timeout(Duration::from_secs(90)) {
            Ok(address) => server.address = address,
            Err(_) => panic!("the server did not start: {:?}", server.log()),
        }
        server
    }

    /// For a configuration that must be refused: what the server says, once it has ended with a failure.
    pub(crate) async fn refused(self) -> String {
        let mut started = self.spawn().await;
        let deadline = Instant::now() + Duration::from_secs(90);
        loop {
            match started.server.child.try_wait().unwrap() {
                Some(status) => {
                    assert!(!status.success(), "the server ended as if nothing were wrong");
                    for reader in started.server.readers.drain(..) {
                        reader.join().unwrap();
                    }
                    return started.server.log().join("\n");
                }
                None => assert!(Instant::now() < deadline, "the configuration was not refused"),
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn spawn(self) -> Started {
        let Self { subject, keys, database, variables } = self;
        let database = match (subject.store, database) {
            (Store::Memory, _) => None,
            (_, Some(database)) => Some(database),
            (store, None) => Some(Arc::new(Database::new(store).await)),
        };
        let mut command = Command::new(subject.binary);
        command
            .env("PORT", "0")
            .env("EVENTS", "json")
            .env("EXTRA", "1")
            .env("FAULTS", "1")
            // A busy machine is no failure.
            .env("STORE_TIMEOUT_MS", "60000")
            .env("STORE", database.as_ref().map_or_else(|| "memory:".to_owned(), |database| database.url()))
            .env("SECURE_SESSIONS_SEAL_KEYS", keys.seal_text())
            .env("SECURE_SESSIONS_FINGERPRINT_KEYS", keys.fingerprint_text())
            .envs(variables.iter().map(|(name, value)| (*name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{}: {error}", subject.binary));
        let (announce, listening) = mpsc::channel();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let lines = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&lines);
        let readers = vec![
            std::thread::spawn(move || {
                for line in stdout.lines().map_while(Result::ok) {
                    if let Some(address) = line.strip_prefix("listening on http://") {
                        let _ = announce.send(address.parse().unwrap());
                    }
                }
            }),
            std::thread::spawn(move || {
                for line in stderr.lines().map_while(Result::ok) {
                    kept.lock().unwrap().push(line);
                }
            }),
        ];
        let cookie_name = variables.iter().rfind(|(name, _)| *name == "COOKIE_NAME").map(|(_, value)| value.clone());
        let defaults = variables.iter().any(|(name, value)| *name == "COOKIE_DEFAULTS" && value == "1");
        let fallback = if defaults { "__Host-session" } else { "session" };
        let server = Server {
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            cookie_name: cookie_name.filter(|_| !defaults).unwrap_or_else(|| fallback.to_owned()),
            keys,
            database,
            connections: Connections::default(),
            child,
            lines,
            readers,
        };
        Started { server, listening }
    }
}

struct Started {
    server: Server,
    listening: mpsc::Receiver<SocketAddr>,
}

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) cookie_name: String,
    pub(crate) keys: Keys,
    /// The database of a store that keeps rows in one.
    pub(crate) database: Option<Arc<Database>>,
    pub(crate) connections: Connections,
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
    readers: Vec<std::thread::JoinHandle<()>>,
}

impl Server {
    pub(crate) fn get(&self, path: &str) -> Outgoing<'_> {
        Outgoing::new(self, "GET", path)
    }

    pub(crate) fn post(&self, path: &str) -> Outgoing<'_> {
        Outgoing::new(self, "POST", path)
    }

    /// A client without a cookie.
    pub(crate) fn browser(&self) -> Browser<'_> {
        Browser { server: self, cookie: None }
    }

    /// A client with this cookie.
    pub(crate) fn browser_with(&self, cookie: &str) -> Browser<'_> {
        Browser { server: self, cookie: Some(cookie.to_owned()) }
    }

    pub(crate) fn database(&self) -> &Arc<Database> {
        self.database.as_ref().expect("a case that looks into the database runs on one")
    }

    pub(crate) async fn metrics(&self) -> Metrics {
        Metrics(self.get("/metrics").send().await.json())
    }

    /// Moves the server's clock, backward too.
    pub(crate) async fn advance(&self, millis: i64) {
        assert_eq!(self.post(&format!("/extra/clock?advance_ms={millis}")).send().await.status, 200);
    }

    /// Makes the server's store fail.
    pub(crate) async fn fault(&self, mode: &str) {
        assert_eq!(self.post(&format!("/admin/fault?mode={mode}")).send().await.status, 200);
    }

    /// Swaps the keyring: three lists.
    pub(crate) async fn swap_keys(&self, seal: &[&Keys], fingerprint: &[&Keys], compromised: &str) {
        let list = |texts: Vec<String>| texts.join(",");
        let seal = list(seal.iter().map(|keys| keys.seal_text()).collect());
        let fingerprint = list(fingerprint.iter().map(|keys| keys.fingerprint_text()).collect());
        let path = format!("/admin/keys?seal={seal}&fingerprint={fingerprint}&compromised={compromised}");
        let reply = self.post(&path).send().await;
        assert_eq!(reply.status, 200, "{}", reply.text());
    }

    /// Everything on standard error so far.
    pub(crate) fn log(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }

    /// Waits for an event with this name on standard error, and gives the first.
    pub(crate) async fn event(&self, name: &str) -> Value {
        self.log_line(&format!("an event `{name}`"), |line| {
            serde_json::from_str::<Value>(line).ok().filter(|event| event["event"] == name)
        })
        .await
    }

    /// Waits for so many events with this name on standard error, and gives them in order.
    pub(crate) async fn events(&self, name: &str, count: usize) -> Vec<Value> {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let events = self.log().into_iter().filter_map(|line| serde_json::from_str::<Value>(&line).ok());
            let events: Vec<Value> = events.filter(|event| event["event"] == name).collect();
            if events.len() >= count {
                return events;
            }
            assert!(Instant::now() < deadline, "there are not {count} events `{name}`: {:#?}", self.log());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Waits for a line of the log about this event and session, which the lines of `EVENTS=json` are not.
    pub(crate) async fn log_line_of(&self, event: &str, session: &str) -> String {
        self.log_line(&format!("`{event}` of {session}"), |line| {
            let is_it = !line.starts_with('{') && line.contains(event) && line.contains(session);
            is_it.then(|| line.to_owned())
        })
        .await
    }

    /// Waits for a line on standard error that holds this text.
    pub(crate) async fn logged(&self, text: &str) -> String {
        self.log_line(&format!("a line with `{text}`"), |line| line.contains(text).then(|| line.to_owned())).await
    }

    async fn log_line<T>(&self, wanted: &str, pick: impl Fn(&str) -> Option<T>) -> T {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            if let Some(found) = self.log().iter().find_map(|line| pick(line)) {
                return found;
            }
            assert!(Instant::now() < deadline, "{wanted} was not logged: {:#?}", self.log());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Ends the process at once, as a power failure would.
    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The counters of `/metrics`.
#[derive(Debug, Clone)]
pub(crate) struct Metrics(Value);

impl Metrics {
    pub(crate) fn event(&self, name: &str) -> u64 {
        self.0["events"][name].as_u64().unwrap_or_else(|| panic!("no event `{name}` in {}", self.0))
    }

    pub(crate) fn calls(&self, name: &str) -> u64 {
        self.0["store_calls"][name].as_u64().unwrap_or_else(|| panic!("no method `{name}` in {}", self.0))
    }

    /// All calls of the store.
    pub(crate) fn all_calls(&self) -> u64 {
        let calls = self.0["store_calls"].as_object().unwrap();
        calls.values().map(|n| n.as_u64().unwrap()).sum()
    }

    /// Calls of the store that write, but for the purge.
    pub(crate) fn writes(&self) -> u64 {
        ["insert", "replace", "renew_into", "remove", "remove_all"].into_iter().map(|name| self.calls(name)).sum()
    }

    pub(crate) fn live(&self) -> u64 {
        self.0["live"].as_u64().unwrap_or_else(|| panic!("`live` is missing in {}", self.0))
    }
}
