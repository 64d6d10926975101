//! Every family from checkpoints as mlx-vlm converts them: its names, its order of axes, and its quantisation.

use std::path::{Path, PathBuf};

use monocle_runtime::trace::Trace;
use monocle_tensor::stored::{StoredTensor, Weight};
use monocle_tests::oracle::Oracle;
use monocle_tests::parity::{LOGITS, close, step_logits};
use monocle_tests::variant::{self, NewTensor};
use monocle_tests::{project, scratch::Scratch};
use monocle_weights::{ModelFolder, QuantiseOptions, WeightsError, dequantise_rows, quantise_folder, to_f32};
use serde_json::Value;

/// mlx-vlm's names and orders of axes, for each folder that it loads: see make_mlx_names.py.
fn conversions() -> Vec<(String, Vec<Value>)> {
    let text = std::fs::read_to_string(project::root().join("tests/oracle/mlx_names.json"));
    let names: Value = serde_json::from_str(&text.expect("mlx_names.json is there")).expect("it is JSON");
    let folders = names.as_object().expect("folders by name").iter();
    folders
        .filter(|(folder, _)| project::oracle(folder).join("golden.safetensors").is_file())
        .map(|(folder, rows)| (folder.clone(), rows.as_array().expect("rows").clone()))
        .collect()
}

/// The folder of a family as mlx-vlm would convert it; `test` keeps tests apart that run at once.
fn convert(folder: &str, rows: &[Value], test: &str) -> PathBuf {
    let original = variant::checkpoint(&project::oracle(folder));
    let convert = |row: &Value| {
        let there = row[1].as_str().expect("a name");
        let order: Vec<usize> = row[2]
            .as_array()
            .expect("an order of axes")
            .iter()
            .map(index)
            .collect();
        let tensor = |name: &Value| {
            let name = name.as_str().expect("a name");
            original
                .tensor(name)
                .unwrap_or_else(|error| panic!("{folder}: {error}"))
        };
        match row[0].as_array() {
            None => {
                let tensor = tensor(&row[0]);
                match row.get(3) {
                    None => permuted(there, &tensor, &order),
                    Some(number) => one_row(there, index(number), &tensor),
                }
            }
            Some(each) => together(there, &each.iter().map(tensor).collect::<Vec<_>>(), order.len()),
        }
    };
    let converted = variant::copy(folder, &format!("{folder}-{test}"), &["golden.safetensors"]);
    variant::write_weights(&converted, &rows.iter().map(convert).collect::<Vec<_>>());
    converted
}

/// Experts that mlx-vlm stacks, or projections that it joins: to so many axes.
fn together(name: &str, each: &[StoredTensor], axes: usize) -> NewTensor {
    let values = |tensor| to_f32(tensor).unwrap_or_else(|error| panic!("{name}: {error}"));
    let shape = match &each[0].shape[..] {
        one if one.len() < axes => [&[each.len()], one].concat(),
        one => [&[one[0] * each.len()], &one[1..]].concat(),
    };
    (name.to_owned(), shape, each.iter().flat_map(values).collect())
}

/// A row that has become a parameter of its own.
fn one_row(name: &str, number: usize, tensor: &StoredTensor) -> NewTensor {
    let values = to_f32(tensor).unwrap_or_else(|error| panic!("{name}: {error}"));
    let shape = tensor.shape[1..].to_vec();
    let mut rows = values.chunks_exact(shape.iter().product());
    let row = rows.nth(number).expect("a row of this number").to_vec();
    (name.to_owned(), shape, row)
}

fn index(value: &Value) -> usize {
    value.as_u64().expect("an index") as usize
}

fn permuted(name: &str, tensor: &StoredTensor, order: &[usize]) -> NewTensor {
    let values = to_f32(tensor).unwrap_or_else(|error| panic!("{error}"));
    let mut strides = vec![1; tensor.shape.len()];
    for axis in (1..strides.len()).rev() {
        strides[axis - 1] = strides[axis] * tensor.shape[axis];
    }
    let shape: Vec<usize> = order.iter().map(|&axis| tensor.shape[axis]).collect();
    let value = |place: usize| {
        let (mut rest, mut from) = (place, 0);
        for (&axis, &length) in order.iter().zip(&shape).rev() {
            from += rest % length * strides[axis];
            rest /= length;
        }
        values[from]
    };
    (
        name.to_owned(),
        shape.clone(),
        (0..values.len()).map(value).collect(),
    )
}

/// 16 steps after the prompt with a picture.
fn traced(folder: &Path, oracle: &Oracle) -> Trace {
    let mut model = project::open_folder(folder);
    let trace = model.trace(&oracle.request("image"), 512, 16);
    trace.unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
}

/// Their logits.
fn steps(folder: &Path, oracle: &Oracle) -> Vec<f32> {
    traced(folder, oracle).step_logits.concat()
}

#[test]
fn converted_checkpoints_answer_as_the_originals() {
    let conversions = conversions();
    assert!(conversions.len() >= 33, "{} families", conversions.len());
    for (folder, rows) in conversions {
        let oracle = Oracle::open(&project::oracle(&folder));
        let converted = convert(&folder, &rows, "converted");
        let (found, expected) = step_logits(&oracle, "image", &traced(&converted, &oracle));
        close(&folder, &found, &expected, LOGITS);
    }
}

/// A quantised checkpoint means the numbers that its scales and biases make of its integers, wherever a plugin uses them.
#[test]
fn quantised_conversions_mean_their_dequantised_numbers() {
    for (folder, rows) in conversions() {
        let oracle = Oracle::open(&project::oracle(&folder));
        let converted = convert(&folder, &rows, "dequantised");
        let scratch = Scratch::new("quantised");
        let quantised = scratch.file("model");
        let source = ModelFolder::open(&converted).unwrap_or_else(|error| panic!("{error}"));
        let layers = quantise_folder(&source, &quantised, &QuantiseOptions::new(8, 32))
            .unwrap_or_else(|error| panic!("{folder}: {error}"));
        assert!(!layers.is_empty(), "{folder}");

        let checkpoint = variant::checkpoint(&quantised);
        let plain: Vec<NewTensor> = rows
            .iter()
            .map(|row| {
                let name = row[1].as_str().expect("a name");
                let layer = name.strip_suffix(".weight").unwrap_or_default();
                if !layers.contains_key(layer) {
                    let tensor = checkpoint
                        .tensor(name)
                        .unwrap_or_else(|error| panic!("{folder}: {error}"));
                    let values = to_f32(&tensor).unwrap_or_else(|error| panic!("{folder}: {error}"));
                    return (name.to_owned(), tensor.shape, values);
                }
                let matrix = match checkpoint.embedding(layer).or_else(|_| checkpoint.experts(layer)) {
                    Ok(Weight::Embedding(matrix) | Weight::Experts { matrix, .. }) => matrix,
                    other => panic!("{folder}: {layer} is no matrix: {:?}", other.err()),
                };
                let shape = matrix.shape();
                let rows = shape[..shape.len() - 1].iter().product();
                let values = dequantise_rows(&matrix, 0..rows);
                (
                    name.to_owned(),
                    shape,
                    values.unwrap_or_else(|error| panic!("{folder}: {error}")),
                )
            })
            .collect();
        variant::write_weights(&converted, &plain);
        close(
            &folder,
            &steps(&quantised, &oracle),
            &steps(&converted, &oracle),
            LOGITS,
        );
    }
}

/// mlx-vlm looks for a layer's own bits under the path of its module.
#[test]
fn bits_of_single_layers_stand_under_mlx_vlms_names() {
    let (mut families, mut modules) = (0, 0);
    for (folder, rows) in conversions() {
        let scratch = Scratch::new("mixed");
        let target = scratch.file("model");
        let source =
            ModelFolder::open(&project::oracle(&folder)).unwrap_or_else(|error| panic!("{folder}: {error}"));
        let mut options = QuantiseOptions::new(4, 32);
        options.mixed = Some(6);
        let layers = match quantise_folder(&source, &target, &options) {
            Ok(layers) => layers,
            // Its layers have other names than those by which mixtures are chosen: refused in words.
            Err(WeightsError::NoMixture) => continue,
            Err(error) => panic!("{folder}: {error}"),
        };
        let copy = ModelFolder::open(&target).unwrap_or_else(|error| panic!("{folder}: {error}"));
        let settings = &copy.config()["quantization"];
        families += 1;
        for (layer, bits) in layers.iter().filter(|(_, bits)| **bits != 4) {
            let weight = Value::from(format!("{layer}.weight"));
            let of_layer = |row: &&Value| {
                row[0] == weight || row[0].as_array().is_some_and(|each| each.contains(&weight))
            };
            for row in rows.iter().filter(of_layer) {
                let there = row[1].as_str().expect("a name");
                // One module of several bits cannot be; and a table of tokens that serves as the head too is taken without its scales.
                let is_joined = there.ends_with(".qkv.weight");
                let is_tied = layer.ends_with("embed_tokens") && there.ends_with("lm_head.weight");
                if is_joined || is_tied {
                    continue;
                }
                let module = there.strip_suffix(".weight").unwrap_or(there);
                assert_eq!(settings[module]["bits"], *bits, "{folder}: {layer} is {module}");
                modules += 1;
            }
        }
    }
    assert!(families >= 27 && modules >= 3 * families, "{families} {modules}");
}
