//! Counts allocations and store operations of one request of every case: `counts FILE`.

use std::alloc::System;
use std::env;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use bench::cases::{self, Case};
use bench::rows;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const REQUESTS: u32 = 1000;

fn main() -> Result<()> {
    let file = env::args().nth(1).context("usage: counts FILE")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    let rows: Result<Vec<rows::Row>> = runtime.block_on(async {
        let mut rows = Vec::new();
        for case in &mut cases::all(true).await? {
            rows.push((case.name.to_owned(), counts(case).await?));
        }
        Ok(rows)
    });
    rows::write(Path::new(&file), &rows?)
}

/// Allocations, their bytes, and the store's reads and writes, each for one request.
async fn counts(case: &mut Case) -> Result<Vec<f64>> {
    let so_far = |case: &Case| case.calls.as_ref().map(|calls| calls.so_far());
    let before = so_far(case);
    let region = Region::new(ALLOCATOR);
    let mut answered = true;
    for _ in 0..REQUESTS {
        answered &= case.once().await;
    }
    let change = region.change();
    ensure!(answered, "{}: a request failed", case.name);

    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let each = |count: u64| count as f64 / f64::from(REQUESTS);
    let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    // A reallocation asks the allocator too.
    let mut numbers = vec![each(count(change.allocations + change.reallocations)), each(count(change.bytes_allocated))];
    if let (Some((reads, writes)), Some((reads_now, writes_now))) = (before, so_far(case)) {
        numbers.extend([each(reads_now - reads), each(writes_now - writes)]);
    }
    Ok(numbers)
}
