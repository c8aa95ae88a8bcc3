//! Measures the growth of a request's cost: `growth [--quick] [--full] [--only TEXT]`, with `--full` up to ten million
//! sessions, with a text only those curves whose names contain it.

use std::env;

use anyhow::{Result, ensure};
use bench::growth::{self, Curve, Effort};
use bench::report::{Report, Table};

const HEAD: &str = "\
One request to the engine, without a framework, in nanoseconds: the lower quartile of the passes, all points of a curve in
turns. The law is fitted to the lower half of a curve's points; the worst point is to be at most 10 % above it.
";

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let (options, only) = match arguments.iter().position(|argument| argument == "--only") {
        Some(place) => (&arguments[..place], arguments.get(place + 1).map_or("", String::as_str)),
        None => (arguments.as_slice(), ""),
    };
    let has = |option: &str| options.iter().any(|one| one == option);
    let is_known = |option: &String| ["--quick", "--full"].contains(&option.as_str());
    ensure!(options.iter().all(is_known), "usage: growth [--quick] [--full] [--only TEXT]");

    // Short passes, so that most of them are over before the scheduler gives the core to someone else.
    let effort = Effort { passes: if has("--quick") { 300 } else { 3000 }, requests: 20 };
    println!("{HEAD}");
    let mut curves = growth::curves(effort, only)?;
    if "sessions in the store".contains(only) {
        curves.extend(growth::in_the_store(if has("--full") { 10_000_000 } else { 1_000_000 }, effort)?);
    }
    for curve in &curves {
        println!("{}", curve.text());
    }
    let lazy = lazy(&curves);
    if let Some((one, hundred)) = lazy {
        println!(
            "a read of one key: {hundred:.0} ns among 100 keys, {one:.0} ns alone in as many bytes: {:.2} times",
            hundred / one
        );
    }
    if only.is_empty() {
        let mut tables: Vec<Table> = curves.iter().map(Curve::table).collect();
        tables.extend(verdicts(&curves));
        Report::new("growth", tables).save()?;
    }
    Ok(())
}

/// Returns the nanoseconds of a read of one value with one key and with a hundred, of as many bytes.
fn lazy(curves: &[Curve]) -> Option<(f64, f64)> {
    let curve = curves.iter().find(|curve| curve.name == "a read of one, keys in the session")?;
    Some((curve.points.first()?.nanos, curve.points.last()?.nanos))
}

fn verdicts(curves: &[Curve]) -> Option<Table> {
    let mut table = Table::new("laws", &["ns at zero", "ns for each", "worst, % above the law", "at", "% allowed"]);
    for curve in curves.iter().filter(|curve| curve.law.is_some()) {
        let verdict = curve.verdict();
        table.push(curve.name, &[verdict.start, verdict.each, verdict.worst, verdict.at, growth::Verdict::ALLOWED]);
    }
    Some(table).filter(|table| !table.rows.is_empty())
}
