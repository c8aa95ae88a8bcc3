//! The names of keys.
//!
//! ```text
//! PREFIX/s/ID                   a session or tombstone
//! PREFIX/i/TAG/ID/NONCE         a place in its subject's index
//! PREFIX/i/gTAG/ID/NONCE        a place in its group's index
//! PREFIX/d/DEADLINE/ID/NONCE    a place in the list of deadlines
//! PREFIX/v/VAULT                the list of a vault's blobs
//! PREFIX/b/VAULT/BLOB           a blob
//! PREFIX/bd/DEADLINE/VAULT/BLOB a place of a blob in the list of deadlines
//! PREFIX/not-before             the time before which tokens are refused
//! ```
//!
//! All in lower-case hexadecimal digits, so that their order is that of the bytes.

use std::fmt::Write as _;
use std::ops::Range;

use secure_sessions_core::{BlobId, SessionId, Timestamp, VaultId};

use super::value::Nonce;
use crate::{StoreError, Tag};

const LONGEST_PREFIX: usize = 64;
/// The next character after the `/` between two parts.
const AFTER_SLASH: char = '0';
/// The character after all digits.
const AFTER_DIGITS: char = 'g';

pub(super) struct Keys {
    prefix: String,
}

impl Keys {
    pub(super) fn new(prefix: &str) -> Result<Self, StoreError> {
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
        if prefix.is_empty() || prefix.len() > LONGEST_PREFIX || !prefix.bytes().all(is_allowed) {
            return Err(StoreError::rejected(format!(
                "the prefix {prefix:?} is not 1 to {LONGEST_PREFIX} letters, digits and -_.:"
            )));
        }
        Ok(Self { prefix: prefix.to_owned() })
    }

    /// Returns the key of the time before which tokens are refused.
    pub(super) fn not_before(&self) -> String {
        format!("{}/not-before", self.prefix)
    }

    /// Returns the key of a session.
    pub(super) fn entry(&self, id: &SessionId) -> String {
        format!("{}/s/{}", self.prefix, hex(id.as_bytes()))
    }

    /// Returns the range of all sessions.
    pub(super) fn entries(&self) -> Range<String> {
        self.below("s")
    }

    /// Returns the id in the key of a session.
    pub(super) fn id(&self, key: &str) -> Option<SessionId> {
        unhex(key.rsplit('/').next()?).map(SessionId::from_bytes)
    }

    /// Returns the key of a place in a tag's index.
    pub(super) fn place(&self, tag: &Tag, id: &SessionId, nonce: Nonce) -> String {
        format!("{}/{}/{}/{}", self.prefix, index(tag), hex(id.as_bytes()), hex(&nonce))
    }

    /// Returns the range of a tag's index after an id.
    pub(super) fn places(&self, tag: &Tag, after: Option<&SessionId>) -> Range<String> {
        let mut range = self.below(&index(tag));
        if let Some(after) = after {
            range.start = format!("{}{}{AFTER_SLASH}", range.start, hex(after.as_bytes()));
        }
        range
    }

    /// Returns the id in the key of a place in an index.
    pub(super) fn id_of_place(&self, key: &str) -> Option<SessionId> {
        unhex(key.rsplit('/').nth(1)?).map(SessionId::from_bytes)
    }

    /// Returns the key of a place in the list of deadlines.
    pub(super) fn deadline(&self, at: Timestamp, id: &SessionId, nonce: Nonce) -> String {
        format!("{}/d/{:016x}/{}/{}", self.prefix, at.as_millis(), hex(id.as_bytes()), hex(&nonce))
    }

    /// Returns the range of the sessions' deadlines up to and including a time.
    pub(super) fn deadlines_until(&self, now: Timestamp) -> Range<String> {
        self.until("d", now)
    }

    /// Returns the id and the nonce in the key of a place in the list of deadlines.
    pub(super) fn of_deadline(&self, key: &str) -> Option<(SessionId, Nonce)> {
        let mut parts = key.rsplit('/');
        let nonce = unhex(parts.next()?)?;
        Some((SessionId::from_bytes(unhex(parts.next()?)?), nonce))
    }

    /// Returns the key of the list of a vault's blobs.
    pub(super) fn vault(&self, vault: &VaultId) -> String {
        format!("{}/v/{}", self.prefix, hex(vault.as_bytes()))
    }

    /// Returns the key of a blob.
    pub(super) fn blob(&self, vault: &VaultId, id: &BlobId) -> String {
        format!("{}/b/{}/{}", self.prefix, hex(vault.as_bytes()), hex(id.as_bytes()))
    }

    /// Returns the key of a blob's place in the list of deadlines.
    pub(super) fn blob_deadline(&self, at: Timestamp, vault: &VaultId, id: &BlobId) -> String {
        let (vault, id) = (hex(vault.as_bytes()), hex(id.as_bytes()));
        format!("{}/bd/{:016x}/{vault}/{id}", self.prefix, at.as_millis())
    }

    /// Returns the range of the blobs' deadlines up to and including a time.
    pub(super) fn blob_deadlines_until(&self, now: Timestamp) -> Range<String> {
        self.until("bd", now)
    }

    /// Returns the vault and the blob in the key of a place in the list of deadlines.
    pub(super) fn of_blob_deadline(&self, key: &str) -> Option<(VaultId, BlobId)> {
        let mut parts = key.rsplit('/');
        let id = BlobId::from_bytes(unhex(parts.next()?)?);
        Some((VaultId::from_bytes(unhex(parts.next()?)?), id))
    }

    fn until(&self, folder: &str, now: Timestamp) -> Range<String> {
        let start = format!("{}/{folder}/", self.prefix);
        let end = format!("{start}{:016x}{AFTER_SLASH}", now.as_millis());
        start..end
    }

    fn below(&self, folder: &str) -> Range<String> {
        let start = format!("{}/{folder}/", self.prefix);
        let end = format!("{start}{AFTER_DIGITS}");
        start..end
    }
}

/// Returns the folder of a tag's index.
fn index(tag: &Tag) -> String {
    let kind = match tag {
        Tag::Subject(_) => "",
        Tag::Group(_) => "g",
    };
    format!("i/{kind}{}", hex(tag.as_bytes()))
}

/// Returns the first key after this one.
pub(super) fn behind(key: &str) -> String {
    format!("{key}\0")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    if text.len() != 2 * N || !text.is_ascii() {
        return None;
    }
    let mut bytes = [0; N];
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).ok()?;
    }
    Some(bytes)
}
