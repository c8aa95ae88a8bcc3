//! `cargo xtask bench`: what a session costs, beside other session crates in the same run.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::invocation::{Invocation, cargo};
use crate::workspace;

/// Other crates' stores: a workspace of its own, see its manifest.
pub(crate) const PEERS: &str = "crates/bench-peers/Cargo.toml";

/// Runs one of the benchmarks. Returns `true` if all of it ran.
pub(crate) fn run(arguments: &[String]) -> Result<bool> {
    match arguments.split_first() {
        Some((which, rest)) if which == "stores" => stores(rest),
        Some((which, rest)) if ["growth", "memory"].contains(&which.as_str()) => told(&[bench(which).args(rest)]),
        Some((which, [])) if which == "pictures" => told(&[bench("pictures")]),
        _ => requests(arguments),
    }
}

/// Our stores beside other crates', on engines that are started for that.
fn stores(arguments: &[String]) -> Result<bool> {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace::root().join("target"), PathBuf::from);
    let target = workspace::root().join(target).join("peers");
    let program = target.join("release/bench-peers").display().to_string();
    let peers = cargo(["build", "--quiet", "--release", "--manifest-path", PEERS, "--target-dir"]);
    told(&[peers.args(&[target.display().to_string()]), bench("stores").args(&[program]).args(arguments)])
}

/// Counts allocations and store operations, then times requests apart from that (counting takes time) and prints one
/// table.
fn requests(arguments: &[String]) -> Result<bool> {
    let folder = workspace::root().join("target/bench");
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let counts = folder.join("counts.tsv").display().to_string();
    told(&[bench("counts").args(&[&counts]), bench("requests").args(&[&counts]).args(arguments)])
}

/// Runs one after the other, each once it has been named, until one fails.
fn told(runs: &[Invocation]) -> Result<bool> {
    for run in runs {
        eprintln!("== {run}");
        if !run.run()? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn bench(program: &str) -> Invocation {
    cargo(["run", "--quiet", "--release", "--package", "bench", "--bin", program]).args(&["--"])
}
