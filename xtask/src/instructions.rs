//! `cargo xtask instructions`: how many instructions the engine takes for a request, held against the counts that are
//! checked in. Unlike times they are the same on a busy machine, so they are what a change is stopped for.

use std::fmt::Write;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};

use crate::invocation::{cargo, program};
use crate::metadata;
use crate::report::Report;
use crate::tools::Tool;
use crate::workspace;

const CASES: [&str; 4] = ["unseen", "read", "bound", "write"];
/// Both runs include the set-up before the first request, and the first requests themselves.
const FEWER: u64 = 200;
const MORE: u64 = 700;
/// A count may grow by so many hundredths without the file being changed.
const TOLERATED: u64 = 3;

const VALGRIND: Tool = Tool::Program { name: "valgrind", install: "apt-get install valgrind" };

/// Checks that no count has grown.
pub(crate) fn run(report: &mut Report) {
    if cfg!(not(all(target_arch = "x86_64", target_os = "linux"))) {
        return report.skip("instructions", "the counts that are checked in are of x86-64 Linux");
    }
    if !VALGRIND.is_installed() {
        return report.skip("instructions", &VALGRIND.how_to_install());
    }
    report.check("instructions", || {
        let kept = fs::read_to_string(file()).with_context(|| format!("cannot read {}", file().display()))?;
        println!("{}", compare(&read(&kept)?, &count()?)?);
        Ok(())
    });
}

/// Writes the counts anew.
pub(crate) fn write() -> Result<()> {
    let mut text =
        String::from("# Instructions of one request, by callgrind on x86-64: cargo xtask instructions --write\n");
    for (case, count) in count()? {
        writeln!(text, "{case} {count}")?;
    }
    print!("{text}");
    fs::write(file(), text).with_context(|| format!("cannot write {}", file().display()))
}

fn file() -> PathBuf {
    workspace::root().join("crates/instructions/counts.txt")
}

type Counts = Vec<(String, u64)>;

fn read(kept: &str) -> Result<Counts> {
    let lines = kept.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let (case, count) = line.split_once(' ').with_context(|| format!("not a case and a count: {line}"))?;
            Ok((case.to_owned(), count.parse().with_context(|| format!("not a count: {line}"))?))
        })
        .collect()
}

/// One line for each case; an error if one has grown by more than is tolerated, or is not in the file.
fn compare(kept: &Counts, counted: &Counts) -> Result<String> {
    let mut lines = Vec::new();
    let mut grown = false;
    for (case, count) in counted {
        let (_, before) =
            kept.iter().find(|(other, _)| other == case).with_context(|| format!("no count of {case}"))?;
        let most = before + before * TOLERATED / 100;
        grown |= *count > most;
        let verdict = if *count > most { "GROWN" } else { "ok" };
        lines.push(format!("{verdict:5} {case:7} {count:8}, at most {most} ({before} is checked in)"));
    }
    let lines = lines.join("\n");
    ensure!(!grown, "{lines}\nif it is worth that: cargo xtask instructions --write, in the same commit");
    Ok(lines)
}

fn count() -> Result<Counts> {
    let built = cargo(["build", "--release", "--package", "instructions"]).run()?;
    ensure!(built, "the program that is counted does not build");
    let binary = metadata::target()?.join("release/instructions").display().to_string();
    // At once: counts, unlike times, are the same on a busy machine.
    std::thread::scope(|scope| {
        let counts = CASES.map(|case| scope.spawn(|| count_case(&binary, case)));
        let counts = counts.map(|count| count.join().unwrap_or_else(|_| bail!("the count panicked")));
        CASES.iter().zip(counts).map(|(case, count)| Ok(((*case).to_owned(), count?))).collect()
    })
}

/// Instructions of one request of this case.
fn count_case(binary: &str, case: &str) -> Result<u64> {
    let count = |requests: u64| {
        let callgrind = ["--tool=callgrind", "--callgrind-out-file=/dev/null", binary, case];
        collected(&program("valgrind", callgrind).args(&[requests.to_string()]).complaints()?)
    };
    let (fewer, more) = (count(FEWER)?, count(MORE)?);
    Ok(more.saturating_sub(fewer) / (MORE - FEWER))
}

/// Returns the number that callgrind counted: `==1234== Collected : 5678`.
fn collected(said: &str) -> Result<u64> {
    let count = said.lines().find_map(|line| line.split_once("Collected : ")).map(|(_, count)| count.trim());
    count.and_then(|count| count.parse().ok()).with_context(|| format!("callgrind did not say a count: {said}"))
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn a_count_that_grew_beyond_the_tolerance_is_an_error_naming_the_remedy() {
        let kept = read("# how\nread 1000\nwrite 2000\n").expect("two counts");
        let counted = |read, write| vec![("read".to_owned(), read), ("write".to_owned(), write)];
        compare(&kept, &counted(1030, 1500)).expect("within what is tolerated");
        let error = compare(&kept, &counted(1031, 2000)).expect_err("grown").to_string();
        assert!(error.contains("GROWN read") && error.contains("--write"), "{error}");
        assert!(compare(&kept, &vec![("other".to_owned(), 1)]).is_err());
        assert!(read("read").is_err() && read("read x").is_err());
    }

    #[test]
    fn the_count_is_found_in_what_callgrind_says() {
        let said = "==7== Events    : Ir\n==7== Collected : 123456\n==7==\n";
        assert_eq!(collected(said).expect("a count"), 123_456);
        assert!(collected("==7== killed").is_err());
    }
}
