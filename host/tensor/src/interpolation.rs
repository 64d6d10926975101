//! Which samples interpolation reads along one dimension, and how much each counts: the positions and filters of
//! PyTorch's `torch.nn.functional.interpolate` (ATen's UpSample.h and UpSampleKernel.cpp).

use crate::operation::Interpolation;

/// How values between samples are found.
#[derive(Debug, Clone, Copy)]
pub struct Sampling {
    /// The filter.
    pub method: Interpolation,
    /// Corner samples coincide.
    pub align_corners: bool,
    /// Widen the filter when shrinking.
    pub antialias: bool,
}

impl Sampling {
    /// The most bytes that the lists of [`Sampling::windows`] take.
    pub fn most_bytes(&self, from: usize, to: usize) -> usize {
        let samples = match (self.method, self.antialias) {
            (Interpolation::Nearest, _) => 1,
            (Interpolation::Bilinear, false) => 2,
            (Interpolation::Bicubic, false) => 4,
            // The filter reaches to two results on each side, and its ends are rounded.
            (Interpolation::Bilinear | Interpolation::Bicubic, true) => {
                (from.div_ceil(to.max(1)).max(1).saturating_mul(4) + 2).min(from)
            }
        };
        // Before the weights are together with their samples, they are in a list of their own. The system's allocator rounds up.
        let entry = size_of::<(usize, f32)>();
        let list = size_of::<Vec<(usize, f32)>>() + 16;
        to.saturating_mul(samples.saturating_mul(entry).saturating_add(list))
            .saturating_add(samples.saturating_mul(size_of::<f64>()))
    }

    /// For each of `to` results, the samples among `from` that count, each with its weight.
    pub fn windows(&self, from: usize, to: usize) -> Vec<Vec<(usize, f32)>> {
        (0..to).map(|index| self.window(from, to, index)).collect()
    }

    fn window(&self, from: usize, to: usize, index: usize) -> Vec<(usize, f32)> {
        let cubic = match self.method {
            Interpolation::Nearest => return vec![(index * from / to, 1.0)],
            Interpolation::Bilinear => false,
            Interpolation::Bicubic => true,
        };
        let scale = match (self.align_corners, to) {
            (true, 1) => 0.0,
            (true, _) => (from - 1) as f64 / (to - 1) as f64,
            (false, _) => from as f64 / to as f64,
        };
        if self.antialias {
            return widened(cubic, scale, from, index);
        }
        let at = if self.align_corners {
            scale * index as f64
        } else {
            scale * (index as f64 + 0.5) - 0.5
        };
        let at = if cubic { at } else { at.max(0.0) };
        let (first, fraction) = (at.floor(), at - at.floor());
        let last = (from - 1) as f64;
        if cubic {
            (-1..=2)
                .map(|offset| {
                    let sample = (first + f64::from(offset)).clamp(0.0, last) as usize;
                    (sample, cubic_filter(fraction - f64::from(offset), -0.75) as f32)
                })
                .collect()
        } else {
            vec![
                (first.min(last) as usize, (1.0 - fraction) as f32),
                ((first + 1.0).min(last) as usize, fraction as f32),
            ]
        }
    }
}

/// A filter that is as wide as the samples that one result stands for.
fn widened(cubic: bool, scale: f64, from: usize, index: usize) -> Vec<(usize, f32)> {
    let widening = scale.max(1.0);
    let support = if cubic { 2.0 } else { 1.0 } * widening;
    let center = scale * (index as f64 + 0.5);
    let first = (center - support + 0.5).max(0.0) as usize;
    let end = ((center + support + 0.5) as usize).min(from);
    let weights: Vec<f64> = (first..end)
        .map(|sample| {
            let distance = (sample as f64 - center + 0.5) / widening;
            if cubic {
                cubic_filter(distance, -0.5)
            } else {
                (1.0 - distance.abs()).max(0.0)
            }
        })
        .collect();
    let total: f64 = weights.iter().sum();
    (first..end)
        .zip(weights)
        .map(|(sample, weight)| (sample, (weight / total) as f32))
        .collect()
}

/// Cubic convolution (Keys 1981) with parameter `a`.
fn cubic_filter(x: f64, a: f64) -> f64 {
    let x = x.abs();
    if x < 1.0 {
        ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        (((x - 5.0) * x + 8.0) * x - 4.0) * a
    } else {
        0.0
    }
}
