//! How a cache stores keys and values: a block holds [`BLOCK_TOKENS`] tokens of one head after those of another, so that a head's tokens lie
//! side by side.

use bytemuck::{cast_slice, cast_slice_mut};
use half::slice::{HalfBitsSliceExt, HalfFloatSliceExt};
use half::{bf16, f16};
use monocle_tensor::backend::KeyValueType;

use crate::lanes::Lanes;

/// Tokens of one block of a cache.
pub const BLOCK_TOKENS: usize = 64;

/// Elements that share a scale where 8 bits are stored.
const GROUP: usize = 32;
/// What stands for 0 there: the stored bytes have no sign.
const ZERO: f32 = 128.0;

/// 32-bit words of one head's tokens in a block.
pub fn head_words(kind: KeyValueType, dim: usize) -> usize {
    let elements = BLOCK_TOKENS.saturating_mul(dim) / elements_of_a_word(kind);
    elements.saturating_add(BLOCK_TOKENS.saturating_mul(scales(kind, dim)))
}

/// How many elements lie in a 32-bit word.
fn elements_of_a_word(kind: KeyValueType) -> usize {
    match kind {
        KeyValueType::F32 => 1,
        KeyValueType::Bf16 | KeyValueType::F16 => 2,
        KeyValueType::Q8 => 4,
    }
}

/// Scales of one row; they lie before all elements of the head: `[tokens, scales]`.
fn scales(kind: KeyValueType, dim: usize) -> usize {
    match kind {
        KeyValueType::Q8 => dim.div_ceil(GROUP),
        KeyValueType::F32 | KeyValueType::Bf16 | KeyValueType::F16 => 0,
    }
}

/// Stores one token's elements of one head.
pub fn store(kind: KeyValueType, head: &mut [f32], row: usize, x: &[f32]) {
    let dim = x.len();
    let range = row * dim..(row + 1) * dim;
    match kind {
        KeyValueType::F32 => head[range].copy_from_slice(x),
        KeyValueType::Bf16 => {
            let stored: &mut [bf16] = cast_slice_mut::<f32, u16>(head).reinterpret_cast_mut();
            stored[range].convert_from_f32_slice(x);
        }
        KeyValueType::F16 => {
            let stored: &mut [f16] = cast_slice_mut::<f32, u16>(head).reinterpret_cast_mut();
            let out = &mut stored[range];
            out.convert_from_f32_slice(x);
            // The largest that there is, rather than infinity.
            for (out, x) in out.iter_mut().zip(x) {
                if out.is_infinite() && x.is_finite() {
                    *out = f16::MAX.copysign(*out);
                }
            }
        }
        KeyValueType::Q8 => {
            let count = scales(kind, dim);
            let (all_scales, elements) = head.split_at_mut(BLOCK_TOKENS * count);
            let out = &mut cast_slice_mut::<f32, u8>(elements)[range];
            let scales = &mut all_scales[row * count..][..count];
            for ((x, out), scale) in x.chunks(GROUP).zip(out.chunks_mut(GROUP)).zip(scales) {
                let largest = x.iter().fold(0.0_f32, |largest, x| largest.max(x.abs()));
                // What is not a number stays none.
                let broken = x.iter().any(|x| x.is_nan());
                *scale = if broken { f32::NAN } else { largest / 127.0 };
                let factor = if largest > 0.0 { 127.0 / largest } else { 0.0 };
                for (out, x) in out.iter_mut().zip(x) {
                    *out = ((x * factor).round_ties_even() + ZERO) as u8;
                }
            }
        }
    }
}

/// Makes floats of the elements of one head's tokens from `row` on, as many as there is room for: `[tokens, dim]`
#[inline(always)]
pub fn load<V: Lanes>(kind: KeyValueType, head: &[f32], row: usize, dim: usize, out: &mut [f32]) {
    let range = row * dim..row * dim + out.len();
    match kind {
        KeyValueType::F32 => out.copy_from_slice(&head[range]),
        KeyValueType::Bf16 => {
            let stored: &[bf16] = &cast_slice::<f32, u16>(head).reinterpret_cast()[range];
            let whole = out.len() / V::COUNT * V::COUNT;
            for at in (0..whole).step_by(V::COUNT) {
                // SAFETY: `at + COUNT <= out.len()`, and as many are stored.
                unsafe { V::load_bf16(stored.as_ptr().add(at).cast()).store(out.as_mut_ptr().add(at)) };
            }
            for (out, stored) in out.iter_mut().zip(stored).skip(whole) {
                *out = stored.to_f32();
            }
        }
        KeyValueType::F16 => {
            let stored: &[f16] = &cast_slice::<f32, u16>(head).reinterpret_cast()[range];
            let whole = out.len() / V::COUNT * V::COUNT;
            for at in (0..whole).step_by(V::COUNT) {
                // SAFETY: `at + COUNT <= out.len()`, and as many are stored.
                unsafe { V::load_f16(stored.as_ptr().add(at).cast()).store(out.as_mut_ptr().add(at)) };
            }
            for (out, stored) in out.iter_mut().zip(stored).skip(whole) {
                *out = stored.to_f32();
            }
        }
        KeyValueType::Q8 => {
            let count = scales(kind, dim);
            let (all_scales, elements) = head.split_at(BLOCK_TOKENS * count);
            let stored = &cast_slice::<f32, u8>(elements)[range];
            let mut scales = all_scales[row * count..].iter();
            for (out, stored) in out.chunks_mut(dim.max(1)).zip(stored.chunks(dim.max(1))) {
                for ((out, stored), scale) in out
                    .chunks_mut(GROUP)
                    .zip(stored.chunks(GROUP))
                    .zip(scales.by_ref())
                {
                    let whole = out.len() / V::COUNT * V::COUNT;
                    for at in (0..whole).step_by(V::COUNT) {
                        // SAFETY: `at + COUNT <= out.len()`, and as many bytes are stored.
                        unsafe {
                            V::unpack::<8>(stored.as_ptr().add(at))
                                .sub(V::splat(ZERO))
                                .mul(V::splat(*scale))
                                .store(out.as_mut_ptr().add(at));
                        }
                    }
                    for (out, stored) in out.iter_mut().zip(stored).skip(whole) {
                        *out = (f32::from(*stored) - ZERO) * scale;
                    }
                }
            }
        }
    }
}
