//! Tokenizers against the reference implementations' answers, and the streaming decoder against the whole.
//!
//! `MONOCLE_ORACLE` may name a folder of checkpoints with goldens; they are then checked too.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use monocle_text::{StreamDecoder, StreamOptions, Tokenizer, TokenizerError};
use proptest::prelude::*;
use serde_json::{Value, json};

const NAMES: [&str; 5] = ["gemma3", "llava", "qwen2_vl", "smolvlm", "unigram"];

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../tests/oracle/tokenizers")
        .join(name)
}

fn read(path: PathBuf) -> Value {
    serde_json::from_slice(
        &std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())),
    )
    .unwrap()
}

fn ids(value: &Value) -> Vec<u32> {
    value
        .as_array()
        .unwrap()
        .iter()
        .map(|id| id.as_u64().unwrap() as u32)
        .collect()
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

/// A copy of a tokenizer with its `tokenizer.json` edited.
fn edited(
    name: &str,
    test: &str,
    edit: impl FnOnce(&mut Value),
) -> (PathBuf, Result<Tokenizer, TokenizerError>) {
    let target = std::env::temp_dir().join(format!("monocle-text-{test}-{}", std::process::id()));
    std::fs::create_dir_all(&target).unwrap();
    let mut value = read(folder(name).join("tokenizer.json"));
    edit(&mut value);
    std::fs::write(target.join("tokenizer.json"), value.to_string()).unwrap();
    let tokenizer = Tokenizer::from_folder(&target);
    (target, tokenizer)
}

fn check_probes(path: &Path, probes: &Value) {
    let tokenizer = Arc::new(Tokenizer::from_folder(path).unwrap());
    for probe in probes.as_array().unwrap() {
        let text = probe["text"].as_str().unwrap();
        let plain = ids(&probe["ids_no_special"]);
        assert_eq!(
            tokenizer.encode(text, false).unwrap(),
            plain,
            "{}: {text}",
            path.display()
        );
        // A checkpoint may say that its processor adds other special tokens than tokenizer.json does.
        if probe["tokenizer_json_agrees"] != json!(false) {
            assert_eq!(
                tokenizer.encode(text, true).unwrap(),
                ids(&probe["ids"]),
                "{}: {text}",
                path.display()
            );
        }
        let decoded = probe["decoded"].as_str().unwrap();
        assert_eq!(
            tokenizer.decode(&plain, true).unwrap(),
            decoded,
            "{}",
            path.display()
        );
        assert_eq!(stream(&tokenizer, &plain, true), decoded, "{}", path.display());
    }
}

/// A prompt without pictures, as the reference's processor encodes it.
fn check_prompt(path: &Path, prompt: &str, expected: &Value) {
    let tokenizer = Tokenizer::from_folder(path).unwrap();
    assert_eq!(
        tokenizer.encode_prompt(prompt).unwrap(),
        ids(expected),
        "{}: {prompt}",
        path.display()
    );
}

#[test]
fn probes_agree_with_the_references() {
    for name in NAMES {
        let golden = read(folder(name).join("probes.json"));
        check_probes(&folder(name), &golden["probes"]);
        if let Some(prompt) = golden["prompt"]["text"].as_str() {
            check_prompt(&folder(name), prompt, &golden["prompt"]["ids"]);
        }
    }
}

#[test]
fn probes_of_other_checkpoints_agree() {
    let Some(root) = std::env::var_os("MONOCLE_ORACLE") else {
        return;
    };
    let mut checked = 0;
    for entry in std::fs::read_dir(root).unwrap() {
        let path = entry.unwrap().path();
        if path.join("golden.json").exists() {
            let golden = read(path.join("golden.json"));
            check_probes(&path, &golden["tokenizer_probes"]);
            if let Some(prompt) = golden["cases"]["text"]["prompt"].as_str() {
                check_prompt(&path, prompt, &golden["cases"]["text"]["input_ids"]);
            }
            checked += 1;
        }
    }
    assert!(checked > 0, "no checkpoint has a golden.json");
}

#[test]
fn special_and_end_tokens_come_from_the_files_beside() {
    // The values stand in the files themselves.
    let gemma = Tokenizer::from_folder(folder("gemma3")).unwrap();
    let generation = read(folder("gemma3").join("generation_config.json"));
    let mut expected = ids(&generation["eos_token_id"]);
    expected.sort_unstable();
    let found: Vec<u32> = gemma.end_tokens().iter().map(|end| end.id).collect();
    assert_eq!(found, expected);
    assert_eq!(gemma.special_tokens().bos.as_deref(), Some("<bos>"));
    assert!(gemma.is_special(gemma.token_id("<bos>").unwrap()));
    assert!(!gemma.is_special(gemma.encode("a", false).unwrap()[0]));

    let smol = Tokenizer::from_folder(folder("smolvlm")).unwrap();
    assert_eq!(smol.special_tokens().eos.as_deref(), Some("<end_of_utterance>"));
    assert_eq!(smol.special_tokens().other["global_image_token"], "<global-img>");
    assert!(
        smol.end_tokens()
            .iter()
            .any(|end| end.token == "<end_of_utterance>")
    );

    // As objects rather than strings.
    let unigram = Tokenizer::from_folder(folder("unigram")).unwrap();
    assert_eq!(unigram.special_tokens().eos.as_deref(), Some("</s>"));
    assert_eq!(unigram.end_tokens()[0].id, 2);
}

#[test]
fn a_missing_truncated_or_wrong_tokenizer_is_named() {
    let target = std::env::temp_dir().join(format!("monocle-text-bad-{}", std::process::id()));
    std::fs::create_dir_all(&target).unwrap();
    let error = Tokenizer::from_folder(&target).err().unwrap();
    assert!(matches!(error, TokenizerError::Missing { .. }), "{error}");
    let whole = std::fs::read(folder("smolvlm").join("tokenizer.json")).unwrap();
    for (bytes, words) in [
        (&whole[..whole.len() / 2], "EOF"),
        (b"", "EOF"),
        (b"{}", "no `model`"),
        (b"[1, 2]", "no `model`"),
        (br#"{"model": {"type": "BPE", "vocab": 3}}"#, "expected a map"),
        (b"\xff\xfe", "expected value"),
    ] {
        std::fs::write(target.join("tokenizer.json"), bytes).unwrap();
        match Tokenizer::from_folder(&target) {
            Err(error @ TokenizerError::Invalid { .. }) => {
                let text = error.to_string();
                assert!(text.contains("tokenizer.json") && text.contains(words), "{text}");
            }
            Err(error) => panic!("{error}"),
            Ok(_) => panic!("accepted {} bytes", bytes.len()),
        }
    }
    std::fs::remove_dir_all(&target).unwrap();
}

#[test]
fn broken_files_beside_the_tokenizer_become_notes() {
    let (target, _) = edited("smolvlm", "notes", |_| {});
    std::fs::write(target.join("tokenizer_config.json"), "{\"bos_token\": ").unwrap();
    std::fs::write(
        target.join("special_tokens_map.json"),
        "{\"bos_token\": \"<|im_start|>\"}",
    )
    .unwrap();
    std::fs::write(
        target.join("generation_config.json"),
        "{\"eos_token_id\": [7, 99999999]}",
    )
    .unwrap();
    let tokenizer = Tokenizer::from_folder(&target).unwrap();
    std::fs::remove_dir_all(&target).unwrap();
    assert_eq!(tokenizer.special_tokens().bos.as_deref(), Some("<|im_start|>"));
    assert_eq!(
        tokenizer
            .end_tokens()
            .iter()
            .map(|end| end.id)
            .collect::<Vec<_>>(),
        [7]
    );
    let notes = tokenizer.notes().join("\n");
    assert!(
        notes.contains("tokenizer_config.json") && notes.contains("99999999"),
        "{notes}"
    );
}

/// `Title:ĠStĠMichael'sĊĊ` was shown where a byte-level tokenizer had lost its decoder.
#[test]
fn byte_level_markers_are_never_shown_even_without_a_decoder() {
    let text = "Title: St Michael's\n\nÜber 中文 😀";
    let (target, tokenizer) = edited("qwen2_vl", "no-decoder", |json| json["decoder"] = Value::Null);
    std::fs::remove_dir_all(target).unwrap();
    let tokenizer = Arc::new(tokenizer.unwrap());
    assert!(
        tokenizer.notes()[0].contains("byte-level"),
        "{:?}",
        tokenizer.notes()
    );
    let ids = tokenizer.encode(text, false).unwrap();
    assert_eq!(stream(&tokenizer, &ids, true), text);
    assert_eq!(tokenizer.decode(&ids, true).unwrap(), text);
}

#[test]
fn sentencepiece_markers_are_never_shown_even_without_a_decoder() {
    let text = "a red disc\n中文 😀";
    let (target, tokenizer) = edited("gemma3", "no-sp-decoder", |json| json["decoder"] = Value::Null);
    std::fs::remove_dir_all(target).unwrap();
    let tokenizer = Arc::new(tokenizer.unwrap());
    let ids = tokenizer.encode(text, false).unwrap();
    assert_eq!(stream(&tokenizer, &ids, true), text);
}

/// Each decoder treats the first or the last token otherwise than the rest, which a stream must not be misled by.
#[test]
fn every_kind_of_decoder_streams_as_it_decodes() {
    let decoders = [
        json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": true}),
        json!({"type": "WordPiece", "prefix": "##", "cleanup": true}),
        json!({"type": "BPEDecoder", "suffix": "."}),
        json!({"type": "CTC", "pad_token": "▁", "word_delimiter_token": "e", "cleanup": true}),
        json!({"type": "Sequence", "decoders": [
            {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"},
            {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0}]}),
    ];
    for (number, decoder) in decoders.into_iter().enumerate() {
        let (target, tokenizer) = edited("unigram", &format!("decoder-{number}"), |json| {
            json["decoder"] = decoder.clone()
        });
        std::fs::remove_dir_all(target).unwrap();
        let tokenizer = Arc::new(tokenizer.unwrap());
        let ids = tokenizer
            .encode(
                " The image is  small. The colours are plain. See, a red disc. aé中 bee",
                false,
            )
            .unwrap();
        assert!(ids.len() > 12);
        assert_eq!(
            stream(&tokenizer, &ids, false),
            tokenizer.decode(&ids, false).unwrap(),
            "{decoder}"
        );
    }
}

#[test]
fn special_tokens_are_skipped_unless_kept() {
    let tokenizer = Arc::new(Tokenizer::from_folder(folder("smolvlm")).unwrap());
    let ids = tokenizer
        .encode("<|im_start|>disc<end_of_utterance>", false)
        .unwrap();
    let keep = vec![tokenizer.token_id("<end_of_utterance>").unwrap()];
    let mut decoder = StreamDecoder::new(
        tokenizer.clone(),
        StreamOptions {
            skip_special: true,
            keep: keep.clone(),
        },
    );
    let text: String = ids.iter().map(|id| decoder.push(*id).unwrap()).collect();
    assert_eq!(text, "disc<end_of_utterance>");
    assert_eq!(stream(&tokenizer, &ids, true), "disc");
    assert_eq!(
        stream(&tokenizer, &ids, false),
        "<|im_start|>disc<end_of_utterance>"
    );
}

#[test]
fn no_piece_holds_half_a_character() {
    for name in NAMES {
        let tokenizer = Arc::new(Tokenizer::from_folder(folder(name)).unwrap());
        let ids = tokenizer.encode("😀中é🚀", false).unwrap();
        let mut decoder = StreamDecoder::new(tokenizer.clone(), StreamOptions::default());
        let pieces: Vec<String> = ids.iter().map(|id| decoder.push(*id).unwrap()).collect();
        assert!(
            pieces.iter().all(|piece| !piece.contains('\u{FFFD}')),
            "{name}: {pieces:?}"
        );
        assert_eq!(pieces.concat().trim_start(), "😀中é🚀", "{name}");
        assert_eq!(decoder.finish(), "", "{name}");
        // Cut within the last character.
        let cut = stream(&tokenizer, &ids[..ids.len() - 1], false);
        assert!(
            cut.trim_start().starts_with("😀中é") && cut.ends_with('\u{FFFD}'),
            "{name}: {cut}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn streamed_text_equals_decoded_text(text in "([a-z]{1,6}|[ \\n\\t]|[é中文😀▁Ġ]|<0x4|\\PC){0,24}") {
        for name in NAMES {
            let tokenizer = Arc::new(Tokenizer::from_folder(folder(name)).unwrap());
            for special in [false, true] {
                let ids = tokenizer.encode(&text, special).unwrap();
                prop_assert_eq!(
                    stream(&tokenizer, &ids, special), tokenizer.decode(&ids, special).unwrap(), "{}", name
                );
            }
        }
    }

    /// Any ids at all, special and unknown ones among them: byte-level is equal even on broken characters; with byte
    /// fallback the characters that are whole are the same.
    #[test]
    fn any_ids_stream_as_they_decode(ids in prop::collection::vec(0u32..700, 0..40), skip: bool) {
        for name in NAMES {
            let tokenizer = Arc::new(Tokenizer::from_folder(folder(name)).unwrap());
            let streamed = stream(&tokenizer, &ids, skip);
            let decoded = tokenizer.decode(&ids, skip).unwrap();
            if decoded.contains('\u{FFFD}') && tokenizer.token_id("<0x41>").is_some() {
                continue;
            }
            prop_assert_eq!(streamed, decoded, "{}", name);
        }
    }

    /// A damaged file is refused or read, never a panic.
    #[test]
    fn damaged_tokenizers_do_not_panic(at in 0.0f64..1.0, byte: u8, case in 0u32..1_000_000) {
        let mut bytes = std::fs::read(folder("unigram").join("tokenizer.json")).unwrap();
        let at = (at * bytes.len() as f64) as usize;
        bytes[at] = byte;
        let target = std::env::temp_dir().join(format!("monocle-text-fuzz-{case}-{}", std::process::id()));
        std::fs::create_dir_all(&target).unwrap();
        std::fs::write(target.join("tokenizer.json"), &bytes).unwrap();
        if let Ok(tokenizer) = Tokenizer::from_folder(&target) {
            let _ = tokenizer.encode("a red disc", true).map(|ids| tokenizer.decode(&ids, true));
        }
        std::fs::remove_dir_all(&target).unwrap();
    }
}
