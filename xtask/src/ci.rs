//! `cargo xtask ci`: everything that a change must pass, in an order in which the cheap steps fail first.

use anyhow::{Result, bail};

use crate::api;
use crate::assure;
use crate::bench;
use crate::circles;
use crate::claims;
use crate::fuzz;
use crate::instructions;
use crate::invocation::cargo;
use crate::metadata;
use crate::package;
use crate::prove;
use crate::report::Report;
use crate::tests;
use crate::tools::Tool;

type Run = fn(&mut Report);

/// The steps, by the names that `cargo xtask ci STEP..` takes.
pub(crate) const STEPS: [(&str, Run); 14] = [
    ("fmt", fmt),
    ("circles", |report| report.check("circles", circles::check)),
    ("claims", |report| report.check("claims", claims::check)),
    ("clippy", clippy),
    ("docs", docs),
    ("api", api::run),
    ("deny", deny),
    ("powerset", powerset),
    ("package", package::run),
    ("prove", prove::run),
    ("schedules", |report| assure::step(report, "schedules")),
    ("instructions", instructions::run),
    ("test", tests::run),
    ("fuzz", |report| fuzz::run_briefly(report)),
];

/// Runs the named steps, or all of them. A step that fails does not keep the others from running.
pub(crate) fn run(report: &mut Report, names: &[String]) -> Result<()> {
    if let Some(unknown) = names.iter().find(|name| !STEPS.iter().any(|(step, _)| step == name)) {
        bail!("no step {unknown}; there are: {}", STEPS.map(|(name, _)| name).join(", "));
    }
    for (name, step) in STEPS {
        if names.is_empty() || names.iter().any(|wanted| wanted == name) {
            step(report);
        }
    }
    Ok(())
}

fn fmt(report: &mut Report) {
    report.command("fmt", &cargo(["fmt", "--all", "--check"]));
    for (name, manifest) in [("fmt of fuzz", fuzz::MANIFEST), ("fmt of bench-peers", bench::PEERS)] {
        report.command(name, &cargo(["fmt", "--manifest-path", manifest, "--check"]));
    }
}

fn clippy(report: &mut Report) {
    let clippy = ["clippy", "--workspace", "--all-targets", "--all-features", "--", "-D", "warnings"];
    report.command("clippy", &cargo(clippy));
}

fn docs(report: &mut Report) {
    // With the examples cargo takes the features of dependencies that clippy took, and compiles none once more.
    let docs = cargo(["doc", "--workspace", "--no-deps", "--all-features", "--lib", "--examples"]);
    match metadata::documented_programs() {
        Ok(programs) => {
            let programs: Vec<&str> = programs.iter().flat_map(|name| ["--bin", name]).collect();
            report.command("docs", &docs.args(&programs).variable("RUSTDOCFLAGS", "-D warnings"));
        }
        Err(error) => report.check("docs", || Err(error)),
    }
}

/// Without the advisories: they are a database of their own, fetched over the network.
fn deny(report: &mut Report) {
    let deny = ["deny", "--workspace", "--all-features", "check", "bans", "licenses", "sources"];
    report.command_with("deny", &[Tool::Subcommand("deny")], &cargo(deny));
}

/// Every combination of features of every published crate compiles without a warning. (The lints are clippy's, which
/// takes `-D warnings` without compiling the dependencies again.) The store has so many that every pair must do. What is
/// only handed on, the AEADs and the databases, goes together; TLS is a feature of the driver alone.
fn powerset(report: &mut Report) {
    const CORE: [&str; 2] = ["--package", "secure-sessions-core"];
    const STORE: [&str; 6] = ["--package", "secure-sessions-store", "--depth", "2", "--group-features", "redis,cached"];
    const SHIMS: [&str; 4] =
        ["--package", "secure-sessions-actix-session", "--package", "secure-sessions-tower-sessions"];
    const OTHERS: [&str; 12] = [
        "--workspace",
        "--ignore-private",
        "--exclude",
        "secure-sessions-core",
        "--exclude",
        "secure-sessions-store",
        "--exclude",
        "secure-sessions-actix-session",
        "--exclude",
        "secure-sessions-tower-sessions",
        "--group-features",
        "ring,sqlite,postgres,mysql,redis,cached",
    ];
    for (name, which) in [
        ("powerset of the core", CORE.as_slice()),
        ("powerset of the store", STORE.as_slice()),
        ("powerset of the shims", SHIMS.as_slice()),
        ("powerset of the others", OTHERS.as_slice()),
    ] {
        let hack = cargo(["hack", "clippy", "--feature-powerset"]).args(which);
        // Those that a crate does not have are none to leave out.
        let hack = if which == SHIMS.as_slice() {
            hack
        } else {
            hack.args(&["--exclude-features", "default,_sql,tls-rustls,redis-rustls"])
        };
        let hack = hack.args(&["--", "-D", "warnings"]);
        report.command_with(name, &[Tool::Subcommand("hack")], &hack);
    }
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn a_step_that_does_not_exist_is_an_error_that_lists_those_that_do() {
        let mut report = Report::new(false);
        let error = run(&mut report, &["typo".to_owned()]).expect_err("no such step").to_string();
        assert!(error.contains("typo") && error.contains("clippy"), "{error}");
    }
}
