//! A test that failed once, perhaps by chance: it runs again by itself. If it passes each time, the step goes on, and names it.

use anyhow::Result;

use crate::invocation::Invocation;

/// The most tests that run again. If more fail, they do not fail by chance.
const MOST: usize = 3;
/// The number of times that each of them has to pass, one after the other.
const TIMES: usize = 5;

/// The outcomes of single tests, read off the lines of the test harness.
#[derive(Debug, Default)]
pub(crate) struct Outcomes {
    pub(crate) failed: Vec<String>,
    /// The number of tests that passed, by the last line of each test program.
    passed: usize,
    /// The number of tests that failed, by the same lines.
    failures: usize,
    /// The number of test programs that have begun and not come to their last line: one that is killed never does.
    unfinished: isize,
    /// Set to `true` if a property has a counterexample, which the next run would only not find again.
    has_counterexample: bool,
}

impl Outcomes {
    pub(crate) fn see(&mut self, line: &str) {
        self.has_counterexample |= line.contains("minimal failing input");
        if line.starts_with("running ") {
            self.unfinished += 1;
        } else if line.starts_with("test result: ") {
            self.unfinished -= 1;
            self.passed += count(line, " passed;");
            self.failures += count(line, " failed;");
        } else if let Some(name) = line.strip_prefix("test ").and_then(|line| line.strip_suffix(" ... FAILED")) {
            self.failed.push(name.to_owned());
        }
    }

    /// Runs the tests of `command` that failed again, alone. Returns `true` if each of them passed every time.
    pub(crate) fn pass_again(&self, command: &Invocation) -> Result<bool> {
        let is_all = self.unfinished == 0 && self.failures == self.failed.len();
        if self.failed.is_empty() || self.failed.len() > MOST || self.has_counterexample || !is_all {
            return Ok(false);
        }
        let alone = alone(command, &self.failed);
        for time in 1..=TIMES {
            println!("\n== once more, {time} of {TIMES}: {alone}");
            let mut seen = Self::default();
            let succeeded = alone.run_watched(|line| seen.see(line))?;
            // None may have been left out.
            if !succeeded || seen.passed < self.failed.len() {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Returns the number in front of this word.
fn count(line: &str, word: &str) -> usize {
    let number = line.split_once(word).and_then(|(before, _)| before.rsplit(' ').next()?.parse().ok());
    number.unwrap_or(0)
}

/// Returns the command with these tests alone, one at a time.
fn alone(command: &Invocation, tests: &[String]) -> Invocation {
    let separator = if command.has_argument("--") { &[][..] } else { &["--"] };
    command.clone().args(separator).args(&["--test-threads=1", "--exact"]).args(tests)
}

#[cfg(test)]
mod unit {
    use super::*;
    use crate::invocation::{cargo, program};

    fn seen(lines: &[&str]) -> Outcomes {
        let mut outcomes = Outcomes::default();
        lines.iter().for_each(|line| outcomes.see(line));
        outcomes
    }

    /// A command that takes its script's arguments for names of tests, as the harness does, and says of all that they passed.
    fn harness() -> Invocation {
        program("sh", ["-c", "shift 2; echo \"test result: ok. $# passed; 0 failed\"", "--"])
    }

    #[test]
    fn a_test_that_passes_each_time_by_itself_failed_by_chance() {
        let once = seen(&[
            "running 3 tests",
            "test a::good ... ok",
            "test a::bad ... FAILED",
            "test b::bad ... FAILED",
            "test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.19s",
        ]);
        assert_eq!(once.failed, ["a::bad", "b::bad"]);
        assert!(once.pass_again(&harness()).expect("sh"));
        assert!(!once.pass_again(&program("false", ["--"])).expect("false"));
        let one = program("echo", ["test result: ok. 1 passed; 0 failed", "--"]);
        assert!(!once.pass_again(&program("sh", ["-c", &format!("{one}"), "--"])).expect("sh"), "one did not run");
    }

    #[test]
    fn many_failed_tests_a_counterexample_and_no_test_at_all_stay_failures() {
        let harness = harness();
        let result = |n: usize| format!("test result: FAILED. 0 passed; {n} failed; 0 ignored");
        let failed = |n: usize| {
            let mut outcomes = Outcomes::default();
            outcomes.see("running 9 tests");
            (0..n).for_each(|n| outcomes.see(&format!("test t{n} ... FAILED")));
            outcomes.see(&result(n));
            outcomes
        };
        assert!(failed(MOST).pass_again(&harness).expect("sh"));
        assert!(!failed(MOST + 1).pass_again(&harness).expect("sh"));
        let mut counterexample = failed(1);
        counterexample.see("minimal failing input: x = 1");
        assert!(!counterexample.pass_again(&harness).expect("sh"));
        assert!(!seen(&["error: could not compile"]).pass_again(&harness).expect("sh"));
    }

    #[test]
    fn a_program_that_was_killed_or_an_unnamed_test_stays_a_failure() {
        let one = ["running 1 test", "test t ... FAILED", "test result: FAILED. 0 passed; 1 failed; 0 ignored"];
        assert!(seen(&one).pass_again(&harness()).expect("sh"));
        // Another program begins, and comes to no end.
        assert!(!seen(&[&one[..], &["running 5 tests"]].concat()).pass_again(&harness()).expect("sh"));
        let two = ["running 2 tests", "test t ... FAILED", "test result: FAILED. 0 passed; 2 failed; 0 ignored"];
        assert!(!seen(&two).pass_again(&harness()).expect("sh"), "one has no name");
    }

    #[test]
    fn the_tests_run_alone_and_one_at_a_time() {
        let tests = ["a::b".to_owned(), "c".to_owned()];
        let plain = alone(&cargo(["test", "--lib"]), &tests).to_string();
        assert_eq!(plain, "cargo test --lib -- --test-threads=1 --exact a::b c");
        let filtered = alone(&cargo(["test", "--", "axum::"]), &tests).to_string();
        assert_eq!(filtered, "cargo test -- axum:: --test-threads=1 --exact a::b c");
    }
}
