//! Vectors of floats as wide as the processor's registers, behind one trait: each kernel is written once and compiled
//! for every instruction set.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "x86_64")]
mod avx512_bf16;
#[cfg(target_arch = "x86_64")]
mod avx512_bf16_attention;
#[cfg(target_arch = "aarch64")]
mod neon;
mod portable;

use crate::attention::Rounded;
use crate::bf16_product::Outputs;

/// A float of 16 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Half {
    /// 5 bits of exponent.
    Binary16,
    /// 8 bits of exponent, as a float of 32 bits has.
    Bfloat16,
}

/// A vector of [`Lanes::COUNT`] floats.
///
/// Values are made only inside [`Kernel::run`], which [`Instructions::run`] calls for an instruction set that is there;
/// that is what makes the implementations' intrinsics sound.
pub trait Lanes: Copy {
    /// How many floats it holds: a multiple of 8.
    const COUNT: usize;

    /// `x` in every lane.
    fn splat(x: f32) -> Self;
    /// # Safety
    /// [`Self::COUNT`] floats must be readable at `from`, of any alignment.
    unsafe fn load(from: *const f32) -> Self;
    /// # Safety
    /// [`Self::COUNT`] floats must be writable at `to`, of any alignment.
    unsafe fn store(self, to: *mut f32);
    /// # Safety
    /// `2 * COUNT` bytes must be readable at `from`.
    unsafe fn load_bf16(from: *const u8) -> Self;
    /// # Safety
    /// `2 * COUNT` bytes must be readable at `from`.
    unsafe fn load_f16(from: *const u8) -> Self;
    /// Unsigned integers of `BITS` bits (2, 3, 4, 5, 6 or 8), packed little-endian without gaps.
    ///
    /// # Safety
    /// `COUNT / 8 * BITS` bytes must be readable at `from`.
    unsafe fn unpack<const BITS: usize>(from: *const u8) -> Self;

    /// The lower and the upper halves of `COUNT` bytes, as numbers.
    ///
    /// # Safety
    /// `COUNT` bytes must be readable at `from`.
    unsafe fn unpack_nibbles(from: *const u8) -> (Self, Self);

    /// Tells the processor that this address will be read soon; any address will do.
    #[inline(always)]
    fn prefetch(_address: *const u8) {}

    /// Turns a block of 8 rows of 8 floats into its columns.
    ///
    /// # Safety
    /// 8 floats must be readable at `from` and each of the 7 strides after it, and writable at `to` likewise.
    #[inline(always)]
    unsafe fn transpose(from: *const f32, from_stride: usize, to: *mut f32, to_stride: usize) {
        for row in 0..8 {
            for column in 0..8 {
                // SAFETY: the caller vouches for both blocks.
                unsafe {
                    to.add(column * to_stride + row)
                        .write(from.add(row * from_stride + column).read())
                };
            }
        }
    }

    /// Eight binary16 at a stride of so many bytes. Of a lane count of 8 only.
    ///
    /// # Safety
    /// Two bytes must be readable at `from` and at each of the 7 strides after it.
    #[inline(always)]
    unsafe fn load_f16_apart(from: *const u8, stride: usize) -> Self {
        assert!(Self::COUNT == 8);
        // SAFETY: the caller vouches for eight of two bytes each, which are a vector.
        unsafe {
            let halves: [[u8; 2]; 8] =
                std::array::from_fn(|index| from.add(index * stride).cast::<[u8; 2]>().read());
            Self::load_f16(halves.as_ptr().cast())
        }
    }

    /// As [`Lanes::transpose`], of 8 rows of 8 binary16 or bfloat16, whose stride is in bytes; floats are written. Of a lane count of 8 only.
    ///
    /// # Safety
    /// 16 bytes must be readable at `from` and each of the 7 strides after it, and 8 floats be writable at `to` and its strides.
    #[inline(always)]
    unsafe fn transpose_halves(
        half: Half,
        from: *const u8,
        from_stride: usize,
        to: *mut f32,
        to_stride: usize,
    ) {
        assert!(Self::COUNT == 8);
        let mut rows = [0.0_f32; 64];
        // SAFETY: the caller vouches for both blocks, and there is room for eight rows of eight.
        unsafe {
            for row in 0..8 {
                let from = from.add(row * from_stride);
                let floats = match half {
                    Half::Binary16 => Self::load_f16(from),
                    Half::Bfloat16 => Self::load_bf16(from),
                };
                floats.store(rows.as_mut_ptr().add(row * 8));
            }
            Self::transpose(rows.as_ptr(), 8, to, to_stride);
        }
    }

    /// `self * factor + addend`, rounded once on every processor.
    fn fused(self, factor: Self, addend: Self) -> Self;

    /// `self + other`
    fn add(self, other: Self) -> Self;
    /// `self - other`
    fn sub(self, other: Self) -> Self;
    /// `self * other`
    fn mul(self, other: Self) -> Self;
    /// `self / other`
    fn div(self, other: Self) -> Self;
    /// `self * factor + addend`, rounded once where the processor can.
    fn mul_add(self, factor: Self, addend: Self) -> Self;
    /// The larger; `other` when `self` is not a number.
    fn max(self, other: Self) -> Self;
    /// The smaller; `other` when `self` is not a number.
    fn min(self, other: Self) -> Self;
    /// Square root.
    fn sqrt(self) -> Self;
    /// To the nearest whole number.
    fn round(self) -> Self;
    /// `2^self` for whole numbers from -126 to 127.
    fn power_of_two(self) -> Self;
    /// `yes` where `self < other`, else `no`.
    fn where_less(self, other: Self, yes: Self, no: Self) -> Self;
    /// The sum of all lanes.
    fn sum(self) -> f32;
    /// The sum of all lanes of each of four vectors; each is added in the same order, wherever it stands.
    #[inline(always)]
    fn sums_of_four(four: [Self; 4]) -> [f32; 4] {
        let [a, b, c, d] = four;
        [a.sum(), b.sum(), c.sum(), d.sum()]
    }
    /// The largest lane.
    fn largest(self) -> f32;
}

/// Vectors of 16-bit integers, and sums of their products. Results are the same bits whatever implements it.
///
/// Values are made only inside [`IntegerKernel::run`], as those of [`Lanes`] are.
pub trait Integers {
    /// Eight floats, which the sums become.
    type Floats: Lanes;
    /// Sixteen 16-bit integers.
    type Vector: Copy;
    /// Sums of 32 bits.
    type Sums: Copy;
    /// One sum of 32 bits for each of sixteen outputs.
    type Outputs: Copy;
    /// A float for each of sixteen outputs.
    type Sixteen: Copy;
    /// Whether [`Integers::unpack_words`] is faster than [`Integers::unpack_integers`].
    const HAS_WORDS: bool;
    /// Whether twelve [`Integers::Outputs`] are registers with some to spare.
    const HAS_MANY_REGISTERS: bool = false;

    /// # Safety
    /// Sixteen integers must be readable at `from`.
    unsafe fn load_integers(from: *const i16) -> Self::Vector;
    /// # Safety
    /// Sixteen integers must be writable at `to`.
    unsafe fn store_integers(integers: Self::Vector, to: *mut i16);
    /// Sixteen unsigned integers of `BITS` bits, packed little-endian without gaps.
    ///
    /// # Safety
    /// Sixteen bytes must be readable at `from`.
    unsafe fn unpack_integers<const BITS: usize>(from: *const u8) -> Self::Vector;
    /// Sixteen signed bytes.
    ///
    /// # Safety
    /// Sixteen bytes must be readable at `from`.
    unsafe fn signed_bytes(from: *const u8) -> Self::Vector;
    /// What a table has for the lower or the upper halves of sixteen bytes.
    ///
    /// # Safety
    /// Sixteen bytes must be readable at `from`.
    unsafe fn levels(from: *const u8, upper: bool, table: &[i8; 16]) -> Self::Vector;
    /// 16 in each lane whose bit is set, from the lowest on.
    fn sixteens(bits: u16) -> Self::Vector;
    /// Numbers that are not negative, shifted to the right, and what `mask` leaves of them.
    fn field(numbers: Self::Vector, shift: u32, mask: i16) -> Self::Vector;
    /// Numbers shifted to the left.
    fn shifted_left(numbers: Self::Vector, by: u32) -> Self::Vector;
    /// The bits of both.
    fn or(a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// Numbers of at most 16 bits, rounded to the nearest: those of `low`, then those of `high`.
    fn integers_of(low: Self::Floats, high: Self::Floats) -> Self::Vector;
    /// Stores 64 integers in the order of [`Integers::unpack_words`].
    ///
    /// # Safety
    /// 64 integers must be writable at `to`.
    #[inline(always)]
    unsafe fn store_words(integers: [Self::Vector; 4], to: *mut i16) {
        let mut plain = [0_i16; 64];
        for (part, integers) in integers.into_iter().enumerate() {
            // SAFETY: there is room for four times sixteen.
            unsafe { Self::store_integers(integers, plain[part * 16..][..16].as_mut_ptr()) };
        }
        for (index, number) in plain.into_iter().enumerate() {
            // SAFETY: the caller vouches for 64.
            unsafe { to.add(index % 4 * 16 + index / 4).write(number) };
        }
    }
    /// 64 integers of 4 bits: every fourth from the first on, then from the second on, and so on.
    ///
    /// # Safety
    /// 32 bytes must be readable at `from`.
    unsafe fn unpack_words(from: *const u8) -> [Self::Vector; 4];
    /// Nothing yet.
    fn no_sums() -> Self::Sums;
    /// Adds to each sum two neighbours' products.
    fn add_products(sums: Self::Sums, a: Self::Vector, b: Self::Vector) -> Self::Sums;
    /// What the sums of each come to, as floats.
    fn totals(sums: [Self::Sums; 8]) -> Self::Floats;

    /// Adds the products of the 64 numbers of [`Integers::unpack_words`] with 64 integers.
    ///
    /// # Safety
    /// 32 bytes must be readable at `from`, and 64 integers at `x`.
    #[inline(always)]
    unsafe fn add_words(mut sums: Self::Sums, from: *const u8, x: *const i16) -> Self::Sums {
        // SAFETY: the caller vouches for both.
        unsafe {
            for (part, numbers) in Self::unpack_words(from).into_iter().enumerate() {
                sums = Self::add_products(sums, numbers, Self::load_integers(x.add(part * 16)));
            }
        }
        sums
    }

    /// Whether there are instructions for products of bytes; else what needs them is never called.
    const HAS_BYTES: bool = false;
    /// Sums of the products of two groups of 32 numbers of 4 bits with bytes: the lower halves of 16 bytes `a`, then of `b`, their upper halves
    /// likewise. [`Integers::totals_of_two`] says what they come to.
    ///
    /// # Safety
    /// 16 bytes must be readable at `a` and at `b`, and 64 at `x`.
    #[inline(always)]
    unsafe fn nibbles_and_bytes(_a: *const u8, _b: *const u8, _x: *const i8) -> Self::Sums {
        unreachable!("there are no instructions for bytes")
    }
    /// What sums of [`Integers::nibbles_and_bytes`] come to for `a`, and for `b`.
    #[inline(always)]
    fn totals_of_two(_sums: [Self::Sums; 8]) -> [Self::Floats; 2] {
        unreachable!("there are no instructions for bytes")
    }
    /// As [`Integers::add_pairs`] for four weights and four bytes. Weights are of 4 bits.
    ///
    /// # Safety
    /// 64 weights must be readable at `weights`, and four bytes for each row at `x`.
    #[inline(always)]
    unsafe fn add_fours<const ROWS: usize>(
        _rows: &mut [Self::Outputs; ROWS],
        _weights: *const u8,
        _x: *const i8,
    ) {
        unreachable!("there are no instructions for bytes")
    }

    /// Nothing yet, of any output.
    fn no_outputs() -> Self::Outputs;
    /// Adds to each output's sum, in each of some rows, the products of its two weights, which lie side by side, with the row's two integers.
    ///
    /// # Safety
    /// 32 integers must be readable at `weights`, and two for each row at `x`.
    unsafe fn add_pairs<const ROWS: usize>(
        rows: &mut [Self::Outputs; ROWS],
        weights: *const i16,
        x: *const i16,
    );
    /// # Safety
    /// Sixteen floats must be readable at `from`.
    unsafe fn load_sixteen(from: *const f32) -> Self::Sixteen;
    /// # Safety
    /// Sixteen floats must be writable at `to`.
    unsafe fn store_sixteen(floats: Self::Sixteen, to: *mut f32);
    /// Takes a group into the totals of sixteen outputs: `total = fused(sum, scale · x scale, total)`, and then, where they are `BIASED`,
    /// `total = fused(bias, x sum, total)`.
    fn take_group<const BIASED: bool>(
        sums: Self::Outputs,
        parameters: [Self::Sixteen; 2],
        x: [f32; 2],
        totals: Self::Sixteen,
    ) -> Self::Sixteen;
}

/// [`Integers::take_group`] where sixteen floats are two vectors.
#[inline(always)]
fn take_group_by_halves<V: Lanes, const BIASED: bool>(
    sums: [V; 2],
    [scales, biases]: [[V; 2]; 2],
    [x_scale, x_sum]: [f32; 2],
    mut totals: [V; 2],
) -> [V; 2] {
    for (half, sum) in sums.into_iter().enumerate() {
        totals[half] = sum.fused(scales[half].mul(V::splat(x_scale)), totals[half]);
        if BIASED {
            totals[half] = biases[half].fused(V::splat(x_sum), totals[half]);
        }
    }
    totals
}

/// Work that is compiled for each instruction set. Implementations mark `run`, and what it calls with lanes,
/// `#[inline(always)]`: only then are they compiled with the instruction set switched on. Closures cannot be marked so,
/// and must not work with lanes.
pub trait Kernel {
    /// What it gives.
    type Output;
    /// Does the work.
    fn run<V: Lanes>(self) -> Self::Output;
}

/// As [`Kernel`], for work with integers.
pub trait IntegerKernel {
    /// Does the work.
    fn run<I: Integers>(self);
}

/// An instruction set that this engine has kernels for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Instructions {
    /// Whatever the compiler makes of plain loops.
    Portable,
    /// AVX2 with FMA and F16C.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// AVX-512 with BW, DQ, VL and VNNI, beside AVX2.
    #[cfg(target_arch = "x86_64")]
    Avx512,
    /// NEON.
    #[cfg(target_arch = "aarch64")]
    Neon,
}

impl Instructions {
    /// All that this processor has, best first.
    pub fn available() -> Vec<Self> {
        Self::special().into_iter().chain([Self::Portable]).collect()
    }

    /// All that there are kernels for on this kind of processor, best first, whether this one has them or not.
    pub fn known() -> Vec<Self> {
        vec![
            #[cfg(target_arch = "x86_64")]
            Self::Avx512,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2,
            #[cfg(target_arch = "aarch64")]
            Self::Neon,
            Self::Portable,
        ]
    }

    /// What only some processors have, best first.
    #[cfg(target_arch = "x86_64")]
    fn special() -> Vec<Self> {
        let has_avx2 = is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma")
            && is_x86_feature_detected!("f16c");
        let has_avx512 = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512vnni");
        match (has_avx2, has_avx512) {
            (true, true) => vec![Self::Avx512, Self::Avx2],
            (true, false) => vec![Self::Avx2],
            _ => Vec::new(),
        }
    }

    /// Every processor of this kind has it.
    #[cfg(target_arch = "aarch64")]
    fn special() -> Vec<Self> {
        vec![Self::Neon]
    }

    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    fn special() -> Vec<Self> {
        Vec::new()
    }

    /// Its name, for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Portable => "portable",
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => "AVX2",
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => "AVX512",
            #[cfg(target_arch = "aarch64")]
            Self::Neon => "NEON",
        }
    }
}

/// An instruction set that is known to be there.
#[derive(Debug, Clone, Copy)]
pub struct Processor(Instructions);

impl Processor {
    /// The best that there is.
    pub fn best() -> Self {
        Self(Instructions::available()[0])
    }

    /// This one, if it is there.
    pub fn with(instructions: Instructions) -> Option<Self> {
        Instructions::available()
            .contains(&instructions)
            .then_some(Self(instructions))
    }

    /// Which it is.
    pub fn instructions(self) -> Instructions {
        self.0
    }

    /// Whether it has instructions for products of bf16: then [`Self::round_to_bf16`] and [`Self::multiply_bf16`] may be called.
    pub fn multiplies_bf16(self) -> bool {
        #[cfg(target_arch = "x86_64")]
        let has_them = self.0 == Instructions::Avx512 && is_x86_feature_detected!("avx512bf16");
        #[cfg(not(target_arch = "x86_64"))]
        let has_them = false;
        has_them
    }

    /// Rounds eight rows of `k` numbers, or fewer: `[k / 2][8][2]`, zeros for rows that are not there.
    pub fn round_to_bf16(self, rows: &[f32], k: usize, out: &mut [u16]) {
        assert!(self.multiplies_bf16());
        // SAFETY: the instructions are there.
        #[cfg(target_arch = "x86_64")]
        unsafe {
            avx512_bf16::round(rows, k, out);
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = (rows, k, out);
    }

    /// Attention of several rows, rounded to bf16. There must be as much scratch as it says.
    pub fn attend_in_bf16(self, work: Rounded<'_>, scratch: &mut [f32]) {
        assert!(self.multiplies_bf16());
        // SAFETY: the instructions are there.
        #[cfg(target_arch = "x86_64")]
        unsafe {
            avx512_bf16_attention::attend(work, scratch);
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = (work, scratch);
    }

    /// Computes some outputs of rounded rows.
    pub fn multiply_bf16(self, task: Outputs<'_>) {
        assert!(self.multiplies_bf16());
        // SAFETY: the instructions are there.
        #[cfg(target_arch = "x86_64")]
        unsafe {
            avx512_bf16::multiply(task);
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = task;
    }

    /// Runs a kernel with it.
    pub fn run<K: Kernel>(self, kernel: K) -> K::Output {
        match self.0 {
            Instructions::Portable => kernel.run::<portable::Array>(),
            // SAFETY: a `Processor` holds only an instruction set that was found.
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx2 => unsafe { avx2::run(kernel) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx512 => unsafe { avx512::run(kernel) },
            // SAFETY: every aarch64 processor that Rust supports has NEON.
            #[cfg(target_arch = "aarch64")]
            Instructions::Neon => unsafe { neon::run(kernel) },
        }
    }

    /// Runs a kernel of integers with it.
    pub fn run_integers<K: IntegerKernel>(self, kernel: K) {
        match self.0 {
            Instructions::Portable => kernel.run::<portable::Array>(),
            // SAFETY: a `Processor` holds only an instruction set that was found.
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx2 => unsafe { avx2::run_integers(kernel) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx512 => unsafe { avx512::run_integers(kernel) },
            // SAFETY: every aarch64 processor that Rust supports has NEON.
            #[cfg(target_arch = "aarch64")]
            Instructions::Neon => unsafe { neon::run_integers(kernel) },
        }
    }
}
