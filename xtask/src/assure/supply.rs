//! The things that others bring in: licences, sources, doubles of cryptographic crates, packages.

use anyhow::{Result, ensure};

use super::{Outcome, with};
use crate::invocation::cargo;
use crate::metadata;
use crate::tools::Tool;

pub(super) fn run() -> Result<Outcome> {
    with(&[Tool::Subcommand("deny")], || {
        let deny = ["deny", "--workspace", "--all-features", "check", "bans", "licenses", "sources"];
        ensure!(cargo(deny).run()?, "cargo-deny objects");
        Ok(format!("cargo-deny has no objection to the dependencies of {} crates", metadata::published()?.len()))
    })
}
