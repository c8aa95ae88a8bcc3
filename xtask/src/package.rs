//! What `cargo publish` would upload: that each published crate packs, and with what belongs into it.

use anyhow::{Result, ensure};

use crate::invocation::cargo;
use crate::metadata;
use crate::report::Report;

pub(crate) fn run(report: &mut Report) {
    report.check("package", || metadata::published()?.iter().try_for_each(|published| check(&published.name)));
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
