//! Charts as inline SVG, in the page's own colours.

use std::fmt::Write;

use super::html::escaped;
use crate::row::Row;

const WIDTH: f64 = 720.0;
/// How wide a name is taken to be, and how high.
const NAME: f64 = 160.0;
const LINE: f64 = 14.0;

/// The next of 1, 2, 5, 10, 20, 50, … that is not below a value.
fn round_up(value: f64) -> f64 {
    let mut step = 10_f64.powf(value.max(1e-6).log10().floor());
    for factor in [1.0, 2.0, 5.0, 10.0] {
        if step * factor >= value {
            step *= factor;
            break;
        }
    }
    step
}

/// Speed of decode against the peak of memory; nothing where no row has both.
pub fn speed_and_memory(rows: &[Row]) -> Option<String> {
    let points: Vec<(f64, f64, String)> = rows
        .iter()
        .filter_map(|row| {
            let memory = row.figures.peak_bytes()? as f64 / 1e6;
            Some((memory, row.figures.decode_tokens_per_s?, row.title()))
        })
        .collect();
    if points.is_empty() {
        return None;
    }
    let right = round_up(points.iter().map(|point| point.0).fold(0.0, f64::max));
    let top = round_up(points.iter().map(|point| point.1).fold(0.0, f64::max));
    let (left, height) = (56.0, 300.0);
    let x = |value: f64| left + value / right * (WIDTH - left - 20.0);
    let y = |value: f64| height - 40.0 - value / top * (height - 76.0);
    let mut svg = format!(
        "<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"decode speed against peak memory\">"
    );
    for step in 0..=4 {
        let (at_x, at_y) = (right * f64::from(step) / 4.0, top * f64::from(step) / 4.0);
        let _ = write!(
            svg,
            "<line class=\"grid\" x1=\"{left}\" x2=\"{}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/><text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{at_y}</text>\
             <text x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\">{at_x}</text>",
            WIDTH - 20.0,
            left - 6.0,
            y(at_y) + 4.0,
            x(at_x),
            height - 22.0,
            y = y(at_y),
        );
    }
    // Where names stand, so that none stands on another.
    let mut taken: Vec<(f64, f64)> = Vec::new();
    for (memory, speed, name) in &points {
        let (px, py) = (x(*memory), y(*speed));
        let mut at = py + 4.0;
        while taken
            .iter()
            .any(|(x, y)| (x - px).abs() < NAME && (y - at).abs() < LINE)
        {
            at -= LINE;
        }
        taken.push((px, at));
        // Names on the right half stand on the left of their points, so that none leaves the picture.
        let (anchor, dx) = if px > WIDTH * 0.6 {
            ("end", -8.0)
        } else {
            ("start", 8.0)
        };
        let _ = write!(
            svg,
            "<circle class=\"dot\" cx=\"{px:.1}\" cy=\"{py:.1}\" r=\"5\"><title>{name}: {memory:.0} MB, {speed:.1} tokens/s</title></circle>\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\">{name}</text>",
            px + dx,
            at,
            name = escaped(name),
        );
    }
    let _ = write!(
        svg,
        "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">peak memory, MB</text><text x=\"6\" y=\"14\">decode, tokens/s</text></svg>",
        WIDTH - 20.0,
        height - 4.0
    );
    Some(svg)
}

/// Where each row's time went, as bars; nothing where no row has times.
pub fn time_by_phase(rows: &[Row]) -> Option<String> {
    let phases = |row: &Row| {
        let figures = &row.figures;
        [
            ("load", figures.load_s),
            ("picture", figures.picture_s),
            ("encode", figures.encode_s),
            ("prefill", figures.prefill_s),
            // All that a client sees of another program's picture and prompt.
            (
                "first token",
                figures.first_token_s.filter(|_| figures.prefill_s.is_none()),
            ),
            ("decode", figures.decode_s),
        ]
    };
    let sum = |row: &Row| phases(row).iter().filter_map(|(_, time)| *time).sum::<f64>();
    let timed: Vec<&Row> = rows.iter().filter(|row| sum(row) > 0.0).collect();
    let longest = timed.iter().map(|row| sum(row)).fold(0.0, f64::max);
    if timed.is_empty() {
        return None;
    }
    let (bar, left) = (38.0, 8.0);
    let height = bar * timed.len() as f64 + 34.0;
    let mut svg = format!("<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"time by phase\">");
    for (index, (name, _)) in phases(timed[0]).iter().enumerate() {
        let at = left + 100.0 * index as f64;
        let _ = write!(
            svg,
            "<rect class=\"p{index}\" x=\"{at}\" y=\"6\" width=\"12\" height=\"12\"/><text x=\"{}\" y=\"16\">{name}</text>",
            at + 17.0
        );
    }
    for (number, row) in timed.iter().enumerate() {
        let top = 30.0 + bar * number as f64;
        let _ = write!(
            svg,
            "<text x=\"{left}\" y=\"{}\">{}: {:.2} s</text>",
            top + 11.0,
            escaped(&row.title()),
            sum(row)
        );
        let mut at = left;
        for (index, (name, time)) in phases(row).iter().enumerate() {
            let Some(time) = time else { continue };
            let width = time / longest * (WIDTH - 2.0 * left);
            let _ = write!(
                svg,
                "<rect class=\"p{index}\" x=\"{at:.1}\" y=\"{}\" width=\"{width:.2}\" height=\"14\"><title>{name}: {time:.3} s</title></rect>",
                top + 16.0
            );
            at += width;
        }
    }
    svg.push_str("</svg>");
    Some(svg)
}
