//! The reason that a browser gives for a refresh that it skipped.

use std::fmt;

/// The reason why a browser sent a request of a device-bound session without renewing its ticket, as it says itself in
/// `Secure-Session-Skipped`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DeviceSkipped {
    /// It made as many signatures for this site as it may, for now.
    QuotaExceeded,
    /// The refresh endpoint did not answer.
    Unreachable,
    /// The refresh endpoint answered with a server error.
    ServerError,
    /// Another reason, or none.
    Other,
}

impl DeviceSkipped {
    /// Returns the reason's name, in snake case.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::QuotaExceeded => "quota_exceeded",
            Self::Unreachable => "unreachable",
            Self::ServerError => "server_error",
            Self::Other => "other",
        }
    }
}

impl From<&[u8]> for DeviceSkipped {
    /// Reads a header's value; of a list, the last reason that is known counts.
    fn from(value: &[u8]) -> Self {
        let known = [Self::QuotaExceeded, Self::Unreachable, Self::ServerError];
        value
            .split(|byte| *byte == b',')
            .filter_map(|item| item.split(|byte| *byte == b';').next())
            .filter_map(|token| known.into_iter().find(|reason| token.trim_ascii() == reason.name().as_bytes()))
            .next_back()
            .unwrap_or(Self::Other)
    }
}

impl fmt::Display for DeviceSkipped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
