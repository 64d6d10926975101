//! Tokenizer files made of any bytes, and what must hold of each: it is refused in words, or turns texts to ids and back within bounds.
//! Property tests and a fuzz target share it.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use monocle_text::Tokenizer;
use serde_json::{Map, Value, json};

/// Ten times what the slowest known file takes for the texts below.
const PATIENCE: Duration = Duration::from_secs(10);
/// What a decoder may make of a token's bytes (`MAX_DECODED`), and of each token besides: a space, a mark, a character for a bad byte.
const DECODED: usize = 64;

/// Choices by bytes; when there are no more, the first of all.
struct Choices<'a>(&'a [u8]);

impl Choices<'_> {
    fn byte(&mut self) -> usize {
        let Some((first, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        usize::from(*first)
    }

    fn is(&mut self) -> bool {
        self.byte() % 2 == 1
    }

    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.byte() % all.len()]
    }

    fn list(&mut self, most: usize, mut each: impl FnMut(&mut Self) -> Value) -> Value {
        let count = self.byte() % (most + 1);
        (0..count).map(|_| each(self)).collect()
    }

    fn text(&mut self) -> Value {
        const TEXTS: [&str; 20] = [
            "a",
            " ",
            "",
            "i",
            "ii",
            "▁",
            "Ġ",
            "<s>",
            "</s>",
            "<unk>",
            "##a",
            "é",
            "\u{301}",
            "\n",
            "<0x41>",
            "日",
            "🦀",
            "'s",
            "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
            "\u{0}",
        ];
        json!(self.of(&TEXTS))
    }

    fn pattern(&mut self) -> Value {
        const REGEXES: [&str; 12] = [
            " ",
            "(x+x+)+y",
            "",
            ".",
            "\\s+",
            "\\p{L}+|\\p{N}{1,3}",
            "(?i:'s|'t)",
            "[",
            "^",
            "(?<=a)b|(?!a)",
            "(a|a)*$",
            "\\G.",
        ];
        match self.is() {
            true => json!({ "Regex": self.of(&REGEXES) }),
            false => json!({ "String": self.text() }),
        }
    }

    fn behavior(&mut self) -> Value {
        const ALL: [&str; 5] = [
            "Isolated",
            "Removed",
            "MergedWithPrevious",
            "MergedWithNext",
            "Contiguous",
        ];
        json!(self.of(&ALL))
    }

    fn scheme(&mut self) -> Value {
        json!(self.of(&["always", "first", "never"]))
    }

    fn normalizer(&mut self, depth: usize) -> Value {
        match self.byte() % 16 {
            0 => Value::Null,
            1 if depth > 0 => {
                json!({ "type": "Sequence", "normalizers": self.list(6, |c| c.normalizer(depth - 1)) })
            }
            2..=5 => json!({ "type": "Replace", "pattern": self.pattern(), "content": self.text() }),
            6 => json!({ "type": "Prepend", "prepend": self.text() }),
            7 => json!({ "type": "Strip", "strip_left": self.is(), "strip_right": self.is() }),
            8 => {
                json!({ "type": "BertNormalizer", "clean_text": self.is(), "handle_chinese_chars": self.is(), "strip_accents": self.is(), "lowercase": self.is() })
            }
            9 => {
                json!({ "type": "Precompiled", "precompiled_charsmap": self.of(&["", "AAAA", "/////w==", "AgAAAAAAAAAA", "gAEAAAA="]) })
            }
            10 => json!({ "type": "ByteLevel" }),
            other => json!({ "type": (["NFC", "NFD", "NFKC", "NFKD", "Lowercase"][other % 5]) }),
        }
    }

    fn pre_tokenizer(&mut self, depth: usize) -> Value {
        match self.byte() % 12 {
            0 => Value::Null,
            1 if depth > 0 => {
                json!({ "type": "Sequence", "pretokenizers": self.list(4, |c| c.pre_tokenizer(depth - 1)) })
            }
            2..=4 => {
                json!({ "type": "Split", "pattern": self.pattern(), "behavior": self.behavior(), "invert": self.is() })
            }
            5 => {
                json!({ "type": "Metaspace", "replacement": self.text(), "prepend_scheme": self.scheme(), "split": self.is() })
            }
            6 => {
                json!({ "type": "ByteLevel", "add_prefix_space": self.is(), "trim_offsets": self.is(), "use_regex": self.is() })
            }
            7 => json!({ "type": "CharDelimiterSplit", "delimiter": self.text() }),
            8 => json!({ "type": "Punctuation", "behavior": self.behavior() }),
            9 => json!({ "type": "Digits", "individual_digits": self.is() }),
            other => {
                json!({ "type": (["Whitespace", "WhitespaceSplit", "UnicodeScripts", "BertPreTokenizer"][other % 4]) })
            }
        }
    }

    fn post_processor(&mut self, depth: usize) -> Value {
        let pair = |c: &mut Self| json!([c.text(), c.byte()]);
        match self.byte() % 8 {
            0 | 1 => Value::Null,
            2 if depth > 0 => {
                json!({ "type": "Sequence", "processors": self.list(4, |c| c.post_processor(depth - 1)) })
            }
            3 => {
                json!({ "type": "ByteLevel", "add_prefix_space": self.is(), "trim_offsets": self.is(), "use_regex": self.is() })
            }
            4 => json!({ "type": "BertProcessing", "sep": pair(self), "cls": pair(self) }),
            5 => {
                json!({ "type": "RobertaProcessing", "sep": pair(self), "cls": pair(self), "trim_offsets": self.is(), "add_prefix_space": self.is() })
            }
            _ => {
                let piece = |c: &mut Self| match c.is() {
                    true => json!({ "Sequence": { "id": c.of(&["A", "B"]), "type_id": c.byte() } }),
                    false => json!({ "SpecialToken": { "id": c.text(), "type_id": 0 } }),
                };
                let (single, pair) = (self.list(4, piece), self.list(4, piece));
                let mut special = Map::new();
                for _ in 0..self.byte() % 4 {
                    let id = self.text();
                    let (ids, tokens) = (self.list(3, |c| json!(c.byte())), self.list(3, Self::text));
                    let name = id.as_str().unwrap_or_default().to_owned();
                    special.insert(name, json!({ "id": id, "ids": ids, "tokens": tokens }));
                }
                json!({ "type": "TemplateProcessing", "single": single, "pair": pair, "special_tokens": special })
            }
        }
    }

    fn decoder(&mut self, depth: usize) -> Value {
        match self.byte() % 11 {
            0 => Value::Null,
            1 | 2 if depth > 0 => {
                json!({ "type": "Sequence", "decoders": self.list(6, |c| c.decoder(depth - 1)) })
            }
            3 | 4 => json!({ "type": "Replace", "pattern": self.pattern(), "content": self.text() }),
            5 => json!({ "type": "ByteFallback" }),
            6 => json!({ "type": "Fuse" }),
            7 => {
                json!({ "type": "Strip", "content": self.text(), "start": self.byte() % 3, "stop": self.byte() % 3 })
            }
            8 => {
                json!({ "type": "Metaspace", "replacement": self.text(), "prepend_scheme": self.scheme(), "split": self.is() })
            }
            9 => json!({ "type": "WordPiece", "prefix": self.text(), "cleanup": self.is() }),
            _ => match self.byte() % 3 {
                0 => json!({ "type": "ByteLevel" }),
                1 => json!({ "type": "BPEDecoder", "suffix": self.text() }),
                _ => {
                    json!({ "type": "CTC", "pad_token": self.text(), "word_delimiter_token": self.text(), "cleanup": self.is() })
                }
            },
        }
    }

    fn model(&mut self) -> Value {
        let mut vocabulary = Map::new();
        for _ in 0..self.byte() % 24 {
            let token = self.text();
            let id = match self.byte() {
                255 => u64::from(u32::MAX),
                254 => u64::MAX,
                _ => vocabulary.len() as u64,
            };
            vocabulary.insert(token.as_str().unwrap_or_default().to_owned(), json!(id));
        }
        if self.is() {
            for byte in 0..=255 {
                vocabulary.insert(format!("<0x{byte:02X}>"), json!(vocabulary.len()));
            }
        }
        let unknown = self.of(&["<unk>", "a", "nowhere"]);
        match self.byte() % 4 {
            0 => {
                json!({ "type": "BPE", "vocab": vocabulary, "merges": self.list(6, |c| json!([c.text(), c.text()])),
                "dropout": if self.byte() == 255 { json!(0.5) } else { Value::Null }, "unk_token": unknown,
                "continuing_subword_prefix": if self.is() { self.text() } else { Value::Null },
                "end_of_word_suffix": if self.is() { self.text() } else { Value::Null },
                "fuse_unk": self.is(), "byte_fallback": self.is(), "ignore_merges": self.is() })
            }
            1 => json!({ "type": "WordLevel", "vocab": vocabulary, "unk_token": unknown }),
            2 => json!({ "type": "WordPiece", "vocab": vocabulary, "unk_token": unknown,
                "continuing_subword_prefix": self.text(), "max_input_chars_per_word": self.byte() }),
            _ => {
                let score = |c: &mut Self| c.of(&[0.0, -1.0, -1e30, 1e30, 0.5]);
                let pieces: Vec<Value> = vocabulary
                    .keys()
                    .map(|token| json!([token, score(self)]))
                    .collect();
                json!({ "type": "Unigram", "vocab": pieces, "unk_id": self.byte() % 32, "byte_fallback": self.is() })
            }
        }
    }

    fn added_token(&mut self) -> Value {
        let id = match self.byte() {
            255 => json!(u32::MAX),
            254 => json!(-1),
            id => json!(id),
        };
        json!({ "id": id, "content": self.text(), "single_word": self.is(), "lstrip": self.is(), "rstrip": self.is(),
            "normalized": self.is(), "special": self.is() })
    }

    fn file(&mut self) -> Value {
        json!({
            "version": "1.0",
            "truncation": if self.byte() == 255 { json!({ "direction": "Left", "max_length": self.byte(), "strategy": "LongestFirst", "stride": self.byte() }) } else { Value::Null },
            "padding": if self.byte() == 255 { json!({ "strategy": { "Fixed": 4_000_000_000_u32 }, "direction": "Left", "pad_to_multiple_of": self.byte(), "pad_id": 0, "pad_type_id": 0, "pad_token": "a" }) } else { Value::Null },
            "added_tokens": self.list(6, Self::added_token),
            "normalizer": self.normalizer(2),
            "pre_tokenizer": self.pre_tokenizer(2),
            "post_processor": self.post_processor(2),
            "decoder": self.decoder(2),
            "model": self.model(),
        })
    }
}

/// A file made of the bytes: by its parts, or of a part's place only.
fn made(bytes: &[u8]) -> BTreeMap<String, String> {
    let mut choices = Choices(bytes);
    let file = choices.file();
    let mut text = file.to_string().into_bytes();
    // What is left changes the text itself, three bytes a change.
    for change in choices.0.chunks_exact(3) {
        let at = usize::from(u16::from_le_bytes([change[0], change[1]])) % text.len();
        text[at] = change[2];
    }
    let text = String::from_utf8_lossy(&text).into_owned();
    BTreeMap::from([("tokenizer.json".to_owned(), text)])
}

/// Opens a tokenizer that is made of the bytes, and uses it.
pub fn check(bytes: &[u8]) -> Result<(), String> {
    let texts = [
        "",
        "a",
        "iii ii i",
        "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx!",
        "a red disc, é日🦀'S\u{301}\n<s><0x41>\u{0}",
    ];
    let started = Instant::now();
    let files = made(bytes);
    let Ok(tokenizer) = Tokenizer::of_texts(Path::new("made/tokenizer.json"), &files) else {
        return Ok(());
    };
    let long = " a".repeat(2000);
    for text in texts.into_iter().chain([long.as_str()]) {
        for add_special_tokens in [false, true] {
            let Ok(ids) = tokenizer.encode(text, add_special_tokens) else {
                continue;
            };
            // A normaliser may make a text four times as long, and a mebibyte; a byte may be a token; a template takes a text twice.
            if ids.len() > 2 * (4 * text.len() + (1 << 20)) + 1024 {
                return Err(format!("{} tokens of {} bytes", ids.len(), text.len()));
            }
            let spelled: usize = ids
                .iter()
                .map(|id| tokenizer.token(*id).map_or(0, |token| token.len()) + 4)
                .sum();
            if let Ok(decoded) = tokenizer.decode(&ids, false)
                && decoded.len() > DECODED * spelled + 4
            {
                return Err(format!("{} bytes of tokens of {spelled}", decoded.len()));
            }
        }
    }
    let bytes = tokenizer.token_bytes();
    if bytes.len() > 1 << 20 {
        return Err(format!("{} tokens in all", bytes.len()));
    }
    match started.elapsed() {
        long if long > PATIENCE => Err(format!("it took {long:?}")),
        _ => Ok(()),
    }
}
