//! Reading every kind of file but JPEG.

use std::io::Cursor;

use image::codecs::bmp::BmpDecoder;
use image::codecs::gif::GifDecoder;
use image::codecs::png::PngDecoder;
use image::codecs::pnm::PnmDecoder;
use image::codecs::tiff::TiffDecoder;
use image::codecs::webp::WebPDecoder;
use image::metadata::Orientation;
use image::{AnimationDecoder, DynamicImage, ExtendedColorType, ImageDecoder};

use super::{Limits, Stored, check_header};
use crate::error::ImageError;
use crate::source::Format;

/// Decodes the first picture in a file.
pub(super) fn read(bytes: &[u8], format: Format, limits: &Limits) -> Result<Stored, ImageError> {
    read_any(bytes, format, limits).map_err(|failure| match failure {
        Failure::Ours(error) => error,
        Failure::Decoder(error) => explain(error, format, bytes.len(), limits),
    })
}

/// What went wrong: found here, or by a decoder, whose words want translation.
enum Failure {
    Ours(ImageError),
    Decoder(image::ImageError),
}

impl From<image::ImageError> for Failure {
    fn from(error: image::ImageError) -> Failure {
        Failure::Decoder(error)
    }
}

impl From<ImageError> for Failure {
    fn from(error: ImageError) -> Failure {
        Failure::Ours(error)
    }
}

fn read_any(bytes: &[u8], format: Format, limits: &Limits) -> Result<Stored, Failure> {
    let file = Cursor::new(bytes);
    match format {
        Format::Png => {
            let decoder = PngDecoder::with_limits(file, decoder_limits(limits))?;
            let more_frames = decoder.is_apng()?;
            read_still(decoder, format, limits, more_frames)
        }
        Format::WebP => {
            let decoder = WebPDecoder::new(file)?;
            let more_frames = decoder.has_animation();
            read_still(decoder, format, limits, more_frames)
        }
        Format::Gif => {
            let mut stored = read_still(GifDecoder::new(file)?, format, limits, false)?;
            stored.more_frames = has_second_frame(bytes, limits);
            stored.colour = "palette";
            Ok(stored)
        }
        Format::Tiff => {
            let more_frames = tiff::decoder::Decoder::new(file.clone()).is_ok_and(|tiff| tiff.more_images());
            read_still(TiffDecoder::new(file)?, format, limits, more_frames)
        }
        Format::Bmp => read_still(BmpDecoder::new(file)?, format, limits, false),
        Format::Pnm => read_still(PnmDecoder::new(file)?, format, limits, false),
        Format::Jpeg => super::jpeg::read(bytes, limits).map_err(Failure::Ours),
    }
}

fn read_still(
    mut decoder: impl ImageDecoder,
    format: Format,
    limits: &Limits,
    more_frames: bool,
) -> Result<Stored, Failure> {
    let (width, height) = decoder.dimensions();
    check_header(format, width, height, decoder.total_bytes(), limits)?;
    decoder.set_limits(decoder_limits(limits))?;
    // A broken note on orientation is no reason to refuse the picture.
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let colour = colour_name(decoder.original_color_type());
    Ok(Stored {
        pixels: DynamicImage::from_decoder(decoder)?,
        colour,
        orientation,
        more_frames,
        damage: None,
    })
}

/// A GIF says nowhere how many frames it has: a second is looked for.
fn has_second_frame(bytes: &[u8], limits: &Limits) -> bool {
    let Ok(mut decoder) = GifDecoder::new(Cursor::new(bytes)) else {
        return false;
    };
    decoder.set_limits(decoder_limits(limits)).is_ok() && matches!(decoder.into_frames().nth(1), Some(Ok(_)))
}

/// The limits as decoders know them. Their buffers come on top of the picture, so they get twice its limit.
fn decoder_limits(limits: &Limits) -> image::Limits {
    let mut given = image::Limits::no_limits();
    given.max_alloc = Some(
        limits
            .max_decoded_bytes
            .saturating_mul(2)
            .saturating_add(16 << 20),
    );
    given
}

fn explain(error: image::ImageError, format: Format, bytes: usize, limits: &Limits) -> ImageError {
    let format = format.name();
    let what = error.to_string();
    match error {
        image::ImageError::Unsupported(_) => ImageError::Unsupported { format, what },
        image::ImageError::Limits(_) => ImageError::DecoderMemory {
            format,
            what,
            limit: limits.max_decoded_bytes,
        },
        image::ImageError::IoError(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            ImageError::Damaged {
                format,
                what: "it ends too early".to_owned(),
                bytes,
            }
        }
        _ => ImageError::Damaged { format, what, bytes },
    }
}

fn colour_name(colour: ExtendedColorType) -> &'static str {
    match colour {
        ExtendedColorType::L1 => "black and white",
        ExtendedColorType::L2 | ExtendedColorType::L4 | ExtendedColorType::L8 => "grey",
        ExtendedColorType::La8 => "grey with alpha",
        ExtendedColorType::L16 => "16-bit grey",
        ExtendedColorType::La16 => "16-bit grey with alpha",
        ExtendedColorType::Rgb8 => "RGB",
        ExtendedColorType::Rgba8 => "RGB with alpha",
        ExtendedColorType::Rgb16 => "16-bit RGB",
        ExtendedColorType::Rgba16 => "16-bit RGB with alpha",
        ExtendedColorType::Cmyk8 => "CMYK",
        ExtendedColorType::Cmyk16 => "16-bit CMYK",
        ExtendedColorType::Rgb32F | ExtendedColorType::Rgba32F => "floating-point RGB",
        _ => "another colour type",
    }
}
