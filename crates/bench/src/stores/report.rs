//! The tables.

use super::contest::{Measured, OURS_FIRST, Outcome};
use super::engine::Kind;
use crate::measure::quantile;
use crate::report::Table;

/// Outcomes by engine, ours first in each.
type Outcomes = [(Kind, Vec<Outcome>)];

/// A measurement of each side, with its name.
type Part = (&'static str, fn(&Outcome) -> &Measured);

const PARTS: [Part; 3] = [
    ("read", |side| &side.reads),
    ("read just after a change", |side| &side.reads_after),
    ("write", |side| &side.writes),
];

/// The columns of the table for people.
const COLUMNS: [&str; 10] = [
    "engine",
    "side",
    "read",
    "p50 / p99",
    "read just after a change",
    "p50 / p99",
    "write",
    "p50 / p99",
    "written by a change",
    "stored: after the login, just after a change, minutes later",
];

/// One table in Markdown: a row for each side on each engine, with its rates, latencies and bytes.
#[must_use]
pub fn page(outcomes: &Outcomes) -> String {
    let mut lines = vec![line(COLUMNS), line(COLUMNS.map(|_| "---"))];
    for (kind, sides) in outcomes {
        for (number, side) in sides.iter().enumerate() {
            let ours = sides.get(..OURS_FIRST).filter(|_| number >= OURS_FIRST);
            let [read, after, write] = PARTS.map(|(_, part)| rate(part(side), ours, part));
            let [of_read, of_after, of_write] = PARTS.map(|(_, part)| percentiles(part(side)).map(millis).join(" / "));
            let written = side.writes.written_each();
            let stored = side.size.map(|size| {
                let all = [Some(size.after_login), Some(size.after_write), size.settled];
                all.into_iter().flatten().map(grouped).collect::<Vec<_>>().join(", ")
            });
            let (written, stored) = (written.map(grouped).unwrap_or_default(), stored.unwrap_or_default());
            let cells =
                [kind.name(), side.name, &read, &of_read, &after, &of_after, &write, &of_write, &written, &stored];
            lines.push(line(cells));
        }
    }
    lines.join("\n") + "\n"
}

fn line(cells: [&str; COLUMNS.len()]) -> String {
    format!("| {} |", cells.join(" | "))
}

/// Our own rate, or how many times the peer's rate each of ours is.
fn rate(measured: &Measured, ours: Option<&[Outcome]>, part: fn(&Outcome) -> &Measured) -> String {
    let rate = match ours {
        None => format!("{}/s", grouped(measured.rate())),
        Some(ours) => {
            let ratios = ours.iter().map(|side| quantile(&part(side).ratios_to(measured), 0.5));
            ratios.map(|ratio| format!("{ratio:.2}")).collect::<Vec<_>>().join(", ")
        }
    };
    if measured.failed > 0 { format!("{rate}, {} failed", measured.failed) } else { rate }
}

/// Milliseconds, of which a store in memory takes thousandths.
fn millis(number: f64) -> String {
    if number < 0.1 { format!("{number:.4}") } else { format!("{number:.2}") }
}

/// A whole number with its thousands apart.
fn grouped(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
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
        "how many times it is ours sealed by ring and remembering",
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
                let values = [measured.rate(), ratio(0), ratio(1), ratio(2), p50, p99, failed];
                table.push(format!("{}, {what}", side.name), &values);
            }
        }
        tables.push(table);
    }
    let columns = ["written by a change", "stored after the login", "just after a change", "minutes later"];
    let mut bytes = Table::new("bytes of a session", &columns);
    for (kind, side) in outcomes.iter().flat_map(|(kind, sides)| sides.iter().map(move |side| (kind, side))) {
        if let Some(size) = side.size {
            let [written, settled] = [side.writes.written_each(), size.settled].map(|bytes| bytes.unwrap_or(f64::NAN));
            let name = format!("{}, {}", kind.name(), side.name);
            bytes.push(name, &[written, size.after_login, size.after_write, settled]);
        }
    }
    tables.push(bytes);
    tables
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
                if let (Some(ours), Some(peer)) = (ours.writes.written_each(), peer.writes.written_each()) {
                    rows.push(("write", "bytes written", peer / ours));
                }
                rows.push(("bytes stored", "after the login", size.after_login / ours_size.after_login));
                rows.push(("bytes stored", "just after a change", size.after_write / ours_size.after_write));
                if let (Some(ours), Some(peer)) = (ours_size.settled, size.settled) {
                    rows.push(("bytes stored", "minutes later", peer / ours));
                }
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

#[cfg(test)]
mod unit {
    use super::*;

    fn side(name: &'static str, rate: f64) -> Outcome {
        let measured = Measured { rates: vec![rate], latencies: vec![0.002], ..Measured::default() };
        let (reads, writes, reads_after) = (measured.clone(), measured.clone(), measured);
        Outcome { name, reads, writes, reads_after, size: None }
    }

    #[test]
    fn a_peer_is_shown_by_how_many_times_its_rate_is_each_of_ours() {
        let mut peer = side("peer", 1000.0);
        peer.writes.failed = 3;
        let sides = vec![side("ours", 500.0), side("ring", 1000.0), side("remembering", 12_345.0), peer];
        let page = page(&[(Kind::Memory, sides)]);
        let rows: Vec<&str> = page.lines().collect();
        assert_eq!(rows.len(), 2 + 4, "{page}");
        assert!(rows[4].contains("| 12,345/s | 2.00 / 2.00 |"), "{page}");
        assert!(rows[5].contains("| peer | 0.50, 1.00, 12.35 |") && rows[5].contains(", 3 failed |"), "{page}");
    }

    #[test]
    fn a_latency_of_microseconds_is_not_zero() {
        assert_eq!([0.004_23, 0.1, 12.5].map(millis), ["0.0042", "0.10", "12.50"]);
    }

    #[test]
    fn thousands_stand_apart() {
        assert_eq!([0.4, 999.0, 1000.0, 1_234_567.0].map(grouped), ["0", "999", "1,000", "1,234,567"]);
    }
}
