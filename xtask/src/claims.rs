//! Checks that every test that the documentation names exists.
//!
//! A claim names its tests as ``test: `name` `` or ``tests: `name`, `other` ``. Each row of the guide's guarantees
//! must name one. Each line of the standards that the project answers to must have a row in the guide, with an answer
//! that names one too. And no test may have a name that is too long.

mod names;

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};

use crate::workspace;

/// The guide's chapter whose guarantees are claims.
const THREAT_MODEL: &str = "crates/session/src/guide/threat_model.md";

/// The section of that chapter whose table rows are claims.
const GUARANTEES: &str = "## What it guarantees";

/// The guide's chapter whose rows answer the standards.
const STANDARDS: &str = "crates/session/src/guide/standards.md";

/// The lines of the standards; each begins the first cell of at least one row.
const LINES: &[&str] = &[
    "3.3.1",
    "3.3.2",
    "3.3.3",
    "3.3.4",
    "3.3.5",
    "7.1.1",
    "7.1.2",
    "7.1.3",
    "7.2.1",
    "7.2.2",
    "7.2.3",
    "7.2.4",
    "7.3.1",
    "7.3.2",
    "7.4.1",
    "7.4.2",
    "7.4.3",
    "7.4.4",
    "7.4.5",
    "7.5.1",
    "7.5.2",
    "7.5.3",
    "9.1.1",
    "9.1.2",
    "9.1.3",
    "9.2.1",
    "9.2.2",
    "9.2.3",
    "9.2.4",
    "11.2.1",
    "11.2.2",
    "11.2.3",
    "11.2.4",
    "11.2.5",
    "11.3.1",
    "11.3.2",
    "11.3.3",
    "11.3.4",
    "11.3.5",
    "14.2.1",
    "14.3.1",
    "14.3.2",
    "14.3.3",
    "16.2.5",
    "16.5.2",
    "16.5.3",
    "WSTG-SESS-01",
    "WSTG-SESS-02",
    "WSTG-SESS-03",
    "WSTG-SESS-04",
    "WSTG-SESS-05",
    "WSTG-SESS-06",
    "WSTG-SESS-07",
    "WSTG-SESS-08",
    "WSTG-SESS-09",
    "WSTG-SESS-10",
    "WSTG-SESS-11",
    "5.1",
    "5.1.1",
    "5.2",
    "5.6",
    "5.7",
    "4.14.2",
];

pub(crate) fn check() -> Result<()> {
    let tests = all_tests()?;
    let mut complaints = names::complaints(&tests);
    let mut named = 0;
    for path in documents()? {
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let shown = path.strip_prefix(workspace::root()).unwrap_or(&path).display().to_string();
        for (line, name) in claims(&text) {
            named += 1;
            if !tests.contains(name) {
                complaints.push(format!("{shown}:{line}: there is no test `{name}`"));
            }
        }
        if shown == THREAT_MODEL {
            let rows = unproven_rows(&text);
            complaints.extend(rows.iter().map(|(line, row)| format!("{shown}:{line}: this row names no test: {row}")));
        }
        if shown == STANDARDS {
            complaints.extend(unanswered(&text).into_iter().map(|complaint| format!("{shown}: {complaint}")));
        }
    }
    ensure!(complaints.is_empty(), "{}", complaints.join("\n"));
    ensure!(named > 0, "no document names a test");
    println!("{named} claims, all with a test among the {} of the tree", tests.len());
    Ok(())
}

fn documents() -> Result<Vec<PathBuf>> {
    let mut documents = workspace::files(&["docs", "crates", "examples"], "md")?;
    for name in ["README.md", "SECURITY.md"] {
        documents.push(workspace::root().join(name));
    }
    Ok(documents)
}

fn all_tests() -> Result<BTreeSet<String>> {
    let mut tests = BTreeSet::new();
    for path in workspace::files(&["crates", "examples", "xtask"], "rs")? {
        let source = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        tests.extend(tests_of(&source).into_iter().map(str::to_owned));
    }
    Ok(tests)
}

/// The names that a text claims as tests, each with its line.
fn claims(text: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    for (index, line) in text.lines().enumerate() {
        for opening in ["test: `", "tests: `"] {
            let whole_words =
                line.match_indices(opening).filter(|(at, _)| !line[..*at].ends_with(char::is_alphanumeric));
            for (at, _) in whole_words {
                let mut rest = &line[at + opening.len() - 1..];
                while let Some((name, after)) = rest.strip_prefix('`').and_then(|rest| rest.split_once('`')) {
                    found.push((index + 1, name));
                    rest = after.trim_start_matches([',', ' ']);
                }
            }
        }
    }
    found
}

/// The rows of the guarantees' tables that name no test, each with its line.
fn unproven_rows(chapter: &str) -> Vec<(usize, &str)> {
    let is_rule = |line: &str| line.starts_with("| ---");
    let lines: Vec<&str> = chapter.lines().collect();
    let section = lines.iter().enumerate().skip_while(|(_, line)| **line != GUARANTEES).skip(1);
    let section = section.take_while(|(_, line)| !line.starts_with("## "));
    let rows = section.filter(|(index, line)| {
        let is_head = lines.get(index + 1).is_some_and(|next| is_rule(next));
        line.starts_with('|') && !is_head && !is_rule(line)
    });
    rows.filter(|(_, row)| claims(row).is_empty()).map(|(index, row)| (index + 1, *row)).collect()
}

/// Returns the gaps in the table of the standards: a line without a row, an empty cell, an answer that is neither of the
/// three kinds or names no test, a duty without its hook.
fn unanswered(chapter: &str) -> Vec<String> {
    let rows: Vec<Vec<&str>> = chapter
        .lines()
        .filter(|line| line.starts_with('|') && !line.starts_with("| ---") && !line.starts_with("| line "))
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
        .collect();
    let has_row = |line: &&str| rows.iter().any(|row| row[0].split(' ').next() == Some(line));
    let mut missing: Vec<String> =
        LINES.iter().filter(|line| !has_row(line)).map(|line| format!("{line} has no row")).collect();
    for row in &rows {
        let [line, demand, answer] = row[..] else {
            missing.push(format!("{}: expected three cells", row[0]));
            continue;
        };
        let kind = ["**Met**", "**Duty**", "**Stance**"].into_iter().find(|kind| answer.starts_with(kind));
        let before_tests = answer.split("test").next().unwrap_or_default();
        if line.is_empty() || demand.is_empty() || kind.is_none() {
            missing.push(format!("{line}: an empty cell, or an answer that is neither Met, Duty nor Stance"));
        } else if claims(answer).is_empty() {
            missing.push(format!("{line}: the answer names no test"));
        } else if kind == Some("**Duty**")
            && !before_tests.contains('`')
            && !before_tests.contains("TLS")
            && !before_tests.contains("guide::")
        {
            missing.push(format!("{line}: the duty names no hook"));
        }
    }
    missing
}

/// The names of the functions under a test attribute, and of those that a list makes into tests.
///
/// The acceptance suite writes each case once and lists its name, alone on a line, in a macro called `tests`, for every
/// adapter and store.
fn tests_of(source: &str) -> Vec<&str> {
    let is_list = source.contains("macro_rules! tests");
    let is_name = |line: &str| line.contains('_') && line.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    let mut found = Vec::new();
    let mut attributed = false;
    for line in source.lines().map(str::trim) {
        if is_list && is_name(line) {
            found.push(line);
        } else if line.starts_with("#[") {
            attributed |= is_test_attribute(line);
        } else if let Some(name) = function_name(line) {
            if attributed {
                found.push(name);
            }
            attributed = false;
        }
    }
    found
}

/// `#[test]`, `#[tokio::test]`, `#[tokio::test(..)]`, and `#[rocket::async_test]`.
fn is_test_attribute(line: &str) -> bool {
    let path = line.trim_start_matches("#[").split([']', '(']).next().unwrap_or_default();
    matches!(path.rsplit("::").next(), Some("test" | "async_test"))
}

fn function_name(line: &str) -> Option<&str> {
    let line = line.strip_prefix("pub ").unwrap_or(line);
    let line = line.strip_prefix("async ").unwrap_or(line);
    line.strip_prefix("fn ")?.split(['(', '<']).next()
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn a_claim_may_name_several_tests() {
        let text = "no\n| a | b | tests: `one`, `two` |\ntest: `three` and `not this`; attest: `nor this`";
        assert_eq!(claims(text), [(2, "one"), (2, "two"), (3, "three")]);
    }

    #[test]
    fn only_functions_under_a_test_attribute_are_tests() {
        let source = "
            #[test]
            fn plain() {}
            fn helper() {}
            #[tokio::test(flavor = \"multi_thread\")]
            #[expect(dead_code)]
            async fn with_runtime() {}
            #[rocket::async_test]
            async fn of_rocket() {}
            #[cfg(test)]
            fn configured() {}
        ";
        assert_eq!(tests_of(source), ["plain", "with_runtime", "of_rocket"]);
    }

    #[test]
    fn the_cases_that_a_suite_lists_are_tests() {
        let source = "macro_rules! tests { () => {} }\ntests! {\n  cookie:\n    c01_a_case\n    c02_b_case\n  ;\n}";
        assert_eq!(tests_of(source), ["c01_a_case", "c02_b_case"]);
        assert!(tests_of(source.trim_start_matches("macro_rules! ")).is_empty());
    }

    #[test]
    fn a_line_of_a_standard_without_an_answer_is_found() {
        let rows: String = LINES.iter().map(|line| format!("| {line} (x) | y | **Met**. test: `a_b` |\n")).collect();
        assert_eq!(unanswered(&rows), [""; 0]);
        let (first, rest) = rows.split_once('\n').unwrap_or_default();
        assert_eq!(unanswered(rest), [format!("{} has no row", LINES[0])]);
        for (answer, complaint) in [
            ("", "empty cell"),
            ("Met. test: `a_b`", "neither"),
            ("**Met**.", "names no test"),
            ("**Duty**: do it. test: `a_b`", "no hook"),
        ] {
            let row = first.replace("**Met**. test: `a_b`", answer);
            let found = unanswered(&format!("{row}\n{rest}"));
            assert!(found.len() == 1 && found[0].contains(complaint), "{answer}: {found:?}");
        }
    }

    #[test]
    fn a_guarantee_without_a_test_is_found() {
        let chapter = "
# x
| not | here |
## What it guarantees
| the attacker has | outcome | shown by |
| --- | --- | --- |
| a | b | test: `c` |
| d | e | |

| | shown by |
| --- | --- |
| f | no test |
## Next
| g | h | |";
        assert_eq!(unproven_rows(chapter), [(8, "| d | e | |"), (12, "| f | no test |")]);
    }
}
