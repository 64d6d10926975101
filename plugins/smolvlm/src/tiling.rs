//! The sizes that a picture goes through, as `Idefics3ImageProcessorPil` of transformers 5.23 computes them (64-bit floats, rounded
//! towards zero).

use monocle_plugin::prelude::*;

/// No side is made longer than this.
const LONGEST: u32 = 4096;

/// How a picture is cut.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tiling {
    /// The size after the first resize.
    pub first: Size,
    /// The size that is cut into tiles.
    pub cut: Size,
    /// The tiles; none when the picture is not cut.
    pub grid: Grid,
}

/// What a first resize aims at.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Target {
    /// Keep the size.
    Keep,
    /// The longest side becomes this; the other one follows, made even.
    LongestEdge(u32),
    /// Exactly this.
    Exactly(Size),
}

impl Target {
    /// From `preprocessor_config.json`.
    pub fn read(rules: &Section) -> Result<Self> {
        let size = rules.section("size")?;
        if !rules.get_or("do_resize", true)? {
            return Ok(Self::Keep);
        }
        Ok(
            match (
                size.find("longest_edge")?,
                size.find("width")?,
                size.find("height")?,
            ) {
                (Some(edge), _, _) => Self::LongestEdge(edge),
                (None, Some(width), Some(height)) => Self::Exactly(Size { width, height }.checked()?),
                _ => Self::LongestEdge(4 * 364),
            },
        )
    }
}

impl Tiling {
    /// For a picture of this size and tiles of this side. Without `split` the picture is squeezed into one tile.
    pub fn new(size: Size, target: Target, tile: u32, split: bool) -> Self {
        let first = match target {
            Target::Keep => size,
            Target::LongestEdge(edge) => below_limit(to_longest_edge(size, edge)),
            Target::Exactly(size) => size,
        };
        let cut = match split {
            true => to_multiples(first, tile),
            false => Size::square(tile),
        };
        let grid = Grid::new(cut.width / tile, cut.height / tile);
        let grid = if grid.tiles() == 1 { Grid::new(0, 0) } else { grid };
        Self { first, cut, grid }
    }

    /// How many pictures the vision tower sees: the tiles and an overview, or the picture alone.
    pub fn tiles(&self) -> u32 {
        self.grid.tiles() + 1
    }
}

fn to_longest_edge(size: Size, edge: u32) -> Size {
    let even = |side: f64| (side as u32).next_multiple_of(2).max(1);
    match size.width >= size.height {
        true => Size::new(edge, even(f64::from(edge) / ratio(size))),
        false => Size::new(even(f64::from(edge) * ratio(size)), edge),
    }
}

fn below_limit(size: Size) -> Size {
    let Size { width, height } = size;
    let size = if width >= height && width > LONGEST {
        Size::new(LONGEST, (f64::from(LONGEST) / ratio(size)) as u32)
    } else if height > width && height > LONGEST {
        Size::new((f64::from(LONGEST) * ratio(size)) as u32, LONGEST)
    } else {
        size
    };
    Size::new(size.width.max(1), size.height.max(1))
}

fn to_multiples(size: Size, tile: u32) -> Size {
    let multiple = |side: f64| (side as u32).max(1).next_multiple_of(tile);
    if size.width >= size.height {
        let width = size.width.next_multiple_of(tile);
        Size::new(width, multiple(f64::from(width) / ratio(size)))
    } else {
        let height = size.height.next_multiple_of(tile);
        Size::new(multiple(f64::from(height) * ratio(size)), height)
    }
}

fn ratio(size: Size) -> f64 {
    f64::from(size.width) / f64::from(size.height)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Deserialize)]
    struct Golden {
        tilings: Vec<Case>,
    }

    #[derive(Deserialize)]
    struct Case {
        size: [u32; 2],
        longest_edge: u32,
        tile: u32,
        first: [u32; 2],
        cut: [u32; 2],
        rows: u32,
        columns: u32,
        tiles: u32,
    }

    fn size([width, height]: [u32; 2]) -> Size {
        Size { width, height }
    }

    #[test]
    fn sizes_are_those_of_transformers() {
        let golden: Golden =
            serde_json::from_str(include_str!("../../../tests/oracle/smolvlm/tiling.json")).unwrap();
        for case in golden.tilings {
            let place = format!("{:?} to {}, tiles of {}", case.size, case.longest_edge, case.tile);
            let tiling = Tiling::new(
                size(case.size),
                Target::LongestEdge(case.longest_edge),
                case.tile,
                true,
            );
            let expected = Tiling {
                first: size(case.first),
                cut: size(case.cut),
                grid: Grid::new(case.columns, case.rows),
            };
            assert_eq!(tiling, expected, "{place}");
            assert_eq!(tiling.tiles(), case.tiles, "{place}");
        }
    }

    #[test]
    fn without_splitting_a_picture_is_squeezed_into_one_tile() {
        let tiling = Tiling::new(size([333, 217]), Target::Keep, 56, false);
        let expected = Tiling {
            first: size([333, 217]),
            cut: Size::square(56),
            grid: Grid::new(0, 0),
        };
        assert_eq!((tiling, tiling.tiles()), (expected, 1));
    }
}
