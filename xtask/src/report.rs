//! Steps: each is timed as it runs, and listed with its outcome at the end.

use std::fmt;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::invocation::Invocation;
use crate::tools::Tool;
use crate::unsteady::Outcomes;

/// The steps that ran so far.
#[derive(Debug)]
pub(crate) struct Report {
    /// Set to `true` if a missing tool is a failure.
    strict: bool,
    steps: Vec<Step>,
}

#[derive(Debug)]
struct Step {
    name: String,
    took: Duration,
    outcome: Outcome,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Outcome {
    Passed,
    /// With the tests that failed among the others, and passed by themselves.
    Unsteady(String),
    /// With what to run, or to do, to see it again.
    Failed(String),
    /// With the reason.
    Skipped(String),
}

impl Report {
    /// The variable that names a file for the steps of this process, for the process that started it.
    pub(crate) const KEPT_IN: &str = "XTASK_STEPS";

    pub(crate) fn new(strict: bool) -> Self {
        Self { strict, steps: Vec::new() }
    }

    /// Runs a command as a step.
    pub(crate) fn command(&mut self, name: &str, command: &Invocation) {
        self.step(name, &format!("{command}"), || match command.run() {
            Ok(true) => Outcome::Passed,
            Ok(false) => Outcome::Failed(format!("reproduce: {command}")),
            Err(error) => Outcome::Failed(format!("{error:#}")),
        });
    }

    /// Runs tests as a step. If some fail, the report names them, also those that pass by themselves.
    pub(crate) fn tests(&mut self, name: &str, command: &Invocation) {
        self.step(name, &format!("{command}"), || {
            let mut seen = Outcomes::default();
            let outcome = match command.run_watched(|line| seen.see(line)) {
                Ok(true) => Ok(Outcome::Passed),
                Ok(false) => seen.pass_again(command).map(|steady| match (steady, named(&seen.failed)) {
                    (true, failed) => {
                        Outcome::Unsteady(format!("{failed}; then passed alone: a defect of the test, or a race"))
                    }
                    (false, failed) => Outcome::Failed(format!("{failed}; reproduce: {command}")),
                }),
                Err(error) => Err(error),
            };
            outcome.unwrap_or_else(|error| Outcome::Failed(format!("{error:#}")))
        });
    }

    /// Runs a command that needs the given tools; one of them missing skips it.
    pub(crate) fn command_with(&mut self, name: &str, tools: &[Tool], command: &Invocation) {
        match tools.iter().find(|tool| !tool.is_installed()) {
            Some(missing) => self.skip(name, &missing.how_to_install()),
            None => self.command(name, command),
        }
    }

    /// Runs a check of our own as a step.
    pub(crate) fn check(&mut self, name: &str, check: impl FnOnce() -> Result<()>) {
        self.step(name, &format!("cargo xtask ci {name}"), || match check() {
            Ok(()) => Outcome::Passed,
            Err(error) => {
                println!("{error:#}");
                Outcome::Failed(format!("reproduce: cargo xtask ci {name}"))
            }
        });
    }

    /// Notes that a step did not run: a failure where nothing may be left out.
    pub(crate) fn skip(&mut self, name: &str, reason: &str) {
        let strict = self.strict;
        self.step(name, reason, || {
            if strict { Outcome::Failed(reason.to_owned()) } else { Outcome::Skipped(reason.to_owned()) }
        });
    }

    /// Notes that a step is not meant to run.
    pub(crate) fn left_out(&mut self, name: &str, reason: &str) {
        self.step(name, reason, || Outcome::Skipped(reason.to_owned()));
    }

    /// Notes that a step could not even begin.
    pub(crate) fn failed(&mut self, name: &str, reason: &str) {
        self.step(name, reason, || Outcome::Failed(reason.to_owned()));
    }

    /// Writes the steps down for [`adopt`](Self::adopt): a line for each.
    pub(crate) fn to_lines(&self) -> String {
        let lines = self.steps.iter().map(|Step { name, took, outcome }| {
            let (word, text) = match outcome {
                Outcome::Passed => ("passed", ""),
                Outcome::Unsteady(which) => ("unsteady", which.as_str()),
                Outcome::Failed(how) => ("failed", how.as_str()),
                Outcome::Skipped(why) => ("skipped", why.as_str()),
            };
            format!("{word}\t{}\t{name}\t{}\n", took.as_millis(), text.replace(['\t', '\n'], " "))
        });
        lines.collect()
    }

    /// Adds the steps of another process, as it wrote them down.
    pub(crate) fn adopt(&mut self, lines: &str) -> Result<()> {
        for line in lines.lines() {
            let fields: Vec<&str> = line.split('\t').collect();
            let [word, took, name, text] = fields[..] else { bail!("not a step: {line}") };
            let outcome = match word {
                "passed" => Outcome::Passed,
                "unsteady" => Outcome::Unsteady(text.to_owned()),
                "failed" => Outcome::Failed(text.to_owned()),
                "skipped" => Outcome::Skipped(text.to_owned()),
                _ => bail!("not an outcome: {line}"),
            };
            let took = took.parse().with_context(|| format!("not a time: {line}"))?;
            self.steps.push(Step { name: name.to_owned(), took: Duration::from_millis(took), outcome });
        }
        Ok(())
    }

    /// Returns `true` if no step failed.
    pub(crate) fn passed(&self) -> bool {
        !self.steps.iter().any(|step| matches!(step.outcome, Outcome::Failed(_)))
    }

    fn step(&mut self, name: &str, what: &str, run: impl FnOnce() -> Outcome) {
        println!("\n== {name}: {what}");
        let start = Instant::now();
        let outcome = run();
        self.steps.push(Step { name: name.to_owned(), took: start.elapsed(), outcome });
    }

    fn count(&self, which: impl Fn(&Outcome) -> bool) -> usize {
        self.steps.iter().filter(|step| which(&step.outcome)).count()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.steps.iter().map(|step| step.name.len()).max().unwrap_or(0);
        writeln!(f)?;
        for Step { name, took, outcome } in &self.steps {
            let seconds = took.as_secs_f64();
            match outcome {
                Outcome::Passed => writeln!(f, "passed   {name:width$} {seconds:7.1} s")?,
                Outcome::Unsteady(which) => writeln!(f, "UNSTEADY {name:width$} {seconds:7.1} s  {which}")?,
                Outcome::Failed(how) => writeln!(f, "FAILED   {name:width$} {seconds:7.1} s  {how}")?,
                Outcome::Skipped(why) => writeln!(f, "SKIPPED  {name:width$}            {why}")?,
            }
        }
        let passed = self.count(|outcome| matches!(outcome, Outcome::Passed | Outcome::Unsteady(_)));
        let failed = self.count(|outcome| matches!(outcome, Outcome::Failed(_)));
        let skipped = self.count(|outcome| matches!(outcome, Outcome::Skipped(_)));
        writeln!(f, "steps: {passed} passed, {failed} failed, {skipped} skipped")
    }
}

fn named(failed: &[String]) -> String {
    const SHOWN: usize = 20;
    if failed.is_empty() {
        return "no test failed, so something else did: see its output".to_owned();
    }
    let more = if failed.len() > SHOWN { ", .." } else { "" };
    format!("{} failed: {}{more}", failed.len(), failed[..failed.len().min(SHOWN)].join(", "))
}

#[cfg(test)]
mod unit {
    use super::*;
    use crate::invocation::program;

    #[test]
    fn every_step_is_listed_by_name_and_a_failed_one_says_how_to_see_it_again() {
        let mut report = Report::new(false);
        report.check("good", || Ok(()));
        report.check("bad", || anyhow::bail!("no"));
        report.command("command", &program("false", ["--now"]));
        report.skip("left out", "needs a tool");
        let text = report.to_string();
        assert!(text.contains("passed   good"), "{text}");
        assert!(text.contains("reproduce: cargo xtask ci bad"), "{text}");
        assert!(text.contains("reproduce: false --now"), "{text}");
        assert!(text.contains("SKIPPED  left out") && text.contains("needs a tool"), "{text}");
        assert!(text.ends_with("steps: 1 passed, 2 failed, 1 skipped\n"), "{text}");
        assert!(!report.passed());
    }

    #[test]
    fn tests_that_failed_are_named_where_the_steps_are_listed() {
        let mut report = Report::new(false);
        let said = "test a::good ... ok\ntest b::bad ... FAILED\ntest src/c.rs - d (line 7) ... FAILED\n";
        report.tests("tests", &program("sh", ["-c", &format!("printf '{said}'; false")]));
        report.tests("broken", &program("false", ["--now"]));
        let text = report.to_string();
        assert!(text.contains("2 failed: b::bad, src/c.rs - d (line 7); reproduce: sh"), "{text}");
        assert!(text.contains("no test failed, so something else did"), "{text}");
        assert!(text.ends_with("steps: 0 passed, 2 failed, 0 skipped\n"), "{text}");
    }

    #[test]
    fn a_test_that_fails_once_is_named_and_its_step_passes() {
        let mut report = Report::new(false);
        // It fails without arguments of its own, and passes with them.
        let script = "test $# -gt 0 && echo 'test result: ok. 1 passed; 0 failed;' && exit; echo 'running 1 test'; \
                      echo 'test a::b ... FAILED'; echo 'test result: FAILED. 0 passed; 1 failed;'; exit 1";
        report.tests("tests", &program("sh", ["-c", script, "--"]));
        let text = report.to_string();
        assert!(text.contains("UNSTEADY tests") && text.contains("1 failed: a::b; then passed alone"), "{text}");
        assert!(text.ends_with("steps: 1 passed, 0 failed, 0 skipped\n"), "{text}");
        assert!(report.passed());
        let mut here = Report::new(false);
        here.adopt(&report.to_lines()).expect("its own lines");
        assert_eq!(here.to_string(), text);
    }

    #[test]
    fn the_steps_of_another_process_are_listed_as_they_were_there() {
        let mut there = Report::new(false);
        there.check("good", || Ok(()));
        there.check("bad", || anyhow::bail!("no"));
        there.left_out("left out", "not\there");
        let mut here = Report::new(false);
        here.adopt(&there.to_lines()).expect("its own lines");
        assert_eq!(here.to_string(), there.to_string().replace("not\there", "not here"));
        assert!(!here.passed());
        for line in ["passed", "well\t1\tname\t", "passed\tlong\tname\t"] {
            assert!(here.adopt(line).is_err(), "{line}");
        }
    }

    #[test]
    fn a_missing_tool_fails_only_where_nothing_may_be_left_out() {
        for (strict, passed) in [(false, true), (true, false)] {
            let mut report = Report::new(strict);
            report.skip("step", "needs a tool");
            assert_eq!(report.passed(), passed, "strict: {strict}");
        }
    }
}
