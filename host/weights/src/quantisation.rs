//! MLX's affine quantisation as checkpoints declare it: by the shapes of the tensors, and in `config.json`.
//!
//! A row's words and its groups give the bits of a group: `bits * group_size = 32 * words / groups`. Half of these products can come about
//! in one way only; for the others (128 is 4 bits for 32 values or 2 for 64) `config.json` says which it is. What shapes allow goes
//! before what is said; where they allow several ways and none is as said, the other tensors tell how long rows are ([`Lengths`]).

use monocle_tensor::stored::{Matrix, StoredTensor, StoredType};
use serde_json::{Value, json};

use crate::error::{WeightsError, cut};
use crate::foreign::{own, refuse_foreign};
use crate::lengths::Lengths;

/// The numbers of bits that a quantised value may have.
pub const BITS: [u32; 6] = [2, 3, 4, 5, 6, 8];

/// How many neighbours may share a scale and a bias.
pub const GROUP_SIZES: [usize; 3] = [32, 64, 128];

/// What to do where a layer's tensors do not belong together.
const AGAIN: &str = "; the files are incomplete, or of several conversions: download the model again";

/// What `config.json` says about quantisation.
#[derive(Debug, Clone, Default)]
pub(crate) struct Quantisation {
    /// `quantization`, or `quantization_config`: settings for all layers, and tables for single ones.
    settings: Value,
    /// Every layer's shapes allow the group size that it is said to have, and some layer is just as it is said to be: where another layer
    /// differs, it differs in bits.
    trusts_groups: bool,
    /// What the other tensors tell.
    lengths: Lengths,
}

/// How a matrix is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sizes {
    pub bits: u32,
    pub group_size: usize,
    /// `config.json` says something else.
    pub is_otherwise: bool,
}

/// Bits and group size.
type Pair = (u64, u64);

impl Quantisation {
    /// Refuses what is not MLX's affine quantisation.
    pub fn of_config(config: &Value) -> Result<Self, WeightsError> {
        refuse_foreign(config)?;
        let settings = ["quantization", "quantization_config"]
            .into_iter()
            .find_map(|key| own(&config[key]));
        Ok(Self {
            settings: settings.cloned().unwrap_or_default(),
            trusts_groups: false,
            lengths: Lengths::default(),
        })
    }

    /// Looks at all quantised layers of a checkpoint, each with its name there, its packed values and its scales; `lengths` is what its other
    /// tensors tell.
    pub fn look_at<'a>(
        &mut self,
        layers: impl Iterator<Item = (&'a str, &'a StoredTensor, &'a StoredTensor)>,
        lengths: Lengths,
    ) {
        self.lengths = lengths;
        let mut fit = true;
        let mut some_as_said = false;
        for (stored, packed, scales) in layers {
            let Some((words, groups)) = last(packed).zip(last(scales)) else {
                continue;
            };
            self.lengths.gives(&packed.shape);
            let possible = possible(words, groups);
            let said = self.said(stored).ok().flatten();
            if let Some((bits, group_size)) = said {
                fit &= possible.iter().any(|(_, possible)| *possible == group_size);
                some_as_said |= possible.contains(&(bits, group_size));
            }
            if let Some((_, group_size)) = certain(&possible, said) {
                self.lengths.takes(stored, groups as u64 * group_size);
            }
        }
        self.trusts_groups = fit && some_as_said;
    }

    /// Says it of one layer, as a table of its own would.
    pub fn say(&mut self, stored: &str, bits: u32, group_size: usize) {
        if !self.settings.is_object() {
            self.settings = json!({});
        }
        self.settings[stored] = json!({ "bits": bits, "group_size": group_size });
    }

    /// What is said of the layer that the checkpoint calls `stored`, in its own table if it has one; the mode, where it is not `affine`.
    fn said(&self, stored: &str) -> Result<Option<Pair>, &str> {
        let own = &self.settings[stored];
        let table = if own.is_object() { own } else { &self.settings };
        // A table of its own that says no mode says `affine`.
        let mode = table.get("mode").and_then(Value::as_str);
        match mode {
            None | Some("affine") => {}
            Some(other) => return Err(other),
        }
        let number = |key: &str| table[key].as_u64().or(self.settings[key].as_u64());
        Ok(number("bits").zip(number("group_size")))
    }

    /// The quantised matrix of a layer. `stored` is the layer's name in the checkpoint, for `config.json`.
    pub fn matrix(
        &self,
        stored: &str,
        packed: StoredTensor,
        scales: StoredTensor,
        biases: Option<StoredTensor>,
    ) -> Result<Matrix, WeightsError> {
        let sizes = self.sizes(stored, &packed, &scales, biases.as_ref());
        match (sizes, biases) {
            (Ok(sizes), Some(biases)) => Ok(Matrix::Affine {
                packed,
                scales,
                biases,
                bits: sizes.bits,
                group_size: sizes.group_size,
            }),
            (sizes, _) => Err(WeightsError::Quantisation {
                name: packed.name,
                problem: sizes.err().unwrap_or_default(),
            }),
        }
    }

    /// How a layer is stored: as its shapes say, and where they allow several ways, as `config.json` says.
    pub fn sizes(
        &self,
        stored: &str,
        packed: &StoredTensor,
        scales: &StoredTensor,
        biases: Option<&StoredTensor>,
    ) -> Result<Sizes, String> {
        // Layers of the other modes that are read never come here, where their tensors fit.
        let said = self.said(stored).map_err(|mode| {
            format!(
                "packed {:?} {} with scales {:?} {} and {} do not fit mode `{mode}`, which `config.json` says; `mxfp4` and `mxfp8` have one \
                 scale in U8 for 32 numbers, and no biases; download the model again",
                packed.shape,
                packed.kind.name(),
                scales.shape,
                scales.kind.name(),
                if biases.is_some() { "biases" } else { "no biases" },
            )
        })?;
        let biases = biases.ok_or_else(|| {
            format!(
                "packed {:?} {} with scales {:?} {} and no biases: expected `biases` as `scales`, or scales in U8 for each 32 numbers{AGAIN}",
                packed.shape,
                packed.kind.name(),
                scales.shape,
                scales.kind.name()
            )
        })?;
        let (words, groups) = row(packed, scales, biases).map_err(|problem| problem + AGAIN)?;
        if let Some((_, size)) = said
            && !GROUP_SIZES.iter().any(|known| *known as u64 == size)
        {
            return Err(format!(
                "`config.json` says group size {size}; supported are 32, 64 and 128: take a conversion with one of these"
            ));
        }
        let possible = possible(words, groups);
        let shapes = || format!("packed {:?} and scales {:?}", packed.shape, scales.shape);
        if possible.is_empty() {
            return Err(format!(
                "{} fit no supported bits and group size{AGAIN}",
                shapes()
            ));
        }
        let (bits, group_size) = self.choose(stored, &possible, groups, said).ok_or_else(|| {
            let ways: Vec<String> = possible
                .iter()
                .map(|(bits, size)| {
                    format!("{bits} bits in groups of {size}, rows of {}", groups as u64 * size)
                })
                .collect();
            let config = match said {
                None => "`config.json` does not say which".to_owned(),
                Some((bits, size)) => format!("`config.json` says {bits} bits in groups of {size}"),
            };
            let by_size = said.and_then(|(_, said)| possible.iter().find(|(_, size)| *size == said));
            let (bits, size) = by_size.unwrap_or(&possible[0]);
            format!(
                "{} are {}; {config}, and no other tensor tells; take the model's own `config.json`, or say it there in `quantization`, \
                 such as `\"{}\": {{\"bits\": {bits}, \"group_size\": {size}}}`",
                shapes(),
                ways.join(", or "),
                cut(stored)
            )
        })?;
        Ok(Sizes {
            bits: bits as u32,
            group_size: group_size as usize,
            is_otherwise: said.is_some_and(|said| said != (bits, group_size)),
        })
    }

    /// Chooses from what the shapes allow; nothing where nothing tells which it is.
    fn choose(&self, stored: &str, possible: &[Pair], groups: usize, said: Option<Pair>) -> Option<Pair> {
        if let Some(certain) = certain(possible, said) {
            return Some(certain);
        }
        let rows: Vec<u64> = possible.iter().map(|(_, size)| groups as u64 * size).collect();
        let by_size = said.and_then(|(_, said)| possible.iter().position(|(_, size)| *size == said));
        let may_be_bits = said.is_some_and(|(said, _)| possible.iter().any(|(bits, _)| *bits == said));
        // What is said of groups goes before what is said of bits; where both could be right, other tensors go before both.
        let alike = self.lengths.alike(stored, &rows);
        let at = alike
            .or(by_size.filter(|_| self.trusts_groups))
            .or_else(|| self.lengths.known(&rows))
            .or(by_size.filter(|_| !may_be_bits))?;
        Some(possible[at])
    }
}

/// What a layer is for all that its own shapes and `config.json` say: the only way that they allow, or what is said, where they allow it.
fn certain(possible: &[Pair], said: Option<Pair>) -> Option<Pair> {
    match possible {
        [only] => Some(*only),
        _ => said.filter(|said| possible.contains(said)),
    }
}

/// Words and groups of a row, once the tensors are known to belong together.
fn row(
    packed: &StoredTensor,
    scales: &StoredTensor,
    biases: &StoredTensor,
) -> Result<(usize, usize), String> {
    if packed.kind != StoredType::U32 {
        return Err(format!(
            "expected packed values in U32, found {}",
            packed.kind.name()
        ));
    }
    if !scales.kind.is_float() || biases.kind != scales.kind || biases.shape != scales.shape {
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
    Ok((*words, *groups))
}

fn last(tensor: &StoredTensor) -> Option<usize> {
    tensor.shape.last().copied()
}

/// The ways in which `words` words of 32 bits may hold `groups` groups.
fn possible(words: usize, groups: usize) -> Vec<Pair> {
    let sizes = GROUP_SIZES.into_iter().map(|size| size as u64);
    sizes
        .flat_map(|size| BITS.into_iter().map(move |bits| (u64::from(bits), size)))
        .filter(|(bits, size)| {
            let filled = (groups as u64).checked_mul(bits * size);
            groups > 0 && filled.is_some() && filled == (words as u64).checked_mul(32)
        })
        .collect()
}
