//! Convolution and pooling over `[batch, height, width, channels]`.

use crate::lanes::Processor;
use crate::matrix::MatrixView;
use crate::memory::Memory;
use crate::output::by_rows;
use crate::product::{Product, Right};
use crate::threads::Threads;
use monocle_tensor::operation::{Pooling, Window};

/// Output pixels whose patches are laid out at a time.
pub const BLOCK_PIXELS: usize = 512;

/// Sizes of one convolution.
pub struct Convolution<'a> {
    /// `[batch, height, width, channels]` of the operand.
    pub x: [usize; 4],
    /// `[batch, height, width, channels]` of the result.
    pub out: [usize; 4],
    /// `[height, width]`
    pub kernel: [usize; 2],
    /// Steps and zeros.
    pub window: &'a Window,
    /// Channel groups.
    pub groups: usize,
}

impl Convolution<'_> {
    /// Computes it: kernel `[out, in / groups, kh, kw]`.
    pub fn run(
        &self,
        (processor, threads, memory): (Processor, &Threads, &Memory),
        [x, kernel]: [&[f32]; 2],
        bias: Option<&[f32]>,
        out: &mut [f32],
    ) {
        if out.is_empty() {
            return;
        }
        let channels = self.x[3];
        let inner = channels / self.groups;
        let outputs = self.out[3] / self.groups;
        if inner == 1 && outputs == 1 {
            let mut taps = memory.repeated(0.0, kernel.len());
            return self.depthwise(threads, x, (kernel, &mut taps), bias, out);
        }
        let patch = inner * self.kernel[0] * self.kernel[1];
        let pixels = self.out[..3].iter().product::<usize>();
        let block = BLOCK_PIXELS.min(pixels.max(1));
        let mut all_patches = memory.take(block * patch);
        let mut products = memory.take(if self.groups == 1 { 0 } else { block * outputs });
        for group in 0..self.groups {
            let matrix = MatrixView::of_floats(&kernel[group * outputs * patch..][..outputs * patch], patch);
            let bias = bias.map(|bias| &bias[group * outputs..][..outputs]);
            for first in (0..pixels).step_by(block) {
                let count = block.min(pixels - first);
                let patches = &mut all_patches.floats_mut()[..count * patch];
                by_rows(threads, patches, patch, patch, |row, part| {
                    for (index, part) in part.chunks_exact_mut(patch).enumerate() {
                        self.patch(x, first + row + index, group * inner, inner, part);
                    }
                });
                let product = Product {
                    m: count,
                    n: outputs,
                    k: patch,
                    a: patches,
                    b: Right::Rows(matrix),
                    bias,
                };
                if self.groups == 1 {
                    product.run(
                        processor,
                        threads,
                        memory,
                        &mut out[first * outputs..][..count * outputs],
                    );
                } else {
                    let products = &mut products.floats_mut()[..count * outputs];
                    product.run(processor, threads, memory, products);
                    for (row, values) in products.chunks_exact(outputs).enumerate() {
                        let at = (first + row) * self.out[3] + group * outputs;
                        out[at..at + outputs].copy_from_slice(values);
                    }
                }
            }
        }
    }

    /// Where the window of an output pixel starts, padding included: `[batch, row, column]`.
    fn corner(&self, pixel: usize) -> [usize; 3] {
        let [_, height, width, _] = self.out;
        let column = pixel % width;
        let row = pixel / width % height;
        [
            pixel / width / height,
            row * self.window.stride[0] as usize,
            column * self.window.stride[1] as usize,
        ]
    }

    /// What an output pixel sees of some channels: `[channels, kh, kw]`, zeros outside.
    fn patch(&self, x: &[f32], pixel: usize, channel: usize, channels: usize, out: &mut [f32]) {
        let [batch, top, left] = self.corner(pixel);
        let [kernel_height, kernel_width] = self.kernel;
        let area = kernel_height * kernel_width;
        for ky in 0..kernel_height {
            for kx in 0..kernel_width {
                let slots = out[ky * kernel_width + kx..].iter_mut().step_by(area);
                match self.source(batch, top + ky, left + kx) {
                    Some(at) => slots
                        .zip(&x[at + channel..at + channel + channels])
                        .for_each(|(slot, value)| *slot = *value),
                    None => slots.for_each(|slot| *slot = 0.0),
                }
            }
        }
    }

    /// Where the channels of a pixel lie, given its row and column in the padded picture.
    fn source(&self, batch: usize, row: usize, column: usize) -> Option<usize> {
        let [_, height, width, channels] = self.x;
        let row = row.checked_sub(self.window.padding[0] as usize)?;
        let column = column.checked_sub(self.window.padding[1] as usize)?;
        (row < height && column < width).then(|| ((batch * height + row) * width + column) * channels)
    }

    /// `taps` has room for the kernel's elements in another order.
    fn depthwise(
        &self,
        threads: &Threads,
        x: &[f32],
        (kernel, taps): (&[f32], &mut [f32]),
        bias: Option<&[f32]>,
        out: &mut [f32],
    ) {
        let channels = self.x[3];
        let [kernel_height, kernel_width] = self.kernel;
        let area = kernel_height * kernel_width;
        // Channels side by side, as the pixels have them.
        for (channel, values) in kernel.chunks_exact(area).enumerate() {
            for (tap, value) in values.iter().enumerate() {
                taps[tap * channels + channel] = *value;
            }
        }
        let taps = &*taps;
        by_rows(threads, out, channels, channels * area, |first, part| {
            for (index, out) in part.chunks_exact_mut(channels).enumerate() {
                match bias {
                    Some(bias) => out.copy_from_slice(bias),
                    None => out.fill(0.0),
                }
                let [batch, top, left] = self.corner(first + index);
                for tap in 0..area {
                    let (ky, kx) = (tap / kernel_width, tap % kernel_width);
                    if let Some(at) = self.source(batch, top + ky, left + kx) {
                        let weights = &taps[tap * channels..][..channels];
                        for ((out, value), weight) in out.iter_mut().zip(&x[at..]).zip(weights) {
                            *out += value * weight;
                        }
                    }
                }
            }
        });
    }

    /// Pools windows of the kernel's size.
    pub fn pool(&self, threads: &Threads, pooling: Pooling, x: &[f32], out: &mut [f32]) {
        let channels = self.x[3];
        let [kernel_height, kernel_width] = self.kernel;
        let cost = channels * kernel_height * kernel_width;
        by_rows(threads, out, channels, cost, |first, part| {
            for (index, out) in part.chunks_exact_mut(channels).enumerate() {
                out.fill(match pooling {
                    Pooling::Average => 0.0,
                    Pooling::Maximum => f32::NEG_INFINITY,
                });
                let [batch, top, left] = self.corner(first + index);
                let mut seen = 0_usize;
                for ky in 0..kernel_height {
                    for kx in 0..kernel_width {
                        let Some(at) = self.source(batch, top + ky, left + kx) else {
                            continue;
                        };
                        seen += 1;
                        for (out, value) in out.iter_mut().zip(&x[at..at + channels]) {
                            *out = match pooling {
                                Pooling::Average => *out + value,
                                Pooling::Maximum => out.max(*value),
                            };
                        }
                    }
                }
                if pooling == Pooling::Average {
                    out.iter_mut().for_each(|out| *out /= seen as f32);
                }
            }
        });
    }
}
