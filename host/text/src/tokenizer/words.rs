//! What makes ids of words: the library's models, with a look at the clock at each word, and a bound on the work of one.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer};
use tokenizers::models::TrainerWrapper;
use tokenizers::{Model, ModelWrapper, Token};

use super::guard::{Stop, look, stop};

/// Steps that one word may take, and that cannot be stopped: some seconds' work. A text of four megabytes that is one word, with tokens of
/// 16 bytes, takes as many.
const MOST_STEPS: usize = 1 << 26;
/// Words that a model remembers the ids of. Each takes up to ten kilobytes, in each thread.
const REMEMBERED: usize = 1000;

/// See the module.
#[derive(Debug, Clone)]
pub struct Words {
    model: ModelWrapper,
    /// Steps for each byte of a word.
    steps: usize,
}

impl From<ModelWrapper> for Words {
    fn from(mut model: ModelWrapper) -> Self {
        model.resize_cache(REMEMBERED);
        let steps = match &model {
            // Each place is compared with tokens of all lengths.
            ModelWrapper::Unigram(unigram) => unigram.iter().map(|(token, _)| token.len()).max().unwrap_or(1),
            _ => 1,
        };
        Self { model, steps }
    }
}

impl Words {
    /// The same, remembering nothing: for a tokenizer that few texts are read with.
    pub fn forgetful(&self) -> Self {
        let mut same = self.clone();
        same.model.resize_cache(0);
        same
    }
}

impl<'de> Deserialize<'de> for Words {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        ModelWrapper::deserialize(deserializer).map(Self::from)
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
