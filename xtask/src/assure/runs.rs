//! The items that are tests: what they print says how much there was.

use anyhow::{Context, Result, ensure};

use super::Outcome;
use crate::invocation::{Invocation, cargo};
use crate::metadata;
use crate::workspace;

/// Every history: how many states, and which broken rules were found.
pub(super) fn model() -> Result<Outcome> {
    let printed = tests(&cargo(["test", "--package", "model", "--test", "histories"]))?;
    let states = printed.lines().filter_map(|line| number_before(line, " states")).sum::<u64>();
    let configurations = printed.lines().filter(|line| number_before(line, " states").is_some()).count();
    let planted = printed.lines().filter(|line| line.contains(": not so: ")).count();
    ensure!(configurations > 0 && planted > 0, "the model printed no figures");
    Ok(Outcome::Holds(format!("{states} states in {configurations} worlds; {planted} planted faults found")))
}

/// Orders of locks: the cfg changes what is compiled, so it has a target folder of its own.
pub(super) fn schedules() -> Result<Outcome> {
    let target = metadata::target()?.join("shuttle").display().to_string();
    let run = cargo(["test", "--package", "model", "--test", "schedules"])
        .variable("RUSTFLAGS", "--cfg shuttle")
        .variable("CARGO_TARGET_DIR", &target);
    let printed = tests(&run)?;
    let planted = printed.matches("the planted race:").count();
    ensure!(planted > 0, "no planted race was found");
    Ok(Outcome::Holds(format!("{} tests in 4000 orders each; {planted} planted races found", passed(&printed)?)))
}

/// Canaries.
pub(super) fn secrets() -> Result<Outcome> {
    let core = tests(&cargo(["test", "--package", "secure-sessions-core", "--test", "protocol", "secrets::"]))?;
    let session = ["test", "--package", "secure-sessions", "--test", "canary", "--test", "rows", "--test", "memory"];
    let session = tests(&cargo(session))?;
    let count = passed(&core)? + passed(&session)?;
    Ok(Outcome::Holds(format!("{count} tests: Debug, errors, log lines, events, rows of each store, heap after drop")))
}

/// Checks the code that must not compile.
pub(super) fn misuse() -> Result<Outcome> {
    tests(&cargo(["test", "--package", "secure-sessions-core", "--test", "misuse"]))?;
    let cases = workspace::files(&["crates/core/tests/misuse"], "stderr")?.len();
    Ok(Outcome::Holds(format!("{cases} kinds of misuse are refused by the compiler")))
}

/// The fault log: a line for each engine and fault. The tests take turns, so that the times are their own.
pub(super) fn faults() -> Result<Outcome> {
    let run = cargo(["test", "--workspace", "--test", "fault_log"]).variable("RUST_TEST_THREADS", "1");
    let printed = tests(&run)?;
    let rows: Vec<&str> = printed.lines().filter_map(|line| Some(line.split_once("fault log: ")?.1)).collect();
    ensure!(!rows.is_empty(), "no fault was tried");
    println!(
        "\n| engine | fault | answered | failed | longest outage | logged out | updates lost or doubled | logouts undone | accused | unremembered |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |");
    for row in &rows {
        println!("{row}");
    }
    let planted = rows.iter().filter(|row| row.contains("(planted)")).count();
    let real = rows.len() - planted;
    Ok(Outcome::Holds(format!("{real} faults, no honest user was accused; {planted} planted faults found")))
}

/// Runs tests and gives what they print, which is shown too.
pub(super) fn tests(run: &Invocation) -> Result<String> {
    let printed = run.clone().args(&["--", "--nocapture"]).output()?;
    print!("{printed}");
    ensure!(passed(&printed)? > 0, "no test ran: {run}");
    Ok(printed)
}

/// Returns the number of tests that passed, over all test programs.
pub(super) fn passed(printed: &str) -> Result<u64> {
    let results = printed.lines().filter(|line| line.starts_with("test result: ok."));
    let counts: Option<Vec<u64>> = results.map(|line| number_before(line, " passed")).collect();
    Ok(counts.context("a test program printed no result")?.iter().sum())
}

/// The number that stands right before these words.
pub(super) fn number_before(line: &str, words: &str) -> Option<u64> {
    let (before, _) = line.split_once(words)?;
    before.rsplit(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn figures_are_read_from_what_tests_print() {
        assert_eq!(number_before("honest: 1234 states, every history", " states"), Some(1234));
        assert_eq!(number_before("no number states", " states"), None);
        let printed = "test result: ok. 3 passed; 0 failed\nx\ntest result: ok. 4 passed; 0 failed";
        assert_eq!(passed(printed).expect("two results"), 7);
    }
}
