//! Which grid of tiles a picture is cut into, as `GotOcr2ImageProcessorPil` of transformers 5.23 and the original code choose it
//! (64-bit floats).

use monocle_plugin::Size;

/// Columns and rows of the grid, of `least` to `most` tiles of this side, whose aspect ratio is nearest to the picture's. Among
/// equals the one with more tiles, as long as the picture has more than half of its pixels.
pub fn grid(size: Size, tile: u32, least: u32, most: u32) -> (u32, u32) {
    let (width, height) = (f64::from(size.width), f64::from(size.height));
    let aspect = width / height;
    let mut grids: Vec<(u32, u32)> = (1..=most)
        .flat_map(|columns| (1..=most / columns).map(move |rows| (columns, rows)))
        .filter(|(columns, rows)| columns * rows >= least)
        .collect();
    grids.sort_by_key(|(columns, rows)| columns * rows);
    let mut best = ((1, 1), f64::INFINITY);
    for grid @ (columns, rows) in grids {
        let difference = (aspect - f64::from(columns) / f64::from(rows)).abs();
        let pixels = f64::from(tile) * f64::from(tile) * f64::from(columns * rows);
        if difference < best.1 || (difference == best.1 && width * height > 0.5 * pixels) {
            best = (grid, difference);
        }
    }
    best.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Deserialize)]
    struct Case {
        size: [u32; 2],
        columns: u32,
        rows: u32,
    }

    #[test]
    fn grids_are_those_of_transformers() {
        let text = include_str!("../../../tests/oracle/internvl/plans.json");
        let cases: Vec<Case> = serde_json::from_str(text).unwrap();
        for case in cases {
            let [width, height] = case.size;
            let found = grid(Size { width, height }, 448, 1, 12);
            assert_eq!(found, (case.columns, case.rows), "{:?}", case.size);
        }
    }
}
