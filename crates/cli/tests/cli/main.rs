//! The tool as an operator runs it, on every engine.

#![allow(clippy::expect_used, clippy::panic, reason = "helpers of tests fail by panicking")]

mod arguments;
mod engines;
mod keys;
mod sessions;
mod tables;

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use secure_sessions::store::AnyStore;
use secure_sessions::{Keyring, SessionManager, testing};

/// The output of a run, and its exit code.
pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// An operator's host: a folder with a key file.
pub(crate) struct Host {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) store: Vec<String>,
}

impl Host {
    pub(crate) fn new() -> Self {
        let host = Self { folder: tempfile::tempdir().expect("a folder"), store: Vec::new() };
        let made = host.run(&["keys", "new", &host.keys()], "");
        assert_eq!(made.code, 0, "{}", made.err);
        host
    }

    pub(crate) fn on(store: Vec<String>) -> Self {
        Self { store, ..Self::new() }
    }

    /// A host with an SQLite file that has its tables.
    pub(crate) fn with_tables() -> Self {
        let mut host = Self::new();
        host.store = vec!["--store".to_owned(), format!("sqlite:{}", host.path("sessions.db").display())];
        let made = host.run(&["migrate"], "");
        assert_eq!(made.code, 0, "{}", made.err);
        host
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn keys(&self) -> String {
        self.path("keys.txt").display().to_string()
    }

    pub(crate) fn run(&self, arguments: &[&str], input: &str) -> Run {
        let mut child = Command::new(env!("CARGO_BIN_EXE_secure-sessions"))
            .env("SECURE_SESSIONS_KEY_FILE", self.keys())
            .envs([("AWS_REGION", "eu-central-1"), ("AWS_ACCESS_KEY_ID", "tests"), ("AWS_SECRET_ACCESS_KEY", "secret")])
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

    pub(crate) fn json(&self, arguments: &[&str], input: &str) -> serde_json::Value {
        let run = self.run(&[&["--json"], arguments].concat(), input);
        serde_json::from_str(&run.out).unwrap_or_else(|_| panic!("{arguments:?} printed {} {}", run.out, run.err))
    }

    pub(crate) fn ids(&self, kind: &str) -> Vec<String> {
        let list = self.json(&["keys", "list"], "");
        let keys = list["keys"].as_array().expect("keys").iter().filter(|key| key["kind"] == kind);
        keys.map(|key| key["id"].as_str().expect("an id").to_owned()).collect()
    }
}

pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(future)
}

/// The application's manager, with the host's keys.
pub(crate) fn manager(host: &Host, store: AnyStore) -> SessionManager {
    let keyring = Keyring::from_file(host.keys()).expect("keys");
    SessionManager::builder(keyring, store).build().expect("the defaults")
}

/// The cookie of a new session.
pub(crate) fn cookie_of(manager: &SessionManager, subject: &str) -> String {
    block_on(testing::session(manager).login(subject).insert("cart", ["book"]).cookie()).expect("a session")
}
