//! Products of bf16 by AVX-512: each lane multiplies two pairs and adds both to a sum of 32 bits. The instruction takes numbers below the normal
//! ones for zero, and rounds to the nearest after each addition.

// Rows of registers are indexed by rows of operands: counting them is the clearer way.
#![allow(clippy::needless_range_loop)]

use std::arch::x86_64::*;

use super::Lanes;
use super::avx2::Avx2;
use crate::bf16_product::{BLOCK_INNER, Outputs, TILE_OUTPUTS, TILE_ROWS};

/// Lanes of a vector.
const LANES: usize = 16;

/// Rounds eight rows of `k` numbers, or fewer, and puts pairs of neighbours of all rows side by side: `[k / 2][8][2]`, zeros for rows that are not
/// there.
///
/// # Safety
/// The processor must have AVX-512 F, BW, VL and BF16, and what AVX2's kernels need.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16,avx2,fma,f16c")]
pub unsafe fn round(rows: &[f32], k: usize, out: &mut [u16]) {
    let there = rows.len() / k;
    assert!(k.is_multiple_of(2) && there <= TILE_ROWS && out.len() == TILE_ROWS * k);
    let mut rounded = [0.0_f32; TILE_ROWS * 8];
    let whole = k / LANES * LANES;
    for column in (0..whole).step_by(LANES) {
        for row in 0..there {
            let from = &rows[row * k + column..][..LANES];
            let to = &mut rounded[row * 8..][..8];
            // SAFETY: sixteen floats are there, and room for half as many.
            unsafe {
                let halves: __m256i = std::mem::transmute(_mm512_cvtneps_pbh(_mm512_loadu_ps(from.as_ptr())));
                _mm256_storeu_si256(to.as_mut_ptr().cast(), halves);
            }
        }
        let out = &mut out[column * TILE_ROWS..][..LANES * TILE_ROWS];
        // SAFETY: eight rows of eight pairs are there, and room for them.
        unsafe { Avx2::transpose(rounded.as_ptr(), 8, out.as_mut_ptr().cast(), 8) };
    }
    for column in whole..k {
        for row in 0..TILE_ROWS {
            let value = if row < there { rows[row * k + column] } else { 0.0 };
            out[column / 2 * 2 * TILE_ROWS + row * 2 + column % 2] = half::bf16::from_f32(value).to_bits();
        }
    }
}

/// Some outputs of all rows.
///
/// # Safety
/// As for [`round`].
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16,avx2,fma,f16c")]
pub unsafe fn multiply(task: Outputs<'_>) {
    let ([rows, first_row], [start, count], k) = (task.rows, task.outputs, task.k);
    assert!(count > 0 && count <= TILE_OUTPUTS && start + count <= task.n);
    assert!(task.x.len() >= rows.div_ceil(TILE_ROWS) * TILE_ROWS * k);
    for before in (0..k).step_by(BLOCK_INNER) {
        let inner = BLOCK_INNER.min(k - before);
        let pairs = &mut task.scratch[..TILE_OUTPUTS * inner / 2];
        for (vector, pairs) in pairs.chunks_exact_mut(LANES * inner / 2).enumerate() {
            if vector * LANES < count {
                let first = start + vector * LANES;
                let stored = &task.stored[first * k * 2..][..LANES.min(count - vector * LANES) * k * 2];
                pair(stored, k, before, inner, pairs);
            }
        }
        for panel in 0..rows.div_ceil(TILE_ROWS) {
            let x = &task.x[panel * TILE_ROWS * k + before * TILE_ROWS..][..inner * TILE_ROWS];
            let row = panel * TILE_ROWS;
            let tile = Tile {
                at: (first_row + row) * task.n + start,
                rows: TILE_ROWS.min(rows - row),
                count,
                is_first: before == 0,
            };
            // SAFETY: the caller vouches for the instructions.
            unsafe {
                match count.div_ceil(LANES) {
                    1 => multiply_tile::<1>(&task, x, inner, tile),
                    2 => multiply_tile::<2>(&task, x, inner, tile),
                    _ => multiply_tile::<3>(&task, x, inner, tile),
                }
            }
        }
    }
}

/// Where a tile's results go.
#[derive(Clone, Copy)]
struct Tile {
    /// The first one.
    at: usize,
    rows: usize,
    /// Outputs.
    count: usize,
    /// Whether nothing is there yet.
    is_first: bool,
}

/// Puts pairs of neighbours of sixteen stored rows, or fewer, side by side: `[inner / 2][16]`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16,avx2,fma,f16c")]
fn pair(stored: &[u8], k: usize, before: usize, inner: usize, pairs: &mut [f32]) {
    let there = stored.len() / (2 * k);
    let mut done = 0;
    if there == LANES {
        while done + LANES <= inner {
            for half in 0..2 {
                let from = (half * 8 * k + before + done) * 2;
                assert!(from + (7 * k + LANES) * 2 <= stored.len());
                // SAFETY: eight rows of eight pairs are there, and room for them.
                unsafe {
                    let from = stored.as_ptr().add(from).cast();
                    let to = pairs[done / 2 * LANES..][..8 * LANES].as_mut_ptr().add(half * 8);
                    Avx2::transpose(from, k / 2, to, LANES);
                }
            }
            done += LANES;
        }
    }
    for column in (done..inner).step_by(2) {
        for (row, pair) in pairs[column / 2 * LANES..][..LANES].iter_mut().enumerate() {
            *pair = match row < there {
                true => {
                    let at = (row * k + before + column) * 2;
                    f32::from_le_bytes([stored[at], stored[at + 1], stored[at + 2], stored[at + 3]])
                }
                false => 0.0,
            };
        }
    }
}

/// Eight rows times `VECTORS` vectors of outputs.
///
/// # Safety
/// As for [`round`]; the tile must be this task's own.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16,avx2,fma,f16c")]
unsafe fn multiply_tile<const VECTORS: usize>(task: &Outputs<'_>, x: &[u16], inner: usize, tile: Tile) {
    let (start, n) = (task.outputs[0], task.n);
    let is_whole = tile.rows == TILE_ROWS && tile.count == VECTORS * LANES;
    let mut edge = [0.0_f32; TILE_ROWS * TILE_OUTPUTS];
    let (to, stride) = match is_whole {
        true => (task.out.at(tile.at), n),
        false => (edge.as_mut_ptr(), TILE_OUTPUTS),
    };
    // SAFETY: the caller vouches for the tile; of one that is not whole only what is there is read and written.
    unsafe {
        for row in 0..tile.rows {
            let at = to.add(row * stride);
            match (tile.is_first, task.bias) {
                (true, None) => std::ptr::write_bytes(at, 0, tile.count),
                (true, Some(bias)) => {
                    std::ptr::copy_nonoverlapping(bias[start..start + tile.count].as_ptr(), at, tile.count);
                }
                (false, _) if is_whole => {}
                (false, _) => {
                    std::ptr::copy_nonoverlapping(task.out.at(tile.at + row * n), at, tile.count);
                }
            }
        }
        let mut sums = [[_mm512_setzero_ps(); VECTORS]; TILE_ROWS];
        for row in 0..TILE_ROWS {
            for vector in 0..VECTORS {
                sums[row][vector] = _mm512_loadu_ps(to.add(row * stride + vector * LANES));
            }
        }
        assert!(x.len() == inner * TILE_ROWS && task.scratch.len() >= VECTORS * LANES * inner / 2);
        let (x, pairs) = (x.as_ptr().cast::<i32>(), task.scratch.as_ptr());
        for pair in 0..inner / 2 {
            let mut weights = [_mm512_setzero_si512(); VECTORS];
            for vector in 0..VECTORS {
                weights[vector] = _mm512_loadu_si512(pairs.add((vector * inner / 2 + pair) * LANES).cast());
            }
            for row in 0..TILE_ROWS {
                let x = _mm512_set1_epi32(x.add(pair * TILE_ROWS + row).read_unaligned());
                for vector in 0..VECTORS {
                    sums[row][vector] = _mm512_dpbf16_ps(
                        sums[row][vector],
                        std::mem::transmute::<__m512i, __m512bh>(weights[vector]),
                        std::mem::transmute::<__m512i, __m512bh>(x),
                    );
                }
            }
        }
        for row in 0..TILE_ROWS {
            for vector in 0..VECTORS {
                _mm512_storeu_ps(to.add(row * stride + vector * LANES), sums[row][vector]);
            }
        }
        if !is_whole {
            for row in 0..tile.rows {
                std::ptr::copy_nonoverlapping(
                    to.add(row * stride),
                    task.out.at(tile.at + row * n),
                    tile.count,
                );
            }
        }
    }
}
