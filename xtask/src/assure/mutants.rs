//! Mutation testing of the core. What is not to be mutated, and why, stands in `.cargo/mutants.toml`.

use std::fs;

use anyhow::{Context, Result, ensure};

use super::{Outcome, with};
use crate::invocation::cargo;
use crate::metadata;
use crate::tools::Tool;

/// Random histories for each mutant: what the smaller tests do not notice of the transitions, these few do.
const HISTORIES: &str = "300";

pub(super) fn run() -> Result<Outcome> {
    with(&[Tool::Subcommand("mutants")], || {
        let output = metadata::target()?.join("mutants");
        fs::create_dir_all(&output).with_context(|| format!("cannot make {}", output.display()))?;
        let folder = output.display().to_string();
        // It exits with an error when a mutant survives; which ones, its lists say better. Only what a mutant changes is
        // compiled again.
        let mutate = ["mutants", "--package", "secure-sessions-core", "--no-shuffle", "--output", &folder];
        let mutate = cargo(mutate).variable("CARGO_INCREMENTAL", "1").variable("SECURE_SESSIONS_HISTORIES", HISTORIES);
        // A failure of one mutant must not be tried on the next: a test that fails by itself would fail for all of them.
        mutate.variable("PROPTEST_DISABLE_FAILURE_PERSISTENCE", "true").run()?;
        let lines = |name: &str| {
            let file = output.join("mutants.out").join(name);
            fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))
        };
        let count = |name: &str| lines(name).map(|text| text.lines().count());
        let missed = lines("missed.txt")?;
        let (caught, hung, unviable) = (count("caught.txt")?, count("timeout.txt")?, count("unviable.txt")?);
        ensure!(missed.is_empty(), "no test notices:\n{missed}");
        ensure!(caught > 0, "no mutant was tried");
        Ok(format!("{caught} mutants are caught, {hung} hang, {unviable} do not compile, none survives"))
    })
}
