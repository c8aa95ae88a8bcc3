//! What MemoryStore takes and how fast it is as it grows: `memory [--quick]`, on Linux.
//!
//! Each part is a process of its own (`memory PART SESSIONS FILE`): what one has freed would else serve the next.

use std::env;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use bench::memory::{Found, growth, resident, stall};
use bench::report::{Report, Table};
use bench::rows;

const MILLION: u64 = 1_000_000;

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        [] => all(10 * MILLION),
        ["--quick"] => all(MILLION),
        [part, sessions, file] => {
            let found = run(part, sessions.parse()?)?;
            print!("{}", found.text);
            rows::write(Path::new(file), &found.rows)
        }
        _ => bail!("usage: memory [--quick]"),
    }
}

fn run(part: &str, sessions: u64) -> Result<Found> {
    Ok(match part {
        "anonymous" => resident::idle("anonymous", false, sessions)?,
        "subject" => resident::idle("with a subject", true, sessions)?,
        "in-turn" => resident::in_turn(sessions)?,
        "all-at-once" => resident::all_at_once(sessions)?,
        "growth" => growth::growth(sessions)?,
        "stall" => stall::beside_another_thread(sessions)?,
        "one-thread" => stall::on_one_thread(sessions)?,
        other => bail!("no part is called {other}"),
    })
}

fn all(most: u64) -> Result<()> {
    let rows = tempfile::NamedTempFile::new()?;
    let part = |table: &mut Table, part: &str, sessions: u64| {
        let mut command = Command::new(env::current_exe()?);
        let status = command.args([part, &sessions.to_string()]).arg(rows.path()).status()?;
        ensure!(status.success(), "{part} failed");
        let found = rows::read(rows.path()).with_context(|| format!("what {part} found"))?;
        found.iter().for_each(|(name, numbers)| table.push(name.as_str(), numbers));
        anyhow::Ok(())
    };
    let sizes = if most > MILLION { vec![MILLION, most] } else { vec![MILLION] };
    println!("{}", resident::HEAD);
    let mut bytes = Table::new("resident bytes", &resident::COLUMNS);
    for kind in ["anonymous", "subject"] {
        sizes.iter().try_for_each(|sessions| part(&mut bytes, kind, *sessions))?;
    }
    part(&mut bytes, "in-turn", MILLION)?;
    part(&mut bytes, "all-at-once", MILLION)?;
    println!("\n{}", growth::HEAD);
    let mut times = Table::new("times", &growth::COLUMNS);
    part(&mut times, "growth", most)?;
    println!("\n{}", stall::HEAD);
    let mut waits = Table::new("longest waits", &stall::COLUMNS);
    // More than once: a virtual machine may stand still by itself, and nobody tells it so.
    (0..3).try_for_each(|_| part(&mut waits, "stall", MILLION))?;
    part(&mut waits, "one-thread", MILLION)?;
    Report::new("memory", vec![bytes, times, waits]).save()
}
