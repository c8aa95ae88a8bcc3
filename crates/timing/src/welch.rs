//! Welch's t-test.

/// The tails that are cut off, as parts of all times: what interrupts a measurement only makes it longer.
const CROPS: [f64; 5] = [1.0, 0.99, 0.95, 0.9, 0.75];

/// The largest |t| of the two classes' times, over several croppings.
pub(crate) fn largest_t(classes: &[Vec<f64>; 2]) -> f64 {
    let mut all: Vec<f64> = classes.iter().flatten().copied().collect();
    all.sort_unstable_by(f64::total_cmp);
    let limits = CROPS.iter().filter_map(|part| {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a part of a length")]
        let last = (all.len() as f64 * part) as usize;
        all.get(last.checked_sub(1)?).copied()
    });
    limits
        .map(|limit| {
            let [one, two] =
                [0, 1].map(|class| Moments::of(classes[class].iter().copied().filter(|time| *time <= limit)));
            t(&one, &two).abs()
        })
        .fold(0.0, f64::max)
}

/// Count, mean and variance.
#[derive(Default)]
struct Moments {
    count: f64,
    mean: f64,
    squares: f64,
}

impl Moments {
    /// In one pass, as Welford does it.
    fn of(values: impl Iterator<Item = f64>) -> Self {
        values.fold(Self::default(), |moments, value| {
            let count = moments.count + 1.0;
            let off = value - moments.mean;
            let mean = moments.mean + off / count;
            Self { count, mean, squares: moments.squares + off * (value - mean) }
        })
    }

    fn variance(&self) -> f64 {
        self.squares / (self.count - 1.0)
    }
}

fn t(one: &Moments, two: &Moments) -> f64 {
    let error = (one.variance() / one.count + two.variance() / two.count).sqrt();
    if error > 0.0 { (one.mean - two.mean) / error } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_of_one_distribution_have_a_small_t_and_shifted_ones_a_large_one() {
        let times = |shift: f64| (0..10_000).map(|n| f64::from(n % 100) + shift).collect::<Vec<_>>();
        assert!(largest_t(&[times(0.0), times(0.0)]) < 1.0);
        assert!(largest_t(&[times(0.0), times(5.0)]) > 10.0);
    }

    #[test]
    fn the_statistic_is_welch_s() {
        // By hand: means 2 and 4, variances 1 and 4, three values each.
        let (one, two) = (Moments::of([1.0, 2.0, 3.0].into_iter()), Moments::of([2.0, 4.0, 6.0].into_iter()));
        assert!((t(&one, &two) - -2.0 / (5.0_f64 / 3.0).sqrt()).abs() < 1e-12);
    }
}
