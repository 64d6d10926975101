//! From any pixel type to 8-bit RGB, with PIL's numbers.

use image::DynamicImage;

use super::{AlphaHandling, DecodeOptions, WideGrey};
use crate::error::ImageError;
use crate::source::Format;

/// Pixels in 8-bit RGB, and what it took.
pub(super) struct Flat {
    pub rgb: Vec<u8>, // [height, width, 3]
    pub transparent_pixels: u64,
    pub clipped_pixels: u64,
}

/// Converts a picture of any pixel type.
pub(super) fn flatten(
    pixels: DynamicImage,
    format: Format,
    options: &DecodeOptions,
) -> Result<Flat, ImageError> {
    let mut transparent_pixels = 0;
    let mut clipped_pixels = 0;
    // PIL drops the low byte of 16-bit colours, except those of PNM files, which it scales.
    let narrow = |value: u16| match format {
        Format::Pnm => ((u32::from(value) * 255 + 32767) / 65535) as u8,
        _ => (value >> 8) as u8,
    };
    let mut over = |colour: [u8; 3], alpha: u8| {
        transparent_pixels += u64::from(alpha < 255);
        match options.alpha {
            AlphaHandling::Drop => colour,
            AlphaHandling::OverWhite => colour.map(|value| over_white(value, alpha)),
        }
    };
    let rgb = match pixels {
        DynamicImage::ImageRgb8(pixels) => pixels.into_raw(),
        DynamicImage::ImageLuma8(pixels) => triple(pixels.iter().copied()),
        DynamicImage::ImageLumaA8(pixels) => pixels.pixels().flat_map(|p| over([p[0]; 3], p[1])).collect(),
        DynamicImage::ImageRgba8(pixels) => pixels
            .pixels()
            .flat_map(|p| over([p[0], p[1], p[2]], p[3]))
            .collect(),
        DynamicImage::ImageLuma16(pixels) => match options.wide_grey {
            WideGrey::HighByte => triple(pixels.iter().map(|value| (value >> 8) as u8)),
            WideGrey::Clip => {
                clipped_pixels = pixels.iter().filter(|value| **value > 255).count() as u64;
                triple(pixels.iter().map(|value| (*value).min(255) as u8))
            }
        },
        DynamicImage::ImageLumaA16(pixels) => pixels
            .pixels()
            .flat_map(|p| over([narrow(p[0]); 3], narrow(p[1])))
            .collect(),
        DynamicImage::ImageRgb16(pixels) => pixels.iter().map(|value| narrow(*value)).collect(),
        DynamicImage::ImageRgba16(pixels) => pixels
            .pixels()
            .flat_map(|p| over([p[0], p[1], p[2]].map(narrow), narrow(p[3])))
            .collect(),
        _ => {
            return Err(ImageError::Unsupported {
                format: format.name(),
                what: "floating-point pixels".to_owned(),
            });
        }
    };
    Ok(Flat {
        rgb,
        transparent_pixels,
        clipped_pixels,
    })
}

fn triple(values: impl Iterator<Item = u8>) -> Vec<u8> {
    values.flat_map(|value| [value; 3]).collect()
}

/// A colour value laid over white. PIL's `AlphaComposite.c` on an opaque ground: seven extra bits, and a division by
/// 255 made of shifts, rounding to nearest.
fn over_white(value: u8, alpha: u8) -> u8 {
    const EXTRA_BITS: u32 = 7;
    let part = u32::from(alpha) << EXTRA_BITS;
    let rest = (255 << EXTRA_BITS) - part;
    let sum = u32::from(value) * part + 255 * rest + (0x80 << EXTRA_BITS);
    ((((sum >> 8) + sum) >> 8) >> EXTRA_BITS) as u8
}
