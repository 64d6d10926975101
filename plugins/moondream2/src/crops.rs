//! How a picture is cut: `image_crops.py` of the original.

use monocle_plugin::prelude::*;

use crate::config::VisionConfig;

/// How many crops lie beside and below each other. Each shares a margin of patches with its neighbours.
pub fn grid(size: Size, config: &VisionConfig) -> Grid {
    let margins = 2 * config.overlap_margin * config.enc_patch_size;
    let step = config.crop_size - margins;
    let inner = |side: u32| side.saturating_sub(margins);
    let [columns, rows] = tiling([inner(size.width), inner(size.height)], step, config.max_crops);
    Grid::new(columns, rows)
}

/// The size that a picture gets before it is cut.
pub fn target(grid: Grid, config: &VisionConfig) -> Size {
    let margins = 2 * config.overlap_margin * config.enc_patch_size;
    let step = config.crop_size - margins;
    Size::new(grid.columns * step + margins, grid.rows * step + margins)
}

/// Columns and rows for a picture of this width and height, less its margins.
fn tiling(sides: [u32; 2], step: u32, most: u32) -> [u32; 2] {
    let [width, height] = sides;
    if width <= step || height <= step {
        return [1, 1];
    }
    let least = sides.map(|side| side.div_ceil(step));
    let needed = u64::from(least[0]) * u64::from(least[1]);
    if needed > u64::from(most) {
        let ratio = (f64::from(most) / needed as f64).sqrt();
        return least.map(|side| ((f64::from(side) * ratio) as u32).max(1));
    }
    let ideal = |a: u32, b: u32| (f64::from(most) * f64::from(a) / f64::from(b)).sqrt() as u32;
    let [mut columns, mut rows] = [
        ideal(width, height).max(least[0]),
        ideal(height, width).max(least[1]),
    ];
    if columns * rows > most {
        if columns > rows {
            columns = most / rows;
        } else {
            rows = most / columns;
        }
    }
    [columns.max(1), rows.max(1)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crops_are_those_of_the_original() {
        // The original's `select_tiling`, by make_moondream2.py.
        let text = std::fs::read_to_string(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../tests/oracle/moondream2/sizes.json"
        ));
        let golden: serde_json::Value = serde_json::from_str(&text.unwrap()).unwrap();
        let cases = golden["cases"].as_array().unwrap();
        assert!(cases.len() > 9);
        for case in cases {
            let number = |key: &str, index: usize| case[key][index].as_u64().unwrap() as u32;
            let size = Size::new(number("size", 0), number("size", 1));
            let found = grid(size, &VisionConfig::default());
            assert_eq!(
                [found.columns, found.rows],
                [number("crops", 0), number("crops", 1)],
                "{size:?}"
            );
        }
    }
}
