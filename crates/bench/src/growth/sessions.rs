//! More and more sessions in the store, beside a plain map of as many entries.

use std::iter;

use anyhow::{Context, Result, ensure};
use futures_util::FutureExt;
use secure_sessions::{Keyring, ManualClock, MemoryStore, SessionManager};
use secure_sessions_store::SessionStore;

use super::curve::{Curve, Law};
use super::floor::Floor;
use super::measure::{Effort, Subject, points};
use crate::client::request_now;
use crate::memory::sample;

/// Reads of sessions at random: those of a store with up to so many, and the floor of the same, which opens a cookie and
/// looks into a `HashMap` of the standard library with as many entries of the same size. Lookups at random wait for
/// memory, in whatever map: what the floor takes more than with 1000 entries is not held against ours.
///
/// # Errors
///
/// If a request is not answered as it should be.
pub fn in_the_store(most: usize, effort: Effort) -> Result<[Curve; 2]> {
    let sizes: Vec<usize> =
        iter::successors(Some(1000), |size| Some(size * 10)).take_while(|size| *size <= most).collect();
    let mut subjects = Vec::new();
    for size in &sizes {
        subjects.push(ours(*size)?);
        subjects.push(floor(*size)?);
    }
    let all = points(&mut subjects, effort)?;
    let (mut ours, floor): (Vec<_>, Vec<_>) = all.chunks_exact(2).map(|pair| (pair[0], pair[1])).unzip();
    for (ours, floor_here) in ours.iter_mut().zip(&floor) {
        ours.excused = (floor_here.nanos - floor[0].nanos).max(0.0);
    }
    let curve = |name, law, points| Curve { name, unit: "sessions", law, points };
    Ok([
        curve("a read, sessions in MemoryStore, less what the floor waits for memory", Some(Law::Constant), ours),
        curve("the floor: a cookie opened, and a HashMap with as many entries", None, floor),
    ])
}

/// The number of sessions that are read, one after the other, among more that are only there.
const READ: usize = 1_000_000;

fn ours(sessions: usize) -> Result<Subject> {
    let store = MemoryStore::new();
    let manager = SessionManager::builder(Keyring::generate()?, store.clone());
    let manager = manager.clock(ManualClock::at_millis(1_800_000_000_000)).build()?;
    let mut cookies = Cookies::default();
    for number in 0..sessions {
        if is_read(number, sessions) {
            let cookie = request_now(&manager, b"", |session| {
                session.login(&format!("user {number}"))?;
                Ok(session.insert("user_id", number)?)
            })?;
            cookies.add(cookie.context("a login set no cookie")?.as_bytes())?;
        } else {
            let bucket = sample::idle(u64::try_from(number)?, true);
            store.insert(&bucket).now_or_never().context("not at once")??;
        }
    }
    let mut cookies = cookies.shuffled();
    let request = move || {
        let set = request_now(&manager, cookies.next(), |session| {
            ensure!(session.get::<u64>("user_id")?.is_some(), "the session was not there");
            Ok(())
        })?;
        ensure!(set.is_none(), "a read set a cookie");
        Ok(())
    };
    Ok(subject(sessions, request))
}

fn floor(sessions: usize) -> Result<Subject> {
    /// As long as ours: a token of the first size class.
    const SEALED: usize = 265;
    let mut floor = Floor::new();
    let mut cookies = Cookies::default();
    for number in 0..sessions {
        let id = *sample::id(u64::try_from(number)?).as_bytes();
        if is_read(number, sessions) {
            cookies.add(floor.seal(id, SEALED).as_bytes())?;
        } else {
            floor.remember(id);
        }
    }
    let mut cookies = cookies.shuffled();
    let request = move || {
        ensure!(floor.open(cookies.next()), "the floor does not know its cookie");
        Ok(())
    };
    Ok(subject(sessions, request))
}

fn subject(sessions: usize, request: impl FnMut() -> Result<()> + 'static) -> Subject {
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let x = sessions as f64;
    Subject { x, request: Box::new(request) }
}

fn is_read(number: usize, sessions: usize) -> bool {
    number.is_multiple_of(sessions.div_ceil(READ))
}

/// Cookies, all as long, in one piece: whoever reads one after the other waits for the sessions, and not for them.
#[derive(Default)]
struct Cookies {
    bytes: Vec<u8>,
    length: usize,
    next: usize,
}

impl Cookies {
    fn add(&mut self, cookie: &[u8]) -> Result<()> {
        if self.bytes.is_empty() {
            self.length = cookie.len();
        }
        ensure!(cookie.len() == self.length, "a cookie of {} bytes among those of {}", cookie.len(), self.length);
        self.bytes.extend_from_slice(cookie);
        Ok(())
    }

    /// In an order of which memory knows nothing.
    fn shuffled(self) -> Self {
        /// Has no factor in common with a power of ten.
        const STRIDE: usize = 7_368_787;
        let count = self.bytes.len() / self.length.max(1);
        let order = (0..count).map(|number| number * STRIDE % count);
        let bytes = order.flat_map(|number| &self.bytes[number * self.length..(number + 1) * self.length]);
        Self { bytes: bytes.copied().collect(), length: self.length, next: 0 }
    }

    fn next(&mut self) -> &[u8] {
        self.next += 1;
        let start = self.next * self.length % self.bytes.len().max(1);
        &self.bytes[start..start + self.length]
    }
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn every_cookie_is_presented_once_in_another_order() {
        let mut cookies = Cookies::default();
        (0..100_u8).for_each(|number| cookies.add(&[number, number]).expect("as long"));
        assert!(cookies.add(&[1]).is_err());
        let mut shuffled = cookies.shuffled();
        let mut seen: Vec<u8> = (0..100).map(|_| shuffled.next()[0]).collect();
        assert!(!seen.is_sorted());
        seen.sort_unstable();
        assert_eq!(seen, (0..100).collect::<Vec<u8>>());
    }

    #[test]
    fn no_more_are_read_than_are_read_of_the_largest() {
        for sessions in [1000, READ, 10 * READ] {
            let read = (0..sessions).filter(|number| is_read(*number, sessions)).count();
            assert_eq!(read, sessions.min(READ));
        }
    }
}
