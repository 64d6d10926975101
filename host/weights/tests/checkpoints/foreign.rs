//! Other programs' quantisations: refused by their names, with what to take instead.

use monocle_tensor::stored::StoredType::{self, F8E4M3, F8E5M2, F16, F32, I8, I32, U8, U32};
use serde_json::{Value, json};

use super::folder::Folder;

/// What is told by `config.json` alone: there are no weights to look at.
#[test]
fn config_json_names_the_method() {
    let folder = Folder::new("foreign-config");
    let tail = "which cannot be run; take the original in bf16, f16 or f32 instead, or a conversion of it to MLX's affine quantisation \
                (2 to 8 bits; `monocle convert` makes one of the original)";
    for (settings, expected) in [
        (
            json!({ "quant_method": "awq", "bits": 8, "group_size": 128, "version": "gemm", "zero_point": true }),
            "AWQ in 8 bits",
        ),
        (
            json!({ "quant_method": "awq", "bits": 4, "group_size": 128, "version": "gemv", "zero_point": true }),
            "AWQ in 4 bits for `gemv`",
        ),
        (
            json!({ "quant_method": "gptq", "bits": 8, "group_size": 128, "desc_act": true }),
            "GPTQ in 8 bits",
        ),
        (
            json!({ "quant_method": "bitsandbytes", "load_in_4bit": true, "bnb_4bit_quant_type": "nf4" }),
            "bitsandbytes in 4 bits",
        ),
        (
            json!({ "quant_method": "bitsandbytes", "load_in_8bit": true, "load_in_4bit": false }),
            "bitsandbytes in 8 bits",
        ),
        (
            json!({ "quant_method": "modelopt", "quant_algo": "NVFP4" }),
            "ModelOpt's NVFP4",
        ),
        (
            json!({ "quant_method": "compressed-tensors", "format": "int-quantized" }),
            "8-bit integers by compressed-tensors",
        ),
        (
            json!({ "quant_method": "compressed-tensors", "format": "nvfp4-pack-quantized" }),
            "NVFP4 by compressed-tensors",
        ),
        (
            json!({ "quant_method": "compressed-tensors", "format": "pack-quantized",
                    "config_groups": { "group_0": { "weights": { "num_bits": 4, "type": "int" } } } }),
            "packed 4-bit integers by compressed-tensors",
        ),
        (json!({ "quant_method": "hqq" }), "`hqq`"),
    ] {
        for (config, place) in [
            (json!({ "quantization_config": settings }), "quantization_config"),
            (
                json!({ "text_config": { "quantization_config": settings } }),
                "text_config.quantization_config",
            ),
        ] {
            folder.json("config.json", config);
            let method = &settings["quant_method"].as_str().unwrap();
            assert_eq!(
                folder.refusal(),
                format!(
                    "the model is quantised with {expected} (`config.json` says `quant_method` is `{method}` in `{place}`), {tail}"
                )
            );
        }
    }
    // Before there was `quant_method`.
    folder.json(
        "config.json",
        json!({ "quantization_config": { "load_in_8bit": true } }),
    );
    assert!(
        folder
            .refusal()
            .starts_with("the model is quantised with bitsandbytes in 8 bits")
    );
}

#[test]
fn what_is_not_quantised_or_mlx_is_let_through() {
    let folder = Folder::new("not-foreign");
    folder.file("model.safetensors", &[("a.weight", F32, &[2, 2])], 0);
    let mlx = json!({ "group_size": 64, "bits": 4 });
    for config in [
        json!({ "quantization": mlx, "quantization_config": mlx }),
        json!({ "quantization": { "group_size": 64, "bits": 4, "mode": "affine" } }),
        // MLX's conversions of quantised originals keep what those said.
        json!({ "quantization": mlx, "quantization_config": { "quant_method": "mxfp4" } }),
        json!({ "quantization_config": { "quant_method": "bitsandbytes", "load_in_8bit": false, "load_in_4bit": false } }),
        json!({ "quantization_config": { "quant_method": "compressed-tensors", "format": "dense" } }),
        // What is read as it is packed.
        json!({ "quantization_config": { "quant_method": "awq", "bits": 4, "group_size": 128, "version": "gemm" } }),
        json!({ "quantization_config": { "quant_method": "fp8", "fmt": "e4m3", "weight_block_size": [128, 128] } }),
        json!({ "quantization_config": { "quant_method": "fbgemm_fp8" } }),
        json!({ "quantization_config": { "quant_method": "mxfp4", "modules_to_not_convert": [] } }),
        json!({ "quantization_config": { "quant_method": "modelopt", "quant_algo": "FP8" } }),
        json!({ "quantization_config": { "quant_method": "compressed-tensors", "format": "float-quantized" } }),
        json!({ "quantization_config": { "quant_method": "compressed-tensors", "format": "mxfp4-pack-quantized" } }),
        json!({ "quantization": { "group_size": 32, "bits": 4, "mode": "mxfp4" } }),
        json!({ "quantization_config": null, "text_config": "x", "vision_config": [{ "quantization_config": 1 }] }),
        json!({ "quantization_config": "none" }),
    ] {
        folder.json("config.json", config.clone());
        assert!(folder.open().is_ok(), "{config}: {}", folder.refusal());
    }
}

/// The tensors of a layer `l` of 64 inputs and 32 outputs, as each program writes it, where `config.json` says nothing.
#[test]
fn tensors_name_the_method_where_config_json_is_silent() {
    type Tensors = &'static [(&'static str, StoredType, &'static [usize])];
    let cases: [(Tensors, &str, &str); 9] = [
        (
            &[
                ("l.qweight", I32, &[8, 32]),
                ("l.qzeros", I32, &[2, 4]),
                ("l.scales", F16, &[2, 32]),
                ("l.g_idx", I32, &[64]),
            ],
            "GPTQ",
            "`l.qweight`, I32",
        ),
        (
            &[
                ("l.qweight", I32, &[8, 32]),
                ("l.qzeros", I32, &[2, 4]),
                ("l.scales", F16, &[2, 32]),
            ],
            "GPTQ",
            "`l.qweight`, I32",
        ),
        (
            &[
                ("l.weight", U8, &[1024, 1]),
                ("l.weight.absmax", U8, &[32]),
                ("l.weight.quant_map", F32, &[16]),
            ],
            "bitsandbytes in 4 bits",
            "`l.weight.absmax`, U8",
        ),
        (
            &[("l.weight", I8, &[32, 64]), ("l.SCB", F32, &[32])],
            "bitsandbytes in 8 bits",
            "`l.SCB`, F32",
        ),
        (
            &[("l.weight", I8, &[32, 64]), ("l.weight_scale", F32, &[32, 1])],
            "8-bit integers by compressed-tensors",
            "`l.weight`, I8",
        ),
        (
            &[
                ("l.weight_packed", I32, &[32, 8]),
                ("l.weight_scale", F16, &[32, 2]),
            ],
            "packed integers by compressed-tensors",
            "`l.weight_packed`, I32",
        ),
        (
            &[
                ("l.weight_packed", U8, &[32, 32]),
                ("l.weight_scale", F8E4M3, &[32, 4]),
                ("l.weight_global_scale", F32, &[1]),
            ],
            "NVFP4 by compressed-tensors",
            "`l.weight_packed`, U8",
        ),
        (
            &[
                ("l.weight", U8, &[32, 32]),
                ("l.weight_scale", F8E4M3, &[32, 4]),
                ("l.weight_scale_2", F32, &[]),
            ],
            "ModelOpt's NVFP4",
            "`l.weight`, U8",
        ),
        // 64 values of 4 bits in 8 words; 4 scales for groups of 16.
        (
            &[("l.weight", U32, &[32, 8]), ("l.scales", U8, &[32, 4])],
            "MLX's nvfp4",
            "`l.scales`, U8",
        ),
    ];
    for (at, (tensors, method, tensor)) in cases.into_iter().enumerate() {
        let folder = Folder::new(&format!("foreign-tensors-{at}"));
        folder.file("model.safetensors", tensors, 0);
        let checkpoint = folder.open().unwrap();
        let expected = format!("the model is quantised with {method} (told by the tensor {tensor}), which");
        let message = checkpoint.linear("l").unwrap_err().to_string();
        assert!(message.starts_with(&expected), "{message}");
        // A layer that is missing in a checkpoint of this kind.
        let is_whole = tensors.iter().any(|(name, ..)| *name == "l.weight");
        let message = checkpoint.linear("other").unwrap_err().to_string();
        assert_eq!(
            message.starts_with(&expected),
            !is_whole || has_mark(tensors),
            "{message}"
        );
    }
}

/// A layer of 64 inputs and 32 outputs whose quantisation is read, with a part that does not fit or is not there.
#[test]
fn what_is_read_but_does_not_fit_is_not_called_unknown() {
    type Tensors = &'static [(&'static str, StoredType, &'static [usize])];
    let tail = "; the file is incomplete or damaged: download it again; if it is the same then, it is packed in a way that is not read: \
                take the original in bf16, f16 or f32";
    let float8 = "expected scales of one number, of [32], of [32, 1], or for blocks that divide it or that `config.json` names";
    let awq = "expected `l.qweight` [in, out / 8] I32, `l.qzeros` [in / group, out / 8] I32 and `l.scales` [in / group, out] of floats, \
               with groups of 32, 64 or 128";
    // 64 numbers of 4 bits are 8 words or 32 bytes, of 8 bits 16 words; each 32 have a scale.
    let cases: [(Tensors, String); 10] = [
        (
            &[
                ("l.weight", F8E4M3, &[32, 64]),
                ("l.weight_scale_inv", F32, &[5, 7]),
            ],
            format!(
                "`l.weight` [32, 64] F8_E4M3 holds 8-bit floats, and does not fit what unpacks it: {float8}, found `l.weight_scale_inv` \
                 [5, 7] F32, no `l.weight_scale`"
            ),
        ),
        (
            &[("l.weight", F8E4M3, &[32, 64]), ("l.weight_scale", F32, &[10])],
            format!("{float8}, found no `l.weight_scale_inv`, `l.weight_scale` [10] F32"),
        ),
        (
            &[("l.weight", F8E5M2, &[32, 64])],
            format!("{float8}, found no `l.weight_scale_inv`, no `l.weight_scale`"),
        ),
        (
            // Groups of 16.
            &[
                ("l.qweight", I32, &[64, 4]),
                ("l.qzeros", I32, &[4, 4]),
                ("l.scales", F16, &[4, 32]),
            ],
            format!(
                "`l.qweight` [64, 4] I32 holds 4-bit integers by AWQ, and does not fit what unpacks it: {awq}, found `l.qzeros` [4, 4] I32, \
                 `l.scales` [4, 32] F16"
            ),
        ),
        (
            &[("l.qweight", I32, &[64, 4]), ("l.scales", F16, &[1, 32])],
            format!("{awq}, found no `l.qzeros`, `l.scales` [1, 32] F16"),
        ),
        (
            &[("l.qweight", I32, &[64, 4]), ("l.qzeros", I32, &[1, 4])],
            format!("{awq}, found `l.qzeros` [1, 4] I32, no `l.scales`"),
        ),
        (
            &[("l.weight", U32, &[32, 8]), ("l.scales", U8, &[10, 2])],
            "expected `l.scales` [32, 2] or [32, 1] U8 or F8_E8M0, found `l.scales` [10, 2] U8".to_owned(),
        ),
        (
            &[("l.weight", U32, &[32, 12]), ("l.scales", U8, &[32, 1])],
            "expected `l.scales` [32, 3] U8 or F8_E8M0, found `l.scales` [32, 1] U8".to_owned(),
        ),
        (
            &[("l.weight_packed", U8, &[32, 32])],
            "expected `l.weight_scale` [32, 2] U8 or F8_E8M0, found no `l.weight_scale`".to_owned(),
        ),
        (
            &[("l_blocks", U8, &[3, 32, 2, 16]), ("l_scales", U8, &[3, 32, 1])],
            "expected `l_blocks` [experts, out, groups, 16] and `l_scales` [experts, out, groups], both U8, found `l_scales` [3, 32, 1] U8"
                .to_owned(),
        ),
    ];
    for (at, (tensors, expected)) in cases.into_iter().enumerate() {
        let folder = Folder::new(&format!("misfit-{at}"));
        folder.file("model.safetensors", tensors, 0);
        let message = folder.open().unwrap().linear("l").unwrap_err().to_string();
        assert!(message.ends_with(&format!("{expected}{tail}")), "{message}");
        assert!(!message.contains("cannot be run"), "{message}");
    }
    // What fits is not blamed for being asked for in another role.
    let folder = Folder::new("misfit-none");
    let tensors: Tensors = &[("l.weight", F8E4M3, &[32, 64]), ("l.weight_scale", F32, &[])];
    folder.file("model.safetensors", tensors, 0);
    let message = folder.open().unwrap().experts("l").unwrap_err().to_string();
    assert!(
        message.contains("expected 3 dimensions, found shape [32, 64]"),
        "{message}"
    );
}

/// Whether a name alone tells the method.
fn has_mark(tensors: &[(&str, StoredType, &[usize])]) -> bool {
    let marks = [".absmax", ".SCB", ".weight_scale", ".weight_scale_inv"];
    tensors
        .iter()
        .any(|(name, ..)| marks.iter().any(|mark| name.ends_with(mark)))
}

#[test]
fn shapes_decide_the_bits() {
    let folder = Folder::new("bits-by-shapes");
    // (the layer, its bits, its group size), each of 2 rows of 384 values.
    let layers = [
        ("a", 4, 32),
        ("b", 4, 32),
        ("v", 6, 32),
        ("d", 6, 32),
        ("w", 5, 64),
        ("n", 3, 32),
    ];
    let names: Vec<[String; 3]> = layers
        .iter()
        .map(|(layer, ..)| ["weight", "scales", "biases"].map(|part| format!("m.{layer}.{part}")))
        .collect();
    let shapes: Vec<[[usize; 2]; 2]> = layers
        .iter()
        .map(|(_, bits, group)| [[2, 384 * bits / 32], [2, 384 / group]])
        .collect();
    let mut tensors: Vec<(&str, StoredType, &[usize])> = Vec::new();
    for ([weight, scales, biases], [packed, groups]) in names.iter().zip(&shapes) {
        tensors.push((weight, U32, packed));
        tensors.push((scales, F16, groups));
        tensors.push((biases, F16, groups));
    }
    let quantised = |settings: Value, tensors: &[(&str, StoredType, &[usize])]| {
        folder.json("config.json", json!({ "quantization": settings }));
        folder.file("model.safetensors", tensors, 0);
        folder.open().unwrap()
    };
    let bits = |checkpoint: &monocle_weights::Checkpoint, layer: &str| {
        use monocle_tensor::stored::{Matrix, Weight};
        match checkpoint.linear(&format!("m.{layer}")) {
            Ok(Weight::Linear {
                matrix: Matrix::Affine { bits, group_size, .. },
                ..
            }) => Ok((bits as usize, group_size)),
            Ok(other) => panic!("{other:?}"),
            Err(error) => Err(error.to_string()),
        }
    };
    let checkpoint = quantised(json!({ "group_size": 32, "bits": 4 }), &tensors);
    for (layer, expected, group) in layers {
        assert_eq!(bits(&checkpoint, layer), Ok((expected, group)), "{layer}");
    }
    assert_eq!(
        checkpoint.notes(),
        [
            "`config.json` says other bits or groups of 4 quantised layers than their shapes, which count: `m.d` (6 bits, groups of \
             32), `m.n` (3 bits, groups of 32), `m.v` (6 bits, groups of 32), `m.w` (5 bits, groups of 64)"
        ]
    );
    // Named as its files name it, a layer is as it is said to be.
    let said = json!({ "group_size": 32, "bits": 6 });
    let settings = json!({ "group_size": 32, "bits": 4, "m.v": said, "m.d": said, "m.n": { "bits": 3 },
                           "m.w": { "group_size": 64, "bits": 5 } });
    assert_eq!(quantised(settings, &tensors).notes(), [] as [&str; 0]);

    // 8 bits in groups of 64 look like 4 in groups of 128: only the other layers tell that groups are of 64.
    let eight: [(&str, StoredType, &[usize]); 3] = [
        ("m.e.weight", U32, &[2, 96]),
        ("m.e.scales", F16, &[2, 6]),
        ("m.e.biases", F16, &[2, 6]),
    ];
    let four: [(&str, StoredType, &[usize]); 3] = [
        ("m.f.weight", U32, &[2, 48]),
        ("m.f.scales", F16, &[2, 6]),
        ("m.f.biases", F16, &[2, 6]),
    ];
    let settings = json!({ "group_size": 64, "bits": 4 });
    let checkpoint = quantised(settings.clone(), &[eight, four].concat());
    assert_eq!(bits(&checkpoint, "e"), Ok((8, 64)));
    assert_eq!(bits(&checkpoint, "f"), Ok((4, 64)));
    let checkpoint = quantised(settings, &eight);
    assert_eq!(
        bits(&checkpoint, "e").unwrap_err(),
        "quantised weight `m.e.weight`: packed [2, 96] and scales [2, 6] are 8 bits in groups of 64, rows of 384, or 4 bits in groups of \
         128, rows of 768; `config.json` says 4 bits in groups of 64, and no other tensor tells; take the model's own `config.json`, or say \
         it there in `quantization`, such as `\"m.e\": {\"bits\": 8, \"group_size\": 64}`"
    );
    assert_eq!(checkpoint.notes(), [] as [&str; 0]);
    // Neither is right: 512 bits a group are 8 for 64 values or 4 for 128.
    let checkpoint = quantised(json!({ "group_size": 32, "bits": 3 }), &eight);
    let error = bits(&checkpoint, "e").unwrap_err();
    assert!(
        error.contains("`config.json` says 3 bits in groups of 32, and no other tensor tells"),
        "{error}"
    );
    // A vector of as many numbers as one of the two has in a row tells it.
    let norm: [(&str, StoredType, &[usize]); 1] = [("m.norm.weight", F16, &[768])];
    let checkpoint = quantised(
        json!({ "group_size": 32, "bits": 3 }),
        &[&eight[..], &norm[..]].concat(),
    );
    assert_eq!(bits(&checkpoint, "e"), Ok((4, 128)));
}

/// Shapes of two rows of `width` values, as packed values, and as scales and biases.
fn affine(width: usize, bits: usize, group: usize) -> [[usize; 2]; 2] {
    [[2, width * bits / 32], [2, width / group]]
}

/// One layer has groups of another size than `config.json` says, and its shapes allow rows of two lengths: those of the other layers of its kind are its
/// own, whatever of them is quantised.
#[test]
fn rows_are_as_long_as_those_of_other_layers() {
    let folder = Folder::new("lengths");
    folder.json(
        "config.json",
        json!({ "quantization": { "group_size": 64, "bits": 4 } }),
    );
    let names: Vec<[String; 3]> = (0..3)
        .map(|layer| ["weight", "scales", "biases"].map(|part| format!("layers.{layer}.q.{part}")))
        .collect();
    let found = |shapes: [[[usize; 2]; 2]; 2], third: Option<&[usize]>| {
        let mut tensors: Vec<(&str, StoredType, &[usize])> = Vec::new();
        for ([weight, scales, biases], [packed, groups]) in names.iter().zip(&shapes) {
            tensors.push((weight, U32, packed));
            tensors.push((scales, F16, groups));
            tensors.push((biases, F16, groups));
        }
        tensors.extend(third.map(|shape| (names[2][0].as_str(), F16, shape)));
        folder.file("model.safetensors", &tensors, 0);
        let checkpoint = folder.open().unwrap();
        let shape = checkpoint.linear("layers.1.q").map(|weight| weight.shape());
        (
            shape.map_err(|error| error.to_string()),
            checkpoint.notes().to_vec(),
        )
    };
    let (shape, notes) = found([affine(384, 4, 64), affine(384, 4, 32)], None);
    assert_eq!(shape, Ok(vec![2, 384]));
    assert_eq!(
        notes,
        [
            "`config.json` says other bits or groups of 1 quantised layers than their shapes, which count: `layers.1.q` (4 bits, groups of 32)"
        ]
    );
    // All quantised layers are otherwise than said: one that is not quantised tells.
    let otherwise = [affine(384, 4, 32), affine(384, 4, 32)];
    assert_eq!(found(otherwise, Some(&[2, 384])).0, Ok(vec![2, 384]));
    assert_eq!(found(otherwise, Some(&[2, 768])).0, Ok(vec![2, 768]));
    let refusal = found(otherwise, Some(&[2, 100])).0.unwrap_err();
    assert!(refusal.contains("and no other tensor tells"), "{refusal}");
    // Layers whose rows grow tell nothing of each other.
    let (shape, _) = found([affine(384, 4, 64), affine(768, 4, 32)], Some(&[2, 192]));
    assert_eq!(
        shape,
        Ok(vec![2, 1536]),
        "the group size that is said, as other layers are as they are said to be"
    );
}
