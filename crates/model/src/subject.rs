//! Whose a session is.

/// The subject of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Subject {
    Nobody,
    User,
    Other,
}

impl Subject {
    pub(crate) fn name(self) -> Option<&'static str> {
        match self {
            Self::Nobody => None,
            Self::User => Some("user"),
            Self::Other => Some("other"),
        }
    }
}
