//! Indices, configurations and layers that are wrong in any way: refused in few words or read, and nothing panics.

use monocle_tensor::stored::StoredType::{self, BF16, F8E4M3, F32, I8, I32, U8, U32};
use monocle_tensor::stored::{Matrix, Weight};
use monocle_weights::{Checkpoint, refuse_foreign};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::folder::Folder;

const INDEX: &str = r#"{"metadata": {"total_size": 32}, "weight_map": {"a.weight": "model-00001-of-00002.safetensors", "b.weight": "model-00002-of-00002.safetensors"}}"#;

/// Asks for everything that there is, in each role.
fn ask(checkpoint: &Checkpoint) -> Vec<String> {
    let mut refusals = Vec::new();
    let names: Vec<String> = checkpoint.names().map(str::to_owned).collect();
    for name in names.iter().map(String::as_str).chain(["l.weight", "b.weight"]) {
        let layer = name.strip_suffix(".weight").unwrap_or(name);
        let roles = [
            checkpoint.linear(layer),
            checkpoint.embedding(layer),
            checkpoint.experts(layer),
            checkpoint.stack_experts(&[layer.to_owned(), layer.to_owned()]),
            checkpoint.tensor(name).map(Weight::Tensor),
        ];
        for role in roles {
            match role {
                Ok(
                    Weight::Linear { matrix, .. }
                    | Weight::Embedding(matrix)
                    | Weight::Experts { matrix, .. },
                ) => {
                    check(&matrix);
                }
                Ok(Weight::Stack(layers)) => {
                    for (matrix, _) in &layers {
                        check(matrix);
                    }
                }
                Ok(Weight::Tensor(_)) => {}
                Err(error) => refusals.push(error.to_string()),
            }
        }
    }
    let _ = checkpoint.summary();
    refusals
}

/// What a quantised matrix promises: rows of whole groups, that fill their words.
fn check(matrix: &Matrix) {
    if let Matrix::Affine {
        packed,
        scales,
        biases,
        bits,
        group_size,
    } = matrix
    {
        let columns = matrix.shape().pop().unwrap();
        assert_eq!(columns * *bits as usize, packed.shape.last().unwrap() * 32);
        assert_eq!(columns, scales.shape.last().unwrap() * group_size);
        assert_eq!(scales.shape, biases.shape);
        assert_eq!(
            scales.shape[..scales.shape.len() - 1],
            packed.shape[..packed.shape.len() - 1]
        );
    }
}

fn words() -> impl Strategy<Value = String> {
    let known = [
        "quantization",
        "quantization_config",
        "text_config",
        "group_size",
        "bits",
        "mode",
        "quant_method",
        "format",
        "load_in_4bit",
        "config_groups",
        "weights",
        "num_bits",
        "quant_algo",
        "affine",
        "awq",
        "gptq",
        "bitsandbytes",
        "fp8",
        "mxfp4",
        "modelopt",
        "compressed-tensors",
        "pack-quantized",
        "nvfp4",
        "l",
        "",
    ];
    prop::sample::select(known.map(str::to_owned).to_vec())
}

fn any_json() -> impl Strategy<Value = Value> {
    let numbers = prop::sample::select(vec![0u64, 2, 3, 4, 6, 8, 16, 32, 64, 128, u64::MAX]);
    let leaf = prop_oneof![
        numbers.prop_map(Value::from),
        words().prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        Just(Value::Null),
        any::<i32>().prop_map(|number| json!(f64::from(number) / 3.0)),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((words(), inner), 0..6)
                .prop_map(|entries| Value::Object(entries.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

proptest! {
    #[test]
    fn any_mutation_of_an_index_is_read(at in 0..INDEX.len(), byte in any::<u8>(), cut in prop::option::of(0..INDEX.len())) {
        let folder = Folder::new(&format!("index-{:?}", std::thread::current().id()));
        folder
            .file("model-00001-of-00002.safetensors", &[("a.weight", F32, &[2, 2])], 1)
            .file("model-00002-of-00002.safetensors", &[("b.weight", F32, &[2, 2])], 2);
        let mut bytes = INDEX.as_bytes().to_vec();
        bytes[at] = byte;
        bytes.truncate(cut.unwrap_or(bytes.len()));
        std::fs::write(folder.0.join("model.safetensors.index.json"), bytes).unwrap();
        match folder.open() {
            Ok(checkpoint) => prop_assert_eq!(checkpoint.names().count(), 2, "{:?}", checkpoint.notes()),
            Err(error) => prop_assert!(error.to_string().contains("index.json") || error.to_string().contains("lacks"), "{}", error),
        }
    }

    #[test]
    fn any_configuration_is_read(quantization in any_json(), config in any_json()) {
        let all = json!({ "quantization": quantization, "quantization_config": config, "text_config": { "quantization_config": config } });
        for config in [&config, &all] {
            if let Err(error) = refuse_foreign(config) {
                prop_assert!(error.to_string().starts_with("the model is quantised with "), "{}", error);
            }
        }
    }

    #[test]
    fn any_layer_is_read(
        parts in prop::collection::vec((0usize..12, 0usize..8, prop::collection::vec(prop::sample::select(vec![0usize, 1, 2, 3, 4, 6, 8, 16]), 0..4)), 1..6),
        rows in 1usize..3, words in 1usize..40, groups in 1usize..8, sound in any::<bool>(), quantization in any_json(),
    ) {
        const NAMES: [&str; 12] = [
            "l.weight", "l.scales", "l.biases", "l.bias", "l.qweight", "l.g_idx", "l.weight.absmax", "l.SCB", "l.weight_packed",
            "l.weight_scale", "l_blocks", "l",
        ];
        const KINDS: [StoredType; 8] = [U32, F32, BF16, U8, I8, I32, F8E4M3, StoredType::F8E5M2];
        let mut tensors: Vec<(&str, StoredType, Vec<usize>)> = parts.into_iter().map(|(name, kind, shape)| (NAMES[name], KINDS[kind], shape)).collect();
        if sound {
            tensors.splice(0..0, [
                ("l.weight", U32, vec![rows, words]), ("l.scales", BF16, vec![rows, groups]), ("l.biases", BF16, vec![rows, groups]),
            ]);
        }
        let mut seen = std::collections::BTreeSet::new();
        tensors.retain(|(name, ..)| seen.insert(*name));
        let folder = Folder::new(&format!("layer-{:?}", std::thread::current().id()));
        let tensors: Vec<(&str, StoredType, &[usize])> = tensors.iter().map(|(name, kind, shape)| (*name, *kind, shape.as_slice())).collect();
        folder.file("model.safetensors", &tensors, 0).json("config.json", json!({ "quantization": quantization }));
        if let Ok(checkpoint) = folder.open() {
            for refusal in ask(&checkpoint) {
                prop_assert!(refusal.len() < 2000, "{}", refusal);
            }
        }
    }
}
