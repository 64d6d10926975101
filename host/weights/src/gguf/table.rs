//! Tables that say what llama.cpp's names stand for: one TOML file for each architecture, beside the manifests.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use regex::Regex;
use serde::Deserialize;
use serde_json::Value;

use crate::error::WeightsError;
use crate::names::regex;

/// The folder of the tables, in a folder of manifests.
const FOLDER: &str = "gguf";
/// The file that says how vocabularies cut text.
const VOCABULARIES: &str = "vocabularies.toml";

/// All tables.
#[derive(Debug, Clone, Default)]
pub struct Tables {
    tables: Vec<(PathBuf, Table)>,
    /// How text is cut, by the names of `tokenizer.ggml.pre`.
    pub(super) vocabularies: BTreeMap<String, Cut>,
}

/// What a pair of files is in the terms of a model's folder.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Table {
    /// `general.architecture` of the language model.
    pub language: String,
    /// The projector's type of the `mmproj` file.
    pub projector: String,
    /// Key-values with numbers that nothing else says.
    #[serde(default)]
    pub required: Vec<String>,
    /// What conversions of this pair must have, and some have not.
    #[serde(default)]
    pub needs: Vec<Need>,
    /// How wide what the projector gives is; it must be as wide as the language model's rows.
    #[serde(default)]
    pub features: Value,
    /// Tokens that end an answer besides those that key-values name, as `generation_config.json` of the original has them.
    #[serde(default)]
    pub ends: Vec<String>,
    /// `config.json`.
    pub config: Value,
    /// `preprocessor_config.json`.
    #[serde(default)]
    pub preprocessor: Value,
    /// `processor_config.json`.
    #[serde(default)]
    pub processor: Value,
    /// Tensors, the first that fits counts.
    pub tensors: Vec<TensorRule>,
    /// Regular expressions: tensors that nobody needs.
    #[serde(default)]
    pub ignore: Vec<String>,
}

/// What a model cannot do without.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Need {
    /// It must be there, and not be false.
    pub value: Value,
    /// What is said where it is not: what is wrong, and what to take instead.
    pub otherwise: String,
}

/// What becomes of a tensor.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TensorRule {
    /// A regular expression for the whole name.
    pub from: String,
    /// The new name, with `$1`.
    pub to: String,
    /// The key-value with an array of flags, one a layer: `$1` is a layer's number, and becomes its place among those with the flag.
    pub place_in: Option<String>,
    /// The key-value with the number of heads: each head's rows lie in pairs, of the first half and the second.
    pub paired_rows_of: Option<String>,
    /// Each head's rows, as many as turn with the position, lie in halves, of which rows lie in pairs otherwise.
    pub halved_rows_of: Option<Turned>,
    /// A kernel `[out, channels, height, width]` is a matrix of rows of pixels, the channels of one after another.
    #[serde(default)]
    pub channels_last: bool,
    /// Added to each number.
    pub add: Option<f32>,
    /// Tensors whose rows follow.
    #[serde(default)]
    pub join: Vec<String>,
    /// Tensors that lie beside it along a new dimension.
    pub stack: Option<Stack>,
    /// Each matrix, one a head, is turned, and the rows of this tensor's matrix of the same head follow: `[heads, columns, rows]` and
    /// `[heads, more, columns]` are `[heads · (rows + more), columns]`.
    pub turned_heads_with: Option<String>,
    /// Rows are those of a square, `[side · side, columns]` is `[side, side, columns]`.
    #[serde(default)]
    pub square: bool,
    /// All dimensions but one are 1, and are left out.
    #[serde(default)]
    pub vector: bool,
    /// Each matrix of a stack `[count, rows, columns]` is a tensor of its own, with its number in place of `{}` in the new name.
    #[serde(default)]
    pub apart: bool,
}

/// Heads of which a part turns with the position.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Turned {
    /// The key-value with the number of heads.
    pub heads: String,
    /// The key-value with the number of rows of each head that turn.
    pub rows: String,
}

/// Tensors that were cut apart along a dimension.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Stack {
    /// The others, in order.
    pub with: Vec<String>,
    /// The dimension that they were cut along.
    pub axis: usize,
}

/// How a vocabulary cuts text, in the terms of `tokenizer.json`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Cut {
    #[serde(default)]
    pub normalizer: Value,
    pub pre_tokenizer: Value,
    /// Whole words that are tokens are not put together from parts.
    #[serde(default)]
    pub ignore_merges: bool,
}

impl Tables {
    /// Reads the tables in folders of manifests; of the same name, the first counts.
    pub fn read<'a>(folders: impl IntoIterator<Item = &'a Path>) -> Result<Self, WeightsError> {
        let mut tables = Self::default();
        for folder in folders {
            let Ok(entries) = std::fs::read_dir(folder.join(FOLDER)) else {
                continue;
            };
            let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
            paths.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
            paths.sort();
            for path in paths {
                if path.file_name().is_some_and(|name| name == VOCABULARIES) {
                    for (name, cut) in parse::<BTreeMap<String, Cut>>(&path)? {
                        tables.vocabularies.entry(name).or_insert(cut);
                    }
                } else if !tables
                    .tables
                    .iter()
                    .any(|(known, _)| known.file_name() == path.file_name())
                {
                    let table: Table = parse(&path)?;
                    tables.tables.push((path, table));
                }
            }
        }
        Ok(tables)
    }

    /// The table for a pair of files.
    pub(super) fn find(&self, language: &str, projector: &str) -> Option<&Table> {
        let fits = |table: &&Table| table.language == language && table.projector == projector;
        self.tables.iter().map(|(_, table)| table).find(fits)
    }

    /// The pairs that are known, for messages.
    pub(super) fn known(&self) -> Vec<String> {
        let pair = |(_, table): &(PathBuf, Table)| format!("{} with {}", table.language, table.projector);
        self.tables.iter().map(pair).collect()
    }
}

/// A pattern for a whole name.
pub(super) fn whole(pattern: &str) -> Result<Regex, WeightsError> {
    regex("tensors.from", &format!("^(?:{pattern})$"))
}

fn parse<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, WeightsError> {
    let text = monocle_files::read_text(path, monocle_files::TEXT)
        .map_err(|error| WeightsError::io("read", path, error.into()))?;
    toml::from_str(&text).map_err(|error| WeightsError::BadText {
        file: path.to_owned(),
        expected: "a table of GGUF names",
        reason: error.to_string(),
    })
}
