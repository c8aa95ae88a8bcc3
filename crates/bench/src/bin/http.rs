//! Requests over HTTP, ours beside the peers': `http [--quick] [FRAMEWORK..]`, on Linux with two cores and more.
//!
//! As `http serve FRAMEWORK APPLICATION PATH` it is one of the servers.

use std::env;

use anyhow::{Result, ensure};
use bench::cases::Framework;
use bench::http::{self, Effort};
use bench::report::Report;

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["serve", framework, application, path] => http::serve(framework, application, path),
        _ => compare(&arguments),
    }
}

fn compare(arguments: &[&str]) -> Result<()> {
    let (options, wanted): (Vec<&str>, Vec<&str>) = arguments.iter().partition(|argument| argument.starts_with("--"));
    let frameworks = Framework::ALL.into_iter();
    let frameworks: Vec<_> =
        frameworks.filter(|one| wanted.is_empty() || wanted.contains(&&*one.to_string())).collect();
    let usage = "usage: http [--quick] [axum] [actix-web] [rocket]";
    ensure!(options.iter().all(|option| *option == "--quick") && !frameworks.is_empty(), usage);
    let effort = Effort { passes: if options.is_empty() { 60 } else { 12 }, each: 100 };

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let contests = tokio::task::LocalSet::new().block_on(&runtime, async {
        let mut outcomes = Vec::new();
        for framework in frameworks {
            outcomes.push(http::contest(framework, effort).await?);
        }
        anyhow::Ok(outcomes)
    });
    let outcomes = contests?;
    println!("{}", http::text(&outcomes));
    let name = if cfg!(feature = "ring") { "http-ring" } else { "http" };
    Report::new(name, outcomes.iter().map(|sides| http::table(sides)).collect()).save()
}
