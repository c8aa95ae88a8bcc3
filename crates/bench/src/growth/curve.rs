//! A curve and its law.

use crate::report::Table;

/// The law by which the cost should grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Law {
    /// Not at all.
    Constant,
    /// By the same for each more.
    Linear,
}

/// The time of one request at one place of a curve.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// The amount at this place, in the curve's unit.
    pub x: f64,
    /// Nanoseconds.
    pub nanos: f64,
    /// Nanoseconds that are not the session's: what a floor takes more than at its first point.
    pub excused: f64,
}

/// The time of a request, against the number of things that it grows with.
#[derive(Debug, Clone)]
pub struct Curve {
    /// The name of the request, and of the thing that there is more of.
    pub name: &'static str,
    /// The name of the things that are counted.
    pub unit: &'static str,
    /// The law that the cost should follow; a floor has none, as it follows the machine.
    pub law: Option<Law>,
    /// Two and more, with ascending `x`.
    pub points: Vec<Point>,
}

/// The distance of a curve from its law.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Verdict {
    /// Nanoseconds at zero, by the law.
    pub start: f64,
    /// Nanoseconds for each more, by the law.
    pub each: f64,
    /// The distance of the worst point above the law, in percent.
    pub worst: f64,
    /// The place of that point.
    pub at: f64,
}

impl Verdict {
    /// The most that a point may be above its law, in percent.
    pub const ALLOWED: f64 = 10.0;

    /// Returns `true` if no point is too far above the law.
    #[must_use]
    pub fn is_met(&self) -> bool {
        self.worst <= Self::ALLOWED
    }
}

impl Curve {
    /// Holds all points against the law that the lower half of them follows: what grows faster further up shows, and is
    /// not hidden by a line through all of them.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        let (start, each) = self.line();
        let over = |point: &Point| (point.own() / (start + each * point.x) - 1.0) * 100.0;
        let worst = self.points.iter().max_by(|a, b| over(a).total_cmp(&over(b)));
        Verdict { start, each, worst: worst.map_or(f64::NAN, over), at: worst.map_or(f64::NAN, |point| point.x) }
    }

    /// Returns the cost at zero, and for each more.
    fn line(&self) -> (f64, f64) {
        let at_least = if self.law == Some(Law::Linear) { 3 } else { 1 };
        let half = self.points.len().div_ceil(2).max(at_least).min(self.points.len());
        let lower = &self.points[..half];
        match self.law {
            Some(Law::Linear) => line_through(lower),
            Some(Law::Constant) | None => (mean(lower), 0.0),
        }
    }

    /// As a table for programs.
    #[must_use]
    pub fn table(&self) -> Table {
        let (start, each) = self.line();
        let columns = [self.unit, "nanoseconds", "of these the floor's", "nanoseconds by the law"];
        let mut table = Table::new(self.name, &columns);
        for point in &self.points {
            table.push(
                format!("{} {}", point.x, self.unit),
                &[point.x, point.nanos, point.excused, start + each * point.x + point.excused],
            );
        }
        table
    }

    /// As text: a line with the verdict, and one for the points.
    #[must_use]
    pub fn text(&self) -> String {
        let verdict = self.verdict();
        let law = match self.law {
            Some(Law::Constant) => format!("constant: {:.0} ns", verdict.start),
            Some(Law::Linear) => format!("linear: {:.0} ns, and {:.2} ns for each", verdict.start, verdict.each),
            None => String::new(),
        };
        let head = match (self.law, verdict.is_met()) {
            (None, _) => format!("      {}", self.name),
            (Some(_), is_met) => {
                let met = if is_met { "met " } else { "OVER" };
                format!("{met}  {}: {law}; worst {:+.1} % at {}", self.name, verdict.worst, verdict.at)
            }
        };
        let points = self.points.iter().map(|point| {
            let excused = if point.excused > 0.0 { format!(" ({:.0})", point.excused) } else { String::new() };
            format!("{}: {:.0}{excused}", point.x, point.nanos)
        });
        format!("{head}\n      {}: {}\n", self.unit, points.collect::<Vec<_>>().join(", "))
    }
}

impl Point {
    /// Returns the session's own part.
    fn own(&self) -> f64 {
        self.nanos - self.excused
    }
}

#[expect(clippy::cast_precision_loss, reason = "a few points")]
fn mean(points: &[Point]) -> f64 {
    points.iter().map(Point::own).sum::<f64>() / points.len() as f64
}

/// The line with the least squares of what the points are off, relative to what they are. It never falls: that more of
/// something makes a request cheaper is noise, and no law.
fn line_through(points: &[Point]) -> (f64, f64) {
    let weights: Vec<f64> = points.iter().map(|point| 1.0 / point.own().powi(2)).collect();
    let all: f64 = weights.iter().sum();
    let mean = |of: fn(&Point) -> f64| {
        points.iter().zip(&weights).map(|(point, weight)| of(point) * weight).sum::<f64>() / all
    };
    let (x, y) = (mean(|point| point.x), mean(Point::own));
    let products = points.iter().zip(&weights).map(|(point, weight)| (point.x - x) * (point.own() - y) * weight);
    let squares = points.iter().zip(&weights).map(|(point, weight)| (point.x - x).powi(2) * weight);
    let each = (products.sum::<f64>() / squares.sum::<f64>()).max(0.0);
    (y - each * x, each)
}

#[cfg(test)]
mod unit {
    use super::*;

    fn curve(law: Law, of: impl Fn(f64) -> f64) -> Curve {
        let points = (0..=8).map(f64::from).map(|x| Point { x, nanos: of(x), excused: 0.0 }).collect();
        Curve { name: "test", unit: "things", law: Some(law), points }
    }

    #[test]
    fn a_curve_that_follows_its_law_is_met_and_the_line_is_found() {
        let linear = curve(Law::Linear, |x| 100.0 + 5.0 * x).verdict();
        assert!((linear.start - 100.0).abs() < 1e-6 && (linear.each - 5.0).abs() < 1e-6, "{linear:?}");
        assert!(linear.is_met() && linear.worst.abs() < 1e-6);
        let constant = curve(Law::Constant, |_| 42.0).verdict();
        assert_eq!((constant.start, constant.each, constant.worst), (42.0, 0.0, 0.0));
    }

    #[test]
    fn what_grows_faster_than_its_law_is_over_it_at_its_end() {
        let quadratic = curve(Law::Linear, |x| 100.0 + 2.0 * x * x).verdict();
        assert!(!quadratic.is_met() && quadratic.at == 8.0, "{quadratic:?}");
        let linear = curve(Law::Constant, |x| 100.0 + 3.0 * x).verdict();
        assert!(!linear.is_met() && linear.at == 8.0, "{linear:?}");
        let logarithmic = curve(Law::Linear, |x| 100.0 + 20.0 * (1.0 + x).ln()).verdict();
        assert!(logarithmic.is_met(), "slower is no fault: {logarithmic:?}");
    }

    #[test]
    fn a_little_noise_does_not_break_a_law_and_a_falling_line_is_level() {
        let noise = |x: f64| if x % 2.0 == 0.0 { 1.02 } else { 0.98 };
        let linear = curve(Law::Linear, |x| (100.0 + 5.0 * x) * noise(x)).verdict();
        assert!(linear.is_met(), "{linear:?}");
        assert_eq!(curve(Law::Linear, |x| 100.0 - x).verdict().each, 0.0);
    }

    #[test]
    fn what_the_floor_takes_more_is_not_held_against_the_curve() {
        let mut waiting = curve(Law::Constant, |x| 100.0 + 10.0 * x);
        assert!(!waiting.verdict().is_met());
        waiting.points.iter_mut().for_each(|point| point.excused = 10.0 * point.x);
        assert!(waiting.verdict().is_met() && waiting.text().contains("8: 180 (80)"), "{}", waiting.text());
    }
}
