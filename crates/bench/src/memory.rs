//! Resident bytes of a session in MemoryStore.

pub(crate) mod sample;

use std::future::Future;
use std::ops::Range;

use anyhow::{Result, bail, ensure};
use bench_load::resident;
use futures_util::FutureExt;
use secure_sessions_store::{Bucket, MemoryStore, Revision, SessionStore, StoreError};

use crate::rows::Row;

/// The parts, each of which is measured in a process of its own: memory that one has freed would else serve the next.
pub const PARTS: [&str; 4] = ["anonymous", "subject", "in-turn", "all-at-once"];

/// The columns of a part's row; those that it does not have are not numbers.
pub const COLUMNS: [&str; 4] = ["sessions", "bytes of each", "at worst", "at most"];

/// The most bytes that idle sessions may take.
const ANONYMOUS: f64 = 192.0;
const WITH_SUBJECT: f64 = 256.0;

/// Measures one of the [`PARTS`] with so many sessions.
///
/// # Errors
///
/// If the system does not say how much memory is in use, the store does not do what it is asked, or there is no such part.
pub fn measure(part: &str, sessions: u64) -> Result<Row> {
    match part {
        "anonymous" => idle("idle, anonymous", false, sessions),
        "subject" => idle("idle, with a subject", true, sessions),
        "in-turn" => in_turn(sessions),
        "all-at-once" => all_at_once(sessions),
        other => bail!("no part is called {other}"),
    }
}

/// Sessions that were made and are idle. At worst: just after the tables have grown.
fn idle(what: &str, subject: bool, sessions: u64) -> Result<Row> {
    let store = MemoryStore::new();
    let before = resident()?;
    let mut worst = 0.0_f64;
    for number in 0..sessions {
        now(store.insert(&sample::idle(number, subject)))?;
        if number >= sessions / 10 && number % (sessions / 1000) == 0 {
            worst = worst.max(each(before, number)?);
        }
    }
    let at_most = if subject { WITH_SUBJECT } else { ANONYMOUS };
    row(what, sessions, before, worst, at_most)
}

/// Sessions with a subject and 2 KB of data of which each was changed, one in a hundred at a time, and left alone.
fn in_turn(sessions: u64) -> Result<Row> {
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
    row("settled, changed 1% at a time", sessions, before, f64::NAN, WITH_SUBJECT)
}

/// The same, all of them changed before any was left alone.
fn all_at_once(sessions: u64) -> Result<Row> {
    let store = MemoryStore::new();
    let before = resident()?;
    for number in 0..sessions {
        now(store.insert(&sample::idle(number, true)))?;
    }
    replace_all(&store, 0..sessions, sample::rotated)?;
    row("just changed, all of them", sessions, before, f64::NAN, f64::NAN)
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

fn row(what: &str, sessions: u64, before: u64, worst: f64, at_most: f64) -> Result<Row> {
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let count = sessions as f64;
    Ok((what.to_owned(), vec![count, each(before, sessions)?, worst, at_most]))
}
