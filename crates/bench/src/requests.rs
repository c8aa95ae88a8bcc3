//! The cost of one request: the table, the goals that it is held against, and the same for programs.

mod goals;

use anyhow::{Context, Result};

pub use self::goals::goals;
use crate::cases::{BARE, Case, Framework, Kind};
use crate::measure::{Effort, Quartiles, paired};
use crate::report::{Report, Table};
use crate::rows::{Row, find};

/// Returns the extent of the measurement in a hot loop.
#[must_use]
pub fn hot(quick: bool) -> Effort {
    Effort { rounds: if quick { 9 } else { 41 }, requests: 2500 }
}

/// Returns the extent of the measurement in cold turns, which begin with the other cases' leftovers in the caches.
#[must_use]
pub fn cold(quick: bool) -> Effort {
    Effort { rounds: if quick { 300 } else { 3000 }, requests: 50 }
}

/// The measurements of one case.
#[derive(Debug, Clone)]
pub struct Line {
    /// The framework that it ran in.
    pub framework: Framework,
    /// The kind of the request.
    pub kind: Kind,
    /// The name of the side whose sessions they were.
    pub name: &'static str,
    /// Nanoseconds of one request in a hot loop, round by round.
    hot: Vec<f64>,
    /// The same in cold turns.
    cold: Vec<f64>,
    /// Allocations, their bytes, and the store's reads and writes, where it counts them.
    counts: Vec<f64>,
}

/// The columns of a row that `counts` wrote.
const ALLOCATIONS: usize = 0;
const BYTES: usize = 1;
const READS: usize = 2;
const WRITES: usize = 3;

/// The lines of one run, in the order of the cases.
#[derive(Debug, Clone, Default)]
pub struct Lines(Vec<Line>);

/// The way in which the requests of a row took turns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turns {
    Hot,
    Cold,
}

impl Line {
    fn times(&self, turns: Turns) -> &[f64] {
        match turns {
            Turns::Hot => &self.hot,
            Turns::Cold => &self.cold,
        }
    }
}

impl Lines {
    /// Adds what was measured of these cases, all of one run.
    ///
    /// # Errors
    ///
    /// If a case was not counted.
    pub fn add(&mut self, cases: &[Case], hot: &[Vec<f64>], cold: &[Vec<f64>], counts: &[Row]) -> Result<()> {
        for ((case, hot), cold) in cases.iter().zip(hot).zip(cold) {
            let Case { framework, kind, name, .. } = *case;
            let counts = find(counts, &case.to_string()).with_context(|| format!("{case} was not counted"))?.to_vec();
            self.0.push(Line { framework, kind, name, hot: hot.clone(), cold: cold.clone(), counts });
        }
        Ok(())
    }

    fn find(&self, framework: Framework, kind: Kind, name: &str) -> Result<&Line> {
        let found = self.0.iter().find(|line| (line.framework, line.kind, line.name) == (framework, kind, name));
        found.with_context(|| format!("no row {framework} / {kind} / {name}"))
    }

    /// Returns what a line takes over its framework's bare route, round by round.
    fn over_bare(&self, line: &Line, turns: Turns) -> Result<Vec<f64>> {
        let bare = self.find(line.framework, Kind::Floor, BARE)?;
        Ok(paired(line.times(turns), bare.times(turns), |time, bare| time - bare))
    }

    /// Returns what a line takes over the bare route, as a multiple of what another one does, round by round.
    fn ratio(&self, line: &Line, other: &Line, turns: Turns) -> Result<Quartiles> {
        let (one, other) = (self.over_bare(line, turns)?, self.over_bare(other, turns)?);
        Ok(Quartiles::of(&paired(&one, &other, |one, other| one / other)))
    }

    /// Returns the line of the framework's usual choice, asked the same, unless it is not asked that or is this line.
    fn usual(&self, line: &Line) -> Option<&Line> {
        let is_other = line.name != line.framework.usual();
        self.find(line.framework, line.kind, line.framework.usual()).ok().filter(|_| is_other)
    }

    /// Returns the table for people.
    ///
    /// # Errors
    ///
    /// If a framework has no bare route.
    pub fn text(&self) -> Result<String> {
        let mut text = HEAD.to_owned();
        let mut before = None;
        for line in &self.0 {
            if before.map(|(framework, _)| framework) != Some(line.framework) {
                let usual = format!("of {}", line.framework.usual());
                text += &format!(
                    "\n{:36}{:>26}{usual:>39}{:>7}{:>6}{:>8}{:>7}{:>8}\n",
                    line.framework.to_string(),
                    "ns over the bare route",
                    "cold",
                    "of",
                    "allocs",
                    "bytes",
                    "store"
                );
            }
            if before != Some((line.framework, line.kind)) {
                text += &format!("{}\n", line.kind);
            }
            before = Some((line.framework, line.kind));
            text += &self.row(line)?;
        }
        Ok(text)
    }

    fn row(&self, line: &Line) -> Result<String> {
        let [hot, cold] = [Turns::Hot, Turns::Cold].map(|turns| self.over_bare(line, turns));
        let (hot, cold) = (Quartiles::of(&hot?), Quartiles::of(&cold?));
        let (hot, cold) = if line.name == BARE {
            let [hot, cold] = [&line.hot, &line.cold].map(|times| Quartiles::of(times).median);
            (format!("({hot:.0} in all)"), format!("({cold:.0})"))
        } else {
            (format!("{:.0} ({:.0} to {:.0})", hot.median, hot.low, hot.high), format!("{:.0}", cold.median))
        };
        let (mut ratio, mut cold_ratio) = (String::new(), String::new());
        if let Some(usual) = self.usual(line) {
            let Quartiles { low, median, high } = self.ratio(line, usual, Turns::Hot)?;
            ratio = format!("{median:.2} ({low:.2} to {high:.2})");
            cold_ratio = format!("{:.2}", self.ratio(line, usual, Turns::Cold)?.median);
        }
        let count = |column: usize| line.counts.get(column).copied();
        let mut row = format!("  {:34}{hot:>26}{ratio:>39}{cold:>7}{cold_ratio:>6}", line.name);
        row += &format!("{:>8.1}{:>7.0}", count(ALLOCATIONS).unwrap_or(f64::NAN), count(BYTES).unwrap_or(f64::NAN));
        if let (Some(reads), Some(writes)) = (count(READS), count(WRITES)) {
            row += &format!("{:>8}", format!("{reads:.0}/{writes:.0}"));
        }
        Ok(row + "\n")
    }

    /// Returns all of it for programs: a table for each framework and kind, and one for what it is held against.
    ///
    /// # Errors
    ///
    /// If a row that is needed is missing.
    pub fn report(&self) -> Result<Report> {
        let mut tables: Vec<Table> = Vec::new();
        for line in &self.0 {
            let name = table_name(line.framework, line.kind);
            if tables.last().is_none_or(|table| table.name != name) {
                tables.push(Table::new(name, &COLUMNS));
            }
            let [hot, cold] = [Turns::Hot, Turns::Cold].map(|turns| self.over_bare(line, turns));
            let (hot, cold) = (Quartiles::of(&hot?), Quartiles::of(&cold?));
            let usual = self.usual(line);
            let ratio = |turns| usual.map_or(Ok(NONE), |usual| self.ratio(line, usual, turns));
            let (hot_ratio, cold_ratio) = (ratio(Turns::Hot)?, ratio(Turns::Cold)?);
            let in_all = Quartiles::of(&line.hot).median;
            let mut values = vec![hot.median, hot.low, hot.high, in_all];
            values.extend([hot_ratio.median, hot_ratio.low, hot_ratio.high, cold.median, cold_ratio.median]);
            values.extend(&line.counts);
            values.resize(COLUMNS.len(), f64::NAN);
            if let Some(table) = tables.last_mut() {
                table.push(line.name, &values);
            }
        }
        let mut table = Table::new("goals", &["is", "at most"]);
        for goal in goals(self)? {
            table.push(goal.what, &[goal.is, goal.at_most]);
        }
        tables.push(table);
        Ok(Report::new("requests", tables))
    }
}

const NONE: Quartiles = Quartiles { low: f64::NAN, median: f64::NAN, high: f64::NAN };

/// Returns the name of the table of a framework's requests of one kind.
pub(crate) fn table_name(framework: Framework, kind: Kind) -> String {
    format!("{framework}, {kind}")
}

/// The columns of such a table. Lines without a store that counts have no reads and writes.
const COLUMNS: [&str; 13] = [
    "ns over the bare route, hot loop",
    "lower quartile",
    "upper quartile",
    "ns in all, hot loop",
    "of the usual choice's, hot loop",
    "lower quartile of the ratio",
    "upper quartile of the ratio",
    "ns over the bare route, cold turns",
    "of the usual choice's, cold turns",
    "allocations",
    "bytes allocated",
    "store reads",
    "store writes",
];

const HEAD: &str = "\
One request in one process on one core, in nanoseconds over the framework's bare route, and as a multiple of what the
framework's usual choice takes for the same in the same round: medians of the rounds, and between which numbers the middle
half of them lies. Hot loop: 2500 requests of one row in a row, rows in turns. Cold: the same with 50 in a row. 300 bytes of
data in five keys, of which one is read or changed, ten seconds after the last change. Actix Web and Rocket are called through
their test clients, whose own cost is in the bare route's. Store: reads and writes.
";

#[cfg(test)]
mod unit {
    use super::*;

    fn line(kind: Kind, name: &'static str, hot: &[f64]) -> Line {
        let counts = vec![3.0, 100.0, 1.0, 0.0];
        Line { framework: Framework::Axum, kind, name, hot: hot.to_vec(), cold: hot.to_vec(), counts }
    }

    #[test]
    fn what_disturbs_a_round_does_not_disturb_its_differences_and_ratios() {
        // The second round was disturbed, for all rows alike.
        let lines = Lines(vec![
            line(Kind::Floor, BARE, &[10.0, 510.0, 10.0]),
            line(Kind::Read, "ours", &[20.0, 520.0, 20.0]),
            line(Kind::Read, Framework::Axum.usual(), &[30.0, 530.0, 30.0]),
        ]);
        assert_eq!(lines.over_bare(&lines.0[1], Turns::Hot).expect("bare"), [10.0; 3]);
        let usual = lines.usual(&lines.0[1]).expect("the usual choice");
        let ratio = lines.ratio(&lines.0[1], usual, Turns::Hot).expect("bare");
        assert_eq!(ratio, Quartiles { low: 0.5, median: 0.5, high: 0.5 });
        assert!(lines.usual(&lines.0[2]).is_none(), "the usual choice is not held against itself");
        let text = lines.text().expect("a table");
        assert!(text.contains("0.50 (0.50 to 0.50)") && text.contains("1/0"), "{text}");
    }

    #[test]
    fn a_framework_without_a_bare_route_is_an_error() {
        let lines = Lines(vec![line(Kind::Read, "ours", &[1.0])]);
        assert!(lines.text().is_err(), "there is no bare route");
        assert!(lines.find(Framework::Rocket, Kind::Read, "ours").is_err());
    }
}
