//! Tokenizers in other layouts than `tokenizer.json` alone, against the references' answers; and files that lie.
//!
//! `MONOCLE_LAYOUTS` may name another folder that `make_layouts.py` wrote; its cases are then checked too.

#[path = "../fuzz/tokenizers.rs"]
mod made;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use monocle_text::{StreamDecoder, StreamOptions, Tokenizer, TokenizerError, TokenizerRules, clock};
use proptest::prelude::*;
use serde_json::{Value, json};

fn layouts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/oracle/tokenizers/layouts")
}

fn cases() -> Vec<Value> {
    serde_json::from_slice(&std::fs::read(layouts().join("cases.json")).unwrap()).unwrap()
}

/// Each case with the folder that its files are in.
fn all_cases() -> Vec<(PathBuf, Value)> {
    let more = std::env::var_os("MONOCLE_LAYOUTS").map(PathBuf::from);
    let folders = [layouts()].into_iter().chain(more);
    let read = |folder: PathBuf| -> Vec<(PathBuf, Value)> {
        let cases: Vec<Value> =
            serde_json::from_slice(&std::fs::read(folder.join("cases.json")).unwrap()).unwrap();
        cases.into_iter().map(|case| (folder.clone(), case)).collect()
    };
    folders.flat_map(read).collect()
}

/// A folder of its own, gone when it is dropped.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("monocle-layout-{}-{count}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// The folder of a case.
    fn of(case: &Value) -> Self {
        Self::made(&layouts(), case)
    }

    fn made(layouts: &Path, case: &Value) -> Self {
        let folder = Self::new();
        for (name, source) in case["copy"].as_object().unwrap() {
            std::fs::copy(layouts.join(source.as_str().unwrap()), folder.0.join(name)).unwrap();
        }
        for (name, value) in case["files"].as_object().unwrap() {
            folder.write(name, value.to_string());
        }
        folder
    }

    fn named(name: &str) -> Self {
        Self::of(cases().iter().find(|case| case["name"] == name).unwrap())
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        std::fs::write(self.0.join(name), bytes).unwrap();
    }

    fn edit(&self, name: &str, edit: impl FnOnce(&mut Value)) {
        let path = self.0.join(name);
        let mut value: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        edit(&mut value);
        self.write(name, value.to_string());
    }

    fn open(&self) -> Result<Tokenizer, TokenizerError> {
        Tokenizer::from_folder(&self.0)
    }

    fn refused(&self) -> String {
        match self.open() {
            Err(error) => error.to_string(),
            Ok(_) => panic!("accepted"),
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn ids(value: &Value) -> Vec<u32> {
    let list = value.as_array().unwrap();
    list.iter().map(|id| id.as_u64().unwrap() as u32).collect()
}

fn stream(tokenizer: &Arc<Tokenizer>, ids: &[u32], skip_special: bool) -> String {
    let options = StreamOptions {
        skip_special,
        keep: Vec::new(),
    };
    let mut decoder = StreamDecoder::new(tokenizer.clone(), options);
    let mut text: String = ids.iter().map(|id| decoder.push(*id).unwrap()).collect();
    text += &decoder.finish();
    text
}

#[test]
fn every_layout_answers_as_its_reference() {
    let mut kinds = std::collections::BTreeSet::new();
    // Told all together: one fault seldom comes alone.
    let mut wrong: Vec<String> = Vec::new();
    for (layouts, case) in all_cases() {
        let name = case["name"].as_str().unwrap();
        kinds.insert(case["by"].as_str().unwrap().split(' ').next().unwrap().to_owned());
        let tokenizer = match Folder::made(&layouts, &case).open() {
            Ok(tokenizer) => Arc::new(tokenizer),
            Err(error) => {
                wrong.push(format!("{name}: {error}"));
                continue;
            }
        };
        let mut differs = |what: &str, found: String, expected: String| {
            if found != expected {
                wrong.push(format!("{name}: {what}: {found}, expected {expected}"));
            }
        };
        for added in case["added"].as_array().unwrap() {
            let (id, token) = (added[0].as_u64().unwrap() as u32, added[1].as_str().unwrap());
            let found = (tokenizer.token_id(token), tokenizer.is_special(id));
            differs(
                token,
                format!("{found:?}"),
                format!("{:?}", (Some(id), added[2] == true)),
            );
        }
        for probe in case["probes"].as_array().unwrap() {
            let text = probe["text"].as_str().unwrap();
            let plain = ids(&probe["ids_no_special"]);
            for (special, expected) in [(false, plain.clone()), (true, ids(&probe["ids"]))] {
                let found = tokenizer.encode(text, special).unwrap();
                differs(
                    &format!("{text:?}"),
                    format!("{found:?}"),
                    format!("{expected:?}"),
                );
            }
            for (key, skip) in [("decoded", false), ("decoded_skip", true)] {
                if let Some(decoded) = probe[key].as_str() {
                    differs(key, tokenizer.decode(&plain, skip).unwrap(), decoded.to_owned());
                    differs(key, stream(&tokenizer, &plain, skip), decoded.to_owned());
                }
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} differences:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    assert_eq!(
        kinds.into_iter().collect::<Vec<_>>(),
        ["sentencepiece", "tiktoken", "transformers"]
    );
}

#[test]
fn what_a_tokenizer_was_made_of_is_a_note_and_nothing_else_is() {
    for case in cases() {
        let notes = Folder::of(&case).open().unwrap().notes().join("\n");
        let name = case["name"].as_str().unwrap();
        match name.split('-').next().unwrap() {
            "pairs" => assert!(
                notes.contains("made of `vocab.json` and `merges.txt`"),
                "{name}: {notes}"
            ),
            "ranks" => assert!(notes.contains("made of ranks"), "{name}: {notes}"),
            "pieces" => assert!(
                notes.contains("SentencePiece model `tokenizer.model`"),
                "{name}: {notes}"
            ),
            // Its files mark a token differently, and name two that no vocabulary has.
            "only" => {
                assert!(
                    notes.contains("mark tokens differently") && notes.contains("lstrip = true"),
                    "{notes}"
                );
                assert!(notes.contains("`<bos>`; `<pad>`"), "{notes}");
            }
            "extra" => assert!(notes.contains("no vocabulary has"), "{notes}"),
            _ => assert_eq!(notes, "", "{name}"),
        }
    }
}

/// 418 tokens of `vocab.json`, `<|endoftext|>` behind them.
#[test]
fn conflicts_between_files_are_told_and_the_vocabulary_decides() {
    let folder = Folder::named("added-tokens-decoder");
    let table = |id: &str, token: &str| json!({"tokenizer_class": "X", "added_tokens_decoder": {id: {"content": token, "special": true}}});
    let first = Tokenizer::from_folder(&folder.0).unwrap();
    let end = first.token_id("<|endoftext|>").unwrap();
    // A known token at another id.
    folder.write("tokenizer_config.json", table("5", "<|endoftext|>").to_string());
    let tokenizer = folder.open().unwrap();
    assert_eq!(tokenizer.token_id("<|endoftext|>"), Some(end));
    let notes = tokenizer.notes().join("\n");
    assert!(
        notes.contains(&format!(
            "`<|endoftext|>` has id {end}, `tokenizer_config.json` says 5"
        )),
        "{notes}"
    );
    // A new token at the id of another.
    folder.write("tokenizer_config.json", table("5", "<new>").to_string());
    let tokenizer = folder.open().unwrap();
    assert_eq!(tokenizer.token_id("<new>"), Some(end + 1));
    let notes = tokenizer.notes().join("\n");
    assert!(
        notes.contains("id 5 of `<new>` in `tokenizer_config.json` is `&`"),
        "{notes}"
    );
    // The same in an older list, of which the vocabulary has replaced a token since: that token is gone.
    folder.write("tokenizer_config.json", "{}");
    folder.write("added_tokens.json", r#"{"<old>": 5}"#);
    let tokenizer = folder.open().unwrap();
    assert_eq!(tokenizer.token_id("<old>"), None);
    std::fs::remove_file(folder.0.join("added_tokens.json")).unwrap();
    // A gap: the declared id is kept.
    folder.write(
        "tokenizer_config.json",
        table(&(end + 4).to_string(), "<new>").to_string(),
    );
    let tokenizer = folder.open().unwrap();
    assert_eq!(tokenizer.token_id("<new>"), Some(end + 4));
    assert!(tokenizer.is_special(end + 3));
    assert!(
        tokenizer.notes().join("\n").contains("3 ids between"),
        "{:?}",
        tokenizer.notes()
    );
    // Far beyond.
    folder.write("tokenizer_config.json", table("4000000000", "<new>").to_string());
    let error = folder.refused();
    assert!(
        error.contains("the id 4000000000") && error.contains("tokenizer.json"),
        "{error}"
    );
    // Two names for one thing.
    folder.write(
        "tokenizer_config.json",
        r#"{"eos_token": "<a>", "added_tokens_decoder": {}}"#,
    );
    folder.write("special_tokens_map.json", r#"{"eos_token": "<|endoftext|>"}"#);
    let tokenizer = folder.open().unwrap();
    assert_eq!(tokenizer.special_tokens().eos.as_deref(), Some("<a>"));
    let notes = tokenizer.notes().join("\n");
    assert!(
        notes.contains("`special_tokens_map.json` says that `eos_token` is"),
        "{notes}"
    );
    // Without the newer table the map is asked first, as transformers does.
    folder.write("tokenizer_config.json", r#"{"eos_token": "<a>"}"#);
    let tokenizer = folder.open().unwrap();
    assert_eq!(tokenizer.special_tokens().eos.as_deref(), Some("<|endoftext|>"));
}

/// Some converters write a `tokenizer.json` beside a file of ranks and close the gaps between the ids of special tokens, which the rows of the embedding
/// do not follow: there, `<|im_end|>` of the published table's id 163586 became 163584.
#[test]
fn ranks_are_taken_where_a_tokenizer_json_renumbers_their_special_tokens() {
    let published = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/oracle/kimi_vl");
    let folder = Folder::new();
    for name in ["tiktoken.model", "tokenizer_config.json", "config.json"] {
        std::fs::copy(published.join(name), folder.0.join(name)).unwrap();
    }
    let config: Value =
        serde_json::from_slice(&std::fs::read(published.join("tokenizer_config.json")).unwrap()).unwrap();
    let table = config["added_tokens_decoder"].as_object().unwrap();
    let declared: Vec<(u32, &Value)> = table
        .iter()
        .map(|(id, token)| (id.parse().unwrap(), token))
        .collect();
    let vocabulary: serde_json::Map<String, Value> =
        (0..476).map(|rank| (format!("t{rank}"), rank.into())).collect();
    let numbered = |ids: &mut dyn Iterator<Item = (u32, &Value)>| {
        let added: Vec<Value> = ids
            .map(|(id, token)| {
                let mut token = token.clone();
                token["id"] = id.into();
                token
            })
            .collect();
        json!({"model": {"type": "BPE", "vocab": vocabulary, "merges": []}, "added_tokens": added})
            .to_string()
    };
    let told = |tokenizer: &Tokenizer| {
        let notes = tokenizer.notes().join("\n");
        notes.contains("`tokenizer.json` was not used")
    };

    // The gaps closed: 476 and on, without one.
    let closed = numbered(&mut (476..).zip(declared.iter().map(|(_, token)| *token)));
    folder.write("tokenizer.json", &closed);
    let tokenizer = folder.open().unwrap();
    // As `tokenizer_config.json` and `config.json` have them.
    assert_eq!(tokenizer.token_id("<|im_end|>"), Some(478));
    assert_eq!(tokenizer.token_id("<|media_pad|>"), Some(497));
    assert!(told(&tokenizer), "{:?}", tokenizer.notes());
    let plain = Tokenizer::from_folder(&published).unwrap();
    let text = "<|im_user|>user<|im_middle|>How many?<|im_end|>";
    assert_eq!(
        tokenizer.encode(text, false).unwrap(),
        plain.encode(text, false).unwrap()
    );

    // Without ranks there is nothing else to take.
    std::fs::remove_file(folder.0.join("tiktoken.model")).unwrap();
    let alone = folder.open().unwrap();
    assert_ne!(alone.token_id("<|media_pad|>"), Some(497));
    assert!(!told(&alone));

    // One that agrees is taken.
    std::fs::copy(published.join("tiktoken.model"), folder.0.join("tiktoken.model")).unwrap();
    let filler = |id: u32| json!({"content": format!("<|reserved_{id}|>"), "special": true, "lstrip": false, "rstrip": false, "single_word": false, "normalized": false});
    let fillers: Vec<Value> = (0..500).map(filler).collect();
    let of = |id: u32| declared.iter().find(|(own, _)| *own == id);
    let mut whole = (476..500).map(|id| (id, of(id).map_or(&fillers[id as usize], |(_, token)| *token)));
    folder.write("tokenizer.json", numbered(&mut whole));
    let agreeing = folder.open().unwrap();
    assert_eq!(agreeing.token_id("<|media_pad|>"), Some(497));
    assert_eq!(agreeing.token_id("t7"), Some(7));
    assert!(!told(&agreeing), "{:?}", agreeing.notes());
}

#[test]
fn git_lfs_pointers_are_named_wherever_they_stand() {
    let pointer = format!(
        "version https://git-lfs.github.com/spec/v1\noid sha256:{}\nsize 4418050848\n",
        "0".repeat(64)
    );
    for (case, names) in [
        (
            "older-files",
            &[
                "tokenizer.json",
                "tokenizer_config.json",
                "special_tokens_map.json",
                "added_tokens.json",
            ][..],
        ),
        ("pairs-gpt2", &["vocab.json", "merges.txt"]),
        ("ranks-tiktoken-model", &["tiktoken.model"]),
        ("ranks-with-pattern", &["own.tiktoken"]),
        ("ranks-in-tokenizer-model", &["tokenizer.model"]),
        ("pieces-unigram", &["tokenizer.model", "generation_config.json"]),
    ] {
        for name in names {
            let folder = Folder::named(case);
            folder.write(name, &pointer);
            let error = folder.refused();
            assert!(
                error.contains(name) && error.contains("Git LFS pointer") && error.contains("git lfs pull"),
                "{error}"
            );
        }
    }
}

#[test]
#[cfg(unix)]
fn what_is_no_file_is_refused_before_it_is_opened() {
    for name in [
        "tokenizer.json",
        "tokenizer_config.json",
        "special_tokens_map.json",
        "generation_config.json",
    ] {
        let folder = Folder::named("older-files");
        let path = folder.0.join(name);
        let _ = std::fs::remove_file(&path);
        std::os::unix::fs::symlink("/dev/zero", &path).unwrap();
        let error = folder.refused();
        assert!(error.contains(name) && error.contains("a device"), "{error}");
        std::fs::remove_file(&path).unwrap();
        let made = std::process::Command::new("mkfifo").arg(&path).status().unwrap();
        assert!(made.success());
        let error = folder.refused();
        assert!(error.contains(name) && error.contains("a pipe"), "{error}");
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        assert!(folder.refused().contains("a folder"));
        std::fs::remove_dir(&path).unwrap();
        // Sparse: nothing is written.
        std::fs::File::create(&path)
            .unwrap()
            .set_len((256 << 20) + 1)
            .unwrap();
        let error = folder.refused();
        assert!(
            error.contains(name) && error.contains("268435457 bytes"),
            "{error}"
        );
    }
}

#[test]
fn layouts_that_say_too_little_are_refused_in_words() {
    let says = |folder: &Folder, words: &[&str]| {
        let error = folder.refused();
        assert!(words.iter().all(|word| error.contains(word)), "{error}");
    };
    let convert = "AutoTokenizer.from_pretrained(folder).save_pretrained(folder)";
    let folder = Folder::named("pairs-gpt2");
    folder.write("tokenizer_config.json", r#"{"tokenizer_class": "Unheard"}"#);
    says(
        &folder,
        &[
            "`vocab.json` and `merges.txt`",
            "`Unheard`",
            "`GPT2Tokenizer`",
            convert,
        ],
    );
    folder.write("tokenizer_config.json", "{}");
    says(&folder, &["no `tokenizer_class`", convert]);
    // A class in `config.json` is as good.
    folder.write("config.json", r#"{"tokenizer_class": "GPT2Tokenizer"}"#);
    assert!(folder.open().is_ok());
    std::fs::remove_file(folder.0.join("merges.txt")).unwrap();
    says(
        &folder,
        &["no `tokenizer.json`", "`vocab.json`, which needs `merges.txt`"],
    );

    let folder = Folder::named("ranks-tiktoken-model");
    folder.write("tokenizer_config.json", r#"{"tokenizer_class": "Unheard"}"#);
    says(
        &folder,
        &["ranks in `tiktoken.model`", "`Unheard`", "pat_str", convert],
    );

    let folder = Folder::named("pieces-unigram");
    folder.write(
        "tokenizer_config.json",
        r#"{"tokenizer_class": "XLMRobertaTokenizerFast"}"#,
    );
    says(
        &folder,
        &["`XLMRobertaTokenizer`", "otherwise than the file does", convert],
    );

    let folder = Folder::new();
    says(
        &folder,
        &["no `tokenizer.json`", "fetch the model's tokenizer files again"],
    );
    folder.write("tekken.json", "{}");
    says(&folder, &["`tekken.json`, which is not read"]);
    for name in ["a.tiktoken", "b.tiktoken"] {
        folder.write(name, "AA== 0\n");
    }
    says(&folder, &["2 files of ranks"]);
    says(&Folder(folder.0.join("nowhere")), &["there is no such folder"]);
}

#[test]
fn the_users_pattern_cuts_text_for_a_file_of_ranks() {
    let rules = |pattern: &str| TokenizerRules {
        pattern: Some(pattern.to_owned()),
    };
    let cases = cases();
    let case = cases
        .iter()
        .find(|case| case["name"] == "ranks-with-pattern")
        .unwrap();
    let folder = Folder::of(case);
    let by_file = folder.open().unwrap();
    let mut pattern = String::new();
    folder.edit("tokenizer_config.json", |config| {
        let there = config.as_object_mut().unwrap().remove("pat_str").unwrap();
        pattern = there.as_str().unwrap().to_owned();
        config["tokenizer_class"] = "Unheard".into();
    });
    assert!(folder.refused().contains("`tokenizer.pattern`"));
    let by_rule = Tokenizer::with_rules(&folder.0, &rules(&pattern)).unwrap();
    for probe in case["probes"].as_array().unwrap() {
        let text = probe["text"].as_str().unwrap();
        assert_eq!(
            by_rule.encode(text, true).unwrap(),
            by_file.encode(text, true).unwrap(),
            "{text:?}"
        );
    }
    // It is really this pattern that cuts: where every character is a piece, no token is longer.
    let single = Tokenizer::with_rules(&folder.0, &rules(r"[\s\S]")).unwrap();
    assert_eq!(single.encode("abcabc", false).unwrap().len(), 6);
    let error = Tokenizer::with_rules(&folder.0, &rules("(")).err().unwrap();
    assert!(
        error.to_string().contains("the manifest's `tokenizer.pattern`"),
        "{error}"
    );
    // Where nothing asks for it, that is said.
    let folder = Folder::named("pieces-unigram");
    let unused = Tokenizer::with_rules(&folder.0, &rules("x")).unwrap();
    let notes = unused.notes();
    assert!(
        notes
            .iter()
            .any(|note| note.contains("`tokenizer.pattern` was not used")),
        "{notes:?}"
    );
}

#[test]
fn damaged_files_of_each_layout_are_named() {
    let says = |case: &str, name: &str, bytes: &[u8], words: &str| {
        let folder = Folder::named(case);
        folder.write(name, bytes);
        let error = folder.refused();
        assert!(error.contains(words), "{case}: {error}");
    };
    says("pairs-gpt2", "vocab.json", b"[]", "vocab.json");
    says("pairs-gpt2", "vocab.json", b"{\"a\": ", "vocab.json");
    says(
        "pairs-gpt2",
        "merges.txt",
        b"#version: 0.2\na b c\n",
        "line 2 is not two tokens",
    );
    says("pairs-gpt2", "merges.txt", b"nothing known\n", "merges.txt");
    says(
        "ranks-tiktoken-model",
        "tiktoken.model",
        b"AA== 0\nAA== 1\n",
        "line 2 repeats a token",
    );
    says(
        "ranks-tiktoken-model",
        "tiktoken.model",
        b"AA== 0\nAQ== 0\n",
        "two tokens have rank 0",
    );
    says(
        "ranks-tiktoken-model",
        "tiktoken.model",
        b"AA== 7\n",
        "one of rank 7",
    );
    says(
        "ranks-tiktoken-model",
        "tiktoken.model",
        b"AA== 0\n",
        "1 of 256 single bytes",
    );
    says(
        "ranks-tiktoken-model",
        "tiktoken.model",
        b"AA== 0\n!! 1\n",
        "line 2 is not a token",
    );
    says(
        "pieces-unigram",
        "tokenizer.model",
        b"\x0a\x05",
        "ends within a field",
    );
    says("pieces-unigram", "tokenizer.model", b"", "it has no pieces");
    let model = std::fs::read(layouts().join("pairs.model")).unwrap();
    says(
        "pieces-pairs",
        "tokenizer.model",
        &model[..model.len() / 2],
        "tokenizer.model",
    );
    // A byte's piece that is an ordinary one (`sentencepiece_model.proto`: the text, its score in four bytes, its kind: 6, a byte).
    let piece = model.windows(6).position(|six| six == b"<0x07>").unwrap();
    let kind = piece + 6 + 5;
    assert_eq!(model[kind..kind + 2], [0x18, 6]);
    let mut fewer = model.clone();
    fewer[kind + 1] = 1;
    says(
        "pieces-pairs",
        "tokenizer.model",
        &fewer,
        "it falls back to bytes, and has 255 of 256",
    );
}

/// The kinds of file that ended the process, or its memory.
#[test]
fn tokenizers_made_to_harm_end_in_an_error() {
    let folder = Folder::named("only-named");
    let whole = std::fs::read(folder.0.join("tokenizer.json")).unwrap();
    let edited = |edit: &dyn Fn(&mut Value)| {
        folder.write("tokenizer.json", &whole);
        folder.edit("tokenizer.json", edit);
        folder.open()
    };
    let long = "x".repeat(60) + "!";
    let regex = |json: &mut Value| {
        json["pre_tokenizer"] = json!({"type": "Split", "pattern": {"Regex": "(x+x+)+y"}, "behavior": "Isolated", "invert": false});
    };
    let error = edited(&regex)
        .unwrap()
        .encode(&long, false)
        .unwrap_err()
        .to_string();
    assert!(error.contains("longer for it than it may"), "{error}");

    let replace =
        |from: &str, to: &str| json!({"type": "Replace", "pattern": {"String": from}, "content": to});
    let sequence = |steps: Vec<Value>| json!({"type": "Sequence", "normalizers": steps});
    let normalizer = |value: Value| edited(&move |json: &mut Value| json["normalizer"] = value.clone());
    for value in [
        sequence(vec![replace("i", "ii"); 34]),
        sequence(vec![
            json!({"type": "Prepend", "prepend": "p".repeat(1 << 20)});
            40
        ]),
        sequence(vec![replace("", "12345678901234567890"); 12]),
        sequence(vec![
            json!({"type": "Replace", "pattern": {"Regex": "."}, "content": "1".repeat(1 << 20)});
            2
        ]),
    ] {
        // Where it fails is no matter: added tokens are normalised when the file is read.
        let error = normalizer(value).and_then(|tokenizer| tokenizer.encode(&"i".repeat(100), true));
        let error = error.unwrap_err().to_string();
        assert!(
            error.contains("more than 4 times as long") || error.contains("gave up"),
            "{error}"
        );
    }
    // What real ones do is well within the bound.
    let marked = normalizer(sequence(vec![
        replace(" ", "▁"),
        json!({"type": "Prepend", "prepend": "▁"}),
    ]))
    .unwrap();
    assert!(marked.encode(&" ".repeat(1 << 15), false).is_ok());

    let post = |value: Value| edited(&move |json: &mut Value| json["post_processor"] = value.clone());
    let text = json!({"Sequence": {"id": "A", "type_id": 0}});
    let unknown = json!({"SpecialToken": {"id": "<nowhere>", "type_id": 0}});
    let template = |single: Vec<Value>| json!({"type": "TemplateProcessing", "single": single, "pair": [], "special_tokens": {}});
    let error = post(template(vec![text.clone(); 1000]))
        .err()
        .unwrap()
        .to_string();
    assert!(error.contains("repeats a text 1000 times"), "{error}");
    let error = post(template(vec![unknown, text])).err().unwrap().to_string();
    assert!(error.contains("tokenizer.json"), "{error}");
    let decoder = |value: Value| edited(&move |json: &mut Value| json["decoder"] = value.clone());
    let error = decoder(json!({"type": "Sequence", "decoders": vec![replace("i", "ii"); 30]}))
        .err()
        .unwrap()
        .to_string();
    assert!(error.contains("as long"), "{error}");
    let junk = json!({"type": "Precompiled", "precompiled_charsmap": "/////w=="});
    if let Ok(tokenizer) = normalizer(junk) {
        let _ = tokenizer.encode("abc", true);
    }
}

/// Each took half a minute to days for two megabytes, which a template can print; the library's own word for it is none.
#[test]
fn tokenizers_made_to_be_slow_end_in_time() {
    let folder = Folder::named("only-named");
    let whole = std::fs::read(folder.0.join("tokenizer.json")).unwrap();
    let ends = |name: &str, edit: &dyn Fn(&mut Value), text: &str| {
        folder.write("tokenizer.json", &whole);
        folder.edit("tokenizer.json", edit);
        let tokenizer = folder.open().unwrap();
        let started = Instant::now();
        let ids = {
            let _time = clock::Time::begin(Duration::from_secs(1));
            tokenizer.encode(text, true)
        };
        // Two seconds are promised.
        let took = started.elapsed();
        assert!(took < Duration::from_secs(20), "{name}: {took:?}");
        println!(
            "{name}: {took:?}, {:?}",
            ids.as_ref().map(Vec::len).map_err(ToString::to_string)
        );
    };
    let split = |expression: &str| {
        json!({"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": expression}, "behavior": "Isolated", "invert": false}
        ]})
    };
    let words = "xxxxxxxxxxxxxxxxxxxx ".repeat(100_000);
    let one = "x".repeat(2 << 20);
    for expression in ["(x+x+)+y", "(?:[a-z]*1|[a-z])*2", "(?>[a-z]*)1", "(x*)*y"] {
        for text in [&words, &one] {
            ends(
                expression,
                &|json| json["pre_tokenizer"] = split(expression),
                text,
            );
            let replace = json!({"type": "Replace", "pattern": {"Regex": expression}, "content": "a"});
            ends(expression, &|json| json["normalizer"] = replace.clone(), text);
        }
    }
    let pieces = json!({
        "type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 1000,
        "vocab": {"[UNK]": 0, "x": 1, "##x": 2},
    });
    let long_words = format!("{} ", "x".repeat(1000)).repeat(2000);
    ends(
        "WordPiece",
        &|json| {
            json["model"] = pieces.clone();
            json["added_tokens"] = json!([]);
            json["pre_tokenizer"] = json!({"type": "WhitespaceSplit"});
        },
        &long_words,
    );
    let unigram = |longest: usize| {
        let tokens: Vec<Value> = (1..=longest)
            .map(|length| json!(["x".repeat(length), -1.0]))
            .collect();
        let vocabulary = [vec![json!(["<unk>", 0.0])], tokens].concat();
        json!({"type": "Unigram", "unk_id": 0, "byte_fallback": false, "vocab": vocabulary})
    };
    for longest in [16, 256, 2000] {
        ends(
            &format!("Unigram {longest}"),
            &|json| {
                json["model"] = unigram(longest);
                json["added_tokens"] = json!([]);
                json["pre_tokenizer"] = Value::Null;
            },
            &one,
        );
    }
    let pairs = json!({
        "type": "BPE", "dropout": 0.5, "vocab": {"x": 0, "xx": 1, "xxxx": 2}, "merges": ["x x", "xx xx"],
    });
    ends(
        "BPE",
        &|json| {
            json["model"] = pairs.clone();
            json["added_tokens"] = json!([]);
            json["pre_tokenizer"] = Value::Null;
        },
        &one,
    );
    let added = json!([{"id": 500, "content": "x", "single_word": false, "lstrip": true, "rstrip": true, "normalized": false, "special": true}]);
    ends("added tokens", &|json| json["added_tokens"] = added.clone(), &one);
    let single = json!([{"id": 500, "content": "x", "single_word": true, "lstrip": false, "rstrip": false, "normalized": true, "special": false}]);
    ends(
        "single words",
        &|json| json["added_tokens"] = single.clone(),
        &one,
    );
    ends(
        "single words apart",
        &|json| json["added_tokens"] = single.clone(),
        &"x ".repeat(1 << 20),
    );
    for form in [
        "NFD",
        "NFC",
        "NFKC",
        "StripAccents",
        "Nmt",
        "Lowercase",
        "BertNormalizer",
    ] {
        let normalizer = match form {
            "BertNormalizer" => {
                json!({"type": form, "clean_text": true, "handle_chinese_chars": true, "strip_accents": true, "lowercase": true})
            }
            _ => json!({"type": form}),
        };
        ends(
            form,
            &|json| json["normalizer"] = normalizer.clone(),
            &format!("e{}", "\u{300}\u{323}".repeat(500_000)),
        );
    }
}

/// Tables of added tokens as a file might have them.
fn table() -> impl Strategy<Value = Value> {
    let token = (
        prop_oneof![
            "<[a-z|]{1,6}>",
            "[a-z ]{1,3}",
            "\\PC{0,3}",
            Just("<|endoftext|>".to_owned())
        ],
        any::<[bool; 5]>(),
    );
    let id = prop_oneof![4 => 415u32..440, 1 => 0u32..420, 1 => any::<u32>()];
    prop::collection::btree_map(id, token, 0..12).prop_map(|tokens| {
        let entries = tokens.into_iter().map(|(id, (content, [a, b, c, d, e]))| {
            let token = json!({"content": content, "special": a, "lstrip": b, "rstrip": c, "single_word": d, "normalized": e});
            (id.to_string(), token)
        });
        Value::Object(entries.collect())
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    /// Byte-level text comes back as it was, but for spaces that tokens with `lstrip` or `rstrip` take, and letters
    /// beyond ASCII in added tokens, which the decoder takes for bytes (transformers shows the same).
    #[test]
    fn any_table_of_added_tokens_is_read_and_keeps_text(table in table(), text in "([a-z]{1,4}|[ \\n]|<[a-z]{1,2}>|\\PC){0,16}") {
        let folder = Folder::named("added-tokens-decoder");
        let strips = table.as_object().unwrap().values().any(|token| token["lstrip"] == true || token["rstrip"] == true);
        let entries: Vec<(u32, String)> = table.as_object().unwrap().iter()
            .map(|(id, token)| (id.parse().unwrap(), token["content"].as_str().unwrap().to_owned())).collect();
        folder.write("tokenizer_config.json", json!({"added_tokens_decoder": table}).to_string());
        if let Ok(tokenizer) = folder.open() {
            let tokenizer = Arc::new(tokenizer);
            for (_, content) in entries.iter().filter(|(_, content)| !content.is_empty()) {
                let id = tokenizer.token_id(content);
                prop_assert!(id.is_some(), "{}", content);
                prop_assert_eq!(tokenizer.token(id.unwrap()), Some(content.clone()));
            }
            let ids = tokenizer.encode(&text, false).unwrap();
            let decoded = tokenizer.decode(&ids, false).unwrap();
            prop_assert_eq!(stream(&tokenizer, &ids, false), decoded.clone());
            if !strips && entries.iter().all(|(_, content)| content.is_ascii()) {
                prop_assert_eq!(decoded, text);
            }
        } else {
            let is_endless = table.as_object().unwrap().values().any(|token| {
                let strips = token["lstrip"] == true || token["rstrip"] == true;
                strips && token["content"].as_str().is_some_and(|content| content.trim().is_empty())
            });
            let is_beyond = entries.iter().any(|(id, _)| *id > 440);
            prop_assert!(is_beyond || is_endless, "only an id far beyond is refused, and white space that strips");
        }
    }

    /// What SentencePiece models without rules for characters make of a text is the text again.
    #[test]
    fn pieces_keep_text(text in "([a-z]{1,4}|[ \\n]|<ud>|<[a-z]{1,2}>|[é中😀]|\\PC){0,16}") {
        // A special token divides a text, and the part behind it gets a space of its own.
        prop_assume!(!text.contains("<s>"));
        for name in ["pieces-pairs", "pieces-pairs-first", "pieces-pairs-symbols"] {
            let tokenizer = Arc::new(Folder::named(name).open().unwrap());
            let ids = tokenizer.encode(&text, false).unwrap();
            // The mark of a space is one, in a text too.
            let expected = text.replace('▁', " ");
            prop_assert_eq!(tokenizer.decode(&ids, false).unwrap(), expected.clone(), "{}", name);
            prop_assert_eq!(stream(&tokenizer, &ids, false), expected, "{}", name);
        }
    }

    /// Whatever a `tokenizer.json` asks for is refused, or stays within bounds.
    #[test]
    fn any_file_is_refused_or_keeps_its_bounds(bytes in prop::collection::vec(any::<u8>(), 0..160)) {
        prop_assert_eq!(made::check(&bytes), Ok(()));
    }

    /// A damaged file is refused or read, never a panic.
    #[test]
    fn damaged_files_do_not_panic(at in 0.0f64..1.0, bytes in prop::collection::vec(any::<u8>(), 1..4), cut: bool) {
        for (case, name) in [
            ("pairs-qwen2", "vocab.json"), ("pairs-qwen2", "merges.txt"), ("pairs-qwen2", "tokenizer_config.json"),
            ("ranks-tiktoken-model", "tiktoken.model"), ("pieces-pairs", "tokenizer.model"),
            ("pieces-unigram", "tokenizer.model"), ("pieces-pairs-symbols", "tokenizer.model"),
        ] {
            let folder = Folder::named(case);
            let mut file = std::fs::read(folder.0.join(name)).unwrap();
            let at = (at * file.len() as f64) as usize;
            for (slot, byte) in file[at..].iter_mut().zip(&bytes) {
                *slot = *byte;
            }
            if cut {
                file.truncate(at);
            }
            folder.write(name, &file);
            if let Ok(tokenizer) = folder.open() {
                let _ = tokenizer.encode("a red disc ﬁ <s> <ud>\n\n é中", true).map(|ids| tokenizer.decode(&ids, true));
            }
        }
    }
}

/// What fuzzers begin with.
#[test]
fn the_corpus_holds() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/tokenizer");
    let mut files = 0;
    for entry in std::fs::read_dir(corpus).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(
            made::check(&std::fs::read(&path).unwrap()),
            Ok(()),
            "{}",
            path.display()
        );
        files += 1;
    }
    assert!(files >= 3, "{files}");
}

/// White space that takes white space: each part of a run goes through the whole of it.
#[test]
fn white_space_that_strips_is_refused() {
    let folder = Folder::new();
    let open = |content: &str, mark: &str, normalizer: Value| {
        let mut token = json!({
            "id": 1, "content": content, "single_word": false, "lstrip": false, "rstrip": false, "normalized": normalizer.is_object(),
            "special": false,
        });
        token[mark] = json!(true);
        let file = json!({
            "version": "1.0", "truncation": null, "padding": null, "added_tokens": [token], "normalizer": normalizer, "pre_tokenizer": null,
            "post_processor": null, "decoder": null, "model": {"type": "WordLevel", "vocab": {"<unk>": 0}, "unk_token": "<unk>"},
        });
        folder.write("tokenizer.json", file.to_string());
        folder.open()
    };
    let replace = json!({"type": "Replace", "pattern": {"String": "a"}, "content": " "});
    for (content, mark, normalizer) in [
        (" ", "rstrip", Value::Null),
        ("\n\u{2003}", "lstrip", Value::Null),
        ("a", "lstrip", replace.clone()),
    ] {
        let refused = open(content, mark, normalizer).map(drop).unwrap_err().to_string();
        assert!(refused.contains("is white space alone"), "{refused}");
    }
    // These are linear, and real tokenizers have them.
    let spaces = " ".repeat(100 << 10);
    for (content, mark, normalizer, count) in [
        (" ", "special", Value::Null, 100 << 10),
        ("<mask>", "lstrip", Value::Null, 1),
        ("b", "rstrip", replace, 1),
    ] {
        let tokenizer = open(content, mark, normalizer).unwrap();
        let started = Instant::now();
        let ids = tokenizer.encode(&format!("{spaces}{content}"), false).unwrap();
        assert!(ids.iter().filter(|id| **id == 1).count() >= count, "{content}");
        assert!(started.elapsed() < Duration::from_secs(10), "{content}");
    }
}
