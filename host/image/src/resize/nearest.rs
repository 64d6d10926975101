//! Resizing without weights: the source pixel under each new pixel's centre.

use crate::picture::Picture;

/// The pixels of `picture` sampled at `width` x `height` points.
pub(super) fn sample(picture: &Picture, width: u32, height: u32) -> Vec<u8> {
    let columns = positions(picture.width(), width);
    let rows = positions(picture.height(), height);
    let stride = picture.width() as usize * 3;
    let mut rgb = Vec::with_capacity(columns.len() * rows.len() * 3);
    for row in rows {
        let line = &picture.rgb()[row * stride..][..stride];
        for column in &columns {
            rgb.extend_from_slice(&line[column * 3..][..3]);
        }
    }
    rgb
}

/// For each new pixel, the source pixel. PIL (`ImagingScaleAffine` in `Geometry.c`) walks along by adding the step,
/// so its rounding errors add up; multiplying instead would pick other pixels on long sides.
fn positions(from: u32, to: u32) -> Vec<usize> {
    let step = f64::from(from) / f64::from(to);
    let mut at = step * 0.5;
    (0..to)
        .map(|_| {
            let position = (at as usize).min(from as usize - 1);
            at += step;
            position
        })
        .collect()
}
