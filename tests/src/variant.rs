//! A model's folder with something changed: another naming of its weights, a file left out.

use std::fs;
use std::path::{Path, PathBuf};

use monocle_weights::{Checkpoint, Header, ModelFolder, NameRules, to_f32};
use serde_json::{Value, json};

use crate::project;

/// A copy of a folder of `tests/oracle`, called `name`, without the files in `without`.
pub fn copy(folder: &str, name: &str, without: &[&str]) -> PathBuf {
    let target = project::target().join("variants").join(name);
    fs::create_dir_all(&target).unwrap_or_else(|error| panic!("{}: {error}", target.display()));
    for entry in fs::read_dir(project::oracle(folder)).expect("the oracle's folder can be read") {
        let path = entry.expect("the oracle's folder can be read").path();
        let file = path.file_name().expect("an entry has a name");
        let copied = target.join(file);
        if without.iter().any(|name| file == *name) {
            fs::remove_file(&copied).ok();
        } else if path.is_file() {
            fs::copy(&path, &copied).unwrap_or_else(|error| panic!("{}: {error}", copied.display()));
        }
    }
    target
}

/// Gives the tensors of a folder's `model.safetensors` other names.
pub fn rename(folder: &Path, rename: impl Fn(&str) -> String) {
    let path = folder.join("model.safetensors");
    let bytes = fs::read(&path).expect("the checkpoint can be read");
    let header = Header::parse(&bytes).expect("the checkpoint is sound");
    let length = u64::from_le_bytes(*bytes.first_chunk().expect("a checkpoint has a length")) as usize;
    let old: Value = serde_json::from_slice(&bytes[8..8 + length]).expect("the header is JSON");
    let mut new = json!({});
    for tensor in &header.tensors {
        new[rename(&tensor.name)] = old[&tensor.name].clone();
    }
    let mut text = serde_json::to_vec(&new).expect("a header is written");
    text.resize(text.len().next_multiple_of(8), b' ');
    let mut written = (text.len() as u64).to_le_bytes().to_vec();
    written.extend(text);
    written.extend(&bytes[8 + length..]);
    fs::write(&path, written).expect("the checkpoint can be written");
}

/// A tensor to be written: its name, shape and elements.
pub type NewTensor = (String, Vec<usize>, Vec<f32>);

/// Writes a folder's `model.safetensors` anew.
pub fn write_weights(folder: &Path, tensors: &[NewTensor]) {
    let (mut header, mut end) = (json!({}), 0);
    for (name, shape, values) in tensors {
        assert_eq!(shape.iter().product::<usize>(), values.len(), "{name}");
        let start = end;
        end += values.len() * 4;
        header[name] = json!({ "dtype": "F32", "shape": shape, "data_offsets": [start, end] });
    }
    let mut text = serde_json::to_vec(&header).expect("a header is written");
    text.resize(text.len().next_multiple_of(8), b' ');
    let mut written = (text.len() as u64).to_le_bytes().to_vec();
    written.extend(text);
    let values = tensors.iter().flat_map(|(_, _, values)| values);
    written.extend(values.flat_map(|value| value.to_le_bytes()));
    fs::write(folder.join("model.safetensors"), written).expect("the checkpoint can be written");
}

/// Lays a folder's experts out as Qwen3-VL's are published: by their inputs, `[experts, in, out]`, gate and up in one tensor; all in 32 bits.
pub fn experts_by_inputs(folder: &Path) {
    let original = checkpoint(folder);
    let read = |name: &str| {
        let tensor = original.tensor(name).expect("it is there");
        (tensor.shape.clone(), to_f32(&tensor).expect("floats"))
    };
    // [experts, out, in] to [experts, in, out]
    let turned = |name: &str| {
        let (shape, values) = read(name);
        let [experts, out, columns] = shape[..] else {
            panic!("{name}: {shape:?}")
        };
        let place = |expert, column| move |row: usize| (expert * out + row) * columns + column;
        let rows = (0..experts).flat_map(|expert| (0..columns).map(move |column| (expert, column)));
        let rows =
            rows.map(|(expert, column)| (0..out).map(place(expert, column)).map(|at| values[at]).collect());
        (experts, columns, out, rows.collect::<Vec<Vec<f32>>>())
    };
    let mut tensors: Vec<NewTensor> = Vec::new();
    for name in original.names() {
        let Some((layer, part)) = name.split_once(".switch_mlp.") else {
            let (shape, values) = read(name);
            tensors.push((name.to_owned(), shape, values));
            continue;
        };
        let (experts, inputs, outputs, rows) = turned(name);
        match part {
            "down_proj.weight" => {
                let shape = vec![experts, inputs, outputs];
                tensors.push((format!("{layer}.experts.down_proj"), shape, rows.concat()));
            }
            "gate_proj.weight" => {
                let up = turned(&name.replace("gate_proj", "up_proj")).3;
                let both = rows.into_iter().zip(up);
                let both: Vec<f32> = both.flat_map(|(gate, up)| [gate, up].concat()).collect();
                let shape = vec![experts, inputs, 2 * outputs];
                tensors.push((format!("{layer}.experts.gate_up_proj"), shape, both));
            }
            _ => {}
        }
    }
    // The files that are read are mapped.
    drop(original);
    write_weights(folder, &tensors);
}

/// All weights of a folder, in the names of the checkpoint.
pub fn checkpoint(folder: &Path) -> Checkpoint {
    let folder = ModelFolder::open(folder).unwrap_or_else(|error| panic!("{error}"));
    Checkpoint::open(&folder, &NameRules::default()).unwrap_or_else(|error| panic!("{error}"))
}
