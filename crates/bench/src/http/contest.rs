//! Who is asked what, in turns.

use anyhow::{Context, Result, ensure};

use super::browsers::{Browser, Turn, turn};
use super::process::Process;
use crate::cases::{Framework, Served};
use crate::measure::{quantile, sorted};

/// How much is measured.
#[derive(Debug, Clone, Copy)]
pub struct Effort {
    /// Turns of each side.
    pub passes: usize,
    /// Requests of each browser in a turn.
    pub each: usize,
}

/// Browsers, each with a connection and a session of its own.
pub(super) const BROWSERS: usize = crate::cases::BROWSERS;

/// What a request does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    /// Asks for the route that knows no session.
    Nothing,
    Read,
    Write,
}

/// One server, and what it is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Side {
    pub(super) framework: Framework,
    pub(super) application: Served,
    pub(super) act: Act,
}

/// What one side came to, by the median of its turns.
#[derive(Debug, Clone)]
pub struct Outcome {
    pub(super) side: Side,
    /// Requests per second, turn by turn.
    pub(super) rates: Vec<f64>,
    /// Nanoseconds that the server ran for each request, turn by turn.
    pub(super) costs: Vec<f64>,
    /// The server's part of the turns' time.
    pub(super) busy: f64,
    /// Nanoseconds of each request, in ascending order.
    pub(super) latencies: Vec<f64>,
}

impl Side {
    pub(super) fn path(&self) -> &'static str {
        match self.act {
            Act::Nothing => Served::UNSEEN,
            Act::Read => Served::READ,
            Act::Write => Served::WRITE,
        }
    }

    /// The sides of a framework: the bare route, and of each application a read and a write.
    fn all(framework: Framework) -> Vec<Self> {
        let of = |application, act| Self { framework, application, act };
        let mut sides = vec![of(Served::Bare, Act::Nothing)];
        for application in Served::of(framework) {
            sides.extend([Act::Read, Act::Write].map(|act| of(*application, act)));
        }
        sides
    }
}

impl Outcome {
    pub(super) fn rate(&self) -> f64 {
        quantile(&sorted(&self.rates), 0.5)
    }

    /// Nanoseconds of the server's time for one request.
    pub(super) fn cost(&self) -> f64 {
        quantile(&sorted(&self.costs), 0.5)
    }

    /// How many times the other's rate this one is, turn by turn, in ascending order.
    pub(super) fn ratios_to(&self, other: &Self) -> Vec<f64> {
        sorted(&self.rates.iter().zip(&other.rates).map(|(this, other)| this / other).collect::<Vec<_>>())
    }

    /// Nanoseconds of the server's time more than the other's for one request, the median of the turns.
    pub(super) fn cost_over(&self, other: &Self) -> f64 {
        let over: Vec<f64> = self.costs.iter().zip(&other.costs).map(|(this, other)| this - other).collect();
        quantile(&sorted(&over), 0.5)
    }
}

/// Lets the sides of a framework take turns.
///
/// # Errors
///
/// If a server does not come up, or does not answer as it should.
pub async fn contest(framework: Framework, effort: Effort) -> Result<Vec<Outcome>> {
    let sides = Side::all(framework);
    let mut running = Vec::new();
    for side in &sides {
        let arguments = ["serve", &side.framework.to_string(), side.application.name(), side.path()];
        let process = Process::start(&arguments).with_context(|| format!("{side:?}"))?;
        let browsers = log_in(&process, side).await.with_context(|| format!("{side:?}"))?;
        running.push((process, browsers));
    }
    let mut done: Vec<Vec<(Turn, f64)>> = sides.iter().map(|_| Vec::new()).collect();
    // The first pass warms caches up and is not kept.
    for pass in 0..=effort.passes {
        for number in 0..sides.len() {
            // Nobody always follows the same one.
            let number = if pass % 2 == 0 { number } else { sides.len() - 1 - number };
            let (process, browsers) = &mut running[number];
            let before = process.ran()?;
            let turn = turn(browsers, sides[number].path(), effort.each).await;
            let turn = turn.with_context(|| format!("{:?}", sides[number]))?;
            if pass > 0 {
                done[number].push((turn, process.ran()? - before));
            }
        }
    }
    Ok(sides.into_iter().zip(done).map(|(side, turns)| outcome(side, turns)).collect())
}

async fn log_in(process: &Process, side: &Side) -> Result<Vec<Browser>> {
    let mut browsers = Vec::new();
    for _ in 0..BROWSERS {
        let is_bare = side.application == Served::Bare;
        // Whoever looks at none has one to carry, as long as ours.
        let cookie = is_bare.then(Served::plain_cookie);
        let mut browser = Browser::connect(process.address, cookie.as_deref()).await?;
        if !is_bare {
            browser.ask(Served::FILL).await?;
        }
        ensure!(browser.has_cookies(), "a login set no cookie");
        browsers.push(browser);
    }
    Ok(browsers)
}

fn outcome(side: Side, turns: Vec<(Turn, f64)>) -> Outcome {
    let (mut rates, mut costs, mut latencies) = (Vec::new(), Vec::new(), Vec::new());
    let (mut ran_in_all, mut elapsed_in_all) = (0.0, 0.0);
    for (turn, ran) in turns {
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
        let requests = turn.latencies.len() as f64;
        rates.push(requests / turn.elapsed.as_secs_f64());
        costs.push(ran / requests);
        latencies.extend(turn.latencies);
        ran_in_all += ran;
        elapsed_in_all += turn.elapsed.as_secs_f64() * 1e9;
    }
    Outcome { side, rates, costs, busy: ran_in_all / elapsed_in_all, latencies: sorted(&latencies) }
}

#[cfg(test)]
mod unit {
    use std::time::Duration;

    use super::*;

    fn bare(turns: &[(u64, f64)]) -> Outcome {
        let side = Side { framework: Framework::Axum, application: Served::Bare, act: Act::Nothing };
        let turn = |(millis, ran): &(u64, f64)| {
            (Turn { elapsed: Duration::from_millis(*millis), latencies: vec![3.0, 1.0] }, *ran)
        };
        outcome(side, turns.iter().map(turn).collect())
    }

    #[test]
    fn rates_and_costs_are_compared_turn_by_turn() {
        // The second turn was disturbed, for both alike.
        let (one, other) = (bare(&[(1, 4e5), (10, 6e5)]), bare(&[(2, 8e5), (20, 1e6)]));
        assert_eq!(one.ratios_to(&other), [2.0, 2.0]);
        assert_eq!(other.cost_over(&one), 200_000.0);
        assert_eq!((one.rate(), one.latencies.as_slice()), (2000.0, [1.0, 1.0, 3.0, 3.0].as_slice()));
        assert!((one.busy - 1e6 / 11e6).abs() < 1e-9);
    }

    #[test]
    fn every_framework_has_a_bare_route_and_ours_beside_its_usual_choice() {
        for framework in Framework::ALL {
            let sides = Side::all(framework);
            assert_eq!(sides[0].application, Served::Bare);
            assert!(sides.iter().filter(|side| side.application == Served::Ours).count() == 2);
            assert!(sides.iter().filter(|side| side.application == Served::Usual).count() == 2);
        }
    }
}
