//! The harness: rounds in which all cases take turns, so that what else the machine does hits every case alike.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::cases::Case;

/// The extent of the measurement.
#[derive(Debug, Clone, Copy)]
pub struct Effort {
    /// Rounds over all cases.
    pub rounds: usize,
    /// Requests of each case in a row, in one round.
    pub requests: u32,
}

/// Measures every case: returns the nanoseconds of one request of each, round by round.
///
/// # Errors
///
/// If a request is not answered as it should be.
pub async fn times(cases: &mut [Case], effort: Effort) -> Result<Vec<Vec<f64>>> {
    let mut times = vec![Vec::with_capacity(effort.rounds); cases.len()];
    // The first round warms caches up and is not kept.
    for round in 0..=effort.rounds {
        for turn in 0..cases.len() {
            // No case always follows the same one.
            let number = if round % 2 == 0 { turn } else { cases.len() - 1 - turn };
            let time = in_a_row(&mut cases[number], effort.requests).await?;
            if round > 0 {
                times[number].push(time);
            }
        }
    }
    Ok(times)
}

async fn in_a_row(case: &mut Case, requests: u32) -> Result<f64> {
    let start = Instant::now();
    let mut aside = Duration::ZERO;
    let mut answered = true;
    for _ in 0..requests {
        let answer = case.once().await;
        answered &= case.is_expected(&answer);
        if !answer.cookies.is_empty() {
            let from = Instant::now();
            case.keep(&answer)?;
            aside += from.elapsed();
        }
    }
    let time = start.elapsed().saturating_sub(aside).as_secs_f64() * 1e9 / f64::from(requests);
    ensure!(answered, "{case}: a request failed");
    Ok(time)
}

/// The median of several rounds and the range in which the middle half of them lies.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Quartiles {
    /// The lower quartile.
    pub low: f64,
    /// The median.
    pub median: f64,
    /// The upper quartile.
    pub high: f64,
}

impl Quartiles {
    /// Returns those of values in any order.
    #[must_use]
    pub fn of(values: &[f64]) -> Self {
        let sorted = sorted(values);
        let [low, median, high] = [0.25, 0.5, 0.75].map(|part| quantile(&sorted, part));
        Self { low, median, high }
    }
}

/// Combines two cases round by round.
pub(crate) fn paired(one: &[f64], other: &[f64], combine: impl Fn(f64, f64) -> f64) -> Vec<f64> {
    one.iter().zip(other).map(|(one, other)| combine(*one, *other)).collect()
}

pub(crate) fn sorted(values: &[f64]) -> Vec<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
}

/// Returns the one of ascending values below which the given part lies.
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
    fn quantiles_of_ascending_values() {
        let values: Vec<f64> = (0..=100).map(f64::from).collect();
        assert_eq!([0.0, 0.25, 0.5, 1.0].map(|part| quantile(&values, part)), [0.0, 25.0, 50.0, 100.0]);
        assert!(quantile(&[], 0.5).is_nan());
    }

    #[test]
    fn quartiles_are_of_values_in_any_order() {
        let quartiles = Quartiles::of(&[5.0, 1.0, 4.0, 2.0, 3.0]);
        assert_eq!(quartiles, Quartiles { low: 2.0, median: 3.0, high: 4.0 });
    }
}
