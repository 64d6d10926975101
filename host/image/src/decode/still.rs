//! What the decoders of the crate `image` have in common.

use image::metadata::Orientation;
use image::{AnimationDecoder, ColorType, DynamicImage, ExtendedColorType, ImageDecoder};

use super::{Header, Limits, Stored, profile};
use crate::error::ImageError;
use crate::source::Format;

/// The longest colour profile that is looked at.
const LONGEST_PROFILE: usize = 4 << 20;

/// What went wrong: found here, or by a decoder, whose words want translation.
pub(super) enum Failure {
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

impl Failure {
    pub(super) fn explain(self, format: Format, bytes: &[u8], limits: &Limits) -> ImageError {
        match self {
            Failure::Ours(error) => error,
            Failure::Decoder(error) => explain(error, format, bytes.len(), limits),
        }
    }
}

/// The header of what a decoder is about to read.
pub(super) fn header(decoder: &impl ImageDecoder, format: Format, file: usize) -> Header {
    let (width, height) = decoder.dimensions();
    Header {
        format,
        width,
        height,
        stored: decoder.total_bytes(),
        is_rgb: decoder.color_type() == ColorType::Rgb8,
        beside: 0,
        file,
    }
}

/// Reads the first picture of a file that has so many.
pub(super) fn read(
    mut decoder: impl ImageDecoder,
    header: Header,
    limits: &Limits,
    pages: u32,
) -> Result<Stored, Failure> {
    header.check(limits)?;
    decoder.set_limits(decoder_limits(&header))?;
    // A broken note on orientation or colour is no reason to refuse the picture.
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let profile = decoder.icc_profile().ok().flatten();
    let profile = profile
        .filter(|profile| profile.len() <= LONGEST_PROFILE)
        .and_then(|profile| profile::foreign(&profile));
    let colour = colour_name(decoder.original_color_type());
    Ok(Stored {
        pixels: DynamicImage::from_decoder(decoder)?,
        colour,
        orientation,
        pages,
        profile,
        narrowed: None,
        damage: None,
    })
}

/// A frame of an animation, counted from 0, as it is shown: laid over what the frames before it left.
pub(super) fn read_frame<'a>(
    decoder: impl AnimationDecoder<'a>,
    format: Format,
    frame: u32,
) -> Result<DynamicImage, Failure> {
    let mut frames = decoder.into_frames();
    for read in 0..=frame {
        let Some(next) = frames.next() else {
            return Err(Failure::Ours(ImageError::NoSuchPage {
                format: format.name(),
                page: frame + 1,
                pages: read,
            }));
        };
        let next = next?;
        if read == frame {
            return Ok(DynamicImage::ImageRgba8(next.into_buffer()));
        }
    }
    unreachable!("the loop ends with the frame")
}

/// What a decoder may allocate, as the crate `image` says it.
pub(super) fn decoder_limits(header: &Header) -> image::Limits {
    let mut given = image::Limits::no_limits();
    given.max_alloc = Some(header.decoder_limit());
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

pub(super) fn colour_name(colour: ExtendedColorType) -> &'static str {
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
