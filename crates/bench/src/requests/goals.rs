//! The goals that our numbers are held against.

use std::fmt;

use anyhow::{Context, Result};

use super::{ALLOCATIONS, Lines, READS, Turns, WRITES};
use crate::cases::Framework::{self, Actix, Axum, Rocket};
use crate::cases::Kind::{self, Read, Unseen, Write};
use crate::cases::{NO_OP, PRIVATE_JAR, REMEMBERING, RING, RUSTCRYPTO, SHIM, SHIM_REMEMBERING, UNSEALED};
use crate::measure::{Quartiles, paired};

/// A number of ours and how much it may be.
#[derive(Debug, Clone, PartialEq)]
pub struct Goal {
    /// The name of the number.
    pub what: String,
    /// Its value.
    pub is: f64,
    /// The most that it may be.
    pub at_most: f64,
}

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.is <= self.at_most { "met " } else { "OVER" };
        write!(f, "{verdict}  {}: {:.2}, at most {}", self.what, self.is, self.at_most)
    }
}

/// Multiples of what a peer takes over the bare route, in the hot loop.
const RATIOS: [(Framework, Kind, &str, &str, f64); 15] = [
    (Axum, Read, RUSTCRYPTO, Axum.usual(), 1.1),
    (Axum, Read, SHIM, Axum.usual(), 1.3),
    (Axum, Read, SHIM_REMEMBERING, Axum.usual(), 1.3),
    (Axum, Write, RUSTCRYPTO, Axum.usual(), 2.2),
    (Axum, Write, RING, Axum.usual(), 1.75),
    (Axum, Read, RUSTCRYPTO, PRIVATE_JAR, 0.42),
    (Axum, Write, RUSTCRYPTO, PRIVATE_JAR, 0.9),
    (Axum, Write, RING, PRIVATE_JAR, 0.7),
    (Actix, Read, RUSTCRYPTO, Actix.usual(), 0.55),
    (Actix, Write, RUSTCRYPTO, Actix.usual(), 0.95),
    (Rocket, Read, RUSTCRYPTO, Rocket.usual(), 1.2),
    (Rocket, Write, RUSTCRYPTO, Rocket.usual(), 1.1),
    (Axum, Read, REMEMBERING, Axum.usual(), 0.55),
    (Axum, Write, REMEMBERING, Axum.usual(), 1.45),
    (Rocket, Read, REMEMBERING, Rocket.usual(), 0.65),
];

/// Returns every goal and what was measured of it.
///
/// # Errors
///
/// If a row that is needed is missing.
pub fn goals(lines: &Lines) -> Result<Vec<Goal>> {
    let mut goals = Vec::new();
    for (framework, kind, ours, peer, at_most) in RATIOS {
        let [one, other] = [ours, peer].map(|name| lines.find(framework, kind, name));
        let is = lines.ratio(one?, other?, Turns::Hot)?.median;
        goals.push(Goal { what: format!("{framework}, {kind}, {ours}, of {peer}'s"), is, at_most });
    }
    let (unseen, no_op) = (lines.find(Axum, Unseen, UNSEALED)?, lines.find(Axum, Unseen, NO_OP)?);
    let nanos = Quartiles::of(&paired(&unseen.hot, &no_op.hot, |ours, no_op| ours - no_op)).median;
    let count = |kind, name, column: usize| {
        let counted = lines.find(Axum, kind, name)?.counts.get(column).copied();
        counted.with_context(|| format!("{name} was not counted"))
    };
    let allocations = count(Unseen, UNSEALED, ALLOCATIONS)? - count(Unseen, NO_OP, ALLOCATIONS)?;
    for (what, is, at_most) in [
        ("axum, never looked at, ns over a no-op layer", nanos, 100.0),
        ("axum, never looked at, allocations over a no-op layer", allocations, 3.0),
        ("axum, read, store reads", count(Read, RUSTCRYPTO, READS)?, 1.0),
        ("axum, read, store writes", count(Read, RUSTCRYPTO, WRITES)?, 0.0),
    ] {
        goals.push(Goal { what: what.to_owned(), is, at_most });
    }
    Ok(goals)
}
