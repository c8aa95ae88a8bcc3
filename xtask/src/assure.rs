//! `cargo xtask assure`: what a stranger can check, one line with its figure for each item.
//!
//! The brief items are part of `cargo xtask ci`, most of them as tests. The others take long, want the machine for
//! themselves, or need a tool that CI does not install: they run on demand, by name or with `--all`.

mod coverage;
mod fuzzing;
mod minimal;
mod mutants;
mod runs;
mod sanitizer;
mod supply;
mod timing;

use std::time::Instant;

use anyhow::{Result, bail};

use crate::report::Report;
use crate::tools::Tool;
use crate::{api, prove};

/// The result of an item.
pub(crate) enum Outcome {
    /// It holds; with the amount that there was.
    Holds(String),
    /// A thing that it needs is missing.
    Skipped(String),
}

/// The target that nightly builds for.
const TRIPLE: &str = "x86_64-unknown-linux-gnu";

struct Item {
    name: &'static str,
    what: &'static str,
    /// Set to `true` if CI runs it too.
    brief: bool,
    run: fn() -> Result<Outcome>,
}

const ITEMS: [Item; 15] = [
    Item { name: "model", what: "every history of a few requests, in a model checker", brief: true, run: runs::model },
    Item { name: "prove", what: "what each attacker can do, in Verifpal", brief: true, run: prove },
    Item { name: "schedules", what: "orders of the memory store's locks", brief: true, run: runs::schedules },
    Item { name: "secrets", what: "canaries in memory, logs, errors and rows", brief: true, run: runs::secrets },
    Item { name: "misuse", what: "what must not compile", brief: true, run: runs::misuse },
    Item { name: "api", what: "the public API is the one that is listed", brief: true, run: listed_api },
    Item { name: "supply", what: "licences, sources and doubles of dependencies", brief: true, run: supply::run },
    Item { name: "faults", what: "honest users while their store fails", brief: false, run: runs::faults },
    Item { name: "minimal", what: "the lowest versions that the manifests allow", brief: false, run: minimal::run },
    Item { name: "timing", what: "comparisons of secrets take constant time", brief: false, run: timing::run },
    Item { name: "mutants", what: "changes to the core that no test notices", brief: false, run: mutants::run },
    Item { name: "coverage", what: "lines of core and engine that tests reach", brief: false, run: coverage::run },
    Item { name: "asan", what: "the tests under AddressSanitizer", brief: false, run: sanitizer::run },
    Item { name: "parser", what: "what the fuzz corpora reach of the core", brief: false, run: fuzzing::coverage },
    Item { name: "fuzz", what: "each fuzz target for ten minutes", brief: false, run: fuzzing::run },
];

/// Runs the brief items, the named ones, or with `--all` all; whether none failed.
pub(crate) fn run(arguments: &[String], strict: bool) -> Result<bool> {
    let all = arguments.iter().any(|argument| argument == "--all");
    let names: Vec<&String> = arguments.iter().filter(|argument| *argument != "--all").collect();
    if let Some(unknown) = names.iter().find(|name| !ITEMS.iter().any(|item| item.name == ***name)) {
        bail!("no item {unknown}; there are: {}", ITEMS.map(|item| item.name).join(", "));
    }
    let mut lines = Vec::new();
    let mut passed = true;
    for item in &ITEMS {
        let wanted = if names.is_empty() { all || item.brief } else { names.iter().any(|name| *name == item.name) };
        if !wanted {
            if names.is_empty() {
                lines.push(format!("on demand  {:10} {}: cargo xtask assure {}", item.name, item.what, item.name));
            }
            continue;
        }
        println!("\n== {}: {}", item.name, item.what);
        let start = Instant::now();
        let outcome = (item.run)();
        let seconds = start.elapsed().as_secs_f64();
        lines.push(match outcome {
            Ok(Outcome::Holds(figure)) => format!("holds      {:10} {figure} ({seconds:.0} s)", item.name),
            Ok(Outcome::Skipped(why)) => {
                passed &= !strict;
                format!("SKIPPED    {:10} {why}", item.name)
            }
            Err(error) => {
                passed = false;
                println!("{error:#}");
                format!("FAILED     {:10} reproduce: cargo xtask assure {}", item.name, item.name)
            }
        });
    }
    println!("\n{}", lines.join("\n"));
    Ok(passed)
}

/// One item as a step of CI.
pub(crate) fn step(report: &mut Report, name: &str) {
    let Some(item) = ITEMS.iter().find(|item| item.name == name) else { return };
    report.check(name, || match (item.run)()? {
        Outcome::Holds(figure) => {
            println!("{figure}");
            Ok(())
        }
        Outcome::Skipped(why) => bail!("{why}"),
    });
}

fn prove() -> Result<Outcome> {
    with(&[prove::VERIFPAL], prove::all)
}

fn listed_api() -> Result<Outcome> {
    api::check().map(Outcome::Holds)
}

/// The figure, unless one of the tools is missing.
fn with(tools: &[Tool], run: impl FnOnce() -> Result<String>) -> Result<Outcome> {
    match tools.iter().find(|tool| !tool.is_installed()) {
        Some(missing) => Ok(Outcome::Skipped(missing.how_to_install())),
        None => run().map(Outcome::Holds),
    }
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn an_item_that_does_not_exist_is_an_error_that_lists_those_that_do() {
        let error = run(&["typo".to_owned()], false).expect_err("no such item").to_string();
        assert!(error.contains("typo") && error.contains("mutants"), "{error}");
    }
}
