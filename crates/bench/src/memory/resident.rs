//! Resident bytes per session.

use std::future::Future;
use std::ops::Range;

use anyhow::{Result, ensure};
use futures_util::FutureExt;
use secure_sessions_store::{Bucket, MemoryStore, Revision, SessionStore, StoreError};

use super::system::resident;
use super::{Found, sample};

/// What stands above the lines.
pub const HEAD: &str = "\
MemoryStore: resident bytes per session (VmRSS, less what it was before). At worst: just after its tables have grown.
A session with 2 KB of data that was just changed has a handoff of as much, which goes when it settles, minutes later.
                                          sessions    bytes  at worst   at most";

/// What the numbers of a row are.
pub const COLUMNS: [&str; 4] = ["sessions", "bytes of each", "at worst", "at most"];

/// The budgets of the lines for idle sessions.
const ANONYMOUS: u32 = 192;
const WITH_SUBJECT: u32 = 256;

/// Sessions that were made and are idle.
///
/// # Errors
///
/// If the system does not say how much memory is in use.
pub fn idle(what: &str, subject: bool, sessions: u64) -> Result<Found> {
    let store = MemoryStore::new();
    let before = resident()?;
    let mut worst = 0.0_f64;
    for number in 0..sessions {
        now(store.insert(&sample::idle(number, subject)))?;
        if number >= sessions / 10 && number % (sessions / 1000) == 0 {
            worst = worst.max(each(before, number)?);
        }
    }
    let budget = if subject { WITH_SUBJECT } else { ANONYMOUS };
    Ok(line(&format!("idle, {what}"), sessions, each(before, sessions)?, Some(worst), Some(budget)))
}

/// Sessions with a subject and 2 KB of data of which each was changed, one in a hundred at a time, and left alone.
///
/// # Errors
///
/// If the system does not say how much memory is in use, or the store does not do what it is asked.
pub fn in_turn(sessions: u64) -> Result<Found> {
    const TURNS: u64 = 100;
    let store = MemoryStore::new();
    let before = resident()?;
    for number in 0..sessions {
        now(store.insert(&sample::idle(number, true)))?;
    }
    let turn = |number: u64| sessions * number / TURNS..sessions * (number + 1) / TURNS;
    for number in 0..TURNS {
        replace_all(&store, turn(number), sample::rotated)?;
        if number > 0 {
            replace_all(&store, turn(number - 1), sample::settled)?;
        }
    }
    replace_all(&store, turn(TURNS - 1), sample::settled)?;
    Ok(line("settled, changed 1% at a time", sessions, each(before, sessions)?, None, Some(WITH_SUBJECT)))
}

/// The same, but all of them changed before any was left alone.
///
/// # Errors
///
/// If the system does not say how much memory is in use, or the store does not do what it is asked.
pub fn all_at_once(sessions: u64) -> Result<Found> {
    let store = MemoryStore::new();
    let before = resident()?;
    for number in 0..sessions {
        now(store.insert(&sample::idle(number, true)))?;
    }
    replace_all(&store, 0..sessions, sample::rotated)?;
    let at_once = line("just changed, all of them", sessions, each(before, sessions)?, None, None);
    replace_all(&store, 0..sessions, sample::settled)?;
    let settled = line("settled, as the allocator left it", sessions, each(before, sessions)?, None, None);
    for number in sessions..2 * sessions {
        now(store.insert(&sample::idle(number, true)))?;
    }
    let reused = line("and as many more, which are idle", 2 * sessions, each(before, 2 * sessions)?, None, None);
    let mut found = at_once;
    [settled, reused].into_iter().for_each(|line| found.add(line));
    Ok(found)
}

fn replace_all(store: &MemoryStore, sessions: Range<u64>, next: impl Fn(u64) -> Bucket) -> Result<()> {
    for number in sessions {
        let bucket = next(number);
        let expected = Revision::new(bucket.revision.get() - 1);
        ensure!(now(store.replace(&bucket, expected))?, "session {number} was not replaced");
    }
    Ok(())
}

/// The store answers at once.
fn now<T>(answer: impl Future<Output = Result<T, StoreError>>) -> Result<T> {
    Ok(answer.now_or_never().ok_or(StoreError::Timeout)??)
}

#[expect(clippy::cast_precision_loss, reason = "a size for people")]
fn each(before: u64, sessions: u64) -> Result<f64> {
    Ok(resident()?.saturating_sub(before) as f64 / sessions as f64)
}

fn line(what: &str, sessions: u64, each: f64, worst: Option<f64>, budget: Option<u32>) -> Found {
    let shown = worst.map_or(String::new(), |worst| format!("{worst:.1}"));
    let verdict = match budget {
        Some(budget) if each <= f64::from(budget) => format!("{budget:>10}  met"),
        Some(budget) => format!("{budget:>10}  OVER"),
        None => String::new(),
    };
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let numbers = [sessions as f64, each, worst.unwrap_or(f64::NAN), budget.map_or(f64::NAN, f64::from)];
    Found::line(format!("{what:36}{sessions:>14}{each:>9.1}{shown:>10}{verdict}\n"), what, &numbers)
}
