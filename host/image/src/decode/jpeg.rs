//! Reading JPEG files.

use image::metadata::Orientation;
use image::{DynamicImage, GrayImage, RgbImage};
use zune_core::bytestream::ZCursor;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;
use zune_jpeg::errors::DecodeErrors;

use super::{Limits, Stored, check_header};
use crate::error::ImageError;
use crate::source::Format;

/// Decodes a JPEG file. It is first read strictly; a file with flaws is then read as far as it goes and the flaw is
/// kept for the report, unless the file ends before the picture does.
pub(super) fn read(bytes: &[u8], limits: &Limits) -> Result<Stored, ImageError> {
    let header = Header::read(bytes)?;
    let (width, height) = (u32::from(header.width), u32::from(header.height));
    let channels = if header.colour == ColorSpace::Luma { 1 } else { 3 };
    let size = u64::from(width) * u64::from(height) * channels;
    check_header(Format::Jpeg, width, height, size, limits)?;

    let target = match header.colour {
        ColorSpace::Luma => ColorSpace::Luma,
        _ => ColorSpace::RGB,
    };
    let options = lenient().jpeg_set_out_colorspace(target);
    let (pixels, damage) = match decode(bytes, options.set_strict_mode(true)) {
        // What a missing end takes with it then lies within the last row of blocks, and may be nothing at all.
        Ok(pixels) if is_cut_off(bytes) => (
            pixels,
            Some("no end marker, the last rows may be grey".to_owned()),
        ),
        Ok(pixels) => (pixels, None),
        Err(_) if is_cut_off(bytes) => return Err(damaged(bytes, "it ends too early")),
        Err(flaw) => {
            let pixels = decode(bytes, options).map_err(|error| explain(&error, bytes))?;
            (pixels, Some(format!("{flaw:?}")))
        }
    };

    let pixels = if channels == 1 {
        GrayImage::from_raw(width, height, pixels).map(DynamicImage::ImageLuma8)
    } else {
        RgbImage::from_raw(width, height, pixels).map(DynamicImage::ImageRgb8)
    };
    Ok(Stored {
        pixels: pixels.ok_or_else(|| damaged(bytes, "its data do not fill the size its header gives"))?,
        colour: colour_name(header.colour),
        orientation: header.orientation,
        more_frames: false,
        damage,
    })
}

/// What is known before any pixel is decoded.
struct Header {
    width: u16,
    height: u16,
    colour: ColorSpace,
    orientation: Orientation,
}

impl Header {
    fn read(bytes: &[u8]) -> Result<Header, ImageError> {
        let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), lenient());
        decoder.decode_headers().map_err(|error| explain(&error, bytes))?;
        let (Some(info), Some(colour)) = (decoder.info(), decoder.input_colorspace()) else {
            return Err(damaged(bytes, "its header is incomplete"));
        };
        let orientation = decoder.exif().and_then(|exif| Orientation::from_exif_chunk(exif));
        Ok(Header {
            width: info.width,
            height: info.height,
            colour,
            orientation: orientation.unwrap_or(Orientation::NoTransforms),
        })
    }
}

/// Takes files with flaws, and any size that the format can express: the size is checked elsewhere.
fn lenient() -> DecoderOptions {
    DecoderOptions::default()
        .set_strict_mode(false)
        .set_max_width(usize::from(u16::MAX))
        .set_max_height(usize::from(u16::MAX))
}

fn decode(bytes: &[u8], options: DecoderOptions) -> Result<Vec<u8>, DecodeErrors> {
    JpegDecoder::new_with_options(ZCursor::new(bytes), options).decode()
}

/// Whether the file ends inside a segment or a scan: no end marker is found on the way from marker to marker.
fn is_cut_off(bytes: &[u8]) -> bool {
    const START: u8 = 0xd8;
    const END: u8 = 0xd9;
    let mut rest = bytes;
    // Entropy-coded data has no length; its bytes are passed over like padding until the next marker.
    while let Some(at) = rest
        .windows(2)
        .position(|pair| pair[0] == 0xff && is_marker(pair[1]))
    {
        let marker = rest[at + 1];
        rest = &rest[at + 2..];
        if marker == END {
            return false;
        }
        if marker != START {
            let length = rest
                .first_chunk()
                .map_or(usize::MAX, |length| usize::from(u16::from_be_bytes(*length)));
            rest = rest.get(length..).unwrap_or_default();
        }
    }
    true
}

/// Whether this byte after an 0xff begins a segment; not so a stuffed zero, padding, TEM or a restart.
fn is_marker(byte: u8) -> bool {
    !matches!(byte, 0x00 | 0x01 | 0xff | 0xd0..=0xd7)
}

fn damaged(bytes: &[u8], what: &str) -> ImageError {
    ImageError::Damaged {
        format: Format::Jpeg.name(),
        what: what.to_owned(),
        bytes: bytes.len(),
    }
}

fn explain(error: &DecodeErrors, bytes: &[u8]) -> ImageError {
    match error {
        DecodeErrors::Unsupported(scheme) => ImageError::Unsupported {
            format: Format::Jpeg.name(),
            what: format!("{scheme:?}"),
        },
        DecodeErrors::ExhaustedData => damaged(bytes, "it ends too early"),
        _ if is_cut_off(bytes) => damaged(bytes, "it ends too early"),
        error => damaged(bytes, &error.to_string()),
    }
}

fn colour_name(colour: ColorSpace) -> &'static str {
    match colour {
        ColorSpace::Luma => "grey",
        // How JPEG stores RGB is its own affair.
        ColorSpace::RGB | ColorSpace::YCbCr => "RGB",
        ColorSpace::CMYK | ColorSpace::YCCK => "CMYK",
        _ => "another colour type",
    }
}
