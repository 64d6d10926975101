//! The two passes: along rows, then along columns. The loops are compiled for AVX2 as well, where the processor has it.

use super::windows::Windows;
use crate::bands::{in_bands, threads};
use crate::zeros::zeros;

/// Bytes of a row whose sums stay in registers.
const BLOCK: usize = 32;

/// Changes the width: each row of `source`, `[rows, width, 3]`, becomes as many pixels as there are windows.
pub(super) fn columns(source: &[u8], width: u32, windows: &Windows) -> Vec<u8> {
    let (from, to) = (width as usize * 3, windows.len() * 3);
    let mut target = zeros(source.len() / from * to);
    in_bands(&mut target, to, |first, band| {
        let mut pairs = Vec::with_capacity(width as usize);
        for (index, target) in band.chunks_mut(2 * to).enumerate() {
            let rows = &source[(first + 2 * index) * from..];
            let (target, second) = target.split_at_mut(to);
            // Pixels of two rows, with a fourth number each: one vector.
            let other = if second.is_empty() { rows } else { &rows[from..] };
            let [one, other] = [&rows[..from], &other[..from]].map(|row| row.as_chunks::<3>().0);
            pairs.clear();
            pairs.extend(
                one.iter()
                    .zip(other)
                    .map(|([r, g, b], [s, h, c])| [*r, *g, *b, 0, *s, *h, *c, 0].map(i32::from)),
            );
            columns_of(&pairs, windows, target, second);
        }
    });
    target
}

/// The most bytes that the rows of [`columns`] take while they are worked on.
pub(super) fn row_bytes(width: u32) -> u64 {
    u64::from(width).saturating_mul(size_of::<[i32; 8]>() as u64 * threads() as u64)
}

/// Changes the height: `source`, `[rows, width, 3]`, becomes as many rows as there are windows.
pub(super) fn rows(source: &[u8], width: u32, windows: &Windows) -> Vec<u8> {
    let stride = width as usize * 3;
    let mut target = zeros(windows.len() * stride);
    in_bands(&mut target, stride, |first, band| {
        let windows_of = windows.iter().skip(first);
        for (window, target) in windows_of.zip(band.chunks_exact_mut(stride)) {
            let lines = &source[window.start * stride..][..window.weights.len() * stride];
            rows_of(lines, window.weights, windows.precision(), target);
        }
    });
    target
}

fn columns_of(pairs: &[[i32; 8]], windows: &Windows, first: &mut [u8], second: &mut [u8]) {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") {
        // SAFETY: the instructions are there.
        return unsafe { avx2::two_rows_of_columns(pairs, windows, first, second) };
    }
    two_rows_of_columns(pairs, windows, first, second);
}

fn rows_of(lines: &[u8], weights: &[i32], bits: u32, target: &mut [u8]) {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") {
        #[target_feature(enable = "avx2")]
        fn with_avx2(lines: &[u8], weights: &[i32], bits: u32, target: &mut [u8]) {
            row_of_rows(lines, weights, bits, target);
        }
        // SAFETY: the instructions are there.
        return unsafe { with_avx2(lines, weights, bits, target) };
    }
    row_of_rows(lines, weights, bits, target);
}

/// Two rows of new pixels from two of old ones, or the first of them alone. Sums cannot overflow: see [`super::windows`].
fn two_rows_of_columns(pairs: &[[i32; 8]], windows: &Windows, first: &mut [u8], second: &mut [u8]) {
    let bits = windows.precision();
    let (pixels, _) = first.as_chunks_mut::<3>();
    let mut others = second.as_chunks_mut::<3>().0.iter_mut();
    for (window, pixel) in windows.iter().zip(pixels) {
        let mut sums = [half(bits); 8];
        for (pair, weight) in pairs[window.start..].iter().zip(window.weights) {
            for (sum, value) in sums.iter_mut().zip(pair) {
                *sum = sum.wrapping_add(value.wrapping_mul(*weight));
            }
        }
        let [r, g, b, _, s, h, c, _] = sums.map(|sum| to_byte(sum, bits));
        *pixel = [r, g, b];
        if let Some(other) = others.next() {
            *other = [s, h, c];
        }
    }
}

/// One new row from as many old ones as there are weights.
#[inline(always)]
fn row_of_rows(lines: &[u8], weights: &[i32], bits: u32, target: &mut [u8]) {
    let stride = target.len();
    let (blocks, rest) = target.as_chunks_mut::<BLOCK>();
    let mut first = 0;
    for block in blocks {
        let mut sums = [half(bits); BLOCK];
        for (line, weight) in lines.chunks_exact(stride).zip(weights) {
            if let Some(values) = line[first..].first_chunk::<BLOCK>() {
                for (sum, value) in sums.iter_mut().zip(values) {
                    *sum = sum.wrapping_add(i32::from(*value).wrapping_mul(*weight));
                }
            }
        }
        *block = sums.map(|sum| to_byte(sum, bits));
        first += BLOCK;
    }
    for (index, target) in rest.iter_mut().enumerate() {
        let values = lines[first + index..].iter().step_by(stride);
        let sum = values.zip(weights).fold(half(bits), |sum, (value, weight)| {
            sum.wrapping_add(i32::from(*value).wrapping_mul(*weight))
        });
        *target = to_byte(sum, bits);
    }
}

/// One half, for rounding.
fn half(bits: u32) -> i32 {
    1 << (bits - 1)
}

/// A sum back in 8 bits, cut off at black and white.
#[inline(always)]
fn to_byte(sum: i32, bits: u32) -> u8 {
    (sum >> bits).clamp(0, 255) as u8
}

/// What compilers do not make of the loops above.
#[cfg(target_arch = "x86_64")]
mod avx2 {
    use std::arch::x86_64::*;

    use super::half;
    use crate::resize::windows::Windows;

    /// As the function of the same name.
    #[target_feature(enable = "avx2")]
    pub(super) fn two_rows_of_columns(
        pairs: &[[i32; 8]],
        windows: &Windows,
        first: &mut [u8],
        second: &mut [u8],
    ) {
        let (half, shift) = (
            _mm256_set1_epi32(half(windows.precision())),
            _mm_cvtsi32_si128(windows.precision() as i32),
        );
        let (pixels, _) = first.as_chunks_mut::<3>();
        let mut others = second.as_chunks_mut::<3>().0.iter_mut();
        for (window, pixel) in windows.iter().zip(pixels) {
            let mut sums = half;
            for (pair, weight) in pairs[window.start..].iter().zip(window.weights) {
                // SAFETY: eight numbers are there.
                let values = unsafe { _mm256_loadu_si256(pair.as_ptr().cast()) };
                let products = _mm256_mullo_epi32(values, _mm256_set1_epi32(*weight));
                sums = _mm256_add_epi32(sums, products);
            }
            // Narrowed twice with saturation, which cuts off at 0 and 255.
            let words = _mm256_sra_epi32(sums, shift);
            let words = _mm256_packs_epi32(words, words);
            let bytes = _mm256_packus_epi16(words, words);
            let [r, g, b, _] = _mm256_extract_epi32::<0>(bytes).to_le_bytes();
            *pixel = [r, g, b];
            if let Some(other) = others.next() {
                let [r, g, b, _] = _mm256_extract_epi32::<4>(bytes).to_le_bytes();
                *other = [r, g, b];
            }
        }
    }
}
