//! Reading JPEG files.

mod interleave;
mod scans;
mod segments;

use image::metadata::Orientation;
use image::{DynamicImage, GrayImage, RgbImage};
use zune_core::bytestream::ZCursor;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;
use zune_jpeg::errors::DecodeErrors;

use self::segments::Segments;
use super::{DecodeOptions, Stored, page, profile};
use crate::error::ImageError;
use crate::source::Format;

/// Decodes a JPEG file. It is first read strictly; a file with flaws is then read as far as it goes and the flaw is
/// kept for the report, unless the file ends before the picture does.
pub(super) fn read(bytes: &[u8], options: &DecodeOptions) -> Result<Stored, ImageError> {
    page::chosen(options.page, 1, Format::Jpeg)?;
    let process = process(bytes);
    if let Some(what) = process.and_then(unreadable) {
        return Err(ImageError::Unsupported {
            format: Format::Jpeg.name(),
            what: what.to_owned(),
        });
    }
    let header = Header::read(bytes)?;
    let (width, height) = (u32::from(header.width), u32::from(header.height));
    let channels: u64 = if header.colour == ColorSpace::Luma { 1 } else { 3 };
    let pixels = u64::from(width) * u64::from(height);
    let is_progressive = process.is_some_and(|process| process.marker == PROGRESSIVE);
    let has_several_scans = !is_progressive && process.is_some_and(|process| process.has_several_scans());
    let announced = super::Header {
        format: Format::Jpeg,
        width,
        height,
        stored: pixels * channels,
        is_rgb: channels == 3,
        // All coefficients, of 16 bits each, where they come in several scans.
        beside: if is_progressive || has_several_scans {
            pixels * header.components * 2
        } else {
            0
        },
        file: bytes.len(),
    };
    announced.check(&options.limits)?;

    let target = match header.colour {
        ColorSpace::Luma => ColorSpace::Luma,
        _ => ColorSpace::RGB,
    };
    let options = lenient().jpeg_set_out_colorspace(target);
    let (pixels, damage) = match has_several_scans {
        true => decode_several_scans(bytes, options)?,
        false => decode_one_file(bytes, options)?,
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
        pages: 1,
        profile: header.profile,
        narrowed: None,
        damage,
    })
}

/// Width and height of a JPEG that can be read; nothing for what is none.
pub(super) fn size(bytes: &[u8]) -> Option<(u32, u32)> {
    if !bytes.starts_with(&[0xff, 0xd8, 0xff])
        || process(bytes).is_none_or(|process| unreadable(process).is_some())
    {
        return None;
    }
    let header = Header::read(bytes).ok()?;
    Some((header.width.into(), header.height.into()))
}

fn decode_one_file(bytes: &[u8], options: DecoderOptions) -> Result<(Vec<u8>, Option<String>), ImageError> {
    match decode(bytes, options.set_strict_mode(true)) {
        // What a missing end takes with it then lies within the last row of blocks, and may be nothing at all.
        Ok(pixels) if is_cut_off(bytes) => Ok((
            pixels,
            Some("no end marker, the last rows may be grey".to_owned()),
        )),
        Ok(pixels) => Ok((pixels, scans::lack(bytes).map(|lack| lack.to_string()))),
        Err(_) if is_cut_off(bytes) => Err(damaged(bytes, "it ends too early")),
        Err(flaw) => {
            let pixels = decode(bytes, options).map_err(|error| explain(&error, bytes))?;
            let lack = scans::lack(bytes).map(|lack| lack.to_string());
            Ok((pixels, Some(lack.unwrap_or_else(|| format!("{flaw:?}")))))
        }
    }
}

fn decode_several_scans(
    bytes: &[u8],
    options: DecoderOptions,
) -> Result<(Vec<u8>, Option<String>), ImageError> {
    let (file, lack) =
        interleave::rewritten(bytes).ok_or_else(|| damaged(bytes, "its scans cannot be followed"))?;
    if lack.is_some() && is_cut_off(bytes) {
        return Err(damaged(bytes, "it ends too early"));
    }
    let pixels = decode(&file, options).map_err(|error| explain(&error, bytes))?;
    Ok((pixels, lack.map(|lack| lack.to_string())))
}

/// How the picture is coded: the marker of its frame, the bits of a sample, and whether a component's samples come in threes.
#[derive(Clone, Copy)]
struct Process {
    marker: u8,
    bits: u8,
    has_thirds: bool,
    /// The components of the frame, and those of the first scan.
    components: (u8, u8),
}

const PROGRESSIVE: u8 = 0xc2;

impl Process {
    /// Whether the first scan does not hold all components.
    fn has_several_scans(self) -> bool {
        let (all, first) = self.components;
        0 < first && first < all
    }
}

fn process(bytes: &[u8]) -> Option<Process> {
    // C4, C8 and CC are no frames (ITU-T T.81, table B.1).
    let is_frame = |marker| matches!(marker, 0xc0..=0xcf) && !matches!(marker, 0xc4 | 0xc8 | 0xcc);
    let mut segments = Segments::new(bytes);
    let frame = segments.find(|segment| is_frame(segment.marker))?;
    let scan = segments.find(|segment| segment.marker == 0xda);
    let parts = frame.data.get(6..)?;
    Some(Process {
        marker: frame.marker,
        bits: *frame.data.first()?,
        has_thirds: parts
            .chunks_exact(3)
            .any(|component| component[1] >> 4 == 3 || component[1] & 15 == 3),
        components: (
            *frame.data.get(5)?,
            *scan.and_then(|scan| scan.data.first()).unwrap_or(&0),
        ),
    })
}

/// What makes a picture unreadable, if anything does.
fn unreadable(process: Process) -> Option<&'static str> {
    match process {
        Process { marker: 0xc3, .. } => Some("lossless coding"),
        Process {
            marker: 0xc5..=0xc7, ..
        } => Some("hierarchical coding"),
        Process {
            marker: 0xc9 | 0xca, ..
        } => Some("arithmetic coding"),
        Process {
            marker: 0xcb..=0xcf, ..
        } => Some("arithmetic coding, lossless or hierarchical"),
        Process { has_thirds: true, .. } => Some("colours of a third of the resolution"),
        Process { bits: 8, .. } => None,
        Process { bits: 12, .. } => Some("samples of 12 bits"),
        _ => Some("samples of other than 8 bits"),
    }
}

/// What is known before any pixel is decoded.
struct Header {
    width: u16,
    height: u16,
    components: u64,
    colour: ColorSpace,
    orientation: Orientation,
    profile: Option<String>,
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
            components: info.components.into(),
            colour,
            orientation: orientation.unwrap_or(Orientation::NoTransforms),
            profile: decoder
                .icc_profile()
                .and_then(|profile| profile::foreign(&profile)),
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
    const END: u8 = 0xd9;
    !Segments::new(bytes).any(|segment| segment.marker == END)
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
