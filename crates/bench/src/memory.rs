//! MemoryStore with a million sessions and more: what it takes, how fast it is, and how long it lets anyone wait.

pub mod growth;
pub mod resident;
pub(crate) mod sample;
pub mod stall;
pub(crate) mod system;

use crate::rows::Row;

/// What a part has found, for people and for programs.
#[derive(Debug, Default)]
pub struct Found {
    /// Lines of text.
    pub text: String,
    /// The same as numbers.
    pub rows: Vec<Row>,
}

impl Found {
    fn line(text: String, name: impl Into<String>, numbers: &[f64]) -> Self {
        Self { text, rows: vec![(name.into(), numbers.to_vec())] }
    }

    fn add(&mut self, other: Self) {
        self.text += &other.text;
        self.rows.extend(other.rows);
    }
}
