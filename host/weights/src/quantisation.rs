//! MLX's affine quantisation as checkpoints declare it: in `config.json`, and by the shapes of the tensors.

use monocle_tensor::stored::{Matrix, StoredTensor, StoredType};
use serde_json::Value;

use crate::error::WeightsError;

/// The numbers of bits that a quantised value may have.
pub const BITS: [u32; 6] = [2, 3, 4, 5, 6, 8];

/// How many neighbours may share a scale and a bias.
pub const GROUP_SIZES: [usize; 3] = [32, 64, 128];

/// What `config.json` says about quantisation.
#[derive(Debug, Clone, Default)]
pub(crate) struct Quantisation {
    /// `quantization`, or `quantization_config`: settings for all layers, and tables for single ones.
    settings: Value,
}

/// What is said of one layer; absent where nothing is.
#[derive(Debug, Default, PartialEq)]
struct Layer {
    bits: Option<u64>,
    group_size: Option<u64>,
}

impl Quantisation {
    pub fn of_config(config: &Value) -> Self {
        let settings = ["quantization", "quantization_config"]
            .into_iter()
            .map(|key| &config[key])
            .find(|settings| settings["group_size"].is_u64() && settings["bits"].is_u64());
        Self {
            settings: settings.cloned().unwrap_or_default(),
        }
    }

    /// The settings of the layer that the checkpoint calls `stored`, from its own table if it has one.
    fn layer(&self, stored: &str) -> Result<Layer, String> {
        let own = &self.settings[stored];
        let table = if own.is_object() { own } else { &self.settings };
        let mode = table
            .get("mode")
            .or(self.settings.get("mode"))
            .and_then(Value::as_str);
        match mode {
            None | Some("affine") => {}
            Some(other) => {
                return Err(format!(
                    "`config.json` says mode `{other}`; only `affine` is supported"
                ));
            }
        }
        let number = |key: &str| table[key].as_u64().or(self.settings[key].as_u64());
        Ok(Layer {
            bits: number("bits"),
            group_size: number("group_size"),
        })
    }

    /// The quantised matrix of a layer. `stored` is the layer's name in the checkpoint, for `config.json`.
    pub fn matrix(
        &self,
        stored: &str,
        packed: StoredTensor,
        scales: StoredTensor,
        biases: Option<StoredTensor>,
    ) -> Result<Matrix, WeightsError> {
        let name = packed.name.clone();
        let check = || {
            let layer = self.layer(stored)?;
            let biases =
                biases.ok_or("it has `scales` but no `biases`; only affine quantisation is supported")?;
            let (bits, group_size) = sizes(&packed, &scales, &biases, &layer)?;
            Ok(Matrix::Affine {
                packed,
                scales,
                biases,
                bits,
                group_size,
            })
        };
        check().map_err(|problem: String| WeightsError::Quantisation { name, problem })
    }
}

/// Bits and group size: what the shapes allow, and `config.json` says.
fn sizes(
    packed: &StoredTensor,
    scales: &StoredTensor,
    biases: &StoredTensor,
    layer: &Layer,
) -> Result<(u32, usize), String> {
    if packed.kind != StoredType::U32 {
        return Err(format!(
            "expected packed values in U32, found {}",
            packed.kind.name()
        ));
    }
    if !is_float(scales.kind) || biases.kind != scales.kind || biases.shape != scales.shape {
        return Err(format!(
            "expected scales and biases of one float type and shape, found {} {:?} and {} {:?}",
            scales.kind.name(),
            scales.shape,
            biases.kind.name(),
            biases.shape
        ));
    }
    let (Some((words, rows)), Some((groups, scale_rows))) =
        (packed.shape.split_last(), scales.shape.split_last())
    else {
        return Err("expected matrices, found a scalar".to_owned());
    };
    if rows != scale_rows || rows.is_empty() || *groups == 0 || *words == 0 {
        return Err(format!(
            "packed {:?} and scales {:?} do not fit together",
            packed.shape, scales.shape
        ));
    }
    let group_sizes: Vec<usize> = match layer.group_size {
        Some(size) => GROUP_SIZES
            .into_iter()
            .filter(|known| *known as u64 == size)
            .collect(),
        None => GROUP_SIZES.to_vec(),
    };
    if group_sizes.is_empty() {
        let size = layer.group_size.unwrap_or_default();
        return Err(format!(
            "`config.json` says group size {size}; supported are 32, 64 and 128"
        ));
    }
    // A row of `groups * group_size` values of `bits` bits fills `words` words of 32 bits.
    let fits = |bits: u32, group_size: usize| {
        let row = groups
            .checked_mul(group_size)
            .and_then(|values| values.checked_mul(bits as usize));
        row.is_some() && row == words.checked_mul(32)
    };
    let possible: Vec<(u32, usize)> = group_sizes
        .iter()
        .flat_map(|&group_size| BITS.into_iter().map(move |bits| (bits, group_size)))
        .filter(|&(bits, group_size)| fits(bits, group_size))
        .collect();
    let chosen: Vec<(u32, usize)> = match layer.bits {
        Some(bits) => possible
            .iter()
            .copied()
            .filter(|(possible, _)| u64::from(*possible) == bits)
            .collect(),
        None => possible.clone(),
    };
    match (chosen.as_slice(), possible.as_slice(), layer.bits) {
        ([one], _, _) => Ok(*one),
        ([], [(bits, group_size)], Some(said)) => Err(format!(
            "`config.json` says {said} bits, but with groups of {group_size} its shapes say {bits}"
        )),
        ([], _, _) => Err(format!(
            "packed {:?} and scales {:?} fit no supported bits and group size",
            packed.shape, scales.shape
        )),
        _ => {
            Err("its shapes fit several group sizes; `config.json` must say one in `quantization`".to_owned())
        }
    }
}

/// Whether the engines compute with weights of this type.
pub(crate) fn is_float(kind: StoredType) -> bool {
    matches!(
        kind,
        StoredType::F64 | StoredType::F32 | StoredType::F16 | StoredType::BF16
    )
}
