//! Attention of many rows by AVX-512's products of bf16: in tiles of keys with a running softmax, as `attention` has it in 32 bits. Queries, keys,
//! values and weights are rounded; scores, totals and sums are not.

// Rows of registers are indexed by rows of operands: counting them is the clearer way.
#![allow(clippy::needless_range_loop)]

use std::arch::x86_64::*;

use super::Lanes;
use super::avx2::Avx2;
use super::avx512::Avx512;
use crate::attention::{ROUNDED_ROWS, ROUNDED_WIDTH, Rounded, Running, TASK_ROWS, TILE_KEYS, Which, seen};
use crate::matrix::parts;
use crate::product::Left;

/// Lanes of a vector.
const LANES: usize = ROUNDED_WIDTH;
/// Rows that are multiplied together: with four vectors each, their sums are most registers.
const ROWS: usize = ROUNDED_ROWS;
/// Vectors of a tile, at most.
const VECTORS: usize = 4;

/// Memory of a task. A word is a pair of bf16.
struct Scratch<'a> {
    /// Keys or values of a tile that are not stored as floats.
    room: &'a mut [f32],
    /// `[panels][dim / 2][6]` words.
    queries: &'a mut [f32],
    /// `[dim / 2][TILE_KEYS]` words.
    keys: &'a mut [f32],
    /// `[TILE_KEYS / 2][value_dim]` words, a pair of keys in each; whole vectors.
    values: &'a mut [f32],
    /// `[6][TILE_KEYS]`
    scores: &'a mut [f32],
    /// `[6][TILE_KEYS / 2]` words.
    weights: &'a mut [f32],
    /// `[rows][value_dim]`, whole vectors.
    sums: &'a mut [f32],
}

impl<'a> Scratch<'a> {
    fn split(all: &'a mut [f32], work: &Rounded<'_>) -> Self {
        let [room, queries, keys, values, scores, weights, sums] = parts(all, work.sizes());
        Self {
            room,
            queries,
            keys,
            values,
            scores,
            weights,
            sums,
        }
    }
}

/// Attends.
///
/// # Safety
/// The processor must have AVX-512 F, BW, DQ, VL and BF16, and what AVX2's kernels need.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma,f16c")]
pub unsafe fn attend(work: Rounded<'_>, scratch: &mut [f32]) {
    let (shape, part) = (work.shape, work.part);
    let ([first_head, together], rows, dim) = (part.heads, part.rows, shape.dim);
    // Rows of one head come after those of another.
    let queried = together * rows;
    assert!(dim.is_multiple_of(2) && queried <= TASK_ROWS);
    let value_dim = shape.value_dim.next_multiple_of(LANES);
    let kv_head = first_head / (shape.heads / shape.kv_heads);
    let scratch = Scratch::split(scratch, &work);
    let at = |row: usize| {
        let (head, row) = (
            first_head + row / rows,
            part.queries.first + part.row + row % rows,
        );
        row * shape.heads + head
    };
    for (panel, queries) in scratch
        .queries
        .chunks_exact_mut((ROWS * dim / 2).max(1))
        .enumerate()
    {
        for lane in 0..ROWS {
            let row = panel * ROWS + lane;
            let words = queries[lane..].iter_mut().step_by(ROWS);
            if row < queried {
                let q = &work.q[at(row) * dim..][..dim];
                for (word, pair) in words.zip(q.chunks_exact(2)) {
                    *word = rounded_pair(pair[0] * shape.scale, pair[1] * shape.scale);
                }
            } else {
                words.for_each(|word| *word = 0.0);
            }
        }
    }
    scratch.sums.fill(0.0);
    let mut running = [Running::START; TASK_ROWS];
    let visible = &part.queries.visible[part.row..part.row + rows];
    let [lo, end] = seen(visible);
    let mut start = lo / TILE_KEYS * TILE_KEYS;
    while start < end {
        let count = TILE_KEYS.min(end - start);
        let stored = &part.queries.keys;
        let keys = stored.rows::<Avx512>(shape, Which::Keys, [start, count], kv_head, scratch.room);
        // SAFETY: the caller vouches for the instructions.
        unsafe { pair_keys(keys.floats, keys.stride, count, dim, scratch.keys) };
        let values = stored.rows::<Avx512>(shape, Which::Values, [start, count], kv_head, scratch.room);
        for (pair, words) in scratch.values.chunks_exact_mut(value_dim).enumerate() {
            let row = |key: usize| match key < count {
                true => &values.floats[key * values.stride..][..shape.value_dim],
                false => &[],
            };
            // SAFETY: the caller vouches for the instructions.
            unsafe { pair_values(row(2 * pair), row(2 * pair + 1), words) };
        }
        for panel in 0..queried.div_ceil(ROWS) {
            let first = panel * ROWS;
            let queries = &scratch.queries[first * dim / 2..][..ROWS * dim / 2];
            let scores = &mut *scratch.scores;
            scores.fill(0.0);
            let left = Left {
                numbers: queries,
                row_stride: 1,
                inner_stride: ROWS,
            };
            // SAFETY: the caller vouches for the instructions; the sizes are those of `Scratch`.
            unsafe { multiply::<VECTORS>(left, dim / 2, scratch.keys, TILE_KEYS, scores, TILE_KEYS) };
            for lane in 0..ROWS.min(queried - first) {
                let [lo, end] = visible[(first + lane) % rows];
                let seen = [lo.max(start), end.min(start + count)].map(|key| key.saturating_sub(start));
                let scores = &mut scores[lane * TILE_KEYS..][..TILE_KEYS];
                let sums = &mut scratch.sums[(first + lane) * value_dim..][..value_dim];
                running[first + lane].weigh::<Avx512>(scores, seen, shape.softcap, sums);
            }
            // SAFETY: the caller vouches for the instructions.
            unsafe { round(scores, scratch.weights) };
            let left = Left {
                numbers: scratch.weights,
                row_stride: TILE_KEYS / 2,
                inner_stride: 1,
            };
            let inner = count.div_ceil(2);
            let sums = &mut scratch.sums[first * value_dim..][..ROWS * value_dim];
            let mut column = 0;
            while column < value_dim {
                let (values, sums) = (&scratch.values[column..], &mut sums[column..]);
                // SAFETY: as above.
                unsafe {
                    match (value_dim - column) / LANES {
                        1 => multiply::<1>(left, inner, values, value_dim, sums, value_dim),
                        2 => multiply::<2>(left, inner, values, value_dim, sums, value_dim),
                        3 => multiply::<3>(left, inner, values, value_dim, sums, value_dim),
                        _ => multiply::<VECTORS>(left, inner, values, value_dim, sums, value_dim),
                    }
                }
                column += VECTORS * LANES;
            }
        }
        start += count;
    }
    for (row, running) in running.iter().enumerate().take(queried) {
        // SAFETY: each task writes its own rows of its own heads.
        let out = unsafe { work.out.part(at(row) * shape.value_dim, shape.value_dim) };
        running.finish(&scratch.sums[row * value_dim..], out);
    }
}

/// Two numbers rounded to bf16, the first one in the lower half.
#[inline]
fn rounded_pair(low: f32, high: f32) -> f32 {
    let [low, high] = [low, high].map(|x| u32::from(half::bf16::from_f32(x).to_bits()));
    f32::from_bits(high << 16 | low)
}

/// Rounds floats, as many as there is room for.
///
/// # Safety
/// As for [`attend`].
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma,f16c")]
unsafe fn round(floats: &[f32], words: &mut [f32]) {
    assert!(floats.len() == 2 * words.len() && floats.len().is_multiple_of(LANES));
    for (floats, words) in floats.chunks_exact(LANES).zip(words.chunks_exact_mut(LANES / 2)) {
        // SAFETY: sixteen floats are there, and room for half as many.
        unsafe {
            let halves = _mm512_cvtneps_pbh(_mm512_loadu_ps(floats.as_ptr()));
            let halves = std::mem::transmute::<__m256bh, __m256i>(halves);
            _mm256_storeu_si256(words.as_mut_ptr().cast(), halves);
        }
    }
}

/// Pairs of neighbours of each key, keys side by side: `[dim / 2][TILE_KEYS]`; zeros for keys that are not there.
///
/// # Safety
/// As for [`attend`].
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma,f16c")]
unsafe fn pair_keys(keys: &[f32], stride: usize, count: usize, dim: usize, words: &mut [f32]) {
    assert!(words.len() == dim / 2 * TILE_KEYS && count > 0 && keys.len() >= (count - 1) * stride + dim);
    let whole = dim / LANES * LANES;
    if count < TILE_KEYS {
        words.fill(0.0);
    }
    for eight in (0..count).step_by(8) {
        let there = 8.min(count - eight);
        let mut rounded = [0.0_f32; 64];
        for column in (0..whole).step_by(LANES) {
            for key in 0..there {
                let from = &keys[(eight + key) * stride + column..][..LANES];
                // SAFETY: the caller vouches for the instructions.
                unsafe { round(from, &mut rounded[key * 8..][..8]) };
            }
            let to = &mut words[column / 2 * TILE_KEYS + eight..];
            assert!(to.len() >= 7 * TILE_KEYS + 8);
            // SAFETY: eight rows of eight words are there, and room for them.
            unsafe { Avx2::transpose(rounded.as_ptr(), 8, to.as_mut_ptr(), TILE_KEYS) };
        }
        for column in (whole..dim).step_by(2) {
            for key in eight..eight + there {
                let from = &keys[key * stride + column..][..2];
                words[column / 2 * TILE_KEYS + key] = rounded_pair(from[0], from[1]);
            }
        }
    }
}

/// Pairs of two keys' values, zeros where there are none.
///
/// # Safety
/// As for [`attend`].
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma,f16c")]
unsafe fn pair_values(low: &[f32], high: &[f32], words: &mut [f32]) {
    for (at, words) in words.chunks_exact_mut(LANES).enumerate() {
        // SAFETY: the caller vouches for the instructions, and there is room for sixteen words.
        unsafe {
            let [low, high] = [low, high].map(|row| {
                let there = row.len().saturating_sub(at * LANES).min(LANES);
                let mask = ((1_u32 << there) - 1) as u16;
                let from = row.as_ptr().wrapping_add(at * LANES);
                _mm512_cvtneps_pbh(_mm512_maskz_loadu_ps(mask, from))
            });
            let [low, high] = [low, high]
                .map(|halves| _mm512_cvtepu16_epi32(std::mem::transmute::<__m256bh, __m256i>(halves)));
            let pairs = _mm512_or_si512(low, _mm512_slli_epi32::<16>(high));
            _mm512_storeu_si512(words.as_mut_ptr().cast(), pairs);
        }
    }
}

/// Adds six rows of so many words times `N` vectors to what is there.
///
/// # Safety
/// As for [`attend`].
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma,f16c")]
unsafe fn multiply<const N: usize>(
    left: Left<'_>,
    inner: usize,
    right: &[f32],
    right_stride: usize,
    out: &mut [f32],
    out_stride: usize,
) {
    if inner == 0 {
        return;
    }
    let last = (ROWS - 1) * left.row_stride + (inner - 1) * left.inner_stride;
    assert!(left.numbers.len() > last && right.len() >= (inner - 1) * right_stride + N * LANES);
    assert!(out.len() >= (ROWS - 1) * out_stride + N * LANES);
    // SAFETY: the lengths were checked.
    unsafe {
        let mut sums = [[_mm512_setzero_ps(); N]; ROWS];
        for row in 0..ROWS {
            for vector in 0..N {
                sums[row][vector] = _mm512_loadu_ps(out.as_ptr().add(row * out_stride + vector * LANES));
            }
        }
        let (mut a, mut b) = (left.numbers.as_ptr().cast::<i32>(), right.as_ptr());
        for _ in 0..inner {
            let mut columns = [_mm512_setzero_si512(); N];
            for vector in 0..N {
                columns[vector] = _mm512_loadu_si512(b.add(vector * LANES).cast());
            }
            for row in 0..ROWS {
                let x = _mm512_set1_epi32(a.add(row * left.row_stride).read());
                for vector in 0..N {
                    sums[row][vector] = _mm512_dpbf16_ps(
                        sums[row][vector],
                        std::mem::transmute::<__m512i, __m512bh>(columns[vector]),
                        std::mem::transmute::<__m512i, __m512bh>(x),
                    );
                }
            }
            a = a.wrapping_add(left.inner_stride);
            b = b.wrapping_add(right_stride);
        }
        for row in 0..ROWS {
            for vector in 0..N {
                _mm512_storeu_ps(
                    out.as_mut_ptr().add(row * out_stride + vector * LANES),
                    sums[row][vector],
                );
            }
        }
    }
}
