//! The sizes that a picture goes through, as `Lfm2VlImageProcessor` of transformers 5.23 computes them (64-bit floats).

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
    /// The tiles; none when the picture is not cut.
    pub grid: Grid,
    /// The size of the picture when it is not cut, or of its overview.
    pub whole: Size,
}

impl Rules {
    /// From `preprocessor_config.json`, else `config.json`; what both leave out is as in the reference's class.
    pub fn read(rules: &Section, config: &Section) -> Result<Self> {
        let rules = rules.clone().or(config);
        let number = |key: &str, default: u32| rules.get_or(key, default);
        let read = Self {
            patch: number("encoder_patch_size", 16)?,
            shuffle: number("downsample_factor", 2)?,
            features: (number("min_image_tokens", 64)?, number("max_image_tokens", 256)?),
            tile: number("tile_size", 512)?,
            tiles: match rules.get_or("do_image_splitting", true)? {
                true => (number("min_tiles", 2)?, number("max_tiles", 10)?),
                false => (1, 1),
            },
            tolerance: rules.get_or("max_pixels_tolerance", 2.0)?,
            overview: rules.get_or("use_thumbnail", true)?,
        };
        read.check()?;
        Ok(read)
    }

    fn check(&self) -> Result<()> {
        let square = self.patch.checked_mul(self.shuffle).unwrap_or(0);
        ensure!(
            (1..=4096).contains(&square),
            "`encoder_patch_size` times `downsample_factor` should be 1 to 4096 pixels"
        );
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
        let features = self.features.1;
        ensure!(
            (1..=1 << 16).contains(&features),
            "`max_image_tokens` is {features}, expected 1 to 65536"
        );
        Ok(())
    }

    /// How a picture of this size is cut.
    pub fn tiling(&self, size: Size) -> Tiling {
        let (least, most) = self.tiles;
        let grid = match self.is_large(size) && most > 1 {
            true => Grid::nearest(size, self.tile, least, most),
            false => Grid::new(1, 1),
        };
        Tiling {
            // A grid of one tile would be the picture alone.
            grid: if grid.tiles() == 1 { Grid::new(0, 0) } else { grid },
            whole: self.whole(size),
        }
    }

    /// Whether a picture is seen whole, alone or as an overview.
    pub fn seen_whole(&self, tiling: &Tiling) -> bool {
        self.overview || tiling.grid.tiles() == 0
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
        Size::new(side(width) as u32, side(height) as u32)
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
            assert_eq!(tiling.grid, Grid::new(0, 0));
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
