//! `cargo xtask`: what a developer and CI run on this repository.

mod api;
mod assure;
mod bench;
mod ci;
mod circles;
mod claims;
mod fuzz;
mod instructions;
mod invocation;
mod metadata;
mod package;
mod prove;
mod report;
mod services;
mod tests;
mod tools;
mod unsteady;
mod workspace;

use std::process::ExitCode;

use anyhow::{Result, bail};

use crate::report::Report;

const HELP: &str = "\
cargo xtask TASK

  ci [STEP..]          everything that a change must pass, or only the named steps (`ci list` names them)
  test                 every test: of the workspace, of the core without `ring`, of the documentation, and the acceptance
                       suite; on servers that the environment names (as `services` prints it), or throwaway ones
  test --quick         what a developer waits for: no servers, one adapter of the acceptance suite; names what it leaves out
  services [NAME..]    throwaway PostgreSQL, MariaDB, Redis, a Redis cluster, etcd, Memcached and a DynamoDB emulator, or only the named ones, until Ctrl-C
  demo [ARGS..]        the demo application
  bench [--quick]      what a session costs, beside other session crates
  bench stores [--quick] [--write] [ENGINE..]
                       the same in every store, beside other crates' stores, on servers that it starts; with --write the
                       table goes into the benchmark's README
  bench growth [--quick] [--full]
                       how the cost of a request grows: with the data, the keys, the sessions in the store (10 million
                       with --full), retired cookies, the ring, and other cookies
  bench memory [--quick]
                       what a session takes in MemoryStore, up to 10 million sessions
  bench pictures       pictures of what the last runs have found, for the documentation
  fuzz [--seconds N] [TARGET..]
                       every fuzz target, 60 seconds each, or only the named ones
  assure [--all] [ITEM..]
                       what a stranger can check, one line with its figure for each item; without arguments the
                       brief ones, which CI runs too: model, prove, schedules, secrets, misuse, api, supply. On demand,
                       as they take long or want the machine for themselves: faults, minimal, timing, mutants, coverage, asan,
                       parser, fuzz
  prove                the symbolic models of what each attacker can do, with Verifpal
  api [--write]        whether each crate's public API is the one that its list says, or writes the lists
  instructions [--write]
                       whether a request takes more instructions than the counts that are checked in, or writes them
  circles              whether modules of a crate use each other in a circle, with figures for each crate
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
    if std::env::var_os(api::AS_RUSTDOC).is_some() {
        return api::as_rustdoc(arguments);
    }
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
        ("test", []) => reported(|report| ci::run(report, &ci::EVERY_TEST.map(str::to_owned))),
        ("test", [quick]) if quick == "--quick" => reported(|report| {
            tests::run_quick(report);
            Ok(())
        }),
        ("services", names) => services::run(names),
        ("demo", arguments) => invocation::cargo(["run", "--package", "demo", "--"]).args(arguments).run(),
        ("bench", arguments) => bench::run(arguments),
        ("fuzz", arguments) => {
            let options = fuzz::Options::parse(arguments)?;
            reported(|report| fuzz::run(report, &options))
        }
        ("assure", arguments) => assure::run(arguments, is_strict()),
        ("prove", []) => reported(|report| {
            prove::run(report);
            Ok(())
        }),
        ("api", []) => reported(|report| {
            api::run(report);
            Ok(())
        }),
        ("api", [write]) if write == "--write" => api::write().map(|()| true),
        ("instructions", []) => reported(|report| {
            instructions::run(report);
            Ok(())
        }),
        ("instructions", [write]) if write == "--write" => instructions::write().map(|()| true),
        ("circles", []) => reported(|report| {
            report.check("circles", circles::check);
            Ok(())
        }),
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

/// Returns `true` if a missing tool is a failure.
fn is_strict() -> bool {
    std::env::var("CI").is_ok_and(|ci| ci == "true")
}

/// Runs steps and prints, at the very end, one line for each.
fn reported(steps: impl FnOnce(&mut Report) -> Result<()>) -> Result<bool> {
    let mut report = Report::new(is_strict());
    steps(&mut report)?;
    if let Some(file) = std::env::var_os(Report::KEPT_IN) {
        std::fs::write(&file, report.to_lines())?;
    }
    print!("{report}");
    Ok(report.passed())
}
