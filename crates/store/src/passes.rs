//! The passes of an ending of many sessions: another one follows until none was renewed meanwhile, but not for ever.

use std::time::Duration;

use tokio::time::Instant;

/// The longest pass that counts. A longer one may miss a tombstone of the shortest grace, and is repeated. (Those of
/// logged-in sessions stay for hours.)
const SHORT: Duration = Duration::from_secs(20);
/// The passes after which an ending that has taken longer than [`LONGEST`] is done: each meets sessions that began after the
/// call.
const MOST: u32 = 3;
const LONGEST: Duration = Duration::from_secs(60);

/// The passes so far.
pub(crate) struct PassCount {
    begun: Instant,
    /// The start of the current pass.
    start: Instant,
    passes: u32,
}

impl PassCount {
    /// Begins the first pass.
    pub(crate) fn begin() -> Self {
        let now = Instant::now();
        Self { begun: now, start: now, passes: 1 }
    }

    /// Ends a pass, and returns `true` if it was the last one. If not, the next one begins. `met_renewal` is `true` if a
    /// session may have been renewed during the pass.
    pub(crate) fn was_last(&mut self, met_renewal: bool) -> bool {
        let is_quiet = !met_renewal && self.start.elapsed() < SHORT;
        let is_last = is_quiet || (self.passes >= MOST && self.begun.elapsed() >= LONGEST);
        self.passes += 1;
        self.start = Instant::now();
        is_last
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    /// Returns the number of passes of this length, each of which met a renewal or none.
    async fn count(length: Duration, met_renewal: bool) -> u32 {
        let mut passes = PassCount::begin();
        for count in 1..1000 {
            advance(length).await;
            if passes.was_last(met_renewal) {
                return count;
            }
        }
        panic!("it goes on for ever");
    }

    #[tokio::test(start_paused = true)]
    async fn a_pass_that_met_no_renewal_in_time_is_the_last() {
        assert_eq!(count(Duration::from_secs(19), false).await, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn an_ending_with_long_passes_is_done_after_three_and_a_minute() {
        for (seconds, met_renewal, expected) in
            [(25, false, 3), (90, false, 3), (5, true, 12), (1, true, 60), (90, true, 3)]
        {
            assert_eq!(count(Duration::from_secs(seconds), met_renewal).await, expected, "{seconds} s each");
        }
    }
}
