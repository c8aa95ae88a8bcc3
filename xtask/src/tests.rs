//! `cargo xtask test`: every test.

use std::fs;

use anyhow::{Context, Result};

use crate::invocation::cargo;
use crate::report::Report;
use crate::services;
use crate::workspace;

/// The crates with another AEAD, and so with everything that is sealed, to be tested once more with it.
const WITH_RING: [&str; 3] = ["secure-sessions-core", "secure-sessions", "secure-sessions-axum"];

const TARGETS: [&str; 4] = ["--lib", "--bins", "--tests", "--examples"];

/// Unit and integration tests with default features, on every database server there is, those of [`WITH_RING`] with
/// `ring`, the documentation's, and last the acceptance suite's table.
pub(crate) fn run(report: &mut Report) {
    let results = match empty_results() {
        Ok(results) => results,
        Err(error) => return report.check("tests", || Err(error)),
    };
    let mut all = cargo(["test", "--workspace", "--no-fail-fast"]).args(&TARGETS);
    for (name, url) in services::for_tests(report) {
        all = all.variable(name, &url);
    }
    report.tests("tests", &all.variable("ACCEPTANCE_REPORT", &results));

    let packages: Vec<&str> = WITH_RING.iter().flat_map(|package| ["--package", package]).collect();
    let with_ring = cargo(["test", "--no-fail-fast", "--features", "ring"]).args(&packages).args(&TARGETS);
    report.tests("tests with ring", &with_ring);

    report.tests("documentation tests", &cargo(["test", "--workspace", "--no-fail-fast", "--doc"]));

    let table = ["run", "--quiet", "--package", "acceptance", "--bin", "acceptance-report", "--", &results];
    report.command("acceptance table", &cargo(table));
}

/// Where the acceptance suite writes its results: a file that is not there yet.
fn empty_results() -> Result<String> {
    let folder = workspace::root().join("target");
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let file = folder.join("acceptance.jsonl");
    if file.exists() {
        fs::remove_file(&file).with_context(|| format!("cannot remove {}", file.display()))?;
    }
    Ok(file.display().to_string())
}
