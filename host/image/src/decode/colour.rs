//! From any pixel type to 8-bit RGB, with PIL's numbers.

use image::DynamicImage;

use super::{AlphaHandling, DecodeOptions, WideGrey};
use crate::error::ImageError;
use crate::source::{Format, Narrowed};

/// Pixels in 8-bit RGB, and what it took.
pub(super) struct Flat {
    pub rgb: Vec<u8>, // [height, width, 3]
    pub transparent_pixels: u64,
    pub narrowed: Option<Narrowed>,
}

/// Converts a picture of any pixel type.
pub(super) fn flatten(
    pixels: DynamicImage,
    format: Format,
    options: &DecodeOptions,
) -> Result<Flat, ImageError> {
    let mut transparent_pixels = 0;
    let mut narrowed = None;
    // PIL drops the low byte of 16-bit colours, except those of PNM files, which it scales.
    let narrow = |value: u16| match format {
        Format::Pnm => scaled(value),
        _ => (value >> 8) as u8,
    };
    let mut over = |colour: [u8; 3], alpha: u8| {
        transparent_pixels += u64::from(alpha < 255);
        match options.alpha {
            AlphaHandling::Drop => colour,
            AlphaHandling::OverWhite => colour.map(|value| over_white(value, alpha)),
        }
    };
    let count = pixels.width() as usize * pixels.height() as usize;
    let mut rgb = Vec::new();
    if !matches!(pixels, DynamicImage::ImageRgb8(_)) {
        let room = rgb.try_reserve_exact(count * 3);
        room.map_err(|_| ImageError::DecoderMemory {
            format: format.name(),
            what: format!("there is no room for {} bytes of RGB", count * 3),
            limit: options.limits.max_memory_bytes,
        })?;
    }
    match pixels {
        DynamicImage::ImageRgb8(pixels) => rgb = pixels.into_raw(),
        DynamicImage::ImageLuma8(pixels) => pixels.iter().for_each(|value| rgb.extend([*value; 3])),
        DynamicImage::ImageLumaA8(pixels) => pixels.pixels().for_each(|p| rgb.extend(over([p[0]; 3], p[1]))),
        DynamicImage::ImageRgba8(pixels) => {
            pixels
                .pixels()
                .for_each(|p| rgb.extend(over([p[0], p[1], p[2]], p[3])));
        }
        DynamicImage::ImageLuma16(pixels) => {
            let largest = pixels.iter().copied().max().unwrap_or(0);
            let (narrow, how): (fn(u16) -> u8, _) = match options.wide_grey {
                WideGrey::Scale => (scaled, Narrowed::GreyScaled { largest }),
                WideGrey::Clip => {
                    let clipped = pixels.iter().filter(|value| **value > 255).count() as u64;
                    (
                        |value| value.min(255) as u8,
                        Narrowed::GreyClipped { pixels: clipped },
                    )
                }
            };
            narrowed = Some(how);
            pixels.iter().for_each(|value| rgb.extend([narrow(*value); 3]));
        }
        DynamicImage::ImageLumaA16(pixels) => {
            narrowed = Some(Narrowed::LowBits { from: 16 });
            pixels
                .pixels()
                .for_each(|p| rgb.extend(over([narrow(p[0]); 3], narrow(p[1]))));
        }
        DynamicImage::ImageRgb16(pixels) => {
            narrowed = Some(Narrowed::LowBits { from: 16 });
            rgb.extend(pixels.iter().map(|value| narrow(*value)));
        }
        DynamicImage::ImageRgba16(pixels) => {
            narrowed = Some(Narrowed::LowBits { from: 16 });
            pixels
                .pixels()
                .for_each(|p| rgb.extend(over([p[0], p[1], p[2]].map(narrow), narrow(p[3]))));
        }
        _ => {
            return Err(ImageError::Unsupported {
                format: format.name(),
                what: "floating-point pixels".to_owned(),
            });
        }
    }
    Ok(Flat {
        rgb,
        transparent_pixels,
        narrowed,
    })
}

/// 0 to 65535 as 0 to 255, to the nearest.
fn scaled(value: u16) -> u8 {
    ((u32::from(value) * 255 + 32767) / 65535) as u8
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
