//! Which kind of file some bytes are.

use crate::error::ImageError;
use crate::source::Format;

/// The kind the first bytes tell.
pub(super) fn recognise(bytes: &[u8]) -> Result<Format, ImageError> {
    if bytes.is_empty() {
        return Err(ImageError::Empty);
    }
    if bytes.starts_with(b"II\x2b\0") || bytes.starts_with(b"MM\0\x2b") {
        return Ok(Format::Tiff); // BigTIFF
    }
    if super::raw::is_marked(bytes) {
        return Ok(Format::Raw);
    }
    if let Some(brands) = Brands::read(bytes) {
        return brands.recognise();
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

/// The brands of an ISO media file (ISO/IEC 14496-12, 4.3): what it is, and what it can be read as.
struct Brands<'a> {
    major: &'a [u8],
    compatible: &'a [u8],
}

impl<'a> Brands<'a> {
    fn read(bytes: &'a [u8]) -> Option<Brands<'a>> {
        if bytes.get(4..8)? != b"ftyp" {
            return None;
        }
        let length = u32::from_be_bytes(*bytes.first_chunk()?) as usize;
        let end = length.clamp(12, 1024).min(bytes.len());
        Some(Brands {
            major: bytes.get(8..12)?,
            compatible: bytes.get(16..end).unwrap_or_default(),
        })
    }

    /// Whether one of these is the major brand or, for a file of a general brand, among the compatible ones.
    fn has(&self, brands: &[&[u8; 4]]) -> bool {
        let among = |brand: &[u8]| brands.iter().any(|wanted| wanted.as_slice() == brand);
        let is_general = matches!(self.major, b"mif1" | b"mif2" | b"msf1" | b"miaf");
        among(self.major) || is_general && self.compatible.chunks_exact(4).any(among)
    }

    fn recognise(&self) -> Result<Format, ImageError> {
        // AVIF first (AV1 Image File Format, 6): both kinds may name the general brands, and neither names the other's own.
        if self.has(&[b"avif", b"avis", b"avio"]) {
            return Ok(Format::Avif);
        }
        let heic: [&[u8; 4]; 12] = [
            b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", // still, sequence
            b"mif1", b"mif2", b"msf1", b"miaf", // a codec that only the file's inside tells
        ];
        if self.has(&heic) {
            return Ok(Format::Heic);
        }
        Err(ImageError::UnknownKind {
            found: match self.major {
                b"crx " => "a Canon raw photo".to_owned(),
                _ => "a video".to_owned(),
            },
        })
    }
}

/// What unreadable bytes look like: the kinds people are likely to have, else the first bytes.
fn describe(bytes: &[u8]) -> String {
    let text = bytes.trim_ascii_start();
    let known = match bytes {
        _ if bytes.starts_with(b"%PDF") => Some("a PDF document"),
        _ if bytes.starts_with(&[0xff, 0x0a]) || bytes.get(4..8) == Some(b"JXL ") => {
            Some("a JPEG XL picture")
        }
        _ if bytes.starts_with(b"version https://git-lfs") => Some("a Git LFS pointer, not the file itself"),
        _ if [&b"IIRO"[..], b"IIRS", b"MMOR"]
            .iter()
            .any(|head| bytes.starts_with(head)) =>
        {
            Some("an Olympus raw photo")
        }
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
