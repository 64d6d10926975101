//! The files of a model: numbered ones, very large ones, and ones that become shorter while they are used.

use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use monocle_runtime::request::GenerateOptions;
use monocle_runtime::scheduler::Flow;
use monocle_tests::gguf::idefics3::convert;
use monocle_tests::gguf::{Field, GgufTensor, field, rewrite, vocabulary, write};
use monocle_tests::oracle::Oracle;
use monocle_tests::parity::Parity;
use monocle_tests::program::Monocle;
use monocle_tests::project;
use monocle_tests::scratch::Scratch;
use monocle_weights::gguf::GgufFile;
use serde_json::{Value, json};

/// The language model's tensors in three files, as `llama-gguf-split` numbers them: the first has the key-values.
#[test]
fn numbered_files_are_one_model() {
    let scratch = Scratch::new("gguf");
    let (whole, _) = convert(&project::oracle("smolvlm"), scratch.path(), |_, _| None);
    let file = GgufFile::open(&whole).unwrap();
    let bytes = std::fs::read(&whole).unwrap();
    let tensors: Vec<GgufTensor> = file
        .header()
        .tensors
        .iter()
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
    let part = |number: usize| scratch.file(&format!("Tiny-F32-{number:05}-of-00003.gguf"));
    let third = tensors.len().div_ceil(3);
    for (number, tensors) in (1..).zip(tensors.chunks(third)) {
        let fields = match number {
            1 => fields_of(file.header().values.iter()),
            _ => Vec::new(),
        };
        let fields: Vec<(&str, Field)> = fields
            .iter()
            .map(|(key, value)| (key.as_str(), field(value)))
            .collect();
        write(&part(number), &fields, tensors);
    }
    std::fs::remove_file(&whole).unwrap();
    Parity::new("smolvlm").compare(&mut project::open_folder(&part(1)));
    Parity::new("smolvlm").compare(&mut project::open_folder(scratch.path()));
    // A part by its own name is the model; without one of them there is none.
    let inspect = |path: &Path| {
        Monocle::new(["inspect"])
            .args([path])
            .args(["--prompt", "x"])
            .run()
    };
    assert_eq!(inspect(&part(2)).code, 0);
    std::fs::remove_file(part(2)).unwrap();
    let outcome = inspect(&part(1));
    assert_eq!(outcome.code, 1);
    assert!(
        outcome
            .stderr
            .contains("1 of its 3 files are missing: `Tiny-F32-00002-of-00003.gguf`"),
        "{outcome:?}"
    );
}

fn fields_of<'a>(values: impl Iterator<Item = (&'a String, &'a Value)>) -> Vec<(String, Value)> {
    values.map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// A file's key-values, to be changed.
type Values = Vec<(String, Value)>;

fn set(values: &mut Values, key: &str, value: Value) {
    for (known, old) in values.iter_mut() {
        if known == key {
            old.clone_from(&value);
        }
    }
}

/// What is done to a file's values, where, and the words of the error.
type Case = (fn(&mut Values), &'static str, &'static [&'static str]);

/// What is missing or does not fit is called by the file's own names, and what to do is said.
#[test]
fn what_is_wrong_is_said_in_the_files_words() {
    fn without(values: &mut Values, key: &str) {
        values.retain(|(known, _)| known != key);
    }
    let cases: [Case; 9] = [
        (
            |values| without(values, "llama.attention.head_count"),
            "",
            &[
                "no key-value `llama.attention.head_count`",
                "take another conversion",
            ],
        ),
        (
            |values| set(values, "llama.block_count", json!("two")),
            "",
            &["`llama.block_count`", "is \"two\", expected a number"],
        ),
        (
            |values| set(values, "llama.embedding_length", json!(7)),
            "",
            &[
                "`mmproj-Tiny-f32.gguf`",
                "wide, and the language model's rows are 7",
                "another size",
            ],
        ),
        (
            |_| {},
            "blk.1.ffn_up.weight",
            &[
                "no tensor `blk.1.ffn_up.weight`",
                "`Tiny-Q8_0.gguf`, `mmproj-Tiny-f32.gguf`",
            ],
        ),
        (
            |values| set(values, "general.architecture", json!("bloom")),
            "",
            &[
                "`bloom` with the projector `idefics3` of `mmproj-Tiny-f32.gguf`",
                "mistral3 with pixtral",
                "alone into a folder",
            ],
        ),
        (
            |values| set(values, "tokenizer.ggml.pre", json!("weird")),
            "",
            &["`tokenizer.ggml.pre` is `weird`", "`[tokenizer] repo`"],
        ),
        (
            |values| without(values, "tokenizer.ggml.pre"),
            "",
            &["it has no `tokenizer.ggml.pre`", "`[tokenizer] repo`"],
        ),
        (
            |values| without(values, "tokenizer.ggml.tokens"),
            "",
            &["it has no `tokenizer.ggml.tokens`", "`[tokenizer] repo`"],
        ),
        (
            |values| set(values, "tokenizer.ggml.merges", json!(["a nowhere"])),
            "",
            &["`tokenizer.ggml.merges` has `a nowhere`, and `tokenizer.ggml.tokens` has no `nowhere`"],
        ),
    ];
    for (change, lost, words) in cases {
        let scratch = Scratch::new("gguf-wrong");
        let (path, _) = convert(&project::oracle("smolvlm"), scratch.path(), |_, _| None);
        rewrite(&path, change, |tensor| tensor != lost);
        let path = path.display().to_string();
        Monocle::new(["run", &path, "-p", "x", "--max-tokens", "1"]).fails(1, words);
    }
}

/// What sees is known by what it holds where its name does not say it, and which file is used is told.
#[test]
fn what_sees_may_have_any_name() {
    let scratch = Scratch::new("gguf-named");
    let (path, _) = convert(&project::oracle("smolvlm"), scratch.path(), |_, _| None);
    std::fs::rename(
        scratch.file("mmproj-Tiny-f32.gguf"),
        scratch.file("Tiny-vision.gguf"),
    )
    .unwrap();
    for place in [path.as_path(), scratch.path()] {
        let inspect = || Monocle::new(["inspect"]).args([place]).args(["-p", "x"]);
        let report = inspect().args(["--json"]).json();
        assert_eq!(
            report["weights"]["file_names"],
            json!(["Tiny-Q8_0.gguf", "Tiny-vision.gguf"])
        );
        let text = inspect().succeeds().stdout;
        assert!(text.contains("Tiny-Q8_0.gguf, Tiny-vision.gguf"), "{text}");
        let told = "`Tiny-vision.gguf` is used for pictures: no file has `mmproj` in its name, and its key-values say that it sees";
        assert!(text.contains(told), "{text}");
        assert!(text.contains("the key-values of `"), "{text}");
    }
    let sees = scratch.file("Tiny-vision.gguf").display().to_string();
    Monocle::new(["run", &sees, "-p", "x"]).fails(1, &["the part of a model that sees"]);
    // Of several, the best numbers; and the ending that some publish.
    std::fs::copy(&sees, scratch.file("Tiny-eyes-Q8_0.gguf")).unwrap();
    std::fs::rename(&sees, scratch.file("Tiny-eyes-F16.gguf")).unwrap();
    let taken = || {
        let report = Monocle::new(["inspect"])
            .args([&path])
            .args(["-p", "x", "--json"])
            .json();
        let told = report["notes"].to_string();
        (report["weights"]["file_names"][1].clone(), told)
    };
    let (file, told) = taken();
    assert_eq!(file, "Tiny-eyes-F16.gguf");
    assert!(
        told.contains("and not `Tiny-eyes-Q8_0.gguf`: the name that shares most words"),
        "{told}"
    );
    std::fs::rename(
        scratch.file("Tiny-eyes-F16.gguf"),
        scratch.file("Tiny-F16.mmproj"),
    )
    .unwrap();
    let (file, told) = taken();
    assert_eq!(file, "Tiny-F16.mmproj");
    assert!(!told.contains("is used for pictures"), "{told}");
    let typed = scratch.file("Tiny-Q4_0.gguf").display().to_string();
    Monocle::new(["run", &typed, "-p", "x"]).fails(
        1,
        &[
            "there is no file `",
            "in that folder: `Tiny-F16.mmproj`, `Tiny-Q8_0.gguf`",
        ],
    );
}

/// A tensor that does not fit goes by the name that it has in the file.
#[test]
fn a_tensor_of_another_shape_is_called_as_the_file_calls_it() {
    let scratch = Scratch::new("gguf");
    let (path, _) = convert(&project::oracle("smolvlm"), scratch.path(), |_, _| None);
    let file = GgufFile::open(&path).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    let tensors = file.header().tensors.iter().map(|tensor| GgufTensor {
        name: tensor.name.clone(),
        shape: match tensor.name.as_str() {
            "blk.0.ffn_down.weight" => vec![tensor.shape.iter().product()],
            _ => tensor.shape.clone(),
        },
        values: bytes[tensor.range.clone()]
            .as_chunks::<4>()
            .0
            .iter()
            .map(|&word| f32::from_le_bytes(word))
            .collect(),
        scheme: None,
    });
    let tensors: Vec<GgufTensor> = tensors.collect();
    let fields = fields_of(file.header().values.iter());
    let fields: Vec<(&str, Field)> = fields
        .iter()
        .map(|(key, value)| (key.as_str(), field(value)))
        .collect();
    // The old file is mapped: another takes its name.
    let new = scratch.file("new");
    write(&new, &fields, &tensors);
    std::fs::rename(&new, &path).unwrap();
    let path = path.display().to_string();
    let expected = [
        "tensor `blk.0.ffn_down.weight` (`",
        "` to the plugin) cannot be used as a linear layer: expected 2 dimensions",
        "take another conversion of the model",
    ];
    Monocle::new(["run", &path, "-p", "x"]).fails(1, &expected);
}

/// A file of floats is not quantised, and is read by the original's name only.
#[test]
fn a_conversion_of_gguf_files_says_what_to_take() {
    let scratch = Scratch::new("gguf");
    let (path, _) = convert(&project::oracle("smolvlm"), scratch.path(), |_, _| None);
    let path = path.display().to_string();
    let target = scratch.file("new").display().to_string();
    let outcome = Monocle::new(["convert", &path, "--no-loss", "-o", &target]).fails(
        1,
        &["is a model in GGUF files, and `monocle convert` reads safetensors; convert the original"],
    );
    assert!(!outcome.stderr.contains("quantised already"), "{outcome:?}");
}

/// The tiny model with one more tensor of 30 GB, of which the file system stores nothing.
fn with_a_large_tensor(scratch: &Scratch) -> PathBuf {
    let (small, _) = convert(&project::oracle("smolvlm"), scratch.path(), |_, _| None);
    let file = GgufFile::open(&small).unwrap();
    let bytes = std::fs::read(&small).unwrap();
    const ROWS: u64 = 30_000_000_000 / 4 / 1024;
    // The header again, with one tensor more, behind all others.
    let source = project::oracle("smolvlm");
    let mut fields = fields_of(file.header().values.iter());
    let known = vocabulary(&source, "smollm");
    fields.retain(|(key, _)| known.iter().all(|(name, _)| name != key));
    let mut all: Vec<(&str, Field)> = fields
        .iter()
        .map(|(key, value)| (key.as_str(), field(value)))
        .collect();
    all.extend(known);
    let tensors: Vec<GgufTensor> = file
        .header()
        .tensors
        .iter()
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
        .chain([GgufTensor {
            name: "blk.99.ffn_up.weight".to_owned(),
            shape: vec![1, 1024],
            values: vec![0.0; 1024],
            scheme: None,
        }])
        .collect();
    let path = scratch.file("Tiny-F32.gguf");
    std::fs::remove_file(&small).unwrap();
    write(&path, &all, &tensors);
    // Its rows are written as one; there are more.
    let bytes = std::fs::read(&path).unwrap();
    let name = b"blk.99.ffn_up.weight";
    let at = bytes.windows(name.len()).position(|part| part == name).unwrap() + name.len();
    let mut file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.seek(SeekFrom::Start(at as u64 + 4 + 8)).unwrap();
    file.write_all(&ROWS.to_le_bytes()).unwrap();
    file.set_len(bytes.len() as u64 + ROWS * 4096).unwrap();
    path
}

#[test]
#[cfg(unix)]
fn thirty_gigabytes_are_inspected_at_once() {
    let scratch = Scratch::new("gguf");
    let path = with_a_large_tensor(&scratch);
    assert!(std::fs::metadata(&path).unwrap().len() > 29_999_000_000);
    let inspect = || {
        Monocle::new(["inspect"])
            .args([&path])
            .args(["--prompt", "x", "--json"])
            .run()
    };
    // Once to have the plugin compiled.
    assert_eq!(inspect().code, 0);
    let started = Instant::now();
    let outcome = inspect();
    let took = started.elapsed();
    assert_eq!(outcome.code, 0, "{outcome:?}");
    let report: Value = serde_json::from_str(&outcome.stdout).unwrap();
    assert!(
        report["weights"]["bytes"].as_u64().unwrap() > 29_999_000_000,
        "{report}"
    );
    // A second on a machine that has nothing else to do.
    assert!(took < Duration::from_secs(5), "{took:?}");
    println!("inspected in {took:?}");
}

#[test]
#[cfg(unix)]
fn a_file_that_becomes_shorter_is_told() {
    let scratch = Scratch::new("gguf");
    let (path, _) = convert(&project::oracle("smolvlm"), scratch.path(), |_, _| None);
    let length = std::fs::metadata(&path).unwrap().len();
    let mut model = project::open_folder(&path);
    let request = Oracle::open(&project::oracle("smolvlm")).request("image");
    let mut answer = || {
        let answered = model.answer(&request, &GenerateOptions::default(), &mut |_| Flow::Continue);
        answered.map(drop).map_err(|error| error.to_string())
    };
    assert_eq!(answer(), Ok(()));
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.set_len(length / 2).unwrap();
    // The process lives, and says what was lost.
    let error = answer().unwrap_err();
    assert!(error.contains("Tiny-Q8_0.gguf"), "{error}");
    // Nor is it opened again.
    let error = GgufFile::open(&path).unwrap_err().to_string();
    assert!(
        error.contains("the file is cut off; download it again"),
        "{error}"
    );
}
