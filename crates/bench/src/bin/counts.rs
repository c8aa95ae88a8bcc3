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
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let rows: Result<Vec<rows::Row>> = tokio::task::LocalSet::new().block_on(&runtime, async {
        let mut rows = Vec::new();
        for case in &mut cases::all(true).await? {
            rows.push((case.to_string(), counts(case).await?));
        }
        Ok(rows)
    });
    rows::write(Path::new(&file), &rows?)
}

/// Allocations, their bytes, and the store's reads and writes, each for one request.
async fn counts(case: &mut Case) -> Result<Vec<f64>> {
    let so_far = |case: &Case| case.calls.as_ref().map(|calls| calls.so_far());
    let before = so_far(case);
    let (mut allocations, mut bytes) = (0, 0);
    for _ in 0..REQUESTS {
        let region = Region::new(ALLOCATOR);
        let answer = case.once().await;
        let change = region.change();
        // A reallocation asks the allocator too.
        allocations += change.allocations + change.reallocations;
        bytes += change.bytes_allocated;
        ensure!(case.is_expected(&answer), "{case}: a request failed");
        case.keep(&answer)?;
    }

    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let each = |count: u64| count as f64 / f64::from(REQUESTS);
    let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    let mut numbers = vec![each(count(allocations)), each(count(bytes))];
    if let (Some((reads, writes)), Some((reads_now, writes_now))) = (before, so_far(case)) {
        numbers.extend([each(reads_now - reads), each(writes_now - writes)]);
    }
    Ok(numbers)
}
