//! GGUF files of a checkpoint, as llama.cpp's converter writes them (`conversion/*.py` and `gguf-py/gguf/gguf_writer.py`).

pub mod idefics3;

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use monocle_tensor::scheme::Scheme;
use monocle_weights::gguf::GgufFile;
use regex::Regex;
use serde_json::Value;

/// A tensor to be written.
pub struct GgufTensor {
    /// The file's name for it.
    pub name: String,
    /// Row-major.
    pub shape: Vec<usize>,
    /// Its numbers.
    pub values: Vec<f32>,
    /// How it is stored; as binary32 without.
    pub scheme: Option<Scheme>,
}

/// A key-value, with a type that the converter gives such a value.
pub enum Field {
    /// `UINT32`
    Number(u32),
    /// `FLOAT32`
    Float(f32),
    /// `BOOL`
    Flag(bool),
    /// `STRING`
    Text(String),
    /// `ARRAY` of `BOOL`
    Flags(Vec<bool>),
    /// `ARRAY` of `STRING`
    Texts(Vec<String>),
    /// `ARRAY` of `INT32`
    Numbers(Vec<i32>),
    /// `ARRAY` of `FLOAT32`
    Floats(Vec<f32>),
}

/// A tensor's name in a GGUF file, by a table of expressions.
pub fn renamed(names: &[(&str, &str)], name: &str) -> String {
    let found = names.iter().find_map(|(from, to)| {
        let pattern = Regex::new(&format!("^{from}$")).expect("an expression");
        let to = to
            .replace("$1", "${1}")
            .replace("$2", "${2}")
            .replace("$3", "${3}");
        pattern
            .is_match(name)
            .then(|| pattern.replace(name, to).into_owned())
    });
    found.unwrap_or_else(|| panic!("{name} has no GGUF name"))
}

/// A field of a configuration's number.
pub fn number(value: &Value) -> Field {
    Field::Number(value.as_u64().expect("a number") as u32)
}

/// Likewise, of any real number.
pub fn float(value: &Value) -> Field {
    Field::Float(value.as_f64().expect("a number") as f32)
}

/// Likewise, of a list of them.
pub fn floats(list: &Value) -> Field {
    let list = list.as_array().expect("a list").iter();
    Field::Floats(
        list.map(|value| value.as_f64().expect("a number") as f32)
            .collect(),
    )
}

/// A file of JSON.
pub fn json(folder: &Path, name: &str) -> Value {
    let text = fs::read_to_string(folder.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Writes a file of version 3.
pub fn write(path: &Path, fields: &[(&str, Field)], tensors: &[GgufTensor]) {
    let mut file = b"GGUF".to_vec();
    file.extend(3_u32.to_le_bytes());
    file.extend((tensors.len() as u64).to_le_bytes());
    file.extend((fields.len() as u64).to_le_bytes());
    for (key, field) in fields {
        text(&mut file, key);
        value(&mut file, field);
    }
    let mut data = Vec::new();
    for tensor in tensors {
        let (kind, bytes) = encoded(tensor);
        text(&mut file, &tensor.name);
        file.extend((tensor.shape.len() as u32).to_le_bytes());
        for size in tensor.shape.iter().rev() {
            file.extend((*size as u64).to_le_bytes());
        }
        file.extend(kind.to_le_bytes());
        file.extend((data.len() as u64).to_le_bytes());
        data.extend(bytes);
        data.resize(data.len().next_multiple_of(32), 0);
    }
    file.resize(file.len().next_multiple_of(32), 0);
    file.extend(data);
    fs::write(path, file).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}

/// A value as a field again: what JSON tells apart is enough.
pub fn field(value: &Value) -> Field {
    match value {
        Value::Bool(flag) => Field::Flag(*flag),
        Value::String(text) => Field::Text(text.clone()),
        Value::Number(number) if number.is_u64() => Field::Number(number.as_u64().unwrap() as u32),
        Value::Number(number) => Field::Float(number.as_f64().unwrap() as f32),
        Value::Array(list) if list.iter().all(Value::is_string) => Field::Texts(
            list.iter()
                .map(|text| text.as_str().unwrap().to_owned())
                .collect(),
        ),
        Value::Array(list) if list.iter().all(Value::is_boolean) => {
            Field::Flags(list.iter().map(|flag| flag == true).collect())
        }
        Value::Array(list) if list.iter().all(Value::is_i64) => Field::Numbers(
            list.iter()
                .map(|number| number.as_i64().unwrap() as i32)
                .collect(),
        ),
        Value::Array(list) => Field::Floats(
            list.iter()
                .map(|number| number.as_f64().unwrap() as f32)
                .collect(),
        ),
        other => panic!("no field for {other}"),
    }
}

/// Writes a file of binary32 tensors anew, with other key-values and only some tensors.
pub fn rewrite(path: &Path, change: impl FnOnce(&mut Vec<(String, Value)>), keep: impl Fn(&str) -> bool) {
    let file = GgufFile::open(path).unwrap_or_else(|error| panic!("{error}"));
    let bytes = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let values = file.header().values.iter();
    let mut values: Vec<(String, Value)> = values.map(|(key, value)| (key.clone(), value.clone())).collect();
    change(&mut values);
    let fields: Vec<(&str, Field)> = values
        .iter()
        .map(|(key, value)| (key.as_str(), field(value)))
        .collect();
    let tensors = file.header().tensors.iter().filter(|tensor| keep(&tensor.name));
    let tensors: Vec<GgufTensor> = tensors
        .map(|tensor| GgufTensor {
            name: tensor.name.clone(),
            shape: tensor.shape.clone(),
            values: bytes[tensor.range.clone()]
                .as_chunks::<4>()
                .0
                .iter()
                .map(|&word| f32::from_le_bytes(word))
                .collect(),
            scheme: None,
        })
        .collect();
    // The old file is mapped: it stays as it is, and another takes its name.
    let new = path.with_extension("new");
    write(&new, &fields, &tensors);
    fs::rename(&new, path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}

fn text(file: &mut Vec<u8>, text: &str) {
    file.extend((text.len() as u64).to_le_bytes());
    file.extend(text.as_bytes());
}

fn value(file: &mut Vec<u8>, field: &Field) {
    let kind = |file: &mut Vec<u8>, kind: u32| file.extend(kind.to_le_bytes());
    let array = |file: &mut Vec<u8>, of: u32, len: usize| {
        file.extend(9_u32.to_le_bytes());
        file.extend(of.to_le_bytes());
        file.extend((len as u64).to_le_bytes());
    };
    match field {
        Field::Number(number) => {
            kind(file, 4);
            file.extend(number.to_le_bytes());
        }
        Field::Float(number) => {
            kind(file, 6);
            file.extend(number.to_le_bytes());
        }
        Field::Flag(flag) => {
            kind(file, 7);
            file.push(u8::from(*flag));
        }
        Field::Text(words) => {
            kind(file, 8);
            text(file, words);
        }
        Field::Flags(list) => {
            array(file, 7, list.len());
            file.extend(list.iter().map(|flag| u8::from(*flag)));
        }
        Field::Texts(list) => {
            array(file, 8, list.len());
            list.iter().for_each(|words| text(file, words));
        }
        Field::Numbers(list) => {
            array(file, 5, list.len());
            list.iter().for_each(|number| file.extend(number.to_le_bytes()));
        }
        Field::Floats(list) => {
            array(file, 6, list.len());
            list.iter().for_each(|number| file.extend(number.to_le_bytes()));
        }
    }
}

/// The number of its type, and its bytes.
fn encoded(tensor: &GgufTensor) -> (u32, Vec<u8>) {
    let blocks = || tensor.values.as_chunks::<32>().0.iter();
    match tensor.scheme {
        None => (
            0,
            tensor
                .values
                .iter()
                .flat_map(|value| value.to_le_bytes())
                .collect(),
        ),
        Some(Scheme::Q8_0) => (8, blocks().flat_map(q8_0).collect()),
        Some(Scheme::Q4_0) => (2, blocks().flat_map(q4_0).collect()),
        Some(other) => panic!("{other} is not written here"),
    }
}

/// `quantize_row_q8_0_ref` of `ggml-quants.c`.
fn q8_0(values: &[f32; 32]) -> Vec<u8> {
    let largest = values.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
    let scale = largest / 127.0;
    let inverse = if scale == 0.0 { 0.0 } else { 1.0 / scale };
    let mut block = half::f16::from_f32(scale).to_le_bytes().to_vec();
    block.extend(values.map(|value| (value * inverse).round() as i8 as u8));
    block
}

/// `quantize_row_q4_0_ref` of `ggml-quants.c`.
fn q4_0(values: &[f32; 32]) -> Vec<u8> {
    let farthest = values.iter().fold(
        0.0_f32,
        |most, value| if value.abs() > most.abs() { *value } else { most },
    );
    let scale = farthest / -8.0;
    let inverse = if scale == 0.0 { 0.0 } else { 1.0 / scale };
    let level = |value: f32| ((value * inverse + 8.5) as i8).clamp(0, 15) as u8;
    let mut block = half::f16::from_f32(scale).to_le_bytes().to_vec();
    block.extend((0..16).map(|index| level(values[index]) | level(values[index + 16]) << 4));
    block
}

/// The numbers that a tensor means once it is written.
pub fn meant(tensor: &GgufTensor) -> Vec<f32> {
    let Some(scheme) = tensor.scheme else {
        return tensor.values.clone();
    };
    let mut values = vec![0.0; tensor.values.len()];
    scheme.decode(&encoded(tensor).1, &mut values);
    values
}

/// Rows of heads in pairs: `LlamaModel.permute` of `conversion/llama.py`,
/// `reshape(heads, 2, rows / heads / 2, columns).swapaxes(1, 2)`.
pub fn in_pairs(values: &[f32], rows: usize, heads: usize) -> Vec<f32> {
    reordered(values, rows, heads, |side, pair, half| side * half + pair)
}

/// Undoes [`in_pairs`].
pub fn in_halves(values: &[f32], rows: usize, heads: usize) -> Vec<f32> {
    let columns = values.len() / rows;
    let mut back = vec![0.0; values.len()];
    let order: Vec<f32> = (0..rows).map(|row| row as f32).collect();
    for (to, from) in in_pairs(&order, rows, heads).into_iter().enumerate() {
        let from = from as usize * columns;
        back[from..from + columns].copy_from_slice(&values[to * columns..(to + 1) * columns]);
    }
    back
}

fn reordered(
    values: &[f32],
    rows: usize,
    heads: usize,
    from: impl Fn(usize, usize, usize) -> usize,
) -> Vec<f32> {
    let (columns, half) = (values.len() / rows, rows / heads / 2);
    let mut out = Vec::with_capacity(values.len());
    for head in 0..heads {
        for pair in 0..half {
            for side in 0..2 {
                let row = head * half * 2 + from(side, pair, half);
                out.extend_from_slice(&values[row * columns..(row + 1) * columns]);
            }
        }
    }
    out
}

/// The key-values of a byte-level `tokenizer.json`: `TextModel._set_vocab_gpt2` and `gguf.SpecialVocab`. `pre` is the name of
/// how it cuts text, which the converter takes from a list of known vocabularies.
pub fn vocabulary(folder: &Path, pre: &str) -> Vec<(&'static str, Field)> {
    let json = |name: &str| -> Value {
        let text = fs::read_to_string(folder.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"))
    };
    let (tokenizer, config) = (json("tokenizer.json"), json("tokenizer_config.json"));
    let vocabulary = tokenizer["model"]["vocab"].as_object().expect("a vocabulary");
    let added = tokenizer["added_tokens"].as_array().expect("added tokens");
    let size = 1 + added
        .iter()
        .filter_map(|token| token["id"].as_u64())
        .chain(vocabulary.values().filter_map(Value::as_u64))
        .max()
        .expect("tokens") as usize;
    // The embeddings may have more rows than there are tokens: the list is filled up, and llama.cpp wants it so.
    let model = json("config.json");
    let places = [&model["text_config"], &model["llm_config"], &model];
    let rows = places.iter().find_map(|place| place["vocab_size"].as_u64());
    let size = rows.map_or(size, |rows| size.max(rows as usize));
    let mut tokens: Vec<String> = (0..size).map(|id| format!("[PAD{id}]")).collect();
    let mut kinds = vec![5; size];
    for (token, id) in vocabulary {
        let id = id.as_u64().expect("an id") as usize;
        tokens[id].clone_from(token);
        kinds[id] = 1;
    }
    for token in added {
        let id = token["id"].as_u64().expect("an id") as usize;
        tokens[id] = token["content"].as_str().expect("a token").to_owned();
        kinds[id] = if token["special"] == true { 3 } else { 4 };
    }
    let special = [
        ("bos_token", "tokenizer.ggml.bos_token_id"),
        ("eos_token", "tokenizer.ggml.eos_token_id"),
        ("unk_token", "tokenizer.ggml.unknown_token_id"),
        ("pad_token", "tokenizer.ggml.padding_token_id"),
    ];
    let special = special.into_iter().filter_map(|(token, key)| {
        let known = added.iter().find(|known| known["content"] == config[token])?;
        Some((key, Field::Number(known["id"].as_u64()? as u32)))
    });
    let merges = tokenizer["model"]["merges"].as_array().expect("merges").iter();
    let merges = merges.map(|pair| {
        let part = |index: usize| pair[index].as_str().expect("a token");
        format!("{} {}", part(0), part(1))
    });
    let template = fs::read_to_string(folder.join("chat_template.jinja")).expect("a template");
    let mut fields = vec![
        ("tokenizer.ggml.model", Field::Text("gpt2".to_owned())),
        ("tokenizer.ggml.pre", Field::Text(pre.to_owned())),
        ("tokenizer.ggml.tokens", Field::Texts(tokens)),
        ("tokenizer.ggml.token_type", Field::Numbers(kinds)),
        ("tokenizer.ggml.merges", Field::Texts(merges.collect())),
        ("tokenizer.chat_template", Field::Text(template)),
    ];
    fields.extend(special);
    fields
}

/// The key-values of a file of ranks, as tiktoken reads them: `DeepseekV2Model.set_vocab`. Tokens without bytes stand in `tokenizer_config.json`.
pub fn ranks(folder: &Path, pre: &str, size: usize) -> Vec<(&'static str, Field)> {
    let read =
        |name: &str| fs::read_to_string(folder.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    let file = read("tiktoken.model");
    let lines = file
        .lines()
        .map(|line| line.split_once(' ').expect("a token and its rank"));
    let ranks: HashMap<Vec<u8>, usize> = lines
        .map(|(token, rank)| {
            (
                STANDARD.decode(token).expect("base 64"),
                rank.parse().expect("a rank"),
            )
        })
        .collect();
    let mut by_rank: Vec<(&Vec<u8>, &usize)> = ranks.iter().collect();
    by_rank.sort_by_key(|(_, rank)| **rank);
    let mut tokens: Vec<String> = (0..size).map(|id| format!("[PAD{id}]")).collect();
    let mut kinds = vec![5; size];
    let mut merges = Vec::new();
    for (token, &rank) in by_rank {
        tokens[rank] = as_characters(token);
        kinds[rank] = 1;
        // What was put together before it, of ever larger parts, the lowest rank first.
        let mut parts: Vec<Vec<u8>> = token.iter().map(|byte| vec![*byte]).collect();
        loop {
            let joined = parts.windows(2).map(|pair| pair.concat());
            let known = joined
                .enumerate()
                .filter_map(|(place, both)| Some((*ranks.get(&both)?, place)));
            match known.min() {
                Some((lowest, place)) if lowest < rank => {
                    let right = parts.remove(place + 1);
                    parts[place].extend(right);
                }
                _ => break,
            }
        }
        if let [left, right] = &parts[..] {
            merges.push(format!("{} {}", as_characters(left), as_characters(right)));
        }
    }
    let config: Value = serde_json::from_str(&read("tokenizer_config.json")).expect("JSON");
    let special = config["added_tokens_decoder"]
        .as_object()
        .expect("tokens without bytes");
    for (id, token) in special {
        let id: usize = id.parse().expect("an id");
        tokens[id] = token["content"].as_str().expect("a token").to_owned();
        kinds[id] = 3;
    }
    vec![
        ("tokenizer.ggml.model", Field::Text("gpt2".to_owned())),
        ("tokenizer.ggml.pre", Field::Text(pre.to_owned())),
        ("tokenizer.ggml.tokens", Field::Texts(tokens)),
        ("tokenizer.ggml.token_type", Field::Numbers(kinds)),
        ("tokenizer.ggml.merges", Field::Texts(merges)),
        (
            "tokenizer.chat_template",
            Field::Text(read("chat_template.jinja")),
        ),
    ]
}

/// Bytes as GPT-2's vocabulary writes them: printable ones as themselves, the others in order from 256 on.
fn as_characters(bytes: &[u8]) -> String {
    let is_printable = |byte: &u8| matches!(byte, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF);
    let character = |byte: &u8| match is_printable(byte) {
        true => char::from(*byte),
        false => {
            let before = (0..*byte).filter(|other| !is_printable(other)).count() as u32;
            char::from_u32(256 + before).expect("a character")
        }
    };
    bytes.iter().map(character).collect()
}

/// The key-values of a SentencePiece model: `TextModel._set_vocab_sentencepiece`. Its pieces are those of a `tokenizer.json` that was made of one,
/// and scores go by the order of its merges; up to `size`, tokens fill it up.
pub fn pieces(folder: &Path, size: usize) -> Vec<(&'static str, Field)> {
    let json = |name: &str| -> Value {
        let text = fs::read_to_string(folder.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"))
    };
    let (tokenizer, config) = (json("tokenizer.json"), json("tokenizer_config.json"));
    let merges = tokenizer["model"]["merges"].as_array().expect("merges");
    let mut tokens: Vec<String> = (0..size).map(|id| format!("[PAD{id}]")).collect();
    let (mut kinds, mut scores) = (vec![5; size], vec![-10_000.0_f32; size]);
    for (token, id) in tokenizer["model"]["vocab"].as_object().expect("a vocabulary") {
        let id = id.as_u64().expect("an id") as usize;
        tokens[id].clone_from(token);
        kinds[id] = match token.starts_with("<0x") {
            true => 6,
            false => 1,
        };
        scores[id] = -((merges.len() + id) as f32);
    }
    for (rank, pair) in merges.iter().enumerate() {
        let whole = [&pair[0], &pair[1]]
            .map(|part| part.as_str().expect("a token"))
            .concat();
        let id = tokens
            .iter()
            .position(|token| *token == whole)
            .expect("merges make tokens");
        // The first counts where two pairs make the same.
        scores[id] = scores[id].max(-(rank as f32));
    }
    let added = tokenizer["added_tokens"].as_array().expect("added tokens");
    for token in added {
        let id = token["id"].as_u64().expect("an id") as usize;
        tokens[id] = token["content"].as_str().expect("a token").to_owned();
        kinds[id] = if token["special"] == true { 3 } else { 4 };
    }
    let unknown = tokenizer["model"]["unk_token"]
        .as_str()
        .expect("an unknown token");
    let unknown = tokens
        .iter()
        .position(|token| token == unknown)
        .expect("it is a token");
    kinds[unknown] = 2;
    let special = [
        ("bos_token", "tokenizer.ggml.bos_token_id"),
        ("eos_token", "tokenizer.ggml.eos_token_id"),
        ("pad_token", "tokenizer.ggml.padding_token_id"),
    ];
    let special: Vec<_> = special
        .into_iter()
        .filter_map(|(token, key)| {
            let id = tokens.iter().position(|known| config[token] == known.as_str())?;
            Some((key, Field::Number(id as u32)))
        })
        .collect();
    let template = fs::read_to_string(folder.join("chat_template.jinja")).expect("a template");
    let mut fields = vec![
        ("tokenizer.ggml.model", Field::Text("llama".to_owned())),
        ("tokenizer.ggml.pre", Field::Text("default".to_owned())),
        ("tokenizer.ggml.tokens", Field::Texts(tokens)),
        ("tokenizer.ggml.scores", Field::Floats(scores)),
        ("tokenizer.ggml.token_type", Field::Numbers(kinds)),
        ("tokenizer.ggml.unknown_token_id", Field::Number(unknown as u32)),
        ("tokenizer.ggml.add_bos_token", Field::Flag(true)),
        ("tokenizer.chat_template", Field::Text(template)),
    ];
    fields.extend(special);
    fields
}
