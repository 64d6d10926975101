//! Which kind of file some bytes are.

use crate::error::ImageError;
use crate::source::Format;

/// The kind the first bytes tell.
pub(super) fn recognise(bytes: &[u8]) -> Result<Format, ImageError> {
    if bytes.is_empty() {
        return Err(ImageError::Empty);
    }
    match image::guess_format(bytes) {
        Ok(image::ImageFormat::Png) => Ok(Format::Png),
        Ok(image::ImageFormat::Jpeg) => Ok(Format::Jpeg),
        Ok(image::ImageFormat::WebP) => Ok(Format::WebP),
        Ok(image::ImageFormat::Gif) => Ok(Format::Gif),
        Ok(image::ImageFormat::Bmp) => Ok(Format::Bmp),
        Ok(image::ImageFormat::Tiff) => Ok(Format::Tiff),
        Ok(image::ImageFormat::Pnm) => Ok(Format::Pnm),
        _ => Err(ImageError::UnknownKind {
            found: describe(bytes),
        }),
    }
}

/// What unreadable bytes look like: the kinds people are likely to have, else the first bytes.
fn describe(bytes: &[u8]) -> String {
    let brand = bytes.get(4..12).unwrap_or_default();
    let text = bytes.trim_ascii_start();
    let known = match brand {
        b"ftypheic" | b"ftypheix" | b"ftypmif1" | b"ftypheim" | b"ftyphevc" => Some("a HEIC photo"),
        b"ftypavif" | b"ftypavis" => Some("an AVIF picture"),
        _ if brand.starts_with(b"ftyp") => Some("a video"),
        _ if bytes.starts_with(b"%PDF") => Some("a PDF document"),
        _ if bytes.starts_with(&[0xff, 0x0a]) || brand.starts_with(b"JXL ") => Some("a JPEG XL picture"),
        _ if bytes.starts_with(b"version https://git-lfs") => Some("a Git LFS pointer, not the file itself"),
        _ if text.starts_with(b"<svg") => Some("an SVG drawing"),
        _ if text.starts_with(b"<") => Some("an HTML or XML text"),
        _ => None,
    };
    known.map_or_else(
        || {
            let first: Vec<String> = bytes.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
            format!("the bytes {}", first.join(" "))
        },
        str::to_owned,
    )
}
