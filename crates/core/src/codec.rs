//! The values of a session as CBOR: from serde and to serde.
//!
//! Both directions call themselves human-readable. Serde reads the content of an untagged, an internally tagged or a
//! flattened type into a buffer first, and that buffer always calls itself human-readable: with a writer that does not, an
//! `IpAddr` in such a type could be written, but never read.
//!
//! The only types left that such a buffer cannot return are `u128` and `i128`, which serde does not buffer at all.

pub(crate) use self::decode::from_slice;
pub(crate) use self::encode::to_writer;
pub(crate) use self::error::CodecError;
pub(crate) use self::json::{push_string, to_json};

mod decode;
mod encode;
mod error;
mod json;
#[cfg(test)]
mod tests;
