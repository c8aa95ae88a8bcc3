//! What `cargo publish` would upload: that each published crate packs, and with what belongs into it.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};

use crate::invocation::cargo;
use crate::report::Report;
use crate::workspace;

/// A crate that others can depend on.
#[derive(Debug)]
pub(crate) struct Published {
    pub(crate) name: String,
    /// Where its manifest is.
    pub(crate) folder: PathBuf,
}

pub(crate) fn run(report: &mut Report) {
    report.check("package", || published()?.iter().try_for_each(|published| check(&published.name)));
}

/// The crates that are not kept private.
pub(crate) fn published() -> Result<Vec<Published>> {
    let mut published = Vec::new();
    for manifest in workspace::files(&["crates"], "toml")? {
        if manifest.ends_with("Cargo.toml") {
            let text = fs::read_to_string(&manifest).with_context(|| format!("{}", manifest.display()))?;
            let folder = manifest.parent().map(PathBuf::from).unwrap_or_default();
            published.extend(published_name(&text).map(|name| Published { name: name.to_owned(), folder }));
        }
    }
    ensure!(!published.is_empty(), "no crate is published");
    Ok(published)
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
