//! The tables.

use super::contest::{Measured, OURS_FIRST, Outcome};
use super::engine::Kind;
use crate::measure::quantile;
use crate::report::Table;

/// Outcomes by engine, ours first in each.
type Outcomes = [(Kind, Vec<Outcome>)];

/// What is measured of each side.
type Part = (&'static str, fn(&Outcome) -> &Measured);

const PARTS: [Part; 3] = [
    ("read", |side| &side.reads),
    ("read just after a change", |side| &side.reads_after),
    ("write", |side| &side.writes),
];

/// Requests per second and latencies.
#[must_use]
pub fn speeds(outcomes: &Outcomes) -> String {
    let mut lines = vec![
        "Authenticated requests, 64 at a time, 2 KB of session data. Ratio: our rate over that of the row, by the median\n\
         of the passes, and the range of the middle half of them; above 1 we are faster, with the defaults and sealed by\n\
         ring. Latencies in ms.\n"
            .to_owned(),
    ];
    for (kind, sides) in outcomes {
        lines.push(format!(
            "{:58}{:>22}{:>22}{:>12}{:>9}{:>9}{:>8}",
            kind.name(),
            "ratio",
            "ratio, ring",
            "requests/s",
            "p50",
            "p99",
            "failed"
        ));
        for (what, part) in PARTS {
            for (number, side) in sides.iter().enumerate() {
                let ours = if number < OURS_FIRST { &[] } else { &sides[..OURS_FIRST] };
                let ours = ours.iter().map(part);
                lines.push(format!("{what:26}{:32}{}", side.name, columns(part(side), ours)));
            }
        }
        lines.push(String::new());
    }
    lines.join("\n")
}

fn columns<'a>(measured: &Measured, ours: impl Iterator<Item = &'a Measured>) -> String {
    let ratio = ours.map(|ours| {
        let ratios = ours.ratios_to(measured);
        let [low, middle, high] = [0.25, 0.5, 0.75].map(|part| quantile(&ratios, part));
        format!("{:>22}", format!("{middle:.2} ({low:.2}-{high:.2})"))
    });
    let ratio: String = ratio.collect();
    let [p50, p99] = percentiles(measured);
    format!("{ratio:44}{:>12.0}{p50:>9.2}{p99:>9.2}{:>8}", measured.rate(), measured.failed)
}

/// In milliseconds.
fn percentiles(measured: &Measured) -> [f64; 2] {
    [0.5, 0.99].map(|part| quantile(&measured.latencies, part) * 1e3)
}

/// All of it for programs: a table for each engine's requests, and one for the bytes.
#[must_use]
pub fn tables(outcomes: &Outcomes) -> Vec<Table> {
    let columns = [
        "requests/s",
        "how many times the row's rate is ours",
        "how many times it is ours sealed by ring",
        "p50, ms",
        "p99, ms",
        "failed",
    ];
    let mut tables = Vec::new();
    for (kind, sides) in outcomes {
        let mut table = Table::new(kind.name(), &columns);
        for (what, part) in PARTS {
            for side in sides {
                let measured = part(side);
                let ratio = |number: usize| {
                    let ours = sides.get(number);
                    ours.map_or(f64::NAN, |ours| quantile(&part(ours).ratios_to(measured), 0.5))
                };
                let [p50, p99] = percentiles(measured);
                #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
                let failed = measured.failed as f64;
                table.push(format!("{}, {what}", side.name), &[measured.rate(), ratio(0), ratio(1), p50, p99, failed]);
            }
        }
        tables.push(table);
    }
    let columns = ["written by a change", "stored after the login", "just after a change", "minutes later"];
    let mut bytes = Table::new("bytes of a session", &columns);
    for (kind, side) in outcomes.iter().flat_map(|(kind, sides)| sides.iter().map(move |side| (kind, side))) {
        if let Some(size) = side.size {
            let written = side.writes.written_each();
            let name = format!("{}, {}", kind.name(), side.name);
            bytes.push(name, &[written, size.after_login, size.after_write, size.settled]);
        }
    }
    tables.push(bytes);
    tables
}

/// Bytes written and stored.
#[must_use]
pub fn sizes(outcomes: &Outcomes) -> String {
    let mut lines = vec![
        "Bytes. Written: what a write adds to the engine's log (PostgreSQL's WAL by pg_current_wal_lsn, InnoDB's redo log\n\
         by Innodb_lsn_current, Redis's append-only file by aof_current_size), or what SQLite's process writes to its\n\
         files. Stored: a session's part of the table and its indexes, tidied up (VACUUM FULL, OPTIMIZE, VACUUM); of\n\
         Redis the memory of its keys (MEMORY USAGE).\n"
            .to_owned(),
        format!("{:50}{:>9}{:>14}{:>14}{:>14}", "", "written", "stored: login", "just changed", "minutes later"),
    ];
    for (kind, sides) in outcomes {
        for side in sides {
            let Some(size) = side.size else { continue };
            lines.push(format!(
                "{:18}{:32}{:>9.0}{:>14.0}{:>14.0}{:>14.0}",
                kind.name(),
                side.name,
                side.writes.written_each(),
                size.after_login,
                size.after_write,
                size.settled
            ));
        }
    }
    lines.join("\n") + "\n"
}

/// Row by row, where we are ahead of a peer and where not.
#[must_use]
pub fn verdicts(outcomes: &Outcomes) -> String {
    let mut lines = Vec::new();
    for (kind, sides) in outcomes {
        let (Some(ours), Some(peers)) = (sides.first(), sides.get(OURS_FIRST..)) else { continue };
        for peer in peers {
            let mut rows = Vec::new();
            for (what, part) in PARTS {
                let (ours, theirs) = (part(ours), part(peer));
                let ([ours_p50, ours_p99], [p50, p99]) = (percentiles(ours), percentiles(theirs));
                rows.push((what, "requests/s", quantile(&ours.ratios_to(theirs), 0.5)));
                rows.push((what, "p50", p50 / ours_p50));
                rows.push((what, "p99", p99 / ours_p99));
            }
            if let (Some(ours_size), Some(size)) = (ours.size, peer.size) {
                rows.push(("write", "bytes written", peer.writes.written_each() / ours.writes.written_each()));
                rows.push(("bytes stored", "after the login", size.after_login / ours_size.after_login));
                rows.push(("bytes stored", "just after a change", size.after_write / ours_size.after_write));
                rows.push(("bytes stored", "minutes later", size.settled / ours_size.settled));
            }
            for (what, row, times) in rows {
                let verdict = if times >= 1.0 { "ahead " } else { "BEHIND" };
                let (kind, peer) = (kind.name(), peer.name);
                lines.push(format!("{verdict}  {kind} / {peer} / {what}, {row}: {times:.2} times as good"));
            }
        }
    }
    lines.join("\n")
}
