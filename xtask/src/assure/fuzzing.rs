//! Long runs of the fuzz targets, and what their corpus reaches.

use anyhow::{Context, Result, ensure};

use super::{Outcome, TRIPLE, with};
use crate::fuzz::{self, Figures};
use crate::invocation::program;
use crate::metadata;
use crate::tools::{Tool, nightly_llvm};
use crate::workspace;

/// The time that each target runs.
const SECONDS: u32 = 600;
const TOOLS: [Tool; 2] = [Tool::Nightly, Tool::Subcommand("fuzz")];

/// The files that read bytes which come from outside: cookies, keys, answers of a store.
const PARSERS: [&str; 9] =
    ["base64url.rs", "token.rs", "opened.rs", "meta.rs", "cbor.rs", "data.rs", "keys.rs", "keyring.rs", "record.rs"];

/// Ten minutes for each target. One that fails does not keep the others from running.
pub(super) fn run() -> Result<Outcome> {
    with(&TOOLS, || {
        let (mut figures, mut failed) = (Vec::new(), Vec::new());
        for target in fuzz::all_targets()? {
            let ran = fuzz::fuzz(&target, SECONDS)?.complaints().and_then(|said| Figures::read(&said));
            match ran {
                Ok(Figures { executions, kept }) => figures.push(format!("{target} {executions} (+{kept})")),
                Err(error) => failed.push(format!("{target}: {error:#}")),
            }
        }
        ensure!(failed.is_empty(), "{}", failed.join("\n"));
        Ok(format!("{SECONDS} s each without a finding; executions (inputs kept): {}", figures.join(", ")))
    })
}

/// Which of the core's lines the corpora of all targets reach together: what reads input from outside, and all of it.
pub(super) fn coverage() -> Result<Outcome> {
    with(&[TOOLS[0], TOOLS[1], Tool::NightlyLlvm], || {
        let built = metadata::target()?.join("fuzz-coverage");
        let mut profiles = Vec::new();
        let mut report = vec!["report".to_owned()];
        for target in fuzz::all_targets()? {
            profiles.push(fuzz::profile(&target, &built)?.display().to_string());
            let program = built.join(TRIPLE).join("release").join(&target).display().to_string();
            report.extend(["--object".to_owned(), program]);
        }
        let merged = built.join("merged.profdata").display().to_string();
        let merge = program(&nightly_llvm("llvm-profdata")?.display().to_string(), ["merge", "-o", &merged]);
        ensure!(merge.args(&profiles).run()?, "the profiles do not go together");
        let sources = workspace::root().join("crates/core/src").display().to_string();
        report.extend(["--instr-profile".to_owned(), merged, "--sources".to_owned(), sources]);
        let report = program(&nightly_llvm("llvm-cov")?.display().to_string(), report).output()?;
        print!("{report}");
        let mut figures = Vec::new();
        for file in PARSERS {
            let reached = lines_reached(&report, file).with_context(|| format!("no figure of {file}"))?;
            figures.push(format!("{} {reached}", file.trim_end_matches(".rs")));
        }
        let all = lines_reached(&report, "TOTAL").context("no figure of the whole")?;
        Ok(format!("{all} of the core's lines are reached; of what reads input: {}", figures.join(", ")))
    })
}

/// Returns the share of a file's lines that are covered, in percent, from the text of `llvm-cov report`.
fn lines_reached<'a>(report: &'a str, file: &str) -> Option<&'a str> {
    // File name; regions, functions, lines and branches, each with how many, how many missed, and how many percent.
    let line = report.lines().find(|line| line.split_whitespace().next() == Some(file))?;
    line.split_whitespace().nth(9)
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn a_file_s_lines_are_found_in_the_report() {
        let report = "Filename  Regions  Missed Regions  Cover  Functions  Missed Functions  Executed  Lines  Missed Lines  Cover  Branches  Missed Branches  Cover\n\
            token.rs  96 7 92.71% 17 1 94.12% 113 9 92.04% 0 0 -\nTOTAL  96 7 92.71% 17 1 94.12% 113 8 92.92% 0 0 -\n";
        assert_eq!(lines_reached(report, "token.rs"), Some("92.04%"));
        assert_eq!(lines_reached(report, "TOTAL"), Some("92.92%"));
        assert_eq!(lines_reached(report, "other.rs"), None);
    }
}
