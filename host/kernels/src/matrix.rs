//! Matrices in their stored form: checked once at load, then read by kernels row by row.

use std::cell::RefCell;

use crate::lanes::{Kernel, Lanes};
use monocle_tensor::scaled::{ScaledRows, SmallFloat};
use monocle_tensor::scheme::Scheme;
use monocle_tensor::stored::{Bytes, Matrix, StoredType};

/// How a dense float is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Float {
    /// binary32
    F32,
    /// binary16
    F16,
    /// Upper half of a binary32.
    BF16,
}

impl Float {
    /// Bytes of one.
    pub fn size(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::BF16 => 2,
        }
    }

    fn of(kind: StoredType) -> Result<Self, String> {
        match kind {
            StoredType::F32 => Ok(Self::F32),
            StoredType::F16 => Ok(Self::F16),
            StoredType::BF16 => Ok(Self::BF16),
            other => Err(format!("expected F32, F16 or BF16, found {}", other.name())),
        }
    }
}

/// A checked matrix, or a stack of matrices seen as one with all their rows.
#[derive(Debug, Clone)]
pub struct StoredMatrix {
    rows: usize,
    columns: usize,
    form: Form,
}

#[derive(Debug, Clone)]
enum Form {
    Dense(Float, Bytes),
    Affine {
        packed: Bytes,
        scales: Bytes,
        biases: Bytes,
        parameters: Float,
        bits: usize,
        group: usize,
    },
    Blocks(Scheme, Bytes),
    Scaled {
        elements: Bytes,
        float: SmallFloat,
        scales: Bytes,
        scale: StoredType,
        block: [usize; 2],
        rows_each: usize,
    },
}

/// A borrowed matrix `[rows, columns]`, whose bytes are known to be all there.
#[derive(Debug, Clone, Copy)]
pub struct MatrixView<'a> {
    rows: usize,
    columns: usize,
    data: Data<'a>,
}

/// The stored bytes of a [`MatrixView`].
#[derive(Debug, Clone, Copy)]
pub enum Data<'a> {
    /// One stored float an element.
    Dense(Float, &'a [u8]),
    /// `scale * q + bias`.
    Affine(Affine<'a>),
    /// Rows of blocks.
    Blocks(Scheme, &'a [u8]),
    /// Small floats with scales, turned to floats where they are used, from this row on.
    Scaled(ScaledRows<'a>, usize),
}

/// Quantised rows.
#[derive(Debug, Clone, Copy)]
pub struct Affine<'a> {
    /// `columns * bits / 8` bytes a row.
    pub packed: &'a [u8],
    /// One a group.
    pub scales: &'a [u8],
    /// One a group.
    pub biases: &'a [u8],
    /// How scales and biases are stored.
    pub parameters: Float,
    /// Bits of one element.
    pub bits: usize,
    /// Elements of one group.
    pub group: usize,
}

impl StoredMatrix {
    /// Checks a stored matrix; the error says what does not fit.
    pub fn new(matrix: &Matrix) -> Result<Self, String> {
        let [rows, columns] = matrix.check()?;
        // What is made of other bytes is made now, and not in the middle of an answer.
        for part in matrix.parts() {
            let _ = part.bytes.as_slice();
        }
        let form = match matrix {
            Matrix::Dense(tensor) => Form::Dense(Float::of(tensor.kind)?, tensor.bytes.clone()),
            Matrix::Affine {
                packed,
                scales,
                biases,
                bits,
                group_size,
            } => Form::Affine {
                packed: packed.bytes.clone(),
                scales: scales.bytes.clone(),
                biases: biases.bytes.clone(),
                parameters: Float::of(scales.kind)?,
                bits: *bits as usize,
                group: *group_size,
            },
            Matrix::Blocks { blocks, scheme } => Form::Blocks(*scheme, blocks.bytes.clone()),
            Matrix::Scaled {
                elements,
                float,
                scales,
                block,
            } => Form::Scaled {
                elements: elements.bytes.clone(),
                float: *float,
                scales: scales.bytes.clone(),
                scale: scales.kind,
                block: *block,
                rows_each: matrix.shape().iter().nth_back(1).copied().unwrap_or(rows),
            },
        };
        Ok(Self { rows, columns, form })
    }

    /// All rows.
    pub fn view(&self) -> MatrixView<'_> {
        let data = match &self.form {
            Form::Dense(float, bytes) => Data::Dense(*float, bytes.as_slice()),
            Form::Affine {
                packed,
                scales,
                biases,
                parameters,
                bits,
                group,
            } => Data::Affine(Affine {
                packed: packed.as_slice(),
                scales: scales.as_slice(),
                biases: biases.as_slice(),
                parameters: *parameters,
                bits: *bits,
                group: *group,
            }),
            Form::Blocks(scheme, bytes) => Data::Blocks(*scheme, bytes.as_slice()),
            Form::Scaled {
                elements,
                float,
                scales,
                scale,
                block,
                rows_each,
            } => {
                let rows = ScaledRows {
                    elements: elements.as_slice(),
                    float: *float,
                    scales: scales.as_slice(),
                    scale: *scale,
                    block: *block,
                    rows_each: *rows_each,
                    columns: self.columns,
                };
                Data::Scaled(rows, 0)
            }
        };
        MatrixView {
            rows: self.rows,
            columns: self.columns,
            data,
        }
    }
}

impl<'a> MatrixView<'a> {
    /// Floats in memory as a matrix.
    pub fn of_floats(values: &'a [f32], columns: usize) -> Self {
        let rows = values.len().checked_div(columns).unwrap_or(0);
        Self {
            rows,
            columns,
            data: Data::Dense(Float::F32, bytemuck::cast_slice(&values[..rows * columns])),
        }
    }

    /// How many rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// How many columns.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// The stored bytes.
    pub fn data(&self) -> Data<'a> {
        self.data
    }

    /// Some of the rows.
    pub fn part(&self, first: usize, rows: usize) -> Self {
        assert!(first + rows <= self.rows);
        let cut = |bytes: &'a [u8], row: usize| &bytes[first * row..(first + rows) * row];
        let data = match self.data {
            Data::Dense(float, bytes) => Data::Dense(float, cut(bytes, self.columns * float.size())),
            Data::Affine(affine) => {
                let parameters = self.columns / affine.group * affine.parameters.size();
                Data::Affine(Affine {
                    packed: cut(affine.packed, self.columns * affine.bits / 8),
                    scales: cut(affine.scales, parameters),
                    biases: cut(affine.biases, parameters),
                    ..affine
                })
            }
            Data::Blocks(scheme, bytes) => Data::Blocks(scheme, cut(bytes, block_row(scheme, self.columns))),
            // Scales belong to rows by their numbers.
            Data::Scaled(all, before) => Data::Scaled(all, before + first),
        };
        Self {
            rows,
            columns: self.columns,
            data,
        }
    }
}

/// Bytes of a row of blocks.
fn block_row(scheme: Scheme, columns: usize) -> usize {
    columns / scheme.elements() * scheme.bytes()
}

/// Bytes that a processor fetches together.
pub const CACHE_LINE: usize = 64;
/// How many bytes ahead a kernel asks for stored numbers that it reads in turn: the processor's own guesses end at each page.
pub const AHEAD: usize = 2048;

/// Turns columns `start..start + out.len()` of one row to floats. `start` and the length are multiples of 128, or the
/// row's end.
pub struct Decode<'a, 'b> {
    /// Whose row.
    pub matrix: MatrixView<'a>,
    /// Which row.
    pub row: usize,
    /// First column.
    pub start: usize,
    /// What is filled.
    pub out: &'b mut [f32],
}

impl Kernel for Decode<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Lanes>(self) {
        decode::<V>(self.matrix, self.row, self.start, self.out);
    }
}

/// As [`Decode`], inside another kernel.
#[inline(always)]
pub fn decode<V: Lanes>(matrix: MatrixView<'_>, row: usize, start: usize, out: &mut [f32]) {
    assert!(row < matrix.rows && start + out.len() <= matrix.columns);
    match matrix.data {
        Data::Dense(float, bytes) => {
            let first = (row * matrix.columns + start) * float.size();
            decode_dense::<V>(float, &bytes[first..first + out.len() * float.size()], out);
        }
        Data::Affine(affine) => match affine.bits {
            2 => decode_affine::<V, 2>(affine, matrix.columns, row, start, out),
            3 => decode_affine::<V, 3>(affine, matrix.columns, row, start, out),
            4 => decode_affine::<V, 4>(affine, matrix.columns, row, start, out),
            5 => decode_affine::<V, 5>(affine, matrix.columns, row, start, out),
            6 => decode_affine::<V, 6>(affine, matrix.columns, row, start, out),
            _ => decode_affine::<V, 8>(affine, matrix.columns, row, start, out),
        },
        Data::Blocks(scheme, bytes) => {
            let size = block_row(scheme, matrix.columns);
            scheme.decode_part(&bytes[row * size..][..size], start, out);
        }
        Data::Scaled(rows, before) => rows.decode(before + row, start, out),
    }
}

/// Asks for the columns `start..start + len` of one row, if there is such a row, ahead of their use.
#[inline(always)]
pub fn prefetch<V: Lanes>(matrix: MatrixView<'_>, row: usize, start: usize, len: usize) {
    let (bytes, size, elements) = match matrix.data {
        Data::Dense(float, bytes) => (bytes, float.size(), 1),
        Data::Affine(affine) => (affine.packed, affine.bits, 8),
        Data::Blocks(scheme, bytes) => (bytes, scheme.bytes(), scheme.elements()),
        Data::Scaled(rows, _) => (rows.elements, rows.float.bits(), 8),
    };
    let row = match matrix.data {
        Data::Scaled(_, before) => before + row,
        _ => row,
    };
    let first = (row * matrix.columns + start) * size / elements;
    let end = (first + len * size / elements).min(bytes.len());
    for offset in (first..end).step_by(CACHE_LINE) {
        V::prefetch(&raw const bytes[offset]);
    }
}

/// Stored floats to floats.
#[inline(always)]
pub fn decode_dense<V: Lanes>(float: Float, bytes: &[u8], out: &mut [f32]) {
    assert_eq!(bytes.len(), out.len() * float.size());
    let whole = out.len() / V::COUNT * V::COUNT;
    let (from, to) = (bytes.as_ptr(), out.as_mut_ptr());
    for index in (0..whole).step_by(V::COUNT) {
        // SAFETY: `whole` is within both slices.
        unsafe {
            let values = match float {
                Float::F32 => V::load(from.add(index * 4).cast()),
                Float::F16 => V::load_f16(from.add(index * 2)),
                Float::BF16 => V::load_bf16(from.add(index * 2)),
            };
            values.store(to.add(index));
        }
    }
    for (index, out) in out.iter_mut().enumerate().skip(whole) {
        *out = scalar(float, bytes, index);
    }
}

/// One stored float.
#[inline(always)]
pub fn scalar(float: Float, bytes: &[u8], index: usize) -> f32 {
    match float {
        Float::F32 => f32::from_le_bytes([
            bytes[index * 4],
            bytes[index * 4 + 1],
            bytes[index * 4 + 2],
            bytes[index * 4 + 3],
        ]),
        Float::F16 => half::f16::from_le_bytes([bytes[index * 2], bytes[index * 2 + 1]]).to_f32(),
        Float::BF16 => half::bf16::from_le_bytes([bytes[index * 2], bytes[index * 2 + 1]]).to_f32(),
    }
}

#[inline(always)]
fn decode_affine<V: Lanes, const BITS: usize>(
    affine: Affine<'_>,
    columns: usize,
    row: usize,
    start: usize,
    out: &mut [f32],
) {
    let groups = columns / affine.group;
    let packed = &affine.packed[(row * columns + start) * BITS / 8..][..out.len() * BITS / 8];
    for (index, part) in out.chunks_mut(affine.group).enumerate() {
        let parameter = row * groups + start / affine.group + index;
        let scale = V::splat(scalar(affine.parameters, affine.scales, parameter));
        let bias = V::splat(scalar(affine.parameters, affine.biases, parameter));
        let bytes = &packed[index * affine.group * BITS / 8..][..part.len() * BITS / 8];
        assert!(part.len() % V::COUNT == 0);
        for offset in (0..part.len()).step_by(V::COUNT) {
            // SAFETY: `part` is a multiple of the lanes long, and `bytes` has `BITS` bits for each element of it.
            unsafe {
                let values = V::unpack::<BITS>(bytes.as_ptr().add(offset * BITS / 8));
                values.mul_add(scale, bias).store(part.as_mut_ptr().add(offset));
            }
        }
    }
}

thread_local! {
    static SCRATCH: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

/// Cuts memory into parts of these sizes; what is left over is not used.
pub fn parts<const N: usize>(mut memory: &mut [f32], sizes: [usize; N]) -> [&mut [f32]; N] {
    sizes.map(|size| {
        let (part, rest) = std::mem::take(&mut memory).split_at_mut(size);
        memory = rest;
        part
    })
}

/// Lends this thread's scratch memory: `elements` floats with whatever is in them. Not to be nested.
pub fn with_scratch<R>(elements: usize, work: impl FnOnce(&mut [f32]) -> R) -> R {
    SCRATCH.with_borrow_mut(|scratch| {
        if scratch.len() < elements {
            scratch.resize(elements, 0.0);
        }
        work(&mut scratch[..elements])
    })
}
