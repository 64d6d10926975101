//! From a file to a picture.

mod colour;
mod formats;
mod jpeg;
mod kind;

use std::fs::File;
use std::io::Read;
use std::path::Path;

use image::metadata::Orientation;
use image::{DynamicImage, RgbImage};

use crate::error::ImageError;
use crate::picture::{MAX_PIXELS, Picture};
use crate::source::{Format, Source};

/// How large a picture may be. All but the last are checked against the file's header, before anything is allocated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The most pixels; more than 2^28 are never taken.
    pub max_pixels: u64,
    /// The most bytes the picture may take when decoded, in the pixel type it is stored in.
    pub max_decoded_bytes: u64,
    /// The most bytes [`open`] reads from a file.
    pub max_file_bytes: u64,
}

impl Default for Limits {
    /// 178 million pixels (where PIL, too, takes a picture for an attack), 1 GiB decoded, 512 MiB of file.
    fn default() -> Limits {
        Limits {
            max_pixels: 178_956_970,
            max_decoded_bytes: 1 << 30,
            max_file_bytes: 512 << 20,
        }
    }
}

/// What becomes of transparency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AlphaHandling {
    /// The picture is laid over white, as transformers' image processors do.
    #[default]
    OverWhite,
    /// The colours under the transparency are taken as they are, as PIL's `Image.convert("RGB")` does.
    Drop,
}

/// What becomes of grey values of 16 bits. (Colours of 16 bits always lose their low byte, as in PIL.)
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WideGrey {
    /// Values above 255 become 255, as PIL's `Image.convert("RGB")` does. Right for 8-bit values in 16-bit
    /// files; a file that uses its whole range comes out nearly white.
    #[default]
    Clip,
    /// The low byte is dropped: right for files that use their whole range.
    HighByte,
}

/// How to decode a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DecodeOptions {
    /// How large it may be.
    pub limits: Limits,
    /// What becomes of transparency.
    pub alpha: AlphaHandling,
    /// What becomes of grey values of 16 bits.
    pub wide_grey: WideGrey,
}

/// A decoded picture and its history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decoded {
    /// The picture, upright, 8-bit RGB.
    pub picture: Picture,
    /// What it was in the file and what was done to it.
    pub source: Source,
}

/// Reads and decodes a file. Errors name it.
pub fn open(path: &Path, options: &DecodeOptions) -> Result<Decoded, ImageError> {
    let unreadable = |source| ImageError::Read {
        path: path.to_owned(),
        source,
    };
    let limit = options.limits.max_file_bytes;
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(unreadable)?;
    // One byte beyond the limit tells a file that is too long from one that just fits.
    file.take(limit.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    let decoded = if bytes.len() as u64 > limit {
        Err(ImageError::FileTooLong { limit })
    } else {
        decode(&bytes, options)
    };
    decoded.map_err(|source| ImageError::InFile {
        path: path.to_owned(),
        source: Box::new(source),
    })
}

/// Decodes a file's bytes. The kind of file is told from its content, never from a name; of an animation or a
/// document of several pages, the first is taken.
pub fn decode(bytes: &[u8], options: &DecodeOptions) -> Result<Decoded, ImageError> {
    let format = kind::recognise(bytes)?;
    let stored = match format {
        Format::Jpeg => jpeg::read(bytes, &options.limits)?,
        _ => formats::read(bytes, format, &options.limits)?,
    };
    let (width, height) = (stored.pixels.width(), stored.pixels.height());
    let flat = colour::flatten(stored.pixels, format, options)?;

    let stored_rgb = RgbImage::from_raw(width, height, flat.rgb).ok_or_else(|| ImageError::Damaged {
        format: format.name(),
        what: "its data do not fill the size its header gives".to_owned(),
        bytes: bytes.len(),
    })?;
    let mut upright = DynamicImage::ImageRgb8(stored_rgb);
    upright.apply_orientation(stored.orientation);
    let picture = Picture::from_rgb(upright.width(), upright.height(), upright.into_bytes())?;

    let source = Source {
        format,
        file_bytes: bytes.len(),
        width,
        height,
        colour: stored.colour,
        orientation: stored.orientation.to_exif(),
        transparent_pixels: flat.transparent_pixels,
        alpha: options.alpha,
        clipped_pixels: flat.clipped_pixels,
        wide_grey: options.wide_grey,
        more_frames: stored.more_frames,
        damage: stored.damage,
    };
    Ok(Decoded { picture, source })
}

/// A picture as its file stores it.
struct Stored {
    pixels: DynamicImage,
    colour: &'static str,
    orientation: Orientation,
    more_frames: bool,
    damage: Option<String>,
}

/// Refuses what the header announces if it is beyond the limits.
fn check_header(
    format: Format,
    width: u32,
    height: u32,
    bytes: u64,
    limits: &Limits,
) -> Result<(), ImageError> {
    let format = format.name();
    let pixels = u64::from(width) * u64::from(height);
    let limit = limits.max_pixels.min(MAX_PIXELS);
    if pixels > limit {
        return Err(ImageError::TooManyPixels {
            format,
            width,
            height,
            pixels,
            limit,
        });
    }
    if bytes > limits.max_decoded_bytes {
        return Err(ImageError::TooManyBytes {
            format,
            width,
            height,
            bytes,
            limit: limits.max_decoded_bytes,
        });
    }
    Ok(())
}
