//! Which row of the position table each patch takes.

use crate::{Error, Result};

/// How patches find their position embeddings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Positions {
    /// Patch `i` takes row `i`; the picture has the size that the model was trained on.
    Fixed,
    /// By where the patch lies relative to the picture (arXiv:2307.06304): a picture of any size covers the whole table.
    Fractional,
}

impl Positions {
    /// Rows of a table `side` by `side` for a grid of patches, row by row.
    pub fn rows(self, height: u32, width: u32, side: u32) -> Result<Vec<i32>> {
        match self {
            Self::Fractional => Ok(fractional_positions(height, width, side)),
            Self::Fixed if (height, width) == (side, side) => Ok((0..(side * side) as i32).collect()),
            Self::Fixed => Err(Error::new(format_args!(
                "a picture of {width} by {height} patches, but the position table is for {side} by {side}"
            ))),
        }
    }
}

/// Rows for a grid of patches that is stretched over the whole table: patch `i` of `count` along a side takes part
/// `⌊i · side / count⌋`, as `Idefics3VisionEmbeddings` in transformers does. (There, 32-bit fractions put some patches one part
/// back when `side` is 19, 25, 29 or one of some greater counts; no published model has such a table.)
pub fn fractional_positions(height: u32, width: u32, side: u32) -> Vec<i32> {
    let part = |index: u32, count: u32| (u64::from(index) * u64::from(side) / u64::from(count)) as i32;
    let row = |y| (0..width).map(move |x| part(y, height) * side as i32 + part(x, width));
    (0..height).flat_map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Deserialize)]
    struct Golden {
        grids: Vec<Grid>,
    }

    #[derive(Deserialize)]
    struct Grid {
        grid: [u32; 3],
        rows: Vec<i32>,
    }

    #[test]
    fn fractional_positions_are_those_of_transformers() {
        let golden: Golden =
            serde_json::from_str(include_str!("../../../../tests/oracle/guest/positions.json")).unwrap();
        for Grid {
            grid: [height, width, side],
            rows,
        } in golden.grids
        {
            assert_eq!(
                fractional_positions(height, width, side),
                rows,
                "{height} by {width} in {side}"
            );
        }
    }

    #[test]
    fn fixed_positions_need_the_table_s_size() {
        assert_eq!(Positions::Fixed.rows(2, 2, 2).unwrap(), [0, 1, 2, 3]);
        let error = Positions::Fixed.rows(2, 3, 2).unwrap_err().to_string();
        assert_eq!(
            error,
            "a picture of 3 by 2 patches, but the position table is for 2 by 2"
        );
    }
}
