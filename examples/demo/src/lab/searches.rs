//! The searches in the store, and their findings.

use crate::rows::Table;

/// The contents of the store, and the things that were looked for in it.
#[derive(Debug)]
pub struct StoreFindings {
    /// Each thing that was looked for.
    pub searches: Vec<Search>,
    /// Bytes of the database file and its write-ahead log.
    pub searched_bytes: usize,
    /// Every table, with its newest rows.
    pub tables: Vec<Table>,
}

/// One search through all bytes of the database.
#[derive(Debug)]
pub struct Search {
    /// The name of the thing.
    pub what: &'static str,
    /// Its text, as it is shown.
    pub shown: String,
    /// Set to `true` if it should be there: one is, to show that the search finds it.
    pub expected: bool,
    /// The number of times that it is there.
    pub found: usize,
}

impl StoreFindings {
    /// The number of bytes, with commas between its thousands.
    #[must_use]
    pub fn searched_bytes_text(&self) -> String {
        let digits = self.searched_bytes.to_string();
        let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
        for (index, digit) in digits.chars().enumerate() {
            if index > 0 && (digits.len() - index).is_multiple_of(3) {
                grouped.push(',');
            }
            grouped.push(digit);
        }
        grouped
    }
}
