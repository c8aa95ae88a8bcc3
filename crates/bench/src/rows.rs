//! The file that one program of the benchmark hands to the next: a row for each case, with a name and numbers.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// A case's name and its numbers.
pub type Row = (String, Vec<f64>);

/// Writes the rows, separated by tabs.
///
/// # Errors
///
/// If the file cannot be written.
pub fn write(path: &Path, rows: &[Row]) -> Result<()> {
    let lines = rows.iter().map(|(name, numbers)| {
        let numbers: Vec<String> = numbers.iter().map(f64::to_string).collect();
        format!("{name}\t{}\n", numbers.join("\t"))
    });
    fs::write(path, lines.collect::<String>()).with_context(|| format!("cannot write {}", path.display()))
}

/// Reads what [`write()`] wrote.
///
/// # Errors
///
/// If the file cannot be read, or is not one of rows.
pub fn read(path: &Path) -> Result<Vec<Row>> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    text.lines().map(|line| row(line).with_context(|| format!("{}: {line}", path.display()))).collect()
}

fn row(line: &str) -> Result<Row> {
    let mut fields = line.split('\t');
    let name = fields.next().unwrap_or_default().to_owned();
    let numbers = fields.map(str::parse).collect::<Result<_, _>>().context("not a number")?;
    Ok((name, numbers))
}

/// The numbers of the row with this name.
#[must_use]
pub fn find<'a>(rows: &'a [Row], name: &str) -> Option<&'a [f64]> {
    rows.iter().find(|(found, _)| found == name).map(|(_, numbers)| numbers.as_slice())
}
