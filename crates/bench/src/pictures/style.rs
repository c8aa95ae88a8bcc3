//! Colours and letters. The background is part of a picture: a page may be dark.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::report::Machine;

pub(super) const BACKGROUND: RGBColor = RGBColor(255, 255, 255);
pub(super) const INK: RGBColor = RGBColor(31, 41, 55);
pub(super) const FAINT: RGBColor = RGBColor(107, 114, 128);
pub(super) const GRID: RGBColor = RGBColor(229, 231, 235);
pub(super) const OURS: RGBColor = RGBColor(29, 78, 216);
pub(super) const OURS_TOO: RGBColor = RGBColor(96, 165, 250);
pub(super) const SECOND: RGBColor = RGBColor(217, 119, 6);
pub(super) const OTHERS: RGBColor = RGBColor(156, 163, 175);

const FONT: &str = "Helvetica, Arial, sans-serif";

/// Letters of so many pixels.
pub(super) fn letters(size: i32, color: &'static RGBColor, horizontal: HPos) -> TextStyle<'static> {
    let style = TextStyle::from((FONT, size).into_font()).color(color);
    style.pos(Pos::new(horizontal, VPos::Center))
}

/// The same for a title.
pub(super) fn bold(size: i32) -> TextStyle<'static> {
    let font = (FONT, size).into_font().style(FontStyle::Bold);
    TextStyle::from(font).color(&INK).pos(Pos::new(HPos::Left, VPos::Center))
}

/// Describes the machine of the measurement, in one line.
pub(super) fn measured_on(machine: &Machine) -> String {
    let words = |text: &str| text.split(' ').take(2).collect::<Vec<_>>().join(" ");
    let system: Vec<_> = words(&machine.system).split('.').take(2).map(str::to_owned).collect();
    let day = machine.date.split('T').next().unwrap_or_default();
    format!("{}, {} cores, {}, {}, {day}", machine.processor, machine.cores, system.join("."), words(&machine.rustc))
}
