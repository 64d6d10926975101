//! How LLaVA-1.6 and LLaVA-OneVision cut a picture: it is fitted into the best of some sizes, padded, and cut into squares; features of the padding are
//! dropped again, and LLaVA-OneVision stretches the rest to fewer where they are too many. As `LlavaNextImageProcessorPil`, `LlavaNextProcessor` and
//! `LlavaOnevisionProcessor` of transformers 5.23 compute it (64-bit floats).

use std::ops::Range;

use monocle_plugin::prelude::*;

/// How one picture is cut.
#[derive(Debug, Clone, PartialEq)]
pub struct Anyres {
    /// The size it is resized to.
    pub fitted: Size,
    /// The size it is padded to, a multiple of the tile's.
    pub padded: Size,
    /// The tiles.
    pub grid: Grid,
    /// Rows of patches, of all tiles together, that show the picture; may be empty for a very long one.
    pub kept_rows: Range<u32>,
    /// Columns of patches that show the picture.
    pub kept_columns: Range<u32>,
    /// Rows and columns of features that these become.
    pub stretched: [u32; 2],
}

impl Anyres {
    /// For a picture of this size. `sizes` must not be empty and must be multiples of `tile` pixels; a tile has `patches` patches a
    /// side. With `most`, features are as many as of so many tiles, or a little more.
    pub fn new(size: Size, sizes: &[Size], tile: u32, patches: u32, most: Option<u32>) -> Self {
        let padded = best(size, sizes);
        let grid = Grid::new(padded.width / tile, padded.height / tile);
        let (kept_rows, kept_columns) = kept(size, grid.rows * patches, grid.columns * patches);
        let left = [kept_rows.len() as u32, kept_columns.len() as u32];
        let stretched = match most {
            Some(most) => stretched(left, f64::from(most) * f64::from(patches).powi(2)),
            None => left,
        };
        Self {
            stretched,
            fitted: fit(size, padded),
            padded,
            grid,
            kept_rows,
            kept_columns,
        }
    }

    /// Features of the tiles: those that show the picture, and one at the end of each of their rows.
    pub fn features(&self) -> u32 {
        let [rows, columns] = self.stretched;
        rows * (columns + 1)
    }

    /// Numbers for the network: rows and columns of tiles, which rows and columns of patches to keep, and how many these become.
    pub fn layout(&self) -> Vec<u32> {
        let (grid, rows, columns) = (self.grid, &self.kept_rows, &self.kept_columns);
        [
            [grid.rows, grid.columns],
            [rows.start, rows.end],
            [columns.start, columns.end],
            self.stretched,
        ]
        .concat()
    }
}

/// The size in which most of the picture's resolution survives; among equals, the one with the least padding.
fn best(size: Size, sizes: &[Size]) -> Size {
    let (width, height) = (f64::from(size.width), f64::from(size.height));
    let area = |size: Size| u64::from(size.width) * u64::from(size.height);
    let mut best = (sizes[0], 0, u64::MAX);
    for &candidate in sizes {
        let scale = (f64::from(candidate.width) / width).min(f64::from(candidate.height) / height);
        let scaled = (width * scale) as u64 * (height * scale) as u64;
        let effective = scaled.min(area(size));
        let wasted = area(candidate) - effective;
        if effective > best.1 || (effective == best.1 && wasted < best.2) {
            best = (candidate, effective, wasted);
        }
    }
    best.0
}

/// The largest size of the picture's aspect ratio within `bounds`.
fn fit(size: Size, bounds: Size) -> Size {
    let across = f64::from(bounds.width) / f64::from(size.width);
    let down = f64::from(bounds.height) / f64::from(size.height);
    let side = |side: u32, by: f64, most: u32| most.min((f64::from(side) * by).ceil() as u32);
    match across < down {
        true => Size::new(bounds.width, side(size.height, across, bounds.height)),
        false => Size::new(side(size.width, down, bounds.width), bounds.height),
    }
}

/// Which of `rows` by `columns` patches show the picture.
fn kept(size: Size, rows: u32, columns: u32) -> (Range<u32>, Range<u32>) {
    let (width, height) = (f64::from(size.width), f64::from(size.height));
    let (across, down) = (f64::from(columns), f64::from(rows));
    let middle = |all: u32, scaled: f64| {
        let padding = (all - (round_to_7_places(scaled) as u32).min(all)) / 2;
        padding..all - padding
    };
    if width / height > across / down {
        (middle(rows, height * (across / width)), 0..columns)
    } else {
        (0..rows, middle(columns, width * (down / height)))
    }
}

/// So many rows and columns, in proportion, that about `most` remain; as they are where they are not a fifth more.
fn stretched([rows, columns]: [u32; 2], most: f64) -> [u32; 2] {
    let ratio = (f64::from(rows) * f64::from(columns) / most).sqrt();
    match ratio > 1.1 {
        // None of a row or a column would be a picture of nothing, which the reference cannot stretch to either.
        true => [rows, columns].map(|side| ((f64::from(side) / ratio).floor() as u32).max(1)),
        false => [rows, columns],
    }
}

/// Python's `round(x, 7)`, which rounds the decimal value as Rust's formatting does.
fn round_to_7_places(x: f64) -> f64 {
    format!("{x:.7}").parse().expect("a formatted number is a number")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Deserialize)]
    struct Case {
        size: [u32; 2],
        padded: [u32; 2],
        fitted: [u32; 2],
        /// Row and column of the first patch that is kept.
        first: Option<[u32; 2]>,
        /// Rows and columns of patches that are kept.
        kept: [u32; 2],
        features: u32,
    }

    fn size([width, height]: [u32; 2]) -> Size {
        Size { width, height }
    }

    #[test]
    fn sizes_and_features_are_those_of_transformers() {
        let text = include_str!("../../../tests/oracle/llava_next/plans.json");
        let cases: Vec<Case> = serde_json::from_str(text).unwrap();
        let sizes = [[672, 336], [336, 672], [672, 672], [336, 1008], [1008, 336]].map(size);
        for case in cases {
            let place = format!("{:?}", case.size);
            let anyres = Anyres::new(size(case.size), &sizes, 336, 24, None);
            assert_eq!(anyres.padded, size(case.padded), "{place}");
            assert_eq!(anyres.fitted, size(case.fitted), "{place}");
            let kept = [anyres.kept_rows.len() as u32, anyres.kept_columns.len() as u32];
            assert_eq!(kept, case.kept, "{place}");
            if let Some(first) = case.first {
                assert_eq!(
                    [anyres.kept_rows.start, anyres.kept_columns.start],
                    first,
                    "{place}"
                );
            }
            assert_eq!(24 * 24 + anyres.features(), case.features, "{place}");
        }
    }

    #[derive(Deserialize)]
    struct Published {
        cases: Vec<Stretched>,
    }

    #[derive(Deserialize)]
    struct Stretched {
        size: [u32; 2],
        padded: [u32; 2],
        features: u32,
    }

    #[test]
    fn too_many_features_are_as_many_as_those_of_transformers() {
        let text = include_str!("../../../tests/oracle/llava_onevision/sizes.json");
        let published: Published = serde_json::from_str(text).unwrap();
        let sides = || (1..=6).map(|tiles| tiles * 384);
        let sizes = sides().flat_map(|height| sides().map(move |width| Size { width, height }));
        let sizes: Vec<Size> = sizes.collect();
        for case in published.cases {
            let anyres = Anyres::new(size(case.size), &sizes, 384, 27, Some(9));
            assert_eq!(anyres.padded, size(case.padded), "{:?}", case.size);
            assert_eq!(27 * 27 + anyres.features(), case.features, "{:?}", case.size);
        }
    }
}
