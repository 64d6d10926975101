//! The sizes that a picture goes through, as `Lfm2VlImageProcessor` of transformers 5.23 computes them (64-bit floats).

use monocle_plugin::config::Section;
use monocle_plugin::prelude::*;

/// More tiles than this are a mistake in the config; published models have at most 10.
const MOST_TILES: u32 = 1024;

/// The rules.
#[derive(Debug, Clone, PartialEq)]
pub struct Rules {
    /// Sides of a patch, in pixels.
    pub patch: u32,
    /// Squares of so many patches a side become one feature.
    pub shuffle: u32,
    /// The least and the most features of a picture that is not cut, and of an overview.
    pub features: (u32, u32),
    /// Sides of a tile, in pixels.
    pub tile: u32,
    /// The least and the most tiles, the overview not counted; 1 and 1: nothing is cut.
    pub tiles: (u32, u32),
    /// Pictures are cut when they have so many times the pixels of the most features.
    pub tolerance: f64,
    /// Tiles are followed by an overview.
    pub overview: bool,
}

/// How one picture is cut.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tiling {
    /// Columns of tiles; 0 when the picture is not cut.
    pub columns: u32,
    /// Rows of tiles; 0 when the picture is not cut.
    pub rows: u32,
    /// The size of the picture when it is not cut, or of its overview.
    pub whole: Size,
}

impl Rules {
    /// From `preprocessor_config.json`, else `config.json`; what both leave out is as in the reference's class.
    pub fn read(rules: &Section, config: &Section) -> Result<Self> {
        let number = |key: &str, default: u32| match rules.find(key)? {
            Some(number) => Ok(number),
            None => config.get_or(key, default),
        };
        let flag = |key: &str| match rules.find(key)? {
            Some(flag) => Ok(flag),
            None => config.get_or(key, true),
        };
        let read = Self {
            patch: number("encoder_patch_size", 16)?,
            shuffle: number("downsample_factor", 2)?,
            features: (number("min_image_tokens", 64)?, number("max_image_tokens", 256)?),
            tile: number("tile_size", 512)?,
            tiles: match flag("do_image_splitting")? {
                true => (number("min_tiles", 2)?, number("max_tiles", 10)?),
                false => (1, 1),
            },
            tolerance: match rules.find("max_pixels_tolerance")? {
                Some(tolerance) => tolerance,
                None => config.get_or("max_pixels_tolerance", 2.0)?,
            },
            overview: flag("use_thumbnail")?,
        };
        read.check()?;
        Ok(read)
    }

    fn check(&self) -> Result<()> {
        let square = self
            .patch
            .checked_mul(self.shuffle)
            .filter(|&square| square > 0 && square <= 4096);
        let square =
            square.context("`encoder_patch_size` times `downsample_factor` should be 1 to 4096 pixels")?;
        ensure!(
            self.tile > 0 && self.tile.is_multiple_of(square) && self.tile <= 1 << 14,
            "`tile_size` is {}, expected a multiple of {square}",
            self.tile
        );
        let (least, most) = self.tiles;
        ensure!(
            1 <= most && least <= most && most <= MOST_TILES,
            "{least} to {most} tiles, expected at most {MOST_TILES}"
        );
        (1..=1 << 16)
            .contains(&self.features.1)
            .then_some(())
            .context(format_args!(
                "`max_image_tokens` is {}, expected 1 to 65536",
                self.features.1
            ))
    }

    /// How a picture of this size is cut.
    pub fn tiling(&self, size: Size) -> Tiling {
        let whole = self.whole(size);
        let (columns, rows) = match self.is_large(size) && self.tiles != (1, 1) {
            true => self.grid(size),
            false => (1, 1),
        };
        // A grid of one tile would be the picture alone.
        match columns * rows {
            1 => Tiling {
                columns: 0,
                rows: 0,
                whole,
            },
            _ => Tiling { columns, rows, whole },
        }
    }

    /// Features of one tile.
    pub fn tile_features(&self) -> u32 {
        (self.tile / self.square()).pow(2)
    }

    /// Features of a picture that is not cut, or of an overview.
    pub fn whole_features(&self, tiling: &Tiling) -> u32 {
        (tiling.whole.width / self.square()) * (tiling.whole.height / self.square())
    }

    /// Sides of the square of pixels that becomes one feature.
    fn square(&self) -> u32 {
        self.patch * self.shuffle
    }

    fn pixels(&self, features: u32) -> f64 {
        f64::from(features) * f64::from(self.square()).powi(2)
    }

    /// Whether the picture has too many pixels to be seen at once.
    fn is_large(&self, Size { width, height }: Size) -> bool {
        let side = |side: u32| self.nearest(side).max(f64::from(self.patch));
        side(width) * side(height) > self.pixels(self.features.1) * self.tolerance
    }

    /// The multiple of the square's side that is nearest; of two, the even one, as Python rounds.
    fn nearest(&self, side: u32) -> f64 {
        let square = f64::from(self.square());
        (f64::from(side) / square).round_ties_even() * square
    }

    /// The size of the picture seen at once: whole squares, and as many as it may have.
    fn whole(&self, Size { width, height }: Size) -> Size {
        let square = f64::from(self.square());
        let (least, most) = (self.pixels(self.features.0), self.pixels(self.features.1));
        let area = f64::from(width) * f64::from(height);
        let near = |side: u32| self.nearest(side).max(square);
        let pixels = near(width) * near(height);
        let side = |side: u32| {
            let side_as_float = f64::from(side);
            if pixels > most {
                let shrink = (area / most).sqrt();
                ((side_as_float / shrink / square).floor() * square).max(square)
            } else if pixels < least {
                let grow = (least / area).sqrt();
                (side_as_float * grow / square).ceil() * square
            } else {
                near(side)
            }
        };
        Size {
            width: side(width) as u32,
            height: side(height) as u32,
        }
    }

    /// Columns and rows of the grid whose aspect ratio is nearest to the picture's; among equals the one with more tiles, as long as
    /// the picture has more than half of its pixels.
    fn grid(&self, size: Size) -> (u32, u32) {
        let (width, height) = (f64::from(size.width), f64::from(size.height));
        let (least, most) = self.tiles;
        let mut grids: Vec<(u32, u32)> = (1..=most)
            .flat_map(|columns| (1..=most / columns).map(move |rows| (columns, rows)))
            .filter(|(columns, rows)| columns * rows >= least)
            .collect();
        grids.sort_by_key(|(columns, rows)| columns * rows);
        let mut best = ((1, 1), f64::INFINITY);
        for grid @ (columns, rows) in grids {
            let difference = (width / height - f64::from(columns) / f64::from(rows)).abs();
            let pixels = f64::from(self.tile).powi(2) * f64::from(columns * rows);
            if difference < best.1 || (difference == best.1 && width * height > 0.5 * pixels) {
                best = (grid, difference);
            }
        }
        best.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(rules: &str) -> Result<Rules> {
        let section = |text| Section::parse("preprocessor_config.json", text).unwrap();
        Rules::read(&section(rules), &section("{}"))
    }

    #[test]
    fn rules_left_out_are_the_reference_s() {
        // transformers 5.23: Lfm2VlImageProcessor
        let expected = Rules {
            patch: 16,
            shuffle: 2,
            features: (64, 256),
            tile: 512,
            tiles: (2, 10),
            tolerance: 2.0,
            overview: true,
        };
        assert_eq!(read("{}").unwrap(), expected);
    }

    #[test]
    fn a_grid_of_one_tile_is_the_picture_alone() {
        let size = Size::square(1500);
        for rules in [
            r#"{"min_tiles": 1, "max_tiles": 1}"#,
            r#"{"do_image_splitting": false}"#,
        ] {
            let tiling = read(rules).unwrap().tiling(size);
            assert_eq!((tiling.columns, tiling.rows), (0, 0));
            assert_eq!(tiling.whole, Size::square(512));
        }
    }

    #[test]
    fn rules_that_make_no_sense_are_refused() {
        for rules in [
            r#"{"encoder_patch_size": 0}"#,
            r#"{"tile_size": 500}"#,
            r#"{"min_tiles": 11}"#,
            r#"{"max_tiles": 4000000000}"#,
            r#"{"max_image_tokens": 0}"#,
        ] {
            assert!(read(rules).is_err(), "{rules}");
        }
    }
}
