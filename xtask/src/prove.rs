//! `cargo xtask prove`: the symbolic models of what each attacker can do, each with the verdicts that it must have.
//!
//! A model stands in `crates/core/proofs` and names its verdicts in a line `// expected: c0a1`, in Verifpal's letters: one
//! letter and one digit for each query, 0 for "no attack found", 1 for "attack found". A row whose attacker gets
//! something expects that attack, which shows that the models notice what there is to notice. Verifpal tries two runs of
//! every party at once; a line `// sessions: 1` says that a model is too large for more than one.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

use crate::invocation::program;
use crate::report::Report;
use crate::tools::Tool;
use crate::workspace;

/// The folder of the models.
pub(crate) const MODELS: &str = "crates/core/proofs";

pub(crate) const VERIFPAL: Tool =
    Tool::Program { name: "verifpal", install: "cargo +nightly install verifpal --locked --ignore-rust-version" };

pub(crate) fn run(report: &mut Report) {
    if VERIFPAL.is_installed() {
        report.check("prove", || {
            println!("{}", all()?);
            Ok(())
        });
    } else {
        report.skip("prove", &VERIFPAL.how_to_install());
    }
}

/// Checks every model; the figure of all.
pub(crate) fn all() -> Result<String> {
    let models = workspace::files(&[MODELS], "vp")?;
    ensure!(!models.is_empty(), "no model in {MODELS}");
    let mut verdicts = String::new();
    let mut complaints = Vec::new();
    for model in &models {
        let name = model.file_stem().unwrap_or_default().to_string_lossy();
        let text = fs::read_to_string(model).with_context(|| format!("cannot read {}", model.display()))?;
        let expected = expected(&text).with_context(|| format!("{name} has no line `// expected: ..`"))?;
        let sessions = line(&text, "// sessions: ").unwrap_or("2");
        let found = verify(model, sessions)?;
        println!("{name}: {found}");
        if found != expected {
            complaints.push(format!("{name}: expected {expected}, found {found}"));
        }
        verdicts.push_str(&found);
    }
    ensure!(complaints.is_empty(), "{}", complaints.join("\n"));
    let count = |digit| verdicts.chars().filter(|c| *c == digit).count();
    let (held, broken) = (count('0'), count('1'));
    ensure!(broken > 0, "no model finds an attack: nothing shows that they would");
    Ok(format!("{} models: {held} queries hold, {broken} expected attacks found", models.len()))
}

/// Verifpal's verdicts on a model.
fn verify(model: &Path, sessions: &str) -> Result<String> {
    let path = model.display().to_string();
    let verify = ["verify", &path, "--sessions", sessions, "--result-code", "--quiet", "--color", "never"];
    let output = program("verifpal", verify).output()?;
    match output.lines().last().map(str::trim) {
        Some(code) if is_code(code) => Ok(code.to_owned()),
        _ => bail!("no verdict on {path}: {output}"),
    }
}

fn expected(model: &str) -> Option<&str> {
    line(model, "// expected: ").filter(|code| is_code(code))
}

/// Returns the text behind these words at a line's beginning.
fn line<'m>(model: &'m str, words: &str) -> Option<&'m str> {
    model.lines().find_map(|line| line.strip_prefix(words)).map(str::trim)
}

fn is_code(text: &str) -> bool {
    let pairs = text.as_bytes().chunks(2);
    !text.is_empty() && pairs.into_iter().all(|pair| matches!(pair, [b'a'..=b'z', b'0' | b'1']))
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn a_model_says_which_verdicts_it_expects() {
        assert_eq!(expected("// A row.\n//\n// expected: c1a0\n\nattacker[active]\n"), Some("c1a0"));
        for text in ["", "// expected:", "// expected: holds", "expected: c0", "// expected: c0a"] {
            assert_eq!(expected(text), None, "{text}");
        }
    }
}
