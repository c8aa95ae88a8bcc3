//! Checks the upload that `cargo publish` would make: that each published crate packs, with what belongs into it; that the
//! packages build, and their documentation's examples run, in a folder outside of this repository; and that the changelog
//! has a section for them. (The step `powerset` shows that each builds with its own features alone.)

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

use crate::invocation::{cargo, program};
use crate::metadata::{self, Published};
use crate::report::Report;
use crate::workspace;

const CHANGELOG: &str = "CHANGELOG.md";

/// The package beside those that are packed, for the features of their dependencies.
const PINS: &str = "pins";

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
    // Nothing is built here: `elsewhere` builds them all, from what was packed and from nothing else. A change that is not
    // committed yet may be checked too.
    report.command("packages", &cargo(["package", "--no-verify", "--allow-dirty"]).args(&packages));
    let publish = cargo(["publish", "--dry-run", "--no-verify", "--allow-dirty"]).args(&packages);
    report.command("publish, without an upload", &publish);
    // The step has the same name, as it is run again by the same command.
    report.check("package", || elsewhere(&published));
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

/// Unpacks what was packed into a folder outside of this repository, builds it, and runs the documentation's examples
/// there.
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
    let (mut members, mut patches) = (format!("{PINS:?}, "), String::new());
    for Published { name, version, .. } in published {
        let package = target.join("package").join(format!("{name}-{version}.crate"));
        let (package, to) = (package.display().to_string(), folder.display().to_string());
        ensure!(program("tar", ["-xzf", &package, "-C", &to]).run()?, "cannot unpack {package}");
        members += &format!("{:?}, ", format!("{name}-{version}"));
        patches += &format!("{name} = {{ path = {:?} }}\n", format!("{name}-{version}"));
    }
    let manifest = folder.join("Cargo.toml");
    let own = fs::read_to_string(workspace::root().join("Cargo.toml")).context("cannot read the root manifest")?;
    let profiles = own.find("[profile.").map_or("", |at| &own[at..]);
    let text =
        format!("[workspace]\nresolver = \"3\"\nmembers = [{members}]\n\n[patch.crates-io]\n{patches}\n{profiles}");
    fs::write(&manifest, text).context("cannot write the manifest")?;
    pin(&folder.join(PINS))?;
    // The versions that everything else was tested with.
    fs::copy(workspace::root().join("Cargo.lock"), folder.join("Cargo.lock")).context("cannot copy the lock file")?;
    let (manifest, target) = (manifest.display().to_string(), target.display().to_string());
    // Programs are built; their unit tests look at files of this repository.
    for which in [["--doc"].as_slice(), &["--bins", "--no-run"]] {
        let test = cargo(["test", "--workspace", "--all-features", "--manifest-path", &manifest]).args(which);
        // The dependencies of the packages are built there for the tests, too.
        ensure!(test.variable("CARGO_TARGET_DIR", &target).run()?, "a package fails outside of this repository");
    }
    Ok(())
}

/// Writes a package without code that asks for all dependencies of this workspace, with their features: cargo turns on
/// what the packages of a workspace ask for together, and another set of features would be compiled once more.
fn pin(folder: &Path) -> Result<()> {
    let manifest =
        format!("[package]\nname = \"{PINS}\"\nedition = \"2024\"\n\n[dependencies]\n{}", metadata::dependencies()?);
    fs::create_dir_all(folder.join("src")).with_context(|| format!("cannot make {}", folder.display()))?;
    fs::write(folder.join("Cargo.toml"), manifest).context("cannot write a manifest")?;
    fs::write(folder.join("src/lib.rs"), "").context("cannot write a crate without code")
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

/// Returns `true` if the changelog's first section is of this version, or of changes that are not released yet.
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
