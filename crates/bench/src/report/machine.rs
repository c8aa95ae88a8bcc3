//! The machine that a benchmark ran on, its time, and its versions.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;
use std::thread;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::package;

/// The machine, the moment, the compiler and the crates.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// The processor's name.
    pub processor: String,
    /// The number of cores.
    pub cores: usize,
    /// The operating system and its version.
    pub system: String,
    /// The output of `rustc --version`.
    pub rustc: String,
    /// The date of the run, in UTC.
    pub date: String,
    /// The versions of the frameworks and the peers, as the lock file has them.
    pub versions: BTreeMap<String, String>,
    /// The versions of the other crates' stores and of their clients, as the lock file of their workspace has them.
    #[serde(default)] // Reports from before have none.
    pub peers: BTreeMap<String, String>,
}

/// The frameworks, the peers, and what sessions are sealed by.
const CRATES: [&str; 16] = [
    "actix-session",
    "async-memcached",
    "actix-web",
    "axum",
    "axum-extra",
    "axum_session",
    "chacha20poly1305",
    "redb",
    "redis",
    "ring",
    "rocket",
    "secure-sessions",
    "sqlx",
    "tokio",
    "tonic",
    "tower-sessions",
];

/// The peers of the benchmark of stores.
const PEERS: [&str; 9] = [
    "actix-session",
    "axum_session",
    "axum_session_redispool",
    "axum_session_sqlx",
    "fred",
    "redis",
    "tower-sessions",
    "tower-sessions-redis-store",
    "tower-sessions-sqlx-store",
];

impl Machine {
    /// This one, now. What it does not tell is left empty.
    #[must_use]
    pub fn this() -> Self {
        let lock = |path: &str| fs::read_to_string(package().join(path)).unwrap_or_default();
        Self {
            processor: processor(&fs::read_to_string("/proc/cpuinfo").unwrap_or_default()),
            cores: thread::available_parallelism().map_or(0, usize::from),
            system: said_by(Command::new("uname").args(["-s", "-r", "-m"])),
            rustc: said_by(Command::new("rustc").arg("--version")),
            date: OffsetDateTime::now_utc().format(&Rfc3339).unwrap_or_default(),
            versions: versions(&lock("../../Cargo.lock"), &CRATES),
            peers: versions(&lock("../bench-peers/Cargo.lock"), &PEERS),
        }
    }

    /// One paragraph about it.
    #[must_use]
    pub fn describe(&self) -> String {
        let listed = |versions: &BTreeMap<String, String>| {
            versions.iter().map(|(name, version)| format!("{name} {version}")).collect::<Vec<_>>().join(", ")
        };
        let Self { processor, cores, system, rustc, date, versions, peers } = self;
        let (versions, peers) = (listed(versions), listed(peers));
        format!("{date}, {cores} cores of {processor}, {system}, {rustc}. {versions}. Peers: {peers}.")
    }
}

fn said_by(command: &mut Command) -> String {
    let output = command.output().map(|output| output.stdout).unwrap_or_default();
    String::from_utf8_lossy(&output).trim().to_owned()
}

/// The name of the first processor that Linux lists.
fn processor(cpuinfo: &str) -> String {
    let line = cpuinfo.lines().find(|line| line.starts_with("model name"));
    line.and_then(|line| line.split_once(": ")).map_or(String::new(), |(_, name)| name.trim().to_owned())
}

/// The newest version of each of the crates in a lock file, which lists them in order.
fn versions(lock: &str, crates: &[&str]) -> BTreeMap<String, String> {
    let quoted =
        |line: &str, key: &str| Some(line.strip_prefix(key)?.strip_prefix(" = ")?.trim_matches('"').to_owned());
    let mut name = String::new();
    let mut versions = BTreeMap::new();
    for line in lock.lines() {
        if let Some(found) = quoted(line, "name") {
            name = found;
        } else if let Some(version) = quoted(line, "version").filter(|_| crates.contains(&name.as_str())) {
            versions.insert(name.clone(), version);
        }
    }
    versions
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn versions_are_those_of_the_lock_file() {
        let lock = "version = 4\n\n[[package]]\nname = \"axum\"\nversion = \"0.8.9\"\n\n[[package]]\nname = \"other\"\nversion = \"1.0.0\"\n";
        let found = versions(lock, &["axum", "tokio"]);
        assert_eq!(found, BTreeMap::from([("axum".to_owned(), "0.8.9".to_owned())]));
    }

    #[test]
    fn every_crate_that_is_named_is_in_the_lock_file() {
        let machine = Machine::this();
        let missing = CRATES.iter().filter(|name| !machine.versions.contains_key(**name));
        let missing = missing.chain(PEERS.iter().filter(|name| !machine.peers.contains_key(**name)));
        assert_eq!(missing.collect::<Vec<_>>(), Vec::<&&str>::new());
        let described = machine.describe();
        assert!(described.contains(", redb ") && described.contains("Peers: actix-session "), "{described}");
        assert!(machine.date.ends_with('Z') && machine.rustc.starts_with("rustc "), "{machine:?}");
    }

    #[test]
    fn the_processor_is_the_first_of_the_list() {
        let list = "processor\t: 0\nmodel name\t: One\nprocessor\t: 1\nmodel name\t: Two\n";
        assert_eq!((processor(list).as_str(), processor("").as_str()), ("One", ""));
    }
}
