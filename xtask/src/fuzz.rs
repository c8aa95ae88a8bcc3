//! `cargo xtask fuzz`: the fuzz targets, each for a given time.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use crate::invocation::{Invocation, cargo};
use crate::metadata;
use crate::report::Report;
use crate::tools::Tool;
use crate::workspace;

/// The fuzz targets are a workspace of their own: they build with nightly and a sanitizer.
pub(crate) const MANIFEST: &str = "fuzz/Cargo.toml";

/// For each target in `cargo xtask ci`: long enough to run the corpus and to notice a broken target.
const BRIEF_SECONDS: u32 = 5;

/// For one input. Far more than any needs: a busy machine, or one that sleeps meanwhile, is no finding.
const TIMEOUT: &str = "-timeout=300";

/// The targets to fuzz, and the time for it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Options {
    seconds: u32,
    /// All if none is named.
    targets: Vec<String>,
}

impl Options {
    pub(crate) fn parse(arguments: &[String]) -> Result<Self> {
        let mut options = Self { seconds: 60, targets: Vec::new() };
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            if argument == "--seconds" {
                let seconds = arguments.next().context("--seconds needs a number")?;
                options.seconds = seconds.parse().with_context(|| format!("--seconds {seconds}: not a number"))?;
            } else if argument.starts_with('-') {
                bail!("no such option: {argument}");
            } else {
                options.targets.push(argument.clone());
            }
        }
        // libFuzzer takes 0 as "for ever".
        ensure!(options.seconds > 0, "--seconds must be at least 1");
        Ok(options)
    }
}

pub(crate) fn run_briefly(report: &mut Report) {
    if let Err(error) = run(report, &Options { seconds: BRIEF_SECONDS, targets: Vec::new() }) {
        report.check("fuzz", || Err(error));
    }
}

pub(crate) fn run(report: &mut Report, options: &Options) -> Result<()> {
    let all = all_targets()?;
    if let Some(unknown) = options.targets.iter().find(|target| !all.contains(target)) {
        bail!("no fuzz target {unknown}; there are: {}", all.join(", "));
    }
    let tools = [Tool::Nightly, Tool::Subcommand("fuzz")];
    if let Some(missing) = tools.into_iter().find(|tool| !tool.is_installed()) {
        report.skip("fuzz", &missing.how_to_install());
        return Ok(());
    }
    let chosen = |target: &&String| options.targets.is_empty() || options.targets.contains(target);
    if options.targets.is_empty() {
        // In one go, on all cores; run by run it would be one after another.
        report.command("fuzz targets build", &cargo(["+nightly", "fuzz", "build"]));
    }
    for target in all.iter().filter(chosen) {
        report.command(&format!("fuzz {target}"), &fuzz(target, options.seconds)?);
    }
    Ok(())
}

/// One target for a given time.
pub(crate) fn fuzz(target: &str, seconds: u32) -> Result<Invocation> {
    let (corpus, seeds) = folders(target)?;
    let limit = format!("-max_total_time={seconds}");
    let fuzz = ["+nightly", "fuzz", "run", target, &corpus, &seeds, "--", &limit, TIMEOUT, "-print_final_stats=1"];
    Ok(cargo(fuzz))
}

/// The figures of a run.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Figures {
    /// Inputs that were tried.
    pub(crate) executions: u64,
    /// Inputs that reached something new, and were kept.
    pub(crate) kept: u64,
}

impl Figures {
    /// From what libFuzzer says at its end.
    pub(crate) fn read(said: &str) -> Result<Self> {
        let number = |name: &str| {
            let line = said.lines().rev().find_map(|line| line.strip_prefix(name));
            line.and_then(|rest| rest.trim().parse().ok()).with_context(|| format!("libFuzzer did not say {name}"))
        };
        Ok(Self { executions: number("stat::number_of_executed_units:")?, kept: number("stat::new_units_added:")? })
    }
}

/// The names of all targets.
pub(crate) fn all_targets() -> Result<Vec<String>> {
    metadata::programs(MANIFEST)
}

/// Runs a target once on everything that was found so far; the file that says which code that reached. The target, built
/// for that, goes to the folder.
pub(crate) fn profile(target: &str, built: &Path) -> Result<PathBuf> {
    let (corpus, seeds) = folders(target)?;
    let built = built.display().to_string();
    let run = ["+nightly", "fuzz", "coverage", "--sanitizer", "none", "--target-dir", &built, target, &corpus, &seeds];
    ensure!(cargo(run).run()?, "{target} could not be run on its corpus");
    Ok(workspace::root().join(format!("fuzz/coverage/{target}/coverage.profdata")))
}

/// Returns the folders of inputs: new findings go to the first folder, which is not committed; the second one is.
fn folders(target: &str) -> Result<(String, String)> {
    let (corpus, seeds) = (format!("fuzz/corpus/{target}"), format!("fuzz/seeds/{target}"));
    fs::create_dir_all(workspace::root().join(&corpus)).with_context(|| format!("cannot make {corpus}"))?;
    Ok((corpus, seeds))
}

#[cfg(test)]
mod unit {
    use super::*;

    fn parse(arguments: &[&str]) -> Result<Options> {
        Options::parse(&arguments.iter().map(ToString::to_string).collect::<Vec<_>>())
    }

    #[test]
    fn the_time_and_the_targets_can_be_given() {
        assert_eq!(parse(&[]).expect("defaults"), Options { seconds: 60, targets: vec![] });
        let options = parse(&["token", "--seconds", "5", "record"]).expect("valid");
        assert_eq!(options, Options { seconds: 5, targets: vec!["token".into(), "record".into()] });
    }

    #[test]
    fn what_would_run_for_ever_or_not_at_all_is_refused() {
        for arguments in [&["--seconds", "0"][..], &["--seconds"], &["--seconds", "x"], &["--second", "5"]] {
            assert!(parse(arguments).is_err(), "{arguments:?}");
        }
    }

    #[test]
    fn figures_are_read_from_what_libfuzzer_says_at_its_end() {
        let said =
            "Done 12 runs in 1 second(s)\nstat::number_of_executed_units: 12\nstat::new_units_added:          3\n";
        assert_eq!(Figures::read(said).expect("both"), Figures { executions: 12, kept: 3 });
        assert!(Figures::read("==1== ERROR: libFuzzer: deadly signal").is_err());
    }
}
