//! Times as people read them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970.
#[must_use]
pub fn now() -> u64 {
    millis(SystemTime::now())
}

/// Milliseconds since 1970.
#[must_use]
pub fn millis(time: SystemTime) -> u64 {
    let since_1970 = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX)
}

/// Says how long ago a time was, or how far ahead it is.
#[must_use]
pub fn relative(then: u64, now: u64) -> String {
    let length = span(Duration::from_millis(then.abs_diff(now)));
    if then > now {
        format!("in {length}")
    } else if now - then < 1000 {
        "just now".to_owned()
    } else {
        format!("{length} ago")
    }
}

/// A length of time, in its one or two largest units.
#[must_use]
pub fn span(length: Duration) -> String {
    let seconds = length.as_secs();
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    let two = |large: u64, unit: &str, small: u64, part: &str| match small {
        0 => format!("{large} {unit}"),
        _ => format!("{large} {unit} {small} {part}"),
    };
    match seconds {
        0 => format!("{} ms", length.as_millis()),
        1..60 => format!("{seconds} s"),
        60..3600 => two(minutes, "min", seconds % 60, "s"),
        3600..86_400 => two(hours, "h", minutes, "min"),
        _ => two(days, "d", hours, "h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_in_their_largest_units() {
        let spans = [350, 1000, 61_000, 1_800_000, 28_799_000, 90_000_000];
        let spans = spans.map(|millis| span(Duration::from_millis(millis)));
        assert_eq!(spans, ["350 ms", "1 s", "1 min 1 s", "30 min", "7 h 59 min", "1 d 1 h"]);
        assert_eq!(relative(10_000, 10_400), "just now");
        assert_eq!(relative(10_000, 13_000), "3 s ago");
        assert_eq!(relative(13_000, 10_000), "in 3 s");
    }
}
