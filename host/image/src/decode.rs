//! From a file to a picture.

mod colour;
mod gif;
#[cfg(feature = "heif")]
mod heif;
mod jpeg;
mod kind;
mod page;
mod png;
mod profile;
mod raw;
mod simple;
mod still;
mod tiff;
mod webp;

use std::path::Path;

use image::metadata::Orientation;
use image::{DynamicImage, RgbImage};
use monocle_files::FileError;

pub use self::page::FilePage;
use crate::error::ImageError;
use crate::picture::{MAX_PIXELS, Picture};
use crate::source::{Format, Narrowed, Source};

/// How large a picture may be. All but the last are checked against the file's header, before anything is allocated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The most pixels; more than 2^28 are never taken.
    pub max_pixels: u64,
    /// The most bytes the picture may take when decoded, in the pixel type it is stored in.
    pub max_decoded_bytes: u64,
    /// The most bytes that decoding may take at its peak: the file, the picture as stored, what the decoder keeps beside it, and
    /// the 8-bit RGB pixels that come of it.
    pub max_memory_bytes: u64,
    /// The most bytes [`open`] reads from a file; never more than decoding may take.
    pub max_file_bytes: u64,
}

impl Default for Limits {
    /// 178 million pixels (where PIL, too, takes a picture for an attack), 1 GiB decoded, 4 GiB in all, 512 MiB of file.
    fn default() -> Limits {
        Limits {
            max_pixels: 178_956_970,
            max_decoded_bytes: 1 << 30,
            max_memory_bytes: 4 << 30,
            max_file_bytes: monocle_files::PICTURE,
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
    /// The whole range, 0 to 65535, becomes 0 to 255: right for files that use it.
    #[default]
    Scale,
    /// Values above 255 become 255, as PIL's `Image.convert("RGB")` does. Right for 8-bit values in 16-bit
    /// files; a file that uses its whole range comes out nearly white.
    Clip,
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
    /// Which page or frame is taken, counted from 1; `None`: the first, and the others are told as lost.
    pub page: Option<u32>,
}

/// A decoded picture and its history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decoded {
    /// The picture, upright, 8-bit RGB.
    pub picture: Picture,
    /// What it was in the file and what was done to it.
    pub source: Source,
}

/// Reads and decodes a file. Errors name it. A path that ends in `#2` takes the second page or frame (see [`FilePage`]).
pub fn open(path: &Path, options: &DecodeOptions) -> Result<Decoded, ImageError> {
    let file = FilePage::of(path);
    let options = DecodeOptions {
        page: file.page.or(options.page),
        ..*options
    };
    let decoded = read(&file.path, &options.limits).and_then(|bytes| decode(&bytes, &options));
    decoded.map_err(|error| match error {
        error @ ImageError::Read { .. } => error,
        source => ImageError::InFile {
            path: path.to_owned(),
            source: Box::new(source),
        },
    })
}

fn read(path: &Path, limits: &Limits) -> Result<Vec<u8>, ImageError> {
    let limit = limits.max_file_bytes.min(limits.max_memory_bytes);
    monocle_files::read(path, limit).map_err(|error| match error {
        FileError::TooLarge { .. } => ImageError::FileTooLong { limit },
        other => ImageError::Read {
            path: path.to_owned(),
            source: other.into(),
        },
    })
}

/// The size of an upright picture, from its header alone; `None` for kinds whose header is not read by itself (raw photos, HEIC, AVIF) and for
/// what cannot be read. That it has a size does not say that it can be decoded.
pub fn size(bytes: &[u8]) -> Option<(u32, u32)> {
    use image::ImageDecoder;
    use image::metadata::Orientation;
    match kind::recognise(bytes).ok()? {
        Format::Png | Format::Jpeg | Format::WebP | Format::Gif | Format::Bmp | Format::Pnm => {}
        _ => return None,
    }
    let reader = image::ImageReader::new(std::io::Cursor::new(bytes));
    let mut decoder = reader.with_guessed_format().ok()?.into_decoder().ok()?;
    let (width, height) = decoder.dimensions();
    let turned = matches!(
        decoder.orientation().unwrap_or(Orientation::NoTransforms),
        Orientation::Rotate90
            | Orientation::Rotate270
            | Orientation::Rotate90FlipH
            | Orientation::Rotate270FlipH
    );
    Some(if turned { (height, width) } else { (width, height) })
}

/// Decodes a file's bytes. The kind of file is told from its content, never from a name.
pub fn decode(bytes: &[u8], options: &DecodeOptions) -> Result<Decoded, ImageError> {
    let kind = kind::recognise(bytes)?;
    let raw = matches!(kind, Format::Tiff | Format::Raw)
        .then(|| raw::read(bytes))
        .flatten();
    let format = if raw.is_some() { Format::Raw } else { kind };
    let stored = match raw.as_ref() {
        Some(raw) => read_preview(raw, bytes, options)?,
        None => read_as(format, bytes, options)?,
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
        narrowed: flat.narrowed.or(stored.narrowed),
        page: options.page,
        pages: stored.pages,
        profile: stored.profile,
        damage: stored.damage,
        preview_of: raw.map(|raw| raw.sensor),
    };
    Ok(Decoded { picture, source })
}

fn read_as(format: Format, bytes: &[u8], options: &DecodeOptions) -> Result<Stored, ImageError> {
    match format {
        Format::Jpeg => jpeg::read(bytes, options),
        Format::Png => png::read(bytes, options),
        Format::Gif => gif::read(bytes, options),
        Format::WebP => webp::read(bytes, options),
        Format::Tiff => tiff::read(bytes, options),
        Format::Bmp => simple::read_bmp(bytes, options),
        Format::Pnm => simple::read_pnm(bytes, options),
        #[cfg(feature = "heif")]
        Format::Heic | Format::Avif => heif::read(bytes, format, options),
        #[cfg(not(feature = "heif"))]
        Format::Heic | Format::Avif => Err(ImageError::NotInThisBuild {
            found: match format {
                Format::Avif => "an AVIF picture",
                _ => "a HEIC photo",
            },
            feature: "heif",
        }),
        // Its head says what it is, and nothing behind it does.
        Format::Raw => Err(ImageError::Damaged {
            format: format.name(),
            what: "it has no page".to_owned(),
            bytes: bytes.len(),
        }),
    }
}

/// The preview of a raw photo, held as the camera was.
fn read_preview(raw: &raw::Raw, bytes: &[u8], options: &DecodeOptions) -> Result<Stored, ImageError> {
    page::chosen(options.page, 1, Format::Raw)?;
    let Some(preview) = raw.preview else {
        return Err(ImageError::Unsupported {
            format: Format::Raw.name(),
            what: "the data of its sensor, and there is no preview beside them".to_owned(),
        });
    };
    let mut limits = options.limits;
    // The rest of the file is there too.
    let rest = (bytes.len() - preview.len()) as u64;
    limits.max_memory_bytes = limits.max_memory_bytes.saturating_sub(rest);
    let stored = jpeg::read(
        preview,
        &DecodeOptions {
            limits,
            page: None,
            ..*options
        },
    )?;
    let turned = raw.orientation.and_then(Orientation::from_exif);
    Ok(match (stored.orientation, turned) {
        (Orientation::NoTransforms, Some(orientation)) => Stored {
            orientation,
            ..stored
        },
        _ => stored,
    })
}

/// A picture as its file stores it.
struct Stored {
    pixels: DynamicImage,
    colour: &'static str,
    orientation: Orientation,
    /// How many pages or frames the file has.
    pages: u32,
    /// The name of a colour profile that is not sRGB.
    profile: Option<String>,
    /// Bits that the decoder dropped.
    narrowed: Option<Narrowed>,
    damage: Option<String>,
}

/// What a header announces.
#[derive(Clone, Copy)]
struct Header {
    format: Format,
    width: u32,
    height: u32,
    /// Bytes of the picture in the pixel type it is stored in.
    stored: u64,
    /// Whether that is 8-bit RGB already.
    is_rgb: bool,
    /// Bytes that the decoder keeps beside it.
    beside: u64,
    /// Bytes of the file.
    file: usize,
}

impl Header {
    /// Refuses what the header announces if it is beyond the limits.
    fn check(&self, limits: &Limits) -> Result<(), ImageError> {
        let &Header { width, height, .. } = self;
        let format = self.format.name();
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
        if self.stored > limits.max_decoded_bytes {
            return Err(ImageError::TooManyBytes {
                format,
                width,
                height,
                bytes: self.stored,
                limit: limits.max_decoded_bytes,
            });
        }
        let flat = if self.is_rgb { 0 } else { pixels * 3 };
        let bytes = (self.file as u64)
            .saturating_add(self.stored)
            .saturating_add(self.beside.max(flat));
        if bytes > limits.max_memory_bytes {
            return Err(ImageError::TooMuchMemory {
                format,
                width,
                height,
                bytes,
                limit: limits.max_memory_bytes,
            });
        }
        Ok(())
    }

    /// What a decoder may allocate on its own: the picture once more, and a little.
    fn decoder_limit(&self) -> u64 {
        self.stored
            .saturating_mul(2)
            .saturating_add(self.beside)
            .saturating_add(16 << 20)
    }
}
