//! `cargo xtask test`: every test, or with `--quick` those that a developer waits for.
//!
//! Commands build for the whole workspace, although most need a part of it: cargo turns on the features of
//! dependencies that the selected packages ask for together, so another selection would compile them once more. The
//! core depends on so little that its tests with `ring` do without.

use std::fs;

use anyhow::{Context, Result, ensure};

use crate::invocation::{Invocation, cargo, program};
use crate::metadata::{self, Test};
use crate::report::Report;
use crate::services;
use crate::workspace;

/// The crate whose tests seal by the other AEAD where it is compiled in. The engine and the adapters take theirs by value,
/// and by default the same one: their tests would only run once more.
const WITH_RING: &str = "secure-sessions-core";

/// The core's test of what must not compile, which is the same with any AEAD.
const MISUSE: &str = "misuse";

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

/// The package that `--quick` leaves out, and does not even compile.
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
    let on_servers = |command: Invocation| {
        servers.iter().fold(with_threads(command), |command, (name, url)| command.variable(name, url))
    };
    // Libraries and programs with unit tests are among `--tests`; `--bins` would take those that have none, too.
    let all = cargo(["test", "--workspace", "--no-fail-fast", "--tests", "--examples"]);
    report.tests("tests", &on_servers(all).variable("ACCEPTANCE_REPORT", &results));
    report.tests("tests with ring", &with_ring);
    report.tests("documentation tests", &cargo(["test", "--workspace", "--no-fail-fast", "--doc"]));
    report.command("acceptance table", &table);
}

/// What needs no server, is not slow, and is not tested elsewhere in another way. What is left out is named.
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
    report.left_out("tests with ring", "the same tests once more");
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
    let tests = tests.iter().filter(|test| test.package == WITH_RING && test.name != MISUSE);
    let tests: Vec<&str> = tests.flat_map(|test| ["--test", &test.name]).collect();
    cargo(["test", "--package", WITH_RING, "--no-fail-fast", "--features", "ring", "--lib"]).args(&tests)
}

fn quick() -> Result<(Invocation, Invocation)> {
    let tests = metadata::tests()?;
    let left_out: Vec<&str> = NOT_QUICK.iter().flat_map(|(_, names, _)| names.iter().copied()).collect();
    if let Some(unknown) = left_out.iter().find(|name| !tests.iter().any(|test| test.name == **name)) {
        anyhow::bail!("there is no test {unknown}, which is to be left out");
    }
    let kept = tests.iter().filter(|test| test.name != SUITE && !left_out.contains(&test.name.as_str()));
    let mut kept: Vec<&str> = kept.map(|test| test.name.as_str()).collect();
    kept.dedup();
    ensure!(!kept.is_empty(), "no test is left");
    let kept: Vec<&str> = kept.iter().flat_map(|name| ["--test", name]).collect();
    let workspace = ["test", "--workspace", "--exclude", MODEL, "--no-fail-fast"];
    let suite = ["--test", SUITE, "--", QUICK_SUBJECT];
    let programs = metadata::programs_with_tests()?;
    let programs: Vec<&str> = programs.iter().flat_map(|name| ["--bin", name]).collect();
    Ok((cargo(workspace).args(&["--lib"]).args(&programs).args(&kept), cargo(workspace).args(&suite)))
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
    fn with_ring_every_test_of_the_core_runs_but_that_of_misuse() {
        let tests = metadata::tests().expect("a workspace");
        let command = format!("{} ", with_ring(&tests));
        for test in tests.iter().filter(|test| test.package == WITH_RING) {
            assert_eq!(command.contains(&format!("--test {} ", test.name)), test.name != MISUSE, "{test:?}: {command}");
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
    }
}
