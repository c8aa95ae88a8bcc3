//! `cargo xtask`: what a developer and CI run on this repository.

mod bench;
mod ci;
mod claims;
mod fuzz;
mod invocation;
mod package;
mod report;
mod tests;
mod tools;
mod workspace;

use std::process::ExitCode;

use anyhow::{Result, bail};

use crate::report::Report;

const HELP: &str = "\
cargo xtask TASK

  ci [STEP..]          everything that a change must pass, or only the named steps (`ci list` names them)
  test                 every test: default features, the `ring` feature, documentation
  demo [ARGS..]        the demo application
  bench [--quick]      what a session costs, beside other session crates
  fuzz [--seconds N] [TARGET..]
                       every fuzz target, 60 seconds each, or only the named ones
  claims               whether every test that the documentation names exists

A step whose tool is missing is reported as SKIPPED; with CI=true in the environment it fails instead.";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("cargo xtask: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Runs one task; whether everything in it passed.
fn run(arguments: &[String]) -> Result<bool> {
    let Some((task, rest)) = arguments.split_first() else {
        println!("{HELP}");
        return Ok(true);
    };
    match (task.as_str(), rest) {
        ("ci", [list]) if list == "list" => {
            println!("{}", ci::STEPS.map(|(name, _)| name).join("\n"));
            Ok(true)
        }
        ("ci", names) => reported(|report| ci::run(report, names)),
        ("test", []) => reported(|report| {
            tests::run(report);
            Ok(())
        }),
        ("demo", arguments) => invocation::cargo(["run", "--package", "demo", "--"]).args(arguments).run(),
        ("bench", arguments) => bench::run(arguments),
        ("fuzz", arguments) => {
            let options = fuzz::Options::parse(arguments)?;
            reported(|report| fuzz::run(report, &options))
        }
        ("claims", []) => reported(|report| {
            report.check("claims", claims::check);
            Ok(())
        }),
        ("help" | "--help" | "-h", _) => {
            println!("{HELP}");
            Ok(true)
        }
        _ => bail!("no such task, or not with these arguments: {}\n\n{HELP}", arguments.join(" ")),
    }
}

/// Runs steps and prints, at the very end, one line for each.
fn reported(steps: impl FnOnce(&mut Report) -> Result<()>) -> Result<bool> {
    let mut report = Report::new(std::env::var("CI").is_ok_and(|ci| ci == "true"));
    steps(&mut report)?;
    print!("{report}");
    Ok(report.passed())
}
