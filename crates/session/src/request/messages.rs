//! The data of flash messages, and what a request does to those that wait.

use secure_sessions_core::{Meta, decode, encode};
use serde::{Deserialize, Serialize};

/// The most messages that wait at once; of more, the oldest are dropped.
pub const MAX_FLASHES: usize = 8;

/// How a page should show a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "u8", try_from = "u8")]
#[non_exhaustive]
pub enum FlashLevel {
    /// Something to know.
    Info,
    /// Something worked.
    Success,
    /// Something to look at.
    Warning,
    /// Something failed.
    Error,
}

impl FlashLevel {
    /// The level in lower case, as a style sheet may want it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Success => "success",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

impl From<FlashLevel> for u8 {
    fn from(level: FlashLevel) -> Self {
        match level {
            FlashLevel::Info => 0,
            FlashLevel::Success => 1,
            FlashLevel::Warning => 2,
            FlashLevel::Error => 3,
        }
    }
}

impl TryFrom<u8> for FlashLevel {
    type Error = &'static str;

    fn try_from(number: u8) -> Result<Self, &'static str> {
        match number {
            0 => Ok(Self::Info),
            1 => Ok(Self::Success),
            2 => Ok(Self::Warning),
            3 => Ok(Self::Error),
            _ => Err("no level of a flash message has this number"),
        }
    }
}

/// A message for the next page.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Flash {
    /// How to show it.
    pub level: FlashLevel,
    /// What to show. It is plain text: a page must escape it, as everything else.
    pub text: String,
}

/// What a request does to the messages that wait: applied to the newest ones at commit, so that a message which another
/// request left meanwhile is not lost.
#[derive(Clone, Default)]
pub(crate) struct FlashChanges {
    /// Those that were read.
    taken: Vec<Flash>,
    /// Those that were left, and not read again by the same request.
    pub(crate) added: Vec<Flash>,
}

impl FlashChanges {
    pub(crate) fn is_empty(&self) -> bool {
        self.taken.is_empty() && self.added.is_empty()
    }

    pub(crate) fn apply(&self, meta: &mut Meta) {
        if self.is_empty() {
            return;
        }
        let mut waiting = waiting(meta);
        for read in &self.taken {
            if let Some(index) = waiting.iter().position(|flash| flash == read) {
                waiting.remove(index);
            }
        }
        waiting.extend(self.added.iter().cloned());
        waiting.drain(..waiting.len().saturating_sub(MAX_FLASHES));
        // Texts and small numbers can always be encoded.
        meta.flash = if waiting.is_empty() { None } else { encode(&waiting).ok().map(|encoded| encoded.to_vec()) };
    }

    /// Reads all messages that wait as this request sees them.
    pub(crate) fn take(&mut self, waiting: &[Flash]) {
        for flash in waiting {
            match self.added.iter().position(|added| added == flash) {
                Some(index) => {
                    self.added.remove(index);
                }
                None => self.taken.push(flash.clone()),
            }
        }
    }

    /// Takes out what an earlier try already carried. What came since may have read some of it again.
    pub(crate) fn drop_committed(&mut self, carried: &Self) {
        self.taken.drain(..carried.taken.len().min(self.taken.len()));
        for flash in &carried.added {
            match self.added.iter().position(|added| added == flash) {
                Some(index) => {
                    self.added.remove(index);
                }
                // Left in the try that succeeded, and read since.
                None => self.taken.push(flash.clone()),
            }
        }
    }

    /// These changes, and then those.
    pub(crate) fn then(mut self, mut later: Self) -> Self {
        self.taken.append(&mut later.taken);
        self.added.append(&mut later.added);
        self
    }
}

/// The messages in a token. What cannot be read is of a later version: it is passed over, and goes with the next change.
pub(crate) fn waiting(meta: &Meta) -> Vec<Flash> {
    meta.flash.as_deref().and_then(|encoded| decode(encoded).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flash(text: &str) -> Flash {
        Flash { level: FlashLevel::Info, text: text.to_owned() }
    }

    fn meta(texts: &[&str]) -> Meta {
        let mut meta = Meta::default();
        let added = texts.iter().map(|text| flash(text)).collect();
        FlashChanges { added, ..FlashChanges::default() }.apply(&mut meta);
        meta
    }

    fn texts(meta: &Meta) -> Vec<String> {
        waiting(meta).into_iter().map(|flash| flash.text).collect()
    }

    #[test]
    fn a_message_that_came_meanwhile_is_not_taken_with_those_that_were_read() {
        let mut changes = FlashChanges::default();
        changes.take(&[flash("a")]);
        let mut newest = meta(&["a", "b", "a"]);
        changes.apply(&mut newest);
        assert_eq!(texts(&newest), ["b", "a"]);
    }

    #[test]
    fn of_too_many_messages_the_oldest_are_dropped() {
        let many: Vec<String> = (0..MAX_FLASHES + 2).map(|n| n.to_string()).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(texts(&meta(&many)), many[2..]);
    }

    #[test]
    fn the_last_message_read_leaves_no_trace() {
        let mut meta = meta(&["a"]);
        let mut changes = FlashChanges::default();
        changes.take(&waiting(&meta));
        changes.apply(&mut meta);
        assert!(meta == Meta::default());
    }

    #[test]
    fn what_a_settled_try_carried_is_neither_left_twice_nor_kept_if_it_was_read_since() {
        let carried = FlashChanges { added: vec![flash("a"), flash("b")], ..FlashChanges::default() };
        let mut since = carried.clone();
        since.take(&[flash("a")]);
        since.added.push(flash("c"));
        since.drop_committed(&carried);
        let mut newest = meta(&["a", "b"]);
        since.apply(&mut newest);
        assert_eq!(texts(&newest), ["b", "c"]);
    }

    #[test]
    fn messages_of_a_later_version_are_passed_over() {
        let mut meta = Meta::default();
        meta.flash =
            Some(vec![0x81, 0xa2, 0x65, b'l', b'e', b'v', b'e', b'l', 0x09, 0x64, b't', b'e', b'x', b't', 0x60]);
        assert_eq!(texts(&meta), [""; 0]);
    }
}
