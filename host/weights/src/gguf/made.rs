//! A model's folder, made of GGUF files by a table.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::OnceLock;

use monocle_tensor::scheme::Scheme;
use monocle_tensor::stored::{Bytes, Matrix, StoredTensor, StoredType};
use serde_json::{Map, Value, json};

use super::file::GgufFile;
use super::header::Storage;
use super::source::{ARCHITECTURE, GgufFiles, SEES, first_path};
use super::stored_as::stored_as;
use super::table::{Need, Table, Tables, TensorRule, Turned, whole};
use super::vocabulary;
use crate::dequantise::dequantise_rows;
use crate::error::{WeightsError, cut, list};
use crate::names::regex;

/// The most layers that a list of layers is made for.
const MOST_LAYERS: usize = 4096;

/// See the module.
#[derive(Debug)]
pub struct Made {
    /// Small files, by their names.
    pub(crate) texts: BTreeMap<String, String>,
    /// `config.json`
    pub(crate) config: Value,
    /// By their new names.
    pub(crate) tensors: Vec<(String, MadeTensor)>,
    /// The names of the GGUF files.
    pub(crate) files: Vec<String>,
    /// What is odd but harmless.
    pub(crate) notes: Vec<String>,
    /// Where the language model is.
    pub(crate) first: PathBuf,
    /// Why there is no tokenizer among the texts, where there is none.
    pub(crate) no_vocabulary: Option<String>,
    /// How most of it is stored, in llama.cpp's words.
    pub(crate) stored_as: Option<String>,
}

/// A tensor under its new name.
#[derive(Debug, Clone)]
pub(crate) struct MadeTensor {
    /// Under its own name; where the conversion did something to it, in its final shape.
    pub tensor: StoredTensor,
    /// Where it is made of blocks.
    pub scheme: Option<Scheme>,
}

/// What the conversion did to a tensor's numbers, undone when they are first read.
#[derive(Debug)]
struct Change {
    how: How,
    /// The tensor as the file has it.
    stored: StoredTensor,
    scheme: Option<Scheme>,
    done: OnceLock<Vec<u8>>,
}

#[derive(Debug)]
enum How {
    /// Rows of heads that lie in pairs go back into halves.
    Unpair { heads: usize },
    /// The first `turned` rows of each head, which lie in halves, go back into pairs.
    Pair { heads: usize, turned: usize },
    /// Channels go behind the pixels.
    ChannelsLast,
    /// A number is added, in 32 bits.
    Add(f32),
    /// Others' rows follow.
    Join(Vec<StoredTensor>),
    /// Others lie beside it, so many bytes of each at a time.
    Stack(Vec<StoredTensor>, usize),
    /// Each matrix is turned, and the rows of another's follow, in 32 bits.
    TurnHeads(StoredTensor, Option<Scheme>),
}

impl AsRef<[u8]> for Change {
    fn as_ref(&self) -> &[u8] {
        self.done.get_or_init(|| self.apply())
    }
}

/// Sizes of a stack of matrices, in elements; 0 for other tensors.
fn sizes(stored: &StoredTensor, scheme: Option<Scheme>) -> [usize; 3] {
    let &[count, rows, last] = &stored.shape[..] else {
        return [0; 3];
    };
    match scheme {
        Some(scheme) => [count, rows, last / scheme.bytes() * scheme.elements()],
        None => [count, rows, last],
    }
}

/// A tensor's elements, in order.
fn numbers(stored: &StoredTensor, scheme: Option<Scheme>) -> Vec<f32> {
    match scheme {
        Some(scheme) => {
            let blocks = stored.clone();
            let rows = stored.shape.iter().rev().skip(1).product();
            dequantise_rows(&Matrix::Blocks { blocks, scheme }, 0..rows).unwrap_or_default()
        }
        None => stored.floats().map(Iterator::collect).unwrap_or_default(),
    }
}

impl Change {
    fn apply(&self) -> Vec<u8> {
        let bytes = self.stored.bytes.as_slice();
        match &self.how {
            How::Unpair { heads } => {
                let half = self.stored.shape[0] / heads / 2;
                self.rows(*heads, |row| row % half * 2 + row / half)
            }
            How::Pair { heads, turned } => {
                let half = turned / 2;
                self.rows(*heads, |row| match row < *turned {
                    true => row % 2 * half + row / 2,
                    false => row,
                })
            }
            How::ChannelsLast => {
                let (channels, size) = (self.stored.shape[1], self.stored.kind.size());
                let pixels: usize = self.stored.shape[2..].iter().product();
                let kernels = bytes.chunks(channels * pixels * size);
                kernels
                    .flat_map(|kernel| {
                        let places = (0..pixels).flat_map(move |pixel| {
                            (0..channels).map(move |channel| (channel * pixels + pixel) * size)
                        });
                        places.flat_map(move |at| &kernel[at..at + size])
                    })
                    .copied()
                    .collect()
            }
            How::Add(number) => {
                let values = numbers(&self.stored, self.scheme);
                values
                    .iter()
                    .flat_map(|value| (value + number).to_le_bytes())
                    .collect()
            }
            How::TurnHeads(other, scheme) => {
                let ([heads, columns, rows], values) = (
                    sizes(&self.stored, self.scheme),
                    numbers(&self.stored, self.scheme),
                );
                let ([_, more, _], others) = (sizes(other, *scheme), numbers(other, *scheme));
                let head = |head: usize| {
                    let matrix = &values[head * columns * rows..][..columns * rows];
                    let turned = (0..rows).flat_map(move |row| matrix.iter().skip(row).step_by(rows));
                    turned.chain(&others[head * more * columns..][..more * columns])
                };
                (0..heads)
                    .flat_map(head)
                    .flat_map(|value| value.to_le_bytes())
                    .collect()
            }
            How::Stack(others, piece) => {
                let pieces = (0..bytes.len()).step_by((*piece).max(1));
                let all = || std::iter::once(bytes).chain(others.iter().map(|other| other.bytes.as_slice()));
                pieces
                    .flat_map(|at| all().flat_map(move |bytes| &bytes[at..at + piece]))
                    .copied()
                    .collect()
            }
            How::Join(others) => {
                let parts = others.iter().map(|other| other.bytes.as_slice());
                std::iter::once(bytes).chain(parts).flatten().copied().collect()
            }
        }
    }
}

impl Change {
    /// The rows of each head in another order: `from` says which one comes next.
    fn rows(&self, heads: usize, from: impl Fn(usize) -> usize) -> Vec<u8> {
        let (bytes, rows) = (self.stored.bytes.as_slice(), self.stored.shape[0]);
        let (row, of_head) = (bytes.len() / rows.max(1), rows / heads);
        let order = (0..rows).map(|row| row / of_head * of_head + from(row % of_head));
        order
            .flat_map(|from| &bytes[from * row..(from + 1) * row])
            .copied()
            .collect()
    }
}

impl Made {
    /// Makes the folder; nothing of a tensor is read.
    pub fn of(files: &GgufFiles, tables: &Tables) -> Result<Self, WeightsError> {
        let source = Source::read(files)?;
        let bad = |problem: String| WeightsError::GgufContents {
            file: first_path(files),
            problem,
        };
        let text = |key: &str| source.values.get(key).and_then(Value::as_str);
        let language = text(ARCHITECTURE).unwrap_or_default();
        if language == SEES {
            return Err(bad(
                "it is the part of a model that sees; name the language model's file beside it".to_owned(),
            ));
        }
        let projector = text("clip.projector_type").or(text("clip.vision.projector_type"));
        let Some(projector) = projector else {
            return Err(match &files.projector {
                None => bad(
                    "there is no file beside it that sees, which most programs call `mmproj`; fetch that too"
                        .to_owned(),
                ),
                Some(file) => bad(format!(
                    "`{}` beside it, which holds what sees, does not say its kind (`clip.projector_type`); take another conversion of it",
                    name_of(file)
                )),
            });
        };
        let sees = files.projector.as_ref().map_or(String::new(), name_of);
        let table = tables.find(language, projector).ok_or_else(|| {
            let known = tables.known();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            let (language, projector) = (cut(language), cut(projector));
            bad(format!(
                "no table says what a language model `{language}` with the projector `{projector}` of `{sees}` is (known: {known}); if that \
                 file is another model's, put the model's files alone into a folder; else take the model's safetensors, or add a table to \
                 `manifests/gguf`"
            ))
        })?;
        source.require(&table.required, &sees).map_err(bad)?;
        let lacks = |need: &&Need| {
            matches!(
                source.fill(&need.value),
                None | Some(Value::Null | Value::Bool(false))
            )
        };
        if let Some(need) = table.needs.iter().find(lacks) {
            return Err(bad(need.otherwise.clone()));
        }
        source.fit(table, language, &sees).map_err(bad)?;
        let config = source.fill(&table.config).unwrap_or_default();
        let settings = vocabulary::config(&source.values);
        let mut texts = BTreeMap::from([
            ("config.json".to_owned(), config.to_string()),
            ("tokenizer_config.json".to_owned(), settings.to_string()),
        ]);
        let mut no_vocabulary = None;
        match vocabulary::make(&source.values, &tables.vocabularies) {
            Ok((name, tokenizer)) => drop(texts.insert(name.to_owned(), tokenizer.to_string())),
            Err(problem) => {
                no_vocabulary = Some(format!(
                    "{problem}; take another conversion of the model, or name the original repository as `[tokenizer] repo` in a manifest"
                ));
            }
        }
        let named = ["eos_token_id", "eot_token_id"].map(|key| format!("tokenizer.ggml.{key}"));
        let others = table.ends.iter().map(|token| format!("id {token}"));
        let ends = named.into_iter().chain(others).filter_map(|key| source.get(&key));
        let ends: BTreeSet<u64> = ends.filter_map(|id| id.as_u64()).collect();
        if !ends.is_empty() {
            texts.insert(
                "generation_config.json".to_owned(),
                json!({ "eos_token_id": ends }).to_string(),
            );
        }
        for (name, value) in [
            ("preprocessor_config.json", &table.preprocessor),
            ("processor_config.json", &table.processor),
        ] {
            if let Some(value) = source.fill(value).filter(Value::is_object) {
                texts.insert(name.to_owned(), value.to_string());
            }
        }
        let mut notes = files.notes.clone();
        let bad = |problem: String| bad(cut(&problem).into_owned());
        let tensors = source.tensors(table, &bad, &mut notes)?;
        Ok(Self {
            texts,
            config,
            tensors,
            files: files.all().map(name_of).collect(),
            notes,
            first: first_path(files),
            no_vocabulary,
            stored_as: stored_as(files),
        })
    }
}

fn name_of(file: &GgufFile) -> String {
    let name = file.path().file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

/// The matrices of a stack.
fn apart(stack: &MadeTensor) -> Result<Vec<MadeTensor>, String> {
    let tensor = &stack.tensor;
    let no_stack = || {
        format!(
            "`{}` of shape {:?} is no stack of matrices",
            tensor.name, tensor.shape
        )
    };
    let &[count @ 1..=MOST_LAYERS, rows, columns] = &tensor.shape[..] else {
        return Err(no_stack());
    };
    let size = tensor.bytes.len() / count;
    let matrix = |number: usize| {
        let bytes = tensor.bytes.slice(number * size..(number + 1) * size)?;
        Some(MadeTensor {
            tensor: StoredTensor {
                shape: vec![rows, columns],
                bytes,
                ..tensor.clone()
            },
            scheme: stack.scheme,
        })
    };
    (0..count).map(matrix).collect::<Option<_>>().ok_or_else(no_stack)
}

/// The share of normally distributed numbers below one: 1/2 + φ(x) (x + x³/3 + x⁵/(3 · 5) + …).
fn below(x: f64) -> f64 {
    // Beyond, what is left is less than a float can tell from 0 or 1.
    let x = x.clamp(-8.0, 8.0);
    let (mut term, mut sum) = (x, x);
    for odd in (3..400).step_by(2) {
        term *= x * x / f64::from(odd);
        sum += term;
    }
    (0.5 + sum * (-x * x / 2.0).exp() / std::f64::consts::TAU.sqrt()).clamp(0.0, 1.0)
}

/// All files of a model together.
struct Source {
    values: BTreeMap<String, Value>,
    tensors: BTreeMap<String, (StoredTensor, Option<Scheme>)>,
}

impl Source {
    fn read(files: &GgufFiles) -> Result<Self, WeightsError> {
        let mut source = Self {
            values: BTreeMap::new(),
            tensors: BTreeMap::new(),
        };
        for file in files.all() {
            for (key, value) in &file.header().values {
                // What both files say of themselves is the language model's.
                source.values.entry(key.clone()).or_insert_with(|| value.clone());
            }
            for tensor in &file.header().tensors {
                let scheme = match tensor.storage {
                    Storage::Blocks(scheme) => Some(scheme),
                    Storage::Plain(_) => None,
                };
                let stored = (file.tensor(tensor)?, scheme);
                if source.tensors.insert(tensor.name.clone(), stored).is_some() {
                    return Err(WeightsError::GgufContents {
                        file: file.path().to_owned(),
                        problem: format!(
                            "its tensor `{}` is in another of the model's files, too; put the files of one conversion alone into a folder",
                            cut(&tensor.name)
                        ),
                    });
                }
            }
        }
        Ok(source)
    }

    /// Whether key-values are there that must be; else what is wrong.
    fn require(&self, keys: &[String], sees: &str) -> Result<(), String> {
        for key in keys {
            let of = match key.starts_with(SEES) {
                true => format!("`{sees}` beside it"),
                false => "it".to_owned(),
            };
            let number = |value: &Value| value.is_number();
            match self.values.get(key) {
                None => {
                    return Err(format!(
                        "{of} has no key-value `{key}`, which the model needs; take another conversion of the model"
                    ));
                }
                Some(Value::Array(list)) if list.iter().all(number) => {}
                Some(value) if !value.is_number() => {
                    return Err(format!(
                        "the key-value `{key}` of {of} is {}, expected a number; take another conversion of the model",
                        cut(&value.to_string())
                    ));
                }
                Some(_) => {}
            }
        }
        Ok(())
    }

    /// Whether what the projector gives is as wide as the language model's rows; else what is wrong.
    fn fit(&self, table: &Table, language: &str, sees: &str) -> Result<(), String> {
        let width = self.fill(&table.features).as_ref().and_then(Value::as_u64);
        let rows = self.values.get(&format!("{language}.embedding_length"));
        match (width, rows.and_then(Value::as_u64)) {
            (Some(width), Some(rows)) if width != rows => Err(format!(
                "`{sees}` beside it gives features {width} wide, and the language model's rows are {rows}: it belongs to another size of the \
                 model; take the one of the model's own repository, and keep models in folders of their own"
            )),
            _ => Ok(()),
        }
    }

    /// A value of a table with its key-values filled in; nothing where it is one that is not there.
    fn fill(&self, value: &Value) -> Option<Value> {
        match value {
            Value::String(text) => match text.strip_prefix('{').and_then(|text| text.strip_suffix('}')) {
                Some(keys) => keys.split(" | ").find_map(|key| self.get(key.trim())),
                None => Some(value.clone()),
            },
            Value::Array(list) => Some(list.iter().filter_map(|value| self.fill(value)).collect()),
            Value::Object(map) => {
                let filled = map
                    .iter()
                    .filter_map(|(key, value)| Some((key.clone(), self.fill(value)?)));
                Some(Value::Object(filled.collect::<Map<_, _>>()))
            }
            other => Some(other.clone()),
        }
    }

    /// A key-value, or what is known otherwise: `= LITERAL`, `count KEY`, `largest KEY`, `three KEY`, `pairs KEY`, `flagged KEY`, `each KEY LITERAL LITERAL`,
    /// `below KEY`, `every KEY COUNT`, `less KEY KEY`, `ratio KEY KEY`, `whole KEY KEY`, `rows TENSOR`, `columns TENSOR`, `holds TENSOR`, `holds TENSOR LITERAL`, `lacks TENSOR`, `id TOKEN`, `has KEY LITERAL`, `when KEY VALUE LITERAL`, `grid SIDE PATCH BY OTHERWISE`.
    fn get(&self, key: &str) -> Option<Value> {
        match key.split_once(' ') {
            Some(("=", literal)) => serde_json::from_str(literal).ok(),
            Some(("count", key)) => self.values.get(key)?.as_array().map(|list| list.len().into()),
            Some(("rows", name)) => self.tensors.get(name)?.0.shape.first().map(|rows| (*rows).into()),
            Some(("columns", name)) => {
                let (stored, scheme) = self.tensors.get(name)?;
                let last = *stored.shape.last()?;
                Some(
                    scheme
                        .map_or(last, |scheme| last / scheme.bytes() * scheme.elements())
                        .into(),
                )
            }
            Some(("three", key)) => {
                let list = self.values.get(key)?.as_array()?;
                Some(list.iter().take(3).cloned().collect())
            }
            Some(("largest", key)) => {
                let list = self.values.get(key)?.as_array()?;
                list.iter().filter_map(Value::as_u64).max().map(Value::from)
            }
            Some(("pairs", key)) => {
                let (pairs, rest) = self.values.get(key)?.as_array()?.as_chunks::<2>();
                rest.is_empty()
                    .then(|| pairs.iter().map(|pair| pair.to_vec()).collect())
            }
            // What share of normally distributed numbers lies below each; what is no number is minus infinity.
            Some(("below", key)) => {
                let list = self.values.get(key)?.as_array()?.iter().take(MOST_LAYERS);
                Some(list.map(|number| number.as_f64().map_or(0.0, below)).collect())
            }
            // The places of what is true.
            Some(("flagged", key)) => Some(self.flagged(key)?.collect::<Vec<_>>().into()),
            // For each number or flag, one literal where it is 0 or false, and another where not.
            Some(("each", rest)) => {
                let [key, zero, other] = rest.splitn(3, ' ').collect::<Vec<_>>()[..] else {
                    return None;
                };
                let list = self.values.get(key)?.as_array()?.iter().take(MOST_LAYERS);
                let is_zero = |value: &Value| value.as_u64() == Some(0) || value.as_bool() == Some(false);
                let literals = list.map(|value| if is_zero(value) { zero } else { other });
                literals
                    .map(|literal| serde_json::from_str::<Value>(literal).ok())
                    .collect()
            }
            // The last of each so many, counted from 0.
            Some(("every", rest)) => {
                let [every, count] = self.two(rest)?;
                let (every, count) = (every.as_u64()?, count.as_u64()?.min(MOST_LAYERS as u64));
                let last = |layer: &u64| every > 0 && (layer + 1).is_multiple_of(every);
                Some((0..count).filter(last).collect())
            }
            Some(("has", rest)) => {
                let (key, literal) = rest.split_once(' ')?;
                let there = self.values.contains_key(key);
                there.then(|| serde_json::from_str(literal).ok())?
            }
            Some(("when", rest)) => {
                let [key, value, literal] = rest.splitn(3, ' ').collect::<Vec<_>>()[..] else {
                    return None;
                };
                let is = *self.values.get(key)? == serde_json::from_str::<Value>(value).ok()?;
                is.then(|| serde_json::from_str(literal).ok())?
            }
            // The square of the patches along a side, so many of which become one.
            Some(("grid", rest)) => {
                let [side, patch, by, otherwise] = rest.split(' ').collect::<Vec<_>>()[..] else {
                    return None;
                };
                let number = |key: &str| self.values.get(key).and_then(Value::as_u64);
                let by = number(by).or_else(|| otherwise.parse().ok())?;
                let along = number(side)?.checked_div(number(patch)?)?.checked_div(by)?;
                along.checked_mul(along).map(Value::from)
            }
            Some(("less", rest)) => {
                let [one, other] = self.two(rest)?;
                Some(one.as_u64()?.checked_sub(other.as_u64()?)?.into())
            }
            Some(("ratio", rest)) => {
                let [one, other] = self.two(rest)?;
                Some((one.as_f64()? / other.as_f64()?).into())
            }
            Some(("whole", rest)) => {
                let [one, other] = self.two(rest)?;
                Some(one.as_u64()?.checked_div(other.as_u64()?)?.into())
            }
            Some(("holds", rest)) => match rest.split_once(' ') {
                None => Some(self.tensors.contains_key(rest).into()),
                Some((name, literal)) => {
                    let there = self.tensors.contains_key(name);
                    there.then(|| serde_json::from_str(literal).ok())?
                }
            },
            Some(("lacks", name)) => Some((!self.tensors.contains_key(name)).into()),
            Some(("id", token)) => {
                let tokens = self.values.get("tokenizer.ggml.tokens")?.as_array()?;
                let id = tokens.iter().position(|known| known.as_str() == Some(token))?;
                Some(id.into())
            }
            _ => self.values.get(key).cloned(),
        }
    }

    /// The values of two keys.
    fn two(&self, keys: &str) -> Option<[&Value; 2]> {
        let (one, other) = keys.split_once(' ')?;
        Some([self.values.get(one)?, self.values.get(other)?])
    }

    /// The places in an array that are true.
    fn flagged(&self, key: &str) -> Option<impl Iterator<Item = usize>> {
        let flags = self
            .values
            .get(key)?
            .as_array()?
            .iter()
            .take(MOST_LAYERS)
            .enumerate();
        Some(flags.filter_map(|(place, flag)| (flag.as_bool() == Some(true)).then_some(place)))
    }

    fn tensors(
        &self,
        table: &Table,
        bad: &dyn Fn(String) -> WeightsError,
        notes: &mut Vec<String>,
    ) -> Result<Vec<(String, MadeTensor)>, WeightsError> {
        let rules = table.tensors.iter().map(|rule| Ok((whole(&rule.from)?, rule)));
        let rules: Vec<_> = rules.collect::<Result<_, WeightsError>>()?;
        let ignore = table.ignore.iter().map(|pattern| regex("ignore", pattern));
        let ignore: Vec<_> = ignore.collect::<Result<_, _>>()?;
        let mut made = Vec::new();
        let (mut unknown, mut joined) = (Vec::new(), BTreeSet::new());
        for (name, (stored, scheme)) in &self.tensors {
            let found = rules
                .iter()
                .find_map(|(pattern, rule)| Some((pattern, pattern.captures(name)?, rule)));
            let Some((_, captures, rule)) = found else {
                if !ignore.iter().any(|pattern| pattern.is_match(name)) {
                    unknown.push(name.clone());
                }
                continue;
            };
            let expand = |template: &String| {
                let mut new = String::new();
                captures.expand(template, &mut new);
                new
            };
            let with = rule.stack.iter().flat_map(|stack| &stack.with);
            let with = rule.join.iter().chain(with).chain(&rule.turned_heads_with);
            let parts: Vec<String> = with.map(expand).collect();
            let tensor = self.changed(stored, *scheme, rule, &parts).map_err(bad)?;
            joined.extend(parts);
            let mut to = rule.to.clone();
            if let Some(key) = &rule.place_in {
                let layer = captures.get(1).and_then(|layer| layer.as_str().parse().ok());
                let place = self
                    .flagged(key)
                    .and_then(|mut places| places.position(|place| Some(place) == layer));
                let place = place
                    .ok_or_else(|| bad(format!("`{name}` is there, but `{key}` does not have its layer")))?;
                to = to.replace("$1", &place.to_string());
            }
            let to = expand(&to);
            match rule.apart {
                false => made.push((to, tensor)),
                true => {
                    let parts = apart(&tensor).map_err(bad)?;
                    let numbered = |(number, part)| (to.replace("{}", &format!("{number}")), part);
                    made.extend((0_usize..).zip(parts).map(numbered));
                }
            }
        }
        unknown.retain(|name| !joined.contains(name));
        if !unknown.is_empty() {
            const SHOWN: usize = 8;
            notes.push(format!(
                "{} tensors are not used, because no table knows them: {}",
                unknown.len(),
                list(&unknown[..unknown.len().min(SHOWN)])
            ));
        }
        Ok(made)
    }

    fn changed(
        &self,
        stored: &StoredTensor,
        scheme: Option<Scheme>,
        rule: &TensorRule,
        parts: &[String],
    ) -> Result<MadeTensor, String> {
        let name = &stored.name;
        let mut made = MadeTensor {
            tensor: stored.clone(),
            scheme,
        };
        let number = |key: &str| self.values.get(key).and_then(Value::as_u64).unwrap_or(0) as usize;
        let rows = stored.shape.first().copied().unwrap_or(0);
        let how = if let Some(key) = &rule.paired_rows_of {
            let heads = number(key);
            if heads == 0 || !rows.is_multiple_of(heads * 2) {
                return Err(format!(
                    "`{name}` has {rows} rows for {heads} heads (`{key}`), which are pairs of rows"
                ));
            }
            How::Unpair { heads }
        } else if let Some(Turned { heads: of, rows: by }) = &rule.halved_rows_of {
            let (heads, turned) = (number(of), number(by));
            if heads == 0 || !rows.is_multiple_of(heads) || turned > rows / heads || !turned.is_multiple_of(2)
            {
                return Err(format!(
                    "`{name}` has {rows} rows for {heads} heads (`{of}`), of each of which {turned} turn (`{by}`)"
                ));
            }
            How::Pair { heads, turned }
        } else if rule.channels_last {
            if stored.shape.len() != 4 || scheme.is_some() {
                return Err(format!(
                    "`{name}` of shape {:?} is no kernel of pixels",
                    stored.shape
                ));
            }
            made.tensor.shape = vec![rows, stored.shape[1..].iter().product()];
            How::ChannelsLast
        } else if let Some(number) = rule.add {
            if let (Some(scheme), Some(last)) = (made.scheme.take(), made.tensor.shape.last_mut()) {
                *last = *last / scheme.bytes() * scheme.elements();
            }
            made.tensor.kind = StoredType::F32;
            How::Add(number)
        } else if let (true, [part]) = (rule.turned_heads_with.is_some(), parts) {
            let (other, form) = self
                .tensors
                .get(part)
                .ok_or_else(|| format!("`{name}` is there, but `{part}` is not"))?;
            let ([heads, columns, rows], [as_many, more, as_wide]) =
                (sizes(stored, scheme), sizes(other, *form));
            if heads == 0 || (heads, columns) != (as_many, as_wide) {
                return Err(format!(
                    "`{name}` of shape {:?} and `{part}` of shape {:?} are no heads that belong together",
                    stored.shape, other.shape
                ));
            }
            made.scheme = None;
            made.tensor.kind = StoredType::F32;
            made.tensor.shape = vec![heads * (rows + more), columns];
            How::TurnHeads(other.clone(), *form)
        } else if rule.square {
            let side = rows.isqrt();
            if side * side != rows || stored.shape.len() != 2 {
                return Err(format!(
                    "`{name}` of shape {:?} is no square of rows",
                    stored.shape
                ));
            }
            made.tensor.shape.splice(..1, [side, side]);
            return Ok(made);
        } else if rule.vector {
            let shape = &mut made.tensor.shape;
            if scheme.is_some() || shape.iter().filter(|size| **size != 1).count() > 1 {
                return Err(format!("`{name}` of shape {shape:?} is no vector"));
            }
            *shape = vec![shape.iter().product()];
            return Ok(made);
        } else if rule.stack.is_some() || !parts.is_empty() {
            let mut others = Vec::new();
            for part in parts {
                let (other, form) = self
                    .tensors
                    .get(part)
                    .ok_or_else(|| format!("`{name}` is there, but `{part}` is not"))?;
                let same = other.kind == stored.kind
                    && *form == scheme
                    && other.shape.get(1..) == stored.shape.get(1..);
                if !same || stored.shape.is_empty() {
                    return Err(format!(
                        "`{name}` and `{part}` are stored in different ways, and should be one"
                    ));
                }
                if rule.stack.is_none() {
                    made.tensor.shape[0] += other.shape[0];
                } else if other.shape != stored.shape {
                    return Err(format!(
                        "`{name}` and `{part}` have different shapes, and should be one"
                    ));
                }
                others.push(other.clone());
            }
            match rule.stack.as_ref().map(|stack| stack.axis) {
                None => How::Join(others),
                Some(axis) if axis > 0 && axis < stored.shape.len() && scheme.is_none() => {
                    let piece = stored.shape[axis..].iter().product::<usize>() * stored.kind.size();
                    made.tensor.shape.insert(axis, others.len() + 1);
                    How::Stack(others, piece)
                }
                Some(axis) => {
                    return Err(format!(
                        "`{name}` of shape {:?} has no dimension {axis} to be put together at",
                        stored.shape
                    ));
                }
            }
        } else {
            return Ok(made);
        };
        let change = Change {
            how,
            stored: stored.clone(),
            scheme,
            done: OnceLock::new(),
        };
        made.tensor.bytes = Bytes::later(made.tensor.len() * made.tensor.kind.size(), change);
        Ok(made)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(values: Value, tensors: &[(&str, &[usize])]) -> Source {
        let tensor = |(name, shape): &(&str, &[usize])| {
            let count: usize = shape.iter().product();
            let bytes: Vec<u8> = (0..count)
                .flat_map(|number| (number as f32).to_le_bytes())
                .collect();
            let stored = StoredTensor {
                name: (*name).to_owned(),
                kind: StoredType::F32,
                shape: shape.to_vec(),
                bytes: Bytes::new(bytes),
            };
            ((*name).to_owned(), (stored, None))
        };
        Source {
            values: serde_json::from_value(values).unwrap(),
            tensors: tensors.iter().map(tensor).collect(),
        }
    }

    #[test]
    fn values_of_tables_are_computed_from_key_values() {
        let source = source(
            json!({
                "sizes": [56, 112, 168, 56], "odd": [1, 2, 3], "side": 768, "patch": 3, "none": 0,
                "slides": [true, false], "kinds": [0, 2], "scales": [1.644_853_6, 0.524_400_5, null, -1.0, 0.0],
            }),
            &[],
        );
        let get = |key: &str| source.get(key);
        assert_eq!(get("pairs sizes"), Some(json!([[56, 112], [168, 56]])));
        assert_eq!(get("pairs odd"), None);
        assert_eq!(get("whole side patch"), Some(json!(256)));
        assert_eq!(get("whole side none"), None);
        assert_eq!(get("each slides 1 2"), Some(json!([2, 1])));
        assert_eq!(get("each kinds 1 2"), Some(json!([1, 2])));
        // scipy.stats.norm.cdf
        let shares: Vec<f64> = serde_json::from_value(get("below scales").unwrap()).unwrap();
        for (found, expected) in shares.iter().zip([0.95, 0.7, 0.0, 0.158_655_254, 0.5]) {
            assert!((found - expected).abs() < 1e-7, "{shares:?}");
        }
        assert_eq!((below(-60.0) < 1e-12, below(60.0) > 1.0 - 1e-12), (true, true));
    }

    #[test]
    fn stacks_come_apart_and_vectors_lose_their_dimensions() {
        let table = |more: &str| -> Table {
            let text = format!("language = \"l\"\nprojector = \"p\"\nconfig = {{}}\n{more}");
            toml::from_str(&text).unwrap()
        };
        let bad = |problem: String| WeightsError::GgufContents {
            file: PathBuf::from("x"),
            problem,
        };
        let make = |source: &Source, table: &Table| source.tensors(table, &bad, &mut Vec::new());
        let shapes: [(&str, &[usize]); 2] = [("proj.weight", &[2, 3, 2]), ("bias", &[1, 4, 1, 1])];
        let all = source(json!({}), &shapes);
        let rules = "[[tensors]]\nfrom = '(proj)\\.weight'\nto = 'at.$1.{}.weight'\napart = true\n[[tensors]]\nfrom = 'bias'\nto = 'bias'\nvector = true";
        let made = make(&all, &table(rules)).unwrap();
        let found: Vec<(&str, &[usize], Vec<f32>)> = made
            .iter()
            .map(|(name, made)| (name.as_str(), &made.tensor.shape[..], numbers(&made.tensor, None)))
            .collect();
        let range = |from: u8, to: u8| (from..to).map(f32::from).collect::<Vec<_>>();
        assert_eq!(
            found,
            [
                ("bias", &[4][..], range(0, 4)),
                ("at.proj.0.weight", &[3, 2], range(0, 6)),
                ("at.proj.1.weight", &[3, 2], range(6, 12)),
            ]
        );
        for shape in [&[3, 2][..], &[0, 3, 2], &[MOST_LAYERS + 1, 1, 1]] {
            let error = make(&source(json!({}), &[("proj.weight", shape)]), &table(rules)).unwrap_err();
            assert!(error.to_string().contains("is no stack of matrices"), "{error}");
        }
        let error = make(&source(json!({}), &[("bias", &[2, 2])]), &table(rules)).unwrap_err();
        assert!(error.to_string().contains("is no vector"), "{error}");
    }
}
