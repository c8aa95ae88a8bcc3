//! A test's name is a sentence, and one that can be read at once.
//!
//! The names that are longer are listed in a file that may only shrink.

use std::collections::BTreeSet;

use anyhow::Result;

use crate::workspace;

/// The longest name of a test.
const MOST: usize = 72;

/// The names that are longer, in the root.
const KNOWN: &str = "xtask/long-test-names.txt";

/// What is wrong with the names of the tests, and with the list.
pub(super) fn complaints(tests: &BTreeSet<String>) -> Result<Vec<String>> {
    Ok(compare(tests, &workspace::list(KNOWN)?))
}

fn compare(tests: &BTreeSet<String>, known: &BTreeSet<String>) -> Vec<String> {
    let long: BTreeSet<String> = tests.iter().filter(|name| name.len() > MOST).cloned().collect();
    let new = long.difference(known).map(|name| format!("longer than {MOST} characters: {name}"));
    let gone = known.difference(&long).map(|name| format!("{KNOWN}: no long test is called so, remove it: {name}"));
    new.chain(gone).collect()
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn a_long_name_is_refused_unless_it_is_listed_and_the_list_only_shrinks() {
        let set = |names: &[&str]| names.iter().map(ToString::to_string).collect::<BTreeSet<_>>();
        let (fits, long) = ("x".repeat(MOST), "x".repeat(MOST + 1));
        assert!(compare(&set(&[&fits]), &set(&[])).is_empty());
        assert!(compare(&set(&[&fits, &long]), &set(&[&long])).is_empty());
        assert!(compare(&set(&[&long]), &set(&[]))[0].contains("longer than 72"));
        assert!(compare(&set(&[&fits]), &set(&[&fits]))[0].contains("remove it"));
        assert!(compare(&set(&[]), &set(&["gone"]))[0].contains("remove it: gone"));
    }
}
