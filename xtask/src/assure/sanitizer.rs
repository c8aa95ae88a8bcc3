//! The tests of core, store and engine under AddressSanitizer.

use anyhow::Result;

use super::{Outcome, TRIPLE, runs, with};
use crate::invocation::cargo;
use crate::metadata;
use crate::tools::Tool;

/// Random histories for each property: more of them touch no other memory.
const HISTORIES: &str = "1000";

pub(super) fn run() -> Result<Outcome> {
    with(&[Tool::Nightly], || {
        let folder = metadata::target()?.join("asan").display().to_string();
        let packages = ["secure-sessions-core", "secure-sessions-store", "secure-sessions"];
        let packages: Vec<&str> = packages.iter().flat_map(|package| ["--package", package]).collect();
        // The tests of misuse run a compiler of their own; those of memory read what the sanitizer keeps.
        let left_out = ["--skip", "what_the_types_forbid", "--skip", "nothing_secret_is_left"];
        // Sanitizers want the target named, so that build scripts are left alone.
        let run = cargo(["+nightly", "test", "--no-fail-fast", "--target", TRIPLE, "--lib", "--tests"])
            .args(&packages)
            .variable("RUSTFLAGS", "-Zsanitizer=address")
            .variable("CARGO_TARGET_DIR", &folder)
            .variable("ASAN_OPTIONS", "detect_leaks=0")
            .variable("SECURE_SESSIONS_HISTORIES", HISTORIES);
        let printed = run.args(&["--"]).args(&left_out).output()?;
        print!("{printed}");
        Ok(format!("{} tests under AddressSanitizer without a complaint", runs::passed(&printed)?))
    })
}
