//! Tables in the README of the benchmarks, put there by the program that measured them.

use std::fs;

use anyhow::{Context, Result, ensure};

use super::package;

/// Replaces what the README has between the marks of this name: `<!-- NAME -->` and `<!-- end of NAME -->`.
///
/// # Errors
///
/// If the README has no such marks, or cannot be written.
pub fn put(name: &str, text: &str) -> Result<()> {
    let path = package().join("README.md");
    let page = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    fs::write(&path, replaced(&page, name, text)?).with_context(|| format!("cannot write {}", path.display()))?;
    eprintln!("== written into {}", path.display());
    Ok(())
}

fn replaced(page: &str, name: &str, text: &str) -> Result<String> {
    let [begin, end] = [format!("<!-- {name} -->\n"), format!("<!-- end of {name} -->\n")];
    let (before, rest) = page.split_once(&begin).with_context(|| format!("the page has no {begin}"))?;
    let (_, after) = rest.split_once(&end).with_context(|| format!("the page has no {end}"))?;
    ensure!(!after.contains(&begin), "the page has {begin} twice");
    Ok(format!("{before}{begin}\n{text}\n{end}{after}"))
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn what_is_between_the_marks_is_replaced_and_nothing_else() {
        let page = "a\n<!-- x -->\nold\n<!-- end of x -->\nb\n";
        let once = replaced(page, "x", "new").expect("marks");
        assert_eq!(once, "a\n<!-- x -->\n\nnew\n<!-- end of x -->\nb\n");
        assert_eq!(replaced(&once, "x", "new").expect("marks"), once);
        assert!(replaced(page, "y", "new").is_err());
    }

    #[test]
    fn the_readme_has_the_marks_of_every_program_that_writes_into_it() {
        let page = fs::read_to_string(package().join("README.md")).expect("the README");
        assert!(replaced(&page, "stores", "").is_ok());
    }
}
