//! Ids of a text, a part after another.
//!
//! The library keeps, for each word of a text and each of its bytes, where it came from: up to six hundred bytes for each of a text, and texts come
//! from templates. This does the library's steps in the same order, but takes each word as soon as it is cut ([`super::cutter`]), and gives the
//! normaliser a part of the text at a time. Such a part ends between a letter or digit and a sign, a space or a line's end, where no normaliser
//! that is [local](super::normaliser::Normaliser::is_local) sees both and no added token begins, ends or goes on; what two parts become is one
//! text again before it is cut into words. Or it ends between two added tokens that nothing else can be read as. So the ids are the library's.

use std::collections::{BTreeSet, HashSet};

use tokenizers::{AddedToken, Encoding, OffsetReferential, OffsetType, Result};

use super::Inner;
use super::guard::{Stop, look, stop};
use super::normaliser;

/// Bytes of a part, if the text has a place to cut there.
const PART: usize = 32 << 10;
/// Bytes of a part at most, and of a text that cannot be cut.
const LONGEST: usize = 128 << 10;
/// What a text may be cut before.
const BREAKS: [char; 24] = [
    '.', ',', ' ', '\n', ';', ':', '!', '?', '"', '(', ')', '=', '+', '-', '*', '/', '。', '，', '、', '！',
    '？', '；', '：', '”',
];
/// Stands for the text where the library puts tokens around it.
const TEXT: u32 = u32::MAX;
/// How often a file can have it there: see [`super::guard::excess`].
const TEXTS: usize = 2;

/// The ids of a text, with what the library puts around them or without.
pub fn ids(inner: &Inner, text: &str, add_special_tokens: bool) -> Result<Vec<u32>> {
    let ids = of_text(inner, text, PART)?;
    let marked: Encoding = [(TEXT, String::new(), (0, 0), None, 0)].into_iter().collect();
    let around = inner.post_process(marked, None, add_special_tokens)?;
    let around = around.get_ids();
    match around {
        [TEXT] => Ok(ids),
        _ if around.iter().filter(|id| **id == TEXT).count() > TEXTS => {
            Err("its `post_processor` repeats a text".into())
        }
        _ => Ok(around
            .iter()
            .flat_map(|id| match id {
                &TEXT => ids.as_slice(),
                id => std::slice::from_ref(id),
            })
            .copied()
            .collect()),
    }
}

/// The ids of a text that is normalised in parts of at least so many bytes.
fn of_text(inner: &Inner, text: &str, part: usize) -> Result<Vec<u32>> {
    let (vocabulary, normaliser) = (inner.get_added_vocabulary(), inner.get_normalizer());
    let mut ids = Vec::new();
    // What is between two added tokens, as far as it is normalised, and whether anything is before it.
    let (mut open, mut first) = (String::new(), true);
    let mut places = None;
    let mut at = 0;
    while at < text.len() {
        look();
        let rest = &text[at..];
        let end = match rest.len() <= part {
            true => rest.len(),
            false => places.get_or_insert_with(|| Places::of(inner)).after(rest, part),
        };
        if end > LONGEST {
            stop(Stop::Word);
        }
        match at {
            0 => normaliser::begin(end),
            _ => normaliser::go_on(end),
        }
        let parts = vocabulary.extract_and_normalize(normaliser, &rest[..end]);
        let parts = parts.get_splits(OffsetReferential::Original, OffsetType::None);
        for (number, (words, (from, _), tokens)) in parts.into_iter().enumerate() {
            if let Some(tokens) = tokens {
                words_of(inner, &open, first, &mut ids)?;
                open.clear();
                ids.extend(tokens.iter().map(|token| token.id));
            } else if at > 0 && number == 0 {
                open.push_str(words);
            } else {
                words_of(inner, &open, first, &mut ids)?;
                open.clear();
                open.push_str(words);
                first = at == 0 && from == 0;
            }
        }
        at += end;
    }
    words_of(inner, &open, first, &mut ids)?;
    Ok(ids)
}

/// Adds the ids of a text without added tokens.
fn words_of(inner: &Inner, text: &str, first: bool, ids: &mut Vec<u32>) -> Result<()> {
    let model = inner.get_model();
    match inner.get_pre_tokenizer() {
        Some(cutter) => cutter.each(text, first, &mut |word| model.ids(word, ids)),
        None => model.ids(text, ids),
    }
}

/// Where a text can be cut.
struct Places<'a> {
    inner: &'a Inner,
    local: bool,
    /// Those of [`BREAKS`] that no added token has.
    breaks: Vec<char>,
    /// What added tokens end with.
    ends: HashSet<char>,
    tokens: Tokens,
}

impl<'a> Places<'a> {
    fn of(inner: &'a Inner) -> Self {
        let added = inner.get_added_vocabulary().get_added_tokens_decoder();
        let (mut held, mut ends) = (HashSet::new(), HashSet::new());
        for token in added.values() {
            held.extend(token.content.chars());
            let last = token.content.chars().last();
            // Those that are looked for in normalised text may be written in another case there.
            ends.extend(last.into_iter().flat_map(char::to_lowercase));
            ends.extend(last.into_iter().flat_map(char::to_uppercase));
        }
        // Spaces may become this, and wide signs the others.
        let same = |char: char| match char {
            ' ' => '▁',
            '，' => ',',
            '！' => '!',
            '？' => '?',
            '；' => ';',
            '：' => ':',
            char => char,
        };
        let free = |char: &char| !held.contains(char) && !held.contains(&same(*char));
        Self {
            local: inner
                .get_normalizer()
                .is_none_or(normaliser::Normaliser::is_local),
            breaks: BREAKS.into_iter().filter(free).collect(),
            ends,
            tokens: Tokens::of(added.values()),
            inner,
        }
    }

    /// Where a part of a text ends that has at least so many bytes, if it can end before the text.
    fn after(&self, text: &str, least: usize) -> usize {
        let normaliser = self.inner.get_normalizer();
        let mut before = None;
        for (at, char) in text.char_indices() {
            let fits = |before: char| {
                self.local
                    && is_plain(before)
                    && self.breaks.contains(&char)
                    && !self.ends.contains(&before)
                    && !normaliser.is_some_and(|normaliser| normaliser.may_cross(before, char))
            };
            let is_place = |before| fits(before) || self.tokens.meet(text, at, [before, char]);
            if at >= least && before.is_some_and(is_place) {
                return at;
            }
            if at > LONGEST {
                break;
            }
            before = Some(char);
        }
        text.len()
    }
}

/// Added tokens that are found wherever they stand in a text, and stay whole: their first sign is no later sign of any, so that none begins before
/// and goes on into them.
struct Tokens {
    texts: HashSet<String>,
    lengths: BTreeSet<usize>,
    /// Signs side by side in any added token.
    pairs: HashSet<[char; 2]>,
}

impl Tokens {
    fn of<'a>(added: impl Iterator<Item = &'a AddedToken> + Clone) -> Self {
        let texts = added.clone().map(|token| &token.content);
        let pairs: HashSet<[char; 2]> = texts
            .flat_map(|text| text.chars().zip(text.chars().skip(1)).map(|(a, b)| [a, b]))
            .collect();
        let later: HashSet<char> = pairs.iter().map(|[_, later]| *later).collect();
        let stays = |token: &&AddedToken| {
            let is_plain = !token.normalized && !token.single_word && !token.lstrip && !token.rstrip;
            let first = token.content.chars().next();
            is_plain && first.is_some_and(|first| !later.contains(&first))
        };
        let texts: HashSet<String> = added.filter(stays).map(|token| token.content.clone()).collect();
        Self {
            lengths: texts.iter().map(String::len).collect(),
            texts,
            pairs,
        }
    }

    /// Whether one ends and another begins here, between these two signs, and none goes on.
    fn meet(&self, text: &str, at: usize, signs: [char; 2]) -> bool {
        if self.pairs.contains(&signs) {
            return false;
        }
        let (before, behind) = text.split_at(at);
        let has = |part: Option<&str>| part.is_some_and(|part| self.texts.contains(part));
        let ends = |length: &usize| {
            has(before
                .len()
                .checked_sub(*length)
                .and_then(|from| before.get(from..)))
        };
        let begins = |length: &usize| has(behind.get(..*length));
        self.lengths.iter().any(ends) && self.lengths.iter().any(begins)
    }
}

/// Letters and digits that nothing behind them changes but marks.
fn is_plain(char: char) -> bool {
    matches!(char, '0'..='9' | 'A'..='Z' | 'a'..='z' | 'А'..='я' | 'ぁ'..='ゖ' | 'ァ'..='ヺ' | '一'..='鿿' | '가'..='힣')
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};
    use std::sync::LazyLock;

    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::Tokenizer;
    use crate::tokenizer::guard::guarded;

    const NAMES: [&str; 5] = ["gemma3", "llava", "qwen2_vl", "smolvlm", "unigram"];

    fn oracle() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/oracle/tokenizers")
    }

    fn file(name: &str) -> Value {
        let path = oracle().join(name).join("tokenizer.json");
        serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
    }

    fn made(file: &Value) -> Tokenizer {
        let texts = [("tokenizer.json".to_owned(), file.to_string())];
        Tokenizer::of_texts(Path::new("test"), &texts.into()).unwrap()
    }

    fn tokenizers() -> &'static [(String, Tokenizer)] {
        static ALL: LazyLock<Vec<(String, Tokenizer)>> = LazyLock::new(all);
        &ALL
    }

    /// Those of the oracle, and such as have what these lack.
    fn all() -> Vec<(String, Tokenizer)> {
        let mut all: Vec<_> = NAMES.map(|name| (name.to_owned(), made(&file(name)))).into();
        let step = |kind: &str| json!({"type": kind});
        let replace = |pattern: Value, content: &str| json!({"type": "Replace", "pattern": pattern, "content": content});
        let metaspace = |scheme: &str, split: bool| json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": split});
        let edits = [
            ("unigram", "pre_tokenizer", metaspace("first", true)),
            ("unigram", "pre_tokenizer", metaspace("always", true)),
            ("llava", "pre_tokenizer", metaspace("never", false)),
            (
                "llava",
                "normalizer",
                json!({"type": "Sequence", "normalizers": [
                {"type": "Prepend", "prepend": "▁"}, replace(json!({"String": " "}), "▁"), replace(json!({"String": "▁▁"}), "▁")]}),
            ),
            (
                "smolvlm",
                "normalizer",
                json!({"type": "Sequence", "normalizers": [
                step("NFKC"), step("Lowercase"), replace(json!({"Regex": r"\s+"}), " "), step("StripAccents")]}),
            ),
            (
                "smolvlm",
                "normalizer",
                json!({"type": "Strip", "strip_left": true, "strip_right": true}),
            ),
            (
                "smolvlm",
                "pre_tokenizer",
                json!({"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true}),
            ),
        ];
        for (name, part, value) in edits {
            let mut file = file(name);
            let told = format!("{name} with {value}");
            file[part] = value;
            all.push((told, made(&file)));
        }
        let mut file = file("qwen2_vl");
        for (id, content, marks) in [
            (900_000, "cat", [true, false, false]),
            (900_001, "[x]", [false, true, true]),
            (900_002, " end", [false, false, true]),
        ] {
            let id = id - 900_000 + 2_000_000;
            let [single_word, lstrip, rstrip] = marks;
            let token = json!({"id": id, "content": content, "single_word": single_word, "lstrip": lstrip,
                "rstrip": rstrip, "normalized": true, "special": false});
            file["added_tokens"].as_array_mut().unwrap().push(token);
        }
        all.push(("with added tokens".to_owned(), made(&file)));
        all.extend(of_layouts());
        all
    }

    /// Those of files in other layouts: SentencePiece's own rules, ranks, vocabularies with merges.
    fn of_layouts() -> Vec<(String, Tokenizer)> {
        let layouts = oracle().join("layouts");
        let cases: Vec<Value> =
            serde_json::from_slice(&std::fs::read(layouts.join("cases.json")).unwrap()).unwrap();
        let mut all = Vec::new();
        for case in cases {
            let name = case["name"].as_str().unwrap().to_owned();
            let folder = std::env::temp_dir().join(format!("monocle-pieces-{}-{name}", std::process::id()));
            std::fs::create_dir_all(&folder).unwrap();
            for (name, source) in case["copy"].as_object().unwrap() {
                std::fs::copy(layouts.join(source.as_str().unwrap()), folder.join(name)).unwrap();
            }
            for (name, value) in case["files"].as_object().unwrap() {
                std::fs::write(folder.join(name), value.to_string()).unwrap();
            }
            // Some need to be told more.
            all.extend(Tokenizer::from_folder(&folder).ok().map(|made| (name, made)));
            std::fs::remove_dir_all(folder).unwrap();
        }
        assert!(all.len() > 5, "{}", all.len());
        all
    }

    /// The library's own way is the reference.
    fn agree(name: &str, tokenizer: &Tokenizer, text: &str) {
        for around in [true, false] {
            let library = guarded(text.len(), || tokenizer.inner.encode_fast(text, around)).unwrap();
            let library = library.unwrap().get_ids().to_vec();
            assert_eq!(
                tokenizer.encode(text, around).unwrap(),
                library,
                "{name}: {text:?}"
            );
        }
        let library = guarded(text.len(), || tokenizer.inner.encode_fast(text, false)).unwrap();
        for part in [1, 7, 30] {
            let ours = guarded(text.len(), || of_text(&tokenizer.inner, text, part)).unwrap();
            assert_eq!(
                ours.unwrap(),
                library.as_ref().unwrap().get_ids(),
                "{name}, in parts of {part}: {text:?}"
            );
        }
    }

    #[test]
    fn texts_in_parts_have_the_librarys_ids() {
        let texts = [
            "",
            " ",
            "The quick brown fox, don't you 12345 see?\n\n  Yes\t it's  \r\n end   ",
            "<|im_start|>user\nWhat is on <image> this  picture.cat . cat, a cat [x]  [x] the end  ends.",
            "中文字符，和かな。 123456 ñandú é.e\u{301} ﬁ；½ x\u{301}.\u{301}",
            "<s> a</s> b <s>c.<s>. d  </s>",
            "word word word word word word word word word\nword\n\nword .  word",
            "f(x)=a+b*c/d-e;\n\tif (a) { return \"x\"; }",
            "<s><s></s><image><image><|im_start|><|im_start|>x<|im_end|><|image_pad|><|image_pad|> <|image_pad|>",
        ];
        for (name, tokenizer) in tokenizers() {
            for text in texts {
                agree(name, tokenizer, text);
            }
        }
    }

    #[test]
    fn long_words_are_cut_where_tokens_allow() {
        for (name, tokenizer) in tokenizers() {
            let text = "It was the best of times,  it was the worst of times.\n\n".repeat(800);
            agree(name, tokenizer, &text[..40_000]);
            // `t.` and `e.` are tokens of some: there is no place between.
            let text = "cat.nice.".repeat(4000);
            let library = guarded(text.len(), || tokenizer.inner.encode_fast(text.as_str(), true)).unwrap();
            let ours = tokenizer.encode(&text, true).unwrap();
            assert_eq!(ours, library.unwrap().get_ids(), "{name}");
        }
    }

    #[test]
    fn what_cannot_be_cut_is_no_longer_than_a_part_may_be() {
        let smolvlm = made(&file("smolvlm"));
        for text in ["x".repeat(LONGEST + 1), "_-".repeat(LONGEST)] {
            let refused = smolvlm.encode(&text, true).unwrap_err().to_string();
            assert!(refused.contains("too long for the tokenizer"), "{refused}");
        }
        assert!(smolvlm.encode(&"word ".repeat(LONGEST), true).is_ok());
        // A picture's places, as many as there may be.
        let places = smolvlm.encode(&"<image>".repeat(LONGEST), true).unwrap();
        assert!(places.len() == LONGEST && places.iter().all(|id| *id == places[0]));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn any_text_in_parts_has_the_librarys_ids(
            words in prop::collection::vec(prop::sample::select(vec![
                "a", "B", "the", " ", "  ", "\n", "\r\n", ".", ",", "'s", "'", "<s>", "</s>", "<image>", "<image><image>", "12", "é",
                "\u{301}", "中", "，", "。", "\t", "x", "▁", "_", "(", "=", "ﬁ", "cat", "[x]", " end", "İ", "ß", "한", "국",
            ]), 0..40)
        ) {
            let text = words.concat();
            for (name, tokenizer) in tokenizers() {
                agree(name, tokenizer, &text);
            }
        }
    }
}
