//! The picture of the time that a session adds to a request, as bars.

use anyhow::{Context, Result, anyhow};
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::HPos;

use super::style::{BACKGROUND, FAINT, INK, OTHERS, OURS, OURS_TOO, bold, letters, measured_on};
use crate::cases::{Framework, Kind, RUSTCRYPTO, UNSEALED};
use crate::report::{Report, Row};
use crate::requests::table_name;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// A bar: a name, nanoseconds, and a colour.
type Bar = (String, f64, RGBColor);

const WIDTH: i32 = 1000;
const COLUMN: i32 = 500;
const ROW: i32 = 24;
const GROUP: i32 = 34;
const HEAD: i32 = 92;
const FOOT: i32 = 34;
/// The start of a column's bars, and the length of the longest.
const LABELS: i32 = 230;
const LONGEST: i32 = 195;

pub(super) fn draw(report: &Report) -> Result<String> {
    let groups = Framework::ALL.map(|framework| {
        Ok((framework.to_string(), bars(report, framework, Kind::Read)?, bars(report, framework, Kind::Write)?))
    });
    let groups = groups.into_iter().collect::<Result<Vec<_>>>()?;
    let rows: i32 = groups.iter().map(|(_, reads, _)| GROUP + ROW * i32::try_from(reads.len()).unwrap_or(0)).sum();
    let height = HEAD + rows + FOOT;

    let mut picture = String::new();
    {
        let size = (u32::try_from(WIDTH)?, u32::try_from(height)?);
        let area = SVGBackend::with_string(&mut picture, size).into_drawing_area();
        let drawn = fill(&area, &groups, height, &measured_on(&report.machine));
        drawn.map_err(|error| anyhow!("{error}"))?;
    }
    Ok(picture)
}

/// Returns a bar for every row of a kind, ours in colours.
fn bars(report: &Report, framework: Framework, kind: Kind) -> Result<Vec<Bar>> {
    let name = table_name(framework, kind);
    let table = report.tables.iter().find(|table| table.name == name).with_context(|| format!("no {name}"))?;
    let bar = |row: &Row| {
        let over_bare = row.values.first().copied().flatten().with_context(|| format!("no number for {}", row.name))?;
        let color = match row.name.as_str() {
            RUSTCRYPTO => OURS_TOO,
            name if name.starts_with(UNSEALED) => OURS,
            _ => OTHERS,
        };
        Ok((row.name.clone(), over_bare, color))
    };
    table.rows.iter().map(bar).collect()
}

fn fill(
    area: &Area<'_>,
    groups: &[(String, Vec<Bar>, Vec<Bar>)],
    height: i32,
    measured_on: &str,
) -> Result<(), Box<dyn std::error::Error>> {
    area.fill(&BACKGROUND)?;
    let text = |words: &str, style: &TextStyle<'_>, place| area.draw_text(words, style, place);
    text("What a session adds to a request", &bold(20), (24, 28))?;
    let what = "microseconds over the bare route, in a hot loop; 300 bytes of data in five keys; shorter is better";
    text(what, &letters(14, &FAINT, HPos::Left), (24, 52))?;
    for (column, (act, of)) in [("a read", 0), ("a write", 1)].into_iter().enumerate() {
        let left = COLUMN * i32::try_from(column)? + 24;
        text(act, &bold(15), (left + LABELS, HEAD - 14))?;
        let bars = |group: &'_ (String, Vec<Bar>, Vec<Bar>)| if of == 0 { group.1.clone() } else { group.2.clone() };
        let longest = groups.iter().flat_map(bars).map(|(_, nanos, _)| nanos).fold(0.0, f64::max);
        let mut y = HEAD;
        for group in groups {
            text(&group.0, &bold(14), (left, y + 10))?;
            y += GROUP - 8;
            for (name, nanos, color) in bars(group) {
                text(&name, &letters(13, &INK, HPos::Right), (left + LABELS - 10, y + 8))?;
                #[expect(clippy::cast_possible_truncation, reason = "pixels")]
                let length = (nanos / longest * f64::from(LONGEST)).round() as i32;
                let bar = [(left + LABELS, y), (left + LABELS + length.max(1), y + 16)];
                area.draw(&Rectangle::new(bar, color.filled()))?;
                let value = format!("{:.1}", nanos / 1e3);
                text(&value, &letters(13, &INK, HPos::Left), (left + LABELS + length + 7, y + 8))?;
                y += ROW;
            }
            y += 8;
        }
    }
    text(measured_on, &letters(12, &FAINT, HPos::Left), (24, height - 18))?;
    area.present()?;
    Ok(())
}
