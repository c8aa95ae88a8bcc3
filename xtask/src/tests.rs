//! `cargo xtask test`: every test, or with `--quick` those that a developer waits for.
//!
//! Commands build for the whole workspace, although most need a part of it: cargo turns on the features of
//! dependencies that the selected packages ask for together, so another selection would compile them once more. Only the
//! core's tests without `ring` select a package, as other packages turn `ring` on; the core depends on little.

use std::collections::BTreeSet;
use std::fs;

use ::services::Shared;
use anyhow::{Context, Result};

use crate::invocation::{Invocation, cargo, program};
use crate::metadata::{self, Test};
use crate::report::Report;
use crate::services;
use crate::workspace;

/// The crate whose tests can do without the other AEAD, which the rest of the workspace turns on. The engine and the
/// adapters take theirs by value: their tests would only run once more.
const WITHOUT_RING: &str = "secure-sessions-core";

/// The core's test of what must not compile, which is the same with any AEAD.
const MISUSE: &str = "misuse";

/// The part of the acceptance suite that `--quick` runs.
const QUICK_SUBJECT: &str = "axum_memory::";

/// The tests that `--quick` leaves out, with the reason.
const NOT_QUICK: [(&str, &[&str], &str); 5] = [
    (
        "tests on servers",
        &[
            "servers",
            "dynamodb",
            "etcd",
            "memcached",
            "redis",
            "redis_failover",
            "tls",
            "rows",
            "sqlite_killed",
            "vault_killed",
            "fault_log",
            "health",
            "cli",
        ],
        "they start PostgreSQL, MariaDB, Redis, etcd, Memcached and an emulator of DynamoDB",
    ),
    ("tests of misuse", &["misuse", "names"], "they run the compiler"),
    ("the model", &["devices", "histories", "schedules", "vault"], "it goes through millions of states"),
    ("the demo", &["accounts", "http", "lab"], "it hashes passwords"),
    ("tests in a browser", &["binding", "browser"], "they start Chromium"),
];

/// The package that `--quick` leaves out, and does not even compile.
const MODEL: &str = "model";

/// The acceptance suite's test program.
const SUITE: &str = "suite";

/// Runs unit and integration tests on every database server there is, those of [`WITHOUT_RING`] once more without `ring`,
/// and the documentation's. The acceptance suite is not among them.
pub(crate) fn run(report: &mut Report) {
    let (all, without_ring) = match commands() {
        Ok(commands) => commands,
        Err(error) => return report.check("tests", || Err(error)),
    };
    let servers = services::for_tests(report, "tests", &Shared::ALL);
    report.tests("tests", &with_threads(all).variables(&servers));
    report.tests("tests without ring", &without_ring);
    report.tests("documentation tests", &cargo(["test", "--workspace", "--no-fail-fast", "--doc"]));
}

/// Runs the acceptance suite on every adapter and store, and prints the table of its results.
pub(crate) fn run_acceptance(report: &mut Report) {
    let (results, table) = match prepare() {
        Ok(prepared) => prepared,
        Err(error) => return report.check("acceptance suite", || Err(error)),
    };
    let servers = [Shared::Postgres, Shared::MySql, Shared::Redis];
    let servers = services::for_tests(report, "acceptance suite", &servers);
    let suite = cargo(["test", "--workspace", "--test", SUITE]).variable("ACCEPTANCE_REPORT", &results);
    report.tests("acceptance suite", &with_threads(suite).variables(&servers));
    report.command("acceptance table", &table);
}

/// Runs the tests that need no server, are not slow, and are not run elsewhere in another way. It names those left out.
pub(crate) fn run_quick(report: &mut Report) {
    match quick() {
        Ok((tests, acceptance)) => {
            report.tests("tests", &with_threads(tests));
            report.tests("acceptance suite on Axum in memory", &with_threads(acceptance));
        }
        Err(error) => report.check("tests", || Err(error)),
    }
    for (what, names, why) in NOT_QUICK {
        report.left_out(what, &format!("{why}: {}", names.join(", ")));
    }
    report.left_out("the acceptance suite elsewhere", "on two other adapters, and four other stores");
    report.left_out("tests without ring", "the same tests once more");
    report.left_out("documentation tests", "cargo test --workspace --doc");
}

/// More threads than cores: most tests wait for a server, a disk or a client, and not for a core.
fn with_threads(command: Invocation) -> Invocation {
    const VARIABLE: &str = "RUST_TEST_THREADS";
    if std::env::var_os(VARIABLE).is_some() {
        return command;
    }
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    command.variable(VARIABLE, &(2 * cores).to_string())
}

/// Returns the acceptance suite's file for its results, which is not there yet, and what prints the table of the results.
fn prepare() -> Result<(String, Invocation)> {
    let results = empty_results()?;
    // Run as it was built for the suite: `cargo run` would compile its dependencies with fewer features.
    let table = metadata::target()?.join("debug/acceptance-report").display().to_string();
    Ok((results.clone(), program(&table, [results])))
}

/// Returns what runs all tests but the acceptance suite, and those without `ring`.
fn commands() -> Result<(Invocation, Invocation)> {
    let tests = metadata::tests()?;
    let all = cargo(["test", "--workspace", "--no-fail-fast", "--examples"]).args(&all_but(&tests, &[SUITE])?);
    Ok((all, without_ring(&tests)))
}

fn without_ring(tests: &[Test]) -> Invocation {
    let tests = tests.iter().filter(|test| test.package == WITHOUT_RING && test.name != MISUSE);
    let tests: Vec<&str> = tests.flat_map(|test| ["--test", &test.name]).collect();
    cargo(["test", "--package", WITHOUT_RING, "--no-fail-fast", "--lib"]).args(&tests)
}

fn quick() -> Result<(Invocation, Invocation)> {
    let tests = metadata::tests()?;
    let left_out: Vec<&str> = NOT_QUICK.iter().flat_map(|(_, names, _)| names.iter().copied()).collect();
    let kept = all_but(&tests, &[left_out.as_slice(), &[SUITE]].concat())?;
    let workspace = ["test", "--workspace", "--exclude", MODEL, "--no-fail-fast"];
    let suite = ["--test", SUITE, "--", QUICK_SUBJECT];
    Ok((cargo(workspace).args(&kept), cargo(workspace).args(&suite)))
}

/// Returns what selects all unit tests, and all programs of integration tests but those of these names.
fn all_but(tests: &[Test], left_out: &[&str]) -> Result<Vec<String>> {
    if let Some(unknown) = left_out.iter().find(|name| !tests.iter().any(|test| test.name == **name)) {
        anyhow::bail!("there is no test {unknown}, which is to be left out");
    }
    let kept: BTreeSet<&str> = tests.iter().map(|test| test.name.as_str()).collect();
    let kept = kept.into_iter().filter(|name| !left_out.contains(name));
    let programs = metadata::programs_with_tests()?;
    let programs = programs.iter().flat_map(|name| ["--bin", name]);
    Ok(["--lib"].into_iter().chain(programs).chain(kept.flat_map(|name| ["--test", name])).map(str::to_owned).collect())
}

/// Returns the path for the acceptance suite's results: a file that is not there yet.
fn empty_results() -> Result<String> {
    let folder = workspace::root().join("target");
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let file = folder.join("acceptance.jsonl");
    if file.exists() {
        fs::remove_file(&file).with_context(|| format!("cannot remove {}", file.display()))?;
    }
    Ok(file.display().to_string())
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn without_ring_every_test_of_the_core_runs_but_that_of_misuse() {
        let tests = metadata::tests().expect("a workspace");
        let command = format!("{} ", without_ring(&tests));
        for test in tests.iter().filter(|test| test.package == WITHOUT_RING) {
            assert_eq!(command.contains(&format!("--test {} ", test.name)), test.name != MISUSE, "{test:?}: {command}");
        }
    }

    #[test]
    fn the_acceptance_suite_is_the_only_test_that_runs_by_itself() {
        let (all, _) = commands().expect("names of tests");
        for test in metadata::tests().expect("a workspace") {
            assert_eq!(
                format!("{all} ").contains(&format!("--test {} ", test.name)),
                test.name != SUITE,
                "{test:?}: {all}"
            );
        }
    }

    #[test]
    fn the_quick_tests_leave_out_what_is_named_and_nothing_else() {
        let (tests, acceptance) = quick().expect("names of tests");
        let (tests, acceptance) = (tests.to_string(), acceptance.to_string());
        for name in ["engine", "protocol", "adapter", "sqlite"] {
            assert!(tests.contains(&format!("--test {name}")), "{name}: {tests}");
        }
        for name in ["servers", "redis", "misuse", "histories", "browser", SUITE] {
            assert!(!format!("{tests} ").contains(&format!("--test {name} ")), "{name}: {tests}");
        }
        assert!(acceptance.ends_with("--test suite -- axum_memory::"), "{acceptance}");
        // Cargo refuses the name of a test that the package left out has alone.
        let all = metadata::tests().expect("a workspace");
        let elsewhere: BTreeSet<_> = all.iter().filter(|test| test.package != MODEL).map(|test| &test.name).collect();
        for test in all.iter().filter(|test| !elsewhere.contains(&test.name)) {
            assert!(!format!("{tests} ").contains(&format!("--test {} ", test.name)), "{test:?}: {tests}");
        }
    }
}
