//! Matrices of bf16 times activations that are rounded to bf16. Products and their sums are floats of 32 bits. Some processors multiply and add
//! two such numbers at a time in each lane, and so twice as many as of 32 bits; elsewhere this is as fast as any product, and no faster.

use bytemuck::cast_slice_mut;

use crate::lanes::Processor;
use crate::matrix::{Data, Float, MatrixView, with_scratch};
use crate::memory::Memory;
use crate::output::{Shared, by_rows};
use crate::product::{MOST_ROWS, Product, Right};
use crate::threads::Threads;

/// Rows of activations that are multiplied together.
pub const TILE_ROWS: usize = 8;
/// Outputs that are multiplied together, at most: three vectors.
pub const TILE_OUTPUTS: usize = 48;
/// Inner elements of one block.
pub const BLOCK_INNER: usize = 256;
/// Rows of activations that are rounded at a time.
const BLOCK_ROWS: usize = 768;

/// Rows of activations times a matrix of bf16: `x` is `[m, k]`, `out` `[m, n]`.
pub struct Bf16Product<'a> {
    /// Rows of `x` and `out`.
    pub m: usize,
    /// `[m, k]`
    pub x: &'a [f32],
    /// `[n, k]`
    pub matrix: MatrixView<'a>,
    /// `[n]`, added to each row.
    pub bias: Option<&'a [f32]>,
}

/// Some outputs of all rounded rows.
pub struct Outputs<'a> {
    /// `[n, k]`, bf16.
    pub stored: &'a [u8],
    /// Numbers of a row, an even number.
    pub k: usize,
    /// `[m / 8][k / 2][8][2]`, bf16, zeros where there is no row.
    pub x: &'a [u16],
    /// How many rows there are, and the first one's number in `out`.
    pub rows: [usize; 2],
    /// The first output, and how many: [`TILE_OUTPUTS`] at most.
    pub outputs: [usize; 2],
    /// Outputs in a row of `out`.
    pub n: usize,
    /// `[n]`
    pub bias: Option<&'a [f32]>,
    /// `[m, n]`
    pub out: &'a Shared<'a, f32>,
    /// Room for [`scratch_len`].
    pub scratch: &'a mut [f32],
}

/// Floats that [`Outputs`] needs: a block of stored rows, two numbers in each.
pub fn scratch_len() -> usize {
    TILE_OUTPUTS * BLOCK_INNER / 2
}

impl<'a> Bf16Product<'a> {
    /// The product, where the matrix is of bf16.
    pub fn of(m: usize, x: &'a [f32], matrix: MatrixView<'a>, bias: Option<&'a [f32]>) -> Option<Self> {
        let is_bf16 = matches!(matrix.data(), Data::Dense(Float::BF16, _)) && matrix.columns() > 0;
        is_bf16.then_some(Self { m, x, matrix, bias })
    }

    /// Computes it with all threads.
    pub fn run(&self, processor: Processor, threads: &Threads, memory: &Memory, out: &mut [f32]) {
        let (n, k) = (self.matrix.rows(), self.matrix.columns());
        assert_eq!((self.x.len(), out.len()), (self.m * k, self.m * n));
        assert!(self.bias.is_none_or(|bias| bias.len() == n));
        if out.is_empty() {
            return;
        }
        match self.matrix.data() {
            // For a few rows, reading the matrix is what takes time.
            Data::Dense(Float::BF16, stored)
                if self.m > MOST_ROWS && k.is_multiple_of(2) && processor.multiplies_bf16() =>
            {
                self.run_in_pairs(stored, processor, threads, memory, out);
            }
            _ => {
                let product = Product {
                    m: self.m,
                    n,
                    k,
                    a: self.x,
                    b: Right::Rows(self.matrix),
                    bias: self.bias,
                };
                product.run_rounded(processor, threads, memory, out);
            }
        }
    }

    fn run_in_pairs(
        &self,
        stored: &[u8],
        processor: Processor,
        threads: &Threads,
        memory: &Memory,
        out: &mut [f32],
    ) {
        let (n, k) = (self.matrix.rows(), self.matrix.columns());
        let shared = Shared::new(out);
        for first in (0..self.m).step_by(BLOCK_ROWS) {
            let rows = BLOCK_ROWS.min(self.m - first);
            let panel = TILE_ROWS * k;
            let len = rows.div_ceil(TILE_ROWS) * panel;
            let mut buffer = memory.take(len.div_ceil(2));
            let rounded = &mut cast_slice_mut::<f32, u16>(&mut buffer.floats_mut()[..len.div_ceil(2)])[..len];
            by_rows(threads, rounded, panel, panel, |index, panels| {
                for (at, out) in panels.chunks_exact_mut(panel).enumerate() {
                    let row = first + (index + at) * TILE_ROWS;
                    let there = TILE_ROWS.min(self.m - row);
                    processor.round_to_bf16(&self.x[row * k..][..there * k], k, out);
                }
            });
            let rounded = &*rounded;
            threads.parallel(n.div_ceil(TILE_OUTPUTS), |index| {
                let start = index * TILE_OUTPUTS;
                with_scratch(scratch_len(), |scratch| {
                    processor.multiply_bf16(Outputs {
                        stored,
                        k,
                        x: rounded,
                        rows: [rows, first],
                        outputs: [start, TILE_OUTPUTS.min(n - start)],
                        n,
                        bias: self.bias,
                        out: &shared,
                        scratch,
                    });
                });
            });
        }
    }
}
