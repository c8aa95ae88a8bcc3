//! Two threads beside one: `contention [--quick]`, on Linux with two cores and more.

use std::env;

use anyhow::{Result, ensure};
use bench::contention::{self, Effort, Outcome};
use bench::report::{Report, Table};

const HEAD: &str = "\
Requests to the engine, without a framework, of one thread and of two at the same time, each on a core of its own, in turns:
nanoseconds of each, without what a thread had no core for (which is in the last column: what else the machine did), and how
many times as many requests two threads answer as one (2.00: neither ever waits for the other), by the median of the passes,
+- half of the passes. What follows the floor has no lock that all share.
";
const COLUMNS: [&str; 5] = ["one thread, ns", "two threads, ns", "times as many", "spread", "without a core"];

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    ensure!(arguments.iter().all(|one| one == "--quick"), "usage: contention [--quick]");
    // Short passes, so that most are over before the scheduler gives a core to someone else; and so many that a million
    // sessions are enough for each of them to be written once.
    let effort = Effort { passes: if arguments.is_empty() { 1000 } else { 100 }, requests: 300 };
    let outcomes = contention::outcomes(&contention::cases()?, effort)?;

    let [alone, beside, times, _, without] = COLUMNS;
    println!("{HEAD}\n{:42}{alone:>16}{beside:>17}{times:>17}{:>14}{without:>16}", "", "of the floor");
    let floor = outcomes.first().map_or(f64::NAN, |floor| floor.ratio);
    let mut table = Table::new("two threads beside one", &COLUMNS);
    for Outcome { name, alone, beside, ratio, spread, without_a_core } in &outcomes {
        let times = format!("{ratio:.2} +-{:.2}", spread / 2.0);
        let (of_floor, without) = (ratio / floor * 100.0, without_a_core * 100.0);
        println!("{name:42}{alone:>16.0}{beside:>17.0}{times:>17}{of_floor:>13.0}%{without:>15.0}%");
        table.push(*name, &[*alone, *beside, *ratio, *spread, *without_a_core]);
    }
    Report::new(if cfg!(feature = "ring") { "contention-ring" } else { "contention" }, vec![table]).save()
}
