//! The suite's results: a line per case in a file, and the table of adapters and cases that is made of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::Write;

use serde_json::{Value, json};

/// The variable that names the file.
pub const VARIABLE: &str = "ACCEPTANCE_REPORT";

/// Appends one result, if the variable names a file.
///
/// # Errors
///
/// Those of the file.
pub fn append(adapter: &str, store: &str, case: &str, passed: bool) -> std::io::Result<()> {
    let Some(path) = std::env::var_os(VARIABLE).filter(|path| !path.is_empty()) else { return Ok(()) };
    let line = json!({ "adapter": adapter, "store": store, "case": case, "passed": passed });
    // One write per line: tests run in parallel.
    OpenOptions::new().create(true).append(true).open(path)?.write_all(format!("{line}\n").as_bytes())
}

/// The outcomes of one line of the checklist on one subject.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Cell {
    passed: u32,
    failed: u32,
}

impl Cell {
    fn text(self) -> String {
        match self {
            Self { passed: 0, failed: 0 } => "-".to_owned(),
            Self { failed: 0, .. } => "ok".to_owned(),
            Self { failed, .. } => format!("FAIL {failed}"),
        }
    }
}

/// The table of a results file: a row per line of the checklist, a column per adapter and store. The last result of
/// a case counts. Also whether every case passed, and there is one.
#[must_use]
pub fn table(results: &str) -> (String, bool) {
    let mut latest: BTreeMap<(String, String), bool> = BTreeMap::new();
    for line in results.lines() {
        let Ok(result) = serde_json::from_str::<Value>(line) else { continue };
        let field = |name: &str| result[name].as_str().unwrap_or_default().to_owned();
        let subject = format!("{}/{}", field("adapter"), field("store"));
        latest.insert((subject, field("case")), result["passed"] == true);
    }
    let subjects: BTreeSet<&str> = latest.keys().map(|(subject, _)| subject.as_str()).collect();
    let mut rows: BTreeMap<String, BTreeMap<&str, Cell>> = BTreeMap::new();
    for ((subject, case), passed) in &latest {
        let cell = rows.entry(line_of(case).to_owned()).or_default().entry(subject).or_default();
        *(if *passed { &mut cell.passed } else { &mut cell.failed }) += 1;
    }

    let mut text = format!("{:<8}", "line");
    // Writing to a String cannot fail.
    subjects.iter().for_each(|subject| _ = write!(text, "{subject:>16}"));
    text.push('\n');
    for (line, cells) in &rows {
        _ = write!(text, "{line:<8}");
        for subject in &subjects {
            _ = write!(text, "{:>16}", cells.get(subject).copied().unwrap_or_default().text());
        }
        text.push('\n');
    }
    let failed: Vec<_> = latest.iter().filter(|(_, passed)| !**passed).collect();
    _ = writeln!(text, "{} of {} cases passed", latest.len() - failed.len(), latest.len());
    for ((subject, case), _) in &failed {
        _ = writeln!(text, "failed: {subject} {case}");
    }
    (text, failed.is_empty() && !latest.is_empty())
}

/// Returns a case's line of the checklist: `c03` of `c03_the_first_insert_...`.
#[must_use]
pub fn line_of(case: &str) -> &str {
    case.split('_').next().unwrap_or(case)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_passes_when_all_its_cases_do_and_the_last_result_counts() {
        let result = |store: &str, case: &str, passed: bool| {
            json!({ "adapter": "axum", "store": store, "case": case, "passed": passed }).to_string()
        };
        let results = [
            result("memory", "c01_a", false),
            result("memory", "c01_a", true),
            result("memory", "c02_a", true),
            result("memory", "c02_b", false),
            result("sqlite", "c02_a", true),
        ]
        .join("\n");
        let (text, passed) = table(&results);
        assert!(!passed);
        let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(rows[0], ["line", "axum/memory", "axum/sqlite"]);
        assert_eq!(rows[1], ["c01", "ok", "-"]);
        assert_eq!(rows[2], ["c02", "FAIL", "1", "ok"]);
        assert_eq!(rows[3].join(" "), "3 of 4 cases passed");
        assert_eq!(rows[4].join(" "), "failed: axum/memory c02_b");
        assert!(!table("").1, "no results at all are no success");
    }
}
