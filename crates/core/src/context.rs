//! The context of a token: the cookie, or the header, that it travels in.

use crate::format::{MAX_CONTEXT_LEN, NONCE_AT, TOKEN_LABEL};

/// A context that is empty or too long.
#[derive(Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the cookie's or header's name has {length} bytes; it must have 1 to {MAX_CONTEXT_LEN}")]
pub struct ContextError {
    /// The length of the name in bytes.
    pub length: usize,
}

/// A context with its length in front, as every use needs it.
#[derive(Debug, Clone)]
pub(crate) struct Context(Vec<u8>);

impl Context {
    pub(crate) fn new(context: &str) -> Result<Self, ContextError> {
        let refused = ContextError { length: context.len() };
        if context.is_empty() || context.len() > MAX_CONTEXT_LEN {
            return Err(refused);
        }
        let length = u16::try_from(context.len()).map_err(|_| refused)?;
        let mut bytes = length.to_be_bytes().to_vec();
        bytes.extend_from_slice(context.as_bytes());
        Ok(Self(bytes))
    }

    /// Returns `u16 length | context`.
    pub(crate) fn with_length(&self) -> &[u8] {
        &self.0
    }

    #[inline]
    pub(crate) fn associated_data(&self, header: &[u8]) -> AssociatedData {
        AssociatedData::new([TOKEN_LABEL, header, self.with_length()])
    }
}

/// The associated data of a token, on the stack.
pub(crate) struct AssociatedData {
    bytes: [u8; Self::CAPACITY],
    length: usize,
}

impl AssociatedData {
    const CAPACITY: usize = TOKEN_LABEL.len() + NONCE_AT + 2 + MAX_CONTEXT_LEN;

    /// Joins the parts, one after another.
    #[inline]
    fn new<const N: usize>(parts: [&[u8]; N]) -> Self {
        let mut data = Self { bytes: [0; Self::CAPACITY], length: 0 };
        for part in parts {
            data.bytes[data.length..][..part.len()].copy_from_slice(part);
            data.length += part.len();
        }
        data
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}
