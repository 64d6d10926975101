//! A model's weights, by the names that its plugin uses.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, OnceLock};

use monocle_tensor::scheme::Scheme;
use monocle_tensor::stored::{Bytes, Matrix, StoredTensor, StoredType, Weight};
use serde_json::Value;

use crate::dequantise::dequantise_rows;
use crate::error::{WeightsError, cut};
use crate::folder::ModelFolder;
use crate::foreign;
use crate::gguf::Made;
use crate::lengths::Lengths;
use crate::names::{Clock, NameRules, hint};
use crate::packed::{self, AffinePart, Awq, Scaled};
use crate::quantisation::{Quantisation, Sizes};
use crate::shards::Shards;
use crate::summary::Summary;
use crate::turned::turned;

/// Elements of a quantised weight that is unpacked to be a tensor: 256 MiB.
const LARGEST_UNPACKED: usize = 1 << 26;

/// What a table is used as.
const EMBEDDING: &str = "an embedding";

/// A checkpoint: all its files mapped and checked, its tensors renamed; cheap to clone tensors out of.
#[derive(Debug, Clone)]
pub struct Checkpoint {
    entries: BTreeMap<String, Entry>,
    quantisation: Quantisation,
    /// The layers that came as AWQ's, by their names in the checkpoint.
    awq: BTreeSet<String>,
    notes: Vec<String>,
    /// Their names.
    files: Vec<String>,
    /// What the index names and no file holds, by the name that a plugin would ask for.
    promised: BTreeMap<String, Promise>,
    /// What GGUF files call the tensors, by the names that a plugin asks for; empty where there are none.
    in_gguf: BTreeMap<String, String>,
}

/// The file that an index names for a tensor that it does not hold.
#[derive(Debug, Clone)]
struct Promise {
    file: String,
    is_there: bool,
}

#[derive(Debug, Clone)]
struct Entry {
    /// The checkpoint's own name, which `config.json` uses too.
    stored: String,
    /// Under its new name. Of blocks, an element is a byte.
    tensor: StoredTensor,
    form: Form,
}

/// How an entry's elements are stored.
#[derive(Debug, Clone)]
enum Form {
    /// As the tensor's type says; packed words have their scales in other entries.
    Plain,
    Blocks(Scheme),
    Scaled(Scaled),
}

impl Entry {
    fn tensor(&self) -> StoredTensor {
        self.tensor.clone()
    }

    /// Its matrix, where it is all of it.
    fn own_matrix(&self) -> Option<Matrix> {
        match &self.form {
            Form::Plain => None,
            Form::Blocks(scheme) => Some(Matrix::Blocks {
                blocks: self.tensor(),
                scheme: *scheme,
            }),
            Form::Scaled(scaled) => Some(Matrix::Scaled {
                elements: self.tensor(),
                float: scaled.float,
                scales: scaled.scales.clone(),
                block: scaled.block,
            }),
        }
    }

    /// The layer's name in the checkpoint.
    fn layer(&self) -> &str {
        self.stored.strip_suffix(".weight").unwrap_or(&self.stored)
    }
}

/// A quantised layer.
struct Layer<'a> {
    stored: &'a str,
    packed: &'a StoredTensor,
    scales: &'a StoredTensor,
    biases: Option<&'a StoredTensor>,
}

/// What GGUF files would call a tensor: as they call the same one of another layer.
fn gguf_name(in_gguf: &BTreeMap<String, String>, asked: &str) -> Option<String> {
    let (before, layer, after) = around_number(asked)?;
    in_gguf.iter().find_map(|(name, own)| {
        let (start, _, end) = around_number(name)?;
        let (own_start, _, own_end) = around_number(own)?;
        ((start, end) == (before, after)).then(|| format!("{own_start}{layer}{own_end}"))
    })
}

/// A name's first part that is a number, and what stands before and after it.
fn around_number(name: &str) -> Option<(&str, &str, &str)> {
    let mut at = 0;
    for part in name.split('.') {
        if !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()) {
            return Some((&name[..at], part, &name[at + part.len()..]));
        }
        at += part.len() + 1;
    }
    None
}

impl Checkpoint {
    /// Opens a folder's weights: one safetensors file, or the shards that an index lists, or what is there in full where the index does not
    /// fit. What `config.json` says to be quantised in another program's way is refused before any file is looked at.
    pub fn open(folder: &ModelFolder, rules: &NameRules) -> Result<Self, WeightsError> {
        if let Some(made) = folder.made() {
            return Self::open_made(made, rules);
        }
        let quantisation = Quantisation::of_config(folder.config())?;
        Self::open_with(folder.path(), rules, quantisation, folder.config())
    }

    fn open_made(made: &Made, rules: &NameRules) -> Result<Self, WeightsError> {
        let mut checkpoint = Self {
            entries: BTreeMap::new(),
            quantisation: Quantisation::default(),
            awq: BTreeSet::new(),
            notes: made.notes.clone(),
            files: made.files.clone(),
            promised: BTreeMap::new(),
            in_gguf: BTreeMap::new(),
        };
        let clock = Clock::start();
        for (stored, tensor) in &made.tensors {
            let Some(name) = rules.apply(stored, clock)? else {
                continue;
            };
            let mut entry = Entry {
                stored: stored.clone(),
                tensor: tensor.tensor.clone(),
                form: tensor.scheme.map_or(Form::Plain, Form::Blocks),
            };
            let own = std::mem::replace(&mut entry.tensor.name, name.clone());
            checkpoint.in_gguf.insert(name.clone(), own);
            if let Some(other) = checkpoint.entries.insert(name.clone(), entry) {
                return Err(WeightsError::Collision {
                    name,
                    first: other.stored,
                    second: stored.clone(),
                });
            }
        }
        Ok(checkpoint)
    }

    fn open_with(
        folder: &Path,
        rules: &NameRules,
        mut quantisation: Quantisation,
        config: &Value,
    ) -> Result<Self, WeightsError> {
        let mut shards = Shards::open(folder)?;
        let mut entries: BTreeMap<String, Entry> = BTreeMap::new();
        let mut ignored = 0;
        let mut promises = shards.index.clone();
        let tensors = shards.tensors()?;
        tensors.keys().for_each(|stored| drop(promises.remove(stored)));
        let clock = Clock::start();
        let (arranged, awq) = arranged(tensors, config, &mut quantisation);
        for (stored, (mut tensor, form)) in arranged {
            let Some(name) = rules.apply(&stored, clock)? else {
                ignored += 1;
                continue;
            };
            if rules.turns(&stored, clock)? {
                tensor = turn(&tensor, &form)?;
            }
            tensor.name.clone_from(&name);
            if let Some(other) = entries.get(&name) {
                let first = other.stored.clone();
                return Err(WeightsError::Collision {
                    name,
                    first,
                    second: stored,
                });
            }
            let entry = Entry { stored, tensor, form };
            entries.insert(name, entry);
        }
        let mut promised = BTreeMap::new();
        for (stored, file) in promises {
            if let Some(name) = rules.apply(&stored, clock)? {
                let is_there = folder.join(&file).is_file();
                promised.insert(name, Promise { file, is_there });
            }
        }
        let mut notes = shards.notes;
        if ignored > 0 {
            notes.push(format!("{ignored} tensors are left out by `weights.ignore`"));
        }
        let mut checkpoint = Self {
            entries,
            quantisation,
            awq,
            notes,
            files: shards.files.iter().map(|file| file.name()).collect(),
            promised,
            in_gguf: BTreeMap::new(),
        };
        checkpoint.look_at_quantised();
        Ok(checkpoint)
    }

    /// Learns what all quantised layers together tell of `config.json`, and notes where it is wrong.
    fn look_at_quantised(&mut self) {
        let layers: Vec<Layer> = self.quantised_layers().collect();
        let mut quantisation = self.quantisation.clone();
        quantisation.look_at(
            layers
                .iter()
                .map(|layer| (layer.stored, layer.packed, layer.scales)),
            self.lengths(),
        );
        let otherwise: Vec<String> = layers
            .iter()
            .filter_map(|layer| {
                let sizes = quantisation.sizes(layer.stored, layer.packed, layer.scales, layer.biases);
                let Sizes { bits, group_size, .. } = sizes.ok().filter(|sizes| sizes.is_otherwise)?;
                Some(format!(
                    "`{}` ({bits} bits, groups of {group_size})",
                    cut(layer.stored)
                ))
            })
            .collect();
        self.quantisation = quantisation;
        if !otherwise.is_empty() {
            const SHOWN: usize = 8;
            let more = match otherwise.len().saturating_sub(SHOWN) {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            let shown = &otherwise[..otherwise.len().min(SHOWN)];
            self.notes.push(format!(
                "`config.json` says other bits or groups of {} quantised layers than their shapes, which count: {}{more}",
                otherwise.len(),
                shown.join(", ")
            ));
        }
    }

    /// What tensors that are not quantised tell of how long rows are.
    fn lengths(&self) -> Lengths {
        let mut lengths = Lengths::default();
        for entry in self.entries.values() {
            let is_part = [".scales", ".biases"]
                .iter()
                .any(|end| entry.stored.ends_with(end));
            let is_plain = matches!(entry.form, Form::Plain) && entry.tensor.kind.is_float();
            if !is_plain || is_part {
                continue;
            }
            lengths.gives(&entry.tensor.shape);
            if let [_, length] | [_, _, length] = entry.tensor.shape[..] {
                lengths.takes(entry.layer(), length as u64);
            }
        }
        lengths
    }

    fn quantised_layers(&self) -> impl Iterator<Item = Layer<'_>> {
        self.entries.iter().filter_map(|(name, scales)| {
            let layer = name.strip_suffix(".scales")?;
            let weight = self.entries.get(&format!("{layer}.weight"));
            let weight = weight.or_else(|| self.entries.get(layer))?;
            let biases = self.entries.get(&format!("{layer}.biases"));
            Some(Layer {
                stored: weight.layer(),
                packed: &weight.tensor,
                scales: &scales.tensor,
                biases: biases.map(|entry| &entry.tensor),
            })
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

    /// The names of its files.
    pub fn files(&self) -> &[String] {
        &self.files
    }

    /// What was odd about the files, but did no harm.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Counts and sizes.
    pub fn summary(&self) -> Summary {
        let forms = self.forms();
        Summary::of(
            self.files.len(),
            self.entries.iter().flat_map(|(name, entry)| {
                let parameters = self.parameters(entry);
                let (form, scales) = match &entry.form {
                    Form::Plain => (forms.get(name.as_str()).cloned(), None),
                    Form::Blocks(scheme) => (Some(scheme.name().to_owned()), None),
                    Form::Scaled(scaled) => {
                        let form = scaled.name().to_owned();
                        (Some(form.clone()), Some((&scaled.scales, Some(form), 0)))
                    }
                };
                [Some((&entry.tensor, form, parameters)), scales]
                    .into_iter()
                    .flatten()
            }),
        )
    }

    /// What words, scales and biases of quantised layers are, by the tensors' names.
    fn forms(&self) -> BTreeMap<&str, String> {
        let mut forms = BTreeMap::new();
        for layer in self.quantised_layers() {
            let Layer {
                stored,
                packed,
                scales,
                biases,
            } = layer;
            let Ok(Sizes { bits, .. }) = self.quantisation.sizes(stored, packed, scales, biases) else {
                continue;
            };
            let method = if self.awq.contains(stored) {
                "AWQ"
            } else {
                "affine"
            };
            for tensor in [Some(packed), Some(scales), biases].into_iter().flatten() {
                forms.insert(tensor.name.as_str(), format!("{method} {bits} bits"));
            }
        }
        forms
    }

    /// How many of the model's parameters a tensor holds: packed values as many as they unpack to, their scales and
    /// biases none.
    fn parameters(&self, entry: &Entry) -> u64 {
        if let Some(matrix) = entry.own_matrix() {
            return matrix.shape().iter().product::<usize>() as u64;
        }
        let name = entry.tensor.name.as_str();
        // Some tables are bare.
        let quantised = |layer: &str| {
            let has = |name: &str| self.has(name);
            has(&format!("{layer}.scales")) && (has(&format!("{layer}.weight")) || has(layer))
        };
        if let Some(layer) = name.strip_suffix(".scales").or(name.strip_suffix(".biases"))
            && quantised(layer)
        {
            return 0;
        }
        let layer = name.strip_suffix(".weight").unwrap_or(name);
        let matrix = Some(layer).filter(|layer| quantised(layer)).map(|layer| {
            let rank = entry.tensor.shape.len();
            let role = if layer == name {
                EMBEDDING
            } else {
                "a quantised matrix"
            };
            self.stored_matrix(layer, role, rank)
        });
        match matrix {
            Some(Ok(matrix)) => matrix.shape().iter().product::<usize>() as u64,
            _ => entry.tensor.len() as u64,
        }
    }

    /// The tensor of this full name, as stored.
    pub fn tensor(&self, name: &str) -> Result<StoredTensor, WeightsError> {
        self.entry(name).map(Entry::tensor)
    }

    /// The tensor of this full name, to be used as a tensor: `LAYER.weight` of a quantised layer in its real shape, as 32-bit floats.
    pub fn parameter(&self, name: &str) -> Result<StoredTensor, WeightsError> {
        let entry = self.entry(name)?;
        let layer = name.strip_suffix(".weight");
        let layer = layer.filter(|layer| self.has(&format!("{layer}.scales")));
        let matrix = match (entry.own_matrix(), layer) {
            (Some(matrix), _) => matrix,
            (None, Some(layer)) => {
                self.stored_matrix(layer, "a quantised tensor", entry.tensor.shape.len())?
            }
            (None, None) => return Ok(entry.tensor()),
        };
        let shape = matrix.shape();
        let (elements, columns) = (shape.iter().product::<usize>(), shape.last().copied());
        if elements > LARGEST_UNPACKED {
            return Err(WeightsError::Unfit {
                name: name.to_owned(),
                role: "a tensor of numbers, and no layer",
                expected: format!("at most {LARGEST_UNPACKED} quantised elements, which are unpacked"),
                found: format!("{elements}"),
            });
        }
        let values = dequantise_rows(&matrix, 0..elements / columns.unwrap_or(1).max(1))?;
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        Ok(StoredTensor {
            name: name.to_owned(),
            kind: StoredType::F32,
            shape,
            bytes: Bytes::new(bytes),
        })
    }

    /// The linear layer `name`: `name.weight`, dense `[out, in]` or quantised, with `name.bias` if there is one.
    pub fn linear(&self, name: &str) -> Result<Weight, WeightsError> {
        let matrix = self.matrix(name, "a linear layer", 2)?;
        let bias = self.bias(name, "the bias of a linear layer", &matrix)?;
        Ok(Weight::Linear { matrix, bias })
    }

    /// The embedding table `name`: `name.weight` or `name` itself, dense `[vocabulary, hidden]` or quantised.
    pub fn embedding(&self, name: &str) -> Result<Weight, WeightsError> {
        self.matrix(name, EMBEDDING, 2).map(Weight::Embedding)
    }

    /// The stacked linear layers of experts: `name.weight` or `name` itself, dense `[experts, out, in]` or quantised,
    /// with `name.bias` `[experts, out]` if there is one.
    pub fn experts(&self, name: &str) -> Result<Weight, WeightsError> {
        let matrix = self.matrix(name, "a stack of experts", 3)?;
        let bias = self.bias(name, "the bias of experts", &matrix)?;
        Ok(Weight::Experts { matrix, bias })
    }

    /// Linear layers that are stored one by one, as [`Checkpoint::experts`] gives those of a stack. All must have one shape and one form of
    /// storage, and biases all or none.
    pub fn stack_experts(&self, names: &[String]) -> Result<Weight, WeightsError> {
        const ROLE: &str = "one of a stack of experts";
        let mut layers: Vec<(Matrix, Option<StoredTensor>)> = Vec::with_capacity(names.len());
        for name in names {
            let matrix = self.matrix(name, ROLE, 2)?;
            let bias = self.bias(name, "the bias of an expert", &matrix)?;
            if let Some((first, first_bias)) = layers.first() {
                let form = |matrix: &Matrix, bias: bool| {
                    let bias = if bias { "a bias" } else { "no bias" };
                    format!("{:?} in {}, {bias}", matrix.shape(), matrix.form())
                };
                let expected = form(first, first_bias.is_some());
                let found = form(&matrix, bias.is_some());
                if expected != found {
                    return Err(WeightsError::Unfit {
                        name: format!("{name}.weight"),
                        role: ROLE,
                        expected: format!("{expected}, as `{}` has it", first.name()),
                        found,
                    });
                }
            }
            layers.push((matrix, bias));
        }
        Ok(Weight::Stack(layers))
    }

    fn entry(&self, name: &str) -> Result<&Entry, WeightsError> {
        if let Some(entry) = self.entries.get(name) {
            return Ok(entry);
        }
        let layer = name.strip_suffix(".weight").unwrap_or(name);
        let get = |name: &str| self.as_packed(name);
        let foreign = foreign::of_layer(layer, &get).or_else(|| foreign::of_any_layer(self.names(), &get));
        if let Some(error) = foreign {
            return Err(error);
        }
        let (name, total) = (name.to_owned(), self.entries.len());
        Err(match self.promised.get(&name) {
            Some(promise) => WeightsError::Promised {
                file: promise.file.clone(),
                is_there: promise.is_there,
                files: self.files.clone(),
                name,
                total,
            },
            None if !self.in_gguf.is_empty() => WeightsError::MissingInGguf {
                files: self.files.clone(),
                own: gguf_name(&self.in_gguf, &name),
                name,
                total,
            },
            None => WeightsError::Missing {
                hint: hint(&name, self.names()),
                name,
                total,
            },
        })
    }

    /// A tensor that nothing was made of.
    fn as_packed(&self, name: &str) -> Option<&StoredTensor> {
        let entry = self.entries.get(name)?;
        matches!(entry.form, Form::Plain).then_some(&entry.tensor)
    }

    /// The matrix of a layer; where it is none, because another program quantised it, that is said.
    fn matrix(&self, name: &str, role: &'static str, rank: usize) -> Result<Matrix, WeightsError> {
        self.stored_matrix(name, role, rank).map_err(|error| {
            let get = |name: &str| self.as_packed(name);
            foreign::of_layer(name, &get).unwrap_or_else(|| self.in_the_files_names(error))
        })
    }

    /// What is wrong with a tensor, by its name in GGUF files too, where it comes from such.
    fn in_the_files_names(&self, error: WeightsError) -> WeightsError {
        match error {
            WeightsError::Unfit {
                name,
                role,
                expected,
                found,
            } => match self.in_gguf.get(&name) {
                Some(own) => WeightsError::UnfitInGguf {
                    own: own.clone(),
                    name,
                    role,
                    expected,
                    found,
                },
                None => WeightsError::Unfit {
                    name,
                    role,
                    expected,
                    found,
                },
            },
            other => other,
        }
    }

    fn stored_matrix(&self, name: &str, role: &'static str, rank: usize) -> Result<Matrix, WeightsError> {
        let full = format!("{name}.weight");
        // Stacked experts are often a bare parameter, and some tables are.
        let may_be_bare = rank == 3 || role == EMBEDDING;
        let bare = self.entries.get(name).filter(|_| may_be_bare && !self.has(&full));
        let entry = match bare {
            Some(entry) => entry,
            None => self.entry(&full)?,
        };
        let weight = entry.tensor();
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
        if let Some(matrix) = entry.own_matrix() {
            return Ok(matrix);
        }
        if let Some(scales) = self.entries.get(&format!("{name}.scales")) {
            let biases = self
                .entries
                .get(&format!("{name}.biases"))
                .map(|entry| entry.tensor.clone());
            return self
                .quantisation
                .matrix(entry.layer(), weight, scales.tensor.clone(), biases);
        }
        if weight.kind == StoredType::U32 {
            return Err(unfit(
                "numbers, or packed values with scales".to_owned(),
                format!("U32 without `{name}.scales`; the files are incomplete: download the model again"),
            ));
        }
        if !weight.kind.is_float() {
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
        let bias = &entry.tensor();
        let mut shape = matrix.shape();
        shape.pop();
        if bias.shape != shape || !bias.kind.is_float() {
            return Err(self.in_the_files_names(WeightsError::Unfit {
                name: bias.name.clone(),
                role,
                expected: format!("floats of shape {shape:?}"),
                found: format!("{} of shape {:?}", bias.kind.name(), bias.shape),
            }));
        }
        Ok(Some(bias.clone()))
    }
}

/// A tensor of numbers with its last two dimensions the other way round.
fn turn(tensor: &StoredTensor, form: &Form) -> Result<StoredTensor, WeightsError> {
    let numbers = matches!(form, Form::Plain) && tensor.kind.is_float();
    let turned = turned(tensor).filter(|_| numbers);
    turned.ok_or_else(|| WeightsError::Unfit {
        name: tensor.name.clone(),
        role: "turned by `weights.turn`",
        expected: "matrices of F64, F32, F16 or BF16".to_owned(),
        found: format!("{} of shape {:?}", tensor.kind.name(), tensor.shape),
    })
}

/// The tensors of files as they are used, by the names that they have there: what other programs packed is arranged anew. With the names of AWQ's
/// layers.
fn arranged(
    mut tensors: BTreeMap<String, StoredTensor>,
    config: &Value,
    quantisation: &mut Quantisation,
) -> (BTreeMap<String, (StoredTensor, Form)>, BTreeSet<String>) {
    let packed = packed::small_floats(&tensors, config);
    let awq = packed::awq(&tensors);
    let used = packed.iter().flat_map(|layer| &layer.parts);
    used.for_each(|name| drop(tensors.remove(name)));
    for layer in &awq {
        for part in ["qweight", "qzeros", "scales"] {
            tensors.remove(&format!("{}.{part}", layer.layer));
        }
    }
    let plain = tensors
        .into_iter()
        .map(|(name, tensor)| (name, (tensor, Form::Plain)));
    let mut arranged: BTreeMap<String, (StoredTensor, Form)> = plain.collect();
    for layer in packed {
        arranged.insert(layer.name, (layer.elements, Form::Scaled(layer.scaled)));
    }
    let names = awq.iter().map(|layer| layer.layer.clone()).collect();
    for layer in awq {
        if let Some(size) = layer.group_size() {
            quantisation.say(&layer.layer, 4, size);
        }
        let layer = Arc::new(layer);
        let [words, groups] = layer.affine_shapes();
        for (end, part, kind, shape) in [
            ("weight", AffinePart::Words, StoredType::U32, words),
            ("scales", AffinePart::Scales, StoredType::F32, groups.clone()),
            ("biases", AffinePart::Biases, StoredType::F32, groups),
        ] {
            let name = format!("{}.{end}", layer.layer);
            let made = Repacked {
                layer: Arc::clone(&layer),
                part,
                done: OnceLock::new(),
            };
            let bytes = Bytes::later(shape.iter().product::<usize>() * kind.size(), made);
            let tensor = StoredTensor {
                name: name.clone(),
                kind,
                shape,
                bytes,
            };
            arranged.insert(name, (tensor, Form::Plain));
        }
    }
    (arranged, names)
}

/// A part of one of AWQ's layers, made when it is first read.
struct Repacked {
    layer: Arc<Awq>,
    part: AffinePart,
    done: OnceLock<Vec<u8>>,
}

impl AsRef<[u8]> for Repacked {
    fn as_ref(&self) -> &[u8] {
        self.done.get_or_init(|| self.layer.affine(self.part))
    }
}
