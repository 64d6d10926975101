//! How a picture is fitted into tiles, as `get_optimal_tiled_canvas` and `get_image_size_fit_to_canvas` in transformers'
//! `image_processing_pil_mllama.py` compute it.

use monocle_plugin::prelude::*;

/// What becomes of a picture.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fitted {
    /// Its size.
    pub used: Size,
    /// The tiles that it lies on.
    pub grid: Grid,
    /// The number of this arrangement of tiles, from 1.
    pub aspect: u32,
}

impl Fitted {
    /// On the arrangement of tiles that enlarges the picture least, else shrinks it least.
    pub fn new(size: Size, tile: u32, most_tiles: u32) -> Self {
        let scale = |to: u32, from: u32| f64::from(to) / f64::from(from);
        // Arrangements are numbered by rows, then columns.
        let grids = Grid::up_to(most_tiles).map(|grid| Grid::new(grid.rows, grid.columns));
        let scaled = grids.zip(1..).map(|(grid, aspect)| {
            let full = grid.size(tile);
            let scale = scale(full.height, size.height).min(scale(full.width, size.width));
            (scale, grid, aspect)
        });
        let better = |(a, grid, _): &(f64, Grid, u32), (b, other, _): &(f64, Grid, u32)| match (
            *a >= 1.0,
            *b >= 1.0,
        ) {
            (true, false) => true,
            (false, true) => false,
            _ if a == b => grid.tiles() < other.tiles(),
            (true, true) => a < b,
            (false, false) => a > b,
        };
        let best = scaled.reduce(|best, next| if better(&next, &best) { next } else { best });
        let (_, grid, aspect) = best.unwrap_or((1.0, Grid::new(1, 1), 1));
        let full = grid.size(tile);
        let (width, height) = (
            size.width.clamp(tile, full.width),
            size.height.clamp(tile, full.height),
        );
        let (by_width, by_height) = (scale(width, size.width), scale(height, size.height));
        let shrunk = |side: u32, by: f64, most: u32| ((f64::from(side) * by).floor() as u32).max(1).min(most);
        let used = match by_width < by_height {
            true => Size::new(width, shrunk(size.height, by_width, height)),
            false => Size::new(shrunk(size.width, by_height, width), height),
        };
        Self { used, grid, aspect }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Deserialize)]
    struct Golden {
        cases: Vec<Case>,
    }

    #[derive(Deserialize)]
    struct Case {
        size: [u32; 2],
        tile: u32,
        used: [u32; 2],
        tiles: [u32; 2],
        aspect: u32,
    }

    #[test]
    fn sizes_and_tiles_are_those_of_transformers() {
        let golden = include_str!("../../../tests/oracle/mllama/sizes.json");
        let golden: Golden = serde_json::from_str(golden).unwrap();
        for case in golden.cases {
            let size = |[width, height]: [u32; 2]| Size { width, height };
            let expected = Fitted {
                used: size(case.used),
                grid: Grid::new(case.tiles[1], case.tiles[0]),
                aspect: case.aspect,
            };
            assert_eq!(
                Fitted::new(size(case.size), case.tile, 4),
                expected,
                "{:?}",
                case.size
            );
        }
    }
}
