//! A request's pictures: decoded, capped as the manifest says, every step noted.

use std::path::PathBuf;

use monocle_image::{DecodeOptions, Decoded, Filter, ImageError, Picture};

use crate::error::RequestError;
use crate::plugin::contract::Size;

/// Where a picture comes from.
#[derive(Debug, Clone)]
pub enum PictureInput {
    /// A file.
    File(PathBuf),
    /// A file's content, and what to call it.
    Bytes {
        /// What the user calls it.
        name: String,
        /// The content.
        bytes: Vec<u8>,
    },
    /// One page or frame of another.
    Page {
        /// The picture.
        of: Box<PictureInput>,
        /// Counted from 1.
        page: u32,
    },
    /// Another, shrunk to so many pixels if it has more.
    Capped {
        /// The picture.
        of: Box<PictureInput>,
        /// The most pixels.
        max_pixels: u64,
    },
}

impl PictureInput {
    /// What to call it.
    pub fn name(&self) -> String {
        match self {
            Self::File(path) => path.display().to_string(),
            Self::Bytes { name, .. } => name.clone(),
            Self::Page { of, page } => format!("{}#{page}", of.name()),
            Self::Capped { of, .. } => of.name(),
        }
    }
}

/// What is done with pictures beyond a size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PixelCap {
    /// The most pixels.
    pub max_pixels: u64,
    /// Refuse instead of shrinking.
    pub refuse: bool,
}

/// A decoded picture.
#[derive(Debug)]
pub struct Opened {
    /// What the user calls it.
    pub name: String,
    /// Kind of file.
    pub format: String,
    /// As the file has it, turned upright.
    pub given: Size,
    /// As plugins see it: capped.
    pub seen: Size,
    /// Its pixels, until they are prepared.
    pub picture: Picture,
    /// What was done to it.
    pub steps: Vec<String>,
    /// Those of the steps that lost something of it.
    pub losses: Vec<String>,
}

impl Opened {
    /// The sides of what was given, by those of what the plugin sees.
    pub fn given_by_seen(&self) -> [f32; 2] {
        let by = |given: u32, seen: u32| given as f32 / seen as f32;
        [
            by(self.given.width, self.seen.width),
            by(self.given.height, self.seen.height),
        ]
    }
}

/// Decodes a picture and applies the cap.
pub fn open(
    input: &PictureInput,
    options: &DecodeOptions,
    cap: Option<PixelCap>,
) -> Result<Opened, RequestError> {
    if let PictureInput::Capped { of, max_pixels } = input {
        let asked = PixelCap {
            max_pixels: *max_pixels,
            refuse: false,
        };
        // What the manifest refuses, a request cannot have shrunk; what it shrinks, a request may have smaller.
        return match cap {
            Some(cap) if cap.max_pixels <= *max_pixels => open(of, options, Some(cap)),
            Some(cap) if cap.refuse => {
                let opened = open(of, options, Some(cap))?;
                shrink(opened, asked)
            }
            _ => open(of, options, Some(asked)),
        };
    }
    let failed = |source: ImageError| RequestError::Image {
        name: input.name(),
        source,
    };
    let decoded = decoded(input, options).map_err(failed)?;
    let mut picture = decoded.picture;
    let given = size_of(&picture);
    let (mut steps, losses) = (decoded.source.steps(), decoded.source.losses());
    let pixels = u64::from(given.width) * u64::from(given.height);
    if let Some(cap) = cap.filter(|cap| pixels > cap.max_pixels) {
        if cap.refuse {
            return Err(RequestError::TooManyPixels {
                name: input.name(),
                given,
                pixels,
                limit: cap.max_pixels,
            });
        }
        let size = shrunk(given, cap.max_pixels);
        picture = picture
            .resize(size.width, size.height, Filter::Lanczos)
            .map_err(failed)?;
        steps.push(format!(
            "shrunk from {given} to {size}: more than {} pixels",
            cap.max_pixels
        ));
    }
    Ok(Opened {
        name: input.name(),
        format: decoded.source.format.name().to_owned(),
        given,
        seen: size_of(&picture),
        picture,
        steps,
        losses,
    })
}

/// The size that a picture of this size is given to the plugin in; what [`open`] refuses is refused.
pub(super) fn capped(input: &PictureInput, given: Size, cap: Option<PixelCap>) -> Result<Size, RequestError> {
    let pixels = u64::from(given.width) * u64::from(given.height);
    let asked = match input {
        PictureInput::Capped { max_pixels, .. } => Some(*max_pixels),
        _ => None,
    };
    if let Some(cap) = cap.filter(|cap| cap.refuse && pixels > cap.max_pixels) {
        return Err(RequestError::TooManyPixels {
            name: input.name(),
            given,
            pixels,
            limit: cap.max_pixels,
        });
    }
    let least = [cap.map(|cap| cap.max_pixels), asked].into_iter().flatten().min();
    Ok(match least {
        Some(most) if pixels > most => shrunk(given, most),
        _ => given,
    })
}

fn size_of(picture: &Picture) -> Size {
    Size {
        width: picture.width(),
        height: picture.height(),
    }
}

/// Shrinks what was opened, if it has more pixels.
fn shrink(mut opened: Opened, cap: PixelCap) -> Result<Opened, RequestError> {
    let size = shrunk(opened.given, cap.max_pixels);
    if u64::from(opened.given.width) * u64::from(opened.given.height) > cap.max_pixels {
        let name = opened.name.clone();
        let resized = opened.picture.resize(size.width, size.height, Filter::Lanczos);
        opened.picture = resized.map_err(|source| RequestError::Image { name, source })?;
        opened.seen = size;
        opened.steps.push(format!(
            "shrunk from {} to {size}: more than {} pixels",
            opened.given, cap.max_pixels
        ));
    }
    Ok(opened)
}

fn decoded(input: &PictureInput, options: &DecodeOptions) -> Result<Decoded, ImageError> {
    match input {
        PictureInput::File(path) => monocle_image::open(path, options),
        PictureInput::Bytes { bytes, .. } => monocle_image::decode(bytes, options),
        PictureInput::Page { of, page } => {
            let page = Some(*page);
            decoded(of, &DecodeOptions { page, ..*options })
        }
        PictureInput::Capped { of, .. } => decoded(of, options),
    }
}

/// The largest size of the same proportions with at most so many pixels; no side vanishes.
fn shrunk(size: Size, max_pixels: u64) -> Size {
    let scale = (max_pixels as f64 / (f64::from(size.width) * f64::from(size.height))).sqrt();
    let side = |side: u32| ((f64::from(side) * scale).floor() as u32).max(1);
    let (mut width, mut height) = (side(size.width), side(size.height));
    // A side that was kept at 1 leaves fewer pixels for the other.
    if u64::from(width) * u64::from(height) > max_pixels {
        if width > height {
            width = u32::try_from(max_pixels).unwrap_or(width).max(1);
        } else {
            height = u32::try_from(max_pixels).unwrap_or(height).max(1);
        }
    }
    Size { width, height }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shrinking_keeps_proportions_and_the_limit() {
        // 5477 x 7819 = 42 824 663; scale = sqrt(4e6 / 42824663) = 0.305620: 1673.8 x 2389.6
        let size = shrunk(
            Size {
                width: 5477,
                height: 7819,
            },
            4_000_000,
        );
        assert_eq!(
            size,
            Size {
                width: 1673,
                height: 2389
            }
        );
        assert_eq!(
            shrunk(
                Size {
                    width: 100_000,
                    height: 1
                },
                500
            ),
            Size {
                width: 500,
                height: 1
            }
        );
        assert_eq!(
            shrunk(Size { width: 1, height: 9 }, 1),
            Size { width: 1, height: 1 }
        );
    }

    #[test]
    fn a_cap_shrinks_or_refuses() {
        let picture = Picture::filled(40, 30, [1, 2, 3]).unwrap();
        let header = format!("P6 {} {} 255\n", picture.width(), picture.height());
        let bytes = [header.as_bytes(), picture.rgb()].concat();
        let input = PictureInput::Bytes {
            name: "x.ppm".to_owned(),
            bytes,
        };
        let options = DecodeOptions::default();
        let opened = open(
            &input,
            &options,
            Some(PixelCap {
                max_pixels: 300,
                refuse: false,
            }),
        )
        .unwrap();
        assert_eq!((opened.picture.width(), opened.picture.height()), (20, 15));
        assert_eq!(
            opened.given,
            Size {
                width: 40,
                height: 30
            }
        );
        assert_eq!(opened.steps.len(), 1);
        assert_eq!(opened.losses, [""; 0]);
        let refused = open(
            &input,
            &options,
            Some(PixelCap {
                max_pixels: 300,
                refuse: true,
            }),
        );
        assert!(matches!(
            refused,
            Err(RequestError::TooManyPixels {
                pixels: 1200,
                limit: 300,
                ..
            })
        ));
    }
}
