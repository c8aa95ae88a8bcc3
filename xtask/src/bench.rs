//! `cargo xtask bench`: what a session costs, beside other session crates in the same run.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::invocation::{Invocation, cargo};
use crate::workspace;

/// Other crates' stores: a workspace of its own, see its manifest.
pub(crate) const PEERS: &str = "crates/bench-peers/Cargo.toml";

/// One of the benchmarks. Whether all of it ran.
pub(crate) fn run(arguments: &[String]) -> Result<bool> {
    match arguments.split_first() {
        Some((which, rest)) if which == "stores" => stores(rest),
        Some((which, rest)) if which == "memory" => told(&[bench("memory", &[]).args(rest)]),
        Some((which, rest)) if ["contention", "growth", "http"].contains(&which.as_str()) => {
            let (features, rest) = with_ring(rest);
            told(&[bench(which, features).args(&rest)])
        }
        Some((which, [])) if which == "pictures" => told(&[bench("pictures", &[])]),
        _ => requests(arguments),
    }
}

/// Our stores beside other crates', on engines that are started for that.
fn stores(arguments: &[String]) -> Result<bool> {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace::root().join("target"), PathBuf::from);
    let target = workspace::root().join(target).join("peers");
    let program = target.join("release/bench-peers").display().to_string();
    let peers = cargo(["build", "--quiet", "--release", "--manifest-path", PEERS, "--target-dir"]);
    let (features, rest) = with_ring(arguments);
    told(&[peers.args(&[target.display().to_string()]), bench("stores", features).args(&[program]).args(&rest)])
}

/// What cargo is told for `--ring`, and the other arguments.
fn with_ring(arguments: &[String]) -> (&'static [&'static str], Vec<String>) {
    let (ring, rest): (Vec<_>, Vec<_>) = arguments.iter().cloned().partition(|argument| argument == "--ring");
    (if ring.is_empty() { &[] } else { &["--features", "ring"] }, rest)
}

/// Builds and runs the benchmark with each AEAD, counts allocations apart from that (counting takes time), and
/// prints one table.
fn requests(arguments: &[String]) -> Result<bool> {
    let rows = workspace::root().join("target/bench");
    fs::create_dir_all(&rows).with_context(|| format!("cannot make {}", rows.display()))?;
    let file = |name: &str| rows.join(name).display().to_string();
    let [rustcrypto, ring, counts] = ["rustcrypto.tsv", "ring.tsv", "counts.tsv"].map(file);
    told(&[
        bench("speed", &[]).args(&[&rustcrypto]).args(arguments),
        bench("speed", &["--features", "ring"]).args(&[&ring]).args(arguments),
        bench("counts", &[]).args(&[&counts]),
        bench("table", &[]).args(&[&rustcrypto, &ring, &counts]),
    ])
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

fn bench(program: &str, features: &[&str]) -> Invocation {
    cargo(["run", "--quiet", "--release", "--package", "bench", "--bin", program]).args(features).args(&["--"])
}
