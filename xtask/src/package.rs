//! What `cargo publish` would upload: that each published crate packs, and with what belongs into it.

use std::fs;

use anyhow::{Context, Result, ensure};

use crate::invocation::cargo;
use crate::report::Report;
use crate::workspace;

pub(crate) fn run(report: &mut Report) {
    report.check("package", || {
        let mut published = Vec::new();
        for manifest in workspace::files(&["crates"], "toml")? {
            if manifest.ends_with("Cargo.toml") {
                let text = fs::read_to_string(&manifest).with_context(|| format!("{}", manifest.display()))?;
                published.extend(published_name(&text).map(str::to_owned));
            }
        }
        ensure!(!published.is_empty(), "no crate is published");
        published.iter().try_for_each(|package| check(package))
    });
}

/// The manifest's package, unless it is kept private.
fn published_name(manifest: &str) -> Option<&str> {
    let private = manifest.lines().any(|line| line.trim() == "publish = false");
    let name = manifest.lines().find_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"'));
    name.filter(|_| !private)
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

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn only_crates_that_are_not_private_are_published() {
        assert_eq!(published_name("[package]\nname = \"a\"\n"), Some("a"));
        assert_eq!(published_name("[package]\nname = \"a\"\npublish = false\n"), None);
        assert_eq!(published_name("[workspace]\n"), None);
    }
}
