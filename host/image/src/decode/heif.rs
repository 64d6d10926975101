//! Reading HEIC and AVIF files, by libheif.
//!
//! It is C++, so it gets bounds of its own: pixels, and memory in all. Turning and mirroring are part of these files and are done
//! by the library; a note on orientation beside them is for those who do not know that, and is not looked at.

use image::metadata::Orientation;
use image::{DynamicImage, RgbImage, RgbaImage};
use libheif_rs::{
    ColorSpace, DecodingOptions, HeifContext, HeifError, HeifErrorCode, HeifErrorSubCode, ImageHandle,
    LibHeif, RgbChroma, SecurityLimits,
};

use super::{DecodeOptions, Header, Limits, Stored, page, profile};
use crate::error::ImageError;
use crate::picture::MAX_PIXELS;
use crate::source::{Format, Narrowed};

pub(super) fn read(bytes: &[u8], format: Format, options: &DecodeOptions) -> Result<Stored, ImageError> {
    let limits = &options.limits;
    let refused = |error| explain(error, format, bytes.len(), limits);
    let library = LibHeif::new();
    let mut context = HeifContext::new().map_err(refused)?;
    context
        .set_security_limits(&bounds(bytes.len(), limits))
        .map_err(refused)?;
    context.read_bytes(bytes).map_err(refused)?;
    let first = context.primary_image_handle().map_err(refused)?;
    let mut others = context.image_ids();
    others.retain(|id| *id != first.item_id());
    let pages = u32::try_from(others.len() + 1).unwrap_or(u32::MAX);
    let image = match page::chosen(options.page, pages, format)? {
        0 => first,
        page => context.image_handle(others[page as usize - 1]).map_err(refused)?,
    };

    let header = header(&image, format, bytes.len());
    header.check(limits)?;
    let has_alpha = image.has_alpha_channel();
    let chroma = if has_alpha {
        RgbChroma::Rgba
    } else {
        RgbChroma::Rgb
    };
    let mut decoding = DecodingOptions::new().ok_or_else(|| ImageError::DecoderMemory {
        format: format.name(),
        what: "there is no room for its options".to_owned(),
        limit: limits.max_memory_bytes,
    })?;
    decoding.set_convert_hdr_to_8bit(true);
    let pixels = library
        .decode(&image, ColorSpace::Rgb(chroma), Some(decoding))
        .map_err(refused)?;
    let planes = pixels.planes();
    let plane = planes
        .interleaved
        .filter(|plane| plane.width > 0 && plane.height > 0 && plane.bits_per_pixel == 8);
    let damaged = || ImageError::Damaged {
        format: format.name(),
        what: "it decodes to no pixels".to_owned(),
        bytes: bytes.len(),
    };
    let plane = plane.ok_or_else(damaged)?;
    let (width, height) = (plane.width, plane.height);
    // The size as decoded may be another than was announced.
    Header {
        width,
        height,
        stored: u64::from(width) * u64::from(height) * if has_alpha { 4 } else { 3 },
        ..header
    }
    .check(limits)?;
    let row_bytes = width as usize * if has_alpha { 4 } else { 3 };
    let mut rows = Vec::with_capacity(row_bytes * height as usize);
    for row in plane.data.chunks(plane.stride).take(height as usize) {
        rows.extend_from_slice(row.get(..row_bytes).ok_or_else(damaged)?);
    }
    let image_pixels = match has_alpha {
        true => RgbaImage::from_raw(width, height, rows).map(DynamicImage::ImageRgba8),
        false => RgbImage::from_raw(width, height, rows).map(DynamicImage::ImageRgb8),
    };
    let bits = image.luma_bits_per_pixel();
    Ok(Stored {
        pixels: image_pixels.ok_or_else(damaged)?,
        colour: if has_alpha { "RGB with alpha" } else { "RGB" },
        orientation: Orientation::NoTransforms,
        pages,
        profile: image
            .color_profile_raw()
            .and_then(|profile| profile::foreign(&profile.data)),
        narrowed: (bits > 8).then_some(Narrowed::LowBits { from: bits }),
        damage: None,
    })
}

fn header(image: &ImageHandle, format: Format, file: usize) -> Header {
    let (width, height) = (image.width(), image.height());
    let pixels = u64::from(width) * u64::from(height);
    let has_alpha = image.has_alpha_channel();
    // Decoded planes of up to 16 bits, and their colours in 8.
    let bytes_of_value = if image.luma_bits_per_pixel() > 8 { 2 } else { 1 };
    Header {
        format,
        width,
        height,
        stored: pixels * if has_alpha { 4 } else { 3 },
        is_rgb: !has_alpha,
        beside: pixels * 4 * bytes_of_value + pixels * 4,
        file,
    }
}

/// What the library may take; more than its own bounds it never may.
fn bounds(file: usize, limits: &Limits) -> SecurityLimits {
    let mut bounds = SecurityLimits::new();
    let memory = limits.max_memory_bytes.saturating_sub(file as u64).max(1);
    bounds.set_max_image_size_pixels(limits.max_pixels.clamp(1, MAX_PIXELS));
    bounds.set_max_memory_block_size(memory.min(bounds.max_memory_block_size()));
    bounds.set_max_total_memory(memory);
    bounds.set_max_color_profile_size((4 << 20).min(bounds.max_color_profile_size()));
    bounds
}

fn explain(error: HeifError, format: Format, bytes: usize, limits: &Limits) -> ImageError {
    let format = format.name();
    let what = error.message.chars().take(200).collect::<String>();
    match (error.code, error.sub_code) {
        (HeifErrorCode::UnsupportedFeature | HeifErrorCode::UnsupportedFileType, _) => {
            ImageError::Unsupported { format, what }
        }
        (HeifErrorCode::MemoryAllocationError, _) | (_, HeifErrorSubCode::SecurityLimitExceeded) => {
            ImageError::DecoderMemory {
                format,
                what,
                limit: limits.max_memory_bytes,
            }
        }
        (_, HeifErrorSubCode::EndOfData) => ImageError::Damaged {
            format,
            what: "it ends too early".to_owned(),
            bytes,
        },
        _ => ImageError::Damaged { format, what, bytes },
    }
}
