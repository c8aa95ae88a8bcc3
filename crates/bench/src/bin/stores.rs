//! Our store on each engine beside other crates': `stores PEERS [--quick] [--write] [ENGINE..]`.
//!
//! PEERS is the program of `crates/bench-peers`. With `--write` the table goes into the README, too. As `stores side
//! FRAMEWORK URL` it is our side, which takes orders.

use std::env;
use std::ffi::OsString;

use anyhow::{Result, bail, ensure};
use bench::report::{self, Report};
use bench::stores::{self, CONTESTS, Effort};

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["side", framework, url] => bench_load::run(async || stores::side(framework, url).await),
        [peers, options @ ..] => compare(peers, options),
        [] => bail!("usage: stores PEERS [--quick] [ENGINE..]"),
    }
}

fn compare(peers: &str, options: &[&str]) -> Result<()> {
    let quick = options.contains(&"--quick");
    if let Some(unknown) =
        options.iter().find(|option| option.starts_with("--") && !["--quick", "--write"].contains(option))
    {
        bail!("no option {unknown}; there are --quick and --write");
    }
    let wanted: Vec<String> =
        options.iter().filter(|option| !option.starts_with("--")).map(|name| name.to_lowercase()).collect();
    let effort = if quick {
        Effort { passes: 9, reads: 2, writes: 1, stored: 500 }
    } else {
        Effort { passes: 20, reads: 4, writes: 2, stored: 2000 }
    };
    let (ours, peers) = (env::current_exe()?.into_os_string(), OsString::from(peers));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut outcomes = Vec::new();
    for contest in &CONTESTS {
        let name = contest.kind.name().to_lowercase();
        if !wanted.is_empty() && !wanted.iter().any(|wanted| name.starts_with(wanted)) {
            continue;
        }
        eprintln!("== {}", contest.kind.name());
        match runtime.block_on(stores::contest(contest, &ours, &peers, effort)) {
            Ok(sides) => outcomes.push((contest.kind, sides)),
            Err(error) => match error.downcast_ref() {
                Some(missing @ services::Error::Missing { .. }) => {
                    println!("SKIPPED {}: {missing}", contest.kind.name())
                }
                _ => return Err(error.context(contest.kind.name())),
            },
        }
    }
    ensure!(!outcomes.is_empty(), "nothing was measured: {} names no engine that is here", wanted.join(" or "));
    let report = Report::new("stores", stores::tables(&outcomes));
    let page = format!("{} passes, {}\n\n{}", effort.passes, report.machine.describe(), stores::page(&outcomes));
    println!("{page}\n{}", stores::verdicts(&outcomes));
    if options.contains(&"--write") {
        report::put("stores", &page)?;
    }
    report.save()
}
