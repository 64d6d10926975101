//! What holds of any bytes as a picture. The fuzz target and the tests of damaged files use it.

use std::time::{Duration, Instant};

use monocle_image::{DecodeOptions, Limits, decode};

/// Pixels of a picture.
const PIXELS: u64 = 10_000;
/// A picture of so few pixels takes some milliseconds; ten times what is promised of any.
const PATIENCE: Duration = Duration::from_secs(10);

/// Limits that a hostile file soon meets.
pub fn small() -> DecodeOptions {
    DecodeOptions {
        limits: Limits {
            max_pixels: PIXELS,
            max_decoded_bytes: 100_000,
            max_memory_bytes: 1_000_000,
            max_file_bytes: 100_000,
        },
        ..DecodeOptions::default()
    }
}

/// A file and how it is decoded, of any bytes: the first chooses a page, as a user may.
pub fn made(bytes: &[u8]) -> (DecodeOptions, &[u8]) {
    let (page, file) = bytes
        .split_first()
        .map_or((0, bytes), |(first, rest)| (first % 4, rest));
    let page = (page > 0).then_some(u32::from(page));
    (DecodeOptions { page, ..small() }, file)
}

/// Decodes a file within these limits.
pub fn check(bytes: &[u8], options: &DecodeOptions) -> Result<(), String> {
    let started = Instant::now();
    match decode(bytes, options) {
        Ok(decoded) => {
            let picture = decoded.picture;
            let pixels = u64::from(picture.width()) * u64::from(picture.height());
            if pixels > PIXELS || picture.rgb().len() as u64 != 3 * pixels {
                return Err(format!("{pixels} pixels in {} bytes", picture.rgb().len()));
            }
        }
        Err(error) if error.to_string().is_empty() => return Err("an error without words".to_owned()),
        Err(_) => {}
    }
    match started.elapsed() {
        long if long > PATIENCE => Err(format!("it took {long:?}")),
        _ => Ok(()),
    }
}
