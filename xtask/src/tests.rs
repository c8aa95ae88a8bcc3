//! `cargo xtask test`: every test, or with `--quick` those that a developer waits for.
//!
//! Every command builds for the whole workspace, although most need a part of it: cargo turns on the features of
//! dependencies that the selected packages ask for together, so another selection would compile them once more.

use std::fs;

use anyhow::{Context, Result, ensure};

use crate::invocation::{Invocation, cargo, program};
use crate::metadata::{self, Test};
use crate::report::Report;
use crate::services;
use crate::workspace;

/// The crates with another AEAD, and so with everything that is sealed, to be tested once more with it.
const WITH_RING: [&str; 3] = ["secure-sessions-core", "secure-sessions", "secure-sessions-axum"];

/// Not built with `ring`: none of these changes the features of a dependency. (The store does, so its tests that have the
/// same names as the engine's run once more.)
const NOT_WITH_RING: [&str; 4] = ["model", "redb-store", "secure-sessions-actix", "secure-sessions-rocket"];

/// Of the acceptance suite, what `--quick` runs.
const QUICK_SUBJECT: &str = "axum_memory::";

/// The tests that `--quick` leaves out, with the reason.
const NOT_QUICK: [(&str, &[&str], &str); 4] = [
    (
        "tests on servers",
        &["servers", "redis", "redis_faults", "redis_failover", "tls", "rows", "sqlite_killed"],
        "they start PostgreSQL, MariaDB and Redis",
    ),
    ("tests of misuse", &["misuse"], "they run the compiler"),
    ("the model", &["histories", "schedules"], "it goes through millions of states"),
    ("the demo", &["accounts", "browser", "http", "lab"], "it hashes passwords, and drives a browser"),
];

/// The package whose tests of a name in [`NOT_QUICK`] are meant, where another one has tests of the same name.
const MODEL: &str = "model";

/// The acceptance suite's test program.
const SUITE: &str = "suite";

/// Unit and integration tests with default features, on every database server there is, those of [`WITH_RING`] with
/// `ring`, the documentation's, and last the acceptance suite's table.
pub(crate) fn run(report: &mut Report) {
    let (results, with_ring, table) = match prepare() {
        Ok(prepared) => prepared,
        Err(error) => return report.check("tests", || Err(error)),
    };
    let servers = services::for_tests(report);
    let on_servers =
        |command: Invocation| servers.iter().fold(command, |command, (name, url)| command.variable(name, url));
    let all = cargo(["test", "--workspace", "--no-fail-fast", "--lib", "--bins", "--tests", "--examples"]);
    report.tests("tests", &on_servers(all).variable("ACCEPTANCE_REPORT", &results));
    report.tests("tests with ring", &on_servers(with_ring));
    report.tests("documentation tests", &cargo(["test", "--workspace", "--no-fail-fast", "--doc"]));
    report.command("acceptance table", &table);
}

/// What needs no server, is not slow, and is not tested elsewhere in another way. What is left out is named.
pub(crate) fn run_quick(report: &mut Report) {
    match quick() {
        Ok((tests, acceptance)) => {
            report.tests("tests", &tests);
            report.tests("acceptance suite on Axum in memory", &acceptance);
        }
        Err(error) => report.check("tests", || Err(error)),
    }
    for (what, names, why) in NOT_QUICK {
        report.left_out(what, &format!("{why}: {}", names.join(", ")));
    }
    report.left_out("the acceptance suite elsewhere", "on two other adapters, and four other stores");
    report.left_out("tests with ring", "the same tests once more");
    report.left_out("documentation tests", "cargo test --workspace --doc");
}

/// The acceptance suite's file for its results, which is not there yet; the tests with `ring`; and what prints the
/// table of the results.
fn prepare() -> Result<(String, Invocation, Invocation)> {
    let results = empty_results()?;
    let with_ring = with_ring(&metadata::tests()?);
    // Run as it was built for the suite: `cargo run` would compile its dependencies with fewer features.
    let table = metadata::target()?.join("debug/acceptance-report").display().to_string();
    Ok((results.clone(), with_ring, program(&table, [results])))
}

fn with_ring(tests: &[Test]) -> Invocation {
    let features: Vec<String> = WITH_RING.iter().map(|package| format!("{package}/ring")).collect();
    let excluded = NOT_WITH_RING.iter().flat_map(|package| ["--exclude", package]).collect::<Vec<_>>();
    let tests = tests.iter().filter(|test| WITH_RING.contains(&test.package.as_str()));
    let tests: Vec<&str> = tests.flat_map(|test| ["--test", &test.name]).collect();
    let ring = cargo(["test", "--workspace", "--no-fail-fast", "--features", &features.join(","), "--lib"]);
    ring.args(&excluded).args(&tests)
}

fn quick() -> Result<(Invocation, Invocation)> {
    let tests = metadata::tests()?;
    let left_out: Vec<&str> = NOT_QUICK.iter().flat_map(|(_, names, _)| names.iter().copied()).collect();
    if let Some(unknown) = left_out.iter().find(|name| !tests.iter().any(|test| test.name == **name)) {
        anyhow::bail!("there is no test {unknown}, which is to be left out");
    }
    let kept = tests.iter().filter(|test| test.package != MODEL && test.name != SUITE && !is_left_out(test, &tests));
    let mut kept: Vec<&str> = kept.map(|test| test.name.as_str()).collect();
    kept.dedup();
    ensure!(!kept.is_empty(), "no test is left");
    let kept: Vec<&str> = kept.iter().flat_map(|name| ["--test", name]).collect();
    let workspace = ["test", "--workspace", "--exclude", MODEL, "--no-fail-fast"];
    let suite = ["--test", SUITE, "--", QUICK_SUBJECT];
    Ok((cargo(workspace).args(&["--lib", "--bins"]).args(&kept), cargo(workspace).args(&suite)))
}

/// Whether `--quick` leaves it out. A name that the model has too, is the model's.
fn is_left_out(test: &Test, tests: &[Test]) -> bool {
    let is_models = tests.iter().any(|other| other.package == MODEL && other.name == test.name);
    !is_models && NOT_QUICK.iter().any(|(_, names, _)| names.contains(&test.name.as_str()))
}

/// Where the acceptance suite writes its results: a file that is not there yet.
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
    fn with_ring_every_test_of_its_crates_runs() {
        let tests = metadata::tests().expect("a workspace");
        let command = format!("{} ", with_ring(&tests));
        for test in tests.iter().filter(|test| WITH_RING.contains(&test.package.as_str())) {
            assert!(command.contains(&format!("--test {} ", test.name)), "{test:?}: {command}");
        }
        for package in NOT_WITH_RING {
            assert!(command.contains(&format!("--exclude {package} ")), "{package}: {command}");
        }
    }

    #[test]
    fn the_quick_tests_leave_out_what_is_named_and_nothing_else() {
        let (tests, acceptance) = quick().expect("names of tests");
        let (tests, acceptance) = (tests.to_string(), acceptance.to_string());
        for name in ["engine", "vectors", "histories", "adapter", "sqlite"] {
            assert!(tests.contains(&format!("--test {name}")), "{name}: {tests}");
        }
        for name in ["servers", "redis", "misuse", "browser", SUITE] {
            assert!(!format!("{tests} ").contains(&format!("--test {name} ")), "{name}: {tests}");
        }
        assert!(acceptance.ends_with("--test suite -- axum_memory::"), "{acceptance}");
    }
}
