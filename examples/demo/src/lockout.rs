//! Locks an account for a while after too many wrong passwords, or too many wrong codes, in a row.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Failures in a row before an account is locked.
pub const ALLOWED_FAILURES: u32 = 5;
/// The time that it is locked then; a failure is forgotten after the same time. A real site would take longer.
pub const LOCKED_FOR: Duration = Duration::from_secs(60);
/// The most names that are remembered: the rate limit per address keeps it from filling.
const MOST_NAMES: usize = 4096;
/// The longest part of a name that counts.
const NAME_LENGTH: usize = 64;

/// Counts the wrong guesses at one kind of secret, by name. Cheap to clone.
///
/// A name without an account is counted too: the answer must not tell which names exist.
#[derive(Debug, Clone, Default)]
pub struct Lockout(Arc<Mutex<HashMap<String, Failures>>>);

#[derive(Debug)]
struct Failures {
    wrong: u32,
    /// Guesses that are being evaluated.
    pending: u32,
    /// When the newest wrong guess was made.
    last: Instant,
}

/// A guess that may be evaluated. Dropped without [`right`](Self::right), it was wrong: nobody escapes the count by
/// hanging up.
#[must_use = "a guess that is dropped counts as wrong"]
#[derive(Debug)]
pub struct Guess {
    lockout: Lockout,
    name: String,
    at: Instant,
    was_right: bool,
}

impl Lockout {
    /// Reserves a place for a guess before you evaluate it, so that guesses at the same time cannot exceed the limit.
    ///
    /// # Errors
    ///
    /// Returns how long to wait. It is zero if other guesses hold all places, and their outcome is not known yet.
    pub fn reserve(&self, name: &str, now: Instant) -> Result<Guess, Duration> {
        let mut names = self.names();
        if names.len() >= MOST_NAMES {
            names.retain(|_, failures| failures.pending > 0 || failures.left(now).is_some());
        }
        let name: String = name.chars().take(NAME_LENGTH).collect();
        let failures = names.entry(name.clone()).or_insert(Failures { wrong: 0, pending: 0, last: now });
        match failures.left(now) {
            Some(left) if failures.wrong >= ALLOWED_FAILURES => return Err(left),
            Some(_) => {}
            None => failures.wrong = 0,
        }
        if failures.wrong.saturating_add(failures.pending) >= ALLOWED_FAILURES {
            return Err(Duration::ZERO);
        }
        failures.pending += 1;
        Ok(Guess { lockout: self.clone(), name, at: now, was_right: false })
    }

    fn names(&self) -> MutexGuard<'_, HashMap<String, Failures>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Failures {
    /// Returns how long the newest failure still counts; `None` if it is forgotten.
    fn left(&self, now: Instant) -> Option<Duration> {
        LOCKED_FOR.checked_sub(now.duration_since(self.last)).filter(|left| !left.is_zero())
    }
}

impl Guess {
    /// Frees the place, and forgets the wrong guesses before this one.
    pub fn right(mut self) {
        self.was_right = true;
    }
}

impl Drop for Guess {
    fn drop(&mut self) {
        let mut names = self.lockout.names();
        let Some(failures) = names.get_mut(&self.name) else { return };
        failures.pending = failures.pending.saturating_sub(1);
        if !self.was_right {
            failures.wrong = failures.wrong.saturating_add(1);
            failures.last = failures.last.max(self.at);
        } else if failures.pending > 0 {
            failures.wrong = 0;
        } else {
            names.remove(&self.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(lockout: &Lockout, name: &str, now: Instant) {
        drop(lockout.reserve(name, now).expect("a place"));
    }

    #[test]
    fn five_failures_in_a_row_lock_a_name_for_a_minute() {
        let (lockout, start) = (Lockout::default(), Instant::now());
        (0..ALLOWED_FAILURES).for_each(|_| wrong(&lockout, "carol", start));
        let refused = lockout.reserve("carol", start + Duration::from_secs(10)).map(drop);
        assert_eq!(refused, Err(Duration::from_secs(50)));
        wrong(&lockout, "alice", start);
        (0..ALLOWED_FAILURES).for_each(|_| wrong(&lockout, "carol", start + LOCKED_FOR));
        assert_eq!(lockout.reserve("carol", start + LOCKED_FOR).map(drop), Err(LOCKED_FOR), "the count began anew");
    }

    #[test]
    fn a_success_forgets_the_failures_before_it() {
        let (lockout, now) = (Lockout::default(), Instant::now());
        (1..ALLOWED_FAILURES).for_each(|_| wrong(&lockout, "bob", now));
        lockout.reserve("bob", now).expect("a place").right();
        (0..ALLOWED_FAILURES).for_each(|_| wrong(&lockout, "bob", now));
        assert!(lockout.reserve("bob", now).is_err());
    }

    #[test]
    fn guesses_under_way_take_places_and_a_success_frees_them() {
        let (lockout, now) = (Lockout::default(), Instant::now());
        let mut guesses: Vec<_> =
            (0..ALLOWED_FAILURES).map(|_| lockout.reserve("bob", now).expect("a place")).collect();
        assert_eq!(lockout.reserve("bob", now).map(drop), Err(Duration::ZERO));
        guesses.pop().expect("a guess").right();
        guesses.push(lockout.reserve("bob", now).expect("the place of the right one"));
        assert_eq!(lockout.reserve("bob", now).map(drop), Err(Duration::ZERO));
        drop(guesses);
        assert_eq!(lockout.reserve("bob", now).map(drop), Err(LOCKED_FOR), "all of them were wrong");
    }

    #[test]
    fn names_that_nobody_guesses_at_are_forgotten_when_there_are_many() {
        let (lockout, start) = (Lockout::default(), Instant::now());
        let pending = lockout.reserve("pending", start).expect("a place");
        (1..MOST_NAMES).for_each(|name| wrong(&lockout, &name.to_string(), start));
        wrong(&lockout, "late", start + LOCKED_FOR);
        assert_eq!(lockout.names().len(), 2);
        pending.right();
        assert_eq!(lockout.names().len(), 1);
    }
}
