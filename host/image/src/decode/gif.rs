//! Reading GIF files.

use std::io::Cursor;

use image::ImageDecoder;
use image::codecs::gif::GifDecoder;
use image::metadata::Orientation;

use super::still::{self, Failure};
use super::{DecodeOptions, Stored, page};
use crate::error::ImageError;
use crate::source::Format;

pub(super) fn read(bytes: &[u8], options: &DecodeOptions) -> Result<Stored, ImageError> {
    let pages = count_frames(bytes);
    let frame = page::chosen(options.page, pages, Format::Gif)?;
    let read = || -> Result<Stored, Failure> {
        let mut decoder = GifDecoder::new(Cursor::new(bytes))?;
        let mut header = still::header(&decoder, Format::Gif, bytes.len());
        if frame == 0 {
            let mut stored = still::read(decoder, header, &options.limits, pages)?;
            stored.colour = "palette";
            return Ok(stored);
        }
        // What the frames before it left, and the frame itself.
        header.beside = header.stored * 2;
        header.check(&options.limits)?;
        decoder.set_limits(still::decoder_limits(&header))?;
        Ok(Stored {
            pixels: still::read_frame(decoder, Format::Gif, frame)?,
            colour: "palette",
            orientation: Orientation::NoTransforms,
            pages,
            profile: None,
            narrowed: None,
            damage: None,
        })
    };
    read().map_err(|failure| failure.explain(Format::Gif, bytes, &options.limits))
}

/// A GIF says nowhere how many frames it has: its blocks are counted (GIF89a, 15 to 27), without decoding any.
fn count_frames(bytes: &[u8]) -> u32 {
    let table = |flags: u8| match flags & 0x80 {
        0 => 0,
        _ => 3usize << ((flags & 7) + 1),
    };
    let mut frames = 0;
    let mut at = 13 + bytes.get(10).map_or(0, |flags| table(*flags));
    loop {
        // An extension has a label before its data, an image nine bytes, a colour table, and the size of its codes.
        at += match bytes.get(at) {
            Some(0x21) => 2,
            Some(0x2c) => {
                frames += 1;
                11 + bytes.get(at + 9).map_or(0, |flags| table(*flags))
            }
            _ => return frames,
        };
        loop {
            match bytes.get(at) {
                Some(0) => break,
                Some(length) => at += 1 + usize::from(*length),
                None => return frames,
            }
        }
        at += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_counted_by_their_blocks() {
        let screen = b"GIF89a\x01\0\x01\0\x80\0\0RGBrgb"; // two colours
        let image = b"\x2c\0\0\0\0\x01\0\x01\0\0\x02\x02\x44\x01\0";
        let extension = b"\x21\xf9\x04\0\0\0\0\0";
        let own_colours = b"\x2c\0\0\0\0\x01\0\x01\0\x81RGBRGBRGBRGB\x02\x02\x44\x01\0";
        let file = |blocks: &[&[u8]]| {
            [&[screen.as_slice()], blocks, &[b";".as_slice()]]
                .concat()
                .concat()
        };
        assert_eq!(count_frames(&file(&[])), 0);
        assert_eq!(count_frames(&file(&[image])), 1);
        assert_eq!(
            count_frames(&file(&[extension, image, extension, own_colours, image])),
            3
        );
        // Cut within the second image's data.
        let cut = file(&[image, image]);
        assert_eq!(count_frames(&cut[..cut.len() - 3]), 2);
        assert_eq!(count_frames(b"GIF89a"), 0);
    }
}
