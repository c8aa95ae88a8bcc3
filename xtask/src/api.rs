//! `cargo xtask api`: the public API of each published crate, listed in a file beside its manifest, so that a change of
//! it shows in review.
//!
//! The list is what public-api reads in the JSON that rustdoc writes, with all features on. Automatic and blanket
//! implementations are left out.
//!
//! Writing JSON is not stable yet. This program stands in for rustdoc and lets it for this once ([`as_rustdoc`]), so that
//! the dependencies are those that clippy and the documentation have compiled, and not nightly's once more.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use public_api::Builder;

use crate::invocation::cargo;
use crate::metadata;
use crate::report::Report;
use crate::workspace;

/// The list's name, in the crate's folder.
const LIST: &str = "public-api.txt";

/// The arguments of cargo that make the documentation. With the examples cargo takes the features of dependencies that
/// clippy took, and compiles none once more.
pub(crate) const DOCS: [&str; 6] = ["doc", "--workspace", "--no-deps", "--all-features", "--lib", "--examples"];

/// Tells this program that cargo runs it in rustdoc's place.
pub(crate) const AS_RUSTDOC: &str = "XTASK_AS_RUSTDOC";

/// Runs rustdoc with these arguments and with what is not stable; whether it succeeded.
pub(crate) fn as_rustdoc(arguments: &[String]) -> Result<bool> {
    // In the folder and with the variables that cargo has set for it.
    let status = Command::new("rustdoc").args(arguments).env("RUSTC_BOOTSTRAP", "1").status();
    Ok(status.context("cannot start rustdoc")?.success())
}

/// Adds the step: each list says what the crate's users see.
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

/// Returns the path of each crate's list, and the text that it should have.
fn lists() -> Result<Vec<(PathBuf, String)>> {
    let mut crates = metadata::published()?;
    // A program has users, but no API.
    crates.retain(|published| published.folder.join("src/lib.rs").exists());
    // As for the pages, so that nothing is compiled once more.
    let this = std::env::current_exe().context("this program has no path")?;
    let json = cargo(DOCS)
        .variable("RUSTDOC", &this.display().to_string())
        .variable(AS_RUSTDOC, "1")
        .variable("RUSTDOCFLAGS", "-Z unstable-options --output-format json --cap-lints allow");
    ensure!(json.run()?, "rustdoc did not write its JSON: {json}");
    let target = metadata::target()?;
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
    // An item that is exported twice has its implementations listed twice.
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
        "this rustdoc writes {format}, which the version of public-api in the root manifest does not read: take another \
         version of it (its dependency rustdoc-types is called 0.FORMAT), or another toolchain"
    )
}

/// Returns the lines that are only in one of two lists.
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
