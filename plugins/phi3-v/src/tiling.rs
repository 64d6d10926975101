//! The size that a picture gets: whole tiles, at most so many, near the picture's shape. As mlx-vlm 0.7.10 computes it
//! (`_calc_hd_transform_size`); the picture is stretched to it.

use monocle_plugin::prelude::*;

/// Sides of a tile in pixels.
pub const TILE: u32 = 336;
/// Features along a side of a tile.
pub const SIDE: u32 = 12;

/// How a picture is cut.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tiling(pub Grid);

impl Tiling {
    /// For a picture of this size, at most `crops` tiles.
    pub fn new(size: Size, crops: u32) -> Self {
        let (long, short) = (size.width.max(size.height), size.width.min(size.height));
        let ratio = f64::from(long) / f64::from(short);
        let across = |along: u32| (f64::from(along) / ratio).ceil() as u32;
        let fits = |along: &u32| along * across(*along) <= crops;
        let along = (1..=crops).take_while(fits).last().unwrap_or(1);
        let pixels = (f64::from(along * TILE) / ratio) as u32;
        // The reference refuses pictures so thin that no pixel is left.
        let across = pixels.div_ceil(TILE).max(1);
        Self(match size.width < size.height {
            true => Grid::new(across, along),
            false => Grid::new(along, across),
        })
    }

    /// The size that is cut into tiles.
    pub fn size(self) -> Size {
        self.0.size(TILE)
    }

    /// How many pictures the vision tower sees: the overview and the tiles.
    pub fn pictures(self) -> u32 {
        1 + self.0.tiles()
    }

    /// How many features they become: each row of them is followed by one more, and one stands before the overview.
    pub fn features(self) -> u32 {
        self.pictures() * SIDE * SIDE + 1 + (self.0.rows + 1) * SIDE
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
        crops: u32,
        used: [u32; 2],
        features: u32,
    }

    fn size([width, height]: [u32; 2]) -> Size {
        Size { width, height }
    }

    #[test]
    fn sizes_are_those_of_mlx_vlm() {
        let golden = include_str!("../../../tests/oracle/phi3_v/sizes.json");
        let golden: Golden = serde_json::from_str(golden).unwrap();
        for case in golden.cases {
            let tiling = Tiling::new(size(case.size), case.crops);
            let found = (tiling.size(), tiling.features());
            assert_eq!(
                found,
                (size(case.used), case.features),
                "{:?} in {}",
                case.size,
                case.crops
            );
        }
    }

    #[test]
    fn the_thinnest_pictures_have_tiles() {
        let tiling = Tiling::new(size([1, 3000]), 4);
        assert_eq!(tiling, Tiling(Grid::new(1, 4)));
    }
}
