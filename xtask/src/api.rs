//! `cargo xtask api`: the public API of each published crate, listed in a file beside its manifest, so that a change of
//! it shows in review.
//!
//! The list is read off rustdoc's pages, with all features on: what a user can see is what there is. Automatic and
//! blanket implementations are left out.

mod page;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::invocation::cargo;
use crate::metadata;
use crate::report::Report;
use crate::workspace;

/// The list's name, in the crate's folder.
const LIST: &str = "public-api.txt";

/// Whether each list says what the documentation says.
pub(crate) fn run(report: &mut Report) {
    report.check("api", || {
        println!("{}", check()?);
        Ok(())
    });
}

/// Compares every list; how many items there are.
pub(crate) fn check() -> Result<String> {
    let mut items = 0;
    let mut complaints = Vec::new();
    let lists = lists()?;
    for (file, fresh) in &lists {
        let kept = fs::read_to_string(file).unwrap_or_default();
        items += fresh.lines().count();
        for (sign, line) in differences(&kept, fresh) {
            complaints
                .push(format!("{}: {sign} {line}", file.strip_prefix(workspace::root()).unwrap_or(file).display()));
        }
    }
    ensure!(
        complaints.is_empty(),
        "{}\nif the public API is meant to change so: cargo xtask api --write",
        complaints.join("\n")
    );
    Ok(format!("{items} items of {} crates, as listed", lists.len()))
}

/// Writes every list anew.
pub(crate) fn write() -> Result<()> {
    for (file, fresh) in lists()? {
        fs::write(&file, fresh).with_context(|| format!("cannot write {}", file.display()))?;
        println!("{}", file.display());
    }
    Ok(())
}

/// Where each crate's list is kept, and what it should say.
fn lists() -> Result<Vec<(PathBuf, String)>> {
    let crates = metadata::published()?;
    let packages = crates.iter().flat_map(|published| ["--package", &published.name]);
    let documented = cargo(["doc", "--no-deps", "--all-features"]).args(&packages.collect::<Vec<_>>()).run()?;
    ensure!(documented, "the documentation does not build");
    let pages = metadata::target()?.join("doc");
    crates
        .iter()
        .map(|published| {
            let folder = pages.join(published.name.replace('-', "_"));
            Ok((published.folder.join(LIST), list(&folder)?))
        })
        .collect()
}

/// One line for each item and each of its methods and implementations, in order.
fn list(folder: &Path) -> Result<String> {
    let mut lines = Vec::new();
    let mut pages = Vec::new();
    workspace::collect(folder, "html", &mut pages)?;
    for file in pages {
        let Some(path) = page::item_path(file.strip_prefix(folder)?) else { continue };
        let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        lines.extend(page::lines(&path, &text));
    }
    ensure!(!lines.is_empty(), "no documentation in {}", folder.display());
    lines.sort();
    lines.dedup();
    Ok(lines.join("\n") + "\n")
}

/// What is only in one of two sorted lists.
fn differences<'t>(kept: &'t str, fresh: &'t str) -> Vec<(char, &'t str)> {
    let (kept, fresh): (Vec<&str>, Vec<&str>) = (kept.lines().collect(), fresh.lines().collect());
    let gone = kept.iter().filter(|line| !fresh.contains(line)).map(|line| ('-', *line));
    let new = fresh.iter().filter(|line| !kept.contains(line)).map(|line| ('+', *line));
    gone.chain(new).collect()
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn what_came_and_what_went_is_told() {
        assert_eq!(differences("a\nb\n", "b\nc\n"), [('-', "a"), ('+', "c")]);
        assert!(differences("a\n", "a\n").is_empty());
    }
}
