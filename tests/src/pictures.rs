//! Pictures made for a test.

use monocle_runtime::request::pictures::PictureInput;

/// Sizes at which processors went wrong: one pixel, very thin, odd, square.
pub const SIZES: [(usize, usize); 5] = [(1, 1), (16, 3000), (3000, 16), (333, 217), (1024, 1024)];

/// The photo of the field reports that took 135 GB.
pub const PHOTO: (usize, usize) = (5477, 7819);

/// A picture of this size, with some structure, as a PGM file (Netpbm's grey map).
pub fn grey(width: usize, height: usize) -> PictureInput {
    let mut bytes = format!("P5 {width} {height} 255\n").into_bytes();
    let row = |y: usize| (0..width).map(move |x| ((x * 7 + y * 13) % 251) as u8);
    bytes.extend((0..height).flat_map(row));
    PictureInput::Bytes {
        name: format!("{width} by {height}"),
        bytes,
    }
}
