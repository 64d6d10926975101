//! Fewer, wider rows for a decoder.

use crate::{Result, Tensor, ensure};

/// Squares of `by` by `by` patches packed into one row each: `[n, side², c]`, or `[n, height, width, c]`, to
/// `[n, height / by · width / by, by² · c]`. The channels are those of the packed patches, row by row (Idefics3, InternVL; the inverse of
/// arXiv:1609.05158).
pub fn pixel_shuffle(x: &Tensor, by: u32) -> Result<Tensor> {
    if let [n, patches, channels] = x.shape()[..] {
        let side = patches.isqrt();
        ensure!(side * side == patches, "{patches} patches are no square");
        return pixel_shuffle(&x.reshape(&[n, side, side, channels]), by);
    }
    let [n, height, width, channels] = x.dimensions("the patches to pack")?;
    let fits = by > 0 && height.is_multiple_of(by) && width.is_multiple_of(by);
    ensure!(fits, "{height} by {width} patches cannot be packed {by} by {by}");
    let (rows, columns) = (height / by, width / by);
    let squares = x
        .reshape(&[n, rows, by, columns, by * channels])
        .permute(&[0, 1, 3, 2, 4]);
    Ok(squares.reshape(&[n, rows * columns, by * by * channels]))
}

/// Tiles, row by row, as the picture that they were cut from: `[rows · columns, height, width, c]` to
/// `[rows · height, columns · width, c]`.
pub fn join_tiles(tiles: &Tensor, rows: u32, columns: u32) -> Result<Tensor> {
    let [_, height, width, channels] = tiles.dimensions("the tiles to join")?;
    let squares = tiles
        .reshape(&[rows, columns, height, width, channels])
        .permute(&[0, 2, 1, 3, 4]);
    Ok(squares.reshape(&[rows * height, columns * width, channels]))
}
