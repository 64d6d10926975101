//! Eight floats in an AVX register.

use std::arch::x86_64::*;

use super::{Half, IntegerKernel, Integers, Kernel, Lanes, take_group_by_halves};

/// Runs a kernel compiled for AVX2, FMA and F16C.
///
/// # Safety
/// The processor must have all three.
#[target_feature(enable = "avx2,fma,f16c")]
pub unsafe fn run<K: Kernel>(kernel: K) -> K::Output {
    kernel.run::<Avx2>()
}

/// Runs a kernel of integers compiled for AVX2, FMA and F16C.
///
/// # Safety
/// The processor must have all three.
#[target_feature(enable = "avx2,fma,f16c")]
pub unsafe fn run_integers<K: IntegerKernel>(kernel: K) {
    kernel.run::<Avx2>()
}

/// Eight floats.
#[derive(Clone, Copy)]
pub struct Avx2(pub(super) __m256);

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
    unsafe fn load_f16_apart(from: *const u8, stride: usize) -> Self {
        // SAFETY: the instructions are there, and the caller vouches for the memory.
        unsafe {
            let half = |index: usize| u64::from(from.add(index * stride).cast::<u16>().read_unaligned());
            let four = |index: usize| {
                half(index) | half(index + 1) << 16 | half(index + 2) << 32 | half(index + 3) << 48
            };
            // Put together by what else has nothing to do: vectors are what products wait for.
            let halves = _mm_set_epi64x(four(4) as i64, four(0) as i64);
            Self(_mm256_cvtph_ps(halves))
        }
    }
    #[inline(always)]
    unsafe fn transpose_halves(
        half: Half,
        from: *const u8,
        from_stride: usize,
        to: *mut f32,
        to_stride: usize,
    ) {
        // SAFETY: the instructions are there, and the caller vouches for the memory.
        unsafe {
            let row = |index: usize| _mm_loadu_si128(from.add(index * from_stride).cast());
            // Columns of rows 0 and 1, 2 and 3, and so on: 0 to 3, and 4 to 7.
            let pairs = |index: usize| {
                let (a, b) = (row(index), row(index + 1));
                [_mm_unpacklo_epi16(a, b), _mm_unpackhi_epi16(a, b)]
            };
            let [a, b, c, d] = [pairs(0), pairs(2), pairs(4), pairs(6)];
            for part in 0..2 {
                // Columns of four rows, two in each.
                let upper = [
                    _mm_unpacklo_epi32(a[part], b[part]),
                    _mm_unpackhi_epi32(a[part], b[part]),
                ];
                let lower = [
                    _mm_unpacklo_epi32(c[part], d[part]),
                    _mm_unpackhi_epi32(c[part], d[part]),
                ];
                for two in 0..2 {
                    let columns = [
                        _mm_unpacklo_epi64(upper[two], lower[two]),
                        _mm_unpackhi_epi64(upper[two], lower[two]),
                    ];
                    for (index, column) in columns.into_iter().enumerate() {
                        let floats = match half {
                            Half::Binary16 => _mm256_cvtph_ps(column),
                            Half::Bfloat16 => {
                                _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(column)))
                            }
                        };
                        _mm256_storeu_ps(to.add((part * 4 + two * 2 + index) * to_stride), floats);
                    }
                }
            }
        }
    }

    #[inline(always)]
    fn fused(self, factor: Self, addend: Self) -> Self {
        self.mul_add(factor, addend)
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
    fn sums_of_four(four: [Self; 4]) -> [f32; 4] {
        let [Self(a), Self(b), Self(c), Self(d)] = four;
        // SAFETY: the instructions are there.
        unsafe {
            let ab = _mm256_add_ps(_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
            let cd = _mm256_add_ps(_mm256_unpacklo_ps(c, d), _mm256_unpackhi_ps(c, d));
            let (ab, cd) = (_mm256_castps_pd(ab), _mm256_castps_pd(cd));
            let even = _mm256_castpd_ps(_mm256_unpacklo_pd(ab, cd));
            let odd = _mm256_castpd_ps(_mm256_unpackhi_pd(ab, cd));
            quarters_added(_mm256_add_ps(even, odd))
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

// As above.
impl Integers for Avx2 {
    type Floats = Self;
    type Vector = __m256i;
    type Sums = __m256i;
    type Outputs = [__m256i; 2];
    type Sixteen = [Self; 2];
    const HAS_WORDS: bool = true;
    const HAS_BYTES: bool = true;

    #[inline(always)]
    unsafe fn load_integers(from: *const i16) -> __m256i {
        // SAFETY: the instructions are there, and the caller vouches for the memory.
        unsafe { _mm256_loadu_si256(from.cast()) }
    }
    #[inline(always)]
    unsafe fn store_integers(integers: __m256i, to: *mut i16) {
        // SAFETY: the instructions are there, and the caller vouches for the memory.
        unsafe { _mm256_storeu_si256(to.cast(), integers) }
    }
    #[inline(always)]
    unsafe fn unpack_integers<const BITS: usize>(from: *const u8) -> __m256i {
        // SAFETY: the instructions are there, the caller vouches for 16 bytes, and the tables hold 32.
        unsafe {
            let bytes = _mm_loadu_si128(from.cast());
            if BITS == 8 {
                return _mm256_cvtepu8_epi16(bytes);
            }
            let both = _mm256_broadcastsi128_si256(bytes);
            let order = const { byte_order(BITS) };
            let factors = const { left_shifts(BITS) };
            // Each number's two bytes, its bits pushed to the upper end and back down.
            let words = _mm256_shuffle_epi8(both, _mm256_loadu_si256(order.as_ptr().cast()));
            let upper = _mm256_mullo_epi16(words, _mm256_loadu_si256(factors.as_ptr().cast()));
            _mm256_srl_epi16(upper, _mm_cvtsi32_si128(16 - BITS as i32))
        }
    }
    #[inline(always)]
    unsafe fn signed_bytes(from: *const u8) -> __m256i {
        // SAFETY: the instructions are there, and the caller vouches for the memory.
        unsafe { _mm256_cvtepi8_epi16(_mm_loadu_si128(from.cast())) }
    }
    #[inline(always)]
    unsafe fn levels(from: *const u8, upper: bool, table: &[i8; 16]) -> __m256i {
        // SAFETY: the instructions are there, the caller vouches for the memory, and the table has sixteen bytes.
        unsafe {
            let bytes = _mm_loadu_si128(from.cast());
            let halves = if upper { _mm_srli_epi16::<4>(bytes) } else { bytes };
            let halves = _mm_and_si128(halves, _mm_set1_epi8(15));
            let table = _mm_loadu_si128(table.as_ptr().cast());
            _mm256_cvtepi8_epi16(_mm_shuffle_epi8(table, halves))
        }
    }
    #[inline(always)]
    fn sixteens(bits: u16) -> __m256i {
        // SAFETY: the instructions are there.
        unsafe {
            let own = _mm256_setr_epi16(
                1,
                1 << 1,
                1 << 2,
                1 << 3,
                1 << 4,
                1 << 5,
                1 << 6,
                1 << 7,
                1 << 8,
                1 << 9,
                1 << 10,
                1 << 11,
                1 << 12,
                1 << 13,
                1 << 14,
                i16::MIN,
            );
            let found = _mm256_and_si256(_mm256_set1_epi16(bits as i16), own);
            _mm256_and_si256(_mm256_cmpeq_epi16(found, own), _mm256_set1_epi16(16))
        }
    }
    #[inline(always)]
    fn field(numbers: __m256i, shift: u32, mask: i16) -> __m256i {
        // SAFETY: the instructions are there.
        unsafe {
            let shifted = _mm256_srl_epi16(numbers, _mm_cvtsi32_si128(shift as i32));
            _mm256_and_si256(shifted, _mm256_set1_epi16(mask))
        }
    }
    #[inline(always)]
    fn shifted_left(numbers: __m256i, by: u32) -> __m256i {
        // SAFETY: the instructions are there.
        unsafe { _mm256_sll_epi16(numbers, _mm_cvtsi32_si128(by as i32)) }
    }
    #[inline(always)]
    fn or(a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: the instructions are there.
        unsafe { _mm256_or_si256(a, b) }
    }
    #[inline(always)]
    unsafe fn unpack_words(from: *const u8) -> [__m256i; 4] {
        // SAFETY: the instructions are there, and the caller vouches for the memory.
        unsafe {
            let words = _mm256_loadu_si256(from.cast());
            let mask = _mm256_set1_epi16(15);
            [
                _mm256_and_si256(words, mask),
                _mm256_and_si256(_mm256_srli_epi16::<4>(words), mask),
                _mm256_and_si256(_mm256_srli_epi16::<8>(words), mask),
                _mm256_srli_epi16::<12>(words),
            ]
        }
    }
    #[inline(always)]
    fn integers_of(low: Self, high: Self) -> __m256i {
        // SAFETY: the instructions are there.
        unsafe {
            let halves = _mm256_packs_epi32(_mm256_cvtps_epi32(low.0), _mm256_cvtps_epi32(high.0));
            _mm256_permute4x64_epi64::<0b11_01_10_00>(halves)
        }
    }
    #[inline(always)]
    unsafe fn store_words(integers: [__m256i; 4], to: *mut i16) {
        // SAFETY: the instructions are there, and the caller vouches for the memory.
        unsafe {
            // Each half of a vector is two words of four numbers: numbers of one place side by side, one place in 32 bits.
            let order = _mm256_setr_epi8(
                0, 1, 8, 9, 2, 3, 10, 11, 4, 5, 12, 13, 6, 7, 14, 15, //
                0, 1, 8, 9, 2, 3, 10, 11, 4, 5, 12, 13, 6, 7, 14, 15,
            );
            let [a, b, c, d] = integers.map(|part| _mm256_shuffle_epi8(part, order));
            let (ab_low, ab_high) = (_mm256_unpacklo_epi32(a, b), _mm256_unpackhi_epi32(a, b));
            let (cd_low, cd_high) = (_mm256_unpacklo_epi32(c, d), _mm256_unpackhi_epi32(c, d));
            let places = [
                _mm256_unpacklo_epi64(ab_low, cd_low),
                _mm256_unpackhi_epi64(ab_low, cd_low),
                _mm256_unpacklo_epi64(ab_high, cd_high),
                _mm256_unpackhi_epi64(ab_high, cd_high),
            ];
            // First halves of all four stand before second halves.
            let halves = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
            for (index, place) in places.into_iter().enumerate() {
                let place = _mm256_permutevar8x32_epi32(place, halves);
                _mm256_storeu_si256(to.add(16 * index).cast(), place);
            }
        }
    }
    #[inline(always)]
    fn no_sums() -> __m256i {
        // SAFETY: the instructions are there.
        unsafe { _mm256_setzero_si256() }
    }
    #[inline(always)]
    fn add_products(sums: __m256i, a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: the instructions are there.
        unsafe { _mm256_add_epi32(sums, _mm256_madd_epi16(a, b)) }
    }
    #[inline(always)]
    unsafe fn nibbles_and_bytes(a: *const u8, b: *const u8, x: *const i8) -> __m256i {
        // SAFETY: the instructions are there, and the caller vouches for the memory.
        unsafe {
            let bytes = _mm256_set_m128i(_mm_loadu_si128(b.cast()), _mm_loadu_si128(a.cast()));
            let mask = _mm256_set1_epi8(15);
            let low = _mm256_and_si256(bytes, mask);
            let high = _mm256_and_si256(_mm256_srli_epi16::<4>(bytes), mask);
            // Four products of at most 15 times 127 are far from the end of 16 bits.
            let low = _mm256_maddubs_epi16(low, _mm256_loadu_si256(x.cast()));
            let high = _mm256_maddubs_epi16(high, _mm256_loadu_si256(x.add(32).cast()));
            _mm256_madd_epi16(_mm256_add_epi16(low, high), _mm256_set1_epi16(1))
        }
    }
    #[inline(always)]
    fn totals_of_two(s: [__m256i; 8]) -> [Self; 2] {
        // SAFETY: the instructions are there.
        unsafe {
            let first = added_fours(added_pairs(s[0], s[1]), added_pairs(s[2], s[3]));
            let last = added_fours(added_pairs(s[4], s[5]), added_pairs(s[6], s[7]));
            [
                Self(_mm256_cvtepi32_ps(_mm256_permute2x128_si256::<0x20>(first, last))),
                Self(_mm256_cvtepi32_ps(_mm256_permute2x128_si256::<0x31>(first, last))),
            ]
        }
    }
    #[inline(always)]
    unsafe fn add_fours<const ROWS: usize>(
        rows: &mut [[__m256i; 2]; ROWS],
        weights: *const u8,
        x: *const i8,
    ) {
        // SAFETY: the instructions are there, and the caller vouches for the memory.
        unsafe {
            let ones = _mm256_set1_epi16(1);
            let first = _mm256_loadu_si256(weights.cast());
            let last = _mm256_loadu_si256(weights.add(32).cast());
            for (row, outputs) in rows.iter_mut().enumerate() {
                let x = _mm256_set1_epi32(x.cast::<i32>().add(row).read_unaligned());
                let [a, b] = [_mm256_maddubs_epi16(first, x), _mm256_maddubs_epi16(last, x)];
                *outputs = [
                    _mm256_add_epi32(outputs[0], _mm256_madd_epi16(a, ones)),
                    _mm256_add_epi32(outputs[1], _mm256_madd_epi16(b, ones)),
                ];
            }
        }
    }
    #[inline(always)]
    fn no_outputs() -> [__m256i; 2] {
        // SAFETY: the instructions are there.
        unsafe { [_mm256_setzero_si256(); 2] }
    }
    #[inline(always)]
    unsafe fn add_pairs<const ROWS: usize>(
        rows: &mut [[__m256i; 2]; ROWS],
        weights: *const i16,
        x: *const i16,
    ) {
        // SAFETY: the instructions are there, and the caller vouches for the memory.
        unsafe {
            let first = _mm256_loadu_si256(weights.cast());
            let last = _mm256_loadu_si256(weights.add(16).cast());
            for (row, outputs) in rows.iter_mut().enumerate() {
                let x = _mm256_set1_epi32(x.cast::<i32>().add(row).read_unaligned());
                *outputs = [
                    Self::add_products(outputs[0], first, x),
                    Self::add_products(outputs[1], last, x),
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
        [first, last]: [__m256i; 2],
        parameters: [[Self; 2]; 2],
        x: [f32; 2],
        totals: [Self; 2],
    ) -> [Self; 2] {
        // SAFETY: the instructions are there.
        unsafe {
            let sums = [Self(_mm256_cvtepi32_ps(first)), Self(_mm256_cvtepi32_ps(last))];
            take_group_by_halves::<Self, BIASED>(sums, parameters, x, totals)
        }
    }
    #[inline(always)]
    fn totals(s: [__m256i; 8]) -> Self {
        // SAFETY: the instructions are there.
        unsafe {
            // Not `hadd`, which is two shuffles and a sum as well, and on many processors more than that.
            let first = added_fours(added_pairs(s[0], s[1]), added_pairs(s[2], s[3]));
            let last = added_fours(added_pairs(s[4], s[5]), added_pairs(s[6], s[7]));
            let low = _mm256_permute2x128_si256::<0x20>(first, last);
            let high = _mm256_permute2x128_si256::<0x31>(first, last);
            Self(_mm256_cvtepi32_ps(_mm256_add_epi32(low, high)))
        }
    }
}

/// The lower four floats plus the upper four.
///
/// # Safety
/// AVX must be there.
#[inline(always)]
pub unsafe fn quarters_added(eight: __m256) -> [f32; 4] {
    let mut four = [0.0; 4];
    // SAFETY: the caller vouches for the instructions, and there is room for four.
    unsafe {
        let sums = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps::<1>(eight));
        _mm_storeu_ps(four.as_mut_ptr(), sums);
    }
    four
}

/// In each half: two sums of `a` and two of `b`, as neighbours `a, b, a, b`.
///
/// # Safety
/// AVX2 must be there.
#[inline(always)]
unsafe fn added_pairs(a: __m256i, b: __m256i) -> __m256i {
    // SAFETY: the caller vouches for the instructions.
    unsafe { _mm256_add_epi32(_mm256_unpacklo_epi32(a, b), _mm256_unpackhi_epi32(a, b)) }
}

/// Likewise those sums' own: `a, b` of one, then of the other.
///
/// # Safety
/// AVX2 must be there.
#[inline(always)]
unsafe fn added_fours(a: __m256i, b: __m256i) -> __m256i {
    // SAFETY: the caller vouches for the instructions.
    unsafe { _mm256_add_epi32(_mm256_unpacklo_epi64(a, b), _mm256_unpackhi_epi64(a, b)) }
}

/// For each of sixteen numbers of so many bits, its first byte and the one after it.
const fn byte_order(bits: usize) -> [u8; 32] {
    let mut order = [0; 32];
    let mut number = 0;
    while number < 16 {
        order[2 * number] = (number * bits / 8) as u8;
        order[2 * number + 1] = (number * bits / 8 + 1) as u8;
        number += 1;
    }
    order
}

/// What pushes each number's bits to the upper end of its two bytes.
const fn left_shifts(bits: usize) -> [u16; 16] {
    let mut factors = [0; 16];
    let mut number = 0;
    while number < 16 {
        factors[number] = 1 << (16 - bits - number * bits % 8);
        number += 1;
    }
    factors
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
