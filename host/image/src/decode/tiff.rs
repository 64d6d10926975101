//! Reading TIFF files.
//!
//! The crate `image` reads most pixel types. Read here are those it lacks: palettes, grey of 2 and 4 bits or with alpha, YCbCr,
//! and Group 3 fax. A page other than the first is read from a copy that begins with it.

pub(super) mod directory;
mod fax;

use std::borrow::Cow;
use std::io::Cursor;

use image::codecs::tiff::TiffDecoder;
use image::metadata::Orientation;
use image::{DynamicImage, GrayAlphaImage, GrayImage, RgbImage};
use tiff::ColorType;
use tiff::decoder::DecodingResult;

use self::directory::{Page, Tiff};
use super::still::{self, Failure};
use super::{DecodeOptions, Header, Limits, Stored, page, profile};
use crate::error::ImageError;
use crate::source::Format;

const WIDTH: u16 = 256;
const HEIGHT: u16 = 257;
const BITS: u16 = 258;
const COMPRESSION: u16 = 259;
const PHOTOMETRIC: u16 = 262;
const FILL_ORDER: u16 = 266;
const STRIPS: u16 = 273;
const ORIENTATION: u16 = 274;
const SAMPLES: u16 = 277;
const ROWS_OF_STRIP: u16 = 278;
const STRIP_LENGTHS: u16 = 279;
const GROUP_3_OPTIONS: u16 = 292;
const COLOURS: u16 = 320;
const PROFILE: u16 = 34675;

/// Values of `PHOTOMETRIC`.
const WHITE_IS_ZERO: u64 = 0;
const BLACK_IS_ZERO: u16 = 1;
const PALETTE: u64 = 3;
const YCBCR: u64 = 6;

pub(super) fn read(bytes: &[u8], options: &DecodeOptions) -> Result<Stored, ImageError> {
    let damaged = |what: &str| ImageError::Damaged {
        format: Format::Tiff.name(),
        what: what.to_owned(),
        bytes: bytes.len(),
    };
    let tiff = Tiff::new(bytes);
    let pages = tiff.page_count();
    let index = page::chosen(options.page, pages, Format::Tiff)?;
    let page = tiff.page(index).ok_or_else(|| damaged("it has no page"))?;
    let read = || -> Result<Stored, Failure> {
        let bits = page.number(BITS).unwrap_or(1);
        let photometric = page.number(PHOTOMETRIC);
        if let Some(2 | 3) = page.number(COMPRESSION) {
            return Ok(read_fax(bytes, &page, &options.limits)?);
        }
        let change = (photometric == Some(PALETTE)).then_some((PHOTOMETRIC, BLACK_IS_ZERO));
        let file = match (index, change) {
            (0, None) => Cow::Borrowed(bytes),
            _ => Cow::Owned(page.rewritten(change)),
        };
        let is_grey = photometric.is_some_and(|kind| kind <= BLACK_IS_ZERO.into());
        let is_ours = change.is_some()
            || photometric == Some(YCBCR)
            || is_grey && (matches!(bits, 2 | 4) || page.number(SAMPLES) == Some(2));
        if is_ours {
            return read_samples(&file, &page, bytes.len(), &options.limits);
        }
        let decoder = TiffDecoder::new(Cursor::new(&*file))?;
        let mut header = still::header(&decoder, Format::Tiff, bytes.len());
        if let Cow::Owned(copy) = &file {
            header.file += copy.len();
        }
        still::read(decoder, header, &options.limits, pages)
    };
    let stored = read().map_err(|failure| failure.explain(Format::Tiff, bytes, &options.limits))?;
    let orientation = page
        .number(ORIENTATION)
        .and_then(|value| u8::try_from(value).ok());
    Ok(Stored {
        pages,
        orientation: orientation
            .and_then(Orientation::from_exif)
            .unwrap_or(Orientation::NoTransforms),
        profile: page.bytes(PROFILE).and_then(profile::foreign),
        ..stored
    })
}

/// Pixel types that only the crate `tiff` reads: their samples, made into colours here.
fn read_samples(file: &[u8], page: &Page, file_bytes: usize, limits: &Limits) -> Result<Stored, Failure> {
    let refused = |error| Failure::Ours(explain(error, file_bytes, limits));
    let mut decoder = tiff::decoder::Decoder::new(Cursor::new(file)).map_err(refused)?;
    let (width, height) = decoder.dimensions().map_err(refused)?;
    let colour_type = decoder.colortype().map_err(refused)?;
    let is_palette = page.number(PHOTOMETRIC) == Some(PALETTE);
    let (bits, samples, result) = match colour_type {
        ColorType::Gray(bits @ (1 | 2 | 4 | 8)) if is_palette => (bits, 1, 3),
        ColorType::Gray(bits @ (2 | 4)) => (bits, 1, 1),
        ColorType::Multiband {
            bit_depth: 8,
            num_samples: 2,
        } if !is_palette => (8, 2, 2),
        ColorType::YCbCr(8) => (8, 3, 3),
        other => {
            return Err(Failure::Ours(ImageError::Unsupported {
                format: Format::Tiff.name(),
                what: match is_palette {
                    true => format!("a palette with samples of {other:?}"),
                    false => format!("samples of {other:?}"),
                },
            }));
        }
    };
    let row_bytes = (u64::from(width) * u64::from(bits) * samples).div_ceil(8);
    let pixels = u64::from(width) * u64::from(height);
    let header = Header {
        format: Format::Tiff,
        width,
        height,
        stored: pixels * result,
        is_rgb: result == 3,
        beside: row_bytes * u64::from(height),
        file: file.len(),
    };
    header.check(limits)?;
    let size = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
    let mut bounds = tiff::decoder::Limits::default();
    bounds.decoding_buffer_size = size(header.beside);
    bounds.intermediate_buffer_size = size(header.decoder_limit());
    bounds.ifd_value_size = size(16 << 20);
    let mut decoder = decoder.with_limits(bounds);
    let DecodingResult::U8(data) = decoder.read_image().map_err(refused)? else {
        return Err(Failure::Ours(damaged(
            "its samples are of another type",
            file_bytes,
        )));
    };
    if data.len() as u64 != header.beside {
        return Err(Failure::Ours(damaged(
            "its data do not fill the size its header gives",
            file_bytes,
        )));
    }
    let (row_bytes, row_pixels) = (row_bytes as usize, width as usize);
    let rows = || data.chunks_exact(row_bytes);
    let values = |row| unpacked(row, bits).take(row_pixels);
    let (pixels, colour) = match colour_type {
        ColorType::YCbCr(_) => {
            let rgb = data.as_chunks().0.iter().flat_map(rgb_of_ycbcr).collect();
            (
                RgbImage::from_raw(width, height, rgb).map(DynamicImage::ImageRgb8),
                "RGB",
            )
        }
        ColorType::Multiband { .. } => (
            GrayAlphaImage::from_raw(width, height, data).map(DynamicImage::ImageLumaA8),
            "grey with alpha",
        ),
        _ if is_palette => {
            let colours = page.numbers(COLOURS).unwrap_or_default();
            let count = 1 << bits;
            if colours.len() < 3 * count {
                return Err(Failure::Ours(damaged("its palette is incomplete", file_bytes)));
            }
            // All reds, then all greens, then all blues; of their 16 bits, PIL takes the upper 8.
            let colour =
                |index: u8| [0, 1, 2].map(|part| (colours[part * count + usize::from(index)] >> 8) as u8);
            let mut rgb = Vec::with_capacity(header.stored as usize);
            rows().for_each(|row| values(row).for_each(|index| rgb.extend(colour(index))));
            (
                RgbImage::from_raw(width, height, rgb).map(DynamicImage::ImageRgb8),
                "palette",
            )
        }
        _ => {
            let most = (1u16 << bits) - 1;
            let mut grey = Vec::with_capacity(header.stored as usize);
            rows()
                .for_each(|row| grey.extend(values(row).map(|value| (u16::from(value) * 255 / most) as u8)));
            (
                GrayImage::from_raw(width, height, grey).map(DynamicImage::ImageLuma8),
                "grey",
            )
        }
    };
    Ok(stored(
        pixels.ok_or_else(|| damaged("its data do not fill the size its header gives", file_bytes))?,
        colour,
    ))
}

/// The values in a row of so many bits each, the first in the highest bits.
fn unpacked(row: &[u8], bits: u8) -> impl Iterator<Item = u8> + '_ {
    let mask = (1u16 << bits) - 1;
    row.iter().flat_map(move |byte| {
        let values = (0..8 / bits).rev();
        values.map(move |place| (u16::from(*byte) >> (place * bits) & mask) as u8)
    })
}

/// JPEG's colours (ITU-T T.871, 7), with libjpeg's rounding to sixteen bits behind the point.
fn rgb_of_ycbcr(ycbcr: &[u8; 3]) -> [u8; 3] {
    let [y, cb, cr] = ycbcr.map(i32::from);
    let (cb, cr) = (cb - 128, cr - 128);
    let fixed = |factor: f64| (factor * 65536.0 + 0.5) as i32;
    let half = 1 << 15;
    let red = y + ((fixed(1.402) * cr + half) >> 16);
    let green = y + ((-fixed(0.344_136_286) * cb - fixed(0.714_136_286) * cr + half) >> 16);
    let blue = y + ((fixed(1.772) * cb + half) >> 16);
    [red, green, blue].map(|value| value.clamp(0, 255) as u8)
}

/// Group 3 fax: strips of black and white.
fn read_fax(bytes: &[u8], page: &Page, limits: &Limits) -> Result<Stored, ImageError> {
    let damaged = |what: &str| damaged(what, bytes.len());
    let side = |tag| {
        let side = page.number(tag).and_then(|side| u32::try_from(side).ok());
        side.filter(|side| *side > 0)
    };
    let (Some(width), Some(height)) = (side(WIDTH), side(HEIGHT)) else {
        return Err(damaged("it says no size"));
    };
    let stored_bytes = u64::from(width) * u64::from(height);
    let header = Header {
        format: Format::Tiff,
        width,
        height,
        stored: stored_bytes,
        is_rgb: false,
        beside: 0,
        file: bytes.len(),
    };
    header.check(limits)?;
    if page.number(BITS).unwrap_or(1) != 1 || page.number(SAMPLES).unwrap_or(1) != 1 {
        return Err(damaged("it is a fax of more than one bit"));
    }
    let coding = fax::Coding {
        has_marks: page.number(COMPRESSION) == Some(3),
        may_follow: page.number(GROUP_3_OPTIONS).unwrap_or(0) & 1 == 1,
        low_bit_first: page.number(FILL_ORDER) == Some(2),
    };
    let (Some(starts), Some(lengths)) = (page.numbers(STRIPS), page.numbers(STRIP_LENGTHS)) else {
        return Err(damaged("it does not say where its rows are"));
    };
    let rows_of_strip = side(ROWS_OF_STRIP).unwrap_or(height).min(height);
    if starts.len() != lengths.len() || starts.len() < height.div_ceil(rows_of_strip) as usize {
        return Err(damaged("it does not say where all of its rows are"));
    }
    let (white, black) = match page.number(PHOTOMETRIC) {
        Some(WHITE_IS_ZERO) | None => (255, 0),
        _ => (0, 255),
    };
    let mut grey: Vec<u8> = Vec::with_capacity(stored_bytes as usize);
    let (mut rows_left, mut flawed) = (height, 0);
    for (start, length) in starts.iter().zip(&lengths) {
        let rows = rows_of_strip.min(rows_left);
        rows_left -= rows;
        // A strip that is cut off is read as far as it goes.
        let start = usize::try_from(*start).unwrap_or(usize::MAX).min(bytes.len());
        let length = usize::try_from(*length).unwrap_or(usize::MAX);
        let end = start.saturating_add(length).min(bytes.len());
        flawed += fax::decode(&bytes[start..end], width, rows, coding, |changes| {
            let (mut at, mut value) = (0, white);
            for change in changes.iter().chain([&width]) {
                grey.extend(std::iter::repeat_n(value, (*change - at) as usize));
                at = *change;
                value = if value == white { black } else { white };
            }
        });
    }
    if flawed == height {
        return Err(damaged("none of its rows can be read"));
    }
    let pixels = GrayImage::from_raw(width, height, grey)
        .ok_or_else(|| damaged("its data do not fill the size its header gives"))?;
    Ok(Stored {
        damage: (flawed > 0).then(|| format!("{flawed} of {height} rows are flawed or missing")),
        ..stored(DynamicImage::ImageLuma8(pixels), "black and white")
    })
}

fn stored(pixels: DynamicImage, colour: &'static str) -> Stored {
    Stored {
        pixels,
        colour,
        orientation: Orientation::NoTransforms,
        pages: 1,
        profile: None,
        narrowed: None,
        damage: None,
    }
}

fn damaged(what: &str, bytes: usize) -> ImageError {
    ImageError::Damaged {
        format: Format::Tiff.name(),
        what: what.to_owned(),
        bytes,
    }
}

fn explain(error: tiff::TiffError, bytes: usize, limits: &Limits) -> ImageError {
    let format = Format::Tiff.name();
    match error {
        tiff::TiffError::UnsupportedError(what) => ImageError::Unsupported {
            format,
            what: what.to_string(),
        },
        tiff::TiffError::LimitsExceeded => ImageError::DecoderMemory {
            format,
            what: "its strips or tables are larger than it".to_owned(),
            limit: limits.max_decoded_bytes,
        },
        tiff::TiffError::IoError(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            damaged("it ends too early", bytes)
        }
        other => damaged(&other.to_string(), bytes),
    }
}
