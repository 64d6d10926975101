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

/// The rows that `Idefics3VisionEmbeddings` in transformers takes: a patch at fraction `i / count` of a side belongs to the last of
/// `side` equal parts that starts at or before it. In 32-bit floats, as there: for some counts rounding moves a patch one
/// part back, and models were trained with that.
pub fn fractional_positions(height: u32, width: u32, side: u32) -> Vec<i32> {
    let rows = buckets(height, side);
    let columns = buckets(width, side);
    rows.iter()
        .flat_map(|row| columns.iter().map(move |column| row * side as i32 + column))
        .collect()
}

fn buckets(count: u32, side: u32) -> Vec<i32> {
    let step = 1.0 / count as f32;
    // torch.arange(1 / side, 1, 1 / side) steps in 64 bits and stores 32.
    let width = 1.0 / f64::from(side);
    let bound = |part: u32| (width + width * f64::from(part)) as f32;
    let length = ((1.0 - width) / width).ceil() as u32;
    let bounds: Vec<f32> = (0..length).map(bound).collect();
    let bucket = |index: u32| {
        let fraction = (index as f32 * step).min((1.0 - 1e-6) as f32);
        bounds.partition_point(|&bound| bound <= fraction) as i32
    };
    (0..count).map(bucket).collect()
}
