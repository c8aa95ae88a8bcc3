//! The results of a benchmark, for programs: every table as JSON in `target/bench`, with the machine that it ran on.

mod machine;
mod page;

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

pub use self::machine::Machine;
pub use self::page::put;

/// The tables of one run of a benchmark.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Which benchmark it was: the name of its file.
    pub benchmark: String,
    /// The machine, the time and the versions.
    pub machine: Machine,
    /// The tables with the results.
    pub tables: Vec<Table>,
}

/// One question, and the answer's rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Table {
    /// The question.
    pub name: String,
    /// The meanings of a row's numbers, with their units.
    pub columns: Vec<String>,
    /// The answers.
    pub rows: Vec<Row>,
}

/// A row's name and its numbers, as many as there are columns; `None` where there is none.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// The name of the thing that was measured.
    pub name: String,
    /// The numbers.
    pub values: Vec<Option<f64>>,
}

impl Table {
    /// A table without rows.
    #[must_use]
    pub fn new(name: impl Into<String>, columns: &[&str]) -> Self {
        let columns = columns.iter().map(|column| (*column).to_owned()).collect();
        Self { name: name.into(), columns, rows: Vec::new() }
    }

    /// Adds a row. A number that is none (a ratio to nothing) is left out.
    pub fn push(&mut self, name: impl Into<String>, values: &[f64]) {
        let values = values.iter().map(|value| Some(*value).filter(|value| value.is_finite())).collect();
        self.rows.push(Row { name: name.into(), values });
    }
}

impl Report {
    /// A report of what was measured just now, here.
    #[must_use]
    pub fn new(benchmark: &str, tables: Vec<Table>) -> Self {
        Self { benchmark: benchmark.to_owned(), machine: Machine::this(), tables }
    }

    /// Writes it where the other programs of the benchmark look for it; says where.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub fn save(&self) -> Result<()> {
        let path = file(&self.benchmark)?;
        fs::write(&path, serde_json::to_string_pretty(self)?)
            .with_context(|| format!("cannot write {}", path.display()))?;
        eprintln!("== as JSON: {}", path.display());
        Ok(())
    }

    /// The report of the last run of a benchmark, if there was one.
    ///
    /// # Errors
    ///
    /// If it cannot be read, or is none.
    pub fn last(benchmark: &str) -> Result<Option<Self>> {
        let path = file(benchmark)?;
        if !path.exists() {
            return Ok(None);
        }
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(Some(serde_json::from_str(&text).with_context(|| format!("{} is no report", path.display()))?))
    }
}

/// Returns the path of a benchmark's report, and makes its folder.
fn file(benchmark: &str) -> Result<PathBuf> {
    let folder = package().join("../../target/bench");
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    Ok(folder.canonicalize()?.join(format!("{benchmark}.json")))
}

/// This package's folder, set by `cargo run`, and right for this clone even if another one built the program.
pub(crate) fn package() -> PathBuf {
    std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from)
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn a_report_is_read_as_it_was_written_and_a_number_that_is_none_is_left_out() {
        let mut table = Table::new("a question", &["nanoseconds", "ratio"]);
        table.push("ours", &[1.5, f64::NAN]);
        let report = Report::new("test", vec![table]);
        let text = serde_json::to_string(&report).expect("JSON");
        assert!(text.contains(r#""values":[1.5,null]"#), "{text}");
        assert_eq!(serde_json::from_str::<Report>(&text).expect("a report"), report);
    }
}
