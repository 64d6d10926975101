//! From pixels to the floats a vision tower takes.

use crate::picture::Picture;

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
        let tables: [[f32; 256]; 3] = std::array::from_fn(|channel| normalise.table(channel));
        match layout {
            Layout::ChannelsLast => {
                let (pixels, _) = self.rgb().as_chunks::<3>();
                pixels
                    .iter()
                    .flat_map(|pixel| std::array::from_fn::<f32, 3, _>(|c| tables[c][usize::from(pixel[c])]))
                    .collect()
            }
            Layout::ChannelsFirst => {
                let mut planes = Vec::with_capacity(self.rgb().len());
                for (channel, table) in tables.iter().enumerate() {
                    let values = self.rgb().iter().skip(channel).step_by(3);
                    planes.extend(values.map(|value| table[usize::from(*value)]));
                }
                planes
            }
        }
    }
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
