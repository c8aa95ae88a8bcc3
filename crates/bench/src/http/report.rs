//! The tables.

use super::contest::{Act, BROWSERS, Outcome};
use crate::cases::Served;
use crate::measure::quantile;
use crate::report::Table;

const COLUMNS: [&str; 8] = [
    "requests/s",
    "times the usual peer's",
    "p50, us",
    "p99, us",
    "server's time, us",
    "over the bare route, us",
    "times the usual peer's",
    "server busy, %",
];

/// What stands above the lines.
fn head() -> String {
    format!(
        "Over HTTP/1.1 on loopback, {BROWSERS} connections that stay open, each of a browser with a session of its own; the server has\n\
         one worker in a process of its own. Ratio: the row's rate over that of the framework's usual choice (tower-sessions,\n\
         actix-session's private cookie, Rocket's private cookies), reads to reads and writes to writes, by the median of\n\
         the turns (and half of them); above 1 the row is faster. The server's time is what its threads ran for a\n\
         request; below 1 the row costs less.\n"
    )
}

/// Outcomes of frameworks, as text.
#[must_use]
pub fn text(outcomes: &[Vec<Outcome>]) -> String {
    let mut lines = vec![head()];
    for sides in outcomes {
        let framework = sides.first().map_or(String::new(), |side| side.side.framework.to_string());
        lines.push(format!(
            "{framework:44}{:>10}{:>18}{:>8}{:>8}{:>12}{:>11}{:>7}{:>7}",
            "requests/s", "ratio", "p50 us", "p99 us", "server, us", "over bare", "ratio", "busy"
        ));
        for outcome in sides {
            let [rate, ratio, p50, p99, cost, over, cost_ratio, busy] = values(outcome, sides);
            let ratios = usual(outcome, sides).map_or(String::new(), |usual| {
                let ratios = outcome.ratios_to(usual);
                format!("{ratio:.2} ({:.2}-{:.2})", quantile(&ratios, 0.25), quantile(&ratios, 0.75))
            });
            let over = if outcome.side.act == Act::Nothing { String::new() } else { format!("{over:.2}") };
            let cost_ratio = if ratios.is_empty() { String::new() } else { format!("{cost_ratio:.2}") };
            lines.push(format!(
                "{:44}{rate:>10.0}{ratios:>18}{p50:>8.0}{p99:>8.0}{cost:>12.2}{over:>11}{cost_ratio:>7}{busy:>6.0}%",
                name(outcome)
            ));
        }
        lines.push(String::new());
    }
    lines.join("\n")
}

/// The same for programs.
#[must_use]
pub fn table(sides: &[Outcome]) -> Table {
    let framework = sides.first().map_or(String::new(), |side| side.side.framework.to_string());
    let mut table = Table::new(framework, &COLUMNS);
    for outcome in sides {
        table.push(name(outcome), &values(outcome, sides));
    }
    table
}

fn values(outcome: &Outcome, sides: &[Outcome]) -> [f64; 8] {
    let over_bare = |outcome: &Outcome| sides.first().map_or(f64::NAN, |bare| outcome.cost_over(bare));
    let (ratio, cost_ratio) = usual(outcome, sides).map_or((f64::NAN, f64::NAN), |usual| {
        (quantile(&outcome.ratios_to(usual), 0.5), over_bare(outcome) / over_bare(usual))
    });
    let [p50, p99] = [0.5, 0.99].map(|part| quantile(&outcome.latencies, part) / 1e3);
    let over = over_bare(outcome) / 1e3;
    [outcome.rate(), ratio, p50, p99, outcome.cost() / 1e3, over, cost_ratio, outcome.busy * 100.0]
}

/// The framework's usual choice that does the same.
fn usual<'a>(outcome: &Outcome, sides: &'a [Outcome]) -> Option<&'a Outcome> {
    sides.iter().find(|other| other.side.application == Served::Usual && other.side.act == outcome.side.act)
}

fn name(outcome: &Outcome) -> String {
    let who = outcome.side.application.described(outcome.side.framework);
    match outcome.side.act {
        Act::Nothing => who.to_owned(),
        Act::Read => format!("{who}, read"),
        Act::Write => format!("{who}, write"),
    }
}
