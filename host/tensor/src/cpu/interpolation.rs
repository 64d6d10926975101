//! Interpolation of `[batch, height, width, channels]`, with the sample positions and filters of PyTorch's
//! `torch.nn.functional.interpolate` (ATen's UpSample.h and UpSampleKernel.cpp).

use super::memory::Memory;
use super::output::by_rows;
use super::threads::Threads;
use crate::operation::Interpolation;

/// For each result, the first sample that counts and the weights from there on.
type Windows = Vec<Vec<(usize, f32)>>;

/// What is interpolated how.
pub struct Interpolate {
    /// `[batch, height, width, channels]`
    pub x: [usize; 4],
    /// `[height, width]` of the result.
    pub size: [usize; 2],
    /// How.
    pub method: Interpolation,
    /// Corner samples coincide.
    pub align_corners: bool,
    /// Widen the filter when shrinking.
    pub antialias: bool,
}

impl Interpolate {
    /// Computes it: along the width first, then along the height.
    pub fn run(&self, threads: &Threads, memory: &Memory, x: &[f32], out: &mut [f32]) {
        let [batch, height, width, channels] = self.x;
        let [new_height, new_width] = self.size;
        let rows = self.windows(height, new_height);
        let columns = self.windows(width, new_width);
        let len = batch * height * new_width * channels;
        let mut buffer = memory.take(len);
        let narrowed = &mut buffer.floats_mut()[..len];
        let line = new_width * channels;
        by_rows(threads, narrowed, line, line * 4, |first, part| {
            for (index, part) in part.chunks_exact_mut(line.max(1)).enumerate() {
                let from = &x[(first + index) * width * channels..][..width * channels];
                part.fill(0.0);
                for (out, window) in part.chunks_exact_mut(channels).zip(&columns) {
                    for &(sample, weight) in window {
                        add_scaled(out, &from[sample * channels..][..channels], weight);
                    }
                }
            }
        });
        let narrowed = &*narrowed;
        by_rows(threads, out, line, line * 4, |first, part| {
            for (index, out) in part.chunks_exact_mut(line.max(1)).enumerate() {
                let (picture, row) = ((first + index) / new_height, (first + index) % new_height);
                out.fill(0.0);
                for &(sample, weight) in &rows[row] {
                    add_scaled(
                        out,
                        &narrowed[(picture * height + sample) * line..][..line],
                        weight,
                    );
                }
            }
        });
    }

    fn windows(&self, from: usize, to: usize) -> Windows {
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

fn add_scaled(out: &mut [f32], values: &[f32], weight: f32) {
    for (out, value) in out.iter_mut().zip(values) {
        *out += value * weight;
    }
}
