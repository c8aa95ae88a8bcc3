//! Times every case: `speed FILE [--quick]`.

use std::env;
use std::path::Path;

use anyhow::{Context, Result};
use bench::measure::{Effort, times};
use bench::{cases, rows};

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let file = arguments.first().context("usage: speed FILE [--quick]")?;
    let quick = arguments.iter().any(|argument| argument == "--quick");
    // Short passes, so that most of them are over before the scheduler gives the core to someone else.
    let effort = Effort { passes: if quick { 1000 } else { 10_000 }, requests: 50 };

    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    let rows: Vec<rows::Row> = runtime.block_on(async {
        let mut cases = cases::all(false).await?;
        let times = times(&mut cases, effort).await?;
        let named = cases.iter().zip(times);
        let rows = named.map(|(case, time)| (case.name.to_owned(), vec![time.median, time.over_first, time.spread]));
        Ok::<_, anyhow::Error>(rows.collect())
    })?;
    rows::write(Path::new(file), &rows)
}
