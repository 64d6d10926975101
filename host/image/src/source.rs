//! What a picture was before it was decoded, and what was done to it.

use crate::decode::AlphaHandling;

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
    /// High Efficiency Image File Format, with HEVC (only with the feature `heif`)
    Heic,
    /// AV1 Image File Format (only with the feature `heif`)
    Avif,
    /// A camera's raw photo, of which the embedded preview is read
    Raw,
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
            Format::Heic => "HEIC",
            Format::Avif => "AVIF",
            Format::Raw => "raw",
        }
    }
}

/// How values of more than 8 bits were brought to 8.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Narrowed {
    /// The lowest bits of each colour value were dropped.
    LowBits {
        /// How many bits a value had.
        from: u8,
    },
    /// Grey of the whole range was scaled.
    GreyScaled {
        /// The largest value there was, of 65535.
        largest: u16,
    },
    /// Grey values above 255 were cut off.
    GreyClipped {
        /// How many pixels had such a value.
        pixels: u64,
    },
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
    /// How values of more than 8 bits were brought to 8, if there were any.
    pub narrowed: Option<Narrowed>,
    /// Which page or frame was asked for, counted from 1; `None`: the first was taken unasked.
    pub page: Option<u32>,
    /// How many pages or frames the file has.
    pub pages: u32,
    /// The name of the file's colour profile, when it is not sRGB. It was not applied.
    pub profile: Option<String>,
    /// Damage that the decoder could work around, in its words.
    pub damage: Option<String>,
    /// The picture is the preview in a raw photo; width and height of what the sensor saw, where the file says them.
    pub preview_of: Option<Option<(u32, u32)>>,
}

/// What was done to a picture, and whether that lost something of it.
struct Step {
    text: String,
    is_loss: bool,
}

impl Source {
    /// One line for each thing that was done to the pixels beyond decoding them; empty for an upright, opaque
    /// 8-bit RGB picture.
    pub fn steps(&self) -> Vec<String> {
        self.told().map(|step| step.text).collect()
    }

    /// Those of the steps that lost something which may matter for what the picture shows.
    pub fn losses(&self) -> Vec<String> {
        self.told()
            .filter(|step| step.is_loss)
            .map(|step| step.text)
            .collect()
    }

    fn told(&self) -> impl Iterator<Item = Step> {
        let step = |text| Some(Step { text, is_loss: false });
        let loss = |text| Some(Step { text, is_loss: true });
        let turned = match self.orientation {
            1 => None,
            orientation => step(format!("turned upright (EXIF orientation {orientation})")),
        };
        let converted = match self.colour {
            "RGB" => None,
            colour => step(format!("converted from {colour} to RGB")),
        };
        let transparent = match (self.transparent_pixels, self.alpha) {
            (0, _) => None,
            (pixels, AlphaHandling::OverWhite) => {
                loss(format!("{pixels} transparent pixels laid over white"))
            }
            (pixels, AlphaHandling::Drop) => loss(format!("{pixels} transparent pixels made opaque")),
        };
        let narrowed = self.narrowed.and_then(|narrowed| match narrowed {
            Narrowed::LowBits { from } => loss(format!("{from} bits a colour brought to 8")),
            Narrowed::GreyScaled { largest } => loss(format!(
                "16-bit grey scaled to 8 bits (its largest value is {largest} of 65535)"
            )),
            Narrowed::GreyClipped { pixels: 0 } => None,
            Narrowed::GreyClipped { pixels } => loss(format!("{pixels} grey values above 255 cut off")),
        });
        let page = match (self.page, self.pages) {
            (None, 0 | 1) | (Some(_), 1) => None,
            (None, pages) => loss(format!(
                "only the first of {pages} pages or frames used (`#2` behind the file's name takes the second)"
            )),
            (Some(page), pages) => step(format!("page or frame {page} of {pages} used")),
        };
        let profile = self.profile.as_ref();
        let profile = profile.and_then(|name| {
            loss(format!(
                "colours taken as sRGB: the colour profile {name} is not applied"
            ))
        });
        let damage = self.damage.as_ref();
        let damage = damage.and_then(|damage| loss(format!("damage worked around: {damage}")));
        let preview = self.preview_of.and_then(|sensor| {
            let of = match sensor {
                Some((width, height)) => format!("the sensor's {width} x {height} are not developed"),
                None => "what the sensor saw is not developed".to_owned(),
            };
            loss(format!(
                "the preview of {} x {} in the raw photo used: {of}",
                self.width, self.height
            ))
        });
        [
            preview,
            turned,
            converted,
            transparent,
            narrowed,
            page,
            profile,
            damage,
        ]
        .into_iter()
        .flatten()
    }
}
