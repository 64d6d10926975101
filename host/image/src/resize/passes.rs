//! The two passes: along rows, then along columns.

use super::windows::Windows;

/// Changes the width: each row of `source`, `[rows, width, 3]`, becomes as many pixels as there are windows.
pub(super) fn columns(source: &[u8], width: u32, windows: &Windows) -> Vec<u8> {
    let stride = width as usize * 3;
    let mut target = Vec::with_capacity(source.len() / stride * windows.len() * 3);
    let bits = windows.precision();
    for row in source.chunks_exact(stride) {
        let (pixels, _) = row.as_chunks::<3>();
        for window in windows.iter() {
            let mut sums = [half(bits); 3];
            for (pixel, weight) in pixels[window.start..].iter().zip(window.weights) {
                for (sum, value) in sums.iter_mut().zip(pixel) {
                    *sum += i32::from(*value) * weight;
                }
            }
            target.extend(sums.map(|sum| to_byte(sum, bits)));
        }
    }
    target
}

/// Changes the height: `source`, `[rows, width, 3]`, becomes as many rows as there are windows.
pub(super) fn rows(source: &[u8], width: u32, windows: &Windows) -> Vec<u8> {
    let stride = width as usize * 3;
    let mut target = Vec::with_capacity(windows.len() * stride);
    let mut sums = vec![0_i32; stride];
    let bits = windows.precision();
    for window in windows.iter() {
        sums.fill(half(bits));
        let lines = source[window.start * stride..].chunks_exact(stride);
        for (line, weight) in lines.zip(window.weights) {
            for (sum, value) in sums.iter_mut().zip(line) {
                *sum += i32::from(*value) * weight;
            }
        }
        target.extend(sums.iter().map(|sum| to_byte(*sum, bits)));
    }
    target
}

/// One half, for rounding.
fn half(bits: u32) -> i32 {
    1 << (bits - 1)
}

/// A sum back in 8 bits, cut off at black and white.
fn to_byte(sum: i32, bits: u32) -> u8 {
    (sum >> bits).clamp(0, 255) as u8
}
