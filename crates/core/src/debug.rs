//! `Debug` of errors that a program may return from `main`.

/// Implements `Debug` as `Display` for errors that a program may return from `main`, which prints `Debug`.
#[doc(hidden)]
#[macro_export]
macro_rules! debug_as_display {
    ($($error:ident),*) => {
        $(impl ::core::fmt::Debug for $error {
            fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                ::core::fmt::Display::fmt(self, f)
            }
        })*
    };
}

use crate::context::ContextError;
use crate::data::DataError;
use crate::ids::{InvalidHandle, RandomError};
use crate::keyring::KeyringError;
use crate::keys::KeyParseError;
use crate::meta::MetaError;
use crate::references::VaultError;
use crate::sealer::SealError;
use crate::sizes::SizeError;
use crate::tags::LabelError;

debug_as_display!(
    ContextError,
    DataError,
    InvalidHandle,
    KeyParseError,
    KeyringError,
    LabelError,
    MetaError,
    RandomError,
    SealError,
    SizeError,
    VaultError
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_that_main_returns_is_printed_as_its_message() {
        let error =
            KeyringError::Parse { kind: "seal", position: 1, source: "x".parse::<crate::SealKey>().unwrap_err() };
        assert_eq!(format!("{error:?}"), error.to_string());
        assert!(format!("{error:?}").contains("SealKey::generate"), "{error:?}");
        let error = SizeError::TooSmall { limit: 1, needed: 2 };
        assert_eq!(format!("{error:?}"), error.to_string());
    }
}
