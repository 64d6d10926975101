//! What a picture was before it was decoded, and what was done to it.

use crate::decode::{AlphaHandling, WideGrey};

/// A kind of file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// Portable Network Graphics
    Png,
    /// JPEG, baseline or progressive
    Jpeg,
    /// WebP, lossy or lossless
    WebP,
    /// Graphics Interchange Format
    Gif,
    /// Windows bitmap
    Bmp,
    /// Tagged Image File Format
    Tiff,
    /// Portable bitmap, greymap, pixmap or anymap
    Pnm,
}

impl Format {
    /// The name people know it by.
    pub fn name(self) -> &'static str {
        match self {
            Format::Png => "PNG",
            Format::Jpeg => "JPEG",
            Format::WebP => "WebP",
            Format::Gif => "GIF",
            Format::Bmp => "BMP",
            Format::Tiff => "TIFF",
            Format::Pnm => "PNM",
        }
    }
}

/// Where a picture came from, and everything that decoding did to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The kind of file.
    pub format: Format,
    /// Length of the file in bytes.
    pub file_bytes: usize,
    /// Width as stored, before the picture was turned upright.
    pub width: u32,
    /// Height as stored, before the picture was turned upright.
    pub height: u32,
    /// The pixel type as stored, for people: "RGB", "CMYK", "16-bit grey", ….
    pub colour: &'static str,
    /// EXIF orientation, 1 to 8; 1 is upright already, anything else was turned or mirrored.
    pub orientation: u8,
    /// Pixels that were not wholly opaque.
    pub transparent_pixels: u64,
    /// What was done with their transparency.
    pub alpha: AlphaHandling,
    /// 16-bit grey values that were cut off at 255 (see [`WideGrey::Clip`]).
    pub clipped_pixels: u64,
    /// How 16-bit grey was brought to 8 bits.
    pub wide_grey: WideGrey,
    /// Whether the file holds further frames or pages, which were left out.
    pub more_frames: bool,
    /// Damage that the decoder could work around, in its words.
    pub damage: Option<String>,
}

impl Source {
    /// One line for each thing that was done to the pixels beyond decoding them; empty for an upright, opaque
    /// 8-bit RGB picture.
    pub fn steps(&self) -> Vec<String> {
        let mut steps = Vec::new();
        if self.orientation != 1 {
            steps.push(format!("turned upright (EXIF orientation {})", self.orientation));
        }
        if self.colour != "RGB" {
            steps.push(format!("converted from {} to RGB", self.colour));
        }
        if self.transparent_pixels > 0 {
            let how = match self.alpha {
                AlphaHandling::OverWhite => "laid over white",
                AlphaHandling::Drop => "made opaque",
            };
            steps.push(format!("{} transparent pixels {how}", self.transparent_pixels));
        }
        if self.clipped_pixels > 0 {
            steps.push(format!("{} grey values above 255 cut off", self.clipped_pixels));
        }
        if self.more_frames {
            steps.push("only the first frame or page used".to_owned());
        }
        if let Some(damage) = &self.damage {
            steps.push(format!("damage worked around: {damage}"));
        }
        steps
    }
}
