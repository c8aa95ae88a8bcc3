//! Locks an account for a while after too many wrong passwords or codes in a row.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Failures in a row before an account is locked.
pub const ALLOWED_FAILURES: u32 = 5;
/// How long it is locked then; a failure is forgotten after the same time. A real site would take longer.
pub const LOCKED_FOR: Duration = Duration::from_secs(60);
/// The most names that are remembered: the rate limit per address keeps it from filling.
const MOST_NAMES: usize = 4096;
/// The longest part of a name that counts.
const NAME_LENGTH: usize = 64;

/// Counts failures by name, whether there is such an account or not: the answer must not tell. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Lockout(Arc<Mutex<HashMap<String, Failures>>>);

#[derive(Debug, Clone, Copy)]
struct Failures {
    count: u32,
    last: Instant,
}

impl Lockout {
    /// How long the name is still locked; `None` if it is not.
    #[must_use]
    pub fn remaining(&self, name: &str, now: Instant) -> Option<Duration> {
        let names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let failures = names.get(&key(name)).filter(|failures| failures.count >= ALLOWED_FAILURES)?;
        LOCKED_FOR.checked_sub(now.duration_since(failures.last)).filter(|left| !left.is_zero())
    }

    /// A password or code was wrong.
    pub fn failed(&self, name: &str, now: Instant) {
        let mut names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if names.len() >= MOST_NAMES {
            names.retain(|_, failures| now.duration_since(failures.last) < LOCKED_FOR);
        }
        let failures = names.entry(key(name)).or_insert(Failures { count: 0, last: now });
        if now.duration_since(failures.last) >= LOCKED_FOR {
            failures.count = 0;
        }
        *failures = Failures { count: failures.count.saturating_add(1), last: now };
    }

    /// It was right.
    pub fn succeeded(&self, name: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&key(name));
    }
}

fn key(name: &str) -> String {
    name.chars().take(NAME_LENGTH).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_failures_in_a_row_lock_a_name_for_a_minute() {
        let (lockout, start) = (Lockout::default(), Instant::now());
        for _ in 0..ALLOWED_FAILURES {
            assert_eq!(lockout.remaining("carol", start), None);
            lockout.failed("carol", start);
        }
        assert_eq!(lockout.remaining("carol", start + Duration::from_secs(10)), Some(Duration::from_secs(50)));
        assert_eq!(lockout.remaining("alice", start), None);
        assert_eq!(lockout.remaining("carol", start + LOCKED_FOR), None);
        lockout.failed("carol", start + LOCKED_FOR);
        assert_eq!(lockout.remaining("carol", start + LOCKED_FOR), None, "the count began anew");
    }

    #[test]
    fn a_success_forgets_the_failures_before_it() {
        let (lockout, now) = (Lockout::default(), Instant::now());
        (1..ALLOWED_FAILURES).for_each(|_| lockout.failed("bob", now));
        lockout.succeeded("bob");
        lockout.failed("bob", now);
        assert_eq!(lockout.remaining("bob", now), None);
    }
}
