//! The settings that the engine reads, each checked once, when a manager is built.

use std::time::Duration;

use secure_sessions_core::{BucketPolicy, MAX_TOUCH_STEP, Millis};

use self::build_error::BuildError;

pub(crate) mod binding;
pub(crate) mod build_error;
pub(crate) mod device;
pub(crate) mod limit;
pub(crate) mod site_data;

/// The action on a session when one of its dead tokens is presented.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum OnReplay {
    /// Ends the session: the attacker and the victim both lose it, and the victim logs in again (RFC 9700, section
    /// 4.14.2).
    #[default]
    Revoke,
    /// Refuses the token and leaves the session alone: an attacker may still hold the newest token.
    Refuse,
}

/// The shortest touch step: with less, every request of a busy browser would write.
const MIN_TOUCH_STEP: Millis = Millis::from_secs(1);

/// The times of a configuration.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Times {
    pub(crate) idle: Option<Millis>,
    pub(crate) absolute: Millis,
    pub(crate) rotation: Option<Millis>,
    pub(crate) bucket: BucketPolicy,
}

impl Times {
    /// Refuses a time that cannot work.
    pub(crate) fn check(&self) -> Result<(), BuildError> {
        let too_short = "it must be at least a millisecond";
        let settings = [
            ("idle_timeout", self.idle, "it must be at least a millisecond; `None` turns the idle timeout off"),
            ("absolute_timeout", Some(self.absolute), too_short),
            (
                "rotation_interval",
                self.rotation,
                "it must be at least a millisecond; `None` turns the rotation by time off",
            ),
            (
                "grace",
                Some(self.bucket.grace),
                "without a grace two requests at once would look like theft; the default is 60 s",
            ),
        ];
        for (setting, value, problem) in settings {
            if value == Some(Millis::ZERO) {
                return Err(BuildError::Time { setting, value: Duration::ZERO, problem });
            }
        }
        if self.bucket.grace > Millis::from_secs(60 * 60) {
            return Err(BuildError::Time {
                setting: "grace",
                value: self.bucket.grace.into(),
                problem: "more than an hour: a stolen token would stay good for longer than most sessions; the default is 60 s",
            });
        }
        if self.bucket.touch_step.is_some_and(|step| !(MIN_TOUCH_STEP..=MAX_TOUCH_STEP).contains(&step)) {
            return Err(BuildError::Time {
                setting: "touch_step",
                value: self.bucket.touch_step.unwrap_or_default().into(),
                problem: "it must be between 1 second and 10 minutes; by default it is at most a minute",
            });
        }
        Ok(())
    }
}

/// Returns `true` if the name can be a header's, in the lower case that HTTP/2 demands.
pub(crate) fn is_header_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}
