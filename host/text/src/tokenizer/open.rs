//! From a model's folder to a tokenizer: which files there are, and what is made of them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::added_tokens::{self, Declared};
use super::classes::{BytePairs, classes, named_class};
use super::error::TokenizerError;
use super::files::{read, read_json, too_many_values};
use super::guard::{excess, guarded};
use super::special::{SpecialTokens, named_tokens};
use super::tokenizer_file::TokenizerFile;
use super::{Inner, TokenizerRules};
use super::{legacy, sentencepiece, tiktoken};

/// What was read.
pub struct Opened {
    /// The library's tokenizer.
    pub inner: Inner,
    /// The names of special tokens.
    pub special: SpecialTokens,
}

/// The files that a tokenizer is made of, the best first.
enum Layout {
    /// `tokenizer.json`: nothing is left to say.
    Json,
    /// A file of ranks.
    Ranks(PathBuf),
    /// A SentencePiece model.
    SentencePiece(PathBuf),
    /// `vocab.json` and `merges.txt`.
    VocabularyAndMerges,
}

/// The usual name of a file of ranks.
const RANKS: &str = "tiktoken.model";

/// The files beside the vocabulary.
struct Beside {
    tokenizer_config: Value,
    special_tokens_map: Value,
    added_tokens: Value,
    config: Value,
}

impl Beside {
    fn read(folder: &Path, notes: &mut Vec<String>) -> Result<Self, TokenizerError> {
        let json = |name: &str, notes: &mut Vec<String>| -> Result<Value, TokenizerError> {
            Ok(read_json(&folder.join(name), notes)?.unwrap_or_default())
        };
        Ok(Self {
            tokenizer_config: json("tokenizer_config.json", notes)?,
            special_tokens_map: json("special_tokens_map.json", notes)?,
            added_tokens: json("added_tokens.json", notes)?,
            // Read for its `tokenizer_class`; what is wrong with it is told by those who need the rest.
            config: json("config.json", &mut Vec::new())?,
        })
    }

    /// The class, where one is named.
    fn class(&self) -> Option<&str> {
        named_class(&self.tokenizer_config, &self.config)
    }

    /// The special tokens' names. The older map is asked first where the newer table is missing, as transformers does.
    fn special(&self, notes: &mut Vec<String>) -> SpecialTokens {
        let config = ("tokenizer_config.json", &self.tokenizer_config);
        let map = ("special_tokens_map.json", &self.special_tokens_map);
        match self.tokenizer_config["added_tokens_decoder"].is_object() {
            true => named_tokens(&[config, map], notes),
            false => named_tokens(&[map, config], notes),
        }
    }

    fn declared(&self, special: &SpecialTokens, notes: &mut Vec<String>) -> Vec<Declared> {
        added_tokens::declared(
            &self.tokenizer_config,
            &self.special_tokens_map,
            &self.added_tokens,
            special,
            notes,
        )
    }
}

/// Makes the tokenizer of a folder.
pub fn open(
    folder: &Path,
    rules: &TokenizerRules,
    notes: &mut Vec<String>,
) -> Result<Opened, TokenizerError> {
    let found = layout(folder)?;
    let beside = Beside::read(folder, notes)?;
    let layout = match found {
        Layout::Json => trusted_ranks(folder, rules, &beside, notes)?.map_or(Layout::Json, Layout::Ranks),
        layout => layout,
    };
    if rules.pattern.is_some() && !matches!(layout, Layout::Ranks(_)) {
        notes.push(
            "the manifest's `tokenizer.pattern` was not used: it is for tokenizers that are files of ranks, and this one is not"
                .to_owned(),
        );
    }
    let mut special = beside.special(notes);
    let (inner, path) = match layout {
        Layout::Json => {
            let path = folder.join("tokenizer.json");
            let bytes = read(&path)?.unwrap_or_default();
            let mut inner = parse(&bytes, &path)?;
            let declared = beside.declared(&special, notes);
            add(&mut inner, declared, notes, &path)?;
            (inner, path)
        }
        Layout::VocabularyAndMerges => {
            let path = folder.join("vocab.json");
            let class = byte_pairs_class(folder, &beside)?;
            name(
                &mut special,
                class
                    .names
                    .iter()
                    .map(|(key, token)| (key.as_str(), token.as_str())),
                &beside,
            );
            let mut inner = vocabulary_and_merges(folder, class, &beside)?;
            let declared = beside.declared(&special, notes);
            add(&mut inner, declared, notes, &path)?;
            let around =
                [&class.before, &class.after].map(|name| name.as_deref().and_then(|name| special.get(name)));
            surround(
                &mut inner,
                around_or_flags(around, &beside, &special, false),
                &path,
            )?;
            notes.push(format!(
                "the tokenizer was made of `vocab.json` and `merges.txt`, as class `{}` does",
                beside.class().unwrap_or_default()
            ));
            (inner, path)
        }
        Layout::Ranks(path) => {
            let (tokens, pattern) = (rank_file(&path)?, pattern(folder, &path, rules, &beside)?);
            let file = tiktoken::tokenizer_file(&tokens, &pattern.text);
            let pattern = pattern.from;
            // The tokens are in order here: what the library still refuses is the pattern.
            let mut inner = make(file, &path).map_err(|error| match error {
                TokenizerError::Invalid { path, reason } => TokenizerError::Invalid {
                    path,
                    reason: format!("{reason} (text is cut by {pattern})"),
                },
                error => error,
            })?;
            let declared = beside.declared(&special, notes);
            add(&mut inner, declared, notes, &path)?;
            surround(
                &mut inner,
                around_or_flags([None; 2], &beside, &special, false),
                &path,
            )?;
            notes.push(format!(
                "the tokenizer was made of ranks, `{}`, cut by {pattern}",
                shown(&path)
            ));
            (inner, path)
        }
        Layout::SentencePiece(path) => {
            let inner = sentencepiece(folder, &path, &beside, &mut special, notes)?;
            (inner, path)
        }
    };
    check(&inner, &path)?;
    Ok(Opened { inner, special })
}

/// The pieces of a SentencePiece model that lay in a GGUF file: see [`sentencepiece::of_pieces`].
const PIECES: &str = "tokenizer.pieces.json";

/// Makes the tokenizer of the texts of files.
pub fn of_texts(
    path: &Path,
    texts: &BTreeMap<String, String>,
    notes: &mut Vec<String>,
) -> Result<Opened, TokenizerError> {
    let json = |name: &str| {
        let text = texts.get(name)?;
        serde_json::from_str(text).ok()
    };
    let beside = Beside {
        tokenizer_config: json("tokenizer_config.json").unwrap_or_default(),
        special_tokens_map: json("special_tokens_map.json").unwrap_or_default(),
        added_tokens: json("added_tokens.json").unwrap_or_default(),
        config: json("config.json").unwrap_or_default(),
    };
    let special = beside.special(notes);
    if let Some(pieces) = texts.get(PIECES) {
        let table = beside.declared(&special, &mut Vec::new());
        let made = guarded(0, || sentencepiece::of_pieces(pieces, &table))
            .and_then(|made| made)
            .map_err(|reason| TokenizerError::Invalid {
                path: path.to_owned(),
                reason,
            })?;
        let declared = made.fit(beside.declared(&special, notes));
        let mut inner = made.inner;
        add(&mut inner, declared, notes, path)?;
        surround(
            &mut inner,
            around_or_flags([None; 2], &beside, &special, true),
            path,
        )?;
        check(&inner, path)?;
        return Ok(Opened { inner, special });
    }
    let text = texts.get("tokenizer.json").map_or("", String::as_str);
    let mut inner = parse(text.as_bytes(), path)?;
    add(&mut inner, beside.declared(&special, notes), notes, path)?;
    check(&inner, path)?;
    Ok(Opened { inner, special })
}

/// Looks at what files there are.
fn layout(folder: &Path) -> Result<Layout, TokenizerError> {
    let has = |name: &str| std::fs::symlink_metadata(folder.join(name)).is_ok();
    if has("tokenizer.json") {
        return Ok(Layout::Json);
    }
    let names = names(folder)?;
    let ending = |end: &str| -> Vec<&String> { names.iter().filter(|name| name.ends_with(end)).collect() };
    let ranks = ending(".tiktoken");
    let one = |list: &[&String]| match list {
        [name] => Some(folder.join(name)),
        _ => None,
    };
    if has(RANKS) {
        return Ok(Layout::Ranks(folder.join(RANKS)));
    }
    if let Some(path) = one(&ranks) {
        return Ok(Layout::Ranks(path));
    }
    let known = [
        "tokenizer.model",
        "spm.model",
        "spiece.model",
        "sentencepiece.bpe.model",
    ];
    let model = known.iter().find(|name| has(name)).map(|name| folder.join(name));
    if let Some(path) = model.or_else(|| one(&ending(".model"))) {
        let bytes = read(&path)?.unwrap_or_default();
        return Ok(match tiktoken::is_ranks(&bytes) {
            true => Layout::Ranks(path),
            false => Layout::SentencePiece(path),
        });
    }
    if has("vocab.json") && has("merges.txt") {
        return Ok(Layout::VocabularyAndMerges);
    }
    let found = [
        ("tekken.json", "there is `tekken.json`, which is not read"),
        (
            "vocab.json",
            "there is `vocab.json`, which needs `merges.txt` beside it",
        ),
        (
            "merges.txt",
            "there is `merges.txt`, which needs `vocab.json` beside it",
        ),
        ("vocab.txt", "there is `vocab.txt`, which is not read"),
    ];
    let several =
        (ranks.len() > 1).then(|| format!("there are {} files of ranks, and one is needed", ranks.len()));
    let found = found
        .iter()
        .find(|(name, _)| has(name))
        .map(|(_, words)| (*words).to_owned());
    Err(TokenizerError::Missing {
        folder: folder.to_owned(),
        found: several.or(found),
    })
}

/// The ranks beside a `tokenizer.json` that numbers special tokens otherwise than `tokenizer_config.json`. Some converters write that file anew and
/// close the gaps between the ids of a tokenizer that is a file of ranks; the rows of the embedding stay where they were.
fn trusted_ranks(
    folder: &Path,
    rules: &TokenizerRules,
    beside: &Beside,
    notes: &mut Vec<String>,
) -> Result<Option<PathBuf>, TokenizerError> {
    let (ranks, made) = (folder.join(RANKS), folder.join("tokenizer.json"));
    if std::fs::symlink_metadata(&ranks).is_err() || pattern(folder, &ranks, rules, beside).is_err() {
        return Ok(None);
    }
    let bytes = read(&made)?.unwrap_or_default();
    let inner = parse(&bytes, &made)?;
    let special = beside.special(&mut Vec::new());
    let declared = beside.declared(&special, &mut Vec::new());
    let otherwise = declared.iter().find_map(|declared| {
        let text = &declared.token.content;
        let (own, declared) = (inner.token_to_id(text)?, declared.id?);
        (own != declared)
            .then(|| format!("`{text}` has id {own} there and {declared} in `tokenizer_config.json`"))
    });
    Ok(otherwise.map(|otherwise| {
        notes.push(format!(
            "`tokenizer.json` was not used: {otherwise}, and `{RANKS}` lies beside them"
        ));
        ranks
    }))
}

/// The names of a folder's entries, in order.
fn names(folder: &Path) -> Result<Vec<String>, TokenizerError> {
    let unreadable = |source: std::io::Error| match source.kind() {
        std::io::ErrorKind::NotFound => TokenizerError::Missing {
            folder: folder.to_owned(),
            found: Some("there is no such folder".to_owned()),
        },
        _ => TokenizerError::Unreadable {
            path: folder.to_owned(),
            source,
        },
    };
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        names.push(
            entry
                .map_err(unreadable)?
                .file_name()
                .to_string_lossy()
                .into_owned(),
        );
    }
    names.sort_unstable();
    Ok(names)
}

/// Makes the tokenizer of a `tokenizer.json`.
fn parse(bytes: &[u8], path: &Path) -> Result<Inner, TokenizerError> {
    refuse(too_many_values(bytes), path)?;
    TokenizerFile::read(bytes)
        .map_err(|reason| TokenizerError::Invalid {
            path: path.to_owned(),
            reason,
        })
        .and_then(|file| make(file, path))
}

/// Makes the tokenizer of what a `tokenizer.json` says, or would say; a library that panics counts as an error.
fn make(file: TokenizerFile, path: &Path) -> Result<Inner, TokenizerError> {
    refuse(excess(&file), path)?;
    guarded(file.bytes(), || file.make())
        .and_then(|made| made)
        .map_err(|reason| TokenizerError::Invalid {
            path: path.to_owned(),
            reason,
        })
}

/// Refuses a file that asks for too much, where it is said what.
fn refuse(excess: Option<String>, path: &Path) -> Result<(), TokenizerError> {
    excess.map_or(Ok(()), |reason| {
        Err(TokenizerError::Excessive {
            path: path.to_owned(),
            reason,
        })
    })
}

fn byte_pairs_class(folder: &Path, beside: &Beside) -> Result<&'static BytePairs, TokenizerError> {
    let reason = match beside.class() {
        None => "no `tokenizer_class` in `tokenizer_config.json` says how text is cut".to_owned(),
        Some(name) => match classes().byte_pairs(name) {
            Some(class) => return Ok(class),
            None => format!(
                "`tokenizer_config.json` names the class `{name}`, and how that cuts text is not known (known: {})",
                listed(classes().vocabulary_and_merges.keys())
            ),
        },
    };
    Err(TokenizerError::UnknownKind {
        folder: folder.to_owned(),
        files: "`vocab.json` and `merges.txt`".to_owned(),
        reason,
        other: None,
    })
}

fn vocabulary_and_merges(folder: &Path, class: &BytePairs, beside: &Beside) -> Result<Inner, TokenizerError> {
    let [vocabulary, merges] = ["vocab.json", "merges.txt"].map(|name| read(&folder.join(name)));
    let (vocabulary, merges) = (vocabulary?.unwrap_or_default(), merges?.unwrap_or_default());
    refuse(too_many_values(&vocabulary), &folder.join("vocab.json"))?;
    let file = legacy::tokenizer_file(&vocabulary, &merges, class, &beside.tokenizer_config).map_err(
        |(name, reason)| TokenizerError::Invalid {
            path: folder.join(name),
            reason,
        },
    )?;
    make(file, &folder.join("merges.txt"))
}

fn rank_file(path: &Path) -> Result<Vec<Vec<u8>>, TokenizerError> {
    let bytes = read(path)?.unwrap_or_default();
    tiktoken::read(&bytes).map_err(|reason| TokenizerError::Invalid {
        path: path.to_owned(),
        reason,
    })
}

/// What cuts text for a file of ranks.
struct CutPattern {
    text: String,
    /// Who says so.
    from: String,
}

fn pattern(
    folder: &Path,
    path: &Path,
    rules: &TokenizerRules,
    beside: &Beside,
) -> Result<CutPattern, TokenizerError> {
    if let Some(pattern) = &rules.pattern {
        return Ok(CutPattern {
            text: pattern.clone(),
            from: "the manifest's `tokenizer.pattern`".to_owned(),
        });
    }
    let (pattern, from) = match (beside.tokenizer_config["pat_str"].as_str(), beside.class()) {
        (Some(pattern), _) => (pattern, "`pat_str` of `tokenizer_config.json`".to_owned()),
        (None, Some(class)) if classes().ranks.contains_key(class) => (
            classes().ranks[class].pattern.as_str(),
            format!("the pattern of class `{class}`"),
        ),
        (None, class) => {
            let named = class.map_or("no `tokenizer_class` is named".to_owned(), |class| {
                format!("class `{class}` is not known")
            });
            return Err(TokenizerError::UnknownKind {
                folder: folder.to_owned(),
                files: format!("the ranks in `{}`", shown(path)),
                reason: format!(
                    "the pattern that cuts text stands in the model's Python code, and {named} (known: {})",
                    listed(classes().ranks.keys())
                ),
                other: Some(
                    "write the pattern into a manifest as `tokenizer.pattern`, or into `tokenizer_config.json` as `pat_str`, the name that it has in that code"
                        .to_owned(),
                ),
            });
        }
    };
    Ok(CutPattern {
        text: pattern.to_owned(),
        from,
    })
}

fn sentencepiece(
    folder: &Path,
    path: &Path,
    beside: &Beside,
    special: &mut SpecialTokens,
    notes: &mut Vec<String>,
) -> Result<Inner, TokenizerError> {
    let class = beside.class().unwrap_or_default();
    if classes()
        .other_ids_than_sentencepiece
        .iter()
        .any(|name| name == class)
    {
        return Err(TokenizerError::UnknownKind {
            folder: folder.to_owned(),
            files: format!("`{}`", shown(path)),
            reason: format!("class `{class}` cuts text or numbers tokens otherwise than the file does"),
            other: None,
        });
    }
    let class = classes().sentencepiece.get(class).cloned().unwrap_or_default();
    let usage = sentencepiece::Usage::new(&beside.tokenizer_config, &class);
    let bytes = read(path)?.unwrap_or_default();
    // What the table gives ids decides how pieces are called; names that the model gives are known only after.
    let table = beside.declared(special, &mut Vec::new());
    let made = guarded(0, || sentencepiece::make(&bytes, usage, &table))
        .and_then(|made| made)
        .map_err(|reason| TokenizerError::Invalid {
            path: path.to_owned(),
            reason,
        })?;
    name(
        special,
        made.names.iter().map(|(key, token)| (*key, token.as_str())),
        beside,
    );
    let declared = made.fit(beside.declared(special, notes));
    let mut inner = made.inner;
    add(&mut inner, declared, notes, path)?;
    let begins = class.add_bos_token.unwrap_or(false);
    surround(
        &mut inner,
        around_or_flags([None; 2], beside, special, begins),
        path,
    )?;
    notes.push(format!(
        "the tokenizer was made of the SentencePiece model `{}`",
        shown(path)
    ));
    Ok(inner)
}

/// Names tokens that the folder does not name; one that it names as nothing stays so.
fn name<'a>(special: &mut SpecialTokens, names: impl Iterator<Item = (&'a str, &'a str)>, beside: &Beside) {
    for (key, token) in names {
        let is_nothing = beside.tokenizer_config.get(key).is_some_and(Value::is_null);
        if !is_nothing {
            special.set(key, token);
        }
    }
}

fn add(
    inner: &mut Inner,
    declared: Vec<Declared>,
    notes: &mut Vec<String>,
    path: &Path,
) -> Result<(), TokenizerError> {
    let bytes = declared.iter().map(|declared| declared.token.content.len()).sum();
    guarded(bytes, || added_tokens::add(inner, declared, notes))
        .and_then(|added| added)
        .map_err(|reason| TokenizerError::Invalid {
            path: path.to_owned(),
            reason,
        })
}

/// The tokens before and behind a text: the class's own, else begin and end where the folder, or its class, says so.
fn around_or_flags<'a>(
    around: [Option<&'a str>; 2],
    beside: &Beside,
    special: &'a SpecialTokens,
    begins: bool,
) -> [Option<&'a str>; 2] {
    if around.iter().any(Option::is_some) {
        return around;
    }
    let flag = |key: &str, otherwise: bool| beside.tokenizer_config[key].as_bool().unwrap_or(otherwise);
    [
        special.bos.as_deref().filter(|_| flag("add_bos_token", begins)),
        special.eos.as_deref().filter(|_| flag("add_eos_token", false)),
    ]
}

/// Puts tokens around every text.
fn surround(
    inner: &mut Inner,
    [before, behind]: [Option<&str>; 2],
    path: &Path,
) -> Result<(), TokenizerError> {
    if before.is_none() && behind.is_none() {
        return Ok(());
    }
    let piece = |token: &str, kind: usize| json!({"SpecialToken": {"id": token, "type_id": kind}});
    let text = |name: &str, kind: usize| json!({"Sequence": {"id": name, "type_id": kind}});
    let one = |name: &str, kind: usize| -> Vec<Value> {
        let pieces = [before.map(|token| piece(token, kind)), Some(text(name, kind))];
        pieces
            .into_iter()
            .flatten()
            .chain(behind.map(|token| piece(token, kind)))
            .collect()
    };
    let mut special = serde_json::Map::new();
    for token in [before, behind].into_iter().flatten() {
        let id = inner.token_to_id(token);
        special.insert(
            token.to_owned(),
            json!({"id": token, "ids": id.into_iter().collect::<Vec<u32>>(), "tokens": [token]}),
        );
    }
    let pair = [one("A", 0), one("B", 1)].concat();
    let template = json!({
        "type": "TemplateProcessing",
        "single": one("A", 0),
        "pair": pair,
        "special_tokens": special,
    });
    let processor: tokenizers::PostProcessorWrapper =
        serde_json::from_value(template).map_err(|error| TokenizerError::Invalid {
            path: path.to_owned(),
            reason: error.to_string(),
        })?;
    inner.with_post_processor(Some(processor));
    Ok(())
}

/// Tries a text and its ids once: what fails here would fail with every prompt.
fn check(inner: &Inner, path: &Path) -> Result<(), TokenizerError> {
    let endless = guarded(0, || {
        let endless = added_tokens::endless(inner);
        if endless.is_none() {
            let _ = inner
                .encode_fast("a b", true)
                .map(|encoding| inner.decode(encoding.get_ids(), false));
        }
        endless
    });
    let endless = endless.map_err(|reason| TokenizerError::Invalid {
        path: path.to_owned(),
        reason,
    })?;
    refuse(endless, path)
}

fn listed<'a>(names: impl Iterator<Item = &'a String>) -> String {
    names
        .map(|name| format!("`{name}`"))
        .collect::<Vec<_>>()
        .join(", ")
}

fn shown(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}
