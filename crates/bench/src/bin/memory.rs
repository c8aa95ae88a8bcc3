//! Measures the memory of a session in MemoryStore: `memory [--quick]`, on Linux.
//!
//! As `memory PART SESSIONS FILE` it measures one part, in a process of its own.

use std::env;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use bench::memory::{COLUMNS, PARTS, measure};
use bench::report::{Report, Table};
use bench::rows;

const MILLION: u64 = 1_000_000;

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        [] => all(&[MILLION, 10 * MILLION]),
        ["--quick"] => all(&[MILLION]),
        [part, sessions, file] => rows::write(Path::new(file), &[measure(part, sessions.parse()?)?]),
        _ => bail!("usage: memory [--quick]"),
    }
}

const HEAD: &str = "\
MemoryStore: resident bytes per session (VmRSS, less what it was before). At worst: just after its tables have grown.
A session with 2 KB of data that was just changed has a handoff of as much, which goes when it settles, minutes later.
";

fn all(sizes: &[u64]) -> Result<()> {
    let file = tempfile::NamedTempFile::new()?;
    let mut table = Table::new("resident bytes", &COLUMNS);
    let [sessions, each, worst, at_most] = COLUMNS;
    println!("{HEAD}\n{:32}{sessions:>12}{each:>16}{worst:>12}{at_most:>10}", "");
    for (part, sessions) in PARTS.iter().flat_map(|part| sizes.iter().map(move |sessions| (part, sessions))) {
        let mut command = Command::new(env::current_exe()?);
        let status = command.args([part, sessions.to_string().as_str()]).arg(file.path()).status()?;
        ensure!(status.success(), "{part} failed");
        for (name, numbers) in rows::read(file.path()).with_context(|| format!("what {part} found"))? {
            println!("{}", line(&name, &numbers));
            table.push(name, &numbers);
        }
    }
    Report::new("memory", vec![table]).save()
}

fn line(name: &str, numbers: &[f64]) -> String {
    let shown = |number: f64| if number.is_nan() { String::new() } else { format!("{number:.0}") };
    let number = |column: usize| numbers.get(column).copied().unwrap_or(f64::NAN);
    let [sessions, each, worst, at_most] = [0, 1, 2, 3].map(|column| shown(number(column)));
    let verdict = match (number(1), number(3)) {
        (_, at_most) if at_most.is_nan() => "",
        (each, at_most) if each <= at_most => "  met",
        _ => "  OVER",
    };
    format!("{name:32}{sessions:>12}{each:>16}{worst:>12}{at_most:>10}{verdict}")
}
