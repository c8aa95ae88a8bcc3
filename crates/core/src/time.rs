//! Points and lengths of time, in integer milliseconds.

use core::fmt;
use core::time::Duration;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

/// A point in time, in milliseconds since the Unix epoch.
///
/// `Display` writes it as RFC 3339 does, in UTC. Serde writes the number of milliseconds, which JavaScript's `Date` takes.
///
/// ```
/// use std::time::{Duration, SystemTime};
/// use secure_sessions_core::Timestamp;
///
/// let time = Timestamp::from_millis(951_782_400_000);
/// assert_eq!(time.to_string(), "2000-02-29T00:00:00.000Z");
/// let time = SystemTime::from(time) + Duration::from_secs(60);
/// assert_eq!(Timestamp::from(time).to_string(), "2000-02-29T00:01:00.000Z");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(u64);

/// A length of time in milliseconds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Millis(u64);

impl Timestamp {
    /// Returns the point in time this many milliseconds after the Unix epoch.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// Returns the milliseconds since the Unix epoch.
    #[must_use]
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// Returns `self + length`, or the last representable instant.
    #[must_use]
    pub const fn after(self, length: Millis) -> Self {
        Self(self.0.saturating_add(length.0))
    }

    /// Returns the time from `earlier` to `self`, or zero if `earlier` is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Millis {
        Millis(self.0.saturating_sub(earlier.0))
    }
}

impl Millis {
    /// Zero milliseconds.
    pub const ZERO: Self = Self(0);

    /// Returns a length of this many milliseconds.
    #[must_use]
    pub const fn new(millis: u64) -> Self {
        Self(millis)
    }

    /// Returns a length of this many seconds.
    #[must_use]
    pub const fn from_secs(seconds: u64) -> Self {
        Self(seconds.saturating_mul(1000))
    }

    /// Returns the number of milliseconds.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Returns `self + other`, or the longest representable length.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl From<Duration> for Millis {
    /// Rounds down to whole milliseconds, at most the longest representable length.
    fn from(duration: Duration) -> Self {
        Self(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
    }
}

impl From<Millis> for Duration {
    fn from(millis: Millis) -> Self {
        Self::from_millis(millis.0)
    }
}

impl From<SystemTime> for Timestamp {
    /// Rounds down to whole milliseconds. A time before 1970 becomes 1970.
    fn from(time: SystemTime) -> Self {
        Self(Millis::from(time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()).get())
    }
}

impl From<Timestamp> for SystemTime {
    /// Returns the same time, or the latest one that the system knows.
    fn from(time: Timestamp) -> Self {
        let (mut since_epoch, epoch) = (Duration::from_millis(time.0), Self::UNIX_EPOCH);
        loop {
            match epoch.checked_add(since_epoch) {
                Some(time) => return time,
                // Only a system whose clock has fewer bits than ours gets here.
                None => since_epoch /= 2,
            }
        }
    }
}

impl fmt::Display for Timestamp {
    /// Writes `2025-09-01T12:00:00.000Z`. The date is calculated by Howard Hinnant's `civil_from_days`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (days, rest) = (self.0 / 86_400_000, self.0 % 86_400_000);
        let days = days + 719_468;
        let (era, day_of_era) = (days / 146_097, days % 146_097);
        let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        // Months from March, so that the leap day is the last of the year.
        let shifted = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * shifted + 2) / 5 + 1;
        let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
        let year = era * 400 + year_of_era + u64::from(month <= 2);
        let (seconds, millis) = (rest / 1000, rest % 1000);
        let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ms", self.0)
    }
}

impl fmt::Debug for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ms", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_written_as_rfc_3339_has_it() {
        for (millis, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399_999, "2000-02-28T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_709_251_200_000, "2024-03-01T00:00:00.000Z"),
            (4_102_444_799_000, "2099-12-31T23:59:59.000Z"),
        ] {
            assert_eq!(Timestamp::from_millis(millis).to_string(), text);
        }
        let far = Timestamp::from_millis(u64::MAX).to_string();
        assert!(far.ends_with('Z'), "no overflow: {far}");
    }

    #[test]
    fn a_system_time_is_the_same_instant_there_and_back() {
        for millis in [0, 1, 1_709_251_200_001] {
            let time = Timestamp::from_millis(millis);
            assert_eq!(Timestamp::from(SystemTime::from(time)), time);
        }
        assert_eq!(Timestamp::from(SystemTime::UNIX_EPOCH - Duration::from_secs(1)), Timestamp::from_millis(0));
        let _ = SystemTime::from(Timestamp::from_millis(u64::MAX));
        assert_eq!(serde_json::to_string(&Timestamp::from_millis(7)).expect("JSON"), "7");
    }

    #[test]
    fn a_duration_keeps_its_whole_milliseconds_there_and_back() {
        for (duration, millis) in [
            (Duration::ZERO, 0),
            (Duration::from_micros(1999), 1),
            (Duration::from_secs(90), 90_000),
            (Duration::from_millis(u64::MAX), u64::MAX),
            (Duration::MAX, u64::MAX),
        ] {
            assert_eq!(Millis::from(duration), Millis::new(millis), "{duration:?}");
        }
        assert_eq!(Duration::from(Millis::new(90_001)), Duration::from_millis(90_001));
    }
}
