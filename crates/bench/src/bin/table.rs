//! Prints the benchmark's tables and its budgets: `table RUSTCRYPTO RING COUNTS`.

use std::env;
use std::path::Path;

use anyhow::{Context, Result, bail};
use bench::cases::Framework::{self, Axum};
use bench::cases::{
    BARE, BARE_SETTING, FLOOR_READ, FLOOR_WRITE, NO_OP, OURS_READ, OURS_UNSEEN, OURS_WRITE, SIZES, sized,
};
use bench::report::{Report, Table};
use bench::rows::{self, Row, find};

fn main() -> Result<()> {
    let files: Vec<String> = env::args().skip(1).collect();
    let [rustcrypto, ring, counts] = files.as_slice() else { bail!("usage: table RUSTCRYPTO RING COUNTS") };
    let read = |file: &String| rows::read(Path::new(file));
    let (rustcrypto, ring, counts) = (read(rustcrypto)?, read(ring)?, read(counts)?);
    let runs: Runs<'_> = [&rustcrypto, &ring];
    println!("{}", table(runs, &counts)?);
    println!("{}", floors(runs)?);
    println!("{}", adapters(runs)?);
    println!("{}", lines(&budgets(runs, &counts)?));
    report(runs, &counts)?.save()
}

/// The rows of each build.
type Runs<'a> = [&'a [Row]; BUILDS.len()];

/// What our sessions are sealed by.
const BUILDS: [&str; 2] = ["RustCrypto", "ring"];

/// The same for programs.
fn report(runs: Runs<'_>, counts: &[Row]) -> Result<Report> {
    let mut tables = Vec::new();
    for framework in Framework::ALL {
        let mut table = Table::new(framework.to_string(), &COLUMNS);
        let prefix = framework.row("");
        for (row, counted) in counts.iter().filter(|(row, _)| row.starts_with(&prefix)) {
            let mut values = Vec::new();
            for run in runs {
                values.extend([number(run, row, OVER_BARE)?, number(run, row, MEDIAN)?]);
            }
            values.extend(counted);
            table.push(row.trim_start_matches(&prefix), &values);
        }
        tables.push(table);
    }
    let mut table = Table::new("budgets", &["is", "at most"]);
    for (what, is, at_most, _) in budgets(runs, counts)? {
        table.push(what, &[is, at_most]);
    }
    tables.push(table);
    Ok(Report::new("requests", tables))
}

/// Those without a store that is counted have no reads and writes.
const COLUMNS: [&str; 8] = [
    "RustCrypto: ns over the bare route",
    "RustCrypto: ns in all",
    "ring: ns over the bare route",
    "ring: ns in all",
    "allocations",
    "bytes allocated",
    "store reads",
    "store writes",
];

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

fn cost(run: &[Row], framework: Framework, case: &str) -> Result<f64> {
    number(run, &framework.row(case), OVER_BARE)
}

const HEAD: &str = "\
One request in one process on one core, in nanoseconds over the framework's bare route (+- half of the passes), and as a
multiple of the framework's usual choice in the same run (tower-sessions, actix-session's private cookie, Rocket's
private cookies), reads of reads and writes of writes. 300 bytes of data in five keys, of which one is read, or read and
changed, ten seconds after the last change. Two builds: our sessions sealed by RustCrypto and by
ring; the other rows differ between them by noise only. Actix and Rocket are called
through their test clients, whose own cost is in the bare route's.
";

fn table(runs: Runs<'_>, counts: &[Row]) -> Result<String> {
    let mut lines = vec![HEAD.to_owned()];
    for framework in Framework::ALL {
        let builds = BUILDS.map(|build| format!("{build:>18}{:>8}", "ratio")).concat();
        lines.push(format!("{framework:42}{builds}{:>8}{:>8}{:>14}", "allocs", "bytes", "reads/writes"));
        let prefix = framework.row("");
        // Those of other sizes are held against their floors.
        let rows = counts.iter().filter(|(row, _)| row.starts_with(&prefix) && !row.ends_with(" bytes"));
        for (row, counted) in rows {
            lines.push(line(framework, row, &prefix, runs, counted)?);
        }
        lines.push(String::new());
    }
    Ok(lines.join("\n"))
}

fn line(framework: Framework, row: &str, prefix: &str, runs: Runs<'_>, counted: &[f64]) -> Result<String> {
    let name = row.trim_start_matches(prefix);
    let usual = if name.ends_with("write") { framework.usual_write() } else { framework.usual_read() };
    let mut line = format!("{name:42}");
    for run in runs {
        let (median, over) = (number(run, row, MEDIAN)?, number(run, row, OVER_BARE)?);
        if name == BARE {
            line += &format!("{:>18}{:>8}", format!("({median:.0} in all)"), "");
        } else {
            let ratio = over / cost(run, framework, usual)?;
            let spread = number(run, row, SPREAD)? / 2.0;
            line += &format!("{:>18}{ratio:>8.2}", format!("{over:.0} +-{spread:.0}"));
        }
    }
    let column = |column: usize| counted.get(column).copied().with_context(|| format!("no column {column} for {row}"));
    line += &format!("{:>8.1}{:>8.0}", column(ALLOCATIONS)?, column(BYTES)?);
    if counted.len() > WRITES {
        line += &format!("{:>14}", format!("{}/{}", column(READS)?, column(WRITES)?));
    }
    Ok(line)
}

fn floors(runs: Runs<'_>) -> Result<String> {
    let mut lines = vec![
        "Ours beside the floor: nanoseconds over the bare route. The floor of a read is a layer that adds one extension,\n\
         base64, HMAC-SHA256, XChaCha20-Poly1305 and a map; that of a write makes and sets the next cookie besides.\n"
            .to_owned(),
    ];
    let head = format!("{:>10}{:>10}{:>8}", "ours", "floor", "ratio");
    lines.push(format!("{:42}{}", "", BUILDS.map(|build| format!("{build:>28}")).concat()));
    lines.push(format!("{:42}{}", "", head.repeat(BUILDS.len())));
    for framework in [Axum, Framework::Actix] {
        for (case, floor) in [(OURS_READ, FLOOR_READ), (OURS_WRITE, FLOOR_WRITE)] {
            for size in SIZES {
                let mut line =
                    format!("{:42}", format!("{framework}, {}", sized(floor.trim_start_matches("floor of "), size)));
                for run in runs {
                    let ours = cost(run, framework, &sized(case, size))?;
                    let floor = cost(run, framework, &sized(floor, size))?;
                    line += &format!("{ours:>10.0}{floor:>10.0}{:>8.2}", ours / floor);
                }
                lines.push(line);
            }
        }
    }
    Ok(lines.join("\n") + "\n")
}

/// The same case through every adapter.
const THROUGH_ADAPTERS: [&str; 3] = [OURS_UNSEEN, OURS_READ, OURS_WRITE];

fn adapters(runs: Runs<'_>) -> Result<String> {
    let mut lines = vec![
        "The adapters beside one another: nanoseconds over each framework's bare route, a write's over one that sets a\n\
         cookie as long as ours (Rocket's test client takes every cookie apart that it is sent).\n"
            .to_owned(),
    ];
    let names = Framework::ALL.map(|framework| format!("{framework:>12}")).concat();
    lines.push(format!("{:54}{names}{:>16}", "", "they differ by"));
    for (build, run) in BUILDS.into_iter().zip(runs) {
        for case in THROUGH_ADAPTERS {
            let costs = costs(run, case)?;
            let costs_shown = costs.map(|cost| format!("{cost:>12.0}")).concat();
            lines.push(format!("{case:42}{build:>12}{costs_shown}{:>16.0}", range(&costs)));
        }
    }
    Ok(lines.join("\n") + "\n")
}

fn costs(run: &[Row], case: &str) -> Result<[f64; 3]> {
    let own = |framework| {
        let setting = if case == OURS_WRITE { cost(run, framework, BARE_SETTING)? } else { 0.0 };
        Ok::<_, anyhow::Error>(cost(run, framework, case)? - setting)
    };
    let [axum, actix, rocket] = Framework::ALL;
    Ok([own(axum)?, own(actix)?, own(rocket)?])
}

/// Between the least and the most.
fn range(costs: &[f64]) -> f64 {
    let most = costs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    most - costs.iter().copied().fold(f64::INFINITY, f64::min)
}

/// What, how much it is, how much it may be, and its unit.
type Budget = (&'static str, f64, f64, &'static str);

fn budgets([rustcrypto, ring]: Runs<'_>, counts: &[Row]) -> Result<[Budget; 9]> {
    let read = |run: &[Row]| Ok::<_, anyhow::Error>(cost(run, Axum, OURS_READ)? / cost(run, Axum, Axum.usual_read())?);
    let unseen = cost(rustcrypto, Axum, OURS_UNSEEN)? - cost(rustcrypto, Axum, NO_OP)?;
    let count = |case: &str, column| number(counts, &Axum.row(case), column);
    let allocations = count(OURS_UNSEEN, ALLOCATIONS)? - count(NO_OP, ALLOCATIONS)?;
    Ok([
        ("authenticated read, RustCrypto, beside tower-sessions", read(rustcrypto)?, 1.5, "x"),
        ("authenticated read, ring, beside tower-sessions", read(ring)?, 1.0, "x"),
        ("never looked at, over a no-op layer", unseen, 130.0, " ns"),
        ("never looked at, over a no-op layer", allocations, 3.0, " allocations"),
        ("authenticated read, store reads", count(OURS_READ, READS)?, 1.0, ""),
        ("authenticated read, store writes", count(OURS_READ, WRITES)?, 0.0, ""),
        ("adapters beside one another, never looked at", range(&costs(rustcrypto, OURS_UNSEEN)?), 500.0, " ns"),
        ("adapters beside one another, authenticated read", range(&costs(rustcrypto, OURS_READ)?), 500.0, " ns"),
        ("adapters beside one another, write", range(&costs(rustcrypto, OURS_WRITE)?), 500.0, " ns"),
    ])
}

fn lines(budgets: &[Budget]) -> String {
    let lines = budgets.iter().map(|(what, is, at_most, unit)| {
        let verdict = if is <= at_most { "met " } else { "OVER" };
        format!("{verdict}  {what}: {is:.2}{unit}, at most {at_most}{unit}")
    });
    lines.collect::<Vec<_>>().join("\n")
}
