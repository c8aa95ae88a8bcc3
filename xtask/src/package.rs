//! What `cargo publish` would upload: that each published crate packs, and with what belongs into it; and that the
//! changelog has a section for it.

use std::fs;

use anyhow::{Context, Result, ensure};

use crate::invocation::cargo;
use crate::metadata;
use crate::report::Report;
use crate::workspace;

const CHANGELOG: &str = "CHANGELOG.md";

pub(crate) fn run(report: &mut Report) {
    report.check("package", || {
        let text = fs::read_to_string(workspace::root().join(CHANGELOG)).with_context(|| format!("no {CHANGELOG}"))?;
        metadata::published()?.iter().try_for_each(|published| {
            ensure!(
                tells_of(&text, &published.version),
                "{CHANGELOG}: its first section is neither \"Unreleased\" nor {}, the version of {}",
                published.version,
                published.name
            );
            check(&published.name)
        })
    });
}

fn check(package: &str) -> Result<()> {
    // A change that is not committed yet may be checked too.
    let listed = cargo(["package", "--list", "--allow-dirty", "--package", package]).output()?;
    let files: Vec<&str> = listed.lines().collect();
    for needed in ["Cargo.toml", "README.md", "src/lib.rs"] {
        ensure!(files.contains(&needed), "the package {package} has no {needed}");
    }
    let stray = files.iter().find(|file| file.ends_with(".sqlite") || file.starts_with("target/"));
    ensure!(stray.is_none(), "the package {package} would contain {stray:?}");
    println!("{package}: {} files", files.len());
    Ok(())
}

/// Whether the changelog's first section is of this version, or of what is not released yet.
fn tells_of(changelog: &str, version: &str) -> bool {
    let newest = changelog.lines().find_map(|line| line.strip_prefix("## "));
    newest.and_then(|heading| heading.split(' ').next()).is_some_and(|name| name == "Unreleased" || name == version)
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn the_changelog_begins_with_what_is_not_released_or_with_this_version() {
        assert!(tells_of("# Changelog\n\n## Unreleased\n\n## 0.1.0 - 2026-12-01\n", "0.2.0"));
        assert!(tells_of("# Changelog\n\n## 0.2.0 - 2027-01-31\n", "0.2.0"));
        assert!(!tells_of("# Changelog\n\n## 0.1.0 - 2026-12-01\n", "0.2.0"));
        assert!(!tells_of("# Changelog\n", "0.2.0"));
    }
}
