//! Reading Windows bitmaps and the portable anymaps.

use std::io::Cursor;

use image::codecs::bmp::BmpDecoder;
use image::codecs::pnm::PnmDecoder;

use super::still::{self, Failure};
use super::{DecodeOptions, Stored, page};
use crate::error::ImageError;
use crate::source::Format;

pub(super) fn read_bmp(bytes: &[u8], options: &DecodeOptions) -> Result<Stored, ImageError> {
    page::chosen(options.page, 1, Format::Bmp)?;
    let read = || -> Result<Stored, Failure> {
        let decoder = BmpDecoder::new(Cursor::new(bytes))?;
        let header = still::header(&decoder, Format::Bmp, bytes.len());
        still::read(decoder, header, &options.limits, 1)
    };
    read().map_err(|failure| failure.explain(Format::Bmp, bytes, &options.limits))
}

pub(super) fn read_pnm(bytes: &[u8], options: &DecodeOptions) -> Result<Stored, ImageError> {
    page::chosen(options.page, 1, Format::Pnm)?;
    let read = || -> Result<Stored, Failure> {
        let decoder = PnmDecoder::new(Cursor::new(bytes))?;
        let header = still::header(&decoder, Format::Pnm, bytes.len());
        still::read(decoder, header, &options.limits, 1)
    };
    read().map_err(|failure| failure.explain(Format::Pnm, bytes, &options.limits))
}
