//! The names of keys. The part in braces decides the slot of a cluster that a key is in.

use secure_sessions_core::{GroupTag, SessionId, SubjectTag, VaultId};

use crate::{StoreError, Tag};

const LONGEST_PREFIX: usize = 64;
const ENTRY: &str = "}";
const SUBJECT: &str = "}:subject";
const GROUP: &str = "}:group";
const VAULT: &str = "}:vault";
const NOT_BEFORE: &str = "}:not-before";
/// Tags in the middle of each third of a cluster's slots.
const THIRDS: [&str; 3] = ["76", "716", "26"];
/// Each byte in hexadecimal: a key is made for every call.
const PAIRS: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f\
     303132333435363738393a3b3c3d3e3f404142434445464748494a4b4c4d4e4f505152535455565758595a5b5c5d5e5f\
     606162636465666768696a6b6c6d6e6f707172737475767778797a7b7c7d7e7f808182838485868788898a8b8c8d8e8f\
     909192939495969798999a9b9c9d9e9fa0a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3b4b5b6b7b8b9babbbcbdbebf\
     c0c1c2c3c4c5c6c7c8c9cacbcccdcecfd0d1d2d3d4d5d6d7d8d9dadbdcdddedfe0e1e2e3e4e5e6e7e8e9eaebecedeeef\
     f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff";

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

    /// Returns keys that are never used, on several shards of a cluster.
    pub(super) fn unused_in_a_cluster(&self) -> [String; 3] {
        THIRDS.map(|tag| format!("{}{tag}{ENTRY}", self.head))
    }

    /// Returns the key of the times before which tokens are refused. It has no braces, so it is no session's and no index.
    pub(super) fn not_before(&self) -> String {
        format!("{}not-before", self.prefix())
    }

    /// Returns the keys of these times in a cluster: on several shards, so that one that is down does not hide them.
    pub(super) fn not_before_in_a_cluster(&self) -> [String; 3] {
        THIRDS.map(|tag| format!("{}{tag}{NOT_BEFORE}", self.head))
    }

    /// Returns the key of a session's record or tombstone.
    pub(super) fn entry(&self, id: &SessionId) -> String {
        self.key(id.as_bytes(), ENTRY)
    }

    /// Returns the key of the ids of the sessions with a tag.
    pub(super) fn index(&self, tag: &Tag) -> String {
        let tail = match tag {
            Tag::Subject(_) => SUBJECT,
            Tag::Group(_) => GROUP,
        };
        self.key(tag.as_bytes(), tail)
    }

    /// Returns the key of a vault's values.
    pub(super) fn vault(&self, vault: &VaultId) -> String {
        self.key(vault.as_bytes(), VAULT)
    }

    /// Returns a pattern for all entries and no index: entries end with the brace.
    pub(super) fn all_entries(&self) -> String {
        format!("{}*{ENTRY}", self.head)
    }

    /// Returns a pattern for all indexes.
    pub(super) fn all_indexes(&self) -> String {
        format!("{}*}}:[sg]*", self.head)
    }

    /// Returns the id in an entry's key, or `None` if it is not one.
    pub(super) fn id(&self, key: &[u8]) -> Option<SessionId> {
        self.bytes(key, ENTRY).map(SessionId::from_bytes)
    }

    /// Returns the tag in an index's key, or `None` if it is not one.
    pub(super) fn tag_of(&self, key: &[u8]) -> Option<Tag> {
        let subject = self.bytes(key, SUBJECT).map(SubjectTag::from_bytes).map(Tag::Subject);
        subject.or_else(|| self.bytes(key, GROUP).map(GroupTag::from_bytes).map(Tag::Group))
    }

    fn key(&self, bytes: &[u8; 16], tail: &str) -> String {
        let mut key = String::with_capacity(self.head.len() + 32 + tail.len());
        key.push_str(&self.head);
        for byte in bytes {
            let at = 2 * usize::from(*byte);
            key.push_str(&PAIRS[at..at + 2]);
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

    use super::super::shards::slot;
    use super::*;

    #[test]
    fn an_id_is_read_back_from_its_key_and_from_no_other() {
        let keys = Keys::new("shop:sessions").unwrap();
        let id = SessionId::from_bytes(*b"\x00\x01\xfe\xff\x10abcdefghij\x7f");
        let key = keys.entry(&id);
        assert_eq!(key, "shop:sessions:{0001feff106162636465666768696a7f}");
        assert_eq!(keys.id(key.as_bytes()), Some(id));
        let (subject, group) =
            (Tag::Subject(SubjectTag::from_bytes([7; 16])), Tag::Group(GroupTag::from_bytes([7; 16])));
        let indexes = [keys.index(&subject), keys.index(&group)];
        assert_eq!(indexes.clone().map(|index| keys.tag_of(index.as_bytes())), [Some(subject), Some(group)]);
        assert_eq!(keys.tag_of(key.as_bytes()), None);
        for other in
            [indexes[0].as_str(), indexes[1].as_str(), "shop:sessions:{00}", "shop:{0001feff106162636465666768696a7f}"]
        {
            assert_eq!(keys.id(other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn the_three_keys_of_a_cluster_s_not_before_are_a_third_of_the_slots_apart() {
        let keys = Keys::new("shop:sessions").unwrap().not_before_in_a_cluster();
        assert_eq!(keys[0], "shop:sessions:{76}:not-before");
        assert_eq!(keys.map(|key| slot(key.as_bytes())), [2711, 8196, 13_666]);
    }

    #[test]
    fn a_prefix_that_a_cluster_or_a_pattern_would_read_is_refused() {
        for prefix in ["", "a{b", "a}", "a*", "a?", "a[b]", "a b", "ä", &"a".repeat(65)] {
            assert!(Keys::new(prefix).is_err(), "{prefix}");
        }
    }
}
