//! Resizing with the numbers of PIL's `Image.resize` on 8-bit RGB, bit for bit; for one filter, with PyTorch's.
//!
//! PIL's method (`Resample.c`): a separable weighted sum, one pass for each axis, whose filter is stretched when the
//! picture shrinks; weights are rounded to integers of 22 fractional bits, and the result of the first pass is
//! rounded to 8 bits before the second. PyTorch's (`UpSampleKernelAVXAntialias.h`) is the same but for two things: weights have as
//! many fractional bits as let the greatest of them fit 16 bits, and the width always comes first.

mod nearest;
mod passes;
mod windows;

use crate::error::ImageError;
use crate::filter::Filter;
use crate::picture::{Picture, check_size};
use windows::Windows;

impl Picture {
    /// The picture at another size. Equal to PIL's `Image.resize((width, height), filter)`, except for the filter of PyTorch.
    pub fn resize(&self, width: u32, height: u32, filter: Filter) -> Result<Picture, ImageError> {
        check_size("resize", width, height)?;
        if (width, height) == (self.width(), self.height()) {
            return Ok(self.clone());
        }
        if filter == Filter::Nearest {
            return Picture::from_rgb(width, height, nearest::sample(self, width, height));
        }
        let pil = filter != Filter::TorchBilinear;
        if pil && rows_first((self.width(), self.height()), (width, height)) {
            self.with_height(height, filter)?.with_width(width, filter)
        } else {
            self.with_width(width, filter)?.with_height(height, filter)
        }
    }

    /// The most bytes that [`Picture::resize`] needs for a while, besides its result: the picture between the two passes, and what each new
    /// row and column is made of.
    pub fn resize_bytes(&self, width: u32, height: u32, filter: Filter) -> u64 {
        let axes = [(self.width(), width), (self.height(), height)];
        let windows = axes.map(|(from, to)| match from == to {
            true => 0,
            false => Windows::most_bytes(from, to, filter),
        });
        let between = [(width, self.height()), (self.width(), height)];
        let between = between.map(|(width, height)| u64::from(width) * u64::from(height));
        between[0]
            .max(between[1])
            .saturating_mul(3)
            .saturating_add(windows[0].max(windows[1]))
            .saturating_add(passes::row_bytes(self.width()))
    }

    fn with_width(&self, width: u32, filter: Filter) -> Result<Picture, ImageError> {
        if width == self.width() {
            return Ok(self.clone());
        }
        let windows = Windows::new(self.width(), width, filter);
        let rgb = passes::columns(self.rgb(), self.width(), &windows);
        Picture::from_rgb(width, self.height(), rgb)
    }

    fn with_height(&self, height: u32, filter: Filter) -> Result<Picture, ImageError> {
        if height == self.height() {
            return Ok(self.clone());
        }
        let windows = Windows::new(self.height(), height, filter);
        let rgb = passes::rows(self.rgb(), self.width(), &windows);
        Picture::from_rgb(self.width(), height, rgb)
    }
}

/// Which pass comes first; since the result between the two is rounded, it shows. PIL before version 13 always
/// began with the width; 13.0.0 begins with the height when that takes off more than twice as many rows as the
/// other pass takes off columns (observed over some hundred sizes; the tests hold it to that). Either way the result
/// between is no larger than the larger of the two pictures.
fn rows_first(from: (u32, u32), to: (u32, u32)) -> bool {
    let columns_less = u64::from(from.0.saturating_sub(to.0));
    let rows_less = u64::from(from.1.saturating_sub(to.1));
    rows_less > 2 * columns_less
}
