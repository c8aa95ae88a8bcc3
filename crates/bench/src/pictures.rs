//! Pictures of what the benchmarks have found, for the documentation: drawn from their reports.

mod growth;
mod requests;
mod style;

use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::report::{Report, package};

/// Draws what there is a report of. The pictures that were drawn.
///
/// # Errors
///
/// If a report is not what its benchmark writes, or a picture cannot be written.
pub fn draw() -> Result<Vec<PathBuf>> {
    let pictures: [(&str, &str, Draw); 2] =
        [("requests", "requests.svg", requests::draw), ("growth", "growth.svg", growth::draw)];
    let mut drawn = Vec::new();
    for (benchmark, file, draw) in pictures {
        if let Some(report) = Report::last(benchmark)? {
            let path = package().join("pictures").join(file);
            let picture = draw(&report).with_context(|| format!("cannot draw {benchmark}"))?;
            std::fs::write(&path, picture).with_context(|| format!("cannot write {}", path.display()))?;
            drawn.push(path);
        }
    }
    Ok(drawn)
}

/// A report as SVG.
type Draw = fn(&Report) -> Result<String>;
