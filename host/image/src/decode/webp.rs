//! Reading WebP files.

use std::io::Cursor;

use image::ImageDecoder;
use image::codecs::webp::WebPDecoder;
use image::metadata::Orientation;

use super::still::{self, Failure};
use super::{DecodeOptions, Stored, page};
use crate::error::ImageError;
use crate::source::Format;

pub(super) fn read(bytes: &[u8], options: &DecodeOptions) -> Result<Stored, ImageError> {
    let pages = count_frames(bytes).max(1);
    let frame = page::chosen(options.page, pages, Format::WebP)?;
    let read = || -> Result<Stored, Failure> {
        let mut decoder = WebPDecoder::new(Cursor::new(bytes))?;
        let mut header = still::header(&decoder, Format::WebP, bytes.len());
        if frame == 0 {
            return still::read(decoder, header, &options.limits, pages);
        }
        let colour = still::colour_name(decoder.original_color_type());
        header.stored = u64::from(header.width) * u64::from(header.height) * 4;
        header.is_rgb = false;
        header.beside = header.stored * 2;
        header.check(&options.limits)?;
        let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
        Ok(Stored {
            pixels: still::read_frame(decoder, Format::WebP, frame)?,
            colour,
            orientation,
            pages,
            profile: None,
            narrowed: None,
            damage: None,
        })
    };
    read().map_err(|failure| failure.explain(Format::WebP, bytes, &options.limits))
}

/// The frames of an animation: its chunks of that name (WebP Container Specification).
fn count_frames(bytes: &[u8]) -> u32 {
    let mut frames = 0;
    let mut rest = bytes.get(12..).unwrap_or_default();
    while let Some((name, after)) = rest.split_first_chunk::<4>() {
        let Some(length) = after.first_chunk() else { break };
        frames += u32::from(name == b"ANMF");
        // Chunks begin at even places.
        let length = u32::from_le_bytes(*length) as usize;
        let Some(next) = after.get(4 + length + length % 2..) else {
            break;
        };
        rest = next;
    }
    frames
}
