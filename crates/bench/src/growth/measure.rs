//! The points of a curve in turns.

use std::time::Instant;

use anyhow::Result;

use super::curve::Point;
use crate::measure::{quantile, sorted};

/// The extent of the measurement.
#[derive(Debug, Clone, Copy)]
pub struct Effort {
    /// Passes over all points.
    pub passes: usize,
    /// Requests at each point in one pass.
    pub requests: u32,
}

/// The subject that is measured at one place of a curve.
pub(super) struct Subject {
    /// The amount at this place, in the curve's unit.
    pub(super) x: f64,
    /// One request.
    pub(super) request: Box<dyn FnMut() -> Result<()>>,
}

/// Returns the time of a request at each place: the lower quartile of the passes, since other work of the machine only adds.
pub(super) fn points(subjects: &mut [Subject], effort: Effort) -> Result<Vec<Point>> {
    let mut passes = vec![Vec::with_capacity(effort.passes); subjects.len()];
    // The first pass warms caches up and is not kept.
    for pass in 0..=effort.passes {
        for turn in 0..subjects.len() {
            // Nobody always follows the same one.
            let number = if pass % 2 == 0 { turn } else { subjects.len() - 1 - turn };
            let subject = &mut subjects[number];
            let start = Instant::now();
            for _ in 0..effort.requests {
                (subject.request)()?;
            }
            let nanos = start.elapsed().as_secs_f64() * 1e9 / f64::from(effort.requests);
            if pass > 0 {
                passes[number].push(nanos);
            }
        }
    }
    let point = |(subject, nanos): (&Subject, &Vec<f64>)| Point {
        x: subject.x,
        nanos: quantile(&sorted(nanos), 0.25),
        excused: 0.0,
    };
    Ok(subjects.iter().zip(&passes).map(point).collect())
}
