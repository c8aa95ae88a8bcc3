//! Two threads beside one: what the second brings, on one session and on a million.
//!
//! Each pass lets one thread do its requests, and then two at the same time, each on a core of its own. A thread's time is
//! what it ran or waited for a lock, without what it had no core for: another process on the machine is nobody's lock.

mod cases;
mod threads;

use anyhow::Result;

pub use self::cases::{Case, cases};
use self::threads::{Took, pass};
use crate::measure::{quantile, sorted};

/// How much is measured.
#[derive(Debug, Clone, Copy)]
pub struct Effort {
    /// Passes over all cases.
    pub passes: usize,
    /// Requests of each thread in one pass.
    pub requests: usize,
}

/// What a case came to, by the median of the passes.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// What was asked for.
    pub name: &'static str,
    /// Nanoseconds of one thread's request.
    pub alone: f64,
    /// Nanoseconds of each of two threads' requests.
    pub beside: f64,
    /// How many times as many requests two threads answer as one.
    pub ratio: f64,
    /// Half of the passes are within this range around it.
    pub spread: f64,
    /// The part of the time that two threads had no core for: what else the machine does, and how seldom they met then.
    pub without_a_core: f64,
}

/// Measures the cases in turns.
///
/// # Errors
///
/// If a request is not answered as it should be.
pub fn outcomes(cases: &[Case], effort: Effort) -> Result<Vec<Outcome>> {
    let mut passes = vec![Vec::with_capacity(effort.passes); cases.len()];
    // The first pass warms caches up and is not kept.
    for number in 0..=effort.passes {
        for (case, times) in cases.iter().zip(&mut passes) {
            let (alone, beside) = (pass(case, 1, effort.requests)?, pass(case, 2, effort.requests)?);
            if number > 0 {
                times.push((alone, beside));
            }
        }
    }
    Ok(cases.iter().zip(&passes).map(|(case, times)| outcome(case.name, times)).collect())
}

/// Of what one thread took, and two beside one another, pass by pass.
fn outcome(name: &'static str, times: &[(Took, Took)]) -> Outcome {
    let column = |of: fn(&(Took, Took)) -> f64| sorted(&times.iter().map(of).collect::<Vec<_>>());
    let median = |of| quantile(&column(of), 0.5);
    let ratios = column(|(alone, beside)| 2.0 * alone.each / beside.each);
    Outcome {
        name,
        alone: median(|(alone, _)| alone.each),
        beside: median(|(_, beside)| beside.each),
        ratio: quantile(&ratios, 0.5),
        spread: quantile(&ratios, 0.75) - quantile(&ratios, 0.25),
        without_a_core: median(|(_, beside)| beside.without_a_core),
    }
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn two_threads_that_do_not_meet_bring_twice_as_much_and_two_that_wait_for_each_other_nothing() {
        let took = |each| Took { each, without_a_core: 0.0 };
        let apart = outcome("apart", &[100.0, 300.0, 100.0].map(|each| (took(each), took(each))));
        assert_eq!((apart.ratio, apart.alone, apart.spread), (2.0, 100.0, 0.0));
        assert_eq!(outcome("one lock", &[(took(100.0), took(200.0))]).ratio, 1.0);
    }
}
