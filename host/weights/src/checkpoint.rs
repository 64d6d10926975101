//! A model's weights, by the names that its plugin uses.

use std::collections::BTreeMap;
use std::path::Path;

use monocle_tensor::stored::{Matrix, StoredTensor, StoredType, Weight};

use crate::error::WeightsError;
use crate::folder::ModelFolder;
use crate::names::{NameRules, hint};
use crate::quantisation::{Quantisation, is_float};
use crate::shards::Shards;
use crate::summary::Summary;

/// A checkpoint: all its files mapped and checked, its tensors renamed; cheap to clone tensors out of.
#[derive(Debug, Clone)]
pub struct Checkpoint {
    entries: BTreeMap<String, Entry>,
    quantisation: Quantisation,
    notes: Vec<String>,
    files: usize,
}

#[derive(Debug, Clone)]
struct Entry {
    /// The checkpoint's own name, which `config.json` uses too.
    stored: String,
    /// Under its new name.
    tensor: StoredTensor,
}

impl Checkpoint {
    /// Opens a folder's weights: one safetensors file, or the shards that an index lists.
    pub fn open(folder: &ModelFolder, rules: &NameRules) -> Result<Self, WeightsError> {
        let quantisation = Quantisation::of_config(folder.config());
        Self::open_with(folder.path(), rules, quantisation)
    }

    fn open_with(folder: &Path, rules: &NameRules, quantisation: Quantisation) -> Result<Self, WeightsError> {
        let mut shards = Shards::open(folder)?;
        let mut entries: BTreeMap<String, Entry> = BTreeMap::new();
        let mut ignored = 0;
        for (stored, mut tensor) in shards.tensors(folder)? {
            let Some(name) = rules.apply(&stored) else {
                ignored += 1;
                continue;
            };
            tensor.name.clone_from(&name);
            if let Some(other) = entries.get(&name) {
                let first = other.stored.clone();
                return Err(WeightsError::Collision {
                    name,
                    first,
                    second: stored,
                });
            }
            entries.insert(name, Entry { stored, tensor });
        }
        let mut notes = shards.notes;
        if ignored > 0 {
            notes.push(format!("{ignored} tensors are left out by `weights.ignore`"));
        }
        Ok(Self {
            entries,
            quantisation,
            notes,
            files: shards.files.len(),
        })
    }

    /// Whether there is a tensor of this full name.
    pub fn has(&self, name: &str) -> bool {
        self.entries.contains_key(name)
    }

    /// The full names of all tensors, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// What was odd about the files, but did no harm.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Counts and sizes.
    pub fn summary(&self) -> Summary {
        let tensors = self.entries.values();
        Summary::of(
            self.files,
            tensors.map(|entry| (&entry.tensor, self.parameters(entry))),
        )
    }

    /// How many of the model's parameters a tensor holds: packed values as many as they unpack to, their scales and
    /// biases none.
    fn parameters(&self, entry: &Entry) -> u64 {
        let name = entry.tensor.name.as_str();
        let quantised =
            |layer: &str| self.has(&format!("{layer}.scales")) && self.has(&format!("{layer}.weight"));
        if let Some(layer) = name.strip_suffix(".scales").or(name.strip_suffix(".biases"))
            && quantised(layer)
        {
            return 0;
        }
        let matrix = name
            .strip_suffix(".weight")
            .filter(|layer| quantised(layer))
            .map(|layer| {
                let rank = entry.tensor.shape.len();
                self.matrix(layer, "a quantised matrix", rank)
            });
        match matrix {
            Some(Ok(matrix)) => matrix.shape().iter().product::<usize>() as u64,
            _ => entry.tensor.len() as u64,
        }
    }

    /// The tensor of this full name, as stored.
    pub fn tensor(&self, name: &str) -> Result<StoredTensor, WeightsError> {
        self.entry(name).map(|entry| entry.tensor.clone())
    }

    /// The linear layer `name`: `name.weight`, dense `[out, in]` or quantised, with `name.bias` if there is one.
    pub fn linear(&self, name: &str) -> Result<Weight, WeightsError> {
        let matrix = self.matrix(name, "a linear layer", 2)?;
        let bias = self.bias(name, "the bias of a linear layer", &matrix)?;
        Ok(Weight::Linear { matrix, bias })
    }

    /// The embedding table `name`: `name.weight`, dense `[vocabulary, hidden]` or quantised.
    pub fn embedding(&self, name: &str) -> Result<Weight, WeightsError> {
        self.matrix(name, "an embedding", 2).map(Weight::Embedding)
    }

    /// The stacked linear layers of experts: `name.weight` or `name` itself, dense `[experts, out, in]` or quantised,
    /// with `name.bias` `[experts, out]` if there is one.
    pub fn experts(&self, name: &str) -> Result<Weight, WeightsError> {
        let matrix = self.matrix(name, "a stack of experts", 3)?;
        let bias = self.bias(name, "the bias of experts", &matrix)?;
        Ok(Weight::Experts { matrix, bias })
    }

    fn entry(&self, name: &str) -> Result<&Entry, WeightsError> {
        self.entries.get(name).ok_or_else(|| WeightsError::Missing {
            name: name.to_owned(),
            hint: hint(name, self.names()),
            total: self.entries.len(),
        })
    }

    fn matrix(&self, name: &str, role: &'static str, rank: usize) -> Result<Matrix, WeightsError> {
        let full = format!("{name}.weight");
        // Stacked experts are often a bare parameter.
        let bare = self.entries.get(name).filter(|_| rank == 3 && !self.has(&full));
        let entry = match bare {
            Some(entry) => entry,
            None => self.entry(&full)?,
        };
        let weight = entry.tensor.clone();
        let unfit = |expected: String, found: String| WeightsError::Unfit {
            name: weight.name.clone(),
            role,
            expected,
            found,
        };
        if weight.shape.len() != rank {
            return Err(unfit(
                format!("{rank} dimensions"),
                format!("shape {:?}", weight.shape),
            ));
        }
        if let Some(scales) = self.entries.get(&format!("{name}.scales")) {
            let layer = entry.stored.strip_suffix(".weight").unwrap_or(&entry.stored);
            let biases = self
                .entries
                .get(&format!("{name}.biases"))
                .map(|entry| entry.tensor.clone());
            return self
                .quantisation
                .matrix(layer, weight, scales.tensor.clone(), biases);
        }
        if weight.kind == StoredType::U32 {
            return Err(unfit(
                "numbers, or packed values with scales".to_owned(),
                format!("U32 without `{name}.scales`"),
            ));
        }
        if !is_float(weight.kind) {
            return Err(unfit(
                "F64, F32, F16 or BF16".to_owned(),
                weight.kind.name().to_owned(),
            ));
        }
        Ok(Matrix::Dense(weight))
    }

    /// One number an output, if the layer has a bias.
    fn bias(
        &self,
        name: &str,
        role: &'static str,
        matrix: &Matrix,
    ) -> Result<Option<StoredTensor>, WeightsError> {
        let Some(entry) = self.entries.get(&format!("{name}.bias")) else {
            return Ok(None);
        };
        let bias = &entry.tensor;
        let mut shape = matrix.shape();
        shape.pop();
        if bias.shape != shape || !is_float(bias.kind) {
            return Err(WeightsError::Unfit {
                name: bias.name.clone(),
                role,
                expected: format!("floats of shape {shape:?}"),
                found: format!("{} of shape {:?}", bias.kind.name(), bias.shape),
            });
        }
        Ok(Some(bias.clone()))
    }
}
