//! The lowest versions of direct dependencies that the manifests allow: they must be enough.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use super::{Outcome, with};
use crate::invocation::{cargo, program};
use crate::metadata;
use crate::tools::Tool;
use crate::workspace;

pub(super) fn run() -> Result<Outcome> {
    with(&[Tool::Nightly], || {
        let copy = metadata::target()?.join("minimal");
        copy_of_published(&copy)?;
        let manifest = copy.join("Cargo.toml").display().to_string();
        let target = copy.join("target").display().to_string();
        let update = cargo(["+nightly", "update", "-Z", "direct-minimal-versions", "--manifest-path", &manifest]);
        ensure!(update.run()?, "a direct dependency needs more than the manifest says");
        let check = cargo(["check", "--workspace", "--all-features", "--manifest-path", &manifest]);
        ensure!(check.variable("CARGO_TARGET_DIR", &target).run()?, "the lowest versions do not compile");
        Ok(format!("{} crates compile with the lowest versions that they allow", metadata::published()?.len()))
    })
}

/// The published crates alone, without the lock file: what the tools of this repository need is no user's matter.
fn copy_of_published(copy: &Path) -> Result<()> {
    let root = workspace::root();
    // Removes the files of the copy before, and keeps their build.
    let crates = copy.join("crates");
    if crates.exists() {
        fs::remove_dir_all(&crates).with_context(|| format!("cannot remove {}", crates.display()))?;
    }
    let manifest = fs::read_to_string(root.join("Cargo.toml")).context("cannot read the manifest")?;
    let mut members = Vec::new();
    for published in metadata::published()? {
        let folder = published.folder.strip_prefix(&root)?;
        members.push(format!("{:?}", folder.display().to_string()));
        let to = copy.join(folder);
        fs::create_dir_all(&to).with_context(|| format!("cannot make {}", to.display()))?;
        let (from, to) = (published.folder.join(".").display().to_string(), to.display().to_string());
        ensure!(program("cp", ["-r", &from, &to]).run()?, "cannot copy {from}");
        let manifest = copy.join(folder).join("Cargo.toml");
        let text = fs::read_to_string(&manifest).context("cannot read the copy of a manifest")?;
        fs::write(&manifest, for_users(&text)).context("cannot write the copy of a manifest")?;
    }
    let lines = manifest.lines().map(|line| {
        if line.starts_with("members = ") { format!("members = [{}]", members.join(", ")) } else { line.to_owned() }
    });
    fs::write(copy.join("Cargo.toml"), lines.collect::<Vec<_>>().join("\n")).context("cannot write the copy")?;
    let lock = copy.join("Cargo.lock");
    if lock.exists() {
        fs::remove_file(&lock).context("cannot remove the copy's lock file")?;
    }
    Ok(())
}

/// The manifest without what only the crate's own tests depend on: some of that is private.
fn for_users(manifest: &str) -> String {
    let mut kept = String::new();
    let mut for_tests = false;
    for line in manifest.lines() {
        if line.starts_with('[') {
            for_tests = line.contains("dev-dependencies");
        }
        if !for_tests {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    kept
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn what_only_tests_depend_on_is_left_out() {
        let manifest =
            "[dependencies]\na = \"1\"\n\n[dev-dependencies]\nb = { path = \".\" }\n\n[[example]]\nname = \"c\"\n";
        assert_eq!(for_users(manifest), "[dependencies]\na = \"1\"\n\n[[example]]\nname = \"c\"\n");
        assert_eq!(for_users("[target.'cfg(x)'.dev-dependencies]\nd = \"1\"\n[lints]\n"), "[lints]\n");
    }
}
