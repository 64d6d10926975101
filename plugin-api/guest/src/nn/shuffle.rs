//! Fewer, wider rows for a decoder.

use crate::{Context, Result, Tensor};

/// Patches of a square grid, `by` by `by` of them packed into one row: `[n, side², c]` to `[n, (side / by)², by² · c]`. The
/// channels are those of the packed patches, row by row (Idefics3, InternVL; the inverse of arXiv:1609.05158).
pub fn pixel_shuffle(x: &Tensor, by: u32) -> Result<Tensor> {
    let [n, patches, channels] = x.dimensions("the patches to pack")?;
    let side = patches.isqrt();
    let fits = side * side == patches && by > 0 && side.is_multiple_of(by);
    fits.then_some(()).context(format_args!(
        "{patches} patches are no square that packs {by} by {by}"
    ))?;
    let packed = side / by;
    let squares = x
        .reshape(&[n, packed, by, packed, by * channels])
        .permute(&[0, 1, 3, 2, 4]);
    Ok(squares.reshape(&[n, packed * packed, by * by * channels]))
}
