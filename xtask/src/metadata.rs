//! The workspace as cargo reads its manifests.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package, TargetKind};

use crate::workspace;

/// A crate that others can depend on.
#[derive(Debug)]
pub(crate) struct Published {
    pub(crate) name: String,
    pub(crate) version: String,
    /// The folder of its manifest.
    pub(crate) folder: PathBuf,
}

/// The crates that are not kept private.
pub(crate) fn published() -> Result<Vec<Published>> {
    let metadata = read("Cargo.toml")?;
    let packages = metadata.workspace_packages().into_iter().filter(|package| !is_private(package));
    let published = packages.map(|package| {
        let (name, version) = (package.name.to_string(), package.version.to_string());
        Ok(Published { name, version, folder: folder(package)? })
    });
    let mut published = published.collect::<Result<Vec<_>>>()?;
    ensure!(!published.is_empty(), "no crate is published");
    published.sort_by(|one, other| one.folder.cmp(&other.folder));
    Ok(published)
}

/// Returns what the crates of the workspace depend on beside each other, as lines of a manifest, each with all features
/// that they ask for. Build scripts are left out, as their dependencies have features of their own.
pub(crate) fn dependencies() -> Result<String> {
    let metadata = read("Cargo.toml")?;
    let mut all: BTreeMap<(&str, String), (BTreeSet<&str>, bool)> = BTreeMap::new();
    let asked = metadata.workspace_packages().into_iter().flat_map(|package| &package.dependencies);
    for asked in asked.filter(|it| it.kind != DependencyKind::Build && it.target.is_none() && it.path.is_none()) {
        let (features, default) = all.entry((&asked.name, asked.req.to_string())).or_default();
        features.extend(asked.features.iter().map(String::as_str));
        *default |= asked.uses_default_features;
    }
    let lines = all.iter().enumerate().map(|(number, ((name, version), (features, default)))| {
        format!(
            "d{number} = {{ package = {name:?}, version = {version:?}, default-features = {default}, features = {:?} }}\n",
            Vec::from_iter(features)
        )
    });
    Ok(lines.collect())
}

/// Returns the folder in which cargo puts everything that it builds.
pub(crate) fn target() -> Result<PathBuf> {
    Ok(read("Cargo.toml")?.target_directory.into_std_path_buf())
}

/// The root files of each crate of the workspace: its library's and its programs'.
pub(crate) fn crate_roots() -> Result<Vec<(String, Vec<PathBuf>)>> {
    let metadata = read("Cargo.toml")?;
    let roots = metadata.workspace_packages().into_iter().map(|package| {
        let kinds = [TargetKind::Lib, TargetKind::ProcMacro, TargetKind::Bin];
        let targets = package.targets.iter().filter(|target| target.kind.iter().any(|kind| kinds.contains(kind)));
        (package.name.to_string(), targets.map(|target| target.src_path.clone().into_std_path_buf()).collect())
    });
    Ok(roots.collect())
}

/// A program of integration tests.
#[derive(Debug)]
pub(crate) struct Test {
    pub(crate) package: String,
    pub(crate) name: String,
}

/// The programs of integration tests, by name.
pub(crate) fn tests() -> Result<Vec<Test>> {
    let metadata = read("Cargo.toml")?;
    let packages = metadata.workspace_packages().into_iter();
    let tests = packages.flat_map(|package| {
        let targets = package.targets.iter().filter(|target| target.is_test());
        targets.map(|target| Test { package: package.name.to_string(), name: target.name.clone() })
    });
    let mut tests: Vec<Test> = tests.collect();
    tests.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(tests)
}

/// The programs with unit tests of their own: those that their manifests do not say `test = false` of.
pub(crate) fn programs_with_tests() -> Result<Vec<String>> {
    let metadata = read("Cargo.toml")?;
    let targets = metadata.workspace_packages().into_iter().flat_map(|package| &package.targets);
    Ok(targets.filter(|target| target.is_bin() && target.test).map(|target| target.name.clone()).collect())
}

/// The programs whose documentation has a folder of its own: not those that are called like their crate's library, nor
/// those whose manifests say `doc = false`.
pub(crate) fn documented_programs() -> Result<Vec<String>> {
    let metadata = read("Cargo.toml")?;
    let packages = metadata.workspace_packages().into_iter();
    let programs = packages.flat_map(|package| {
        let library = package.targets.iter().find(|target| target.is_lib()).map(|library| library.name.as_str());
        let programs = package.targets.iter().filter(|target| target.is_bin() && target.doc);
        programs.filter(move |program| library != Some(program.name.replace('-', "_").as_str()))
    });
    Ok(programs.map(|program| program.name.clone()).collect())
}

/// The names of the programs that a manifest names.
pub(crate) fn programs(manifest: &str) -> Result<Vec<String>> {
    let metadata = read(manifest)?;
    let targets = metadata.workspace_packages().into_iter().flat_map(|package| &package.targets);
    Ok(targets.filter(|target| target.is_bin()).map(|target| target.name.clone()).collect())
}

/// Kept private: `publish = false`.
fn is_private(package: &Package) -> bool {
    package.publish.as_ref().is_some_and(Vec::is_empty)
}

fn folder(package: &Package) -> Result<PathBuf> {
    let folder = package.manifest_path.parent().context("a manifest has a folder")?;
    Ok(folder.to_owned().into_std_path_buf())
}

fn read(manifest: &str) -> Result<Metadata> {
    let manifest = workspace::root().join(manifest);
    let metadata = MetadataCommand::new().manifest_path(&manifest).no_deps().exec();
    metadata.with_context(|| format!("cargo cannot read {}", manifest.display()))
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn only_crates_that_are_not_private_are_published() {
        let published = published().expect("a workspace");
        let has = |name: &str| published.iter().any(|published| published.name == name);
        assert!(has("secure-sessions-core") && has("secure-sessions"), "{published:?}");
        assert!(!has("xtask") && !has("services"), "{published:?}");
        assert!(published.iter().all(|published| published.folder.join("Cargo.toml").exists()), "{published:?}");
    }

    #[test]
    fn a_program_without_a_unit_test_is_not_among_those_that_are_tested() {
        let programs = programs_with_tests().expect("a workspace");
        let has = |name: &str| programs.iter().any(|program| program == name);
        assert!(has("xtask") && !has("acceptance-axum"), "{programs:?}");
    }

    #[test]
    fn a_dependency_is_listed_once_with_all_features_that_crates_ask_for() {
        let all = dependencies().expect("a workspace");
        let lines: Vec<&str> = all.lines().filter(|line| line.contains("package = \"tokio\",")).collect();
        let [tokio] = lines[..] else { panic!("{lines:?}") };
        for feature in ["\"rt\"", "\"net\"", "\"test-util\""] {
            assert!(tokio.contains(feature), "{tokio}");
        }
        assert!(!all.contains("secure-sessions"), "{all}");
    }

    #[test]
    fn the_fuzz_targets_are_read_from_their_manifest() {
        let targets = programs("fuzz/Cargo.toml").expect("a workspace");
        assert!(targets.iter().any(|target| target == "token"), "{targets:?}");
    }
}
