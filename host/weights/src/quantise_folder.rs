//! Writes a quantised copy of a model's folder, laid out as MLX's conversions are.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use half::{bf16, f16};
use monocle_tensor::stored::{StoredTensor, StoredType};
use serde_json::{Map, Value, json};

use crate::dequantise::to_f32;
use crate::error::WeightsError;
use crate::folder::ModelFolder;
use crate::foreign::refuse_foreign;
use crate::hub::is_wanted;
use crate::json::read_json;
use crate::names::regex;
use crate::quantise::quantise;
use crate::shards::{INDEX, Shards};

/// How a folder is quantised.
#[derive(Debug, Clone)]
pub struct QuantiseOptions {
    /// 2, 3, 4, 5, 6 or 8.
    pub bits: u32,
    /// 32, 64 or 128.
    pub group_size: usize,
    /// Regular expressions; weights whose name matches one stay as they are. Position embeddings do by default: models
    /// add them as they stand, and do not look them up as a layer.
    pub keep: Vec<String>,
}

impl QuantiseOptions {
    /// The usual choice: everything that can be, but for position embeddings.
    pub fn new(bits: u32, group_size: usize) -> Self {
        Self {
            bits,
            group_size,
            keep: vec!["position_embed".to_owned()],
        }
    }
}

/// Writes to `target`, a new folder, the model of `source` with all its matrices quantised whose rows are whole groups.
/// Returns the names of the quantised layers.
pub fn quantise_folder(
    source: &ModelFolder,
    target: &Path,
    options: &QuantiseOptions,
) -> Result<Vec<String>, WeightsError> {
    quantise_folder_with(source, target, options, &mut |_| {})
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

/// As [`quantise_folder`], telling how far it is. Each file gets its name when it is whole; a conversion that was cut off, begun again
/// with the same options, goes on after the last of them.
pub fn quantise_folder_with(
    source: &ModelFolder,
    target: &Path,
    options: &QuantiseOptions,
    progress: &mut dyn FnMut(&Converting),
) -> Result<Vec<String>, WeightsError> {
    refuse_foreign(source.config())?;
    if source.made_texts().is_some() {
        return Err(WeightsError::GgufContents {
            file: source.path().to_owned(),
            problem: "it is quantised already; convert the original's safetensors".to_owned(),
        });
    }
    let begun = begin(source, target, options)?;
    let keep = options
        .keep
        .iter()
        .map(|pattern| regex("keep", pattern))
        .collect::<Result<Vec<_>, _>>()?;
    let mut shards = Shards::open(source.path())?;
    let mut tensors = shards.tensors()?;
    let bytes = |tensor: &StoredTensor| (tensor.len() * tensor.kind.size()) as u64;
    let mut state = Converting {
        tensor: String::new(),
        done: 0,
        total: tensors.values().map(bytes).sum(),
    };
    let mut layers = Vec::new();
    let mut weight_map = Map::new();
    for file in &shards.files {
        let mut parts = Vec::new();
        for header in &file.header().tensors {
            // Absent when another file's tensor of this name counts, or when this one has been written.
            let Some(tensor) = tensors.remove(&header.name) else {
                continue;
            };
            let layer = tensor.name.strip_suffix(".weight").map(str::to_owned);
            match layer.filter(|_| {
                can_quantise(&tensor, options) && !keep.iter().any(|keep| keep.is_match(&tensor.name))
            }) {
                Some(layer) => {
                    parts.push(Part::Quantised(tensor, layer.clone()));
                    layers.push(layer);
                }
                None => parts.push(Part::Copied(tensor)),
            }
        }
        for (name, ..) in parts.iter().flat_map(|part| part.entries(options)) {
            weight_map.insert(name, file.name().into());
        }
        let path = target.join(file.name());
        if begun && path.is_file() {
            state.done += parts.iter().map(|part| bytes(part.source())).sum::<u64>();
            continue;
        }
        let partial = target.join(format!("{}.partial", file.name()));
        write_file(&partial, &parts, options, &mut |tensor| {
            state.tensor.clone_from(&tensor.name);
            progress(&state);
            state.done += bytes(tensor);
        })?;
        std::fs::rename(&partial, &path).map_err(|error| WeightsError::io("rename", &partial, error))?;
    }
    state.tensor.clear();
    progress(&state);
    if shards.files.len() > 1 {
        write_json(
            &target.join(INDEX),
            &json!({ "metadata": {}, "weight_map": weight_map }),
        )?;
    }
    copy_small_files(source.path(), target)?;
    let mut config = source.config().clone();
    let settings = json!({ "group_size": options.group_size, "bits": options.bits });
    config["quantization"] = settings.clone();
    config["quantization_config"] = settings;
    write_json(&target.join("config.json"), &config)?;
    let mark = target.join(MARK);
    std::fs::remove_file(&mark).map_err(|error| WeightsError::io("remove", &mark, error))?;
    Ok(layers)
}

/// What a folder holds while it is not whole.
const MARK: &str = ".monocle-convert.json";

/// Makes the folder ready; true where it holds the beginning of this very conversion.
fn begin(source: &ModelFolder, target: &Path, options: &QuantiseOptions) -> Result<bool, WeightsError> {
    let create = |error| WeightsError::io("create", target, error);
    std::fs::create_dir_all(target).map_err(create)?;
    let from = std::fs::canonicalize(source.path()).unwrap_or_else(|_| source.path().to_owned());
    let mark = json!({
        "source": from.display().to_string(), "bits": options.bits, "group_size": options.group_size, "keep": options.keep,
    });
    let path = target.join(MARK);
    if read_json(&path)?.is_some_and(|found| found == mark) {
        return Ok(true);
    }
    if std::fs::read_dir(target).map_err(create)?.next().is_some() {
        return Err(WeightsError::NotEmpty {
            folder: target.to_owned(),
        });
    }
    write_json(&path, &mark)?;
    Ok(false)
}

fn can_quantise(tensor: &StoredTensor, options: &QuantiseOptions) -> bool {
    let float = matches!(tensor.kind, StoredType::F32 | StoredType::F16 | StoredType::BF16);
    let rows = |columns: &usize| *columns > 0 && columns.is_multiple_of(options.group_size);
    float && matches!(tensor.shape.len(), 2 | 3) && tensor.shape.last().is_some_and(rows)
}

/// One tensor of the source.
enum Part {
    Copied(StoredTensor),
    /// With the layer's name.
    Quantised(StoredTensor, String),
}

impl Part {
    fn source(&self) -> &StoredTensor {
        match self {
            Self::Copied(tensor) | Self::Quantised(tensor, _) => tensor,
        }
    }

    /// Name, type and shape of what is written, in the order of the bytes.
    fn entries(&self, options: &QuantiseOptions) -> Vec<(String, StoredType, Vec<usize>)> {
        match self {
            Self::Copied(tensor) => vec![(tensor.name.clone(), tensor.kind, tensor.shape.clone())],
            Self::Quantised(tensor, layer) => {
                let (rows, columns) = tensor.shape.split_at(tensor.shape.len() - 1);
                let shape = |last: usize| [rows, &[last]].concat();
                let packed = shape(columns[0] * options.bits as usize / 32);
                let scales = shape(columns[0] / options.group_size);
                vec![
                    (tensor.name.clone(), StoredType::U32, packed),
                    (format!("{layer}.scales"), tensor.kind, scales.clone()),
                    (format!("{layer}.biases"), tensor.kind, scales),
                ]
            }
        }
    }

    fn bytes(&self, options: &QuantiseOptions) -> Result<Vec<u8>, WeightsError> {
        match self {
            Self::Copied(tensor) => Ok(tensor.bytes.as_slice().to_vec()),
            Self::Quantised(tensor, _) => {
                let columns = tensor.shape.last().copied().unwrap_or(0);
                let quantised = quantise(
                    &to_f32(tensor)?,
                    columns,
                    options.bits,
                    options.group_size,
                    tensor.kind,
                )
                .map_err(|error| WeightsError::Quantisation {
                    name: tensor.name.clone(),
                    problem: error.to_string(),
                })?;
                let mut bytes: Vec<u8> = quantised
                    .packed
                    .iter()
                    .flat_map(|word| word.to_le_bytes())
                    .collect();
                for value in quantised.scales.iter().chain(&quantised.biases) {
                    match tensor.kind {
                        StoredType::F16 => bytes.extend(f16::from_f32(*value).to_le_bytes()),
                        StoredType::BF16 => bytes.extend(bf16::from_f32(*value).to_le_bytes()),
                        _ => bytes.extend(value.to_le_bytes()),
                    }
                }
                Ok(bytes)
            }
        }
    }
}

/// Writes one safetensors file; only one tensor is in memory at a time.
fn write_file(
    path: &Path,
    parts: &[Part],
    options: &QuantiseOptions,
    next: &mut dyn FnMut(&StoredTensor),
) -> Result<(), WeightsError> {
    let mut header = BTreeMap::from([("__metadata__".to_owned(), json!({ "format": "mlx" }))]);
    let mut at = 0;
    for (name, kind, shape) in parts.iter().flat_map(|part| part.entries(options)) {
        let end = at + shape.iter().product::<usize>() * kind.size();
        header.insert(
            name,
            json!({ "dtype": kind.name(), "shape": shape, "data_offsets": [at, end] }),
        );
        at = end;
    }
    let mut text = json!(header).to_string();
    text.push_str(&" ".repeat(text.len().next_multiple_of(8) - text.len()));

    let io = |error| WeightsError::io("write", path, error);
    let mut file = BufWriter::new(File::create(path).map_err(io)?);
    file.write_all(&(text.len() as u64).to_le_bytes()).map_err(io)?;
    file.write_all(text.as_bytes()).map_err(io)?;
    for part in parts {
        next(part.source());
        file.write_all(&part.bytes(options)?).map_err(io)?;
    }
    file.flush().map_err(io)
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
