//! Products of matrices: blocked and packed, so that each number is read from memory a few times only. After Goto and
//! van de Geijn, "Anatomy of high-performance matrix multiplication" (2008).

use crate::few_rows::{self, EvenThenOdd, FewRows, group_sums};
pub use crate::few_rows::{MOST_ROWS, MOST_ROWS_OF_AFFINE};
use crate::lanes::{Kernel, Lanes, Processor};
use crate::matrix::{Data, MatrixView, decode, prefetch, with_scratch};
use crate::memory::Memory;
use crate::output::Shared;
use crate::threads::Threads;

/// Rows of the left operand that one micro-kernel takes.
pub const TILE_ROWS: usize = 6;
/// Columns of the result that one micro-kernel gives, at most.
pub const TILE_COLUMNS: usize = 32;
/// Inner elements of one block: a multiple of every quantisation group.
const BLOCK_INNER: usize = 256;
/// Left rows packed at a time.
const BLOCK_ROWS: usize = 768;
/// Columns of the result that one thread takes at a time.
const BLOCK_COLUMNS: usize = 64;

/// The right operand of a product.
#[derive(Debug, Clone, Copy)]
pub enum Right<'a> {
    /// `[n, k]`, as stored: the product is `a bᵀ`.
    Rows(MatrixView<'a>),
    /// `[k, n]`: the product is `a b`.
    Columns(&'a [f32]),
}

/// `out = a b (+ bias)`: a `[m, k]`, out `[m, n]`.
pub struct Product<'a> {
    /// Rows of `a` and `out`.
    pub m: usize,
    /// Columns of `out`.
    pub n: usize,
    /// Columns of `a`.
    pub k: usize,
    /// `[m, k]`
    pub a: &'a [f32],
    /// The right operand.
    pub b: Right<'a>,
    /// `[n]`, added to each row.
    pub bias: Option<&'a [f32]>,
}

/// Elements of a packed left operand `[rows, inner]`, a block of rows at a time.
pub fn packed_elements(rows: usize, inner: usize) -> usize {
    rows.min(BLOCK_ROWS)
        .next_multiple_of(TILE_ROWS)
        .saturating_mul(inner)
}

impl Product<'_> {
    /// Computes it with all threads.
    pub fn run(&self, processor: Processor, threads: &Threads, memory: &Memory, out: &mut [f32]) {
        self.run_changed(processor, threads, memory, |x| x, out);
    }

    /// As [`Self::run`], the left operand rounded to bf16.
    pub fn run_rounded(&self, processor: Processor, threads: &Threads, memory: &Memory, out: &mut [f32]) {
        let round = |x: f32| half::bf16::from_f32(x).to_f32();
        match self.b {
            // A few rows are read as they lie.
            Right::Rows(matrix) if self.m <= few_rows::most_rows(matrix) => {
                let mut buffer = memory.take(self.a.len());
                let a = &mut buffer.floats_mut()[..self.a.len()];
                for (a, x) in a.iter_mut().zip(self.a) {
                    *a = round(*x);
                }
                Product { a, ..*self }.run(processor, threads, memory, out);
            }
            _ => self.run_changed(processor, threads, memory, round, out),
        }
    }

    /// As [`Self::run`]; what is packed of the left operand is changed by `change`.
    fn run_changed(
        &self,
        processor: Processor,
        threads: &Threads,
        memory: &Memory,
        change: impl Fn(f32) -> f32 + Copy + Sync,
        out: &mut [f32],
    ) {
        self.check(out);
        if self.is_trivial(out) {
            return;
        }
        let worth_sharing = self.m * self.n * self.k >= 64 * 1024;
        let shared = Shared::new(out);
        match self.b {
            Right::Rows(matrix) if self.m <= few_rows::most_rows(matrix) => {
                self.with_arranged(processor, matrix, memory, |x, sums| {
                    // Enough chunks to even out threads, each large enough to hide the cost of fetching it.
                    let chunk = if worth_sharing && threads.count() > 1 {
                        let least = (16 * 1024 / self.k.max(1)).max(4);
                        let chunk = self.n.div_ceil(threads.count() * 8).max(least);
                        chunk.next_multiple_of(few_rows::TILE_STORED)
                    } else {
                        self.n
                    };
                    threads.parallel(self.n.div_ceil(chunk), |index| {
                        let first = index * chunk;
                        self.few_rows(
                            processor,
                            matrix,
                            [x, sums],
                            [first, chunk.min(self.n - first)],
                            &shared,
                        );
                    });
                });
            }
            _ => {
                for first in (0..self.m).step_by(BLOCK_ROWS) {
                    let rows = BLOCK_ROWS.min(self.m - first);
                    let panels = rows.div_ceil(TILE_ROWS);
                    let len = packed_elements(rows, self.k);
                    let mut buffer = memory.take(len);
                    let packed = &mut buffer.floats_mut()[..len];
                    let all = Shared::new(packed);
                    let group = if worth_sharing { 8 } else { panels };
                    threads.parallel(panels.div_ceil(group), |index| {
                        for panel in index * group..((index + 1) * group).min(panels) {
                            // SAFETY: each panel is packed by one thread.
                            let part = unsafe { all.part(panel * TILE_ROWS * self.k, TILE_ROWS * self.k) };
                            self.pack_left(first + panel * TILE_ROWS, change, part);
                        }
                    });
                    let packed = &*packed;
                    let chunk = if worth_sharing { BLOCK_COLUMNS } else { self.n };
                    threads.parallel(self.n.div_ceil(chunk), |index| {
                        let start = index * chunk;
                        let end = (start + chunk).min(self.n);
                        for column in (start..end).step_by(BLOCK_COLUMNS) {
                            self.columns(
                                processor,
                                packed,
                                [first, rows],
                                column,
                                BLOCK_COLUMNS.min(end - column),
                                &shared,
                            );
                        }
                    });
                }
            }
        }
    }

    /// Computes it on this thread alone; the right operand is not quantised.
    pub fn run_alone(&self, processor: Processor, out: &mut [f32]) {
        self.check(out);
        if self.is_trivial(out) {
            return;
        }
        let shared = Shared::new(out);
        match self.b {
            Right::Rows(matrix) if self.m <= few_rows::most_rows(matrix) => {
                self.few_rows(processor, matrix, [self.a, &[]], [0, self.n], &shared);
            }
            _ => {
                let panels = self.m.div_ceil(TILE_ROWS);
                let mut packed = vec![0.0; panels * TILE_ROWS * self.k];
                for (panel, part) in packed.chunks_mut((TILE_ROWS * self.k).max(1)).enumerate() {
                    self.pack_left(panel * TILE_ROWS, |x| x, part);
                }
                for column in (0..self.n).step_by(BLOCK_COLUMNS) {
                    let count = BLOCK_COLUMNS.min(self.n - column);
                    self.columns(processor, &packed, [0, self.m], column, count, &shared);
                }
            }
        }
    }

    /// Whether there is nothing to multiply; the result is there then.
    fn is_trivial(&self, out: &mut [f32]) -> bool {
        if self.k == 0 && !out.is_empty() {
            for row in out.chunks_exact_mut(self.n) {
                match self.bias {
                    Some(bias) => row.copy_from_slice(bias),
                    None => row.fill(0.0),
                }
            }
        }
        out.is_empty() || self.k == 0
    }

    fn check(&self, out: &[f32]) {
        assert_eq!(self.a.len(), self.m * self.k);
        assert_eq!(out.len(), self.m * self.n);
        assert!(self.bias.is_none_or(|bias| bias.len() == self.n));
        match self.b {
            Right::Rows(matrix) => {
                assert!(self.k == 0 || (matrix.rows() == self.n && matrix.columns() == self.k))
            }
            Right::Columns(b) => assert_eq!(b.len(), self.k * self.n),
        }
    }

    /// Gives `work` the left operand as few-row kernels want it for this matrix, and the sums of its groups.
    fn with_arranged(
        &self,
        processor: Processor,
        matrix: MatrixView<'_>,
        memory: &Memory,
        work: impl FnOnce(&[f32], &[f32]),
    ) {
        let Data::Affine(affine) = matrix.data() else {
            return work(self.a, &[]);
        };
        let len = self.m * (self.k / affine.group);
        let mut buffer = memory.take(len);
        let sums = &mut buffer.floats_mut()[..len];
        group_sums(self.a, affine.group, sums);
        if affine.bits != 4 {
            return work(self.a, sums);
        }
        let mut arranged = memory.take(self.a.len());
        let out = &mut arranged.floats_mut()[..self.a.len()];
        processor.run(EvenThenOdd { x: self.a, out });
        work(out, sums);
    }

    fn few_rows(
        &self,
        processor: Processor,
        matrix: MatrixView<'_>,
        [x, sums]: [&[f32]; 2],
        [first, count]: [usize; 2],
        out: &Shared<'_, f32>,
    ) {
        with_scratch(few_rows::scratch_len(matrix), |scratch| {
            processor.run(FewRows {
                x,
                m: self.m,
                sums,
                matrix,
                bias: self.bias,
                first,
                count,
                out,
                scratch,
            });
        });
    }

    /// Rows `first..` of the left operand, six at a time side by side: `[k, 6]`, zeros where there is no row.
    fn pack_left(&self, first: usize, change: impl Fn(f32) -> f32, out: &mut [f32]) {
        for lane in 0..TILE_ROWS {
            let row = first + lane;
            if row < self.m {
                let values = &self.a[row * self.k..(row + 1) * self.k];
                for (slot, value) in out[lane..].iter_mut().step_by(TILE_ROWS).zip(values) {
                    *slot = change(*value);
                }
            } else {
                out[lane..]
                    .iter_mut()
                    .step_by(TILE_ROWS)
                    .for_each(|slot| *slot = 0.0);
            }
        }
    }

    fn columns(
        &self,
        processor: Processor,
        packed: &[f32],
        [first_row, rows]: [usize; 2],
        first_column: usize,
        columns: usize,
        out: &Shared<'_, f32>,
    ) {
        with_scratch((BLOCK_COLUMNS + 8) * BLOCK_INNER, |scratch| {
            processor.run(Columns {
                product: self,
                packed,
                first_row,
                rows,
                first_column,
                columns,
                out,
                scratch,
            });
        });
    }
}

/// Some columns of the result, for packed left rows.
struct Columns<'a> {
    product: &'a Product<'a>,
    packed: &'a [f32],
    first_row: usize,
    rows: usize,
    first_column: usize,
    columns: usize,
    out: &'a Shared<'a, f32>,
    /// A block of the right operand in panels, then eight rows of it.
    scratch: &'a mut [f32],
}

impl Kernel for Columns<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Lanes>(self) {
        let Product { n, k, bias, .. } = *self.product;
        let width = 2 * V::COUNT;
        let (panels, rows) = self.scratch.split_at_mut(BLOCK_COLUMNS * BLOCK_INNER);
        let mut start = 0;
        loop {
            let inner = BLOCK_INNER.min(k - start);
            pack_right::<V>(
                self.product,
                self.first_column,
                self.columns,
                start,
                inner,
                panels,
                rows,
            );
            for tile in (0..self.rows).step_by(TILE_ROWS) {
                let left = &self.packed[(tile * k + start * TILE_ROWS)..][..inner * TILE_ROWS];
                let tile_rows = TILE_ROWS.min(self.rows - tile);
                for column in (0..self.columns).step_by(width) {
                    let right = &panels[column * inner..][..inner * width];
                    let tile_columns = width.min(self.columns - column);
                    let first = self.first_column + column;
                    let initial = match (start, bias) {
                        (0, None) => Initial::Zero,
                        (0, Some(bias)) => Initial::Row(&bias[first..first + tile_columns]),
                        _ => Initial::Present,
                    };
                    let at = (self.first_row + tile) * n + first;
                    // SAFETY: the tile lies in this kernel's own columns of the result.
                    unsafe {
                        multiply_tile::<V>(
                            Left::packed(left),
                            right.as_ptr(),
                            width,
                            inner,
                            Tile {
                                at: self.out.at(at),
                                stride: n,
                                rows: tile_rows,
                                columns: tile_columns,
                            },
                            initial,
                        );
                    }
                }
            }
            start += inner;
            if start >= k {
                break;
            }
        }
    }
}

/// Columns of the right operand, two vectors' width at a time: `[panels][inner][width]`, zeros beyond the last column.
#[inline(always)]
fn pack_right<V: Lanes>(
    product: &Product<'_>,
    first: usize,
    columns: usize,
    start: usize,
    inner: usize,
    panels: &mut [f32],
    rows: &mut [f32],
) {
    let width = 2 * V::COUNT;
    for (index, panel) in panels.chunks_mut((inner * width).max(1)).enumerate() {
        let column = index * width;
        if column >= columns {
            break;
        }
        let count = width.min(columns - column);
        if count < width {
            panel.fill(0.0);
        }
        match product.b {
            Right::Rows(matrix) => {
                for eight in (0..count).step_by(8) {
                    let lanes = 8.min(count - eight);
                    for lane in 8..16 {
                        prefetch::<V>(matrix, first + column + eight + lane, start, inner);
                    }
                    for (lane, row) in rows.chunks_exact_mut(inner).take(lanes).enumerate() {
                        decode::<V>(matrix, first + column + eight + lane, start, row);
                    }
                    turn::<V>(&rows[..lanes * inner], inner, inner, &mut panel[eight..], width);
                }
            }
            Right::Columns(b) => {
                for index in 0..inner {
                    let from = (start + index) * product.n + first + column;
                    panel[index * width..][..count].copy_from_slice(&b[from..from + count]);
                }
            }
        }
    }
}

/// Rows of `len` floats, `stride` apart (eight at most), side by side: `[len][width]`.
#[inline(always)]
pub fn turn<V: Lanes>(rows: &[f32], stride: usize, len: usize, out: &mut [f32], width: usize) {
    let lanes = (rows.len() + stride - len) / stride;
    let mut done = 0;
    if lanes == 8 {
        assert!(rows.len() >= 7 * stride + len && out.len() >= len.saturating_sub(1) * width + 8);
        while done + 8 <= len {
            // SAFETY: eight rows hold eight floats from `done` on, and so does the result.
            unsafe {
                V::transpose(
                    rows.as_ptr().add(done),
                    stride,
                    out.as_mut_ptr().add(done * width),
                    width,
                );
            }
            done += 8;
        }
    }
    if done == len {
        return;
    }
    for (lane, row) in rows.chunks(stride).take(lanes).enumerate() {
        let slots = out[done * width + lane..].iter_mut().step_by(width);
        for (slot, value) in slots.zip(&row[done..len]) {
            *slot = *value;
        }
    }
}

/// Where a micro-kernel's result goes.
#[derive(Clone, Copy)]
pub struct Tile {
    /// Its first element.
    pub at: *mut f32,
    /// Elements from one row to the next.
    pub stride: usize,
    /// Rows that are wanted, at most [`TILE_ROWS`].
    pub rows: usize,
    /// Columns that are wanted, at most two vectors.
    pub columns: usize,
}

/// What the product is added to.
#[derive(Clone, Copy)]
pub enum Initial<'a> {
    /// Nothing.
    Zero,
    /// The same row everywhere.
    Row(&'a [f32]),
    /// What is there.
    Present,
}

/// The left operand of a tile: six rows.
#[derive(Clone, Copy)]
pub struct Left<'a> {
    /// Its numbers.
    pub numbers: &'a [f32],
    /// From a row to the next.
    pub row_stride: usize,
    /// From an inner element to the next.
    pub inner_stride: usize,
}

impl<'a> Left<'a> {
    /// Rows side by side: `[inner, 6]`.
    #[inline(always)]
    pub fn packed(numbers: &'a [f32]) -> Self {
        Self {
            numbers,
            row_stride: 1,
            inner_stride: TILE_ROWS,
        }
    }
}

/// The micro-kernel: six rows times `right [inner, 2 vectors]` (rows `right_stride` apart).
///
/// # Safety
/// `inner` rows of two vectors must be readable at `right`, and the tile's rows and columns writable.
#[inline(always)]
pub unsafe fn multiply_tile<V: Lanes>(
    left: Left<'_>,
    right: *const f32,
    right_stride: usize,
    inner: usize,
    tile: Tile,
    initial: Initial<'_>,
) {
    let last = (TILE_ROWS - 1) * left.row_stride + inner.saturating_sub(1) * left.inner_stride;
    assert!((inner == 0 || left.numbers.len() > last) && tile.rows <= TILE_ROWS);
    let whole = tile.rows == TILE_ROWS && tile.columns == 2 * V::COUNT;
    let mut edge = [0.0_f32; TILE_ROWS * TILE_COLUMNS];
    let (at, stride) = if whole {
        (tile.at, tile.stride)
    } else {
        (edge.as_mut_ptr(), TILE_COLUMNS)
    };
    let mut sums = [[V::splat(0.0); 2]; TILE_ROWS];
    assert!(!matches!(initial, Initial::Row(row) if row.len() > tile.columns));
    // SAFETY: the caller vouches for `right` and the tile; `edge` holds any tile; `left` is long enough.
    unsafe {
        match initial {
            Initial::Zero => {}
            Initial::Row(row) if !whole => {
                for index in 0..tile.rows {
                    std::ptr::copy_nonoverlapping(row.as_ptr(), at.add(index * stride), row.len());
                }
            }
            Initial::Row(row) => {
                assert!(row.len() == 2 * V::COUNT);
                for sum in &mut sums {
                    *sum = [V::load(row.as_ptr()), V::load(row.as_ptr().add(V::COUNT))];
                }
            }
            Initial::Present if !whole => {
                for row in 0..tile.rows {
                    let from = tile.at.add(row * tile.stride);
                    std::ptr::copy_nonoverlapping(from, at.add(row * stride), tile.columns);
                }
            }
            Initial::Present => {}
        }
        if !whole || matches!(initial, Initial::Present) {
            for (row, sum) in sums.iter_mut().enumerate() {
                let from = at.add(row * stride);
                *sum = [V::load(from), V::load(from.add(V::COUNT))];
            }
        }
        let (mut a, mut b) = (left.numbers.as_ptr(), right);
        for _ in 0..inner {
            let (b0, b1) = (V::load(b), V::load(b.add(V::COUNT)));
            for (row, sum) in sums.iter_mut().enumerate() {
                let value = V::splat(a.add(row * left.row_stride).read());
                sum[0] = value.mul_add(b0, sum[0]);
                sum[1] = value.mul_add(b1, sum[1]);
            }
            a = a.add(left.inner_stride);
            b = b.add(right_stride);
        }
        for (row, sum) in sums.iter().enumerate() {
            let to = at.add(row * stride);
            sum[0].store(to);
            sum[1].store(to.add(V::COUNT));
        }
        if !whole {
            for row in 0..tile.rows {
                let to = tile.at.add(row * tile.stride);
                std::ptr::copy_nonoverlapping(at.add(row * stride), to, tile.columns);
            }
        }
    }
}
