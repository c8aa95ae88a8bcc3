//! `cargo xtask ci`: everything that a change must pass, in an order in which the cheap steps fail first.
//!
//! Most of what tests do is wait, and most of what the compiler does last keeps one core busy. So about half of the steps
//! run beside the others, in a second process whose output is shown at the end: first those that build in folders of
//! their own, and last the acceptance suite, while the other tests run.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};

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
use crate::workspace;

type Run = fn(&mut Report);

/// The steps, by the names that `cargo xtask ci STEP..` takes.
pub(crate) const STEPS: [(&str, Run); 15] = [
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
    ("acceptance", tests::run_acceptance),
    ("fuzz", |report| fuzz::run_briefly(report)),
];

/// The steps that run beside the others, in this order. The last two build where the others do, and come when those hardly
/// do any more.
const BESIDE: [&str; 6] = ["schedules", "instructions", "fuzz", "prove", "powerset", "acceptance"];

/// The steps that are every test there is, which `cargo xtask test` runs.
pub(crate) const EVERY_TEST: [&str; 2] = ["test", "acceptance"];

/// Runs the named steps, or all of them. A step that fails does not keep the others from running.
pub(crate) fn run(report: &mut Report, names: &[String]) -> Result<()> {
    if let Some(unknown) = names.iter().find(|name| !STEPS.iter().any(|(step, _)| step == name)) {
        bail!("no step {unknown}; there are: {}", STEPS.map(|(name, _)| name).join(", "));
    }
    let is_chosen = |step: &str| names.is_empty() || names.iter().any(|name| name == step);
    let beside: Vec<&str> = BESIDE.into_iter().filter(|name| is_chosen(name)).collect();
    let here: Vec<&str> =
        STEPS.iter().map(|(name, _)| *name).filter(|name| is_chosen(name) && !BESIDE.contains(name)).collect();
    if here.is_empty() || beside.is_empty() {
        run_each(report, &[here, beside].concat());
        return Ok(());
    }
    let second = Second::start(&beside)?;
    run_each(report, &here);
    if let Err(error) = second.finish(report) {
        report.failed("the steps beside", &format!("{error:#}"));
    }
    Ok(())
}

fn run_each(report: &mut Report, names: &[&str]) {
    for name in names {
        STEPS.iter().filter(|(step, _)| step == name).for_each(|(_, step)| step(report));
    }
}

/// The second process, with steps of its own.
struct Second {
    child: Child,
    output: PathBuf,
    steps: PathBuf,
}

impl Second {
    fn start(names: &[&str]) -> Result<Self> {
        let folder = workspace::root().join("target");
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let (output, steps) = (folder.join("ci-beside.log"), folder.join("ci-beside.steps"));
        // A run that was interrupted may have left these.
        if steps.exists() {
            fs::remove_file(&steps).with_context(|| format!("cannot remove {}", steps.display()))?;
        }
        let log = File::create(&output).with_context(|| format!("cannot write {}", output.display()))?;
        let errors = log.try_clone().context("cannot share the log")?;
        let mut command = Command::new(std::env::current_exe().context("this program has no path")?);
        command.arg("ci").args(names).env(Report::KEPT_IN, &steps);
        command.stdin(Stdio::null()).stdout(log).stderr(errors);
        println!("\n== beside the others, their output at the end: {}", names.join(", "));
        Ok(Self { child: command.spawn().context("cannot start a second process")?, output, steps })
    }

    /// Waits for the process, shows what it said, and takes its steps over.
    fn finish(mut self, report: &mut Report) -> Result<()> {
        self.child.wait().context("cannot wait for the second process")?;
        let said = fs::read(&self.output).with_context(|| format!("cannot read {}", self.output.display()))?;
        println!("\n{}", String::from_utf8_lossy(&said));
        let steps = fs::read_to_string(&self.steps);
        report.adopt(&steps.context("they came to no end")?)
    }
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
    let docs = cargo(api::DOCS);
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
/// takes `-D warnings` without compiling the dependencies again.) The store has so many that every pair must do, in which
/// its engines count as two; each engine is tried alone, too. What the engine only hands on, the AEADs, counters
/// and databases, goes together; TLS is a feature of the driver alone. The SDK of DynamoDB would be compiled for each
/// combination of tokio's features, so that engine is tried alone in the store, and with all others by clippy. So is
/// what the adapters hand on: no line of theirs depends on it.
fn powerset(report: &mut Report) {
    const CORE: [&str; 2] = ["--package", "secure-sessions-core"];
    const STORE: [&str; 2] = ["--package", "secure-sessions-store"];
    const ENGINE: [&str; 2] = ["--package", "secure-sessions"];
    const OTHERS: [&str; 10] = [
        "--workspace",
        "--ignore-private",
        "--exclude",
        "secure-sessions-core",
        "--exclude",
        "secure-sessions-store",
        "--exclude",
        "secure-sessions",
        "--exclude",
        "secure-sessions-cli", // has no features
    ];
    const NOT_ALONE: [&str; 2] = ["--exclude-features", "default,_sql,tls-rustls,redis-rustls,dynamodb"];
    const ALONE: [&str; 5] = [
        "--each-feature",
        "--include-features",
        "sqlite,postgres,mysql,redis,cached,key-value,redb,etcd,memcached,dynamodb",
        "--exclude-no-default-features",
        "--exclude-all-features",
    ];
    const PAIRS: [&str; 7] = [
        "--feature-powerset",
        "--depth",
        "2",
        "--group-features",
        "sqlite,postgres,mysql",
        "--group-features",
        "redis,cached,key-value,redb,etcd,memcached",
    ];
    const TOGETHER: [&str; 3] = [
        "--feature-powerset",
        "--group-features",
        "ring,device,metrics,sqlite,postgres,mysql,redis,redb,etcd,memcached,cached",
    ];
    const OWN: [&str; 3] = [
        "--feature-powerset",
        "--exclude-features",
        "default,ring,device,metrics,sqlite,postgres,mysql,redb,etcd,dynamodb,memcached,cached,\
         redis,redis-rustls,tls-rustls",
    ];
    for (name, of, how) in [
        ("powerset of the core", CORE.as_slice(), vec!["--feature-powerset"]),
        ("engines of the store, each alone", &STORE, ALONE.to_vec()),
        ("powerset of the store", &STORE, [PAIRS.as_slice(), &NOT_ALONE].concat()),
        ("powerset of the engine", &ENGINE, [TOGETHER.as_slice(), &NOT_ALONE].concat()),
        ("powerset of the others", &OTHERS, OWN.to_vec()),
    ] {
        let hack = cargo(["hack", "clippy"]).args(of).args(&how).args(&["--", "-D", "warnings"]);
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

    #[test]
    fn each_step_that_is_named_elsewhere_is_one_of_the_steps() {
        for name in BESIDE.into_iter().chain(EVERY_TEST) {
            assert!(STEPS.iter().any(|(step, _)| *step == name), "{name}");
        }
    }
}
