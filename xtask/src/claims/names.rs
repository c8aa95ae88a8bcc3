//! A test's name is a sentence, and one that can be read at once.

use std::collections::BTreeSet;

/// The longest name of a test.
const MOST: usize = 72;

/// Names each test whose name is too long.
pub(super) fn complaints(tests: &BTreeSet<String>) -> Vec<String> {
    let long = tests.iter().filter(|name| name.len() > MOST);
    long.map(|name| format!("longer than {MOST} characters: {name}")).collect()
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn a_name_of_more_than_72_characters_is_refused() {
        let (fits, long) = ("x".repeat(MOST), "x".repeat(MOST + 1));
        assert!(complaints(&BTreeSet::from([fits.clone()])).is_empty());
        assert_eq!(complaints(&BTreeSet::from([fits, long.clone()])), [format!("longer than 72 characters: {long}")]);
    }
}
