//! Sixteen floats in an AVX-512 register, and thirty-two 16-bit integers that VNNI multiplies and adds in one instruction.

use std::arch::asm;
use std::arch::x86_64::*;

use super::avx2::Avx2;
use super::{IntegerKernel, Integers, Kernel, Lanes};

/// Runs a kernel compiled for AVX-512.
///
/// # Safety
/// The processor must have AVX-512 F, BW, DQ, VL and VNNI, and what AVX2's kernels need.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]
pub unsafe fn run<K: Kernel>(kernel: K) -> K::Output {
    kernel.run::<Avx512>()
}

/// Runs a kernel of integers compiled for AVX-512.
///
/// # Safety
/// As for [`run`].
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]
pub unsafe fn run_integers<K: IntegerKernel>(kernel: K) {
    kernel.run::<Avx512>()
}

/// Sixteen floats.
#[derive(Clone, Copy)]
pub struct Avx512(__m512);

// All intrinsics here need the instructions that `run` names: values of this type exist only inside it, and its caller
// vouches for them. Loads and stores are those for any alignment. No closures: they would be compiled without the
// instructions.
impl Lanes for Avx512 {
    const COUNT: usize = 16;

    #[inline(always)]
    fn splat(x: f32) -> Self {
        // SAFETY: the instructions are there.
        Self(unsafe { _mm512_set1_ps(x) })
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the instructions are there, and the caller vouches for the memory.
        Self(unsafe { _mm512_loadu_ps(from) })
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the instructions are there, and the caller vouches for the memory.
        unsafe { _mm512_storeu_ps(to, self.0) }
    }
    #[inline(always)]
    unsafe fn load_bf16(from: *const u8) -> Self {
        // SAFETY: the instructions are there, and the caller vouches for the memory.
        unsafe {
            let halves = _mm512_cvtepu16_epi32(_mm256_loadu_si256(from.cast()));
            Self(_mm512_castsi512_ps(_mm512_slli_epi32::<16>(halves)))
        }
    }
    #[inline(always)]
    unsafe fn load_f16(from: *const u8) -> Self {
        // SAFETY: the instructions are there, and the caller vouches for the memory.
        Self(unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(from.cast())) })
    }
    #[inline(always)]
    unsafe fn unpack<const BITS: usize>(from: *const u8) -> Self {
        // SAFETY: the instructions are there, and the caller vouches for twice `BITS` bytes.
        unsafe {
            if BITS == 8 {
                return Self(_mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128(
                    from.cast(),
                ))));
            }
            let [low, high] = [Avx2::unpack::<BITS>(from), Avx2::unpack::<BITS>(from.add(BITS))];
            Self(_mm512_insertf32x8::<1>(_mm512_castps256_ps512(low.0), high.0))
        }
    }
    #[inline(always)]
    unsafe fn unpack_nibbles(from: *const u8) -> (Self, Self) {
        // SAFETY: the instructions are there, and the caller vouches for the memory.
        unsafe {
            let bytes = _mm512_cvtepu8_epi32(_mm_loadu_si128(from.cast()));
            let low = _mm512_and_si512(bytes, _mm512_set1_epi32(15));
            let high = _mm512_srli_epi32::<4>(bytes);
            (Self(_mm512_cvtepi32_ps(low)), Self(_mm512_cvtepi32_ps(high)))
        }
    }
    #[inline(always)]
    fn prefetch(address: *const u8) {
        Avx2::prefetch(address);
    }
    #[inline(always)]
    unsafe fn transpose(from: *const f32, from_stride: usize, to: *mut f32, to_stride: usize) {
        // SAFETY: the caller vouches for both blocks.
        unsafe { Avx2::transpose(from, from_stride, to, to_stride) }
    }

    #[inline(always)]
    fn fused(self, factor: Self, addend: Self) -> Self {
        self.mul_add(factor, addend)
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        // SAFETY: the instructions are there.
        Self(unsafe { _mm512_add_ps(self.0, other.0) })
    }
    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        // SAFETY: the instructions are there.
        Self(unsafe { _mm512_sub_ps(self.0, other.0) })
    }
    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        // SAFETY: the instructions are there.
        Self(unsafe { _mm512_mul_ps(self.0, other.0) })
    }
    #[inline(always)]
    fn div(self, other: Self) -> Self {
        // SAFETY: the instructions are there.
        Self(unsafe { _mm512_div_ps(self.0, other.0) })
    }
    #[inline(always)]
    fn mul_add(self, factor: Self, addend: Self) -> Self {
        // SAFETY: the instructions are there.
        Self(unsafe { _mm512_fmadd_ps(self.0, factor.0, addend.0) })
    }
    #[inline(always)]
    fn max(self, other: Self) -> Self {
        // SAFETY: the instructions are there.
        Self(unsafe { _mm512_max_ps(self.0, other.0) })
    }
    #[inline(always)]
    fn min(self, other: Self) -> Self {
        // SAFETY: the instructions are there.
        Self(unsafe { _mm512_min_ps(self.0, other.0) })
    }
    #[inline(always)]
    fn sqrt(self) -> Self {
        // SAFETY: the instructions are there.
        Self(unsafe { _mm512_sqrt_ps(self.0) })
    }
    #[inline(always)]
    fn round(self) -> Self {
        // SAFETY: the instructions are there.
        Self(unsafe { _mm512_roundscale_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(self.0) })
    }
    #[inline(always)]
    fn power_of_two(self) -> Self {
        // SAFETY: the instructions are there.
        unsafe {
            let exponent = _mm512_add_epi32(_mm512_cvtps_epi32(self.0), _mm512_set1_epi32(127));
            Self(_mm512_castsi512_ps(_mm512_slli_epi32::<23>(exponent)))
        }
    }
    #[inline(always)]
    fn where_less(self, other: Self, yes: Self, no: Self) -> Self {
        // SAFETY: the instructions are there.
        unsafe {
            let mask = _mm512_cmp_ps_mask::<_CMP_LT_OQ>(self.0, other.0);
            Self(_mm512_mask_blend_ps(mask, no.0, yes.0))
        }
    }
    #[inline(always)]
    fn sum(self) -> f32 {
        // SAFETY: the instructions are there.
        let [low, high] = unsafe { halves(self.0) };
        Avx2(low).add(Avx2(high)).sum()
    }
    #[inline(always)]
    fn sums_of_four(four: [Self; 4]) -> [f32; 4] {
        let [Self(a), Self(b), Self(c), Self(d)] = four;
        // SAFETY: the instructions are there.
        unsafe {
            let ab = _mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
            let cd = _mm512_add_ps(_mm512_unpacklo_ps(c, d), _mm512_unpackhi_ps(c, d));
            let (ab, cd) = (_mm512_castps_pd(ab), _mm512_castps_pd(cd));
            let even = _mm512_castpd_ps(_mm512_unpacklo_pd(ab, cd));
            let odd = _mm512_castpd_ps(_mm512_unpackhi_pd(ab, cd));
            // A quarter of each vector's sum in each quarter.
            let [low, high] = halves(_mm512_add_ps(even, odd));
            super::avx2::quarters_added(_mm256_add_ps(low, high))
        }
    }
    #[inline(always)]
    fn largest(self) -> f32 {
        // SAFETY: the instructions are there.
        let [low, high] = unsafe { halves(self.0) };
        Avx2(low).max(Avx2(high)).largest()
    }
}

/// Both halves of sixteen floats.
///
/// # Safety
/// AVX-512 F and DQ must be there.
#[inline(always)]
unsafe fn halves(floats: __m512) -> [__m256; 2] {
    // SAFETY: the caller vouches for the instructions.
    unsafe {
        [
            _mm512_castps512_ps256(floats),
            _mm512_extractf32x8_ps::<1>(floats),
        ]
    }
}

// As above. Vectors and floats are those of AVX2; what is multiplied most is taken twice as wide.
impl Integers for Avx512 {
    type Floats = Avx2;
    type Vector = __m256i;
    /// Sixteen sums.
    type Sums = __m512i;
    type Outputs = __m512i;
    type Sixteen = Self;
    const HAS_WORDS: bool = true;
    const HAS_MANY_REGISTERS: bool = true;
    const HAS_BYTES: bool = true;

    #[inline(always)]
    unsafe fn load_integers(from: *const i16) -> __m256i {
        // SAFETY: the caller vouches for the memory.
        unsafe { Avx2::load_integers(from) }
    }
    #[inline(always)]
    unsafe fn store_integers(integers: __m256i, to: *mut i16) {
        // SAFETY: the caller vouches for the memory.
        unsafe { Avx2::store_integers(integers, to) }
    }
    #[inline(always)]
    unsafe fn unpack_integers<const BITS: usize>(from: *const u8) -> __m256i {
        // SAFETY: the caller vouches for the memory.
        unsafe { Avx2::unpack_integers::<BITS>(from) }
    }
    #[inline(always)]
    unsafe fn signed_bytes(from: *const u8) -> __m256i {
        // SAFETY: the caller vouches for the memory.
        unsafe { Avx2::signed_bytes(from) }
    }
    #[inline(always)]
    unsafe fn levels(from: *const u8, upper: bool, table: &[i8; 16]) -> __m256i {
        // SAFETY: the caller vouches for the memory.
        unsafe { Avx2::levels(from, upper, table) }
    }
    #[inline(always)]
    fn sixteens(bits: u16) -> __m256i {
        Avx2::sixteens(bits)
    }
    #[inline(always)]
    fn field(numbers: __m256i, shift: u32, mask: i16) -> __m256i {
        Avx2::field(numbers, shift, mask)
    }
    #[inline(always)]
    fn shifted_left(numbers: __m256i, by: u32) -> __m256i {
        Avx2::shifted_left(numbers, by)
    }
    #[inline(always)]
    fn or(a: __m256i, b: __m256i) -> __m256i {
        Avx2::or(a, b)
    }
    #[inline(always)]
    unsafe fn unpack_words(from: *const u8) -> [__m256i; 4] {
        // SAFETY: the caller vouches for the memory.
        unsafe { Avx2::unpack_words(from) }
    }
    #[inline(always)]
    fn integers_of(low: Avx2, high: Avx2) -> __m256i {
        Avx2::integers_of(low, high)
    }
    #[inline(always)]
    unsafe fn store_words(integers: [__m256i; 4], to: *mut i16) {
        // SAFETY: the caller vouches for the memory.
        unsafe { Avx2::store_words(integers, to) }
    }
    #[inline(always)]
    fn no_sums() -> __m512i {
        // SAFETY: the instructions are there.
        unsafe { _mm512_setzero_si512() }
    }
    #[inline(always)]
    fn add_products(sums: __m512i, a: __m256i, b: __m256i) -> __m512i {
        // SAFETY: the instructions are there.
        unsafe { sums_of_products(sums, _mm512_zextsi256_si512(a), _mm512_zextsi256_si512(b)) }
    }
    #[inline(always)]
    unsafe fn add_words(sums: __m512i, from: *const u8, x: *const i16) -> __m512i {
        // SAFETY: the instructions are there, and the caller vouches for the memory.
        unsafe {
            // Sixteen words of four numbers, twice: first and second numbers side by side, then third and fourth.
            let words = _mm512_broadcast_i64x4(_mm256_loadu_si256(from.cast()));
            let mask = _mm512_set1_epi16(15);
            let four = _mm512_inserti64x4::<1>(_mm512_setzero_si512(), _mm256_set1_epi16(4));
            let first = _mm512_and_si512(_mm512_srlv_epi16(words, four), mask);
            let third = _mm512_and_si512(_mm512_srlv_epi16(_mm512_srli_epi16::<8>(words), four), mask);
            let sums = sums_of_products(sums, first, _mm512_loadu_si512(x.cast()));
            sums_of_products(sums, third, _mm512_loadu_si512(x.add(32).cast()))
        }
    }
    #[inline(always)]
    unsafe fn nibbles_and_bytes(a: *const u8, b: *const u8, x: *const i8) -> __m512i {
        // SAFETY: the instructions are there, and the caller vouches for the memory.
        unsafe {
            let bytes = _mm256_set_m128i(_mm_loadu_si128(b.cast()), _mm_loadu_si128(a.cast()));
            // What comes into the upper half from a neighbour is cut off.
            let upper = _mm256_srli_epi16::<4>(bytes);
            let both = _mm512_inserti64x4::<1>(_mm512_castsi256_si512(bytes), upper);
            let nibbles = _mm512_and_si512(both, _mm512_set1_epi8(15));
            _mm512_dpbusd_epi32(_mm512_setzero_si512(), nibbles, _mm512_loadu_si512(x.cast()))
        }
    }
    #[inline(always)]
    fn totals_of_two(s: [__m512i; 8]) -> [Avx2; 2] {
        // SAFETY: the instructions are there.
        unsafe {
            let [first, last] = quarters(s);
            // Quarters of `a` and of `b` take turns.
            let sums = _mm512_add_epi32(
                _mm512_shuffle_i64x2::<0b01_00_01_00>(first, last),
                _mm512_shuffle_i64x2::<0b11_10_11_10>(first, last),
            );
            let sums = _mm512_cvtepi32_ps(_mm512_shuffle_i64x2::<0b11_01_10_00>(sums, sums));
            let [a, b] = halves(sums);
            [Avx2(a), Avx2(b)]
        }
    }
    #[inline(always)]
    unsafe fn add_fours<const ROWS: usize>(rows: &mut [__m512i; ROWS], weights: *const u8, x: *const i8) {
        // SAFETY: the instructions are there, and the caller vouches for the memory.
        unsafe {
            let weights = _mm512_loadu_si512(weights.cast());
            for (row, sums) in rows.iter_mut().enumerate() {
                let x = _mm512_set1_epi32(x.cast::<i32>().add(row).read_unaligned());
                *sums = _mm512_dpbusd_epi32(*sums, weights, x);
            }
        }
    }
    #[inline(always)]
    fn no_outputs() -> __m512i {
        Self::no_sums()
    }
    #[inline(always)]
    unsafe fn add_pairs<const ROWS: usize>(rows: &mut [__m512i; ROWS], weights: *const i16, x: *const i16) {
        // SAFETY: the instructions are there, and the caller vouches for the memory.
        unsafe {
            let weights = _mm512_loadu_si512(weights.cast());
            for (row, sums) in rows.iter_mut().enumerate() {
                let x = _mm512_set1_epi32(x.cast::<i32>().add(row).read_unaligned());
                *sums = sums_of_products(*sums, weights, x);
            }
        }
    }
    #[inline(always)]
    unsafe fn load_sixteen(from: *const f32) -> Self {
        // SAFETY: the caller vouches for the floats.
        unsafe { Self::load(from) }
    }
    #[inline(always)]
    unsafe fn store_sixteen(floats: Self, to: *mut f32) {
        // SAFETY: the caller vouches for the floats.
        unsafe { floats.store(to) }
    }
    #[inline(always)]
    fn take_group<const BIASED: bool>(
        sums: __m512i,
        [scale, bias]: [Self; 2],
        [x_scale, x_sum]: [f32; 2],
        totals: Self,
    ) -> Self {
        // SAFETY: the instructions are there.
        let sums = Self(unsafe { _mm512_cvtepi32_ps(sums) });
        let totals = sums.fused(scale.mul(Self::splat(x_scale)), totals);
        match BIASED {
            true => bias.fused(Self::splat(x_sum), totals),
            false => totals,
        }
    }
    #[inline(always)]
    fn totals(s: [__m512i; 8]) -> Avx2 {
        // SAFETY: the instructions are there.
        unsafe {
            let [first, last] = quarters(s);
            // Two quarters of the first four outputs, two of the last four; then the other two of each.
            let even = _mm512_shuffle_i64x2::<0b10_00_10_00>(first, last);
            let odd = _mm512_shuffle_i64x2::<0b11_01_11_01>(first, last);
            let quarters = _mm512_add_epi32(even, odd);
            let low = _mm512_castsi512_si256(_mm512_shuffle_i64x2::<0b10_00_10_00>(quarters, quarters));
            let high = _mm512_castsi512_si256(_mm512_shuffle_i64x2::<0b11_01_11_01>(quarters, quarters));
            Avx2(_mm256_cvtepi32_ps(_mm256_add_epi32(low, high)))
        }
    }
}

/// Adds to each sum the products of its two integers of `a` with those of `b`.
///
/// Not by the intrinsic: the compiler makes two instructions of that, so that a sum is waited for less; here there are enough sums, and what counts
/// is how many instructions there are.
///
/// # Safety
/// AVX-512 F and VNNI must be there.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]
unsafe fn sums_of_products(mut sums: __m512i, a: __m512i, b: __m512i) -> __m512i {
    // SAFETY: the caller vouches for the instruction, which works on registers only.
    unsafe {
        asm!(
            "vpdpwssd {sums}, {a}, {b}",
            sums = inout(zmm_reg) sums,
            a = in(zmm_reg) a,
            b = in(zmm_reg) b,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    sums
}

/// In each quarter of a register, four outputs' sums of that quarter: of the first four outputs, and of the last.
///
/// # Safety
/// AVX-512 F must be there.
#[inline(always)]
unsafe fn quarters(s: [__m512i; 8]) -> [__m512i; 2] {
    // SAFETY: the caller vouches for the instructions.
    unsafe {
        let pairs = [
            added_pairs(s[0], s[1]),
            added_pairs(s[2], s[3]),
            added_pairs(s[4], s[5]),
            added_pairs(s[6], s[7]),
        ];
        [
            _mm512_add_epi32(
                _mm512_unpacklo_epi64(pairs[0], pairs[1]),
                _mm512_unpackhi_epi64(pairs[0], pairs[1]),
            ),
            _mm512_add_epi32(
                _mm512_unpacklo_epi64(pairs[2], pairs[3]),
                _mm512_unpackhi_epi64(pairs[2], pairs[3]),
            ),
        ]
    }
}

/// In each quarter: two sums of `a` and two of `b`, as neighbours `a, b, a, b`.
///
/// # Safety
/// AVX-512 F must be there.
#[inline(always)]
unsafe fn added_pairs(a: __m512i, b: __m512i) -> __m512i {
    // SAFETY: the caller vouches for the instructions.
    unsafe { _mm512_add_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b)) }
}
