//! The errors of a configuration.

use std::time::Duration;

use secure_sessions_core::{ContextError, SizeError, debug_as_display};

use crate::keyring::KeySourceError;

/// A configuration that cannot work.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// Browsers would drop the cookie, or interpret it differently.
    #[error("the cookie `{name}`: {problem}")]
    Cookie {
        /// The cookie's name.
        name: String,
        /// The problem, and what to change.
        problem: String,
    },
    /// The limits cannot hold a session.
    #[error(transparent)]
    Size(#[from] SizeError),
    /// The name is too long to seal with.
    #[error(transparent)]
    Context(#[from] ContextError),
    /// A duration is zero, or unreasonably long.
    #[error("{setting} is {}: {problem}", human(*.value))]
    Time {
        /// The setting.
        setting: &'static str,
        /// Its value.
        value: Duration,
        /// The problem, and what to change.
        problem: &'static str,
    },
    /// The header for bearer tokens cannot be used, or sessions have no transport at all.
    #[error("the bearer transport with the header `{header}`: {problem}")]
    Bearer {
        /// The header's name.
        header: &'static str,
        /// The problem, and what to change.
        problem: &'static str,
    },
    /// The binding names no property, or an impossible prefix.
    #[error("the binding: {problem}")]
    Binding {
        /// The problem, and what to change.
        problem: &'static str,
    },
    /// The binding to devices cannot work with these paths, or with this cookie.
    #[error("device_bound: {problem}")]
    Device {
        /// The problem, and what to change.
        problem: &'static str,
    },
    /// The binding of bearer tokens to keys cannot work with the other settings, or names no valid origin.
    #[error("dpop: {problem}")]
    Dpop {
        /// The problem, and what to change.
        problem: &'static str,
    },
    /// The session limit is zero.
    #[error("session_limit is 0: nobody could log in; leave it out, or allow at least one session")]
    SessionLimit,
    /// Values are to spill over, and there is no vault for them.
    #[error("spill_over is set, and there is no vault for large values to go to; call `vault(store)` too")]
    NoVault,
    /// A header's name is invalid.
    #[error("{setting} is `{name}`: a header's name is written in lower case, of letters, digits and `-`")]
    Header {
        /// The setting.
        setting: &'static str,
        /// Its value.
        name: &'static str,
    },
    /// The login page's URL cannot stand in a header.
    #[error("login_url is `{url}`: it must be visible ASCII without a fragment, such as `/login`")]
    LoginUrl {
        /// Its value.
        url: String,
    },
    /// The keyring could not be loaded.
    #[error(transparent)]
    Keys(#[from] KeySourceError),
}

debug_as_display!(BuildError);

fn human(value: Duration) -> String {
    format!("{value:?}")
}
