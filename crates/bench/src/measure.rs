//! The harness: interleaved passes, so that what else the machine does hits every case alike.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::cases::Case;

/// How much is measured.
#[derive(Debug, Clone, Copy)]
pub struct Effort {
    /// Passes over all cases.
    pub passes: usize,
    /// Requests to each case in one pass.
    pub requests: u32,
}

/// The time of one request, in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Time {
    /// The median over the passes.
    pub median: f64,
    /// The median of what it takes more than its framework's first case in the same pass.
    pub over_first: f64,
    /// Half of the passes lie within this range around the median.
    pub spread: f64,
}

/// Measures every case.
///
/// # Errors
///
/// If a request is not answered as it should be.
pub async fn times(cases: &mut [Case], effort: Effort) -> Result<Vec<Time>> {
    let mut passes: Vec<Vec<f64>> = vec![Vec::with_capacity(effort.passes); cases.len()];
    // The first pass warms caches up and is not kept.
    for pass in 0..=effort.passes {
        for (case, times) in cases.iter_mut().zip(&mut passes) {
            let start = Instant::now();
            let mut aside = Duration::ZERO;
            let mut answered = true;
            for _ in 0..effort.requests {
                let answer = case.once().await;
                answered &= answer.is_ok();
                if !answer.cookies.is_empty() {
                    let from = Instant::now();
                    case.keep(&answer)?;
                    aside += from.elapsed();
                }
            }
            let time = start.elapsed().saturating_sub(aside).as_secs_f64() * 1e9 / f64::from(effort.requests);
            ensure!(answered, "{}: a request failed", case.framework.row(&case.name));
            if pass > 0 {
                times.push(time);
            }
        }
    }
    let first = |framework| cases.iter().zip(&passes).find(|(case, _)| case.framework == framework);
    let over_first = |(case, times): (&Case, &Vec<f64>)| {
        summary(times, first(case.framework).map_or(&[] as &[f64], |(_, first)| first))
    };
    Ok(cases.iter().zip(&passes).map(over_first).collect())
}

fn summary(times: &[f64], first: &[f64]) -> Time {
    let over: Vec<f64> = times.iter().zip(first).map(|(time, first)| time - first).collect();
    let over = sorted(&over);
    let (median, over_first) = (quantile(&sorted(times), 0.5), quantile(&over, 0.5));
    Time { median, over_first, spread: quantile(&over, 0.75) - quantile(&over, 0.25) }
}

pub(crate) fn sorted(values: &[f64]) -> Vec<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
}

/// Of ascending values, the one below which the given part lies.
pub(crate) fn quantile(ascending: &[f64], part: f64) -> f64 {
    let last = ascending.len().saturating_sub(1);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
    let index = (last as f64 * part).round() as usize;
    ascending.get(index).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cost_over_the_first_case_is_taken_pass_by_pass() {
        // The second pass was disturbed, for both cases alike.
        let (bare, with_layer) = ([10.0, 500.0, 12.0], [15.0, 505.0, 17.0]);
        let time = summary(&with_layer, &bare);
        assert_eq!(time, Time { median: 17.0, over_first: 5.0, spread: 0.0 });
    }

    #[test]
    fn quantiles_of_ascending_values() {
        let values: Vec<f64> = (0..=100).map(f64::from).collect();
        assert_eq!([0.0, 0.25, 0.5, 1.0].map(|part| quantile(&values, part)), [0.0, 25.0, 50.0, 100.0]);
        assert!(quantile(&[], 0.5).is_nan());
    }
}
