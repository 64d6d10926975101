//! Reading a model's JSON files: unknown keys are ignored, `null` counts as absent, missing and wrong keys are named with their
//! file and section.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::{Context, Error, ModelFiles, Result};

/// One object of a JSON file.
#[derive(Debug, Clone)]
pub struct Section {
    place: String,
    values: Map<String, Value>,
    nulls: Vec<String>,
}

impl Section {
    /// The object that `text` is; `file` is for errors.
    pub fn parse(file: &str, text: &str) -> Result<Self> {
        let value: Value = serde_json::from_str(text).context(format_args!("`{file}` is not JSON"))?;
        Self::new(format!("`{file}`"), value)
    }

    fn new(place: String, value: Value) -> Result<Self> {
        match value {
            Value::Object(mut values) => {
                let nulls = values.iter().filter(|(_, value)| value.is_null());
                let nulls = nulls.map(|(key, _)| key.clone()).collect();
                values.retain(|_, value| !value.is_null());
                Ok(Self { place, values, nulls })
            }
            other => Err(Error::new(format_args!(
                "{place} is {}, expected an object",
                kind(&other)
            ))),
        }
    }

    fn empty(place: String) -> Self {
        Self {
            place,
            values: Map::new(),
            nulls: vec![],
        }
    }

    /// The object at this key; an empty one when there is none, since configs leave out what equals the reference's defaults.
    pub fn section(&self, key: &str) -> Result<Self> {
        let place = format!("`{key}` in {}", self.place);
        match self.values.get(key) {
            Some(value) => Self::new(place, value.clone()),
            None => Ok(Self::empty(place)),
        }
    }

    /// Keys that hold here unless they are given: the defaults of a reference's config class.
    #[must_use]
    pub fn with_defaults<const N: usize>(mut self, defaults: [(&str, Value); N]) -> Self {
        for (key, value) in defaults {
            self.values.entry(key).or_insert(value);
        }
        self
    }

    /// Other names of this key, which files of other makes have: the key has the value of the first that is there, and they are gone. Files may have
    /// several; [`Section::read`] would take a field and its alias together for a field that is there twice.
    #[must_use]
    pub fn known_as(mut self, key: &str, others: &[&str]) -> Self {
        for other in others {
            if let Some(value) = self.values.remove(*other) {
                self.values.entry(key).or_insert(value);
            }
        }
        self
    }

    /// The same with keys of another section where this one lacks them: for what may stand in either of two files.
    #[must_use]
    pub fn or(mut self, other: &Self) -> Self {
        for (key, value) in &other.values {
            self.values.entry(key).or_insert_with(|| value.clone());
        }
        self
    }

    /// Fails where a key is none of these: for options, in which a key that nobody reads is misspelt.
    pub fn only(self, keys: &[&str]) -> Result<Self> {
        let unknown = self.values.keys().find(|key| !keys.contains(&key.as_str()));
        let known: Vec<String> = keys.iter().map(|key| format!("`{key}`")).collect();
        match unknown {
            None => Ok(self),
            Some(key) if known.is_empty() => Err(Error::new(format_args!(
                "{} has `{key}`, and nothing is known there",
                self.place
            ))),
            Some(key) => Err(Error::new(format_args!(
                "{} has `{key}`; known are {}",
                self.place,
                known.join(", ")
            ))),
        }
    }

    /// Whether the key is there, and not `null`.
    pub fn has(&self, key: &str) -> bool {
        self.values.contains_key(key)
    }

    /// Whether the key is there with `null`: some say by it that they have none of what the reference's default would give.
    pub fn is_null(&self, key: &str) -> bool {
        self.nulls.iter().any(|null| null == key)
    }

    /// The value of a key that must be there.
    pub fn get<T: DeserializeOwned>(&self, key: &str) -> Result<T> {
        let value = self.find(key)?;
        value.context(format_args!("{} lacks `{key}`", self.place))
    }

    /// The value of a key, or `default`.
    pub fn get_or<T: DeserializeOwned>(&self, key: &str, default: T) -> Result<T> {
        Ok(self.find(key)?.unwrap_or(default))
    }

    /// The value of a key, if it is there.
    pub fn find<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>> {
        let Some(value) = self.values.get(key) else {
            return Ok(None);
        };
        let parsed = T::deserialize(value);
        parsed
            .map(Some)
            .context(format_args!("`{key}` in {}", self.place))
    }

    /// All of it as one type (whose missing fields are named).
    pub fn read<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_value(Value::Object(self.values.clone())).context(&self.place)
    }
}

impl ModelFiles {
    /// `config.json`
    pub fn config(&self) -> Result<Section> {
        Section::parse("config.json", &self.config)
    }

    /// `preprocessor_config.json`, or the `image_processor` part of `processor_config.json`; empty when there is neither.
    pub fn preprocessor(&self) -> Result<Section> {
        optional("preprocessor_config.json", self.preprocessor.as_deref())
    }

    /// `processor_config.json`; empty when there is none.
    pub fn processor(&self) -> Result<Section> {
        optional("processor_config.json", self.processor.as_deref())
    }

    /// `generation_config.json`; empty when there is none.
    pub fn generation(&self) -> Result<Section> {
        optional("generation_config.json", self.generation.as_deref())
    }

    /// The manifest's `plugin.options`.
    pub fn options(&self) -> Result<Section> {
        Section::parse("plugin.options", &self.options)
    }
}

fn optional(file: &str, text: Option<&str>) -> Result<Section> {
    match text {
        Some(text) => Section::parse(file, text),
        None => Ok(Section::empty(format!("`{file}`"))),
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a truth value",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(text: &str) -> Section {
        Section::parse("config.json", text).unwrap()
    }

    #[test]
    fn missing_keys_are_named_with_their_place() {
        let config = section(r#"{"vision_config": {"patch_size": 14}}"#);
        let error = config
            .section("vision_config")
            .unwrap()
            .get::<u32>("image_size")
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "`vision_config` in `config.json` lacks `image_size`"
        );
    }

    #[test]
    fn null_counts_as_absent() {
        let config = section(r#"{"head_dim": null, "hidden_size": 64}"#);
        assert!(!config.has("head_dim"));
        assert!(config.is_null("head_dim") && !config.is_null("hidden_size") && !config.is_null("other"));
        assert_eq!(config.get_or("head_dim", 7).unwrap(), 7);
        assert_eq!(
            config
                .with_defaults([("head_dim", 9.into())])
                .get::<u32>("head_dim")
                .unwrap(),
            9
        );
    }

    #[test]
    fn given_keys_win_over_defaults() {
        let config = section(r#"{"hidden_size": 64}"#).with_defaults([("hidden_size", 4096.into())]);
        assert_eq!(config.get::<u32>("hidden_size").unwrap(), 64);
    }

    #[test]
    fn a_key_may_have_several_names() {
        let count = |text: &str| {
            let config = section(text).known_as("n_experts", &["num_experts", "num_local_experts"]);
            assert!(
                !config.has("num_experts") && !config.has("num_local_experts"),
                "{text}"
            );
            config.find::<u32>("n_experts").unwrap()
        };
        assert_eq!(count(r#"{"num_local_experts": 8}"#), Some(8));
        assert_eq!(count(r#"{"num_local_experts": 8, "num_experts": 4}"#), Some(4));
        assert_eq!(count(r#"{"num_local_experts": 8, "n_experts": 2}"#), Some(2));
        assert_eq!(count("{}"), None);
    }

    #[test]
    fn keys_that_nobody_knows_are_refused() {
        let options = || Section::parse("plugin.options", r#"{"pad": true}"#).unwrap();
        assert!(options().only(&["crop", "pad"]).is_ok());
        let refusal = |keys: &[&str]| options().only(keys).unwrap_err().to_string();
        assert_eq!(
            refusal(&["crop", "side"]),
            "`plugin.options` has `pad`; known are `crop`, `side`"
        );
        assert_eq!(
            refusal(&[]),
            "`plugin.options` has `pad`, and nothing is known there"
        );
    }

    #[test]
    fn wrong_types_are_named() {
        let error = section(r#"{"hidden_size": "wide"}"#)
            .get::<u32>("hidden_size")
            .unwrap_err()
            .to_string();
        assert!(error.starts_with("`hidden_size` in `config.json`: "), "{error}");
        let error = section(r#"{"text_config": 3}"#)
            .section("text_config")
            .unwrap_err()
            .to_string();
        assert_eq!(
            error,
            "`text_config` in `config.json` is a number, expected an object"
        );
        let error = Section::parse("config.json", "{").unwrap_err().to_string();
        assert!(error.starts_with("`config.json` is not JSON: "), "{error}");
    }
}
