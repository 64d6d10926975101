//! Writes a quantised copy of a model's folder, laid out as MLX's conversions are.

mod choice;
mod mark;
mod modules;
mod target;
mod write;

use std::collections::BTreeMap;
use std::path::Path;

use monocle_tensor::stored::StoredTensor;
use serde_json::{Map, Value, json};

use crate::error::WeightsError;
use crate::folder::ModelFolder;
use crate::foreign::{own, refuse_foreign};
use crate::hub::is_wanted;
use crate::packed;
use crate::shards::{INDEX, SINGLE, Shards};
use choice::{Choices, POSITIONS};
pub use choice::{EMBEDDINGS_FLAG, HEAD_FLAG, Part, SEEING};
pub use mark::finish_conversion;
pub(crate) use mark::unfinished;
pub(crate) use modules::of as modules_of;
pub(crate) use target::{Target, taken_apart};

/// How a folder is quantised.
#[derive(Debug, Clone)]
pub struct QuantiseOptions {
    /// 2, 3, 4, 5, 6 or 8.
    pub bits: u32,
    /// 32, 64 or 128.
    pub group_size: usize,
    /// Bits of the weights that matter most: values and the last matrix of the feed-forward part in some of the layers, embeddings and the
    /// head. None where all get the same.
    pub mixed: Option<u32>,
    /// What becomes of the tables that tokens are looked up in, whatever the rest says.
    pub embeddings: Option<Part>,
    /// What becomes of the head, whatever the rest says.
    pub head: Option<Part>,
    /// Regular expressions; weights whose name matches one stay as they are. Position embeddings do by default: models
    /// add them as they stand, and do not look them up as a layer.
    pub keep: Vec<String>,
    /// A file has no more bytes than this, unless one tensor has.
    pub file_bytes: u64,
}

impl QuantiseOptions {
    /// The usual choice: everything that can be, but for position embeddings.
    pub fn new(bits: u32, group_size: usize) -> Self {
        Self {
            bits,
            group_size,
            mixed: None,
            embeddings: None,
            head: None,
            keep: vec![POSITIONS.to_owned()],
            // As `mlx_vlm.convert` has it.
            file_bytes: 5 << 30,
        }
    }

    /// The same as flags of `monocle convert`.
    fn flags(&self) -> String {
        let mut text = format!("--bits {} --group {}", self.bits, self.group_size);
        if let Some(bits) = self.mixed {
            text += &format!(" --mixed {bits}");
        }
        for (flag, part) in [("embeddings", self.embeddings), ("head", self.head)] {
            match part {
                None => {}
                Some(Part::Keep) => text += &format!(" --{flag} keep"),
                Some(Part::Bits(bits)) => text += &format!(" --{flag} {bits}"),
            }
        }
        for pattern in self.keep.iter().filter(|pattern| *pattern != POSITIONS) {
            match pattern.as_str() {
                SEEING => text += " --keep-vision",
                other => text += &format!(" --keep '{other}'"),
            }
        }
        format!("{text} --file-size {}", self.file_bytes)
    }
}

/// What a conversion wrote.
#[derive(Debug, Clone)]
pub struct Converted {
    /// The quantised layers, each with its bits.
    pub layers: BTreeMap<String, u32>,
    /// What was odd about the options, but did no harm.
    pub notes: Vec<String>,
    /// [`EMBEDDINGS_FLAG`] and [`HEAD_FLAG`], where they changed nothing.
    pub unused: Vec<&'static str>,
}

/// How far a conversion is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Converting {
    /// The tensor that comes next; empty at the end.
    pub tensor: String,
    /// Bytes of the source that are done.
    pub done: u64,
    /// All its bytes.
    pub total: u64,
}

/// Writes to `target`, a new folder, the model of `source` with all its matrices quantised whose rows are whole groups.
/// Returns the names of the quantised layers, each with its bits.
pub fn quantise_folder(
    source: &ModelFolder,
    target: &Path,
    options: &QuantiseOptions,
) -> Result<BTreeMap<String, u32>, WeightsError> {
    let converted = quantise_folder_with(source, target, options, &mut |_| {})?;
    finish_conversion(target)?;
    Ok(converted.layers)
}

/// As [`quantise_folder`], telling how far it is. Each file gets its name when it is whole; a conversion that was cut off, begun again
/// with the same options, goes on after the last of them. Until [`finish_conversion`] is called, it can be begun again.
pub fn quantise_folder_with(
    source: &ModelFolder,
    target: &Path,
    options: &QuantiseOptions,
    progress: &mut dyn FnMut(&Converting),
) -> Result<Converted, WeightsError> {
    refuse_quantised(source)?;
    let mut shards = Shards::open(source.path())?;
    let tensors = shards.tensors()?;
    let packed = packed::small_floats(&tensors, source.config());
    if !packed.is_empty() || !packed::awq(&tensors).is_empty() {
        return Err(WeightsError::QuantisedAlready {
            path: source.path().to_owned(),
            how: "small floats with scales, or AWQ",
        });
    }
    let choices = Choices::new(options, &tensors)?;
    let targets = target::targets(in_order(&shards, tensors), &|name| choices.keeps(name))?;
    choices.refuse_nothing(source.path(), &targets)?;
    let (notes, unused) = (choices.notes(&targets), choices.unused(&targets));
    let begun = mark::begin(source, &shards, target, options)?;
    let mut state = Converting {
        tensor: String::new(),
        done: 0,
        total: targets.iter().map(Target::bytes).sum(),
    };
    let mut layers = BTreeMap::new();
    let mut parts = Vec::new();
    for target in targets {
        let bits = choices.bits(&target);
        let layer = target.name.strip_suffix(".weight").unwrap_or(&target.name);
        let quantised = bits.map(|bits| (bits, layer.to_owned()));
        layers.extend(quantised.iter().map(|(bits, layer)| (layer.clone(), *bits)));
        parts.push(write::Part { target, quantised });
    }
    let files = in_files(parts, options);
    let count = files.len();
    let mut weight_map = Map::new();
    let mut total_size = 0;
    for (number, parts) in files.iter().enumerate() {
        let name = match count {
            1 => SINGLE.to_owned(),
            _ => format!("model-{:05}-of-{count:05}.safetensors", number + 1),
        };
        for part in parts {
            total_size += part.bytes(options.group_size);
            for (tensor, ..) in part.entries(options.group_size) {
                weight_map.insert(tensor, name.clone().into());
            }
        }
        let path = target.join(&name);
        if begun.goes_on && path.is_file() {
            state.done += parts.iter().map(|part| part.target.bytes()).sum::<u64>();
            continue;
        }
        let partial = target.join(format!("{name}.partial"));
        let written = write::write(&partial, parts, options.group_size, &mut |target| {
            state.tensor.clone_from(&target.name);
            progress(&state);
            state.done += target.bytes();
        });
        if let Err(error) = written {
            let _ = std::fs::remove_file(&partial);
            if number == 0 {
                begun.undo(target);
            }
            return Err(error);
        }
        std::fs::rename(&partial, &path).map_err(|error| WeightsError::io("rename", &partial, error))?;
    }
    state.tensor.clear();
    progress(&state);
    if count > 1 {
        let index = json!({ "metadata": { "total_size": total_size }, "weight_map": weight_map });
        write_json(&target.join(INDEX), &index)?;
    }
    copy_small_files(source.path(), target)?;
    let mut config = source.config().clone();
    let settings = settings(options, &layers);
    config["quantization"] = settings.clone();
    config["quantization_config"] = settings;
    write_json(&target.join("config.json"), &config)?;
    Ok(Converted {
        layers,
        notes,
        unused,
    })
}

/// What is quantised already would lose twice.
fn refuse_quantised(source: &ModelFolder) -> Result<(), WeightsError> {
    let how = if let Some(made) = source.made() {
        if made.tensors.iter().all(|(_, tensor)| tensor.scheme.is_none()) {
            return Err(WeightsError::GgufSource {
                path: source.path().to_owned(),
            });
        }
        "GGUF"
    } else if ["quantization", "quantization_config"]
        .iter()
        .any(|key| own(&source.config()[*key]).is_some())
    {
        "MLX's quantisation"
    } else {
        return refuse_foreign(source.config());
    };
    Err(WeightsError::QuantisedAlready {
        path: source.path().to_owned(),
        how,
    })
}

/// The tensors in the order of their bytes.
fn in_order(shards: &Shards, mut tensors: BTreeMap<String, StoredTensor>) -> Vec<StoredTensor> {
    let headers = shards.files.iter().flat_map(|file| &file.header().tensors);
    // Absent when another file's tensor of this name was meant, and is taken already.
    headers
        .filter_map(|header| tensors.remove(&header.name))
        .collect()
}

/// Which tensors go into which file.
fn in_files(parts: Vec<write::Part>, options: &QuantiseOptions) -> Vec<Vec<write::Part>> {
    let mut files = vec![Vec::new()];
    let mut size = 0;
    for part in parts {
        let bytes = part.bytes(options.group_size);
        if size > 0 && size + bytes > options.file_bytes {
            files.push(Vec::new());
            size = 0;
        }
        size += bytes;
        if let Some(file) = files.last_mut() {
            file.push(part);
        }
    }
    files
}

/// `quantization` of `config.json`: the bits of most layers, and a table for each layer that has others, by the checkpoint's name and by
/// those that mlx-vlm has for it.
fn settings(options: &QuantiseOptions, layers: &BTreeMap<String, u32>) -> Value {
    let mut settings = json!({ "group_size": options.group_size, "bits": options.bits });
    for (layer, bits) in layers.iter().filter(|(_, bits)| **bits != options.bits) {
        let table = json!({ "group_size": options.group_size, "bits": bits });
        for module in modules::of(layer) {
            // What has this name in the checkpoint itself is another layer.
            if !layers.contains_key(&module) {
                settings[module] = table.clone();
            }
        }
        settings[layer] = table;
    }
    settings
}

fn write_json(path: &Path, value: &Value) -> Result<(), WeightsError> {
    std::fs::write(path, format!("{value:#}\n")).map_err(|error| WeightsError::io("write", path, error))
}

/// Tokenizer, templates and configurations, but for what is written anew.
fn copy_small_files(source: &Path, target: &Path) -> Result<(), WeightsError> {
    let io = |error| WeightsError::io("copy from", source, error);
    for entry in std::fs::read_dir(source).map_err(io)? {
        let name = entry.map_err(io)?.file_name();
        let text = name.to_string_lossy();
        let anew = text.ends_with(".safetensors") || text == INDEX || text == "config.json";
        if is_wanted(&text) && !anew && source.join(&name).is_file() {
            std::fs::copy(source.join(&name), target.join(&name)).map_err(io)?;
        }
    }
    Ok(())
}
