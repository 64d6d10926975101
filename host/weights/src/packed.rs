//! Weights that other programs packed into safetensors, arranged as engines take them: small floats with scales (the 8-bit floats of transformers
//! and compressed-tensors, MXFP4, MLX's mxfp4 and mxfp8), and AWQ's 4 bits. What is quantised otherwise is refused: see `foreign`.
//!
//! The layouts are those of transformers 5 (`integrations/finegrained_fp8.py`, `integrations/mxfp4.py`), compressed-tensors 0.20
//! (`compressors/`), MLX 0.32 (`mx.quantize`) and AutoAWQ (`awq/utils/packing_utils.py`).

use std::collections::BTreeMap;

use monocle_tensor::scaled::SmallFloat;
use monocle_tensor::stored::{StoredTensor, StoredType};
use serde_json::Value;

/// What a layer's elements are multiplied with.
#[derive(Debug, Clone)]
pub(crate) struct Scaled {
    pub float: SmallFloat,
    pub scales: StoredTensor,
    /// Rows and columns that share a scale.
    pub block: [usize; 2],
}

impl Scaled {
    /// What people call it.
    pub fn name(&self) -> &'static str {
        let is_microscaling = self.scales.kind == StoredType::F8E8M0 && self.block == [1, 32];
        match (self.float, is_microscaling) {
            (SmallFloat::E2M1, _) => "MXFP4",
            (SmallFloat::E4M3, true) => "MXFP8",
            (SmallFloat::E4M3, false) => StoredType::F8E4M3.name(),
            (SmallFloat::E5M2, _) => StoredType::F8E5M2.name(),
        }
    }
}

/// A layer that is packed, by its name in the checkpoint.
#[derive(Debug)]
pub(crate) struct Packed {
    /// The name that its weight should have.
    pub name: String,
    /// The tensor that holds its elements, `[.., out, bytes of a row]`.
    pub elements: StoredTensor,
    /// The names of the tensors that it is made of.
    pub parts: Vec<String>,
    pub scaled: Scaled,
}

/// AWQ's tensors of a layer.
#[derive(Debug)]
pub(crate) struct Awq {
    pub layer: String,
    /// `[in, out / 8]`
    pub words: StoredTensor,
    /// `[in / group, out / 8]`
    pub zeros: StoredTensor,
    /// `[in / group, out]`
    pub scales: StoredTensor,
}

/// The layers of small floats in a checkpoint.
pub(crate) fn small_floats(tensors: &BTreeMap<String, StoredTensor>, config: &Value) -> Vec<Packed> {
    let blocks = declared_blocks(config);
    tensors
        .keys()
        .filter_map(|name| small_float(name, tensors, &blocks))
        .collect()
}

/// The layer whose elements are in the tensor `name`, if that tensor has elements of a known kind, with scales that fit.
fn small_float(
    name: &str,
    tensors: &BTreeMap<String, StoredTensor>,
    declared: &[[usize; 2]],
) -> Option<Packed> {
    let tensor = tensors.get(name)?;
    let whole = |weight: String, float, scale: String, block: Block| {
        let scales = tensors.get(&scale)?;
        let elements = as_bytes(tensor);
        let columns = elements.shape.last()? * 8 / SmallFloat::bits(float);
        let mut shape = elements.shape.clone();
        *shape.last_mut()? = columns;
        let (scales, block) = scales_of(scales, &shape, block, declared)?;
        Some(Packed {
            name: weight,
            elements,
            parts: vec![name.to_owned(), scale],
            scaled: Scaled { float, scales, block },
        })
    };
    match tensor.kind {
        StoredType::F8E4M3 | StoredType::F8E5M2 => {
            let float = match tensor.kind {
                StoredType::F8E4M3 => SmallFloat::E4M3,
                _ => SmallFloat::E5M2,
            };
            let scale = ["_scale_inv", "_scale"].map(|end| format!("{name}{end}"));
            let scale = scale.into_iter().find(|scale| tensors.contains_key(scale))?;
            whole(name.to_owned(), float, scale, Block::Grid)
        }
        StoredType::U32 => {
            let layer = name.strip_suffix(".weight")?;
            let scale = format!("{layer}.scales");
            let (words, groups) = (tensor.shape.last()?, tensors.get(&scale)?.shape.last()?);
            if tensors.contains_key(&format!("{layer}.biases")) {
                return None;
            }
            // Bits of a group: 32 values of 4, 32 of 8.
            let float = match words.checked_mul(32)?.checked_div(*groups)? {
                128 => SmallFloat::E2M1,
                256 => SmallFloat::E4M3,
                _ => return None,
            };
            whole(name.to_owned(), float, scale, Block::Exponents)
        }
        StoredType::U8 if name.ends_with(".weight_packed") => {
            let layer = name.strip_suffix(".weight_packed")?;
            if tensors.contains_key(&format!("{layer}.weight_global_scale")) {
                return None;
            }
            let (weight, scale) = (format!("{layer}.weight"), format!("{layer}.weight_scale"));
            whole(weight, SmallFloat::E2M1, scale, Block::Exponents)
        }
        StoredType::U8 if name.ends_with("_blocks") => {
            let layer = name.strip_suffix("_blocks")?;
            // [experts, out, groups, 16]
            let [experts, out, groups, 16] = tensor.shape[..] else {
                return None;
            };
            let mut packed = whole(
                layer.to_owned(),
                SmallFloat::E2M1,
                format!("{layer}_scales"),
                Block::Experts([experts, out, groups]),
            )?;
            packed.elements.shape = vec![experts, out, groups.checked_mul(16)?];
            Some(packed)
        }
        _ => None,
    }
}

/// How scales lie.
enum Block {
    /// Floats: one for all, one a row, or a grid of blocks.
    Grid,
    /// Exponents, one for 32 columns.
    Exponents,
    /// The same, of experts with so many rows and groups.
    Experts([usize; 3]),
}

/// The scales in the shape that their blocks ask for, and rows and columns of a block; none where they do not fit a matrix of this shape.
fn scales_of(
    scales: &StoredTensor,
    shape: &[usize],
    block: Block,
    declared: &[[usize; 2]],
) -> Option<(StoredTensor, [usize; 2])> {
    let mut scales = scales.clone();
    let exponents = matches!(scales.kind, StoredType::U8 | StoredType::F8E8M0);
    if exponents {
        scales.kind = StoredType::F8E8M0;
    }
    match block {
        Block::Experts(expected) => (exponents && scales.shape == expected).then_some((scales, [1, 32])),
        Block::Exponents => {
            let (columns, rows) = shape.split_last()?;
            let expected = [rows, &[columns.checked_div(32)?]].concat();
            let fits = exponents && columns.is_multiple_of(32) && scales.shape == expected;
            fits.then_some((scales, [1, 32]))
        }
        Block::Grid => {
            if !exponents && !scales.kind.holds_matrices() {
                return None;
            }
            let [before @ .., rows, columns] = shape else {
                return None;
            };
            let (rows, columns) = ((*rows).max(1), (*columns).max(1));
            // One for each matrix.
            if scales.len() == before.iter().product::<usize>() && !scales.is_empty() {
                scales.shape = [before, &[1, 1]].concat();
                return Some((scales, [rows, columns]));
            }
            // One a row.
            if scales.shape == shape[..shape.len() - 1] {
                scales.shape.push(1);
            }
            let (grid_before, [down, across]) = scales.shape.split_last_chunk::<2>()?;
            if grid_before != before {
                return None;
            }
            let found = [*down, *across];
            let grid = |block: [usize; 2]| [rows.div_ceil(block[0]), columns.div_ceil(block[1])];
            let said = declared.iter().copied().find(|block| grid(*block) == found);
            // Nothing said: blocks that are all whole.
            let even = rows.checked_rem(found[0]) == Some(0) && columns.checked_rem(found[1]) == Some(0);
            let block = said.or_else(|| even.then(|| [rows / found[0], columns / found[1]]))?;
            Some((scales, block))
        }
    }
}

/// Rows and columns of a block, wherever `config.json` says them.
fn declared_blocks(config: &Value) -> Vec<[usize; 2]> {
    let parts = config.as_object().into_iter().flatten().map(|(_, part)| part);
    let mut blocks = Vec::new();
    for part in [config].into_iter().chain(parts) {
        for key in ["quantization_config", "compression_config"] {
            let settings = &part[key];
            let groups = settings["config_groups"].as_object().into_iter().flatten();
            let groups = groups.map(|(_, group)| &group["weights"]["block_structure"]);
            blocks.extend(groups.chain([&settings["weight_block_size"]]).filter_map(pair));
        }
    }
    blocks
}

fn pair(value: &Value) -> Option<[usize; 2]> {
    let [rows, columns] = value.as_array()?.as_slice() else {
        return None;
    };
    let side = |value: &Value| usize::try_from(value.as_u64()?).ok().filter(|side| *side > 0);
    Some([side(rows)?, side(columns)?])
}

/// The same bytes, each an element.
fn as_bytes(tensor: &StoredTensor) -> StoredTensor {
    let mut bytes = tensor.clone();
    if let Some(last) = bytes.shape.last_mut() {
        *last *= tensor.kind.size();
    }
    if tensor.kind.size() > 1 {
        bytes.kind = StoredType::U8;
    }
    bytes
}

/// AWQ's layers in a checkpoint, those whose shapes fit together.
pub(crate) fn awq(tensors: &BTreeMap<String, StoredTensor>) -> Vec<Awq> {
    let layers = tensors.keys().filter_map(|name| name.strip_suffix(".qweight"));
    layers
        .filter_map(|layer| {
            let part = |end: &str| tensors.get(&format!("{layer}.{end}"));
            let awq = Awq {
                layer: layer.to_owned(),
                words: part("qweight")?.clone(),
                zeros: part("qzeros")?.clone(),
                scales: part("scales")?.clone(),
            };
            (part("g_idx").is_none() && awq.group_size().is_some()).then_some(awq)
        })
        .collect()
}

impl Awq {
    /// Inputs that share a scale; none where the shapes are not AWQ's.
    pub fn group_size(&self) -> Option<usize> {
        let ([inputs, words], [groups, zeros], [scale_groups, outputs]) = (
            self.words.shape.as_slice(),
            self.zeros.shape.as_slice(),
            self.scales.shape.as_slice(),
        ) else {
            return None;
        };
        let fits = words == zeros
            && groups == scale_groups
            && words.checked_mul(8) == Some(*outputs)
            && self.words.kind == StoredType::I32
            && self.zeros.kind == StoredType::I32
            && self.scales.kind.holds_matrices();
        let size = inputs
            .checked_div(*groups)
            .filter(|size| size * groups == *inputs)?;
        (fits && inputs > &0 && crate::GROUP_SIZES.contains(&size)).then_some(size)
    }

    /// The shape of the words, and of the scales and biases, that MLX's affine quantisation has for this layer.
    pub fn affine_shapes(&self) -> [Vec<usize>; 2] {
        let (inputs, outputs) = (self.words.shape[0], self.scales.shape[1]);
        [vec![outputs, inputs / 8], vec![outputs, self.scales.shape[0]]]
    }

    /// Words, scales or biases of MLX's affine quantisation, scales and biases in 32 bits, which hold them exactly.
    pub fn affine(&self, part: AffinePart) -> Vec<u8> {
        let (inputs, outputs, groups) = (self.words.shape[0], self.scales.shape[1], self.scales.shape[0]);
        match part {
            AffinePart::Words => {
                let mut words = vec![0_u32; outputs * inputs / 8];
                for input in 0..inputs {
                    for (output, level) in levels(&self.words, input, outputs).enumerate() {
                        words[output * inputs / 8 + input / 8] |= level << (input % 8 * 4);
                    }
                }
                words.iter().flat_map(|word| word.to_le_bytes()).collect()
            }
            AffinePart::Scales | AffinePart::Biases => {
                let scales: Vec<f32> = self.scales.floats().map(Iterator::collect).unwrap_or_default();
                let mut made = vec![0.0_f32; outputs * groups];
                for group in 0..groups {
                    let zeros = levels(&self.zeros, group, outputs);
                    for ((output, zero), scale) in zeros.enumerate().zip(&scales[group * outputs..]) {
                        made[output * groups + group] = match part {
                            AffinePart::Biases => -scale * zero as f32,
                            _ => *scale,
                        };
                    }
                }
                made.iter().flat_map(|value| value.to_le_bytes()).collect()
            }
        }
    }
}

/// A tensor that AWQ's layers are made into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AffinePart {
    Words,
    Scales,
    Biases,
}

/// A row of levels of 4 bits. A word holds eight outputs in the order that AWQ's kernels unpack in.
fn levels(words: &StoredTensor, row: usize, outputs: usize) -> impl Iterator<Item = u32> {
    /// Where in its word each of eight outputs is (`AWQ_REVERSE_ORDER`).
    const PLACES: [usize; 8] = [0, 4, 1, 5, 2, 6, 3, 7];
    let bytes = words.bytes.as_slice();
    (0..outputs).map(move |output| {
        let at = (row * outputs / 8 + output / 8) * 4;
        let word = u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        word >> (PLACES[output % 8] * 4) & 15
    })
}
