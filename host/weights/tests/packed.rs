//! Weights that other programs packed, against the numbers that those programs make of them (tests/oracle/make_packed.py).

use std::path::{Path, PathBuf};

use monocle_tensor::scaled::SmallFloat;
use monocle_tensor::stored::{Matrix, StoredType, Weight};
use monocle_weights::{Checkpoint, ModelFolder, NameRules, compare, dequantise_rows, to_f32};
use proptest::prelude::*;
use serde_json::{Value, json};

fn temporary(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("monocle-packed-{}-{name}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

fn open(folder: &Path) -> Checkpoint {
    let folder = ModelFolder::open(folder).unwrap_or_else(|error| panic!("{error}"));
    Checkpoint::open(&folder, &NameRules::default()).unwrap_or_else(|error| panic!("{error}"))
}

fn golden(name: &str) -> Checkpoint {
    golden_by(name, &NameRules::default())
}

fn golden_by(name: &str, rules: &NameRules) -> Checkpoint {
    let folder = temporary(&format!("{name}-{:?}", std::thread::current().id()));
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/oracle/packed");
    for (from, to) in [("safetensors", "model.safetensors"), ("json", "config.json")] {
        std::fs::copy(source.join(format!("{name}.{from}")), folder.join(to)).unwrap();
    }
    let opened = ModelFolder::open(&folder).unwrap_or_else(|error| panic!("{error}"));
    let checkpoint = Checkpoint::open(&opened, rules).unwrap_or_else(|error| panic!("{error}"));
    std::fs::remove_dir_all(&folder).unwrap();
    checkpoint
}

fn matrix(checkpoint: &Checkpoint, layer: &str, rank: usize) -> Matrix {
    let weight = match rank {
        2 => checkpoint.linear(layer),
        _ => checkpoint.experts(layer),
    };
    match weight.unwrap_or_else(|error| panic!("{layer}: {error}")) {
        Weight::Linear { matrix, .. } | Weight::Experts { matrix, .. } => matrix,
        other => panic!("{other:?}"),
    }
}

/// The layers of a golden file, each compared; gives their names and forms.
fn compared(name: &str) -> Vec<(String, String)> {
    let checkpoint = golden(name);
    assert_eq!(checkpoint.notes(), [] as [String; 0], "{name}");
    let layers = checkpoint.names().filter_map(|name| name.strip_prefix("values."));
    let mut parameters = 0;
    let mut found = Vec::new();
    for layer in layers {
        let expected = checkpoint.tensor(&format!("values.{layer}")).unwrap();
        let matrix = matrix(&checkpoint, layer, expected.shape.len());
        assert_eq!(matrix.shape(), expected.shape, "{name} {layer}");
        assert!(matrix.check().is_ok(), "{name} {layer}: {:?}", matrix.check());
        let (rows, columns) = (
            expected.len() / expected.shape.last().unwrap(),
            *expected.shape.last().unwrap(),
        );
        let values = dequantise_rows(&matrix, 0..rows).unwrap();
        let expected = to_f32(&expected).unwrap();
        for (at, (value, expected)) in values.iter().zip(&expected).enumerate() {
            // MLX's affine quantisation rounds twice.
            let near = matrix.form().contains("bits") && (value - expected).abs() <= 1e-7;
            assert!(
                value == expected || near,
                "{name} {layer} {at}: {value}, expected {expected}"
            );
        }
        let one = dequantise_rows(&matrix, 1..2).unwrap();
        assert_eq!(one, values[columns..2 * columns], "{name} {layer}");
        let full = ["", ".weight"].map(|end| format!("{layer}{end}"));
        let full = full
            .iter()
            .find(|name| checkpoint.has(name))
            .expect("it has a weight");
        let unpacked = checkpoint.parameter(full).unwrap();
        assert_eq!(
            (unpacked.kind, to_f32(&unpacked).unwrap()),
            (StoredType::F32, values)
        );
        parameters += expected.len() as u64;
        found.push((layer.to_owned(), matrix.form()));
    }
    // The values are stored beside the layers here.
    assert_eq!(checkpoint.summary().parameters, 2 * parameters, "{name}");
    found
}

fn named(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs
        .iter()
        .map(|(layer, form)| ((*layer).to_owned(), (*form).to_owned()))
        .collect()
}

/// Elements, scales and biases are counted together, under the name of the form.
#[test]
fn packed_weights_are_counted_by_their_form() {
    let forms = |name: &str| -> Vec<(String, usize, u64)> {
        let forms = golden(name).summary().by_form.into_iter();
        forms
            .map(|(form, part)| (form, part.tensors, part.bytes))
            .collect()
    };
    let form = |name: &str, tensors, bytes| (name.to_owned(), tensors, bytes);
    // 8 bits for 64 values in 2 rows with a scale and a bias of 4 bytes each; 4 bits for 4 rows of 96 and 6 of 64, with a byte for each 32.
    let affine = form("affine 8 bits", 3, 2 * (64 + 8));
    let four = 4 * (48 + 3) + 6 * (32 + 2);
    let eight = 4 * (96 + 3) + 6 * (64 + 2);
    assert_eq!(forms("mlx_mxfp4"), [form("MXFP4", 4, four), affine.clone()]);
    assert_eq!(forms("mlx_mxfp8"), [form("MXFP8", 4, eight), affine]);
    assert_eq!(forms("compressed_mxfp4"), [form("MXFP4", 2, 4 * (48 + 3))]);
    assert_eq!(forms("experts_mxfp4"), [form("MXFP4", 2, 8 * (32 + 2))]);
    let eight = 4 * 8 * 64 + 4 * (4 + 8 + 16 + 1);
    assert_eq!(forms("compressed_fp8"), [form("F8_E4M3", 8, eight)]);
    // Scales and biases are held in 32 bits here.
    assert_eq!(forms("awq"), [form("AWQ 4 bits", 3, 24 * (64 + 2 * 8))]);
}

#[test]
fn float8_is_what_transformers_makes_of_it() {
    assert_eq!(
        compared("transformers_fp8"),
        named(&[
            ("layer.blocks", "FP8 (E4M3) in blocks of 32 by 32 with F32 scales"),
            ("layer.edges", "FP8 (E4M3) in blocks of 32 by 32 with F32 scales"),
            ("layer.rows", "FP8 (E4M3) in blocks of 1 by 64 with F32 scales"),
            ("layer.tensor", "FP8 (E4M3) in blocks of 6 by 64 with BF16 scales"),
        ])
    );
}

#[test]
fn float8_is_what_compressed_tensors_makes_of_it() {
    assert_eq!(
        compared("compressed_fp8"),
        named(&[
            ("layer.block", "FP8 (E4M3) in blocks of 4 by 32 with F32 scales"),
            ("layer.channel", "FP8 (E4M3) in blocks of 1 by 64 with F32 scales"),
            ("layer.group", "FP8 (E4M3) in blocks of 1 by 32 with F32 scales"),
            ("layer.tensor", "FP8 (E4M3) in blocks of 8 by 64 with F32 scales"),
        ])
    );
}

#[test]
fn mxfp4_is_what_each_program_makes_of_it() {
    const FORM: &str = "FP4 (E2M1) in blocks of 1 by 32 with F8_E8M0 scales";
    assert_eq!(compared("compressed_mxfp4"), named(&[("layer", FORM)]));
    assert_eq!(compared("experts_mxfp4"), named(&[("layer", FORM)]));
    let affine = "8 bits in groups of 64 with F32 scales";
    assert_eq!(
        compared("mlx_mxfp4"),
        named(&[
            ("layer.affine", affine),
            ("layer.matrix", FORM),
            ("layer.stack", FORM)
        ])
    );
    let eight = "FP8 (E4M3) in blocks of 1 by 32 with F8_E8M0 scales";
    assert_eq!(
        compared("mlx_mxfp8"),
        named(&[
            ("layer.affine", affine),
            ("layer.matrix", eight),
            ("layer.stack", eight)
        ])
    );
}

#[test]
fn awq_is_what_mlx_lm_makes_of_it() {
    assert_eq!(
        compared("awq"),
        named(&[("layer", "4 bits in groups of 64 with F32 scales")])
    );
}

#[test]
fn packed_weights_are_compared_by_their_numbers() {
    for (name, count) in [
        ("transformers_fp8", 4),
        ("compressed_fp8", 4),
        ("compressed_mxfp4", 1),
        ("experts_mxfp4", 1),
        ("mlx_mxfp4", 3),
        ("mlx_mxfp8", 3),
        ("awq", 1),
    ] {
        let end = if name == "experts_mxfp4" { "" } else { ".weight" };
        let numbers = format!("$1{end}");
        let packed = NameRules::new([], [r"^values\."]).unwrap();
        let plain = NameRules::new([(r"^values\.(.*)$", numbers.as_str())], ["^layer"]).unwrap();
        let [packed, plain] = [packed, plain].map(|rules| golden_by(name, &rules));
        for (first, second) in [(&packed, &packed), (&packed, &plain), (&plain, &packed)] {
            let mut found = Vec::new();
            compare(first, second, &mut |difference| found.push(difference.clone()));
            assert_eq!(found.len(), count, "{name}: {found:?}");
            for difference in found {
                // MLX's affine quantisation rounds twice.
                assert!(
                    difference.relative.is_some_and(|relative| relative < 1e-6),
                    "{name}: {difference:?}"
                );
            }
        }
    }
    // The same bytes with other scales, or integers that differ.
    let opened = |scale: &[usize], ids: usize| {
        let tensors = [
            ("ids".to_owned(), StoredType::I64, vec![1, ids]),
            ("l.weight".to_owned(), StoredType::F8E4M3, vec![4, 64]),
            ("l.weight_scale".to_owned(), StoredType::F32, scale.to_vec()),
        ];
        open(&with("compared", &json!({}), &tensors))
    };
    let compared = |first: &Checkpoint, second: &Checkpoint| {
        let mut found = Vec::new();
        compare(first, second, &mut |difference| {
            found.push((difference.name.clone(), difference.relative))
        });
        found
    };
    let (one, more, misfit) = (opened(&[], 3), opened(&[4], 4), opened(&[3], 3));
    let named = |ids, weight| vec![("ids".to_owned(), ids), ("l.weight".to_owned(), weight)];
    assert_eq!(compared(&one, &one), named(Some(0.0), Some(0.0)));
    assert_eq!(compared(&one, &more), named(None, Some(0.0)));
    let of_misfit = compared(&misfit, &misfit);
    assert_eq!(of_misfit[..2], named(Some(0.0), None), "{of_misfit:?}");
}

type Stored = (String, StoredType, Vec<usize>);

/// A folder with these tensors, all of whose bytes are 1.
fn with(name: &str, config: &Value, tensors: &[Stored]) -> PathBuf {
    let folder = temporary(name);
    let (mut header, mut at) = (json!({}), 0);
    for (name, kind, shape) in tensors {
        let end = at + shape.iter().product::<usize>() * kind.size();
        header[name] = json!({ "dtype": kind.name(), "shape": shape, "data_offsets": [at, end] });
        at = end;
    }
    let header = header.to_string();
    let file = [
        &(header.len() as u64).to_le_bytes(),
        header.as_bytes(),
        &vec![1; at],
    ]
    .concat();
    std::fs::write(folder.join("model.safetensors"), file).unwrap();
    std::fs::write(folder.join("config.json"), config.to_string()).unwrap();
    folder
}

#[test]
fn scales_that_do_not_fit_are_refused() {
    let fp8 = |name: &str, scale: &[usize]| {
        let tensors = [
            ("l.weight".to_owned(), StoredType::F8E4M3, vec![6, 64]),
            ("l.weight_scale_inv".to_owned(), StoredType::F32, scale.to_vec()),
        ];
        open(&with(name, &json!({}), &tensors)).linear("l")
    };
    assert!(fp8("fits", &[2, 2]).is_ok());
    let error = fp8("not", &[4, 2]).unwrap_err().to_string();
    assert!(
        error.contains(
            "found `l.weight_scale_inv` [4, 2] F32, no `l.weight_scale`; the file is incomplete or damaged"
        ),
        "{error}"
    );
    // A group of 16 for AWQ, which MLX's quantisation has not.
    let tensors = [
        ("l.qweight".to_owned(), StoredType::I32, vec![64, 4]),
        ("l.qzeros".to_owned(), StoredType::I32, vec![4, 4]),
        ("l.scales".to_owned(), StoredType::F16, vec![4, 32]),
    ];
    let error = open(&with("awq-16", &json!({}), &tensors))
        .linear("l")
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("with groups of 32, 64 or 128, found `l.qzeros` [4, 4] I32, `l.scales` [4, 32] F16;"),
        "{error}"
    );
}

#[test]
fn names_are_changed_as_of_other_weights() {
    let tensors = [
        ("old.l.weight_packed".to_owned(), StoredType::U8, vec![2, 32]),
        ("old.l.weight_scale".to_owned(), StoredType::U8, vec![2, 2]),
        ("old.l.bias".to_owned(), StoredType::F32, vec![2]),
    ];
    let folder = ModelFolder::open(&with("renamed", &json!({}), &tensors)).unwrap();
    let rules = NameRules::new([(r"^old\.", "new.")], []).unwrap();
    let checkpoint = Checkpoint::open(&folder, &rules).unwrap();
    let Weight::Linear { matrix, bias } = checkpoint.linear("new.l").unwrap() else {
        panic!("not linear")
    };
    assert!(bias.is_some());
    assert!(matches!(
        matrix,
        Matrix::Scaled {
            float: SmallFloat::E2M1,
            ..
        }
    ));
    assert_eq!((matrix.name(), matrix.shape()), ("new.l.weight", vec![2, 64]));
}

/// Names, types and shapes that mean something to some reader.
fn any_tensors() -> impl Strategy<Value = Vec<Stored>> {
    let names = [
        "l.weight",
        "l.weight_scale",
        "l.weight_scale_inv",
        "l.weight_packed",
        "l.scales",
        "l.biases",
        "l.qweight",
        "l.qzeros",
        "l_blocks",
        "l_scales",
        "l",
        "l_scale_inv",
        "l.weight_global_scale",
        "l.g_idx",
    ];
    let kinds = [
        StoredType::U8,
        StoredType::U32,
        StoredType::I32,
        StoredType::F8E4M3,
        StoredType::F8E5M2,
        StoredType::F8E8M0,
        StoredType::F16,
        StoredType::F32,
    ];
    let sizes = prop::sample::select(vec![0_usize, 1, 2, 4, 8, 16, 32, 64]);
    let tensor = (
        prop::sample::select(kinds.to_vec()),
        prop::collection::vec(sizes, 0..5),
    );
    prop::collection::btree_map(prop::sample::select(names.to_vec()), tensor, 1..6).prop_map(|tensors| {
        let tensors = tensors.into_iter();
        tensors
            .map(|(name, (kind, shape))| (name.to_owned(), kind, shape))
            .filter(|(_, _, shape)| shape.iter().product::<usize>() < 1 << 16)
            .collect()
    })
}

proptest! {
    #[test]
    fn any_tensors_are_weights_or_an_error(tensors in any_tensors(), block in prop::option::of((0_u64..40, 0_u64..40))) {
        let config = json!({ "quantization_config": { "quant_method": "fp8", "weight_block_size": block.map(|(a, b)| [a, b]) } });
        let folder = with(&format!("any-{:?}", std::thread::current().id()), &config, &tensors);
        if let Ok(checkpoint) = Checkpoint::open(&ModelFolder::open(&folder).unwrap(), &NameRules::default()) {
            checkpoint.summary();
            for weight in [checkpoint.linear("l"), checkpoint.experts("l"), checkpoint.embedding("l")].into_iter().flatten() {
                for matrix in weight.matrices() {
                    if let Ok([rows, _]) = matrix.check() {
                        prop_assert!(dequantise_rows(matrix, 0..rows).is_ok());
                    }
                }
            }
            let names: Vec<String> = checkpoint.names().map(str::to_owned).collect();
            for name in names {
                let _ = checkpoint.parameter(&name);
            }
        }
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
