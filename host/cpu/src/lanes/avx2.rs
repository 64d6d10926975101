//! Eight floats in an AVX register.

use std::arch::x86_64::*;

use super::{Kernel, Lanes};

/// Runs a kernel compiled for AVX2, FMA and F16C.
///
/// # Safety
/// The processor must have all three.
#[target_feature(enable = "avx2,fma,f16c")]
pub unsafe fn run<K: Kernel>(kernel: K) -> K::Output {
    kernel.run::<Avx2>()
}

/// Eight floats.
#[derive(Clone, Copy)]
pub struct Avx2(__m256);

// All intrinsics here need AVX2, FMA or F16C: values of this type exist only inside `run`, whose caller vouches for
// them. Loads and stores are those for any alignment. No closures: they would be compiled without the instructions.
impl Lanes for Avx2 {
    const COUNT: usize = 8;

    #[inline(always)]
    fn splat(x: f32) -> Self {
        // SAFETY: the instructions are there.
        Self(unsafe { _mm256_set1_ps(x) })
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the instructions are there, and the caller vouches for the memory.
        Self(unsafe { _mm256_loadu_ps(from) })
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the instructions are there, and the caller vouches for the memory.
        unsafe { _mm256_storeu_ps(to, self.0) }
    }
    #[inline(always)]
    unsafe fn load_bf16(from: *const u8) -> Self {
        // SAFETY: the instructions are there, and the caller vouches for the memory.
        unsafe {
            let halves = _mm256_cvtepu16_epi32(_mm_loadu_si128(from.cast()));
            Self(_mm256_castsi256_ps(_mm256_slli_epi32::<16>(halves)))
        }
    }
    #[inline(always)]
    unsafe fn load_f16(from: *const u8) -> Self {
        // SAFETY: the instructions are there, and the caller vouches for the memory.
        Self(unsafe { _mm256_cvtph_ps(_mm_loadu_si128(from.cast())) })
    }
    #[inline(always)]
    unsafe fn unpack<const BITS: usize>(from: *const u8) -> Self {
        // SAFETY: the instructions are there, the caller vouches for `BITS` bytes, and no arm reads more.
        unsafe {
            let b = BITS as i32;
            let integers = match BITS {
                8 => _mm256_cvtepu8_epi32(_mm_loadl_epi64(from.cast())),
                2..=4 => {
                    let word = match BITS {
                        2 => i32::from(from.cast::<u16>().read_unaligned()),
                        3 => {
                            i32::from(from.cast::<u16>().read_unaligned())
                                | i32::from(from.add(2).read()) << 16
                        }
                        _ => from.cast::<i32>().read_unaligned(),
                    };
                    let shifts = _mm256_setr_epi32(0, b, 2 * b, 3 * b, 4 * b, 5 * b, 6 * b, 7 * b);
                    let shifted = _mm256_srlv_epi32(_mm256_set1_epi32(word), shifts);
                    _mm256_and_si256(shifted, _mm256_set1_epi32((1 << b) - 1))
                }
                _ => {
                    // 5 or 6 bits: the first four values lie in the first 32 bits, the last four from bit 4·BITS on.
                    let low = from.cast::<u32>().read_unaligned();
                    let high = match BITS {
                        5 => u64::from(from.add(4).read()),
                        _ => u64::from(from.add(4).cast::<u16>().read_unaligned()),
                    };
                    let word = u64::from(low) | high << 32;
                    let second = (word >> (4 * BITS)) as i32;
                    let words = _mm256_set_m128i(_mm_set1_epi32(second), _mm_set1_epi32(low as i32));
                    let shifts = _mm256_setr_epi32(0, b, 2 * b, 3 * b, 0, b, 2 * b, 3 * b);
                    _mm256_and_si256(_mm256_srlv_epi32(words, shifts), _mm256_set1_epi32((1 << b) - 1))
                }
            };
            Self(_mm256_cvtepi32_ps(integers))
        }
    }
    #[inline(always)]
    unsafe fn unpack_nibbles(from: *const u8) -> (Self, Self) {
        // SAFETY: the instructions are there, and the caller vouches for the memory.
        unsafe {
            let bytes = _mm256_cvtepu8_epi32(_mm_loadl_epi64(from.cast()));
            let low = _mm256_and_si256(bytes, _mm256_set1_epi32(15));
            let high = _mm256_srli_epi32::<4>(bytes);
            (Self(_mm256_cvtepi32_ps(low)), Self(_mm256_cvtepi32_ps(high)))
        }
    }
    #[inline(always)]
    fn prefetch(address: *const u8) {
        // SAFETY: the instruction is there, and a prefetch of any address is harmless.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) }
    }

    #[inline(always)]
    unsafe fn transpose(from: *const f32, from_stride: usize, to: *mut f32, to_stride: usize) {
        // SAFETY: the instructions are there, and the caller vouches for the memory.
        unsafe {
            for column in [0, 4] {
                // Rows 0 to 3 beside rows 4 to 7, so that pairs and fours are turned inside halves only.
                let from = from.add(column);
                let a = rows_four_apart(from, from_stride);
                let b = rows_four_apart(from.add(from_stride), from_stride);
                let c = rows_four_apart(from.add(2 * from_stride), from_stride);
                let d = rows_four_apart(from.add(3 * from_stride), from_stride);
                let (ab_low, ab_high) = (_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
                let (cd_low, cd_high) = (_mm256_unpacklo_ps(c, d), _mm256_unpackhi_ps(c, d));
                let columns = [
                    _mm256_shuffle_ps::<0x44>(ab_low, cd_low),
                    _mm256_shuffle_ps::<0xee>(ab_low, cd_low),
                    _mm256_shuffle_ps::<0x44>(ab_high, cd_high),
                    _mm256_shuffle_ps::<0xee>(ab_high, cd_high),
                ];
                for (index, values) in columns.into_iter().enumerate() {
                    _mm256_storeu_ps(to.add((column + index) * to_stride), values);
                }
            }
        }
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        // SAFETY: the instructions are there.
        Self(unsafe { _mm256_add_ps(self.0, other.0) })
    }
    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        // SAFETY: the instructions are there.
        Self(unsafe { _mm256_sub_ps(self.0, other.0) })
    }
    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        // SAFETY: the instructions are there.
        Self(unsafe { _mm256_mul_ps(self.0, other.0) })
    }
    #[inline(always)]
    fn div(self, other: Self) -> Self {
        // SAFETY: the instructions are there.
        Self(unsafe { _mm256_div_ps(self.0, other.0) })
    }
    #[inline(always)]
    fn mul_add(self, factor: Self, addend: Self) -> Self {
        // SAFETY: the instructions are there.
        Self(unsafe { _mm256_fmadd_ps(self.0, factor.0, addend.0) })
    }
    #[inline(always)]
    fn max(self, other: Self) -> Self {
        // SAFETY: the instructions are there.
        Self(unsafe { _mm256_max_ps(self.0, other.0) })
    }
    #[inline(always)]
    fn min(self, other: Self) -> Self {
        // SAFETY: the instructions are there.
        Self(unsafe { _mm256_min_ps(self.0, other.0) })
    }
    #[inline(always)]
    fn sqrt(self) -> Self {
        // SAFETY: the instructions are there.
        Self(unsafe { _mm256_sqrt_ps(self.0) })
    }
    #[inline(always)]
    fn round(self) -> Self {
        // SAFETY: the instructions are there.
        Self(unsafe { _mm256_round_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(self.0) })
    }
    #[inline(always)]
    fn power_of_two(self) -> Self {
        // SAFETY: the instructions are there.
        unsafe {
            let exponent = _mm256_add_epi32(_mm256_cvtps_epi32(self.0), _mm256_set1_epi32(127));
            Self(_mm256_castsi256_ps(_mm256_slli_epi32::<23>(exponent)))
        }
    }
    #[inline(always)]
    fn where_less(self, other: Self, yes: Self, no: Self) -> Self {
        // SAFETY: the instructions are there.
        unsafe {
            let mask = _mm256_cmp_ps::<_CMP_LT_OQ>(self.0, other.0);
            Self(_mm256_blendv_ps(no.0, yes.0, mask))
        }
    }
    #[inline(always)]
    fn sum(self) -> f32 {
        // SAFETY: the instructions are there.
        unsafe {
            let four = _mm_add_ps(_mm256_castps256_ps128(self.0), _mm256_extractf128_ps::<1>(self.0));
            let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
        }
    }
    #[inline(always)]
    fn largest(self) -> f32 {
        // SAFETY: the instructions are there.
        unsafe {
            let four = _mm_max_ps(_mm256_castps256_ps128(self.0), _mm256_extractf128_ps::<1>(self.0));
            let two = _mm_max_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)))
        }
    }
}

/// Four floats of a row, then four of the fourth row after it.
///
/// # Safety
/// They must be readable, and AVX be there.
#[inline(always)]
unsafe fn rows_four_apart(from: *const f32, stride: usize) -> __m256 {
    // SAFETY: the caller vouches for it.
    unsafe { _mm256_set_m128(_mm_loadu_ps(from.add(4 * stride)), _mm_loadu_ps(from)) }
}
