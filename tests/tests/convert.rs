//! `monocle convert`: numbers and choices of bits as MLX's and mlx-vlm's, files, memory, going on after a kill, and what is said of the loss.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use monocle_tensor::stored::StoredType;
use monocle_tests::oracle::Oracle;
use monocle_tests::program::{Monocle, Outcome, path};
use monocle_tests::project;
use monocle_tests::scratch::Scratch;
use monocle_tests::variant::{self, NewTensor};
use monocle_weights::{Checkpoint, QuantiseOptions, SEEING, quantise_folder};
use regex::Regex;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

fn convert(source: &Path, target: &Path, more: &[&str]) -> Outcome {
    Monocle::new(["convert", &source.display().to_string(), "-o"])
        .args([target])
        .args(["--engine", "cpu"])
        .args(more)
        .run()
}

fn succeeds(source: &Path, target: &Path, more: &[&str]) -> Outcome {
    let outcome = convert(source, target, more);
    assert_eq!(outcome.code, 0, "{outcome:?}");
    outcome
}

fn verify(source: &Path, other: &Path) -> Outcome {
    Monocle::new(["convert"])
        .args([source])
        .args(["--verify"])
        .args([other])
        .run()
}

/// What `make_conversions.py` wrote.
fn reference() -> Value {
    let text = std::fs::read_to_string(project::root().join("tests/oracle/conversions.json"));
    serde_json::from_str(&text.expect("it is there")).expect("it is JSON")
}

fn hash(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

fn stored(checkpoint: &Checkpoint, name: &str) -> Vec<u8> {
    let tensor = checkpoint.tensor(name).unwrap_or_else(|error| panic!("{error}"));
    tensor.bytes.as_slice().to_vec()
}

fn layers(checkpoint: &Checkpoint) -> Vec<String> {
    let layers = checkpoint.names().filter_map(|name| name.strip_suffix(".scales"));
    layers.map(str::to_owned).collect()
}

fn config(folder: &Path) -> Value {
    let text = std::fs::read_to_string(folder.join("config.json")).expect("there is a config");
    serde_json::from_str(&text).expect("it is JSON")
}

/// A checkpoint of nothing but language layers with 64 columns.
fn plain(folder: &Path, names: impl Iterator<Item = String>, rows: usize) {
    let tensors: Vec<NewTensor> = names
        .enumerate()
        .map(|(number, name)| {
            let values = (0..rows * 64).map(|at| ((at * 7 + number * 13) as f32 * 0.37).sin());
            (format!("{name}.weight"), vec![rows, 64], values.collect())
        })
        .collect();
    variant::write_weights(folder, &tensors);
}

#[test]
fn every_layer_is_what_mlx_makes_of_it() {
    for (family, expected) in reference()["folders"].as_object().expect("folders") {
        let scratch = Scratch::new("convert");
        let target = scratch.file("four");
        let more = ["--bits", "4", "--group", "32", "--no-loss"];
        succeeds(&project::oracle(family), &target, &more);
        let found = variant::checkpoint(&target);
        let expected = expected.as_object().expect("layers");
        let mut names: Vec<&String> = expected.keys().collect();
        names.sort();
        assert_eq!(layers(&found).iter().collect::<Vec<_>>(), names, "{family}");
        for (layer, hashes) in expected {
            for (part, expected) in ["weight", "scales", "biases"]
                .iter()
                .zip(hashes.as_array().expect("three"))
            {
                let found = hash(&stored(&found, &format!("{layer}.{part}")));
                assert_eq!(found, *expected, "{family}: {layer}.{part}");
            }
        }
        let settings = json!({ "group_size": 32, "bits": 4 });
        assert_eq!(config(&target)["quantization"], settings);
        assert_eq!(config(&target)["quantization_config"], settings);
    }
}

#[test]
fn a_mixture_gives_more_bits_where_mlx_vlm_does() {
    for (count, expected) in reference()["mixed"].as_object().expect("models") {
        let scratch = Scratch::checkpoint("smolvlm");
        let expected = expected.as_object().expect("layers");
        // Layers of what sees do not count.
        let seeing = (0..60).map(|layer| format!("vision_tower.layers.{layer}.mlp.down_proj"));
        plain(scratch.path(), expected.keys().cloned().chain(seeing), 2);
        let target = scratch.file("mixed");
        succeeds(
            scratch.path(),
            &target,
            &["--bits", "4", "--mixed", "6", "--keep-vision", "--no-loss"],
        );
        let (checkpoint, config) = (variant::checkpoint(&target), config(&target));
        assert_eq!(layers(&checkpoint).len(), expected.len(), "{count} layers");
        for (layer, bits) in expected {
            let words = checkpoint
                .tensor(&format!("{layer}.weight"))
                .expect("it is there")
                .shape[1];
            assert_eq!(json!(words * 32 / 64), *bits, "{count} layers: {layer}");
            let said = &config["quantization"][layer]["bits"];
            assert_eq!(
                said.as_u64().unwrap_or(4),
                bits.as_u64().expect("bits"),
                "{layer}"
            );
        }
        assert_eq!(checkpoint.notes(), [] as [String; 0]);
    }
}

#[test]
fn what_sees_and_what_is_named_stays_as_it_is() {
    let (source, scratch) = (project::oracle("smolvlm"), Scratch::new("convert"));
    let target = scratch.file("some");
    let more = [
        "--bits",
        "3",
        "--group",
        "32",
        "--keep-vision",
        "--keep",
        r"layers\.1\.mlp",
        "--embeddings",
        "8",
        "--head",
        "keep",
        "--no-loss",
    ];
    succeeds(&source, &target, &more);
    let (before, after) = (variant::checkpoint(&source), variant::checkpoint(&target));
    let mut bits = BTreeMap::new();
    for name in before.names() {
        let (tensor, new) = (
            before.tensor(name).expect("there"),
            after.tensor(name).expect("there"),
        );
        let keeps = name.contains("vision")
            || name.contains("connector")
            || name.contains("layers.1.mlp")
            || name == "lm_head.weight";
        if keeps || tensor.shape.len() != 2 {
            assert_eq!(tensor.bytes.as_slice(), new.bytes.as_slice(), "{name}");
            continue;
        }
        assert_eq!(new.kind, StoredType::U32, "{name}");
        bits.insert(name.to_owned(), new.shape[1] * 32 / tensor.shape[1]);
    }
    let embeddings = bits.remove("model.text_model.embed_tokens.weight");
    assert_eq!(embeddings, Some(8));
    // All of layer 0, and attention of layer 1.
    assert_eq!(bits.len(), 7 + 4);
    assert!(bits.values().all(|bits| *bits == 3), "{bits:?}");
    let card = std::fs::read_to_string(target.join("README.md")).expect("there is a card");
    for part in [
        "1 layer in 8 bits",
        "11 layers in 3 bits",
        "The head: left as stored",
        "Not measured",
    ] {
        assert!(card.contains(part), "{part}: {card}");
    }
}

/// Each matrix of each family is of the language model or of what sees. The names of language models are those of the architectures' classes.
#[test]
fn what_sees_is_told_by_its_names_in_all_families() {
    let language = Regex::new(
        r"^(model\.)?(language_model|language|text_model|text|transformer)\.|^model\.(layers|embed_tokens|norm)\.|^lm_head\.",
    );
    let (language, sees) = (
        language.expect("it is one"),
        Regex::new(SEEING).expect("it is one"),
    );
    // What hears, and what finds places in a picture by the language model's states.
    let others = ["model.embed_audio.", "model.region."];
    let entries = std::fs::read_dir(project::root().join("tests/oracle")).expect("it is there");
    let mut families = 0;
    for folder in entries.map(|entry| entry.expect("it can be read").path()) {
        // These are no published architectures.
        let made_up = ["encoder_decoder", "latent_experts", "shapes"];
        let is_made_up = made_up.iter().any(|name| folder.ends_with(name));
        if is_made_up || !folder.join("config.json").is_file() {
            continue;
        }
        families += 1;
        let checkpoint = variant::checkpoint(&folder);
        for name in checkpoint.names() {
            let is_matrix = checkpoint.tensor(name).expect("it is there").shape.len() >= 2;
            if is_matrix && !others.iter().any(|start| name.starts_with(start)) {
                let found = (language.is_match(name), sees.is_match(name));
                assert!(found.0 != found.1, "{}: {name}: {found:?}", folder.display());
            }
        }
    }
    assert!(families >= 30, "{families}");
}

/// Moondream 2's table of tokens is a bare parameter; rows of the tiny Molmo are no whole groups, and Gemma 3's head is its table.
#[test]
fn parts_are_what_they_are_called_and_what_is_none_is_said() {
    let scratch = Scratch::new("convert");
    let target = scratch.file("moondream2");
    let more = ["--group", "32", "--embeddings", "6", "--head", "5"];
    let outcome = succeeds(&project::oracle("moondream2"), &target, &more);
    assert!(outcome.stdout.contains("pictures: divergence"), "{outcome:?}");
    let checkpoint = variant::checkpoint(&target);
    for (name, bits) in [("model.text.wte", 6), ("model.text.lm_head.weight", 5)] {
        let tensor = checkpoint.tensor(name).expect("it is there");
        assert_eq!(
            (tensor.kind, tensor.shape[1]),
            (StoredType::U32, 64 * bits / 32),
            "{name}"
        );
    }
    let original = variant::checkpoint(&project::oracle("moondream2"));
    let parameters = |checkpoint: &Checkpoint| checkpoint.summary().parameters;
    assert_eq!(parameters(&checkpoint), parameters(&original));
    for (family, flag, what, claim) in [
        ("molmo", "--embeddings", "a table of tokens", "Embeddings: 8 bits"),
        (
            "gemma3",
            "--head",
            "a head, as in models that take",
            "The head: 8 bits",
        ),
    ] {
        let target = scratch.file(family);
        let outcome = succeeds(
            &project::oracle(family),
            &target,
            &["--group", "32", "--no-loss", flag, "8"],
        );
        let note =
            format!("`{flag}` changes nothing: no weight that could be quantised has the name of {what}");
        assert!(outcome.stderr.contains(&note), "{outcome:?}");
        let card = std::fs::read_to_string(target.join("README.md")).expect("there is a card");
        assert!(!card.contains(claim), "{card}");
    }
}

/// mlx-vlm cannot load most of them quantised.
#[test]
fn what_chooses_experts_stays_as_it_is() {
    let (source, scratch) = (project::oracle("kimi_vl"), Scratch::new("convert"));
    let target = scratch.file("experts");
    succeeds(&source, &target, &["--group", "32", "--no-loss"]);
    let (before, after) = (variant::checkpoint(&source), variant::checkpoint(&target));
    let stored = |checkpoint: &Checkpoint, name: &str| checkpoint.tensor(name).expect("there").kind;
    let (router, layer) = (".mlp.gate.weight", ".gate_proj.weight");
    let named = |end: &str| {
        before
            .names()
            .filter(|name| name.ends_with(end))
            .collect::<Vec<_>>()
    };
    assert!(!named(router).is_empty() && !named(layer).is_empty());
    for name in named(router) {
        assert_eq!(stored(&after, name), stored(&before, name), "{name}");
    }
    for name in named(layer) {
        assert_eq!(stored(&after, name), StoredType::U32, "{name}");
    }
}

/// Qwen3-VL's experts as published become what a conversion of MLX's layout has, and the copy runs.
#[test]
fn experts_by_their_inputs_become_those_of_mlx() {
    let scratch = Scratch::new("convert");
    let by_outputs = Scratch::checkpoint("qwen3_vl_moe");
    let published = Scratch::checkpoint("qwen3_vl_moe");
    variant::experts_by_inputs(published.path());
    // The same numbers in 32 bits, so that scales have as many.
    let checkpoint = variant::checkpoint(&project::oracle("qwen3_vl_moe"));
    let tensors = checkpoint.names().map(|name| {
        let tensor = checkpoint.tensor(name).expect("it is there");
        let values = tensor.floats().expect("floats").collect();
        (name.to_owned(), tensor.shape.clone(), values)
    });
    variant::write_weights(by_outputs.path(), &tensors.collect::<Vec<NewTensor>>());
    let (expected, found) = (scratch.file("expected"), scratch.file("found"));
    succeeds(by_outputs.path(), &expected, &["--group", "32", "--no-loss"]);
    let manifest = scratch.write(
        "published.toml",
        format!(
            "schema = 1\nname = \"published\"\nplugin = \"qwen-vl\"\n[source]\npath = '{}'\n[weights]\nturn = ['\\.experts\\.(gate_up|down)_proj$']\n",
            published.path().display()
        ),
    );
    let outcome = succeeds(&manifest, &found, &["--group", "32"]);
    assert!(
        outcome.stdout.contains("text: divergence") && outcome.stdout.contains("pictures: divergence"),
        "{outcome:?}"
    );
    // As published and as MLX has them they are the same numbers, and what lies otherwise is said.
    for (first, second) in [(&published, &by_outputs), (&by_outputs, &published)] {
        let outcome = verify(first.path(), second.path());
        let count = checkpoint.names().count();
        assert_eq!(outcome.code, 0, "{outcome:?}");
        assert!(
            outcome.stdout.starts_with(&format!("{count} tensors equal\n")),
            "{outcome:?}"
        );
        assert!(!outcome.stdout.contains('%'), "{outcome:?}");
        let layer = "language_model.model.layers.0.mlp";
        let (joint, parts) = (
            format!("`{layer}.experts.gate_up_proj` of the"),
            format!("`{layer}.switch_mlp.gate_proj.weight` and `{layer}.switch_mlp.up_proj.weight` of the"),
        );
        assert!(
            outcome.stdout.contains(&joint) && outcome.stdout.contains(&parts),
            "{outcome:?}"
        );
    }
    let outcome = verify(published.path(), &found);
    assert_eq!(outcome.code, 0, "{outcome:?}");
    assert!(
        outcome
            .stdout
            .contains("compared, though named or laid out otherwise (4):"),
        "{outcome:?}"
    );
    let (expected, found) = (variant::checkpoint(&expected), variant::checkpoint(&found));
    assert!(found.names().eq(expected.names()));
    let mut quantised = 0;
    for name in expected.names() {
        assert_eq!(stored(&found, name), stored(&expected, name), "{name}");
        quantised += usize::from(name.contains(".switch_mlp.") && name.ends_with(".scales"));
    }
    // Gate and up of two layers; rows of down are no whole groups.
    assert_eq!(quantised, 4);
    // A folder without a manifest, and experts that are kept.
    let kept = scratch.file("kept");
    let more = ["--group", "32", "--no-loss", "--keep", "experts"];
    succeeds(published.path(), &kept, &more);
    let kept = variant::checkpoint(&kept);
    let name = "language_model.model.layers.0.mlp.experts.gate_up_proj";
    assert_eq!(kept.tensor(name).expect("it is there").kind, StoredType::F32);
}

#[test]
fn small_files_hold_the_same_and_are_listed() {
    let (source, scratch) = (project::oracle("smolvlm"), Scratch::new("convert"));
    let (one, many) = (scratch.file("one"), scratch.file("many"));
    let more = ["--group", "32", "--no-loss"];
    succeeds(&source, &one, &more);
    succeeds(&source, &many, &[&more[..], &["--file-size", "40KB"]].concat());
    let files: Vec<_> = std::fs::read_dir(&many)
        .expect("it is there")
        .map(|entry| entry.expect("it can be read"))
        .filter(|entry| entry.path().extension().is_some_and(|end| end == "safetensors"))
        .map(|entry| entry.metadata().expect("it can be read").len())
        .collect();
    // One tensor is larger than that by itself.
    let large = files.iter().filter(|bytes| **bytes > 50_000).count();
    assert!(files.len() > 2 && large == 1, "{files:?}");
    let checkpoint = variant::checkpoint(&many);
    assert_eq!(
        (checkpoint.summary().files, checkpoint.notes().len()),
        (files.len(), 0)
    );
    let index = std::fs::read_to_string(many.join("model.safetensors.index.json")).expect("an index");
    let index: Value = serde_json::from_str(&index).expect("it is JSON");
    let tensors = checkpoint.names().count();
    assert_eq!(
        index["weight_map"].as_object().map(serde_json::Map::len),
        Some(tensors)
    );
    assert_eq!(index["metadata"]["total_size"], json!(checkpoint.summary().bytes));
    let whole = variant::checkpoint(&one);
    for name in whole.names() {
        assert_eq!(stored(&whole, name), stored(&checkpoint, name), "{name}");
    }
    let outcome = verify(&one, &many);
    let count = whole
        .names()
        .filter(|name| !name.ends_with(".scales") && !name.ends_with(".biases"))
        .count();
    assert_eq!(
        (outcome.code, outcome.stdout),
        (0, format!("{count} tensors equal\n")),
        "{}",
        outcome.stderr
    );
}

#[test]
fn differences_are_measured_and_named() {
    let (source, scratch) = (project::oracle("smolvlm"), Scratch::checkpoint("smolvlm"));
    // Every number of one tensor a tenth larger, another tensor of another shape, one not there, one more.
    let checkpoint = variant::checkpoint(&source);
    let mut tensors: Vec<NewTensor> = Vec::new();
    for name in checkpoint.names().filter(|name| *name != "lm_head.weight") {
        let tensor = checkpoint.tensor(name).expect("it is there");
        let mut values: Vec<f32> = tensor.floats().expect("floats").collect();
        let mut shape = tensor.shape;
        match name {
            "model.text_model.norm.weight" => values.iter_mut().for_each(|value| *value *= 1.1),
            "model.connector.modality_projection.proj.weight" => shape.reverse(),
            _ => {}
        }
        tensors.push((name.to_owned(), shape, values));
    }
    tensors.push(("other.weight".to_owned(), vec![1], vec![1.0]));
    let other = scratch.path();
    variant::write_weights(other, &tensors);
    let outcome = verify(&source, other);
    assert_eq!(outcome.code, 1);
    let count = checkpoint.names().count() - 3;
    for line in [
        &format!("{count} tensors equal"),
        " 10.0000 %  model.text_model.norm.weight",
        "lm_head.weight: only the first has it",
        "other.weight: only the second has it",
        "model.connector.modality_projection.proj.weight: shape [64, 192] in the first, [192, 64] in the second",
    ] {
        assert!(outcome.stdout.contains(line), "{line}: {}", outcome.stdout);
    }
    assert!(
        outcome.stderr.contains("3 tensors cannot be compared"),
        "{}",
        outcome.stderr
    );
}

#[test]
fn a_killed_conversion_is_gone_on_with() {
    let scratch = Scratch::checkpoint("smolvlm");
    // 64 layers of 1 MB.
    plain(
        scratch.path(),
        (0..64).map(|layer| format!("layers.{layer}.proj")),
        4096,
    );
    let (cut, whole) = (scratch.file("cut"), scratch.file("whole"));
    let more = ["--bits", "6", "--file-size", "1", "--no-loss"];
    let arguments = |target: &Path| {
        let mut command = Command::new(path());
        command
            .arg("convert")
            .arg(scratch.path())
            .arg("-o")
            .arg(target)
            .args(more);
        command
            .env("HOME", scratch.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command
    };
    let files = |folder: &Path| -> BTreeMap<String, std::time::SystemTime> {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        entries
            .map(|entry| (entry.file_name().display().to_string(), entry.metadata()))
            .filter(|(name, _)| name.ends_with(".safetensors"))
            .filter_map(|(name, found)| Some((name, found.ok()?.modified().ok()?)))
            .collect()
    };
    let mut child = arguments(&cut).spawn().expect("it starts");
    let end = Instant::now() + Duration::from_secs(60);
    while files(&cut).len() < 3 {
        assert!(Instant::now() < end && child.try_wait().expect("it runs").is_none());
        std::thread::sleep(Duration::from_millis(1));
    }
    child.kill().expect("it can be killed");
    child.wait().expect("it ends");
    let before = files(&cut);
    assert!((3..64).contains(&before.len()), "{} files", before.len());
    // With other options it is another conversion.
    let other = convert(scratch.path(), &cut, &["--bits", "5", "--no-loss"]);
    assert_eq!(other.code, 1);
    assert!(
        other.stderr.contains("is the beginning of another conversion")
            && other.stderr.contains("--bits 6 --group 64 --file-size 1`"),
        "{}",
        other.stderr
    );
    succeeds(scratch.path(), &cut, &more);
    succeeds(scratch.path(), &whole, &more);
    let after = files(&cut);
    assert_eq!(after.len(), 64);
    for (name, time) in &before {
        assert_eq!(after[name], *time, "{name} was written twice");
    }
    for name in after.keys() {
        let read = |folder: &Path| std::fs::read(folder.join(name)).expect("it is there");
        assert!(read(&cut) == read(&whole), "{name}");
    }
    let mark = |folder: &Path| folder.join(".monocle-convert.json").exists();
    assert!(!mark(&cut) && !mark(&whole));
    // What is done is not begun again.
    assert_eq!(convert(scratch.path(), &cut, &more).code, 1);
}

/// 1 GiB in one tensor, of which the file system stores nothing.
#[test]
#[cfg(target_os = "linux")]
fn memory_is_bounded_whatever_a_tensor_has() {
    const ROWS: u64 = 4 << 20;
    let scratch = Scratch::checkpoint("smolvlm");
    let header =
        json!({ "big.weight": { "dtype": "F32", "shape": [ROWS, 64], "data_offsets": [0, ROWS * 256] } });
    let mut text = header.to_string();
    text.push_str(&" ".repeat(text.len().next_multiple_of(8) - text.len()));
    let path = scratch.write(
        "model.safetensors",
        [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat(),
    );
    let file = std::fs::OpenOptions::new()
        .write(true)
        .open(&path)
        .expect("it is there");
    file.set_len(8 + text.len() as u64 + ROWS * 256)
        .expect("sparse files are possible");
    // What is allocated counts, and what is mapped for reading only does not (setrlimit, RLIMIT_DATA).
    let target = scratch.file("two");
    let line = format!(
        "ulimit -d 300000; exec '{}' convert '{}' -o '{}' --bits 2 --group 128 --no-loss",
        monocle_tests::program::path().display(),
        scratch.path().display(),
        target.display()
    );
    let convert = |group: &str| {
        let line = line.replace("--group 128", &format!("--group {group}"));
        let run = Command::new("sh")
            .args(["-c", &line])
            .env("HOME", scratch.path())
            .output();
        run.expect("it starts")
    };
    let run = convert("64");
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let checkpoint = variant::checkpoint(&target);
    assert_eq!(
        checkpoint.tensor("big.weight").expect("it is there").shape,
        [4 << 20, 4]
    );
}

#[test]
fn the_loss_is_measured_and_stands_in_the_card() {
    let (original, scratch) = (Scratch::checkpoint("smolvlm"), Scratch::new("convert"));
    // One weight more, which no plugin asks for.
    let checkpoint = variant::checkpoint(&project::oracle("smolvlm"));
    let mut tensors: Vec<NewTensor> = Vec::new();
    for name in checkpoint.names() {
        let tensor = checkpoint.tensor(name).expect("it is there");
        let values = tensor.floats().expect("floats").collect();
        tensors.push((name.to_owned(), tensor.shape.clone(), values));
    }
    tensors.push(("unused.weight".to_owned(), vec![2, 64], vec![0.5; 128]));
    variant::write_weights(original.path(), &tensors);
    let source = original.path().to_owned();
    let numbers = |name: &str, more: &[&str]| -> Vec<Vec<f64>> {
        let target = scratch.file(name);
        let outcome = succeeds(&source, &target, &[&["--group", "32"], more].concat());
        assert!(outcome.stdout.contains("text: divergence"), "{}", outcome.stdout);
        let card = std::fs::read_to_string(target.join("README.md")).expect("there is a card");
        let rows = card
            .lines()
            .filter(|line| line.starts_with("| text") || line.starts_with("| pictures"));
        let rows: Vec<Vec<f64>> = rows
            .map(|row| {
                let cells = row
                    .split('|')
                    .skip(2)
                    .map(|cell| cell.trim().trim_end_matches(" %").to_owned());
                cells.filter_map(|cell| cell.parse().ok()).collect()
            })
            .collect();
        assert!(rows.len() == 2 && rows.iter().all(|row| row.len() == 5), "{card}");
        rows
    };
    let (same, eight, two) = (
        numbers("same", &["--keep", "^(model|lm_head)"]),
        numbers("eight", &["--bits", "8"]),
        numbers("two", &["--bits", "2"]),
    );
    // What was not changed loses nothing; perplexity is that of the original.
    for row in &same {
        assert_eq!((row[1], row[2], row[3]), (0.0, 0.0, row[4]), "{same:?}");
    }
    for part in 0..2 {
        assert!(
            same[part][1] < eight[part][1] && eight[part][1] < two[part][1],
            "{eight:?} {two:?}"
        );
        assert_eq!(same[part][0], two[part][0]);
        assert_eq!(same[part][3], two[part][3]);
    }
    // Two pictures, 32 tokens each.
    assert_eq!(same[1][0], 64.0);

    // By the definitions, of a text and a picture that are given.
    let text = scratch.write("text.txt", "Seven ships sailed north.");
    let picture = project::oracle("smolvlm").join("image.png");
    let picture = match picture.is_file() {
        true => picture,
        false => scratch.write("drawn.ppm", monocle_tests::pictures::drawn(3)),
    };
    let (text, picture) = (text.display().to_string(), picture.display().to_string());
    let found = numbers("given", &["--bits", "3", "--text", &text, "--picture", &picture]);
    let request = monocle_runtime::request::Request::single(None, Vec::new(), "Seven ships sailed north.");
    let traces: Vec<_> = [source.clone(), scratch.file("given")]
        .iter()
        .map(|folder| {
            project::open_folder(folder)
                .trace(&request, 512, 1)
                .expect("it runs")
        })
        .collect();
    let softmax = |logits: &[f32]| -> Vec<f64> {
        let powers: Vec<f64> = logits.iter().map(|logit| f64::from(*logit).exp()).collect();
        let sum: f64 = powers.iter().sum();
        powers.iter().map(|power| power / sum).collect()
    };
    let (mut divergence, mut surprise) = (0.0, 0.0);
    let ids = &traces[0].prompt_ids;
    for at in 0..ids.len() {
        let [p, q] = [0, 1].map(|which: usize| softmax(&traces[which].prompt_logits[at]));
        divergence += p.iter().zip(&q).map(|(p, q)| p * (p / q).ln()).sum::<f64>();
        if let Some(next) = ids.get(at + 1) {
            surprise -= p[*next as usize].ln();
        }
    }
    let (positions, known) = (ids.len() as f64, (ids.len() - 1) as f64);
    let near = |found: f64, expected: f64| (found - expected).abs() <= 1e-4 * expected + 1e-5;
    assert_eq!(found[0][0], positions);
    assert!(
        near(found[0][1], divergence / positions),
        "{found:?} {divergence}"
    );
    assert!(
        near(found[0][3], (surprise / known).exp()),
        "{found:?} {surprise}"
    );
    assert_eq!(found[1][0], 32.0);
}

/// Models that answer about a picture only are measured on those.
#[test]
fn a_part_that_cannot_be_measured_does_not_spoil_the_other() {
    for family in ["moondream2", "florence2", "paligemma2"] {
        let scratch = Scratch::new("convert");
        let target = scratch.file("copy");
        let outcome = succeeds(
            &project::oracle(family),
            &target,
            &["--group", "32", "--bits", "8"],
        );
        let why = "not measured: the original, on the text: ";
        assert!(outcome.stdout.contains(&format!("text: {why}")), "{outcome:?}");
        assert!(outcome.stdout.contains("pictures: divergence"), "{outcome:?}");
        assert!(
            !outcome.stderr.contains("the loss was not measured"),
            "{outcome:?}"
        );
        let card = std::fs::read_to_string(target.join("README.md")).expect("there is a card");
        assert!(
            card.contains("Not measured on text: the original, on the text: "),
            "{card}"
        );
        // Two pictures, 32 tokens each.
        assert!(
            card.contains("| pictures | 64 |") && !card.contains("| text |"),
            "{card}"
        );
    }
}

#[test]
fn what_cannot_be_converted_is_said() {
    let scratch = Scratch::new("convert");
    let (source, target) = (project::oracle("smolvlm"), scratch.file("new"));
    for (more, code, expected) in [
        (&["--bits", "7"][..], 2, "expected 2, 3, 4, 5, 6 or 8"),
        (&["--bits", "x"], 2, "expected 2, 3, 4, 5, 6 or 8"),
        (&["--mixed", "7"], 2, "expected 3, 4, 5, 6, 8, or mlx-vlm's name"),
        (&["--mixed", "mixed_3"], 2, "like `mixed_3_6`"),
        (&["--mixed", "3"], 2, "more bits than the others"),
        (
            &["--bits", "4", "--mixed", "mixed_3_6"],
            2,
            "leave one of them out",
        ),
        (&["--head", "none"], 2, "expected 2, 3, 4, 5, 6, 8 or `keep`"),
        (&["--group", "16"], 2, "expected 32, 64 or 128"),
        (&["--group", "x"], 2, "expected 32, 64 or 128"),
        (&["--keep", "("], 1, "is not a regular expression"),
        (
            &["--group", "128"],
            1,
            "no matrix has rows of whole groups of 128, rows have 48, 64, 96, 192: take groups of 32 (`--group 32`)",
        ),
        (&["--picture", "no-such.png"], 1, "no-such.png"),
        (&["--text", "no-such.txt"], 1, "no-such.txt"),
    ] {
        let outcome = convert(&source, &target, more);
        assert_eq!(outcome.code, code, "{outcome:?}");
        assert!(outcome.stderr.contains(expected), "{expected}: {outcome:?}");
        assert!(!target.exists(), "{more:?}");
    }
    // What is no picture is found before anything is written.
    let words = scratch.write("words.png", "no picture").display().to_string();
    let outcome = convert(&source, &target, &["--group", "32", "--picture", &words]);
    assert_eq!(outcome.code, 1);
    assert!(
        outcome.stderr.contains("words.png: ") && !target.exists(),
        "{outcome:?}"
    );
    let empty = scratch.write("empty.txt", " \n").display().to_string();
    let outcome = convert(&source, &target, &["--text", &empty]);
    assert_eq!(outcome.code, 1);
    assert!(outcome.stderr.contains("there are no words in it"), "{outcome:?}");
    // What is quantised is not quantised again.
    let target = scratch.file("once");
    succeeds(&source, &target, &["--group", "32", "--no-loss"]);
    let again = convert(&target, &scratch.file("twice"), &["--no-loss"]);
    assert_eq!(again.code, 1);
    assert!(
        again
            .stderr
            .contains("is quantised already (MLX's quantisation); convert the original"),
        "{again:?}"
    );
    assert!(!scratch.file("twice").exists());
    // Nor is what other programs packed copied as if it were plain.
    for name in ["transformers_fp8", "awq"] {
        let packed = project::root().join("tests/oracle/packed");
        let folder = scratch.file(name);
        std::fs::create_dir_all(&folder).expect("it can be made");
        for (end, file) in [("safetensors", "model.safetensors"), ("json", "config.json")] {
            let from = packed.join(format!("{name}.{end}"));
            std::fs::copy(from, folder.join(file)).expect("it can be copied");
        }
        let outcome = convert(&folder, &scratch.file("packed"), &["--no-loss"]);
        assert_eq!(outcome.code, 1);
        assert!(
            outcome.stderr.contains("is quantised already (small floats"),
            "{outcome:?}"
        );
    }
    let outcome = verify(&source, &source.join("model.safetensors"));
    assert_eq!(outcome.code, 1);
    assert!(
        outcome.stderr.contains("name the folder that it lies in"),
        "{outcome:?}"
    );
    let file = scratch.write("file", "");
    let outcome = convert(&source, &file, &["--no-loss"]);
    assert!(
        outcome.stderr.contains("is a file; name a new folder"),
        "{outcome:?}"
    );
    // Flags that would change nothing.
    let other = source.display().to_string();
    for flags in [
        &["--no-loss", "--text", "x", "-o", "y"][..],
        &["--verify", &other, "--bits", "3"],
    ] {
        let outcome = Monocle::new(["convert", &other]).args(flags).run();
        assert_eq!(outcome.code, 2, "{outcome:?}");
        assert!(outcome.stderr.contains("cannot be used with"), "{outcome:?}");
    }
    // A loss that cannot be measured does not spoil the conversion.
    let target = scratch.file("large");
    let outcome = succeeds(&source, &target, &["--group", "32", "--memory-limit", "100kB"]);
    assert!(
        outcome.stderr.contains("note: the loss was not measured"),
        "{outcome:?}"
    );
    let card = std::fs::read_to_string(target.join("README.md")).expect("there is a card");
    assert!(card.contains("Not measured: the original, on the text"), "{card}");
    // Advice on a request's flags means nothing there.
    assert!(
        !card.contains("hint:") && !card.contains("--max-tokens"),
        "{card}"
    );
}

/// As `quantise_folder` says it: a folder that is done can be opened and answers.
#[test]
fn a_mixture_answers_nearly_as_the_original() {
    let scratch = Scratch::new("convert");
    let target = scratch.file("mixed");
    let source = monocle_weights::ModelFolder::open(&project::oracle("smolvlm")).expect("it is there");
    let options = QuantiseOptions {
        mixed: Some(8),
        ..QuantiseOptions::new(6, 32)
    };
    quantise_folder(&source, &target, &options).expect("it can be quantised");
    let oracle = Oracle::open(&project::oracle("smolvlm"));
    let [exact, found] = [project::oracle("smolvlm"), target].map(|folder| {
        let trace = project::open_folder(&folder).trace(&oracle.request("image"), 512, 8);
        trace.expect("it runs").prompt_logits.concat()
    });
    let largest = exact.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
    let most = exact
        .iter()
        .zip(&found)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f32::max);
    assert!(most > 0.0 && most < largest * 0.1, "{most} of {largest}");
}
