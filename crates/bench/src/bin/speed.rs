//! Times every case: `speed FILE [--quick] [--only TEXT]`, with a text for those whose names contain it, for a profiler.

use std::env;
use std::path::Path;

use anyhow::{Context, Result};
use bench::measure::{Effort, times};
use bench::{cases, rows};

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let file = arguments.first().context("usage: speed FILE [--quick] [--only TEXT]")?;
    let only = arguments.iter().skip_while(|argument| *argument != "--only").nth(1);
    let quick = arguments.iter().any(|argument| argument == "--quick");
    // Short passes, so that most of them are over before the scheduler gives the core to someone else.
    let effort = Effort { passes: if quick { 1000 } else { 10_000 }, requests: 50 };

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let rows: Vec<rows::Row> = tokio::task::LocalSet::new().block_on(&runtime, async {
        let mut cases = cases::all(false).await?;
        cases.retain(|case| only.is_none_or(|text| case.framework.row(&case.name).contains(text.as_str())));
        let times = times(&mut cases, effort).await?;
        let named = cases.iter().zip(times);
        let rows =
            named.map(|(case, time)| (case.framework.row(&case.name), vec![time.median, time.over_first, time.spread]));
        Ok::<_, anyhow::Error>(rows.collect())
    })?;
    rows::write(Path::new(file), &rows)
}
