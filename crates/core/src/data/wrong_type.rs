//! The error of a value that is of another type than asked for.

use core::any::type_name;
use core::fmt;

use crate::codec::CodecError;

/// The reason why a stored value could not be read as a type: its key, the field, and what serde said.
///
/// No part of the value is in it, so you can log it. The key is: put no data of a user into a key.
#[derive(Clone, PartialEq, Eq)]
pub struct WrongType {
    key: Option<String>,
    expected: &'static str,
    field: String,
    reason: String,
}

impl WrongType {
    pub(super) fn new<T>(error: &CodecError) -> Self {
        Self { key: None, expected: type_name::<T>(), field: error.path(), reason: error.reason().to_owned() }
    }

    pub(super) fn name(&mut self, key: &str) {
        self.key.get_or_insert_with(|| key.to_owned());
    }

    /// Returns the session key of the value, if it is known.
    #[must_use]
    pub fn key(&self) -> Option<&str> {
        self.key.as_deref()
    }

    /// Returns the name of the requested type.
    #[must_use]
    pub fn expected(&self) -> &'static str {
        self.expected
    }

    /// Returns the field that does not fit, as in Rust: `items[2].price`. Empty if it is the value itself.
    #[must_use]
    pub fn field(&self) -> &str {
        &self.field
    }

    /// Returns the reason in serde's words, without the value.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.reason
    }
}

impl fmt::Display for WrongType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, expected, field, reason } = self;
        match key {
            Some(key) => write!(f, "the value of `{key}`")?,
            None => f.write_str("the value")?,
        }
        write!(f, " is not a {expected}: ")?;
        if !field.is_empty() {
            write!(f, "{field}: ")?;
        }
        write!(f, "{reason}; it is left as it was")
    }
}

impl fmt::Debug for WrongType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl core::error::Error for WrongType {}
