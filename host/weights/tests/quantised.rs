//! MLX's own quantised matrices (see tests/oracle/make_quantised_goldens.py): read, and made anew.

use std::path::{Path, PathBuf};

use monocle_tensor::stored::{Bytes, Matrix, StoredTensor, StoredType, Weight};
use monocle_weights::{
    BITS, Checkpoint, GROUP_SIZES, ModelFolder, NameRules, QuantiseOptions, dequantise_rows, quantise,
    quantise_folder, quantise_folder_with, to_f32,
};
use serde_json::json;

const NAMES: [&str; 4] = ["f32", "f16", "bf16", "edge"];

/// A golden file as a checkpoint; its layers are called `2.32`, `4.64`, … and `stack`.
fn golden(name: &str) -> Checkpoint {
    let folder = temporary(&format!("golden-{name}-{:?}", std::thread::current().id()));
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/oracle/quantised");
    std::fs::copy(
        source.join(format!("{name}.safetensors")),
        folder.join("model.safetensors"),
    )
    .unwrap();
    std::fs::write(folder.join("config.json"), layers().to_string()).unwrap();
    let rules = NameRules::new([(r"\.packed$", ".weight")], []).unwrap();
    let checkpoint = Checkpoint::open(&ModelFolder::open(&folder).unwrap(), &rules).unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    checkpoint
}

/// A `config.json` with settings for each layer, by its name in the file.
fn layers() -> serde_json::Value {
    let mut quantization = json!({ "group_size": 32, "bits": 4 });
    for bits in BITS {
        for group in GROUP_SIZES {
            // The file says `packed`, where a checkpoint would say `weight`.
            quantization[format!("{bits}.{group}.packed")] = json!({ "group_size": group, "bits": bits });
        }
    }
    json!({ "quantization": quantization })
}

fn temporary(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("monocle-quantised-{}-{name}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

fn matrix(weight: Weight) -> Matrix {
    match weight {
        Weight::Linear { matrix, .. } | Weight::Experts { matrix, .. } | Weight::Embedding(matrix) => matrix,
        Weight::Tensor(tensor) => Matrix::Dense(tensor),
        Weight::Stack(layers) => panic!("{} layers", layers.len()),
    }
}

#[test]
fn a_quantised_weight_as_a_tensor_is_unpacked() {
    let golden = golden("f32");
    let expected = golden.tensor("3.64.values").unwrap();
    let found = golden.parameter("3.64.weight").unwrap();
    assert_eq!((found.kind, &found.shape), (StoredType::F32, &expected.shape));
    let matrix = matrix(golden.linear("3.64").unwrap());
    compare(
        &matrix,
        &to_f32(&found).unwrap(),
        &to_f32(&expected).unwrap(),
        "as a tensor",
    );
    // What is not quantised stays as it is stored.
    let plain = golden.parameter("3.64.values").unwrap();
    assert_eq!(plain.bytes.as_slice(), expected.bytes.as_slice());
}

#[test]
fn what_mlx_packed_is_unpacked() {
    for name in NAMES {
        let golden = golden(name);
        for bits in BITS {
            for group in GROUP_SIZES {
                let matrix = matrix(golden.linear(&format!("{bits}.{group}")).unwrap());
                assert!(
                    matches!(matrix, Matrix::Affine { bits: b, group_size: g, .. } if (b, g) == (bits, group)),
                    "{name} {bits} {group}"
                );
                let expected = to_f32(&golden.tensor(&format!("{bits}.{group}.values")).unwrap()).unwrap();
                let rows = matrix.shape()[0];
                let found = dequantise_rows(&matrix, 0..rows).unwrap();
                compare(&matrix, &found, &expected, name);
                let columns = matrix.shape()[1];
                assert_eq!(
                    dequantise_rows(&matrix, 1..2).unwrap(),
                    found[columns..2 * columns]
                );
            }
        }
    }
    let golden = golden("edge");
    let stack = matrix(golden.experts("stack").unwrap());
    assert_eq!(stack.shape(), [3, 2, 64]);
    let expected = to_f32(&golden.tensor("stack.values").unwrap()).unwrap();
    compare(
        &stack,
        &dequantise_rows(&stack, 0..6).unwrap(),
        &expected,
        "stack",
    );
    assert!(
        dequantise_rows(&stack, 5..7)
            .unwrap_err()
            .to_string()
            .contains("rows within 0..6")
    );
}

/// MLX computes `scale * q + bias` in the type of the scales, rounding twice.
fn compare(matrix: &Matrix, found: &[f32], expected: &[f32], name: &str) {
    let Matrix::Affine {
        scales,
        biases,
        bits,
        group_size,
        ..
    } = matrix
    else {
        panic!("not quantised")
    };
    let unit = match scales.kind {
        StoredType::F32 => f32::EPSILON,
        StoredType::F16 => 1.0 / 1024.0,
        _ => 1.0 / 128.0,
    };
    let (scales, biases) = (to_f32(scales).unwrap(), to_f32(biases).unwrap());
    assert_eq!(found.len(), expected.len());
    for (at, (found, expected)) in found.iter().zip(expected).enumerate() {
        let group = at / group_size;
        let largest = scales[group].abs() * ((1 << bits) - 1) as f32 + biases[group].abs();
        assert!(
            (found - expected).abs() <= 1.5 * unit * largest,
            "{name} {bits} {group_size} [{at}]: {found} {expected}"
        );
    }
}

#[test]
fn what_is_quantised_here_equals_mlx() {
    for (name, kind) in [
        ("f32", StoredType::F32),
        ("f16", StoredType::F16),
        ("bf16", StoredType::BF16),
        ("edge", StoredType::F32),
    ] {
        let golden = golden(name);
        let source = golden.tensor("matrix").unwrap();
        assert_eq!(source.kind, kind);
        let values = to_f32(&source).unwrap();
        for bits in BITS {
            for group in GROUP_SIZES {
                let found = quantise(&values, source.shape[1], bits, group, kind).unwrap();
                let part = |part: &str| golden.tensor(&format!("{bits}.{group}.{part}")).unwrap();
                let words: Vec<u32> = part("weight")
                    .bytes
                    .as_slice()
                    .as_chunks::<4>()
                    .0
                    .iter()
                    .map(|&b| u32::from_le_bytes(b))
                    .collect();
                assert_eq!(
                    found.scales,
                    to_f32(&part("scales")).unwrap(),
                    "{name} {bits} {group}"
                );
                assert_eq!(
                    found.biases,
                    to_f32(&part("biases")).unwrap(),
                    "{name} {bits} {group}"
                );
                assert_eq!(found.packed, words, "{name} {bits} {group}");
            }
        }
    }
}

#[test]
fn what_cannot_be_quantised_is_refused() {
    let refusal = |values: &[f32], columns, bits, group, kind| {
        quantise(values, columns, bits, group, kind)
            .unwrap_err()
            .to_string()
    };
    let row = [0.5; 64];
    assert!(refusal(&row, 64, 7, 32, StoredType::F32).contains("expected 2, 3, 4, 5, 6 or 8 bits, found 7"));
    assert!(refusal(&row, 64, 4, 16, StoredType::F32).contains("expected groups of 32, 64 or 128, found 16"));
    assert!(refusal(&row, 64, 4, 128, StoredType::F32).contains("whole groups"));
    assert!(refusal(&row, 0, 4, 32, StoredType::F32).contains("whole groups"));
    assert!(refusal(&row, 64, 4, 32, StoredType::I8).contains("F32, F16 or BF16, found I8"));
    assert!(refusal(&[f32::NAN; 64], 64, 4, 32, StoredType::F32).contains("finite"));
}

#[test]
fn a_folder_is_quantised_and_opened_again() {
    let source = temporary("source");
    let tensors = [
        tensor("embed.weight", &[5, 64]),
        tensor("proj.weight", &[3, 128]),
        tensor("proj.bias", &[3]),
        tensor("odd.weight", &[3, 48]),
        tensor("position_embedding.weight", &[4, 64]),
        tensor("norm.weight", &[64]),
    ];
    write(&source.join("model-00001-of-00002.safetensors"), &tensors[..2]);
    write(&source.join("model-00002-of-00002.safetensors"), &tensors[2..]);
    let home = |at: usize| format!("model-0000{}-of-00002.safetensors", if at < 2 { 1 } else { 2 });
    let map: serde_json::Map<_, _> = tensors
        .iter()
        .enumerate()
        .map(|(at, tensor)| (tensor.name.clone(), json!(home(at))))
        .collect();
    std::fs::write(
        source.join("model.safetensors.index.json"),
        json!({ "weight_map": map }).to_string(),
    )
    .unwrap();
    std::fs::write(source.join("config.json"), r#"{"model_type":"x"}"#).unwrap();
    std::fs::write(source.join("tokenizer.json"), "{}").unwrap();
    std::fs::write(source.join("model.py"), "").unwrap();

    let target = source.join("quantised");
    let source_folder = ModelFolder::open(&source).unwrap();
    let layers = quantise_folder(&source_folder, &target, &QuantiseOptions::new(4, 64)).unwrap();
    assert_eq!(
        layers.into_iter().collect::<Vec<_>>(),
        [("embed".to_owned(), 4), ("proj".to_owned(), 4)]
    );
    assert!(target.join("tokenizer.json").is_file() && !target.join("model.py").exists());
    let folder = ModelFolder::open(&target).unwrap();
    assert_eq!(
        folder.config()["quantization"],
        json!({ "group_size": 64, "bits": 4 })
    );
    assert_eq!(folder.model_type(), Some("x"));

    let before = Checkpoint::open(&source_folder, &NameRules::default()).unwrap();
    let after = Checkpoint::open(&folder, &NameRules::default()).unwrap();
    assert_eq!(after.notes(), [] as [String; 0]);
    let (Weight::Linear { matrix: dense, .. }, Weight::Linear { matrix: packed, bias }) =
        (before.linear("proj").unwrap(), after.linear("proj").unwrap())
    else {
        panic!("not linear")
    };
    assert!(bias.is_some());
    assert_eq!(packed.shape(), [3, 128]);
    let (dense, packed) = (
        dequantise_rows(&dense, 0..3).unwrap(),
        dequantise_rows(&packed, 0..3).unwrap(),
    );
    // 16 levels over less than 2: half a step, and the rounding of one end onto a level.
    assert!(dense.iter().zip(&packed).all(|(a, b)| (a - b).abs() < 0.14));
    assert_ne!(dense, packed);
    for name in ["odd.weight", "position_embedding.weight", "norm.weight"] {
        assert_eq!(
            after.tensor(name).unwrap().bytes.as_slice(),
            before.tensor(name).unwrap().bytes.as_slice()
        );
    }
    let summary = after.summary();
    assert_eq!(summary.parameters, before.summary().parameters);
    assert_eq!(
        summary.parameters,
        (5 * 64 + 3 * 128 + 3 + 3 * 48 + 4 * 64 + 64) as u64
    );
    assert_eq!((summary.files, summary.tensors), (1, 10));
    // Half a byte a value, and for each group of 64 a scale and a bias of 4 bytes.
    let packed = summary.by_form["affine 4 bits"];
    assert_eq!(
        (packed.tensors, packed.bytes),
        (6, (5 * 64 + 3 * 128) / 2 + (5 + 3 * 2) * 8)
    );
    assert!(!summary.by_kind.contains_key(&StoredType::U32));

    let again = quantise_folder(&source_folder, &target, &QuantiseOptions::new(4, 64));
    assert!(
        again
            .unwrap_err()
            .to_string()
            .ends_with("exists and is not empty; name a new folder")
    );
    std::fs::remove_dir_all(&source).unwrap();
}

/// A tensor of 32-bit floats that are not all alike.
fn tensor(name: &str, shape: &[usize]) -> StoredTensor {
    let values = (0..shape.iter().product()).map(|at: usize| (at as f32 * 0.7).sin());
    tensor_of(name, shape, values.collect())
}

fn tensor_of(name: &str, shape: &[usize], values: Vec<f32>) -> StoredTensor {
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    StoredTensor {
        name: name.into(),
        kind: StoredType::F32,
        shape: shape.into(),
        bytes: Bytes::new(bytes),
    }
}

/// A model's folder of these tensors, and nothing else.
fn model(name: &str, tensors: &[StoredTensor]) -> (PathBuf, ModelFolder) {
    let folder = temporary(name);
    write(&folder.join("model.safetensors"), tensors);
    std::fs::write(folder.join("config.json"), "{}").unwrap();
    let opened = ModelFolder::open(&folder).unwrap();
    (folder, opened)
}

#[test]
fn tables_of_positions_stay_as_they_are() {
    // As checkpoints of several families call them, and what is only called nearly so.
    let positions = [
        "tower.patch_embed.pos_emb",
        "tower.pos_embed",
        "decoder.embed_positions",
        "tower.embeddings.position_embedding",
        "tower.gated_positional_embedding.tile_embedding",
        "tower.pre_tile_positional_embedding.embedding",
        "image_position_embed.row_embeddings",
    ];
    let others = ["model.embed_tokens", "tower.pos_embed_proj", "composition"];
    let names = positions.iter().chain(&others);
    let tensors: Vec<StoredTensor> = names
        .map(|name| tensor(&format!("{name}.weight"), &[2, 64]))
        .collect();
    let (folder, source) = model("positions", &tensors);
    let layers = quantise_folder(&source, &folder.join("copy"), &QuantiseOptions::new(4, 64)).unwrap();
    let mut expected = others.map(str::to_owned);
    expected.sort();
    assert_eq!(layers.into_keys().collect::<Vec<_>>(), expected);
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn a_conversion_of_nothing_is_refused_before_anything_is_written() {
    let (folder, source) = model(
        "nothing",
        &[
            tensor("a.weight", &[2, 96]),
            tensor("b.weight", &[2, 96]),
            tensor("c.weight", &[2, 64]),
            tensor("norm.weight", &[128]),
        ],
    );
    let target = folder.join("copy");
    let refusal = |options: &QuantiseOptions| {
        let error = quantise_folder(&source, &target, options).unwrap_err();
        assert!(!target.exists());
        error.to_string()
    };
    // 32 divides 96 and 64, 64 only the latter.
    assert!(refusal(&QuantiseOptions::new(4, 128)).ends_with(
        "no matrix has rows of whole groups of 128, rows have 64, 96: take groups of 32 (`--group 32`)"
    ));
    let mut options = QuantiseOptions::new(4, 32);
    options.keep.push(".".to_owned());
    assert!(refusal(&options).ends_with("all that could be is to stay as it is; keep less"));
    options = QuantiseOptions::new(4, 32);
    options.mixed = Some(6);
    assert!(
        refusal(&options)
            .ends_with("leave out `--mixed`, and give more bits with `--embeddings` and `--head`")
    );
    // Not even 32 fits.
    let (odd, source) = model("odd", &[tensor("a.weight", &[2, 48])]);
    let error = quantise_folder(&source, &target, &QuantiseOptions::new(4, 64)).unwrap_err();
    assert!(
        error.to_string().contains("whole groups of 32, 64 or 128"),
        "{error}"
    );
    for folder in [folder, odd] {
        std::fs::remove_dir_all(&folder).unwrap();
    }
}

#[test]
fn what_keeps_nothing_is_noted() {
    let (folder, source) = model("notes", &[tensor("a.weight", &[2, 64])]);
    let mut options = QuantiseOptions::new(4, 64);
    options.keep.extend(["^b".to_owned(), "weights".to_owned()]);
    let converted = quantise_folder_with(&source, &folder.join("copy"), &options, &mut |_| {}).unwrap();
    assert_eq!(
        converted.notes,
        ["^b", "weights"].map(|pattern| format!("no tensor's name matches `{pattern}`, so it keeps nothing"))
    );
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn a_number_that_is_none_has_its_place_named_and_leaves_nothing() {
    let mut values = vec![0.5; 3 * 64];
    values[2 * 64 + 17] = f32::NAN;
    let (folder, source) = model(
        "not-finite",
        &[
            tensor("a.weight", &[2, 64]),
            tensor_of("b.weight", &[3, 64], values),
        ],
    );
    let expected = "weight `b.weight` has NaN in row 2, column 17, and cannot be quantised; download the model again, or leave this weight as \
                    it is (`--keep`)";
    let (new, empty, files) = (folder.join("new"), folder.join("empty"), folder.join("files"));
    std::fs::create_dir(&empty).unwrap();
    for target in [&new, &empty] {
        let error = quantise_folder(&source, target, &QuantiseOptions::new(4, 64)).unwrap_err();
        assert_eq!(error.to_string(), expected);
    }
    assert!(!new.exists());
    assert_eq!(std::fs::read_dir(&empty).unwrap().count(), 0);

    // A file that is whole stays, and the folder says what it is.
    let mut options = QuantiseOptions::new(4, 64);
    options.file_bytes = 1;
    let error = quantise_folder(&source, &files, &options).unwrap_err();
    assert_eq!(error.to_string(), expected);
    let mut names: Vec<String> = std::fs::read_dir(&files)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(
        names,
        [".monocle-convert.json", "model-00001-of-00002.safetensors"]
    );
    let begun = format!(
        "of `{}` with `--bits 4 --group 64 --file-size 1`",
        folder.canonicalize().unwrap().display()
    );
    assert_eq!(
        ModelFolder::open(&files).unwrap_err().to_string(),
        format!(
            "`{}` is no whole model: it is the beginning of a conversion {begun}; the same command goes on with it",
            files.display()
        )
    );
    let error = quantise_folder(&source, &files, &QuantiseOptions::new(5, 64)).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "`{}` is the beginning of another conversion, {begun}, or its source has changed since; name a new folder, or go on with that one",
            files.display()
        )
    );
    std::fs::remove_dir_all(&folder).unwrap();
}

/// A safetensors file as the specification describes it.
fn write(path: &Path, tensors: &[StoredTensor]) {
    let mut header = json!({});
    let mut data = Vec::new();
    for tensor in tensors {
        let start = data.len();
        data.extend(tensor.bytes.as_slice());
        header[&tensor.name] = json!({ "dtype": tensor.kind.name(), "shape": tensor.shape, "data_offsets": [start, data.len()] });
    }
    let header = header.to_string();
    let file = [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &data].concat();
    std::fs::write(path, file).unwrap();
}

/// Number of expert, output and input in its digits, of two experts.
fn digits(outputs: std::ops::Range<usize>, inputs: usize) -> Vec<Vec<Vec<f32>>> {
    let row = |expert: usize, output: usize| {
        (0..inputs)
            .map(|input| (100 * expert + 10 * output + input + 1) as f32)
            .collect()
    };
    let matrix = |expert: usize| outputs.clone().map(|output| row(expert, output)).collect();
    (0..2).map(matrix).collect()
}

/// As `[experts, in, out]`.
fn by_inputs(experts: &[Vec<Vec<f32>>]) -> Vec<f32> {
    let of = |matrix: &Vec<Vec<f32>>| {
        let inputs = matrix[0].len();
        (0..inputs)
            .flat_map(|input| matrix.iter().map(move |row| row[input]))
            .collect::<Vec<f32>>()
    };
    experts.iter().flat_map(of).collect()
}

/// A checkpoint as published, one by the names and in the layout of MLX, and one whose experts are one by one are the same numbers, and what lies
/// otherwise is named.
#[test]
fn other_layouts_are_compared_by_their_numbers() {
    let (gate, up, down) = (digits(0..2, 3), digits(2..4, 3), digits(0..3, 2));
    let both: Vec<Vec<Vec<f32>>> = gate
        .iter()
        .zip(&up)
        .map(|(gate, up)| [&gate[..], up].concat())
        .collect();
    let flat = |experts: &[Vec<Vec<f32>>]| experts.concat().concat();
    // [out, channels, height, width] and [out, height, width, channels]
    let kernel: Vec<f32> = (0..2 * 3 * 4).map(|at| at as f32).collect();
    let last: Vec<f32> = (0..2)
        .flat_map(|out| {
            (0..4).flat_map(move |place| (0..3).map(move |channel| (out * 12 + channel * 4 + place) as f32))
        })
        .collect();
    // The same where both have one shape.
    let cube: Vec<f32> = (0..2 * 27).map(|at| at as f32).collect();
    let cube_last: Vec<f32> = (0..2)
        .flat_map(|out| {
            (0..9).flat_map(move |place| (0..3).map(move |channel| (out * 27 + channel * 9 + place) as f32))
        })
        .collect();
    let norm = || vec![1.0, 2.0, 3.0];
    let layer = "model.language_model.layers.0.mlp";
    let published = [
        tensor_of(
            &format!("{layer}.experts.gate_up_proj"),
            &[2, 3, 4],
            by_inputs(&both),
        ),
        tensor_of(
            &format!("{layer}.experts.down_proj"),
            &[2, 2, 3],
            by_inputs(&down),
        ),
        tensor_of("model.language_model.norm.weight", &[3], norm()),
        tensor_of(
            "model.visual.patch_embed.proj.weight",
            &[2, 3, 2, 2],
            kernel.clone(),
        ),
        tensor_of("model.visual.stem.weight", &[2, 3, 3, 3], cube.clone()),
    ];
    let mlx = |norm: Vec<f32>| {
        let layer = "language_model.model.layers.0.mlp.switch_mlp";
        [
            tensor_of(&format!("{layer}.gate_proj.weight"), &[2, 2, 3], flat(&gate)),
            tensor_of(&format!("{layer}.up_proj.weight"), &[2, 2, 3], flat(&up)),
            tensor_of(&format!("{layer}.down_proj.weight"), &[2, 3, 2], flat(&down)),
            tensor_of("language_model.model.norm.weight", &[3], norm),
            tensor_of(
                "vision_tower.patch_embed.proj.weight",
                &[2, 2, 2, 3],
                last.clone(),
            ),
            tensor_of("vision_tower.stem.weight", &[2, 3, 3, 3], cube_last.clone()),
        ]
    };
    let mut one_by_one = vec![
        tensor_of("model.language_model.norm.weight", &[3], norm()),
        tensor_of("model.visual.patch_embed.proj.weight", &[2, 3, 2, 2], kernel),
        tensor_of("model.visual.stem.weight", &[2, 3, 3, 3], cube.clone()),
    ];
    for (part, experts) in [("gate", &gate), ("up", &up), ("down", &down)] {
        for (number, matrix) in experts.iter().enumerate() {
            let shape = [matrix.len(), matrix[0].len()];
            let name = format!("{layer}.experts.{number}.{part}_proj.weight");
            one_by_one.push(tensor_of(&name, &shape, matrix.concat()));
        }
    }
    let opened = |name: &str, tensors: &[StoredTensor]| {
        let (path, folder) = model(name, tensors);
        let checkpoint = Checkpoint::open(&folder, &NameRules::default()).unwrap();
        std::fs::remove_dir_all(path).unwrap();
        checkpoint
    };
    let compared = |first: &Checkpoint, second: &Checkpoint| {
        let mut found = Vec::new();
        let otherwise = monocle_weights::compare(first, second, &mut |difference| {
            found.push((
                difference.name.clone(),
                difference.relative,
                difference.problem.clone(),
            ));
        });
        (found, otherwise)
    };
    let published = opened("layout-published", &published);
    let single = opened("layout-single", &one_by_one);
    let copy = opened("layout-mlx", &mlx(norm()));
    for (first, second, tensors, otherwise) in [
        (&published, &copy, 6, 5),
        (&copy, &published, 6, 5),
        (&single, &copy, 6, 6),
        (&copy, &single, 6, 6),
    ] {
        let (found, named) = compared(first, second);
        assert_eq!(found.len(), tensors, "{found:?}");
        for (name, relative, problem) in &found {
            assert_eq!((*relative, problem), (Some(0.0), &None), "{name}");
        }
        assert_eq!(named.len(), otherwise, "{named:?}");
    }
    let (_, named) = compared(&published, &copy);
    let joint = named
        .iter()
        .find(|named| named.first == [format!("{layer}.experts.gate_up_proj")]);
    let mlx_layer = "language_model.model.layers.0.mlp.switch_mlp";
    assert_eq!(
        joint.unwrap().second,
        [
            format!("{mlx_layer}.gate_proj.weight"),
            format!("{mlx_layer}.up_proj.weight")
        ]
    );
    let (_, named) = compared(&single, &copy);
    let experts = named
        .iter()
        .find(|named| named.second == [format!("{mlx_layer}.up_proj.weight")]);
    assert_eq!(
        experts.unwrap().first,
        [
            format!("{layer}.experts.0.up_proj.weight"),
            format!("{layer}.experts.1.up_proj.weight")
        ]
    );
    // Numbers that differ are found under other names too: 1 of the 14 that the squares come to.
    let other = opened("layout-other", &mlx(vec![2.0, 2.0, 3.0]));
    let (found, _) = compared(&published, &other);
    let norm = found
        .iter()
        .find(|(name, ..)| name.ends_with("norm.weight"))
        .unwrap();
    assert!(
        norm.1
            .is_some_and(|relative| (relative - (1.0_f64 / 14.0).sqrt()).abs() < 1e-9),
        "{norm:?}"
    );
}
