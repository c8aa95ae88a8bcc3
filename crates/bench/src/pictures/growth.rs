//! The picture of the growth of a request's cost: a small chart for each thing that there is more of.

use std::ops::Range;

use anyhow::{Context, Result, anyhow};
use plotters::coord::Shift;
use plotters::coord::ranged1d::{AsRangedCoord, Ranged, ValueFormatter};
use plotters::prelude::*;
use plotters::style::text_anchor::HPos;

use super::style::{BACKGROUND, FAINT, GRID, INK, OTHERS, OURS, SECOND, bold, letters, measured_on};
use crate::report::{Report, Table};

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn = Result<(), Box<dyn std::error::Error>>;

/// A chart: what there is more of, and its curves, each with what it is and its colour.
struct Chart<'a> {
    title: &'static str,
    curves: Vec<(&'static str, &'a Table, &'static RGBColor)>,
    /// Set to `true` if each step is ten times as much.
    by_tens: bool,
}

const SIZE: (u32, u32) = (1000, 660);
const HEAD: u32 = 76;
const FOOT: u32 = 32;

pub(super) fn draw(report: &Report) -> Result<String> {
    let curve = |start: &str| {
        let found = report.tables.iter().find(|table| table.name.starts_with(start));
        found.with_context(|| format!("no curve of {start}"))
    };
    let both = |title, what: &str| {
        let read = ("a read", curve(&format!("a read{what}"))?, &OURS);
        let write = ("a write", curve(&format!("a write{what}"))?, &SECOND);
        anyhow::Ok(Chart { title, curves: vec![read, write], by_tens: false })
    };
    let one =
        |title, what: &str| anyhow::Ok(Chart { title, curves: vec![("a read", curve(what)?, &OURS)], by_tens: false });
    let store = vec![
        ("a read", curve("a read, sessions in MemoryStore")?, &OURS),
        ("a cookie opened, and a HashMap", curve("the floor")?, &OTHERS),
    ];
    let charts = [
        both("bytes of data", ", payload")?,
        both("keys in the session, of as many bytes", " of one, keys in the session")?,
        both("retired cookies of the session", ", retired cookies")?,
        Chart { title: "sessions in the store", curves: store, by_tens: true },
        one("keys in the ring", "a read, keys in the ring")?,
        one("cookies of others in the header", "a read, cookies of others")?,
    ];

    let mut picture = String::new();
    {
        let area = SVGBackend::with_string(&mut picture, SIZE).into_drawing_area();
        let drawn = fill(&area, &charts, &measured_on(&report.machine));
        drawn.map_err(|error| anyhow!("{error}"))?;
    }
    Ok(picture)
}

fn fill(area: &Area<'_>, charts: &[Chart<'_>], measured_on: &str) -> Drawn {
    area.fill(&BACKGROUND)?;
    area.draw_text("How the cost of a request grows", &bold(20), (24, 28))?;
    let what = "microseconds of one request to the engine; lines: the law that the lower half follows";
    area.draw_text(what, &letters(14, &FAINT, HPos::Left), (24, 52))?;
    let foot = i32::try_from(SIZE.1 - FOOT / 2)?;
    area.draw_text(measured_on, &letters(12, &FAINT, HPos::Left), (24, foot))?;
    let panels = area.margin(HEAD, FOOT, 12, 12).split_evenly((2, 3));
    for (panel, chart) in panels.iter().zip(charts) {
        let xs = || chart.curves.iter().flat_map(|(_, table, _)| numbers(table, X));
        let (least, most) = (xs().fold(f64::MAX, f64::min), xs().fold(0.0, f64::max));
        if chart.by_tens {
            one_chart(panel, chart, (least..most).log_scale())?;
        } else {
            one_chart(panel, chart, 0.0..most * 1.02)?;
        }
    }
    area.present()?;
    Ok(())
}

/// The columns of a curve's table.
const X: usize = 0;
const NANOS: usize = 1;
const LAW: usize = 3;

fn numbers(table: &Table, column: usize) -> impl Iterator<Item = f64> {
    table.rows.iter().filter_map(move |row| row.values.get(column).copied().flatten())
}

fn one_chart<S>(panel: &Area<'_>, chart: &Chart<'_>, xs: S) -> Drawn
where
    S: AsRangedCoord<Value = f64>,
    S::CoordDescType: Ranged<ValueType = f64> + ValueFormatter<f64>,
{
    let micros = |table, column| numbers(table, column).map(|nanos| nanos / 1e3);
    let most = chart.curves.iter().flat_map(|(_, table, _)| micros(table, NANOS)).fold(0.0, f64::max);
    let ys: Range<f64> = 0.0..most * 1.25;
    panel.draw_text(chart.title, &letters(14, &INK, HPos::Left), (44, 14))?;
    let mut builder = ChartBuilder::on(panel);
    builder.margin(8).margin_top(28).margin_right(18).x_label_area_size(24).y_label_area_size(34);
    let mut drawn = builder.build_cartesian_2d(xs, ys)?;
    let mut mesh = drawn.configure_mesh();
    mesh.disable_x_mesh().light_line_style(TRANSPARENT).bold_line_style(GRID).axis_style(GRID);
    mesh.label_style(letters(12, &FAINT, HPos::Center)).x_label_formatter(&short).x_labels(5).y_labels(5);
    mesh.y_label_formatter(&|y| format!("{y:.0}")).draw()?;
    for (name, table, color) in &chart.curves {
        // The curves of others have no law to follow.
        let law = if *color == &OTHERS { NANOS } else { LAW };
        let line = numbers(table, X).zip(micros(table, law));
        drawn.draw_series(LineSeries::new(line, color.mix(0.45).stroke_width(2)))?;
        let points = numbers(table, X).zip(micros(table, NANOS));
        drawn.draw_series(points.map(|point| Circle::new(point, 3, color.filled())))?;
        if chart.curves.len() > 1
            && let Some(last) = numbers(table, X).zip(micros(table, NANOS)).last()
        {
            let (x, y) = drawn.backend_coord(&last);
            let (left, top) = panel.get_base_pixel();
            let place = (x - left, y - top - 14);
            panel.draw_text(name, &letters(12, color, HPos::Right), place)?;
        }
    }
    Ok(())
}

/// A number as one says it.
fn short(number: &f64) -> String {
    match *number {
        millions if millions >= 1e6 => format!("{:.0} M", millions / 1e6),
        thousands if thousands >= 1e4 => format!("{:.0} k", thousands / 1e3),
        number => format!("{number:.0}"),
    }
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn large_numbers_are_written_short() {
        assert_eq!([0.0, 2500.0, 1e4, 1e5, 1e7].map(|number| short(&number)), ["0", "2500", "10 k", "100 k", "10 M"]);
    }
}
