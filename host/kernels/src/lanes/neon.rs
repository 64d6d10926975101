//! Eight floats in two NEON registers.

use std::arch::aarch64::*;

use super::{IntegerKernel, Integers, Kernel, Lanes, take_group_by_halves};

/// Runs a kernel compiled for NEON.
///
/// # Safety
/// The processor must have it.
#[target_feature(enable = "neon")]
pub unsafe fn run<K: Kernel>(kernel: K) -> K::Output {
    kernel.run::<Neon>()
}

/// Runs a kernel of integers compiled for NEON.
///
/// # Safety
/// The processor must have it.
#[target_feature(enable = "neon")]
pub unsafe fn run_integers<K: IntegerKernel>(kernel: K) {
    kernel.run::<Neon>()
}

/// Eight floats.
#[derive(Clone, Copy)]
pub struct Neon(float32x4_t, float32x4_t);

// All intrinsics here need NEON: values of this type exist only inside `run`, whose caller vouches for it. Loads and
// stores take any alignment.
impl Lanes for Neon {
    const COUNT: usize = 8;

    #[inline(always)]
    fn splat(x: f32) -> Self {
        // SAFETY: the instructions are there.
        unsafe { Self(vdupq_n_f32(x), vdupq_n_f32(x)) }
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the instructions are there, and the caller vouches for the memory.
        unsafe { Self(vld1q_f32(from), vld1q_f32(from.add(4))) }
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the instructions are there, and the caller vouches for the memory.
        unsafe {
            vst1q_f32(to, self.0);
            vst1q_f32(to.add(4), self.1);
        }
    }
    #[inline(always)]
    unsafe fn load_bf16(from: *const u8) -> Self {
        // SAFETY: the instructions are there, and the caller vouches for the memory.
        unsafe {
            let halves = vreinterpretq_u16_u8(vld1q_u8(from));
            let low = vshll_n_u16::<16>(vget_low_u16(halves));
            let high = vshll_n_u16::<16>(vget_high_u16(halves));
            Self(vreinterpretq_f32_u32(low), vreinterpretq_f32_u32(high))
        }
    }
    #[inline(always)]
    unsafe fn load_f16(from: *const u8) -> Self {
        // Moves exponent and mantissa into place and rescales by 2^112; infinities and NaNs are put right after.
        // SAFETY: the instructions are there, and the caller vouches for the memory.
        unsafe {
            let halves = vreinterpretq_u16_u8(vld1q_u8(from));
            Self(
                widen_f16(vmovl_u16(vget_low_u16(halves))),
                widen_f16(vmovl_u16(vget_high_u16(halves))),
            )
        }
    }
    #[inline(always)]
    unsafe fn unpack<const BITS: usize>(from: *const u8) -> Self {
        // SAFETY: the instructions are there, and the caller vouches for `BITS` bytes.
        unsafe {
            let [first, second] = numbers::<BITS>(from);
            Self(vcvtq_f32_u32(first), vcvtq_f32_u32(second))
        }
    }
    #[inline(always)]
    unsafe fn unpack_nibbles(from: *const u8) -> (Self, Self) {
        // SAFETY: the instructions are there, and the caller vouches for the memory.
        unsafe {
            let bytes = vld1_u8(from);
            (
                widen_bytes(vand_u8(bytes, vdup_n_u8(15))),
                widen_bytes(vshr_n_u8::<4>(bytes)),
            )
        }
    }

    #[inline(always)]
    fn fused(self, factor: Self, addend: Self) -> Self {
        self.mul_add(factor, addend)
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        // SAFETY: the instructions are there.
        unsafe { Self(vaddq_f32(self.0, other.0), vaddq_f32(self.1, other.1)) }
    }
    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        // SAFETY: the instructions are there.
        unsafe { Self(vsubq_f32(self.0, other.0), vsubq_f32(self.1, other.1)) }
    }
    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        // SAFETY: the instructions are there.
        unsafe { Self(vmulq_f32(self.0, other.0), vmulq_f32(self.1, other.1)) }
    }
    #[inline(always)]
    fn div(self, other: Self) -> Self {
        // SAFETY: the instructions are there.
        unsafe { Self(vdivq_f32(self.0, other.0), vdivq_f32(self.1, other.1)) }
    }
    #[inline(always)]
    fn mul_add(self, factor: Self, addend: Self) -> Self {
        // SAFETY: the instructions are there.
        unsafe {
            Self(
                vfmaq_f32(addend.0, self.0, factor.0),
                vfmaq_f32(addend.1, self.1, factor.1),
            )
        }
    }
    #[inline(always)]
    fn max(self, other: Self) -> Self {
        other.where_less(self, self, other)
    }
    #[inline(always)]
    fn min(self, other: Self) -> Self {
        self.where_less(other, self, other)
    }
    #[inline(always)]
    fn sqrt(self) -> Self {
        // SAFETY: the instructions are there.
        unsafe { Self(vsqrtq_f32(self.0), vsqrtq_f32(self.1)) }
    }
    #[inline(always)]
    fn round(self) -> Self {
        // SAFETY: the instructions are there.
        unsafe { Self(vrndnq_f32(self.0), vrndnq_f32(self.1)) }
    }
    #[inline(always)]
    fn power_of_two(self) -> Self {
        // SAFETY: the instructions are there.
        unsafe {
            let bias = vdupq_n_s32(127);
            let low = vshlq_n_s32::<23>(vaddq_s32(vcvtnq_s32_f32(self.0), bias));
            let high = vshlq_n_s32::<23>(vaddq_s32(vcvtnq_s32_f32(self.1), bias));
            Self(vreinterpretq_f32_s32(low), vreinterpretq_f32_s32(high))
        }
    }
    #[inline(always)]
    fn where_less(self, other: Self, yes: Self, no: Self) -> Self {
        // SAFETY: the instructions are there.
        unsafe {
            Self(
                vbslq_f32(vcltq_f32(self.0, other.0), yes.0, no.0),
                vbslq_f32(vcltq_f32(self.1, other.1), yes.1, no.1),
            )
        }
    }
    #[inline(always)]
    fn sum(self) -> f32 {
        // SAFETY: the instructions are there.
        unsafe { vaddvq_f32(vaddq_f32(self.0, self.1)) }
    }
    #[inline(always)]
    fn largest(self) -> f32 {
        // SAFETY: the instructions are there.
        unsafe { vmaxvq_f32(vmaxq_f32(self.0, self.1)) }
    }
}

// As above.
impl Integers for Neon {
    type Floats = Self;
    type Vector = (int16x8_t, int16x8_t);
    type Sums = (int32x4_t, int32x4_t);
    type Outputs = [int32x4_t; 4];
    type Sixteen = [Self; 2];
    const HAS_WORDS: bool = false;

    #[inline(always)]
    unsafe fn load_integers(from: *const i16) -> Self::Vector {
        // SAFETY: the instructions are there, and the caller vouches for the memory.
        unsafe { (vld1q_s16(from), vld1q_s16(from.add(8))) }
    }
    #[inline(always)]
    unsafe fn store_integers(integers: Self::Vector, to: *mut i16) {
        // SAFETY: the instructions are there, and the caller vouches for the memory.
        unsafe {
            vst1q_s16(to, integers.0);
            vst1q_s16(to.add(8), integers.1);
        }
    }
    #[inline(always)]
    unsafe fn unpack_integers<const BITS: usize>(from: *const u8) -> Self::Vector {
        // SAFETY: the instructions are there, and the caller vouches for 16 bytes.
        unsafe {
            if BITS == 4 {
                let bytes = vld1_u8(from);
                let pairs = vzip_u8(vand_u8(bytes, vdup_n_u8(15)), vshr_n_u8::<4>(bytes));
                return (
                    vreinterpretq_s16_u16(vmovl_u8(pairs.0)),
                    vreinterpretq_s16_u16(vmovl_u8(pairs.1)),
                );
            }
            (
                eight_integers::<BITS>(from),
                eight_integers::<BITS>(from.add(BITS)),
            )
        }
    }
    #[inline(always)]
    unsafe fn signed_bytes(from: *const u8) -> Self::Vector {
        // SAFETY: the instructions are there, and the caller vouches for the memory.
        unsafe { widen_signed(vld1q_s8(from.cast())) }
    }
    #[inline(always)]
    unsafe fn levels(from: *const u8, upper: bool, table: &[i8; 16]) -> Self::Vector {
        // SAFETY: the instructions are there, the caller vouches for the memory, and the table has sixteen bytes.
        unsafe {
            let bytes = vld1q_u8(from);
            let halves = match upper {
                true => vshrq_n_u8::<4>(bytes),
                false => vandq_u8(bytes, vdupq_n_u8(15)),
            };
            widen_signed(vqtbl1q_s8(vld1q_s8(table.as_ptr()), halves))
        }
    }
    #[inline(always)]
    fn sixteens(bits: u16) -> Self::Vector {
        let own: [u16; 8] = [1, 2, 4, 8, 16, 32, 64, 128];
        // SAFETY: the instructions are there, and `own` has eight elements.
        unsafe {
            let (own, sixteen) = (vld1q_u16(own.as_ptr()), vdupq_n_u16(16));
            let [low, high] = [vdupq_n_u16(bits & 255), vdupq_n_u16(bits >> 8)];
            (
                vreinterpretq_s16_u16(vandq_u16(vtstq_u16(low, own), sixteen)),
                vreinterpretq_s16_u16(vandq_u16(vtstq_u16(high, own), sixteen)),
            )
        }
    }
    #[inline(always)]
    fn field(numbers: Self::Vector, shift: u32, mask: i16) -> Self::Vector {
        // SAFETY: the instructions are there.
        unsafe {
            let (shift, mask) = (vdupq_n_s16(-(shift as i16)), vdupq_n_s16(mask));
            (
                vandq_s16(vshlq_s16(numbers.0, shift), mask),
                vandq_s16(vshlq_s16(numbers.1, shift), mask),
            )
        }
    }
    #[inline(always)]
    fn shifted_left(numbers: Self::Vector, by: u32) -> Self::Vector {
        // SAFETY: the instructions are there.
        unsafe {
            let by = vdupq_n_s16(by as i16);
            (vshlq_s16(numbers.0, by), vshlq_s16(numbers.1, by))
        }
    }
    #[inline(always)]
    fn or(a: Self::Vector, b: Self::Vector) -> Self::Vector {
        // SAFETY: the instructions are there.
        unsafe { (vorrq_s16(a.0, b.0), vorrq_s16(a.1, b.1)) }
    }
    #[inline(always)]
    unsafe fn unpack_words(from: *const u8) -> [Self::Vector; 4] {
        // SAFETY: the instructions are there, and the caller vouches for 32 bytes.
        unsafe {
            let words = [
                vreinterpretq_u16_u8(vld1q_u8(from)),
                vreinterpretq_u16_u8(vld1q_u8(from.add(16))),
            ];
            let mask = vdupq_n_u16(15);
            let part = |shift: i16| {
                let shift = vdupq_n_s16(-shift);
                let take = |words| vreinterpretq_s16_u16(vandq_u16(vshlq_u16(words, shift), mask));
                (take(words[0]), take(words[1]))
            };
            [part(0), part(4), part(8), part(12)]
        }
    }
    #[inline(always)]
    fn no_sums() -> Self::Sums {
        // SAFETY: the instructions are there.
        unsafe { (vdupq_n_s32(0), vdupq_n_s32(0)) }
    }
    #[inline(always)]
    fn add_products(sums: Self::Sums, a: Self::Vector, b: Self::Vector) -> Self::Sums {
        // SAFETY: the instructions are there.
        unsafe {
            let first = vpaddq_s32(
                vmull_s16(vget_low_s16(a.0), vget_low_s16(b.0)),
                vmull_high_s16(a.0, b.0),
            );
            let second = vpaddq_s32(
                vmull_s16(vget_low_s16(a.1), vget_low_s16(b.1)),
                vmull_high_s16(a.1, b.1),
            );
            (vaddq_s32(sums.0, first), vaddq_s32(sums.1, second))
        }
    }
    #[inline(always)]
    fn no_outputs() -> Self::Outputs {
        // SAFETY: the instructions are there.
        unsafe { [vdupq_n_s32(0); 4] }
    }
    #[inline(always)]
    unsafe fn add_pairs<const ROWS: usize>(
        rows: &mut [Self::Outputs; ROWS],
        weights: *const i16,
        x: *const i16,
    ) {
        // SAFETY: the instructions are there, and the caller vouches for the memory.
        unsafe {
            // The first weights of eight outputs, and their second ones.
            let [first, last] = [vld2q_s16(weights), vld2q_s16(weights.add(16))];
            for (row, outputs) in rows.iter_mut().enumerate() {
                let [a, b, c, d] = *outputs;
                let [x, y] = [x.add(2 * row).read(), x.add(2 * row + 1).read()];
                *outputs = [
                    vmlal_n_s16(vmlal_n_s16(a, vget_low_s16(first.0), x), vget_low_s16(first.1), y),
                    vmlal_high_n_s16(vmlal_high_n_s16(b, first.0, x), first.1, y),
                    vmlal_n_s16(vmlal_n_s16(c, vget_low_s16(last.0), x), vget_low_s16(last.1), y),
                    vmlal_high_n_s16(vmlal_high_n_s16(d, last.0, x), last.1, y),
                ];
            }
        }
    }
    #[inline(always)]
    unsafe fn load_sixteen(from: *const f32) -> [Self; 2] {
        // SAFETY: the caller vouches for the floats.
        unsafe { [Self::load(from), Self::load(from.add(8))] }
    }
    #[inline(always)]
    unsafe fn store_sixteen([low, high]: [Self; 2], to: *mut f32) {
        // SAFETY: the caller vouches for the floats.
        unsafe {
            low.store(to);
            high.store(to.add(8));
        }
    }
    #[inline(always)]
    fn take_group<const BIASED: bool>(
        [a, b, c, d]: Self::Outputs,
        parameters: [[Self; 2]; 2],
        x: [f32; 2],
        totals: [Self; 2],
    ) -> [Self; 2] {
        // SAFETY: the instructions are there.
        unsafe {
            let sums = [
                Self(vcvtq_f32_s32(a), vcvtq_f32_s32(b)),
                Self(vcvtq_f32_s32(c), vcvtq_f32_s32(d)),
            ];
            take_group_by_halves::<Self, BIASED>(sums, parameters, x, totals)
        }
    }
    #[inline(always)]
    fn integers_of(low: Self, high: Self) -> Self::Vector {
        // SAFETY: the instructions are there.
        unsafe {
            let eight = |from: Self| {
                let [a, b] = [vcvtnq_s32_f32(from.0), vcvtnq_s32_f32(from.1)];
                vcombine_s16(vqmovn_s32(a), vqmovn_s32(b))
            };
            (eight(low), eight(high))
        }
    }
    #[inline(always)]
    fn totals(s: [Self::Sums; 8]) -> Self {
        // SAFETY: the instructions are there.
        unsafe {
            let four = |at: usize| {
                let [a, b, c, d] = [
                    vaddq_s32(s[at].0, s[at].1),
                    vaddq_s32(s[at + 1].0, s[at + 1].1),
                    vaddq_s32(s[at + 2].0, s[at + 2].1),
                    vaddq_s32(s[at + 3].0, s[at + 3].1),
                ];
                vcvtq_f32_s32(vpaddq_s32(vpaddq_s32(a, b), vpaddq_s32(c, d)))
            };
            Self(four(0), four(4))
        }
    }
}

/// Four binary16 numbers, one in the lower half of each lane.
#[inline(always)]
fn widen_f16(halves: uint32x4_t) -> float32x4_t {
    // SAFETY: called only by the implementation above.
    unsafe {
        let sign = vshlq_n_u32::<16>(vandq_u32(halves, vdupq_n_u32(0x8000)));
        let magnitude = vshlq_n_u32::<13>(vandq_u32(halves, vdupq_n_u32(0x7fff)));
        let scaled = vmulq_f32(
            vreinterpretq_f32_u32(magnitude),
            vdupq_n_f32(f32::from_bits((127 + 112) << 23)),
        );
        let special = vcgeq_u32(magnitude, vdupq_n_u32(0x7c00 << 13));
        let bits = vorrq_u32(
            vreinterpretq_u32_f32(scaled),
            vandq_u32(special, vdupq_n_u32(0x7f80_0000)),
        );
        vreinterpretq_f32_u32(vorrq_u32(bits, sign))
    }
}

/// Sixteen signed bytes as 16-bit integers.
#[inline(always)]
fn widen_signed(bytes: int8x16_t) -> (int16x8_t, int16x8_t) {
    // SAFETY: called only by the implementation above.
    unsafe { (vmovl_s8(vget_low_s8(bytes)), vmovl_high_s8(bytes)) }
}

/// Eight bytes as floats.
#[inline(always)]
fn widen_bytes(bytes: uint8x8_t) -> Neon {
    // SAFETY: called only by the implementation above.
    unsafe {
        let words = vmovl_u8(bytes);
        Neon(
            vcvtq_f32_u32(vmovl_u16(vget_low_u16(words))),
            vcvtq_f32_u32(vmovl_u16(vget_high_u16(words))),
        )
    }
}

/// Eight unsigned numbers of `BITS` bits, four and four.
///
/// # Safety
/// `BITS` bytes must be readable at `from`, and NEON be there.
#[inline(always)]
unsafe fn numbers<const BITS: usize>(from: *const u8) -> [uint32x4_t; 2] {
    let mut word = 0_u64;
    for byte in 0..BITS {
        // SAFETY: the caller vouches for `BITS` bytes.
        word |= u64::from(unsafe { from.add(byte).read() }) << (8 * byte);
    }
    let (low, high) = (word as u32, (word >> (4 * BITS)) as u32);
    let b = BITS as i32;
    let shifts = [0, -b, -2 * b, -3 * b];
    // SAFETY: the instructions are there, and `shifts` has four elements.
    unsafe {
        let shifts = vld1q_s32(shifts.as_ptr());
        let mask = vdupq_n_u32((1 << BITS) - 1);
        let first = vandq_u32(vshlq_u32(vdupq_n_u32(low), shifts), mask);
        let second = vandq_u32(vshlq_u32(vdupq_n_u32(high), shifts), mask);
        [first, second]
    }
}

/// Eight unsigned integers of `BITS` bits.
///
/// # Safety
/// `BITS` bytes must be readable at `from`, and NEON be there.
#[inline(always)]
unsafe fn eight_integers<const BITS: usize>(from: *const u8) -> int16x8_t {
    // SAFETY: the caller vouches for the memory and the instructions.
    unsafe {
        let [first, second] = numbers::<BITS>(from);
        vreinterpretq_s16_u16(vcombine_u16(vmovn_u32(first), vmovn_u32(second)))
    }
}
