//! `cargo xtask bench`: what a session costs, beside other session crates in the same run.

use std::fs;

use anyhow::{Context, Result};

use crate::invocation::{Invocation, cargo};
use crate::workspace;

/// Builds and runs the benchmark with either AEAD, counts allocations apart from that (counting takes time), and
/// prints one table. Whether all of it ran.
pub(crate) fn run(arguments: &[String]) -> Result<bool> {
    let rows = workspace::root().join("target/bench");
    fs::create_dir_all(&rows).with_context(|| format!("cannot make {}", rows.display()))?;
    let file = |name: &str| rows.join(name).display().to_string();
    let (rustcrypto, ring, counts) = (file("rustcrypto.tsv"), file("ring.tsv"), file("counts.tsv"));
    let runs = [
        bench("speed", &[]).args(&[&rustcrypto]).args(arguments),
        bench("speed", &["--features", "ring"]).args(&[&ring]).args(arguments),
        bench("counts", &[]).args(&[&counts]),
        bench("table", &[]).args(&[&rustcrypto, &ring, &counts]),
    ];
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
