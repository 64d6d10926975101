//! The sizes that a picture goes through, as `Idefics3ImageProcessorPil` of transformers 5.23 computes them (64-bit floats, rounded
//! towards zero).

use monocle_plugin::Size;

/// No side is made longer than this.
const LONGEST: u32 = 4096;

/// How a picture is cut.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tiling {
    /// The size after the first resize.
    pub first: Size,
    /// The size that is cut into tiles.
    pub cut: Size,
    /// Rows of tiles; 0 when the picture is not cut.
    pub rows: u32,
    /// Columns of tiles; 0 when the picture is not cut.
    pub columns: u32,
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

impl Tiling {
    /// For a picture of this size and tiles of this side. Without `split` the picture is squeezed into one tile.
    pub fn new(size: Size, target: Target, tile: u32, split: bool) -> Self {
        let first = match target {
            Target::Keep => size,
            Target::LongestEdge(edge) => below_limit(to_longest_edge(size, edge)),
            Target::Exactly(size) => size,
        };
        if !split {
            return Self {
                first,
                cut: Size::square(tile),
                rows: 0,
                columns: 0,
            };
        }
        let cut = to_multiples(first, tile);
        let (rows, columns) = (cut.height / tile, cut.width / tile);
        let whole = rows * columns == 1;
        Self {
            first,
            cut,
            rows: if whole { 0 } else { rows },
            columns: if whole { 0 } else { columns },
        }
    }

    /// How many pictures the vision tower sees: the tiles and an overview, or the picture alone.
    pub fn tiles(&self) -> u32 {
        self.rows * self.columns + 1
    }
}

fn to_longest_edge(size: Size, edge: u32) -> Size {
    let ratio = ratio(size);
    let even = |side: f64| (side as u32).next_multiple_of(2).max(1);
    if size.width >= size.height {
        Size {
            width: edge,
            height: even(f64::from(edge) / ratio),
        }
    } else {
        Size {
            width: even(f64::from(edge) * ratio),
            height: edge,
        }
    }
}

fn below_limit(size: Size) -> Size {
    let ratio = ratio(size);
    let Size { width, height } = size;
    let size = if width >= height && width > LONGEST {
        Size {
            width: LONGEST,
            height: (f64::from(LONGEST) / ratio) as u32,
        }
    } else if height > width && height > LONGEST {
        Size {
            width: (f64::from(LONGEST) * ratio) as u32,
            height: LONGEST,
        }
    } else {
        size
    };
    Size {
        width: size.width.max(1),
        height: size.height.max(1),
    }
}

fn to_multiples(size: Size, tile: u32) -> Size {
    let ratio = ratio(size);
    let multiple = |side: f64| (side as u32).max(1).next_multiple_of(tile);
    if size.width >= size.height {
        let width = size.width.next_multiple_of(tile);
        Size {
            width,
            height: multiple(f64::from(width) / ratio),
        }
    } else {
        let height = size.height.next_multiple_of(tile);
        Size {
            width: multiple(f64::from(height) * ratio),
            height,
        }
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
                rows: case.rows,
                columns: case.columns,
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
            rows: 0,
            columns: 0,
        };
        assert_eq!((tiling, tiling.tiles()), (expected, 1));
    }
}
