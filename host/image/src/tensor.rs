//! From pixels to the floats a vision tower takes.

use crate::bands::in_bands;
use crate::picture::Picture;
use crate::zeros::zeros;

/// What happens to a channel's value: it is multiplied by `rescale`, then `mean` is taken off and it is divided by
/// `std`. With mean 0 and std 1, rescaling is all that happens.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Normalise {
    /// The factor, usually 1/255.
    pub rescale: f64,
    /// Each channel's mean, after rescaling.
    pub mean: [f32; 3],
    /// Each channel's standard deviation, after rescaling.
    pub std: [f32; 3],
}

/// The order of a picture's axes as a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// `[3, height, width]`
    ChannelsFirst,
    /// `[height, width, 3]`
    ChannelsLast,
}

impl Picture {
    /// The picture as floats, with the rounding of transformers' numpy processors: the product in double
    /// precision, rounded to single, then difference and quotient in single precision.
    pub fn to_tensor(&self, normalise: &Normalise, layout: Layout) -> Vec<f32> {
        stack(&[self], normalise, layout)
    }
}

/// Pictures of one size as floats, as [`Picture::to_tensor`] makes them, one after another.
pub fn stack(pictures: &[&Picture], normalise: &Normalise, layout: Layout) -> Vec<f32> {
    let Some(first) = pictures.first() else {
        return Vec::new();
    };
    let (width, height) = (first.width() as usize, first.height() as usize);
    assert!(
        pictures
            .iter()
            .all(|picture| picture.rgb().len() == width * height * 3)
    );
    let tables: [[f32; 256]; 3] = std::array::from_fn(|channel| normalise.table(channel));
    // Not touched yet: threads that write to memory first have its pages made side by side.
    let mut values = zeros(pictures.len() * width * height * 3);
    match layout {
        Layout::ChannelsLast => in_bands(&mut values, width * 3, |first, band| {
            for (index, row) in band.chunks_exact_mut(width * 3).enumerate() {
                let (picture, line) = ((first + index) / height, (first + index) % height);
                let (pixels, _) = pictures[picture].rgb()[line * width * 3..].as_chunks::<3>();
                let (targets, _) = row.as_chunks_mut::<3>();
                for (target, pixel) in targets.iter_mut().zip(pixels) {
                    *target = std::array::from_fn(|channel| tables[channel][usize::from(pixel[channel])]);
                }
            }
        }),
        Layout::ChannelsFirst => in_bands(&mut values, width * height, |first, band| {
            for (index, plane) in band.chunks_exact_mut(width * height).enumerate() {
                let (picture, channel) = ((first + index) / 3, (first + index) % 3);
                let (pixels, _) = pictures[picture].rgb().as_chunks::<3>();
                let table = &tables[channel];
                for (target, pixel) in plane.iter_mut().zip(pixels) {
                    *target = table[usize::from(pixel[channel])];
                }
            }
        }),
    }
    values
}

impl Normalise {
    /// What each of the 256 values of a channel becomes.
    fn table(&self, channel: usize) -> [f32; 256] {
        std::array::from_fn(|value| {
            let rescaled = (value as f64 * self.rescale) as f32;
            (rescaled - self.mean[channel]) / self.std[channel]
        })
    }
}
