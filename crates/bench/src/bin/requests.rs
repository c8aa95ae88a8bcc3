//! Times every case and prints the table: `requests COUNTS [--quick]`, COUNTS being what `counts` wrote.
//!
//! `requests --only TEXT` is for a profiler: it sends requests to the cases whose names contain the text, in a hot loop.

use std::env;
use std::path::Path;

use anyhow::{Result, bail};
use bench::measure::{Effort, Quartiles, times};
use bench::requests::{Lines, cold, goals, hot};
use bench::{cases, rows};

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    tokio::task::LocalSet::new().block_on(&runtime, async {
        match arguments.as_slice() {
            ["--only", text] => only(text).await,
            [counts] => all(Path::new(counts), false).await,
            [counts, "--quick"] => all(Path::new(counts), true).await,
            _ => bail!("usage: requests COUNTS [--quick] | requests --only TEXT"),
        }
    })
}

async fn all(counts: &Path, quick: bool) -> Result<()> {
    let mut cases = cases::all(false).await?;
    let hot = times(&mut cases, hot(quick)).await?;
    let cold = times(&mut cases, cold(quick)).await?;
    let mut lines = Lines::default();
    lines.add(&cases, &hot, &cold, &rows::read(counts)?)?;
    println!("{}", lines.text()?);
    goals(&lines)?.iter().for_each(|goal| println!("{goal}"));
    lines.report()?.save()
}

async fn only(text: &str) -> Result<()> {
    let mut cases = cases::all(false).await?;
    cases.retain(|case| case.to_string().contains(text));
    let times = times(&mut cases, Effort { rounds: 200, ..hot(true) }).await?;
    for (case, times) in cases.iter().zip(&times) {
        println!("{case}: {:.0} ns in all", Quartiles::of(times).median);
    }
    Ok(())
}
