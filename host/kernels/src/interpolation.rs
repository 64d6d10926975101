//! Interpolation of `[batch, height, width, channels]`.

use crate::memory::Memory;
use crate::output::by_rows;
use crate::threads::Threads;
use monocle_tensor::interpolation::Sampling;

/// What is interpolated how.
pub struct Interpolate {
    /// `[batch, height, width, channels]`
    pub x: [usize; 4],
    /// `[height, width]` of the result.
    pub size: [usize; 2],
    /// How.
    pub sampling: Sampling,
}

impl Interpolate {
    /// Computes it: along the width first, then along the height.
    pub fn run(&self, threads: &Threads, memory: &Memory, x: &[f32], out: &mut [f32]) {
        let [batch, height, width, channels] = self.x;
        let [new_height, new_width] = self.size;
        if out.is_empty() {
            return;
        }
        let lists = [(height, new_height), (width, new_width)];
        let _lists = lists.map(|(from, to)| memory.hold(self.sampling.most_bytes(from, to)));
        let rows = self.sampling.windows(height, new_height);
        let columns = self.sampling.windows(width, new_width);
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
}

fn add_scaled(out: &mut [f32], values: &[f32], weight: f32) {
    for (out, value) in out.iter_mut().zip(values) {
        *out += value * weight;
    }
}
