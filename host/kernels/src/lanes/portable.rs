//! Eight floats in an array: for processors without kernels of their own, and to test the others against.

use super::{Integers, Lanes, take_group_by_halves};

/// Eight floats.
#[derive(Clone, Copy)]
pub struct Array([f32; 8]);

impl Array {
    #[inline(always)]
    fn zip(self, other: Self, f: impl Fn(f32, f32) -> f32) -> Self {
        Self(std::array::from_fn(|lane| f(self.0[lane], other.0[lane])))
    }
}

impl Lanes for Array {
    const COUNT: usize = 8;

    #[inline(always)]
    fn splat(x: f32) -> Self {
        Self([x; 8])
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller vouches for 8 floats.
        Self(unsafe { from.cast::<[f32; 8]>().read_unaligned() })
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller vouches for 8 floats.
        unsafe { to.cast::<[f32; 8]>().write_unaligned(self.0) }
    }
    #[inline(always)]
    unsafe fn load_bf16(from: *const u8) -> Self {
        // SAFETY: the caller vouches for 16 bytes.
        let bytes = unsafe { from.cast::<[[u8; 2]; 8]>().read_unaligned() };
        Self(bytes.map(|pair| f32::from_bits(u32::from(u16::from_le_bytes(pair)) << 16)))
    }
    #[inline(always)]
    unsafe fn load_f16(from: *const u8) -> Self {
        // SAFETY: the caller vouches for 16 bytes.
        let bytes = unsafe { from.cast::<[[u8; 2]; 8]>().read_unaligned() };
        Self(bytes.map(|pair| half::f16::from_le_bytes(pair).to_f32()))
    }
    #[inline(always)]
    unsafe fn unpack<const BITS: usize>(from: *const u8) -> Self {
        let mut word = 0_u64;
        for byte in 0..BITS {
            // SAFETY: the caller vouches for `BITS` bytes.
            word |= u64::from(unsafe { from.add(byte).read() }) << (8 * byte);
        }
        Self(std::array::from_fn(|lane| {
            ((word >> (lane * BITS)) & ((1 << BITS) - 1)) as f32
        }))
    }
    #[inline(always)]
    unsafe fn unpack_nibbles(from: *const u8) -> (Self, Self) {
        // SAFETY: the caller vouches for 8 bytes.
        let bytes = unsafe { from.cast::<[u8; 8]>().read_unaligned() };
        (
            Self(bytes.map(|byte| f32::from(byte & 15))),
            Self(bytes.map(|byte| f32::from(byte >> 4))),
        )
    }

    #[inline(always)]
    fn fused(self, factor: Self, addend: Self) -> Self {
        Self(std::array::from_fn(|lane| {
            self.0[lane].mul_add(factor.0[lane], addend.0[lane])
        }))
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        self.zip(other, |a, b| a + b)
    }
    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        self.zip(other, |a, b| a - b)
    }
    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        self.zip(other, |a, b| a * b)
    }
    #[inline(always)]
    fn div(self, other: Self) -> Self {
        self.zip(other, |a, b| a / b)
    }
    #[inline(always)]
    fn mul_add(self, factor: Self, addend: Self) -> Self {
        // Two roundings: without the instruction, a fused multiply-add is a slow library call.
        self.mul(factor).add(addend)
    }
    #[inline(always)]
    fn max(self, other: Self) -> Self {
        self.zip(other, |a, b| if a > b { a } else { b })
    }
    #[inline(always)]
    fn min(self, other: Self) -> Self {
        self.zip(other, |a, b| if a < b { a } else { b })
    }
    #[inline(always)]
    fn sqrt(self) -> Self {
        Self(self.0.map(f32::sqrt))
    }
    #[inline(always)]
    fn round(self) -> Self {
        Self(self.0.map(f32::round_ties_even))
    }
    #[inline(always)]
    fn power_of_two(self) -> Self {
        Self(
            self.0
                .map(|x| f32::from_bits(((x as i32).wrapping_add(127) as u32) << 23)),
        )
    }
    #[inline(always)]
    fn where_less(self, other: Self, yes: Self, no: Self) -> Self {
        Self(std::array::from_fn(|lane| {
            if self.0[lane] < other.0[lane] {
                yes.0[lane]
            } else {
                no.0[lane]
            }
        }))
    }
    #[inline(always)]
    fn sum(self) -> f32 {
        let [a, b, c, d, e, f, g, h] = self.0;
        ((a + e) + (c + g)) + ((b + f) + (d + h))
    }
    #[inline(always)]
    fn largest(self) -> f32 {
        self.0.into_iter().fold(f32::NEG_INFINITY, f32::max)
    }
}

impl Integers for Array {
    type Floats = Self;
    type Vector = [i16; 16];
    type Sums = [i32; 8];
    type Outputs = [i32; 16];
    type Sixteen = [Self; 2];
    const HAS_WORDS: bool = false;

    #[inline(always)]
    unsafe fn load_integers(from: *const i16) -> [i16; 16] {
        // SAFETY: the caller vouches for 16 integers.
        unsafe { from.cast::<[i16; 16]>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn store_integers(integers: [i16; 16], to: *mut i16) {
        // SAFETY: the caller vouches for 16 integers.
        unsafe { to.cast::<[i16; 16]>().write_unaligned(integers) }
    }
    #[inline(always)]
    unsafe fn unpack_integers<const BITS: usize>(from: *const u8) -> [i16; 16] {
        // SAFETY: the caller vouches for 16 bytes.
        let word = u128::from_le_bytes(unsafe { from.cast::<[u8; 16]>().read_unaligned() });
        std::array::from_fn(|lane| (word >> (lane * BITS)) as i16 & ((1 << BITS) - 1))
    }
    #[inline(always)]
    unsafe fn signed_bytes(from: *const u8) -> [i16; 16] {
        // SAFETY: the caller vouches for 16 bytes.
        unsafe { from.cast::<[i8; 16]>().read_unaligned() }.map(i16::from)
    }
    #[inline(always)]
    unsafe fn levels(from: *const u8, upper: bool, table: &[i8; 16]) -> [i16; 16] {
        // SAFETY: the caller vouches for 16 bytes.
        let bytes = unsafe { from.cast::<[u8; 16]>().read_unaligned() };
        bytes.map(|byte| i16::from(table[usize::from(if upper { byte >> 4 } else { byte & 15 })]))
    }
    #[inline(always)]
    fn sixteens(bits: u16) -> [i16; 16] {
        std::array::from_fn(|lane| ((bits >> lane & 1) << 4) as i16)
    }
    #[inline(always)]
    fn field(numbers: [i16; 16], shift: u32, mask: i16) -> [i16; 16] {
        numbers.map(|number| number >> shift & mask)
    }
    #[inline(always)]
    fn shifted_left(numbers: [i16; 16], by: u32) -> [i16; 16] {
        numbers.map(|number| number << by)
    }
    #[inline(always)]
    fn or(a: [i16; 16], b: [i16; 16]) -> [i16; 16] {
        std::array::from_fn(|lane| a[lane] | b[lane])
    }
    #[inline(always)]
    unsafe fn unpack_words(from: *const u8) -> [[i16; 16]; 4] {
        // SAFETY: the caller vouches for 32 bytes.
        let bytes = unsafe { from.cast::<[[u8; 2]; 16]>().read_unaligned() };
        let words = bytes.map(u16::from_le_bytes);
        std::array::from_fn(|part| words.map(|word| (word >> (4 * part) & 15) as i16))
    }
    #[inline(always)]
    fn no_sums() -> [i32; 8] {
        [0; 8]
    }
    #[inline(always)]
    // Rows that are not there hold anything: as in vectors, their sums wrap, and nobody reads them.
    fn add_products(sums: [i32; 8], a: [i16; 16], b: [i16; 16]) -> [i32; 8] {
        let product = |at: usize| i32::from(a[at]) * i32::from(b[at]);
        std::array::from_fn(|lane| {
            let both = product(2 * lane).wrapping_add(product(2 * lane + 1));
            sums[lane].wrapping_add(both)
        })
    }
    #[inline(always)]
    fn no_outputs() -> [i32; 16] {
        [0; 16]
    }
    #[inline(always)]
    unsafe fn add_pairs<const ROWS: usize>(rows: &mut [[i32; 16]; ROWS], weights: *const i16, x: *const i16) {
        // SAFETY: the caller vouches for both.
        let (weights, x) = unsafe {
            (
                weights.cast::<[[i16; 2]; 16]>().read_unaligned(),
                x.cast::<[[i16; 2]; ROWS]>().read_unaligned(),
            )
        };
        for (outputs, x) in rows.iter_mut().zip(x) {
            for (output, weights) in outputs.iter_mut().zip(weights) {
                let product = |at: usize| i32::from(weights[at]) * i32::from(x[at]);
                *output = output.wrapping_add(product(0).wrapping_add(product(1)));
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
        outputs: [i32; 16],
        parameters: [[Self; 2]; 2],
        x: [f32; 2],
        totals: [Self; 2],
    ) -> [Self; 2] {
        let sums = [0, 8].map(|first| Self(std::array::from_fn(|lane| outputs[first + lane] as f32)));
        take_group_by_halves::<Self, BIASED>(sums, parameters, x, totals)
    }
    #[inline(always)]
    fn integers_of(low: Self, high: Self) -> [i16; 16] {
        std::array::from_fn(|lane| {
            let from = if lane < 8 { low.0[lane] } else { high.0[lane - 8] };
            from.round_ties_even() as i16
        })
    }
    #[inline(always)]
    fn totals(sums: [[i32; 8]; 8]) -> Self {
        Self(sums.map(|sums| sums.into_iter().fold(0, i32::wrapping_add) as f32))
    }
}
