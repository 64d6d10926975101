//! Pictures cut into tiles of one size.

use crate::{Image, Size};

/// Rows and columns of tiles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Grid {
    /// Tiles beside each other.
    pub columns: u32,
    /// Tiles below each other.
    pub rows: u32,
}

impl Grid {
    /// So many tiles beside and below each other.
    pub fn new(columns: u32, rows: u32) -> Self {
        Self { columns, rows }
    }

    /// All grids of at most so many tiles: those of one column first, by rows.
    pub fn up_to(most: u32) -> impl Iterator<Item = Self> {
        (1..=most).flat_map(move |columns| (1..=most / columns).map(move |rows| Self::new(columns, rows)))
    }

    /// Of `least` to `most` tiles of this side, the grid whose aspect ratio is nearest to the picture's. Among equals the one with more tiles, as
    /// long as the picture has more than half of its pixels. As `find_closest_aspect_ratio` of InternVL's original code and
    /// `get_optimal_tiled_canvas` in transformers' `image_processing_pil_got_ocr2.py` choose it (64-bit floats).
    pub fn nearest(size: Size, tile: u32, least: u32, most: u32) -> Self {
        let (width, height) = (f64::from(size.width), f64::from(size.height));
        let mut grids: Vec<Self> = Self::up_to(most).filter(|grid| grid.tiles() >= least).collect();
        grids.sort_by_key(|grid| grid.tiles());
        let mut best = (Self::new(1, 1), f64::INFINITY);
        for grid in grids {
            let difference = (width / height - f64::from(grid.columns) / f64::from(grid.rows)).abs();
            let pixels = f64::from(tile).powi(2) * f64::from(grid.tiles());
            if difference < best.1 || (difference == best.1 && width * height > 0.5 * pixels) {
                best = (grid, difference);
            }
        }
        best.0
    }

    /// How many tiles.
    pub fn tiles(self) -> u32 {
        self.columns * self.rows
    }

    /// The size of a picture that tiles of this side fill.
    pub fn size(self, tile: u32) -> Size {
        Size::new(self.columns * tile, self.rows * tile)
    }
}

impl Image {
    /// Tiles of this side, row by row; what a tile has beyond the picture is black.
    pub fn tiles(&self, grid: Grid, side: u32) -> Vec<Image> {
        let corner = |index: u32| (index * side) as i32;
        let tile = |number: u32| {
            let (row, column) = (number / grid.columns, number % grid.columns);
            self.crop(corner(column), corner(row), side, side)
        };
        (0..grid.tiles()).map(tile).collect()
    }
}
