//! What is known of tokenizer classes: data, read from `data/tokenizer_classes.json`.
//!
//! `vocab.json`, rank files and SentencePiece models do not say how text is cut before it is looked up; transformers
//! has that in code, one class each, and a model's folder only names the class.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::Deserialize;
use serde_json::Value;

/// All classes, by the layout of files they read.
#[derive(Deserialize)]
pub struct Classes {
    /// Of `vocab.json` and `merges.txt`.
    pub vocabulary_and_merges: BTreeMap<String, BytePairs>,
    /// Of files of ranks.
    pub ranks: BTreeMap<String, Ranks>,
    /// Of SentencePiece models.
    pub sentencepiece: BTreeMap<String, SentencePiece>,
    /// Those that read a SentencePiece model and number its pieces otherwise, or cut text in ways of their own.
    pub other_ids_than_sentencepiece: Vec<String>,
}

/// A class of byte-level pairs.
#[derive(Deserialize, Clone, Default)]
pub struct BytePairs {
    /// The class that it is another name of.
    #[serde(rename = "as")]
    same_as: Option<String>,
    /// As in `tokenizer.json`.
    #[serde(default)]
    pub normalizer: Value,
    /// As in `tokenizer.json`.
    #[serde(default)]
    pub pre_tokenizer: Value,
    /// The special tokens' strings where the folder does not say.
    #[serde(default)]
    pub names: BTreeMap<String, String>,
    /// The name of the token put before a text.
    pub before: Option<String>,
    /// The name of the token put after a text.
    pub after: Option<String>,
}

/// A class of byte ranks.
#[derive(Deserialize)]
pub struct Ranks {
    /// The pattern that cuts text.
    pub pattern: String,
}

/// A class of SentencePiece models.
#[derive(Deserialize, Clone, Default)]
pub struct SentencePiece {
    /// Whether text after a special token begins with a space, too, where the folder does not say.
    pub legacy: Option<bool>,
    /// Whether a text begins with the begin token, where the folder does not say.
    pub add_bos_token: Option<bool>,
}

static CLASSES: LazyLock<Classes> = LazyLock::new(|| {
    serde_json::from_str(include_str!("../../data/tokenizer_classes.json"))
        .expect("the file is part of the program, and a test reads it")
});

/// The known classes.
pub fn classes() -> &'static Classes {
    &CLASSES
}

impl Classes {
    /// A class of byte-level pairs.
    pub fn byte_pairs(&self, name: &str) -> Option<&BytePairs> {
        let class = self.vocabulary_and_merges.get(name)?;
        match &class.same_as {
            Some(other) => self.vocabulary_and_merges.get(other),
            None => Some(class),
        }
    }
}

/// The class that a folder names, without the `Fast` that older versions put behind it.
pub fn named_class<'a>(tokenizer_config: &'a Value, config: &'a Value) -> Option<&'a str> {
    let name = [tokenizer_config, config]
        .into_iter()
        .find_map(|file| file["tokenizer_class"].as_str())?;
    Some(name.strip_suffix("Fast").unwrap_or(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_data_can_be_read_and_refers_to_itself_only() {
        let classes = classes();
        for (name, class) in &classes.vocabulary_and_merges {
            let found = classes.byte_pairs(name).expect(name);
            assert!(found.pre_tokenizer.is_object(), "{name}");
            assert!(class.same_as.is_none() || class.pre_tokenizer.is_null(), "{name}");
        }
    }

    #[test]
    fn a_class_is_known_with_and_without_fast() {
        for name in ["GPT2Tokenizer", "GPT2TokenizerFast"] {
            let file = json!({"tokenizer_class": name});
            assert_eq!(named_class(&file, &Value::Null), Some("GPT2Tokenizer"));
            assert_eq!(named_class(&Value::Null, &file), Some("GPT2Tokenizer"));
        }
        assert_eq!(named_class(&Value::Null, &json!({})), None);
    }
}
