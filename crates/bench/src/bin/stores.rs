//! Our store on each engine beside other crates': `stores PEERS [--quick] [ENGINE..]`.
//!
//! PEERS is the program of `crates/bench-peers`. As `stores side FRAMEWORK URL` it is our side, which takes orders.

use std::env;
use std::ffi::OsString;

use anyhow::{Result, bail};
use bench::report::Report;
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
    let wanted: Vec<String> =
        options.iter().filter(|option| !option.starts_with("--")).map(|name| name.to_lowercase()).collect();
    let effort = if quick {
        Effort { passes: 5, reads: 10, writes: 5, stored: 500 }
    } else {
        Effort { passes: 20, reads: 30, writes: 15, stored: 2000 }
    };
    let (ours, peers) = (env::current_exe()?.into_os_string(), OsString::from(peers));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut outcomes = Vec::new();
    for contest in &CONTESTS {
        let name = contest.kind.name().to_lowercase();
        if !wanted.is_empty() && !wanted.iter().any(|wanted| name.starts_with(wanted)) {
            continue;
        }
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
    println!("{}\n{}\n{}", stores::speeds(&outcomes), stores::sizes(&outcomes), stores::verdicts(&outcomes));
    Report::new("stores", stores::tables(&outcomes)).save()
}
