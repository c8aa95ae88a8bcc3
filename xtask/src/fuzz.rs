//! `cargo xtask fuzz`: the fuzz targets, each for a given time.

use std::fs;

use anyhow::{Context, Result, bail, ensure};

use crate::invocation::cargo;
use crate::report::Report;
use crate::tools::Tool;
use crate::workspace;

/// The fuzz targets are a workspace of their own: they build with nightly and a sanitizer.
pub(crate) const MANIFEST: &str = "fuzz/Cargo.toml";

/// For each target in `cargo xtask ci`: long enough to run the corpus and to notice a broken target.
const BRIEF_SECONDS: u32 = 5;

/// What to fuzz and for how long.
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
    let manifest = fs::read_to_string(workspace::root().join(MANIFEST)).context("cannot read the fuzz manifest")?;
    let all = targets(&manifest);
    if let Some(unknown) = options.targets.iter().find(|target| !all.contains(target)) {
        bail!("no fuzz target {unknown}; there are: {}", all.join(", "));
    }
    let tools = [Tool::Nightly, Tool::Subcommand("fuzz")];
    if let Some(missing) = tools.into_iter().find(|tool| !tool.is_installed()) {
        report.skip("fuzz", &missing.how_to_install());
        return Ok(());
    }
    let limit = format!("-max_total_time={}", options.seconds);
    for target in all.iter().filter(|target| options.targets.is_empty() || options.targets.contains(target)) {
        // What is found goes to the first folder, which is not committed; the second one is.
        let (corpus, seeds) = (format!("fuzz/corpus/{target}"), format!("fuzz/seeds/{target}"));
        fs::create_dir_all(workspace::root().join(&corpus)).with_context(|| format!("cannot make {corpus}"))?;
        let fuzz = ["+nightly", "fuzz", "run", target, &corpus, &seeds, "--", &limit, "-timeout=10"];
        report.command(&format!("fuzz {target}"), &cargo(fuzz).args(&["-print_final_stats=1"]));
    }
    Ok(())
}

/// The names of the manifest's `[[bin]]` tables.
fn targets(manifest: &str) -> Vec<String> {
    let tables = manifest.split("[[bin]]").skip(1);
    tables
        .filter_map(|table| {
            let line = table.lines().map(str::trim).find(|line| line.starts_with("name"))?;
            line.split('"').nth(1).map(str::to_owned)
        })
        .collect()
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
    fn targets_are_read_from_the_manifest() {
        let manifest = "[package]\nname = \"fuzz\"\n\n[[bin]]\nname = \"one\"\ntest = false\n\n[[bin]]\nname=\"two\"\n";
        assert_eq!(targets(manifest), ["one", "two"]);
    }
}
