//! Fewer, wider rows for a decoder.

use crate::{Context, Result, Tensor};

/// Patches of a square grid, `by` by `by` of them packed into one row: `[n, side², c]` to `[n, (side / by)², by² · c]`. The
/// channels are those of the packed patches, row by row (Idefics3, InternVL; the inverse of arXiv:1609.05158).
pub fn pixel_shuffle(x: &Tensor, by: u32) -> Result<Tensor> {
    let [n, patches, channels] = x.dimensions("the patches to pack")?;
    let side = patches.isqrt();
    let fits = side * side == patches;
    fits.then_some(())
        .context(format_args!("{patches} patches are no square"))?;
    pixel_shuffle_grid(&x.reshape(&[n, side, side, channels]), by)
}

/// As [`pixel_shuffle`], of patches that lie in rows and columns: `[n, height, width, c]` to
/// `[n, height / by · width / by, by² · c]`.
pub fn pixel_shuffle_grid(x: &Tensor, by: u32) -> Result<Tensor> {
    let [n, height, width, channels] = x.dimensions("the patches to pack")?;
    let fits = by > 0 && height.is_multiple_of(by) && width.is_multiple_of(by);
    fits.then_some(()).context(format_args!(
        "{height} by {width} patches cannot be packed {by} by {by}"
    ))?;
    let (rows, columns) = (height / by, width / by);
    let squares = x
        .reshape(&[n, rows, by, columns, by * channels])
        .permute(&[0, 1, 3, 2, 4]);
    Ok(squares.reshape(&[n, rows * columns, by * by * channels]))
}
