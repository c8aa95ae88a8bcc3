//! The names of keys. The part in braces decides the slot of a cluster that a key is in.

use secure_sessions_core::{SessionId, SubjectTag};

use crate::StoreError;

const LONGEST_PREFIX: usize = 64;
const ENTRY: &str = "}";
const SUBJECT: &str = "}:subject";

/// The keys of one store.
#[derive(Debug, Clone)]
pub(super) struct Keys {
    /// The prefix, the colon and the opening brace.
    head: String,
}

impl Keys {
    pub(super) fn new(prefix: &str) -> Result<Self, StoreError> {
        // Neither braces, which a cluster reads, nor characters of a pattern.
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
        if prefix.is_empty() || prefix.len() > LONGEST_PREFIX || !prefix.bytes().all(plain) {
            return Err(StoreError::rejected("invalid prefix: expected up to 64 of letters, digits and -_.:"));
        }
        Ok(Self { head: format!("{prefix}:{{") })
    }

    /// Returns the prefix of every key.
    pub(super) fn head(&self) -> &str {
        &self.head
    }

    /// Returns the part of every key before its braces.
    pub(super) fn prefix(&self) -> &str {
        self.head.trim_end_matches('{')
    }

    /// Returns a key that is never used.
    pub(super) fn unused(&self) -> String {
        format!("{}{ENTRY}", self.head)
    }

    /// Returns the key of a session's record or tombstone.
    pub(super) fn entry(&self, id: &SessionId) -> String {
        self.key(id.as_bytes(), ENTRY)
    }

    /// Returns the key of the ids of a subject's sessions.
    pub(super) fn subject(&self, subject: &SubjectTag) -> String {
        self.key(subject.as_bytes(), SUBJECT)
    }

    /// Returns a pattern for all entries and no index: entries end with the brace.
    pub(super) fn all_entries(&self) -> String {
        format!("{}*{ENTRY}", self.head)
    }

    /// Returns a pattern for all indexes.
    pub(super) fn all_subjects(&self) -> String {
        format!("{}*{SUBJECT}", self.head)
    }

    /// Returns the id in an entry's key, or `None` if it is not one.
    pub(super) fn id(&self, key: &[u8]) -> Option<SessionId> {
        self.bytes(key, ENTRY).map(SessionId::from_bytes)
    }

    /// Returns the subject in an index's key, or `None` if it is not one.
    pub(super) fn subject_of(&self, key: &[u8]) -> Option<SubjectTag> {
        self.bytes(key, SUBJECT).map(SubjectTag::from_bytes)
    }

    fn key(&self, bytes: &[u8; 16], tail: &str) -> String {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut key = String::with_capacity(self.head.len() + 32 + tail.len());
        key.push_str(&self.head);
        for byte in bytes {
            key.push(char::from(DIGITS[usize::from(byte >> 4)]));
            key.push(char::from(DIGITS[usize::from(byte & 15)]));
        }
        key.push_str(tail);
        key
    }

    fn bytes(&self, key: &[u8], tail: &str) -> Option<[u8; 16]> {
        let hex = key.strip_prefix(self.head.as_bytes())?.strip_suffix(tail.as_bytes())?;
        let mut bytes = [0; 16];
        if hex.len() != 32 {
            return None;
        }
        for (byte, digits) in bytes.iter_mut().zip(hex.chunks_exact(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
        }
        Some(bytes)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "helpers of tests")]

    use super::*;

    #[test]
    fn an_id_is_read_back_from_its_key_and_from_no_other() {
        let keys = Keys::new("shop:sessions").unwrap();
        let id = SessionId::from_bytes(*b"\x00\x01\xfe\xff\x10abcdefghij\x7f");
        let key = keys.entry(&id);
        assert_eq!(key, "shop:sessions:{0001feff106162636465666768696a7f}");
        assert_eq!(keys.id(key.as_bytes()), Some(id));
        let subject = SubjectTag::from_bytes([7; 16]);
        let index = keys.subject(&subject);
        assert_eq!(keys.subject_of(index.as_bytes()), Some(subject));
        for other in [index.as_str(), "shop:sessions:{00}", "shop:{0001feff106162636465666768696a7f}"] {
            assert_eq!(keys.id(other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn a_prefix_that_a_cluster_or_a_pattern_would_read_is_refused() {
        for prefix in ["", "a{b", "a}", "a*", "a?", "a[b]", "a b", "ä", &"a".repeat(65)] {
            assert!(Keys::new(prefix).is_err(), "{prefix}");
        }
    }
}
