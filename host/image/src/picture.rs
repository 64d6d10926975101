//! A picture in memory, and the operations that only move its pixels.

use crate::error::ImageError;

/// The most pixels one picture, or an intermediate of resizing it, may have: 768 MiB of RGB.
pub(crate) const MAX_PIXELS: u64 = 1 << 28;

/// An 8-bit RGB picture: rows from the top, pixels from the left, three bytes each, no padding.
#[derive(Clone, PartialEq, Eq)]
pub struct Picture {
    width: u32,
    height: u32,
    rgb: Vec<u8>, // [height, width, 3]
}

impl std::fmt::Debug for Picture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Picture({} x {})", self.width, self.height)
    }
}

impl Picture {
    /// A picture of these pixels, given as `[height, width, 3]`.
    pub fn from_rgb(width: u32, height: u32, rgb: Vec<u8>) -> Result<Picture, ImageError> {
        check_size("making a picture", width, height)?;
        let expected = u64::from(width) * u64::from(height) * 3;
        if rgb.len() as u64 != expected {
            return Err(ImageError::WrongLength {
                width,
                height,
                expected,
                found: rgb.len(),
            });
        }
        Ok(Picture { width, height, rgb })
    }

    /// A picture of one colour.
    pub fn filled(width: u32, height: u32, colour: [u8; 3]) -> Result<Picture, ImageError> {
        let pixels = check_size("making a picture", width, height)?;
        Ok(Picture {
            width,
            height,
            rgb: colour.repeat(pixels),
        })
    }

    /// Width in pixels.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Height in pixels.
    pub fn height(&self) -> u32 {
        self.height
    }

    /// The pixels, `[height, width, 3]`.
    pub fn rgb(&self) -> &[u8] {
        &self.rgb
    }

    /// The pixels, `[height, width, 3]`, taken out.
    pub fn into_rgb(self) -> Vec<u8> {
        self.rgb
    }

    /// Bytes of memory the pixels take.
    pub fn byte_len(&self) -> usize {
        self.rgb.len()
    }

    /// The rectangle of `width` x `height` pixels whose top left corner is at (`x`, `y`). What lies outside the
    /// picture is black, as with PIL's `Image.crop`.
    pub fn crop(&self, x: i64, y: i64, width: u32, height: u32) -> Result<Picture, ImageError> {
        let pixels = check_size("crop", width, height)?;
        let mut cropped = Picture {
            width,
            height,
            rgb: vec![0; pixels * 3],
        };
        cropped.paste(self, x.saturating_neg(), y.saturating_neg());
        Ok(cropped)
    }

    /// The middle `width` x `height` pixels. A picture smaller than that is set in black, with the odd pixel of
    /// the border at the top and left, as transformers' `center_crop` does it.
    pub fn centre_crop(&self, width: u32, height: u32) -> Result<Picture, ImageError> {
        let x = (i64::from(self.width) - i64::from(width)).div_euclid(2);
        let y = (i64::from(self.height) - i64::from(height)).div_euclid(2);
        self.crop(x, y, width, height)
    }

    /// The picture with a border of one colour added.
    pub fn pad(
        &self,
        left: u32,
        top: u32,
        right: u32,
        bottom: u32,
        colour: [u8; 3],
    ) -> Result<Picture, ImageError> {
        let too_large = || ImageError::TooLarge {
            operation: "pad",
            width: u64::from(self.width) + u64::from(left) + u64::from(right),
            height: u64::from(self.height) + u64::from(top) + u64::from(bottom),
            limit: MAX_PIXELS,
        };
        let side = |length: u32, before, after| length.checked_add(before)?.checked_add(after);
        let width = side(self.width, left, right).ok_or_else(too_large)?;
        let height = side(self.height, top, bottom).ok_or_else(too_large)?;
        let pixels = check_size("pad", width, height)?;
        let mut padded = Picture {
            width,
            height,
            rgb: colour.repeat(pixels),
        };
        padded.paste(self, i64::from(left), i64::from(top));
        Ok(padded)
    }

    /// Copies the part of `other` that falls inside, with its top left corner at (`x`, `y`).
    fn paste(&mut self, other: &Picture, x: i64, y: i64) {
        let (to_x, from_x, columns) = overlap(x, other.width, self.width);
        let (to_y, from_y, rows) = overlap(y, other.height, self.height);
        if columns == 0 {
            return;
        }
        let (to_stride, from_stride) = (self.width as usize * 3, other.width as usize * 3);
        for row in 0..rows {
            let to = (to_y + row) * to_stride + to_x * 3;
            let from = (from_y + row) * from_stride + from_x * 3;
            self.rgb[to..to + columns * 3].copy_from_slice(&other.rgb[from..from + columns * 3]);
        }
    }
}

/// Where a run of `length` put at `at` falls into a run of `room`: start in the room, start in the run, length.
fn overlap(at: i64, length: u32, room: u32) -> (usize, usize, usize) {
    let start = at.max(0);
    let end = at.saturating_add(i64::from(length)).min(i64::from(room));
    if start >= end {
        return (0, 0, 0);
    }
    // All three are between 0 and a `u32`.
    (start as usize, (start - at) as usize, (end - start) as usize)
}

/// The number of pixels of a picture of this size, if one may be made.
pub(crate) fn check_size(operation: &'static str, width: u32, height: u32) -> Result<usize, ImageError> {
    if width == 0 || height == 0 {
        return Err(ImageError::ZeroSize {
            operation,
            width,
            height,
        });
    }
    let pixels = u64::from(width) * u64::from(height);
    if pixels > MAX_PIXELS {
        return Err(ImageError::TooLarge {
            operation,
            width: u64::from(width),
            height: u64::from(height),
            limit: MAX_PIXELS,
        });
    }
    Ok(pixels as usize)
}
