//! The name of the cookie, or of the header, that tokens are bound to.

use secure_sessions::{Builder, Transport};

/// Tokens of one name are refused under another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CookieName(String);

impl CookieName {
    pub(crate) fn parse(name: String) -> Self {
        Self(name)
    }

    /// Returns the name that the token's mark covers.
    pub(crate) fn context(&self) -> &str {
        &self.0
    }

    /// Returns the way that tokens of this name travel.
    pub(crate) fn transport(&self) -> Transport {
        if self.0.starts_with("bearer:") { Transport::Bearer } else { Transport::Cookie }
    }

    /// Sets the name. The tool sends no cookie, so a name without the `__Host-` prefix needs no other setting to match.
    pub(crate) fn apply(&self, builder: Builder) -> Builder {
        match self.0.strip_prefix("bearer:") {
            // Named once for the whole life of the process.
            Some(header) => builder.bearer_header(header.to_owned().leak()),
            None => builder.cookie_name(self.0.clone()),
        }
    }
}
