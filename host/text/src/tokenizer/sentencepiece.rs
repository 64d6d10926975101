//! SentencePiece models (`tokenizer.model`): the library's structures made of them, with SentencePiece's own rules for
//! characters and spaces.
//!
//! Ids are those of the Python package `sentencepiece` (goldens: `tests/oracle/tokenizers/sentencepiece`), with two
//! known differences: strings of special tokens are found in texts, as transformers does, and a Unigram model with
//! byte fallback takes the text `<0x41>` for a byte.

pub mod proto;
pub mod rules;

use std::collections::{HashMap, HashSet};

use serde_json::{Value, json};
use tokenizers::models::ModelWrapper;
use tokenizers::models::bpe::{BPE, Vocab};
use tokenizers::models::unigram::Unigram;
use tokenizers::{AddedToken, AddedVocabulary, TokenizerBuilder};

use super::Inner;
use super::added_tokens::Declared;
use super::classes::SentencePiece;
use super::merges::merges;
use super::normaliser::Normaliser;
use super::words::Words;
use proto::{Kind, ModelProto, Piece, PieceKind};
use rules::{Prefix, Rules};

/// The longest piece; all cuts of each are looked up.
const MAX_PIECE: usize = 512;
/// The largest file; known ones have some 5 MB.
const MAX_BYTES: usize = 64 << 20;

/// A tokenizer made of a model.
pub struct Made {
    /// The tokenizer, without the tokens that other files declare.
    pub inner: Inner,
    /// The names of special tokens that the model gives.
    pub names: Vec<(&'static str, String)>,
    /// Symbols that are found in texts behind the rules; what other files say of them does not count.
    symbols: HashSet<String>,
}

/// How a model is used, which it does not say itself.
#[derive(Debug, Clone, Copy)]
pub struct Usage {
    /// Whether text behind a special token begins with a space, too.
    pub legacy: bool,
    /// Whether a text begins with a space at all, where the folder says so.
    pub add_prefix_space: Option<bool>,
}

impl Usage {
    /// By the folder's `tokenizer_config.json`, else its class, else as SentencePiece does.
    pub fn new(tokenizer_config: &Value, class: &SentencePiece) -> Self {
        Self {
            legacy: tokenizer_config["legacy"]
                .as_bool()
                .or(class.legacy)
                .unwrap_or(true),
            add_prefix_space: tokenizer_config["add_prefix_space"].as_bool(),
        }
    }
}

/// Makes a tokenizer of a model file's bytes. `declared` renames pieces that were kept free for it.
pub fn make(bytes: &[u8], usage: Usage, declared: &[Declared]) -> Result<Made, String> {
    if bytes.len() > MAX_BYTES {
        return Err(format!("it has {} bytes, more than {MAX_BYTES}", bytes.len()));
    }
    make_of(ModelProto::read(bytes)?, usage, declared)
}

/// As [`make`], of the pieces of a GGUF file: a JSON object with `pieces`, each a text, a score and the number of a kind. Its symbols are as they
/// stand in texts, with spaces.
pub fn of_pieces(text: &str, declared: &[Declared]) -> Result<Made, String> {
    let value: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let pieces = value["pieces"].as_array().ok_or("it has no pieces")?;
    let pieces: Option<Vec<Piece>> = pieces
        .iter()
        .map(|piece| {
            let kind = PieceKind::of(piece[2].as_u64()?)?;
            let text = piece[0].as_str()?;
            let text = match kind {
                PieceKind::UserDefined => text.replace(' ', "▁"),
                _ => text.to_owned(),
            };
            let score = piece[1].as_f64()? as f32;
            Some(Piece { text, score, kind })
        })
        .collect();
    let pieces = pieces.ok_or("it has a piece that is no text with a score and a kind")?;
    let flag = |key: &str, otherwise: bool| value[key].as_bool().unwrap_or(otherwise);
    let model = ModelProto {
        kind: Kind::BytePairs,
        byte_fallback: pieces.iter().any(|piece| piece.kind == PieceKind::Byte),
        pieces,
        space_behind: false,
        ids: [-1; 4],
        names: Default::default(),
        charsmap: Vec::new(),
        dummy_prefix: flag("add_space_prefix", true),
        fewer_spaces: flag("remove_extra_whitespaces", false),
        escape_spaces: true,
    };
    // llama.cpp puts a space before text behind special tokens too.
    let usage = Usage {
        legacy: true,
        add_prefix_space: None,
    };
    make_of(model, usage, declared)
}

fn make_of(mut model: ModelProto, usage: Usage, declared: &[Declared]) -> Result<Made, String> {
    check(&model)?;
    rename(&mut model.pieces, declared);
    let ids = ids(&model.pieces)?;
    let prefix = match (usage.add_prefix_space.unwrap_or(model.dummy_prefix), usage.legacy) {
        (false, _) => Prefix::Never,
        (true, true) => Prefix::Always,
        (true, false) => Prefix::First,
    };
    let rules = Rules::new(&model, prefix)?;
    let library = Words::from(match model.kind {
        Kind::BytePairs => byte_pairs(&model, &ids)?,
        Kind::Unigram => unigram(&model)?,
        Kind::Words | Kind::Characters => {
            return Err("it is a model of whole words or characters, which is not supported".to_owned());
        }
    });
    // SentencePiece shows no space at the begin of a text where it puts one there, or takes such away.
    let strips = (prefix != Prefix::Never && !model.space_behind) || model.fewer_spaces;
    let decoder = json!({"type": "Sequence", "decoders": decoders(strips)});
    let decoder = serde_json::from_value(decoder).map_err(|error| error.to_string())?;
    let mut added = AddedVocabulary::new();
    let own = model.pieces.iter().filter_map(own_token);
    // Without the rules: a user-defined symbol is in the text behind them as it is here.
    added
        .add_tokens(own, &library, None::<&Normaliser>)
        .map_err(|error| error.to_string())?;
    let inner = TokenizerBuilder::new()
        .with_model(library)
        .with_normalizer(Some(Normaliser::SentencePiece(rules)))
        .with_decoder(Some(decoder))
        .with_added_vocabulary(added)
        .build()
        .map_err(|error| error.to_string())?;
    let symbols = model
        .pieces
        .iter()
        .filter(|piece| piece.kind == PieceKind::UserDefined);
    Ok(Made {
        inner,
        symbols: symbols.map(|piece| piece.text.clone()).collect(),
        names: names(&model),
    })
}

impl Made {
    /// What other files declare, as it is added to this tokenizer. Tokens are found in the text as it was given:
    /// behind the rules they would have a space before them.
    pub fn fit(&self, declared: Vec<Declared>) -> Vec<Declared> {
        declared
            .into_iter()
            .filter(|declared| !self.symbols.contains(&declared.token.content))
            .map(|declared| Declared {
                token: declared.token.normalized(false),
                ..declared
            })
            .collect()
    }
}

/// What no model that is used has.
fn check(model: &ModelProto) -> Result<(), String> {
    if let Some(piece) = model.pieces.iter().find(|piece| piece.text.len() > MAX_PIECE) {
        let length = piece.text.len();
        return Err(format!("it has a piece of {length} bytes, more than {MAX_PIECE}"));
    }
    if model.pieces.iter().any(|piece| !piece.score.is_finite()) {
        return Err("it has a piece whose score is not a number".to_owned());
    }
    if model.byte_fallback {
        let bytes = model
            .pieces
            .iter()
            .filter(|piece| piece.kind == PieceKind::Byte)
            .count();
        if bytes != 256 {
            return Err(format!("it falls back to bytes, and has {bytes} of 256"));
        }
    }
    Ok(())
}

/// Gives pieces the names that `added_tokens_decoder` has for their ids, as transformers does.
fn rename(pieces: &mut [Piece], declared: &[Declared]) {
    let known: HashSet<String> = pieces.iter().map(|piece| piece.text.clone()).collect();
    for declared in declared {
        let text = &declared.token.content;
        let piece = declared.id.and_then(|id| pieces.get_mut(id as usize));
        if let Some(piece) = piece.filter(|piece| piece.text != *text && !known.contains(text)) {
            piece.text.clone_from(text);
            piece.kind = PieceKind::Control;
        }
    }
}

fn ids(pieces: &[Piece]) -> Result<HashMap<&str, u32>, String> {
    let mut ids = HashMap::with_capacity(pieces.len());
    for (id, piece) in (0u32..).zip(pieces) {
        if ids.insert(piece.text.as_str(), id).is_some() {
            return Err(format!("it has the piece `{}` twice", piece.text));
        }
    }
    Ok(ids)
}

/// The piece of unknown text.
fn unknown(model: &ModelProto) -> Option<usize> {
    model
        .pieces
        .iter()
        .position(|piece| piece.kind == PieceKind::Unknown)
}

fn byte_pairs(model: &ModelProto, ids: &HashMap<&str, u32>) -> Result<ModelWrapper, String> {
    let kind = |text: &str| ids.get(text).map(|id| model.pieces[*id as usize].kind);
    let is_text = |text: &str| matches!(kind(text), Some(PieceKind::Normal | PieceKind::Unused));
    let mut order: Vec<&Piece> = model.pieces.iter().filter(|piece| is_text(&piece.text)).collect();
    // Higher scores first, and a stable order among equals.
    order.sort_by(|a, b| b.score.total_cmp(&a.score));
    let texts: Vec<&str> = order.into_iter().map(|piece| piece.text.as_str()).collect();
    let merges = merges(
        &texts,
        |text| {
            let places = text.char_indices().skip(1).map(|(place, _)| place);
            places.map(|place| text.split_at(place)).collect()
        },
        |(left, right)| (is_text(left) && is_text(right)).then_some((left.len() as u64, right.len() as u64)),
    );
    let merges = merges
        .into_iter()
        .map(|(left, right)| (left.to_owned(), right.to_owned()))
        .collect();
    let vocabulary: Vocab = ids.iter().map(|(text, id)| ((*text).to_owned(), *id)).collect();
    let mut builder = BPE::builder()
        .vocab_and_merges(vocabulary, merges)
        .fuse_unk(true)
        .byte_fallback(model.byte_fallback);
    if let Some(id) = unknown(model) {
        builder = builder.unk_token(model.pieces[id].text.clone());
    }
    builder
        .build()
        .map(ModelWrapper::BPE)
        .map_err(|error| error.to_string())
}

fn unigram(model: &ModelProto) -> Result<ModelWrapper, String> {
    let pieces = model
        .pieces
        .iter()
        .map(|piece| (piece.text.clone(), f64::from(piece.score)))
        .collect();
    Unigram::from(pieces, unknown(model), model.byte_fallback)
        .map(ModelWrapper::Unigram)
        .map_err(|error| error.to_string())
}

/// Control pieces and user-defined symbols are found in texts before any other piece.
fn own_token(piece: &Piece) -> Option<AddedToken> {
    match piece.kind {
        PieceKind::Control => Some(AddedToken::from(piece.text.clone(), true)),
        PieceKind::UserDefined => Some(AddedToken::from(piece.text.clone(), false)),
        _ => None,
    }
}

fn decoders(strip: bool) -> Vec<Value> {
    let mut steps = vec![
        json!({"type": "Replace", "pattern": {"String": "▁"}, "content": " "}),
        json!({"type": "ByteFallback"}),
        json!({"type": "Fuse"}),
    ];
    if strip {
        steps.push(json!({"type": "Strip", "content": " ", "start": 1, "stop": 0}));
    }
    steps
}

/// The special tokens that the model itself names.
fn names(model: &ModelProto) -> Vec<(&'static str, String)> {
    let keys = ["unk_token", "bos_token", "eos_token", "pad_token"];
    let named = keys.into_iter().zip(model.ids).filter_map(|(key, id)| {
        let piece = model.pieces.get(usize::try_from(id).ok()?)?;
        Some((key, piece.text.clone()))
    });
    named.collect()
}
