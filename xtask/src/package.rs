//! What `cargo publish` would upload: that each published crate packs, with what belongs into it; that each builds from
//! its package alone, and that its documentation's examples run from a folder outside of this repository; and that the
//! changelog has a section for it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use crate::invocation::{cargo, program};
use crate::metadata::{self, Published};
use crate::report::Report;
use crate::workspace;

const CHANGELOG: &str = "CHANGELOG.md";

/// The files that every package has.
const NEEDED: [&str; 4] = ["Cargo.toml", "README.md", "LICENSE-APACHE", "LICENSE-MIT"];
/// One of these, too.
const ROOTS: [&str; 2] = ["src/lib.rs", "src/main.rs"];

pub(crate) fn run(report: &mut Report) {
    let published = match metadata::published() {
        Ok(published) => published,
        Err(error) => return report.check("package", || Err(error)),
    };
    report.check("package", || published.iter().try_for_each(check));
    let packages: Vec<&str> = published.iter().flat_map(|published| ["--package", &published.name]).collect();
    report.check("packages of before", || forget(&published));
    // Each is built from its package, with the others' packages for its dependencies. A change that is not committed
    // yet may be checked too.
    report.command("packages build", &cargo(["package", "--allow-dirty"]).args(&packages));
    let publish = cargo(["publish", "--dry-run", "--no-verify", "--allow-dirty"]).args(&packages);
    report.command("publish, without an upload", &publish);
    report.check("packages elsewhere", || elsewhere(&published));
}

fn check(published: &Published) -> Result<()> {
    let Published { name, version, folder } = published;
    let changelog = fs::read_to_string(workspace::root().join(CHANGELOG)).with_context(|| format!("no {CHANGELOG}"))?;
    ensure!(
        tells_of(&changelog, version),
        "{CHANGELOG}: its first section is neither \"Unreleased\" nor {version}, the version of {name}"
    );
    let listed = cargo(["package", "--list", "--allow-dirty", "--package", name]).output()?;
    let files: Vec<&str> = listed.lines().collect();
    for needed in NEEDED {
        ensure!(files.contains(&needed), "the package {name} has no {needed}");
    }
    ensure!(ROOTS.iter().any(|root| files.contains(root)), "the package {name} has none of {ROOTS:?}");
    let stray = files.iter().find(|file| file.ends_with(".sqlite") || file.starts_with("target/"));
    ensure!(stray.is_none(), "the package {name} would contain {stray:?}");
    let readme = fs::read_to_string(folder.join("README.md")).with_context(|| format!("{name} has no README.md"))?;
    if let Some((line, problem)) = only_for_rustdoc(&readme) {
        bail!("{name}: README.md:{line}: {problem}");
    }
    println!("{name}: {} files", files.len());
    Ok(())
}

/// Removes the packages that cargo unpacked in an earlier run: it takes those of the same version for the same.
fn forget(published: &[Published]) -> Result<()> {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo")));
    let unpacked = home.context("neither CARGO_HOME nor HOME is set")?.join("registry").join("src");
    if !unpacked.exists() {
        return Ok(());
    }
    for registry in fs::read_dir(&unpacked).with_context(|| format!("cannot list {}", unpacked.display()))? {
        let registry = registry?;
        // One of a folder has no host in its name, and crates.io has nothing of ours to be removed.
        if registry.file_name().to_string_lossy().starts_with('-') {
            for Published { name, version, .. } in published {
                let package = registry.path().join(format!("{name}-{version}"));
                if package.exists() {
                    fs::remove_dir_all(&package).with_context(|| format!("cannot remove {}", package.display()))?;
                }
            }
        }
    }
    Ok(())
}

/// Unpacks what was packed into a folder outside of this repository, and runs the documentation's examples there.
fn elsewhere(published: &[Published]) -> Result<()> {
    let folder = std::env::temp_dir().join(format!("packaged-{}", std::process::id()));
    let outcome = run_examples(published, &folder);
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    outcome
}

fn run_examples(published: &[Published], folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let target = metadata::target()?;
    let (mut members, mut patches) = (String::new(), String::new());
    for Published { name, version, .. } in published {
        let package = target.join("package").join(format!("{name}-{version}.crate"));
        let (package, to) = (package.display().to_string(), folder.display().to_string());
        ensure!(program("tar", ["-xzf", &package, "-C", &to]).run()?, "cannot unpack {package}");
        members += &format!("{:?}, ", format!("{name}-{version}"));
        patches += &format!("{name} = {{ path = {:?} }}\n", format!("{name}-{version}"));
    }
    let manifest = folder.join("Cargo.toml");
    let text = format!("[workspace]\nresolver = \"3\"\nmembers = [{members}]\n\n[patch.crates-io]\n{patches}");
    fs::write(&manifest, text).context("cannot write the manifest")?;
    // The versions that everything else was tested with.
    fs::copy(workspace::root().join("Cargo.lock"), folder.join("Cargo.lock")).context("cannot copy the lock file")?;
    let manifest = manifest.display().to_string();
    let test = cargo(["test", "--workspace", "--all-features", "--doc", "--manifest-path", &manifest]);
    // What the packages depend on is built there already.
    ensure!(
        test.variable("CARGO_TARGET_DIR", &target.display().to_string()).run()?,
        "an example fails outside of this repository"
    );
    Ok(())
}

/// Returns the first line of a README that only rustdoc renders as it is meant, and why.
fn only_for_rustdoc(readme: &str) -> Option<(usize, &'static str)> {
    let mut in_code = false;
    for (number, line) in readme.lines().enumerate() {
        if line.starts_with("```") {
            in_code = !in_code;
        } else if in_code && (line == "#" || line.starts_with("# ")) {
            return Some((number + 1, "a line of code that rustdoc hides is shown elsewhere"));
        } else if !in_code && (line.contains("](crate::") || line.contains("](self::") || line.contains("](super::")) {
            return Some((number + 1, "a link to an item leads nowhere outside of rustdoc"));
        }
    }
    None
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

    #[test]
    fn a_readme_that_only_rustdoc_renders_is_found_out() {
        let line = |text: &str| only_for_rustdoc(text).map(|(line, _)| line);
        assert_eq!(line("# Title\n\n```rust\n#[test]\nfn f() {}\n```\n\n# More\n"), None);
        assert_eq!(line("# Title\n\n```rust\n# fn f() {\nf();\n```\n"), Some(4));
        assert_eq!(line("one\nsee [`Session`](crate::Session)\n"), Some(2));
    }
}
