//! The data of flash messages, and a request's changes to those that wait.

use std::fmt;

use secure_sessions_core::{Meta, decode, encode};
use serde::{Deserialize, Serialize};

/// The maximum number of waiting messages; the oldest beyond it are dropped.
pub const MAX_FLASHES: usize = 8;

/// The kind of a message, for the page that shows it. Serialises as a word in lower case, such as `"warning"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum FlashLevel {
    /// Information for the user.
    Info,
    /// Success of an action.
    Success,
    /// Warning that the user should act on.
    Warning,
    /// Failure of an action.
    Error,
}

impl FlashLevel {
    /// Returns the level's name in lower case, for use as a CSS class.
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

impl fmt::Display for FlashLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A message for the next page.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Flash {
    /// The kind of the message.
    pub level: FlashLevel,
    /// The text to show. It is plain text: your page must escape it, like all other data.
    pub text: String,
}

/// A message as a token keeps it: its level is a number, which takes less room than a word.
#[derive(Serialize, Deserialize)]
struct Kept {
    level: u8,
    text: String,
}

/// One request's changes to the waiting messages. They are applied to the newest messages at commit, so that a message
/// which another request added meanwhile is not lost.
#[derive(Clone, Default)]
pub(crate) struct FlashChanges {
    /// The messages that this request read.
    taken: Vec<Flash>,
    /// The messages that this request added and did not read again.
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
        let kept: Vec<_> =
            waiting.into_iter().map(|Flash { level, text }| Kept { level: level.into(), text }).collect();
        // Encoding does not fail for texts and small numbers.
        meta.flash = if kept.is_empty() { None } else { encode(&kept).ok().map(|encoded| encoded.to_vec()) };
    }

    /// Marks all messages that this request sees as read.
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

    /// Removes the changes that an earlier attempt already committed. Its messages may have been read since.
    pub(crate) fn drop_committed(&mut self, carried: &Self) {
        self.taken.drain(..carried.taken.len().min(self.taken.len()));
        for flash in &carried.added {
            match self.added.iter().position(|added| added == flash) {
                Some(index) => {
                    self.added.remove(index);
                }
                // Added by the attempt that succeeded, and read since: the store still has it.
                None => self.taken.push(flash.clone()),
            }
        }
    }

    /// Returns these changes followed by `later`.
    pub(crate) fn then(mut self, mut later: Self) -> Self {
        self.taken.append(&mut later.taken);
        self.added.append(&mut later.added);
        self
    }
}

/// Returns the messages in a token. An entry that does not decode was written by a later version: it is ignored, and
/// the next change overwrites it.
pub(crate) fn waiting(meta: &Meta) -> Vec<Flash> {
    let kept: Vec<Kept> = meta.flash.as_deref().and_then(|encoded| decode(encoded).ok()).unwrap_or_default();
    let read = |Kept { level, text }| Some(Flash { level: level.try_into().ok()?, text });
    kept.into_iter().map(read).collect::<Option<_>>().unwrap_or_default()
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
    fn a_committed_message_is_neither_added_twice_nor_kept_if_read_since() {
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
