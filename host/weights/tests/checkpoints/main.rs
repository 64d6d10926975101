//! Checkpoints: which files count, how weights are found, and what is said when they are not.

mod files;
mod folder;
mod foreign;
mod index;
mod mutations;
mod rule;

use std::path::Path;

use folder::Folder;
use monocle_tensor::stored::{StoredType, Weight};
use monocle_weights::{ModelFolder, NameRules};
use serde_json::{Value, json};

use StoredType::{BF16, F8E4M3, F32, U32};

const ONE: &[(&str, StoredType, &[usize])] = &[("a.weight", F32, &[2, 2])];
const TWO: &[(&str, StoredType, &[usize])] = &[("b.weight", F32, &[2, 2])];

#[test]
fn names_are_changed_and_left_out() {
    let folder = Folder::new("names");
    folder.file(
        "model.safetensors",
        &[ONE, TWO, &[("x.inv_freq", F32, &[1])]].concat(),
        0,
    );
    let rules = NameRules::new([("^([ab])", "model.$1"), ("^model\\.b", "c")], ["inv_freq$"]).unwrap();
    let checkpoint = folder.open_with(&rules).unwrap();
    assert_eq!(
        checkpoint.names().collect::<Vec<_>>(),
        ["c.weight", "model.a.weight"]
    );
    assert_eq!(checkpoint.tensor("c.weight").unwrap().name, "c.weight");
    assert!(checkpoint.has("c.weight") && !checkpoint.has("b.weight"));
    assert_eq!(checkpoint.notes(), ["1 tensors are left out by `weights.ignore`"]);
    let clash = NameRules::new([("^[ab]", "z")], []).unwrap();
    assert_eq!(
        folder.open_with(&clash).unwrap_err().to_string(),
        "`weights.rename` makes both `a.weight` and `b.weight` into `z.weight`; make its patterns narrower"
    );
    assert_eq!(
        NameRules::new([], ["("]).unwrap_err().to_string(),
        "`(` in `weights.ignore` is not a regular expression: unclosed group"
    );
}

#[test]
fn a_missing_weight_is_reported_with_the_nearest() {
    let folder = Folder::new("nearest");
    let names = [
        "language_model.model.embed_tokens.weight",
        "model.layers.0.self_attn.q_proj.weight",
        "zzz",
    ];
    let tensors: Vec<(&str, StoredType, &[usize])> =
        names.iter().map(|name| (*name, F32, [1].as_slice())).collect();
    folder.file("model.safetensors", &tensors, 0);
    let checkpoint = folder.open().unwrap();
    let refusal = |name: &str| checkpoint.linear(name).unwrap_err().to_string();
    let tail = "(3 weights are there; `weights.rename` in the manifest can change their names)";
    assert_eq!(
        refusal("model.embed_tokens"),
        format!(
            "the checkpoint has no weight `model.embed_tokens.weight`; nearest: `{}` {tail}",
            names[0]
        )
    );
    assert_eq!(
        refusal("model.layers.0.self_attn.k_proj"),
        format!(
            "the checkpoint has no weight `model.layers.0.self_attn.k_proj.weight`; nearest: `{}` {tail}",
            names[1]
        )
    );
    assert_eq!(
        refusal("q"),
        format!("the checkpoint has no weight `q.weight` {tail}")
    );
}

#[test]
fn weights_serve_only_as_what_they_are() {
    let folder = Folder::new("roles");
    folder.file(
        "model.safetensors",
        &[
            ("good.weight", BF16, &[3, 4]),
            ("good.bias", BF16, &[3]),
            ("wrong_bias.weight", BF16, &[3, 4]),
            ("wrong_bias.bias", BF16, &[4]),
            ("norm.weight", F32, &[4]),
            ("packed.weight", U32, &[3, 4]),
            ("eight.weight", F8E4M3, &[3, 4]),
            ("experts.up", F32, &[2, 3, 4]),
            ("words", F32, &[7, 4]),
        ],
        0,
    );
    let checkpoint = folder.open().unwrap();
    let Weight::Linear {
        matrix,
        bias: Some(bias),
    } = checkpoint.linear("good").unwrap()
    else {
        panic!("no bias")
    };
    assert_eq!((matrix.shape(), bias.shape), (vec![3, 4], vec![3]));
    assert!(matches!(
        checkpoint.embedding("good").unwrap(),
        Weight::Embedding(_)
    ));
    assert_eq!(checkpoint.experts("experts.up").unwrap().shape(), [2, 3, 4]);
    // A table may be a bare parameter, a layer may not.
    assert_eq!(checkpoint.embedding("words").unwrap().shape(), [7, 4]);
    assert!(checkpoint.linear("words").is_err());
    for (name, expected) in [
        (
            "wrong_bias",
            "weight `wrong_bias.bias` cannot be used as the bias of a linear layer: expected floats of shape [3], found BF16 of shape [4]",
        ),
        (
            "norm",
            "weight `norm.weight` cannot be used as a linear layer: expected 2 dimensions, found shape [4]",
        ),
        (
            "packed",
            "weight `packed.weight` cannot be used as a linear layer: expected numbers, or packed values with scales, found U32 without `packed.scales`; the files are incomplete: \
             download the model again",
        ),
        (
            "eight",
            "`eight.weight` [3, 4] F8_E4M3 holds 8-bit floats, and does not fit what unpacks it: expected scales of one number, of [3], of [3, 1], or for blocks that divide it or that `config.json` names, found no `eight.weight_scale_inv`, no `eight.weight_scale`; the file is incomplete or damaged: download it again; if it is the same then, it is packed in a way that is not read: take the original in bf16, f16 or f32",
        ),
    ] {
        assert_eq!(checkpoint.linear(name).unwrap_err().to_string(), expected);
    }
}

#[test]
fn layers_of_a_stack_must_be_alike() {
    let folder = Folder::new("stack");
    folder.file(
        "model.safetensors",
        &[
            ("e.0.weight", BF16, &[3, 4]),
            ("e.1.weight", BF16, &[3, 4]),
            ("e.2.weight", F32, &[3, 4]),
            ("e.3.weight", BF16, &[4, 4]),
            ("e.4.weight", BF16, &[3, 4]),
            ("e.4.bias", BF16, &[3]),
        ],
        0,
    );
    let checkpoint = folder.open().unwrap();
    let stack = |numbers: [usize; 2]| {
        let names = numbers.map(|number| format!("e.{number}"));
        checkpoint
            .stack_experts(&names)
            .map_err(|error| error.to_string())
    };
    let stacked = stack([1, 0]).unwrap();
    assert_eq!((stacked.shape(), stacked.name()), (vec![2, 3, 4], "e.1.weight"));
    assert_eq!(stacked.parts().count(), 2);
    let expected = "cannot be used as one of a stack of experts: expected [3, 4] in BF16, no bias, as `e.0.weight` has it";
    for (other, found) in [
        (2, "[3, 4] in F32, no bias"),
        (3, "[4, 4] in BF16, no bias"),
        (4, "[3, 4] in BF16, a bias"),
    ] {
        let refusal = stack([0, other]).unwrap_err();
        assert_eq!(
            refusal,
            format!("weight `e.{other}.weight` {expected}, found {found}")
        );
    }
    assert!(stack([0, 9]).unwrap_err().contains("`e.9.weight`"));
}

#[test]
fn quantised_layers_must_be_consistent() {
    // 64 values of 4 bits in 8 words a row; two groups of 32, or one of 64.
    let layer = |words: usize, groups: usize| {
        let folder = Folder::new(&format!("quantised-{words}-{groups}"));
        let tensors: [(&str, StoredType, &[usize]); 3] = [
            ("q.weight", U32, &[2, words]),
            ("q.scales", BF16, &[2, groups]),
            ("q.biases", BF16, &[2, groups]),
        ];
        folder.file("model.safetensors", &tensors, 0);
        folder
    };
    let shape = |folder: &Folder| folder.open().unwrap().linear("q").unwrap().shape();
    let refusal = |folder: &Folder| folder.open().unwrap().linear("q").unwrap_err().to_string();
    let folder = layer(8, 1);
    let quantised = |folder: &Folder, settings: Value| {
        folder.json("config.json", json!({ "quantization": settings }));
    };
    quantised(&folder, json!({ "group_size": 64, "bits": 4 }));
    assert_eq!(shape(&folder), [2, 64]);
    quantised(
        &folder,
        json!({ "group_size": 32, "bits": 4, "q": { "group_size": 64, "bits": 4 } }),
    );
    assert_eq!(shape(&folder), [2, 64], "a layer's own settings count");
    folder.json(
        "config.json",
        json!({ "quantization_config": { "group_size": 64, "bits": 4 } }),
    );
    assert_eq!(shape(&folder), [2, 64]);
    quantised(&folder, json!({ "group_size": 64, "bits": 8 }));
    assert_eq!(
        refusal(&folder),
        "quantised weight `q.weight`: packed [2, 8] and scales [2, 1] are 8 bits in groups of 32, rows of 32, or 4 bits in groups of 64, \
         rows of 64, or 2 bits in groups of 128, rows of 128; `config.json` says 8 bits in groups of 64, and no other tensor tells; take the \
         model's own `config.json`, or say it there in `quantization`, such as `\"q\": {\"bits\": 4, \"group_size\": 64}`"
    );
    quantised(&folder, json!({ "group_size": 16, "bits": 4 }));
    assert!(refusal(&folder).ends_with(
        "`config.json` says group size 16; supported are 32, 64 and 128: take a conversion with one of these"
    ));
    quantised(&folder, json!({ "group_size": 16, "bits": 4, "mode": "nvfp4" }));
    assert_eq!(
        folder.refusal(),
        "the model is quantised with MLX's nvfp4 (`config.json` says mode `nvfp4`; only `affine`, `mxfp4` and `mxfp8` are supported), which cannot be run; \
         take the original in bf16, f16 or f32 instead, or a conversion of it to MLX's affine quantisation (2 to 8 bits; \
         `monocle convert` makes one of the original)"
    );
    quantised(
        &folder,
        json!({ "group_size": 64, "bits": 4, "q": { "group_size": 64, "bits": 4, "mode": "mxfp8" } }),
    );
    assert!(
        refusal(&folder).ends_with(
            "packed [2, 8] U32 with scales [2, 1] BF16 and biases do not fit mode `mxfp8`, which `config.json` says; `mxfp4` and `mxfp8` have \
             one scale in U8 for 32 numbers, and no biases; download the model again"
        ),
        "{}",
        refusal(&folder)
    );
    folder.json("config.json", json!({}));
    let unsaid = refusal(&folder);
    assert!(
        unsaid.contains("`config.json` does not say which, and no other tensor tells"),
        "{unsaid}"
    );

    // 96 bits a group: only 3 bits in groups of 32 do.
    assert_eq!(shape(&layer(3, 1)), [2, 32]);
    let odd = layer(7, 1);
    let again = "; the files are incomplete, or of several conversions: download the model again";
    assert!(refusal(&odd).ends_with(&format!(
        "packed [2, 7] and scales [2, 1] fit no supported bits and group size{again}"
    )));
    let folder = Folder::new("quantised-no-biases");
    folder.file(
        "model.safetensors",
        &[("q.weight", U32, &[2, 8]), ("q.scales", BF16, &[2, 1])],
        0,
    );
    assert!(
        refusal(&folder).ends_with(&format!(
            "packed [2, 8] U32 with scales [2, 1] BF16 and no biases: expected `biases` as `scales`, or scales in U8 for each 32 numbers{again}"
        )),
        "{}",
        refusal(&folder)
    );
    let none = layer(8, 0);
    assert!(
        refusal(&none).ends_with(&format!("do not fit together{again}")),
        "{}",
        refusal(&none)
    );
}

#[test]
fn folders_say_what_is_wrong_with_them() {
    let folder = Folder::new("config");
    folder.json("generation_config.json", json!({ "eos_token_id": [1, 2] }));
    std::fs::write(folder.0.join("chat_template.jinja"), "{{ messages }}").unwrap();
    let opened = ModelFolder::open(&folder.0).unwrap();
    assert_eq!(
        opened.generation_config(),
        Some(&json!({ "eos_token_id": [1, 2] }))
    );
    assert_eq!(opened.processor_config(), None);
    assert_eq!(
        opened.text("chat_template.jinja").unwrap().as_deref(),
        Some("{{ messages }}")
    );
    assert_eq!(opened.text("tokenizer.json").unwrap(), None);

    let refusal = |path: &Path| {
        let error = ModelFolder::open(path).unwrap_err();
        error
            .to_string()
            .replace(&folder.0.display().to_string(), "FOLDER")
    };
    std::fs::write(folder.0.join("config.json"), "[1]").unwrap();
    assert!(refusal(&folder.0).starts_with("`FOLDER/config.json` is not a JSON object"));
    std::fs::write(folder.0.join("config.json"), [0xff]).unwrap();
    assert!(refusal(&folder.0).starts_with("`FOLDER/config.json` is not UTF-8 text"));
    std::fs::remove_file(folder.0.join("config.json")).unwrap();
    assert_eq!(
        refusal(&folder.0),
        "`FOLDER` is not a model folder: it has no `config.json`"
    );
    assert!(
        refusal(&folder.0.join("nowhere")).starts_with("cannot open the model folder `FOLDER/nowhere`: ")
    );
}
