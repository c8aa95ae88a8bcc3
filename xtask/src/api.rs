//! `cargo xtask api`: the public API of each published crate, listed in a file beside its manifest, so that a change of
//! it shows in review.
//!
//! The list is what public-api reads in the JSON that nightly's rustdoc writes, with all features on. Automatic and
//! blanket implementations are left out.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use public_api::Builder;

use crate::invocation::cargo;
use crate::metadata;
use crate::report::Report;
use crate::tools::Tool;
use crate::workspace;

/// The list's name, in the crate's folder.
const LIST: &str = "public-api.txt";

/// What the lists are made with.
pub(crate) const NIGHTLY: Tool = Tool::Nightly;

/// Adds the step: each list says what the crate's users see.
pub(crate) fn run(report: &mut Report) {
    if !NIGHTLY.is_installed() {
        return report.skip("api", &NIGHTLY.how_to_install());
    }
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
    let mut crates = metadata::published()?;
    // A program has users, but no API.
    crates.retain(|published| published.folder.join("src/lib.rs").exists());
    let packages = crates.iter().flat_map(|published| ["--package", &published.name]);
    // Apart from the pages of stable's rustdoc, and from what stable compiles.
    let target = metadata::target()?.join("api");
    let json = cargo(["+nightly", "doc", "--lib", "--no-deps", "--all-features"])
        .args(&packages.collect::<Vec<_>>())
        .variable("CARGO_TARGET_DIR", &target.display().to_string())
        .variable("RUSTDOCFLAGS", "-Z unstable-options --output-format json --cap-lints allow");
    ensure!(json.run()?, "rustdoc did not write its JSON: {json}");
    crates
        .iter()
        .map(|published| {
            let file = target.join("doc").join(published.name.replace('-', "_")).with_extension("json");
            Ok((published.folder.join(LIST), list(&file)?))
        })
        .collect()
}

/// One line for each item, in public-api's order: an item, what it has, what it implements.
fn list(json: &Path) -> Result<String> {
    let read = Builder::from_rustdoc_json(json).omit_blanket_impls(true).omit_auto_trait_impls(true).build();
    let api = read.with_context(|| unread(&fs::read_to_string(json).unwrap_or_default()))?;
    // What is exported twice has its implementations listed twice.
    let mut seen = BTreeSet::new();
    let lines: Vec<String> = api.items().map(ToString::to_string).filter(|line| seen.insert(line.clone())).collect();
    ensure!(!lines.is_empty(), "no public item in {}", json.display());
    Ok(lines.join("\n") + "\n")
}

/// Says why JSON that rustdoc wrote may not have been understood.
fn unread(json: &str) -> String {
    let parsed: Option<serde_json::Value> = serde_json::from_str(json).ok();
    let format = parsed.and_then(|value| value.get("format_version")?.as_u64());
    let format = format.map_or_else(|| "no format".to_owned(), |format| format!("format {format}"));
    format!(
        "this nightly's rustdoc writes {format}, which the version of public-api in the root manifest does not read: take \
         another version of it (its dependency rustdoc-types is called 0.FORMAT), or another nightly"
    )
}

/// What is only in one of two lists.
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

    #[test]
    fn json_of_another_format_says_which_format_it_is() {
        assert!(unread("{\"format_version\":99,\"index\":1}").contains("writes format 99,"));
        assert!(unread("").contains("writes no format,"));
    }
}
