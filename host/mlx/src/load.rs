//! Weights as MLX arrays: quantised matrices as they are stored, everything else in the engine's precision.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::ffi::c_void;

use mlx_rs::ops::stack;
use mlx_rs::{Array, Dtype, transforms};
use monocle_tensor::backend::BackendError;
use monocle_tensor::scheme::Scheme;
use monocle_tensor::stored::{Matrix, StoredTensor, StoredType, Weight};

use super::array::{dimensions, floats};
use super::error::{Error, Result};
use super::precision;

/// Bytes that are read before they are evaluated: conversions never hold much more than this twice.
const PIECE: usize = 256 << 20;

/// A weight made ready.
pub enum Loaded {
    /// Used as a tensor.
    Tensor(Array),
    /// A matrix, or a stack of them, with what is added to its products.
    Matrix {
        /// `[.., out, in]`
        matrix: LoadedMatrix,
        /// `[.., out]`
        bias: Option<Array>,
    },
}

/// A matrix made ready.
#[derive(Clone)]
pub enum LoadedMatrix {
    /// One number an element.
    Dense(Array),
    /// MLX's affine quantisation.
    Affine {
        /// Words.
        packed: Array,
        /// One a group.
        scales: Array,
        /// One a group.
        biases: Array,
        /// Bits an element.
        bits: i32,
        /// Elements a group.
        group: i32,
    },
}

/// Reads weights, each stored tensor once even when several weights use it (tied embeddings).
pub struct Loader {
    float: Dtype,
    known: HashMap<(usize, usize), Array>,
    /// What was made of blocks, by where these lie.
    blocks: HashMap<(usize, usize), LoadedMatrix>,
    pending: Vec<Array>,
    pending_bytes: usize,
}

impl Loader {
    /// For floats of this type.
    pub fn new(float: Dtype) -> Self {
        Self {
            float,
            known: HashMap::new(),
            blocks: HashMap::new(),
            pending: Vec::new(),
            pending_bytes: 0,
        }
    }

    /// One weight: checked, and queued for evaluation.
    pub fn load(&mut self, weight: &Weight) -> Result<Loaded> {
        let (matrix, bias) = match weight {
            Weight::Tensor(stored) => return Ok(Loaded::Tensor(self.tensor(stored)?)),
            Weight::Embedding(matrix) => (matrix, None),
            Weight::Linear { matrix, bias } | Weight::Experts { matrix, bias } => (matrix, bias.as_ref()),
            Weight::Stack(layers) => return self.stack(layers),
        };
        let [rows, _] = matrix.check().map_err(|reason| wrong(matrix.name(), reason))?;
        let bias = bias.map(|bias| self.tensor(bias)).transpose()?;
        if let Some(bias) = &bias
            && bias.size() != rows
        {
            let reason = format!("expected a bias of {rows} elements, found {}", bias.size());
            return Err(wrong(matrix.name(), reason));
        }
        let matrix = match matrix {
            Matrix::Dense(tensor) => LoadedMatrix::Dense(self.tensor(tensor)?),
            Matrix::Affine {
                packed,
                scales,
                biases,
                bits,
                group_size,
            } => LoadedMatrix::Affine {
                packed: self.tensor(packed)?,
                scales: self.tensor(scales)?,
                biases: self.tensor(biases)?,
                bits: *bits as i32,
                group: *group_size as i32,
            },
            Matrix::Blocks { blocks: stored, .. } | Matrix::Scaled { elements: stored, .. } => {
                self.blocks(matrix, stored)?
            }
        };
        Ok(Loaded::Matrix { matrix, bias })
    }

    /// Blocks and small floats, for which there is no kernel here: affine where that is exact, else one number an element.
    fn blocks(&mut self, matrix: &Matrix, blocks: &StoredTensor) -> Result<LoadedMatrix> {
        let bytes = blocks.bytes.as_slice();
        let key = (bytes.as_ptr().addr(), bytes.len());
        if let Some(known) = self.blocks.get(&key) {
            return Ok(known.clone());
        }
        self.finish()?;
        let loaded = match self.affine_of_blocks(matrix) {
            Some(Matrix::Affine {
                packed,
                scales,
                biases,
                bits,
                group_size,
            }) => LoadedMatrix::Affine {
                packed: self.read(&packed)?,
                scales: self.read(&scales)?,
                biases: self.read(&biases)?,
                bits: bits as i32,
                group: group_size as i32,
            },
            _ => LoadedMatrix::Dense(self.unpacked(matrix)?),
        };
        match &loaded {
            LoadedMatrix::Dense(all) => self.pending.push(all.clone()),
            LoadedMatrix::Affine {
                packed,
                scales,
                biases,
                ..
            } => self.pending.extend([packed, scales, biases].map(Clone::clone)),
        }
        self.finish()?;
        self.blocks.insert(key, loaded.clone());
        Ok(loaded)
    }

    fn affine_of_blocks(&self, matrix: &Matrix) -> Option<Matrix> {
        let Matrix::Blocks { scheme, .. } = matrix else {
            return None;
        };
        affine_bits(*scheme, self.float)?;
        matrix.blocks_as_affine()
    }

    /// A matrix of blocks as numbers of the engine's precision.
    fn unpacked(&self, matrix: &Matrix) -> Result {
        let shape = matrix.shape();
        let mut values = vec![0.0; shape.iter().product()];
        let columns = shape.last().copied().unwrap_or(1).max(1);
        match (matrix, matrix.scaled_rows()) {
            (Matrix::Blocks { blocks, scheme }, _) => scheme.decode(blocks.bytes.as_slice(), &mut values),
            (_, Some(rows)) => {
                for (row, out) in values.chunks_exact_mut(columns).enumerate() {
                    rows.decode(row, 0, out);
                }
            }
            _ => return Err(wrong(matrix.name(), "expected blocks or small floats".to_owned())),
        }
        floats(&values, &shape, self.float)
    }

    /// Matrices that are stored by themselves, as one stack. Nothing of them is kept but the stack: the parts would be there twice.
    fn stack(&mut self, layers: &[(Matrix, Option<StoredTensor>)]) -> Result<Loaded> {
        self.finish()?;
        let (mut words, mut scales, mut biases, mut added) = (vec![], vec![], vec![], vec![]);
        let mut quantised = None;
        for (matrix, bias) in layers {
            let [rows, _] = matrix.check().map_err(|reason| wrong(matrix.name(), reason))?;
            match matrix {
                Matrix::Dense(tensor) => words.push(self.read(tensor)?),
                Matrix::Affine {
                    packed,
                    scales: scale,
                    biases: bias,
                    bits,
                    group_size,
                } => {
                    words.push(self.read(packed)?);
                    scales.push(self.read(scale)?);
                    biases.push(self.read(bias)?);
                    quantised = Some((*bits as i32, *group_size as i32));
                }
                Matrix::Blocks { .. } | Matrix::Scaled { .. } => match self.affine_of_blocks(matrix) {
                    Some(Matrix::Affine {
                        packed,
                        scales: scale,
                        biases: bias,
                        bits,
                        group_size,
                    }) => {
                        words.push(self.read(&packed)?);
                        scales.push(self.read(&scale)?);
                        biases.push(self.read(&bias)?);
                        quantised = Some((bits as i32, group_size as i32));
                    }
                    _ => words.push(self.unpacked(matrix)?),
                },
            }
            if let Some(bias) = bias {
                if bias.len() != rows {
                    let reason = format!("expected a bias of {rows} elements, found {}", bias.len());
                    return Err(wrong(matrix.name(), reason));
                }
                added.push(self.read(bias)?);
            }
        }
        let stacked = |parts: &[Array]| -> Result { Ok(stack(parts, 0)?) };
        let matrix = match quantised {
            None => LoadedMatrix::Dense(stacked(&words)?),
            Some((bits, group)) => LoadedMatrix::Affine {
                packed: stacked(&words)?,
                scales: stacked(&scales)?,
                biases: stacked(&biases)?,
                bits,
                group,
            },
        };
        let bias = match added.is_empty() {
            true => None,
            false => Some(stacked(&added)?),
        };
        match &matrix {
            LoadedMatrix::Dense(all) => self.pending.push(all.clone()),
            LoadedMatrix::Affine {
                packed,
                scales,
                biases,
                ..
            } => self.pending.extend([packed, scales, biases].map(Clone::clone)),
        }
        self.pending.extend(bias.clone());
        self.finish()?;
        Ok(Loaded::Matrix { matrix, bias })
    }

    /// Evaluates what is queued, so that mapped files are read and conversions done.
    pub fn finish(&mut self) -> Result<()> {
        transforms::eval(&self.pending)?;
        self.pending.clear();
        self.pending_bytes = 0;
        Ok(())
    }

    fn tensor(&mut self, stored: &StoredTensor) -> Result {
        let bytes = stored
            .checked_bytes()
            .map_err(|reason| wrong(&stored.name, reason))?;
        let key = (bytes.as_ptr().addr(), bytes.len());
        if let Some(known) = self.known.get(&key)
            && known.shape() == dimensions(&stored.shape)?
        {
            return Ok(known.clone());
        }
        if self.pending_bytes + bytes.len() > PIECE {
            self.finish()?;
        }
        let array = self.read(stored)?;
        self.pending_bytes += bytes.len();
        self.pending.push(array.clone());
        self.known.insert(key, array.clone());
        Ok(array)
    }

    /// A stored tensor in the engine's precision, not evaluated yet.
    fn read(&self, stored: &StoredTensor) -> Result {
        let bytes = stored
            .checked_bytes()
            .map_err(|reason| wrong(&stored.name, reason))?;
        match dtype(stored.kind) {
            Some(kind) if !stored.shape.is_empty() && !bytes.is_empty() => {
                let array = raw(bytes, stored, kind)?;
                match kind {
                    Dtype::Uint32 => Ok(array),
                    _ => Ok(array.as_dtype(self.float)?),
                }
            }
            _ => {
                let values = stored.floats().map_err(|reason| wrong(&stored.name, reason))?;
                floats(&values.collect::<Vec<_>>(), &stored.shape, self.float)
            }
        }
    }
}

/// Why a form of storage is not computed with.
const NO_KERNEL: &str = "MLX has no kernel for it";
const NOT_BOUND: &str = "MLX's kernel for it cannot be called through mlx-rs";

/// What becomes of forms of storage that are not computed with as they are.
pub fn notes(weights: &[Weight], float: Dtype) -> Vec<String> {
    let foreign = weights
        .iter()
        .flat_map(Weight::matrices)
        .filter_map(|matrix| match matrix {
            Matrix::Blocks { scheme, .. } => Some((scheme.name(), NO_KERNEL, affine_bits(*scheme, float))),
            Matrix::Scaled {
                float, scales, block, ..
            } => {
                // MLX multiplies with its mxfp4 and mxfp8; mlx-rs 0.33 asks for affine quantisation only.
                let is_microscaling = scales.kind == StoredType::F8E8M0 && *block == [1, 32];
                let why = if is_microscaling { NOT_BOUND } else { NO_KERNEL };
                Some((float.name(), why, None))
            }
            Matrix::Dense(_) | Matrix::Affine { .. } => None,
        });
    let foreign: BTreeSet<_> = foreign.collect();
    let note = |(form, why, bits): (&str, &str, Option<u32>)| match bits {
        Some(bits) => {
            format!("weights in {form}: {why}; they become its own {bits} bits, which loses nothing")
        }
        None => format!(
            "weights in {form}: {why}; they become {}, {} bytes a number",
            precision::name(float),
            precision::bytes(float)
        ),
    };
    foreign.into_iter().map(note).collect()
}

/// Bits of MLX's own form that blocks become without loss: scales of 16 bits are exact in 32 bits, but not as bfloat16.
fn affine_bits(scheme: Scheme, float: Dtype) -> Option<u32> {
    scheme.affine_bits().filter(|_| float != Dtype::Bfloat16)
}

/// Bytes that the weights will take, each stored tensor once, floats in this type.
pub fn loaded_bytes(weights: &[Weight], float: Dtype) -> usize {
    let sizes = Sizes::of(weights, float);
    let mut seen = HashSet::new();
    let parts = weights.iter().flat_map(Weight::parts);
    let new = parts.filter(|part| seen.insert(part.bytes.id()));
    new.map(|part| sizes.loaded(part)).sum()
}

/// The most bytes at once while they are loaded, as [`Loader`] goes about it. What waits for its conversion is there as it is stored, and what was
/// converted takes its place, but for `dead` bytes that are not freed yet. The parts of a stack are there beside it.
pub fn load_peak_bytes(weights: &[Weight], float: Dtype, dead: usize) -> usize {
    let sizes = Sizes::of(weights, float);
    let mut seen = HashSet::new();
    let (mut all, mut peak) = (0_usize, 0_usize);
    let mut waiting = Waiting::default();
    for weight in weights {
        let is_stack = matches!(weight, Weight::Stack(_));
        if is_stack {
            all += std::mem::take(&mut waiting).made;
        }
        for part in weight.parts().filter(|part| seen.insert(part.bytes.id())) {
            let bytes = part.bytes.len();
            if !is_stack && waiting.read + bytes > PIECE {
                all += std::mem::take(&mut waiting).made;
            }
            let made = sizes.loaded(part);
            let is_converted = dtype(part.kind).is_some_and(|kind| kind != Dtype::Uint32 && kind != float);
            waiting.read += bytes;
            waiting.made += made;
            waiting.stored += if is_converted { bytes } else { made };
            waiting.converted += if is_converted { bytes } else { 0 };
            peak = peak.max(all + waiting.most(dead));
        }
        if is_stack {
            let stack = std::mem::take(&mut waiting);
            peak = peak.max(all + stack.made + stack.most(dead));
            all += stack.made;
        }
    }
    peak
}

/// Bytes of what was read and not evaluated.
#[derive(Default)]
struct Waiting {
    /// As it lies in files.
    read: usize,
    /// Before conversions.
    stored: usize,
    /// After them.
    made: usize,
    /// What is converted, as it is stored.
    converted: usize,
}

impl Waiting {
    /// The most while it is evaluated.
    fn most(&self, dead: usize) -> usize {
        self.stored.max(self.made) + dead.min(self.converted)
    }
}

/// What stored tensors become.
struct Sizes {
    float_bytes: usize,
    /// Bytes of those that are not as large as they have elements.
    others: HashMap<(usize, usize, usize), usize>,
}

impl Sizes {
    fn of(weights: &[Weight], float: Dtype) -> Self {
        let float_bytes = precision::bytes(float);
        let at = |tensor: &StoredTensor| tensor.bytes.id();
        let others = weights
            .iter()
            .flat_map(Weight::matrices)
            .flat_map(|matrix| match matrix {
                Matrix::Blocks { blocks, scheme } => {
                    let elements: usize = matrix.shape().iter().product();
                    let bytes = match affine_bits(*scheme, float) {
                        // Scale and bias for each 32.
                        Some(bits) => elements / 8 * bits as usize + elements / 32 * 2 * float_bytes,
                        None => elements * float_bytes,
                    };
                    vec![(at(blocks), bytes)]
                }
                Matrix::Scaled { elements, scales, .. } => {
                    let count: usize = matrix.shape().iter().product();
                    vec![(at(elements), count * float_bytes), (at(scales), 0)]
                }
                _ => Vec::new(),
            })
            .collect();
        Self { float_bytes, others }
    }

    fn loaded(&self, part: &StoredTensor) -> usize {
        match (self.others.get(&part.bytes.id()), part.kind) {
            (Some(bytes), _) => *bytes,
            (None, StoredType::U32) => part.bytes.len(),
            _ => part.len() * self.float_bytes,
        }
    }
}

/// Stored types that MLX reads as they are. (Words of 32 bits hold quantised weights: no plugin uses them as numbers.)
fn dtype(kind: StoredType) -> Option<Dtype> {
    match kind {
        StoredType::F32 => Some(Dtype::Float32),
        StoredType::F16 => Some(Dtype::Float16),
        StoredType::BF16 => Some(Dtype::Bfloat16),
        StoredType::U32 => Some(Dtype::Uint32),
        _ => None,
    }
}

/// Stored bytes, which need not be aligned, seen as elements.
fn raw(bytes: &[u8], stored: &StoredTensor, kind: Dtype) -> Result {
    let mut shape = stored.shape.clone();
    if let Some(last) = shape.last_mut() {
        *last *= stored.kind.size();
    }
    let shape = dimensions(&shape)?;
    // SAFETY: the shape holds as many bytes as there are (`checked_bytes`), and they are copied before this returns.
    let bytes = unsafe { Array::from_raw_data(bytes.as_ptr().cast::<c_void>(), &shape, Dtype::Uint8) };
    Ok(bytes.view_dtype(kind)?)
}

fn wrong(name: &str, reason: String) -> Error {
    BackendError::Weight {
        name: name.to_owned(),
        reason,
    }
    .into()
}
