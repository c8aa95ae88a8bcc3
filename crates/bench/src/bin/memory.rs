//! What MemoryStore takes and how fast it is as it grows: `memory [--quick]`, on Linux.
//!
//! Each part is a process of its own (`memory PART SESSIONS`): what one has freed would else serve the next.

use std::env;
use std::process::Command;

use anyhow::{Result, bail, ensure};
use bench::memory::{growth, resident, stall};

const MILLION: u64 = 1_000_000;

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        [] => all(10 * MILLION),
        ["--quick"] => all(MILLION),
        [part, sessions] => {
            print!("{}", run(part, sessions.parse()?)?);
            Ok(())
        }
        _ => bail!("usage: memory [--quick]"),
    }
}

fn run(part: &str, sessions: u64) -> Result<String> {
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
    let part = |part: &str, sessions: u64| {
        let status = Command::new(env::current_exe()?).args([part, &sessions.to_string()]).status()?;
        ensure!(status.success(), "{part} failed");
        Ok(())
    };
    let sizes = if most > MILLION { vec![MILLION, most] } else { vec![MILLION] };
    println!("{}", resident::HEAD);
    for kind in ["anonymous", "subject"] {
        sizes.iter().try_for_each(|sessions| part(kind, *sessions))?;
    }
    part("in-turn", MILLION)?;
    part("all-at-once", MILLION)?;
    println!("\n{}", growth::HEAD);
    part("growth", most)?;
    println!("\n{}", stall::HEAD);
    // More than once: a virtual machine may stand still by itself, and nobody tells it so.
    (0..3).try_for_each(|_| part("stall", MILLION))?;
    part("one-thread", MILLION)
}
