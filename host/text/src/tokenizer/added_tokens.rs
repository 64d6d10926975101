//! Tokens that stand beside a vocabulary: `added_tokens_decoder`, `additional_special_tokens`, `extra_special_tokens`
//! of `tokenizer_config.json`, `added_tokens.json`, and special tokens that are only named.
//!
//! They are added in the order and with the marks that transformers 5.23 gives them (`TokenizersBackend.__init__`),
//! but for one thing: an id that a file declares is kept. transformers closes gaps between declared ids, so that the
//! tokens behind a gap no longer have the rows of the embedding that they were trained with.

use std::collections::HashMap;

use serde_json::Value;
use tokenizers::{AddedToken, Model, NormalizedString, Normalizer};

use super::Inner;
use super::special::{SpecialTokens, token_text};

/// The most ids without a token between two declared ones; known files have some hundreds.
const MAX_GAP: u32 = 1 << 16;
/// Conflicts told one by one.
const MAX_TOLD: usize = 4;

/// A token that a file declares.
#[derive(Debug, Clone)]
pub struct Declared {
    /// The id the file gives it, if it gives one.
    pub id: Option<u32>,
    /// The token and its marks.
    pub token: AddedToken,
    /// The file.
    pub from: &'static str,
}

/// What the files beside a vocabulary declare, in the order in which it is added.
pub fn declared(
    tokenizer_config: &Value,
    special_tokens_map: &Value,
    added_tokens_file: &Value,
    special: &SpecialTokens,
    notes: &mut Vec<String>,
) -> Vec<Declared> {
    let config = "tokenizer_config.json";
    let has_table = tokenizer_config["added_tokens_decoder"].is_object();
    // The older map counts only in absence of the newer table. What it lists is special: so it is in transformers 4,
    // and in those classes of 5.23 that add their special tokens again.
    let extra = Some(extra_tokens(special_tokens_map))
        .filter(|extra| !has_table && !extra.is_empty())
        .unwrap_or_else(|| extra_tokens(tokenizer_config));
    let is_named =
        |text: &str| special.variables().any(|(_, token)| token == text) || extra.iter().any(|t| t == text);
    let mut list: Vec<Declared> = Vec::new();
    let mut unusable = 0;
    if let Some(table) = tokenizer_config["added_tokens_decoder"].as_object() {
        for (id, value) in table {
            match (id.parse().ok(), added_token(value)) {
                (Some(id), Some(token)) => list.push(Declared {
                    id: Some(id),
                    token,
                    from: config,
                }),
                _ => unusable += 1,
            }
        }
        // A token that is named as special is so, whatever the table says.
        for declared in &mut list {
            let text = &declared.token.content;
            declared.token.special |= special.variables().any(|(_, token)| token == text);
        }
        if unusable > 0 {
            notes.push(format!(
                "`{config}`: {unusable} entries of `added_tokens_decoder` are no tokens, and are ignored"
            ));
        }
    } else if let Some(table) = added_tokens_file.as_object() {
        // Read only in absence of the newer table, as transformers does.
        for (text, id) in table {
            let id = id.as_u64().and_then(|id| u32::try_from(id).ok());
            if let Some(id) = id.filter(|_| !text.is_empty()) {
                list.push(Declared {
                    id: Some(id),
                    token: AddedToken::from(text.clone(), is_named(text)),
                    from: "added_tokens.json",
                });
            }
        }
    }
    list.sort_by_key(|declared| declared.id);
    for text in in_order(tokenizer_config, special)
        .into_iter()
        .chain(extra.iter().cloned())
    {
        if !text.is_empty() && list.iter().all(|declared| declared.token.content != text) {
            list.push(Declared {
                id: None,
                token: AddedToken::from(text, true),
                from: config,
            });
        }
    }
    list
}

/// The named tokens in the order in which transformers looks at them: the usual ones, the file's own, and those of
/// the table in it.
fn in_order(tokenizer_config: &Value, special: &SpecialTokens) -> Vec<String> {
    const USUAL: [&str; 7] = [
        "bos_token",
        "eos_token",
        "unk_token",
        "sep_token",
        "pad_token",
        "cls_token",
        "mask_token",
    ];
    let keys = |table: &'_ Value| -> Vec<String> {
        let table = table.as_object().map(|table| table.keys().cloned().collect());
        table.unwrap_or_default()
    };
    let own = keys(tokenizer_config);
    let table = keys(&tokenizer_config["extra_special_tokens"]);
    let rest = special.variables().map(|(key, _)| key.to_owned());
    let mut tokens: Vec<String> = Vec::new();
    for key in USUAL
        .map(str::to_owned)
        .into_iter()
        .chain(own)
        .chain(table)
        .chain(rest)
    {
        if let Some(token) = special
            .get(&key)
            .filter(|token| tokens.iter().all(|known| known != token))
        {
            tokens.push(token.to_owned());
        }
    }
    tokens
}

/// `extra_special_tokens`, or `additional_special_tokens` where that is empty; as a list, or as a table of names.
fn extra_tokens(tokenizer_config: &Value) -> Vec<String> {
    let read = |value: &Value| -> Vec<String> {
        let texts: Vec<&str> = match value {
            Value::Array(list) => list.iter().filter_map(token_text).collect(),
            Value::Object(table) => table.values().filter_map(token_text).collect(),
            _ => Vec::new(),
        };
        texts.into_iter().map(str::to_owned).collect()
    };
    let extra = read(&tokenizer_config["extra_special_tokens"]);
    if extra.is_empty() {
        read(&tokenizer_config["additional_special_tokens"])
    } else {
        extra
    }
}

/// An entry of `added_tokens_decoder`. What it does not say is as in Python's `AddedToken`: special tokens are
/// matched before a text is normalised, others after.
fn added_token(value: &Value) -> Option<AddedToken> {
    let content = value["content"].as_str().filter(|text| !text.is_empty())?;
    let mark = |key: &str| value[key].as_bool();
    let token = AddedToken::from(content, mark("special").unwrap_or(false));
    let normalized = mark("normalized").unwrap_or(token.normalized);
    Some(
        token
            .normalized(normalized)
            .single_word(mark("single_word").unwrap_or(false))
            .lstrip(mark("lstrip").unwrap_or(false))
            .rstrip(mark("rstrip").unwrap_or(false)),
    )
}

/// An added token that is white space alone and takes the white space around it, in words. For each part of a run of it the library goes through
/// the whole run, so that a long one takes hours.
pub fn endless(inner: &Inner) -> Option<String> {
    let added = inner.get_added_vocabulary().get_added_tokens_decoder();
    let is_endless = |token: &&AddedToken| {
        if !token.lstrip && !token.rstrip {
            return false;
        }
        let mut text = NormalizedString::from(token.content.as_str());
        // As it is looked for.
        if let Some(normaliser) = inner.get_normalizer().filter(|_| token.normalized) {
            let _ = normaliser.normalize(&mut text);
        }
        text.get().chars().all(char::is_whitespace)
    };
    let found = added.values().find(is_endless)?;
    Some(format!(
        "its added token {:?} is white space alone, and takes the white space around it",
        found.content
    ))
}

/// What the vocabulary already knows while tokens are put in order.
struct Plan<'a> {
    inner: &'a Inner,
    /// Tokens to add, in the order of their ids.
    tokens: Vec<AddedToken>,
    /// Ids of those among them that are new.
    new: HashMap<String, u32>,
    next: u32,
}

impl Plan<'_> {
    fn id(&self, text: &str) -> Option<u32> {
        self.new
            .get(text)
            .copied()
            .or_else(|| self.inner.token_to_id(text))
    }

    fn push(&mut self, token: AddedToken) {
        if self.id(&token.content).is_none() {
            self.new.insert(token.content.clone(), self.next);
            self.next += 1;
        }
        self.tokens.push(token);
    }
}

/// Adds tokens to a vocabulary. What files say against each other becomes notes; an id far beyond the vocabulary is
/// an error, in words.
pub fn add(inner: &mut Inner, declared: Vec<Declared>, notes: &mut Vec<String>) -> Result<(), String> {
    if declared.is_empty() {
        return Ok(());
    }
    let mut plan = Plan {
        next: next_id(inner),
        inner,
        tokens: Vec::new(),
        new: HashMap::new(),
    };
    let first_new = plan.next;
    let (mut elsewhere, mut taken, mut marks, mut unknown) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let (mut late, mut filled) = (Vec::new(), 0u32);
    for Declared { id, token, from } in declared {
        let text = token.content.clone();
        if let Some(known) = known_marks(plan.inner, &text) {
            if id.is_none() {
                // Only named, and there already.
                continue;
            }
            if known != token {
                marks.push(format!("`{text}` ({})", differences(&known, &token)));
            }
        }
        match (plan.id(&text), id) {
            (Some(known), Some(id)) if known != id => {
                elsewhere.push(format!("`{text}` has id {known}, `{from}` says {id}"));
                plan.push(token);
            }
            (Some(_), _) => plan.push(token),
            (None, Some(id)) if id < plan.next => {
                let holder = plan.inner.id_to_token(id).unwrap_or_default();
                taken.push(format!("id {id} of `{text}` in `{from}` is `{holder}`"));
                late.push((token, from));
            }
            (None, Some(id)) => {
                if id - plan.next > MAX_GAP {
                    return Err(format!(
                        "`{from}` gives `{text}` the id {id}, but the vocabulary before it ends with {}",
                        plan.next.saturating_sub(1)
                    ));
                }
                while plan.next < id {
                    let mut filler = format!("<|reserved_token_{}|>", plan.next);
                    while plan.id(&filler).is_some() {
                        filler.push('_');
                    }
                    plan.push(AddedToken::from(filler, true));
                    filled += 1;
                }
                plan.push(token);
            }
            (None, None) => {
                unknown.push(format!("`{text}`"));
                late.push((token, from));
            }
        }
    }
    // What an older list has at an id that is taken was replaced since.
    late.retain(|(_, from)| *from != "added_tokens.json");
    late.into_iter().for_each(|(token, _)| plan.push(token));
    let (tokens, new) = (plan.tokens, plan.new);
    if !new.is_empty() {
        let beyond = inner.get_model().get_vocab().into_values().max();
        if let Some(last) = beyond.filter(|last| *last >= first_new) {
            return Err(format!(
                "its vocabulary has {first_new} tokens with ids up to {last}, so {} more would take ids that are \
                 in use",
                new.len()
            ));
        }
    }
    inner.add_tokens(tokens).map_err(|error| error.to_string())?;
    let mut tell = |what: &str, list: Vec<String>| {
        if !list.is_empty() {
            notes.push(format!("{what}: {}", shortened(&list)));
        }
    };
    tell(
        "the tokenizer's files give tokens two ids; the vocabulary's is taken",
        elsewhere,
    );
    tell(
        "the tokenizer's files give ids two tokens; the vocabulary's is taken, the other comes last",
        taken,
    );
    tell(
        "`tokenizer.json` and `tokenizer_config.json` mark tokens differently; the latter is taken",
        marks,
    );
    tell(
        "special tokens that no vocabulary has were added at its end",
        unknown,
    );
    if filled > 0 {
        notes.push(format!(
            "{filled} ids between the tokenizer's tokens have none; they stand for nothing"
        ));
    }
    Ok(())
}

/// The id of the next token that the library would add.
fn next_id(inner: &Inner) -> u32 {
    let vocabulary = u32::try_from(inner.get_model().get_vocab_size()).unwrap_or(u32::MAX);
    let added = inner.get_added_vocabulary().get_added_tokens_decoder();
    let after = added.keys().max().map_or(0, |last| last.saturating_add(1));
    after.max(vocabulary)
}

/// A token that was added before, with its marks.
fn known_marks(inner: &Inner, text: &str) -> Option<AddedToken> {
    let added = inner.get_added_vocabulary();
    let id = added.get_vocab().get(text)?;
    added.get_added_tokens_decoder().get(id).cloned()
}

fn differences(known: &AddedToken, new: &AddedToken) -> String {
    let marks = [
        ("special", known.special, new.special),
        ("lstrip", known.lstrip, new.lstrip),
        ("rstrip", known.rstrip, new.rstrip),
        ("single_word", known.single_word, new.single_word),
        ("normalized", known.normalized, new.normalized),
    ];
    let changed = marks.into_iter().filter(|(_, known, new)| known != new);
    let words: Vec<String> = changed.map(|(name, _, new)| format!("{name} = {new}")).collect();
    words.join(", ")
}

fn shortened(list: &[String]) -> String {
    let told = list[..list.len().min(MAX_TOLD)].join("; ");
    match list.len().saturating_sub(MAX_TOLD) {
        0 => told,
        more => format!("{told}; and {more} more"),
    }
}
