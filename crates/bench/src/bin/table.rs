//! Prints the benchmark's table and its budgets: `table RUSTCRYPTO RING COUNTS`.

use std::env;
use std::path::Path;

use anyhow::{Context, Result, bail};
use bench::cases::{BARE, NO_OP, OURS_READ, OURS_UNSEEN, TOWER_SESSIONS_READ};
use bench::rows::{self, Row, find};

fn main() -> Result<()> {
    let files: Vec<String> = env::args().skip(1).collect();
    let [rustcrypto, ring, counts] = files.as_slice() else { bail!("usage: table RUSTCRYPTO RING COUNTS") };
    let read = |file: &String| rows::read(Path::new(file));
    let (rustcrypto, ring, counts) = (read(rustcrypto)?, read(ring)?, read(counts)?);
    println!("{}", table(&rustcrypto, &ring, &counts)?);
    println!("{}", budgets(&rustcrypto, &ring, &counts)?);
    Ok(())
}

/// The columns of a row that `speed` wrote.
const MEDIAN: usize = 0;
const OVER_BARE: usize = 1;
const SPREAD: usize = 2;
/// The columns of a row that `counts` wrote.
const ALLOCATIONS: usize = 0;
const BYTES: usize = 1;
const READS: usize = 2;
const WRITES: usize = 3;

fn number(rows: &[Row], name: &str, column: usize) -> Result<f64> {
    let numbers = find(rows, name).with_context(|| format!("no row for {name}"))?;
    numbers.get(column).copied().with_context(|| format!("no column {column} for {name}"))
}

fn table(rustcrypto: &[Row], ring: &[Row], counts: &[Row]) -> Result<String> {
    let mut lines = vec![
        "One request in one process on one core, in nanoseconds over the bare route (+- half of the passes), and as a"
            .to_owned(),
        "multiple of tower-sessions in the same run. 300 bytes of data, of which one value is read. Two builds: our"
            .to_owned(),
        "sessions sealed by RustCrypto, and by ring; the other rows differ between the two by noise only.".to_owned(),
        String::new(),
        format!(
            "{:42}{:>18}{:>8}{:>18}{:>8}{:>8}{:>8}{:>14}",
            "", "RustCrypto", "ratio", "ring", "ratio", "allocs", "bytes", "reads/writes"
        ),
    ];
    for (name, counted) in counts {
        let mut line = format!("{name:42}");
        for run in [rustcrypto, ring] {
            let (median, over) = (number(run, name, MEDIAN)?, number(run, name, OVER_BARE)?);
            if name == BARE {
                line += &format!("{:>18}{:>8}", format!("({median:.0} in all)"), "");
            } else {
                let ratio = over / number(run, TOWER_SESSIONS_READ, OVER_BARE)?;
                let spread = number(run, name, SPREAD)? / 2.0;
                line += &format!("{:>18}{ratio:>8.2}", format!("{over:.0} +-{spread:.0}"));
            }
        }
        line += &format!("{:>8.1}{:>8.0}", number(counts, name, ALLOCATIONS)?, number(counts, name, BYTES)?);
        if counted.len() > WRITES {
            line += &format!("{:>14}", format!("{}/{}", number(counts, name, READS)?, number(counts, name, WRITES)?));
        }
        lines.push(line);
    }
    Ok(lines.join("\n") + "\n")
}

fn budgets(rustcrypto: &[Row], ring: &[Row], counts: &[Row]) -> Result<String> {
    let cost = |run: &[Row], name| number(run, name, OVER_BARE);
    let read = |run: &[Row]| Ok::<_, anyhow::Error>(cost(run, OURS_READ)? / cost(run, TOWER_SESSIONS_READ)?);
    let unseen = cost(rustcrypto, OURS_UNSEEN)? - cost(rustcrypto, NO_OP)?;
    let allocations = number(counts, OURS_UNSEEN, ALLOCATIONS)? - number(counts, NO_OP, ALLOCATIONS)?;
    let (reads, writes) = (number(counts, OURS_READ, READS)?, number(counts, OURS_READ, WRITES)?);
    let budgets = [
        ("authenticated read, pure Rust, beside tower-sessions", read(rustcrypto)?, 1.5, "x"),
        ("authenticated read, ring, beside tower-sessions", read(ring)?, 1.0, "x"),
        ("never looked at, over a no-op layer", unseen, 130.0, " ns"),
        ("never looked at, over a no-op layer", allocations, 3.0, " allocations"),
        ("authenticated read, store reads", reads, 1.0, ""),
        ("authenticated read, store writes", writes, 0.0, ""),
    ];
    let lines = budgets.map(|(what, is, at_most, unit)| {
        let verdict = if is <= at_most { "met " } else { "OVER" };
        format!("{verdict}  {what}: {is:.2}{unit}, at most {at_most}{unit}")
    });
    Ok(lines.join("\n"))
}
