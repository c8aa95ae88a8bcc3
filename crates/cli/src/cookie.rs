//! The name of the cookie, or of the header, that tokens are bound to.

use secure_sessions::Builder;

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

    /// Returns the bytes that the name takes of the limit of name and value.
    pub(crate) fn len(&self) -> usize {
        self.0.strip_prefix("bearer:").unwrap_or(&self.0).len()
    }

    /// Sets the name. The tool sends no cookie, so a name without the `__Host-` prefix needs no other setting to match.
    pub(crate) fn apply(&self, builder: Builder) -> Builder {
        if self.0.starts_with("bearer:") { builder } else { builder.cookie_name(self.0.clone()) }
    }
}
