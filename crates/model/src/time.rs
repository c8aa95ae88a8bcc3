//! The model's clock: it goes in ticks of half a grace.

use secure_sessions_core::{BucketPolicy, Millis, Timestamp};

/// The number of steps of time in a grace. A way takes one step at most: half a grace.
pub(crate) const GRACE_TICKS: u16 = 2;
const TICK: Millis = Millis::from_secs(30);
pub(crate) const POLICY: BucketPolicy = BucketPolicy { grace: Millis::from_secs(60), touch_step: None };
pub(crate) const IDLE: Millis = Millis::from_secs(30 * 60);
/// Longer than an idle timeout and the purge's patience together.
pub(crate) const SLEEP_TICKS: u16 = 200;
const START: Timestamp = Timestamp::from_millis(1_750_000_000_000);
/// No model's history is as long as a session may live.
pub(crate) const EXPIRES: Timestamp = Timestamp::from_millis(1_750_028_800_000);

pub(crate) fn time(tick: u16) -> Timestamp {
    START.after(Millis::new(TICK.get() * u64::from(tick)))
}
