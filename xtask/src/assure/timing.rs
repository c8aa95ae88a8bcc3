//! Constant time, as dudect measures it.

use anyhow::{Result, ensure};

use super::Outcome;
use crate::invocation::cargo;

pub(super) fn run() -> Result<Outcome> {
    let printed = cargo(["run", "--quiet", "--release", "--package", "timing"]).output()?;
    print!("{printed}");
    let subjects = printed.lines().filter(|line| line.ends_with("no difference")).count();
    let control = printed.lines().any(|line| line.ends_with("flagged, as it must be"));
    ensure!(subjects > 0 && control, "the measurement printed no figures");
    Ok(Outcome::Holds(format!("{subjects} comparisons show no difference; the leaking control is flagged")))
}
