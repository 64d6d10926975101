//! Reading PNG files.

use std::borrow::Cow;
use std::io::{Cursor, Read};

use flate2::read::ZlibDecoder;
use image::ImageDecoder;
use image::codecs::png::PngDecoder;
use image::metadata::Orientation;

use super::still::{self, Failure};
use super::{DecodeOptions, Header, Stored, page, profile};
use crate::error::ImageError;
use crate::source::Format;

/// Bytes before the first chunk.
const SIGNATURE: usize = 8;
/// Length and name before a chunk's data, checksum after it.
const AROUND: usize = 12;
const END: [u8; AROUND] = *b"\0\0\0\0IEND\xae\x42\x60\x82";
/// The most bytes of a colour profile that are unpacked. PIL refuses files with more.
const LONGEST_PROFILE: u64 = 1 << 20;

pub(super) fn read(bytes: &[u8], options: &DecodeOptions) -> Result<Stored, ImageError> {
    let Tidy {
        file,
        size,
        frames,
        profile,
        damage,
    } = Tidy::new(bytes);
    let frame = page::chosen(options.page, frames, Format::Png)?;
    let read = || -> Result<Stored, Failure> {
        // Colours of 16 bits with alpha take the most; the decoder tells the true size only after it has read all of the head.
        let mut header = Header {
            format: Format::Png,
            width: size.0,
            height: size.1,
            stored: 0,
            is_rgb: true,
            beside: 0,
            file: bytes.len(),
        };
        header.check(&options.limits)?;
        let limit = Header {
            stored: u64::from(size.0) * u64::from(size.1) * 8,
            ..header
        };
        let decoder = PngDecoder::with_limits(Cursor::new(&*file), still::decoder_limits(&limit))?;
        header = still::header(&decoder, Format::Png, bytes.len());
        if frame == 0 {
            return still::read(decoder, header, &options.limits, frames);
        }
        let colour = still::colour_name(decoder.original_color_type());
        header.stored = u64::from(header.width) * u64::from(header.height) * 4;
        header.is_rgb = false;
        header.beside = header.stored * 2;
        header.check(&options.limits)?;
        let mut decoder = decoder;
        decoder.set_limits(still::decoder_limits(&header))?;
        let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
        // A still picture before the animation is page 1 and no frame of it.
        let skipped = u32::from(animation_begins_late(&file));
        Ok(Stored {
            pixels: still::read_frame(decoder.apng()?, Format::Png, frame - skipped)?,
            colour,
            orientation,
            pages: frames,
            profile: None,
            narrowed: None,
            damage: None,
        })
    };
    let stored = read().map_err(|failure| failure.explain(Format::Png, bytes, &options.limits))?;
    Ok(Stored {
        profile,
        damage,
        ..stored
    })
}

/// A PNG file as the decoder should see it: with an end, and without texts and profiles, which can unpack to gigabytes.
struct Tidy<'a> {
    file: Cow<'a, [u8]>,
    size: (u32, u32),
    frames: u32,
    profile: Option<String>,
    damage: Option<String>,
}

impl<'a> Tidy<'a> {
    fn new(bytes: &'a [u8]) -> Tidy<'a> {
        let mut tidy = Tidy {
            file: Cow::Borrowed(bytes),
            size: (0, 0),
            frames: 1,
            profile: None,
            damage: None,
        };
        let mut kept: Vec<&[u8]> = vec![&bytes[..SIGNATURE.min(bytes.len())]];
        let (mut has_data, mut has_end, mut dropped) = (false, false, false);
        let mut rest = bytes.get(SIGNATURE..).unwrap_or_default();
        while let Some((name, data, chunk, after)) = first_chunk(rest) {
            rest = after;
            match name {
                b"IHDR" => tidy.size = sizes(data),
                b"acTL" => tidy.frames = animation_frames(data, bytes),
                b"IDAT" => has_data = true,
                b"IEND" => has_end = true,
                b"iCCP" => tidy.profile = tidy.profile.or_else(|| profile_name(data)),
                _ => {}
            }
            if matches!(name, b"iCCP" | b"tEXt" | b"zTXt" | b"iTXt") {
                dropped = true;
            } else {
                kept.push(chunk);
            }
            if has_end {
                rest = &[];
            }
        }
        // Pixels that end early are the decoder's to find; what is missing after them is no loss.
        let is_cut_in_data = !has_data || matches!(rest.get(4..8), Some(b"IDAT" | b"fdAT"));
        if is_cut_in_data {
            kept.push(rest);
        } else if !has_end {
            kept.push(&END);
            tidy.damage = Some("the file has no end".to_owned());
            dropped = true;
        }
        if dropped {
            tidy.file = Cow::Owned(kept.concat());
        }
        tidy
    }
}

/// Name, data, the chunk as a whole, and what follows it; `None` if it is cut off.
type Chunk<'a> = (&'a [u8; 4], &'a [u8], &'a [u8], &'a [u8]);

fn first_chunk(bytes: &[u8]) -> Option<Chunk<'_>> {
    let length = u32::from_be_bytes(*bytes.first_chunk()?) as usize;
    let name = bytes.get(4..8)?.first_chunk()?;
    let (chunk, after) = bytes.split_at_checked(length.checked_add(AROUND)?)?;
    Some((name, &chunk[8..8 + length], chunk, after))
}

fn sizes(header: &[u8]) -> (u32, u32) {
    let side = |at: usize| {
        let bytes = header.get(at..).and_then(|bytes| bytes.first_chunk());
        bytes.map_or(0, |bytes| u32::from_be_bytes(*bytes))
    };
    (side(0), side(4))
}

/// How many frames an animation says it has, and the still picture before it if that is no frame; never more than its file
/// could hold.
fn animation_frames(control: &[u8], bytes: &[u8]) -> u32 {
    let frames = control
        .first_chunk()
        .map_or(1, |bytes| u32::from_be_bytes(*bytes));
    let most = u32::try_from(bytes.len() / AROUND).unwrap_or(u32::MAX);
    frames
        .clamp(1, most.max(1))
        .saturating_add(u32::from(animation_begins_late(bytes)))
}

/// Whether the first picture is not a frame of the animation: no frame control stands before its data (APNG, 1.1).
fn animation_begins_late(bytes: &[u8]) -> bool {
    let mut rest = bytes.get(SIGNATURE..).unwrap_or_default();
    while let Some((name, _, _, after)) = first_chunk(rest) {
        match name {
            b"fcTL" => return false,
            b"IDAT" => return true,
            _ => rest = after,
        }
    }
    false
}

/// The name of a profile that is not sRGB, out of an iCCP chunk: a name, a zero, the method 0, packed data.
fn profile_name(data: &[u8]) -> Option<String> {
    let name = data.iter().position(|byte| *byte == 0)?;
    let packed = data.get(name + 2..)?;
    let mut unpacked = Vec::new();
    // What cannot be unpacked is no profile that could be applied.
    let _ = ZlibDecoder::new(packed)
        .take(LONGEST_PROFILE)
        .read_to_end(&mut unpacked);
    profile::foreign(&unpacked)
}
