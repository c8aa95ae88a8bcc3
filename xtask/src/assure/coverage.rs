//! Line coverage of core and engine, with cargo-llvm-cov. The unit tests in a file are not counted out of its lines.

use anyhow::{Context, Result, ensure};

use super::{Outcome, with};
use crate::invocation::cargo;
use crate::tools::Tool;

const TOOLS: [Tool; 3] = [Tool::Nightly, Tool::Subcommand("llvm-cov"), Tool::NightlyLlvm];

pub(super) fn run() -> Result<Outcome> {
    with(&TOOLS, || {
        let packages = ["--package", "secure-sessions-core", "--package", "secure-sessions"];
        // The tests of misuse run a compiler of their own.
        let tests = ["--lib", "--tests", "--", "--skip", "what_the_types_forbid"];
        let files = ["--summary-only", "--ignore-filename-regex", "/tests?[./]"];
        let printed = cargo(["+nightly", "llvm-cov"]).args(&packages).args(&files).args(&tests).output()?;
        print!("{printed}");
        let core = Lines::of(&printed, "core/src/").percent().context("no figure of the core")?;
        let engine = Lines::of(&printed, "session/src/").percent().context("no figure of the engine")?;
        ensure!(core > 0.0 && engine > 0.0, "nothing was measured");
        Ok(format!("{core:.1} % of the core's lines, {engine:.1} % of the engine's"))
    })
}

/// The number of lines, and of those that were not reached.
#[derive(Debug, Default, PartialEq, Eq)]
struct Lines {
    all: u32,
    missed: u32,
}

impl Lines {
    /// Adds up the lines of all files whose path, as `llvm-cov report` writes it, has this in it.
    fn of(report: &str, folder: &str) -> Self {
        let mut lines = Self::default();
        for line in report.lines() {
            // File name; regions, functions, lines and branches, each with how many, how many missed, and percent.
            let words: Vec<&str> = line.split_whitespace().collect();
            if let [name, _, _, _, _, _, _, all, missed, ..] = words[..]
                && name.contains(folder)
                && let (Ok(all), Ok(missed)) = (all.parse::<u32>(), missed.parse::<u32>())
            {
                lines.all += all;
                lines.missed += missed;
            }
        }
        lines
    }

    /// Returns the part that was reached.
    fn percent(&self) -> Option<f64> {
        (self.all > 0).then(|| 100.0 * f64::from(self.all - self.missed) / f64::from(self.all))
    }
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn the_lines_of_a_folder_s_files_are_added_up() {
        let report = "Filename Regions Missed Cover Functions Missed Executed Lines Missed Cover Branches Missed Cover\n\
            core/src/token.rs 96 7 92.71% 17 1 94.12% 110 9 91.82% 0 0 -\n\
            core/src/data.rs 96 7 92.71% 17 1 94.12% 90 11 87.78% 0 0 -\n\
            session/src/load.rs 96 7 92.71% 17 1 94.12% 50 25 50.00% 0 0 -\n\
            TOTAL 96 7 92.71% 17 1 94.12% 250 45 82.00% 0 0 -\n";
        let core = Lines::of(report, "core/src/");
        assert_eq!(core, Lines { all: 200, missed: 20 });
        assert_eq!(core.percent(), Some(90.0));
        assert_eq!(Lines::of(report, "other/src/").percent(), None);
    }
}
