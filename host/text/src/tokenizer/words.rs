//! What makes ids of words: the library's models, with a look at the clock at each word, and a bound on the work of one.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use tokenizers::models::TrainerWrapper;
use tokenizers::{Model, ModelWrapper, Token};

use super::guard::{Stop, look, stop};

/// Steps that one word may take, and that cannot be stopped: some seconds' work. A text of four megabytes that is one word, with tokens of
/// 16 bytes, takes as many.
const MOST_STEPS: usize = 1 << 26;
/// Bytes of a word that a model takes at once: it takes some hundred for each. Longer ones are cut where its tokens allow.
const AT_ONCE: usize = 32 << 10;
/// Bytes of a word that cannot be cut.
const LONGEST: usize = 256 << 10;
/// What a word may be cut before: spaces and line ends, plain and as vocabularies write them, and signs.
const BREAKS: [char; 21] = [
    '▁', 'Ġ', 'Ċ', ' ', '\n', '.', ',', ';', ':', '!', '?', '"', '(', '<', '{', '。', '，', '、', '！', '？',
    '；',
];
/// Words that a model remembers the ids of. Each takes up to ten kilobytes, in each thread.
const REMEMBERED: usize = 1000;

/// See the module.
#[derive(Debug, Clone)]
pub struct Words {
    model: ModelWrapper,
    /// Steps for each byte of a word.
    steps: usize,
    /// Where words may be cut, once one was long.
    borders: Arc<OnceLock<Option<Borders>>>,
}

/// Pairs of characters that no token of a model has: what is on both sides of such a pair has nothing to do with each other.
#[derive(Debug)]
struct Borders {
    /// The pairs that tokens have, with one of [`BREAKS`] as the second.
    pairs: HashSet<(char, char)>,
    /// Characters that are tokens.
    single: HashSet<char>,
}

impl Borders {
    /// Those of a model that joins pairs as long as it knows any, and that does nothing else.
    fn of(model: &ModelWrapper) -> Option<Self> {
        let ModelWrapper::BPE(pairs) = model else {
            return None;
        };
        let plain = |affix: &Option<String>| affix.as_ref().is_none_or(String::is_empty);
        if pairs.dropout.is_some_and(|dropout| dropout > 0.0)
            || pairs.ignore_merges
            || !plain(&pairs.continuing_subword_prefix)
            || !plain(&pairs.end_of_word_suffix)
        {
            return None;
        }
        let mut borders = Self {
            pairs: HashSet::new(),
            single: HashSet::new(),
        };
        for token in pairs.get_vocab().into_keys() {
            let mut before = None;
            for char in token.chars() {
                match before {
                    Some(before) if BREAKS.contains(&char) => {
                        borders.pairs.insert((before, char));
                    }
                    _ => {}
                }
                before = Some(char);
            }
            let mut chars = token.chars();
            if let (Some(char), None) = (chars.next(), chars.next()) {
                borders.single.insert(char);
            }
        }
        Some(borders)
    }

    /// The first place behind so many bytes where a word may be cut.
    fn after(&self, word: &str, least: usize) -> Option<usize> {
        let mut before = None;
        for (at, char) in word.char_indices() {
            // Only of what is a token is known what it is joined with.
            let is_border = |before: char| {
                BREAKS.contains(&char)
                    && !self.pairs.contains(&(before, char))
                    && self.single.contains(&before)
                    && self.single.contains(&char)
            };
            if at >= least && before.is_some_and(is_border) {
                return Some(at);
            }
            before = Some(char);
        }
        None
    }
}

impl From<ModelWrapper> for Words {
    fn from(mut model: ModelWrapper) -> Self {
        model.resize_cache(REMEMBERED);
        let steps = match &model {
            // Each place is compared with tokens of all lengths.
            ModelWrapper::Unigram(unigram) => unigram.iter().map(|(token, _)| token.len()).max().unwrap_or(1),
            _ => 1,
        };
        Self {
            model,
            steps,
            borders: Arc::default(),
        }
    }
}

impl Words {
    /// Adds the ids of a word.
    pub fn ids(&self, word: &str, ids: &mut Vec<u32>) -> tokenizers::Result<()> {
        let mut rest = word;
        while rest.len() > AT_ONCE {
            let borders = self.borders.get_or_init(|| Borders::of(&self.model)).as_ref();
            let cut = borders.and_then(|borders| borders.after(rest, AT_ONCE / 2));
            let end = cut.unwrap_or(rest.len());
            if end > LONGEST {
                stop(Stop::Word);
            }
            ids.extend(self.tokenize(&rest[..end])?.into_iter().map(|token| token.id));
            rest = &rest[end..];
        }
        if !rest.is_empty() {
            ids.extend(self.tokenize(rest)?.into_iter().map(|token| token.id));
        }
        Ok(())
    }

    /// The same, remembering nothing: for a tokenizer that few texts are read with.
    pub fn forgetful(&self) -> Self {
        let mut same = self.clone();
        same.model.resize_cache(0);
        same
    }
}

impl Model for Words {
    type Trainer = TrainerWrapper;

    fn tokenize(&self, word: &str) -> tokenizers::Result<Vec<Token>> {
        look();
        if word.len().saturating_mul(self.steps) > MOST_STEPS {
            stop(Stop::Word);
        }
        self.model.tokenize(word)
    }

    fn token_to_id(&self, token: &str) -> Option<u32> {
        self.model.token_to_id(token)
    }

    fn id_to_token(&self, id: u32) -> Option<String> {
        self.model.id_to_token(id)
    }

    fn get_vocab(&self) -> HashMap<String, u32> {
        self.model.get_vocab()
    }

    fn get_vocab_size(&self) -> usize {
        self.model.get_vocab_size()
    }

    fn save(&self, folder: &Path, name: Option<&str>) -> tokenizers::Result<Vec<PathBuf>> {
        self.model.save(folder, name)
    }

    fn get_trainer(&self) -> TrainerWrapper {
        self.model.get_trainer()
    }
}
