//! Checkpoints: which files count, how weights are found, and what is said when they are not.

use std::path::{Path, PathBuf};

use monocle_tensor::stored::{StoredType, Weight};
use monocle_weights::{Checkpoint, ModelFolder, NameRules, WeightsError};
use serde_json::{Value, json};

/// A model folder that goes away with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("monocle-checkpoints-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        std::fs::write(path.join("config.json"), "{}").unwrap();
        Self(path)
    }

    /// Writes a safetensors file; each tensor is filled with `fill`.
    fn file(&self, name: &str, tensors: &[(&str, StoredType, &[usize])], fill: u8) -> &Self {
        let mut header = json!({});
        let mut at = 0;
        for (name, kind, shape) in tensors {
            let end = at + shape.iter().product::<usize>() * kind.size();
            header[*name] = json!({ "dtype": kind.name(), "shape": shape, "data_offsets": [at, end] });
            at = end;
        }
        let header = header.to_string();
        let file = [
            &(header.len() as u64).to_le_bytes(),
            header.as_bytes(),
            &vec![fill; at],
        ]
        .concat();
        std::fs::write(self.0.join(name), file).unwrap();
        self
    }

    fn json(&self, name: &str, value: Value) -> &Self {
        std::fs::write(self.0.join(name), value.to_string()).unwrap();
        self
    }

    fn index(&self, map: Value) -> &Self {
        self.json("model.safetensors.index.json", json!({ "weight_map": map }))
    }

    fn open(&self) -> Result<Checkpoint, WeightsError> {
        self.open_with(&NameRules::default())
    }

    fn open_with(&self, rules: &NameRules) -> Result<Checkpoint, WeightsError> {
        Checkpoint::open(&ModelFolder::open(&self.0)?, rules)
    }

    /// The error, the folder's own path left out.
    fn refusal(&self) -> String {
        self.open()
            .unwrap_err()
            .to_string()
            .replace(&self.0.display().to_string(), "FOLDER")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

use StoredType::{BF16, F8E4M3, F32, U32};

const ONE: &[(&str, StoredType, &[usize])] = &[("a.weight", F32, &[2, 2])];
const TWO: &[(&str, StoredType, &[usize])] = &[("b.weight", F32, &[2, 2])];
const FIRST: &str = "model-00001-of-00002.safetensors";
const SECOND: &str = "model-00002-of-00002.safetensors";

#[test]
fn shards_are_joined() {
    let folder = Folder::new("joined");
    folder
        .file(FIRST, ONE, 0)
        .file(SECOND, TWO, 0)
        .index(json!({ "a.weight": FIRST, "b.weight": SECOND }));
    let checkpoint = folder.open().unwrap();
    assert_eq!(checkpoint.names().collect::<Vec<_>>(), ["a.weight", "b.weight"]);
    assert_eq!(checkpoint.notes(), [] as [String; 0]);
    let summary = checkpoint.summary();
    assert_eq!(
        (summary.files, summary.tensors, summary.parameters, summary.bytes),
        (2, 2, 8, 32)
    );
    assert_eq!(
        (summary.by_kind[&F32].tensors, summary.by_kind[&F32].bytes),
        (2, 32)
    );
}

#[test]
fn missing_files_are_named() {
    let folder = Folder::new("missing");
    assert_eq!(
        folder.refusal(),
        "`FOLDER` has no weights: expected `model.safetensors` or `model.safetensors.index.json`"
    );
    folder.file(FIRST, ONE, 0);
    let expected = format!("`FOLDER` lacks 1 of its 2 weight files: `{SECOND}`; download them again");
    assert_eq!(folder.refusal(), expected, "by the shard's own name");
    folder.index(json!({ "a.weight": FIRST, "b.weight": SECOND }));
    assert_eq!(folder.refusal(), expected, "by the index");
}

#[test]
fn an_index_that_lies_is_refused() {
    let folder = Folder::new("lying-index");
    folder
        .file(FIRST, ONE, 0)
        .file(SECOND, TWO, 0)
        .index(json!({ "a.weight": FIRST, "c.weight": SECOND }));
    let problem = format!("tensor `c.weight` should be in `{SECOND}`, and is not");
    let place = "`FOLDER/model.safetensors.index.json` does not fit its weight files: ";
    assert_eq!(folder.refusal(), format!("{place}{problem}; download both again"));
    folder.index(json!({ "a.weight": "../other.safetensors" }));
    assert!(
        folder
            .refusal()
            .contains("tensor `a.weight` should name a `.safetensors` file"),
        "{}",
        folder.refusal()
    );
    folder.json("model.safetensors.index.json", json!([]));
    assert!(
        folder.refusal().contains("it has no `weight_map`"),
        "{}",
        folder.refusal()
    );
    std::fs::write(folder.0.join("model.safetensors.index.json"), "{").unwrap();
    assert!(
        folder.refusal().contains("is not JSON: EOF"),
        "{}",
        folder.refusal()
    );
}

#[test]
fn odd_folders_are_used_and_noted() {
    let both = Folder::new("both");
    both.file(FIRST, ONE, 1)
        .file(SECOND, TWO, 1)
        .file("model.safetensors", ONE, 2);
    both.index(json!({ "a.weight": FIRST, "b.weight": SECOND }));
    let checkpoint = both.open().unwrap();
    assert_eq!(
        checkpoint.notes(),
        ["`model.safetensors` is not used: `model.safetensors.index.json` lists other files"]
    );
    assert_eq!(checkpoint.tensor("a.weight").unwrap().bytes.as_slice(), [1; 16]);

    std::fs::remove_file(both.0.join(SECOND)).unwrap();
    let checkpoint = both.open().unwrap();
    assert_eq!(checkpoint.notes().len(), 2, "{:?}", checkpoint.notes());
    assert!(checkpoint.notes()[0].contains("lists files that are missing, and `model.safetensors` is there"));
    assert_eq!(checkpoint.tensor("a.weight").unwrap().bytes.as_slice(), [2; 16]);

    let twice = Folder::new("twice");
    let all = [ONE, TWO].concat();
    twice
        .file(FIRST, ONE, 1)
        .file(SECOND, &all, 2)
        .file("other.safetensors", ONE, 3);
    twice.index(json!({ "a.weight": FIRST, "b.weight": SECOND }));
    let checkpoint = twice.open().unwrap();
    let expected = [
        "not used: `other.safetensors`".to_owned(),
        format!("`a.weight` is in `{SECOND}` too, which is not used"),
    ];
    assert_eq!(checkpoint.notes(), expected);
    assert_eq!(checkpoint.tensor("a.weight").unwrap().bytes.as_slice(), [1; 16]);

    std::fs::remove_file(twice.0.join("model.safetensors.index.json")).unwrap();
    std::fs::remove_file(twice.0.join("other.safetensors")).unwrap();
    let expected = format!(
        "tensor `a.weight` is both in `{FIRST}` and in `{SECOND}`, and no index says which one counts; \
         download the model again"
    );
    assert_eq!(twice.refusal(), expected);
}

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
            "weight `packed.weight` cannot be used as a linear layer: expected numbers, or packed values with scales, found U32 without `packed.scales`",
        ),
        (
            "eight",
            "weight `eight.weight` cannot be used as a linear layer: expected F64, F32, F16 or BF16, found F8_E4M3",
        ),
    ] {
        assert_eq!(checkpoint.linear(name).unwrap_err().to_string(), expected);
    }
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
        "quantised weight `q.weight`: `config.json` says 8 bits, but with groups of 64 its shapes say 4"
    );
    quantised(&folder, json!({ "group_size": 16, "bits": 4 }));
    assert!(refusal(&folder).ends_with("`config.json` says group size 16; supported are 32, 64 and 128"));
    quantised(&folder, json!({ "group_size": 64, "bits": 4, "mode": "mxfp4" }));
    assert!(refusal(&folder).ends_with("`config.json` says mode `mxfp4`; only `affine` is supported"));
    folder.json("config.json", json!({}));
    assert!(
        refusal(&folder)
            .ends_with("its shapes fit several group sizes; `config.json` must say one in `quantization`")
    );

    // 96 bits a group: only 3 bits in groups of 32 do.
    assert_eq!(shape(&layer(3, 1)), [2, 32]);
    let odd = layer(7, 1);
    assert!(refusal(&odd).ends_with("packed [2, 7] and scales [2, 1] fit no supported bits and group size"));
    let none = layer(8, 0);
    assert!(
        refusal(&none).ends_with("do not fit together"),
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
