//! How long an insert and a lookup take as the store grows.

use std::hint::black_box;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use futures_util::FutureExt;
use secure_sessions_store::{MemoryStore, SessionStore};

use super::system::Longest;
use super::{Found, sample};
use crate::measure::{quantile, sorted};

/// What stands above the lines.
pub const HEAD: &str = "\
MemoryStore as it grows, sessions with a subject. Inserts: the mean of those since the line before, and the longest (in
brackets: less what the thread had no core for). Lookups: among all sessions at random, and among 1000 that are in the
processor's cache; the median of 100 batches.
  sessions   insert ns    longest insert us    lookup ns    lookup of 1000, ns";

/// What the numbers of a row are.
pub const COLUMNS: [&str; 6] = [
    "sessions",
    "insert, ns",
    "longest insert, us",
    "less what the thread had no core for",
    "lookup, ns",
    "lookup of 1000, ns",
];

const BATCHES: u64 = 100;
const LOOKUPS: u64 = 10_000;

/// A line for each doubling up to so many sessions.
///
/// # Errors
///
/// If the store does not do what it is asked.
pub fn growth(sessions: u64) -> Result<Found> {
    let store = MemoryStore::new();
    let mut found = Found::default();
    let (mut longest, mut from, mut took) = (Longest::on_this_thread()?, 0, Duration::ZERO);
    let mut next = sessions.min(125_000);
    for number in 0..sessions {
        let bucket = sample::idle(number, true);
        let start = Instant::now();
        store.insert(&bucket).now_or_never().context("not at once")??;
        let this = start.elapsed();
        took += this;
        longest.take(this)?;
        let there = number + 1;
        if there == next {
            let insert = nanos(took, there - from);
            let [all, hot] = [there, 1000].map(|among| lookup(&store, among));
            let (all, hot) = (all?, hot?);
            let [real, with_a_core] = [longest.real, longest.with_a_core].map(|time| time.as_secs_f64() * 1e6);
            let shown = format!("{real:.0} ({with_a_core:.0})");
            let text = format!("{there:>10}{insert:>12.0}{shown:>21}{all:>13.0}{hot:>22.0}\n");
            #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
            let numbers = [there as f64, insert, real, with_a_core, all, hot];
            found.add(Found::line(text, format!("{there} sessions"), &numbers));
            (longest, from, took) = (Longest::on_this_thread()?, there, Duration::ZERO);
            next = (next * 2).min(sessions);
        }
    }
    Ok(found)
}

fn lookup(store: &MemoryStore, among: u64) -> Result<f64> {
    let mut batches = Vec::new();
    for batch in 0..BATCHES {
        let start = Instant::now();
        for call in 0..LOOKUPS {
            let id = sample::id(black_box((batch * LOOKUPS + call).wrapping_mul(7919) % among));
            black_box(store.load(&id).now_or_never().context("not at once")??.context("a session is not there")?);
        }
        batches.push(nanos(start.elapsed(), LOOKUPS));
    }
    Ok(quantile(&sorted(&batches), 0.5))
}

#[expect(clippy::cast_precision_loss, reason = "a time for people")]
fn nanos(took: Duration, calls: u64) -> f64 {
    took.as_secs_f64() * 1e9 / calls as f64
}
