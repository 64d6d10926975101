//! How tokens are chosen: the manifest's word, else that of the model's `generation_config.json`, else the default; and whose word it was.

use monocle_manifest::schema::Generation;
use monocle_text::SamplingOptions;
use serde::Serialize;
use serde_json::Value;

/// Who said it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Origin {
    /// Whoever asked, on the command line for example.
    #[serde(rename = "request")]
    Request,
    /// The manifest.
    #[serde(rename = "manifest")]
    Manifest,
    /// The model's own file, or what that file means where it says nothing.
    #[serde(rename = "generation_config.json")]
    GenerationConfig,
    /// Nobody.
    #[serde(rename = "default")]
    Default,
}

impl Origin {
    /// For people.
    pub fn words(self) -> &'static str {
        match self {
            Self::Request => "the request",
            Self::Manifest => "the manifest",
            Self::GenerationConfig => "generation_config.json",
            Self::Default => "default",
        }
    }
}

/// A value and who said it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Setting<T> {
    /// The value.
    pub value: T,
    /// Who said it.
    pub from: Origin,
}

impl<T: Clone + PartialEq> Setting<T> {
    fn of(manifest: Option<T>, file: Option<T>, default: T) -> Self {
        let (value, from) = match (manifest, file) {
            (Some(value), _) => (value, Origin::Manifest),
            (None, Some(value)) => (value, Origin::GenerationConfig),
            (None, None) => (default, Origin::Default),
        };
        Self { value, from }
    }

    /// With what a request asks for; where that is the same, whoever said it before has the word.
    fn asked(&self, value: &T) -> Self {
        match *value == self.value {
            true => self.clone(),
            false => Self {
                value: value.clone(),
                from: Origin::Request,
            },
        }
    }
}

/// Every setting of generation.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GenerationSettings {
    /// The most tokens of an answer.
    pub max_tokens: Setting<usize>,
    /// See [`SamplingOptions::temperature`].
    pub temperature: Setting<f32>,
    /// See [`SamplingOptions::top_k`].
    pub top_k: Setting<usize>,
    /// See [`SamplingOptions::top_p`].
    pub top_p: Setting<f32>,
    /// See [`SamplingOptions::min_p`].
    pub min_p: Setting<f32>,
    /// See [`SamplingOptions::repetition_penalty`].
    pub repetition_penalty: Setting<f32>,
    /// See [`SamplingOptions::presence_penalty`].
    pub presence_penalty: Setting<f32>,
    /// See [`SamplingOptions::frequency_penalty`].
    pub frequency_penalty: Setting<f32>,
    /// See [`SamplingOptions::logit_bias`].
    pub logit_bias: Setting<Vec<(u32, f32)>>,
    /// See [`SamplingOptions::no_repeat_ngram_size`].
    pub no_repeat_ngram_size: Setting<usize>,
    /// See [`SamplingOptions::bad_words_ids`].
    pub bad_words_ids: Setting<Vec<Vec<u32>>>,
    /// See [`SamplingOptions::suppress_tokens`].
    pub suppress_tokens: Setting<Vec<u32>>,
    /// See [`SamplingOptions::seed`].
    pub seed: Setting<u64>,
}

/// Tokens of an answer when nobody says how many.
const MAX_TOKENS: usize = 512;
/// What transformers takes for `top_k` in a file that samples and does not name it; a file that was saved leaves it out then.
const UNSAID_TOP_K: usize = 50;
/// The likewise unsaid temperature.
const UNSAID_TEMPERATURE: f32 = 1.0;

impl GenerationSettings {
    /// What manifest and file say; notes tell what of the file is out of its range or is not obeyed.
    pub fn new(manifest: &Generation, file: Option<&Value>) -> (Self, Vec<String>) {
        let mut file = File {
            content: file.unwrap_or(&Value::Null),
            notes: Vec::new(),
        };
        let defaults = SamplingOptions::default();
        // Without `do_sample`, transformers takes the likeliest token whatever else the file says.
        let samples = file.content["do_sample"].as_bool() == Some(true);
        let number = |file: &mut File, name, unsaid: Option<f32>, good: fn(f32) -> bool| match samples {
            true => file.number(name, good).or(unsaid),
            false => None,
        };
        let temperature = number(&mut file, "temperature", Some(UNSAID_TEMPERATURE), |t| t >= 0.0);
        let top_p = number(&mut file, "top_p", None, |p| p > 0.0 && p <= 1.0);
        let min_p = number(&mut file, "min_p", None, |p| (0.0..=1.0).contains(&p));
        let top_k = match samples {
            true => file.count("top_k").or(Some(UNSAID_TOP_K)),
            false => None,
        };
        let penalty = file.number("repetition_penalty", |r| r > 0.0);
        let presence = file.number("presence_penalty", |p| (-2.0..=2.0).contains(&p));
        let frequency = file.number("frequency_penalty", |p| (-2.0..=2.0).contains(&p));
        let biases = file.biases();
        let max_tokens = file.count("max_new_tokens").filter(|most| *most > 0);
        let ngram = file.count("no_repeat_ngram_size").filter(|size| *size > 0);
        let bad_words = file.bad_words();
        let suppressed = file.ids("suppress_tokens");
        file.note_what_is_not_obeyed(biases.is_some());
        let count = |count: Option<u32>| count.map(|count| count as usize);
        let settings = Self {
            max_tokens: Setting::of(count(manifest.max_tokens), max_tokens, MAX_TOKENS),
            temperature: Setting::of(manifest.temperature, temperature, defaults.temperature),
            top_k: Setting::of(count(manifest.top_k), top_k, defaults.top_k),
            top_p: Setting::of(manifest.top_p, top_p, defaults.top_p),
            min_p: Setting::of(manifest.min_p, min_p, defaults.min_p),
            repetition_penalty: Setting::of(
                manifest.repetition_penalty,
                penalty,
                defaults.repetition_penalty,
            ),
            presence_penalty: Setting::of(manifest.presence_penalty, presence, defaults.presence_penalty),
            frequency_penalty: Setting::of(manifest.frequency_penalty, frequency, defaults.frequency_penalty),
            logit_bias: Setting::of(manifest.logit_bias.clone(), biases, defaults.logit_bias),
            no_repeat_ngram_size: Setting::of(None, ngram, defaults.no_repeat_ngram_size),
            bad_words_ids: Setting::of(None, bad_words, defaults.bad_words_ids),
            suppress_tokens: Setting::of(None, suppressed, defaults.suppress_tokens),
            seed: Setting::of(manifest.seed, None, defaults.seed),
        };
        (settings, file.notes)
    }

    /// What the sampler is told.
    pub fn sampling(&self) -> SamplingOptions {
        SamplingOptions {
            temperature: self.temperature.value,
            top_k: self.top_k.value,
            top_p: self.top_p.value,
            min_p: self.min_p.value,
            repetition_penalty: self.repetition_penalty.value,
            presence_penalty: self.presence_penalty.value,
            frequency_penalty: self.frequency_penalty.value,
            logit_bias: self.logit_bias.value.clone(),
            no_repeat_ngram_size: self.no_repeat_ngram_size.value,
            bad_words_ids: self.bad_words_ids.value.clone(),
            suppress_tokens: self.suppress_tokens.value.clone(),
            seed: self.seed.value,
        }
    }

    /// With what a request asks for.
    pub fn asked(&self, max_tokens: usize, sampling: &SamplingOptions) -> Self {
        Self {
            max_tokens: self.max_tokens.asked(&max_tokens),
            temperature: self.temperature.asked(&sampling.temperature),
            top_k: self.top_k.asked(&sampling.top_k),
            top_p: self.top_p.asked(&sampling.top_p),
            min_p: self.min_p.asked(&sampling.min_p),
            repetition_penalty: self.repetition_penalty.asked(&sampling.repetition_penalty),
            presence_penalty: self.presence_penalty.asked(&sampling.presence_penalty),
            frequency_penalty: self.frequency_penalty.asked(&sampling.frequency_penalty),
            logit_bias: self.logit_bias.asked(&sampling.logit_bias),
            no_repeat_ngram_size: self.no_repeat_ngram_size.asked(&sampling.no_repeat_ngram_size),
            bad_words_ids: self.bad_words_ids.asked(&sampling.bad_words_ids),
            suppress_tokens: self.suppress_tokens.asked(&sampling.suppress_tokens),
            seed: self.seed.asked(&sampling.seed),
        }
    }

    /// Who names biases, and under which name.
    fn logit_bias_name(&self) -> &'static str {
        match self.logit_bias.from {
            Origin::GenerationConfig => "generation_config.json: `sequence_bias`",
            Origin::Request | Origin::Manifest | Origin::Default => "the manifest: `logit_bias`",
        }
    }

    /// Notes on tokens that must not come, or have biases, and that there are not: they forbid nothing.
    pub fn unknown_ids(&self, is_known: impl Fn(u32) -> bool) -> Vec<String> {
        let words = self.bad_words_ids.value.iter().flatten();
        let biases = self.logit_bias.value.iter().map(|(id, _)| *id);
        let named = [
            (self.logit_bias_name(), biases.collect()),
            (
                "generation_config.json: `bad_words_ids`",
                words.copied().collect::<Vec<u32>>(),
            ),
            (
                "generation_config.json: `suppress_tokens`",
                self.suppress_tokens.value.clone(),
            ),
        ];
        let note = |(name, ids): (&str, Vec<u32>)| {
            let mut unknown: Vec<u32> = ids.into_iter().filter(|id| !is_known(*id)).collect();
            unknown.sort_unstable();
            unknown.dedup();
            let shown: Vec<String> = unknown.iter().take(8).map(u32::to_string).collect();
            let more = match unknown.len() > shown.len() {
                true => format!(" and {} more", unknown.len() - shown.len()),
                false => String::new(),
            };
            (!unknown.is_empty()).then(|| {
                format!(
                    "{name} names tokens that the tokenizer lacks: {}{more}",
                    shown.join(", ")
                )
            })
        };
        named.into_iter().filter_map(note).collect()
    }

    /// For people: each with its value and its origin.
    pub fn words(&self) -> String {
        let part = |name: &str, value: &dyn std::fmt::Display, from: Origin| {
            format!("{name} {value} ({})", from.words())
        };
        let mut words = vec![
            part("max_tokens", &self.max_tokens.value, self.max_tokens.from),
            part("temperature", &self.temperature.value, self.temperature.from),
            part("top_k", &self.top_k.value, self.top_k.from),
            part("top_p", &self.top_p.value, self.top_p.from),
            part("min_p", &self.min_p.value, self.min_p.from),
            part(
                "repetition_penalty",
                &self.repetition_penalty.value,
                self.repetition_penalty.from,
            ),
            part("seed", &self.seed.value, self.seed.from),
        ];
        // Rare ones, only where somebody said them.
        let rare = [
            (
                "logit_bias: so many:",
                self.logit_bias.value.len(),
                self.logit_bias.from,
            ),
            (
                "no_repeat_ngram_size",
                self.no_repeat_ngram_size.value,
                self.no_repeat_ngram_size.from,
            ),
            (
                "bad_words_ids: so many:",
                self.bad_words_ids.value.len(),
                self.bad_words_ids.from,
            ),
            (
                "suppress_tokens: so many:",
                self.suppress_tokens.value.len(),
                self.suppress_tokens.from,
            ),
        ];
        let said = rare.iter().filter(|(_, _, from)| *from != Origin::Default);
        words.extend(said.map(|(name, value, from)| part(name, value, *from)));
        let penalties = [
            ("presence_penalty", &self.presence_penalty),
            ("frequency_penalty", &self.frequency_penalty),
        ];
        let said = penalties
            .iter()
            .filter(|(_, setting)| setting.from != Origin::Default);
        words.extend(said.map(|(name, setting)| part(name, &setting.value, setting.from)));
        words.join(", ")
    }
}

/// The model's file.
struct File<'a> {
    content: &'a Value,
    notes: Vec<String>,
}

impl File<'_> {
    /// A number in its range.
    fn number(&mut self, name: &str, good: fn(f32) -> bool) -> Option<f32> {
        let value = &self.content[name];
        let number = value.as_f64().map(|number| number as f32);
        self.good(name, number.filter(|number| number.is_finite() && good(*number)))
    }

    /// A whole number that is not negative.
    fn count(&mut self, name: &str) -> Option<usize> {
        let count = self.content[name]
            .as_u64()
            .and_then(|count| usize::try_from(count).ok());
        self.good(name, count)
    }

    /// A list of token ids.
    fn ids(&mut self, name: &str) -> Option<Vec<u32>> {
        let found = serde_json::from_value(self.content[name].clone()).ok();
        self.good(name, found).filter(|ids: &Vec<u32>| !ids.is_empty())
    }

    /// Biases of single tokens, which transformers writes as `[[[id], bias], …]`; where a sequence has several, nothing of the key is obeyed.
    fn biases(&mut self) -> Option<Vec<(u32, f32)>> {
        let found: Option<Vec<(Vec<u32>, f32)>> =
            serde_json::from_value(self.content["sequence_bias"].clone()).ok();
        let single = found?.into_iter().map(|(sequence, bias)| match sequence[..] {
            [id] if (-100.0..=100.0).contains(&bias) => Some((id, bias)),
            _ => None,
        });
        single
            .collect::<Option<Vec<_>>>()
            .filter(|biases| !biases.is_empty())
    }

    /// Sequences that are not to come. One that is an end token alone is left out, as in transformers: an answer must be able to end.
    fn bad_words(&mut self) -> Option<Vec<Vec<u32>>> {
        let found = serde_json::from_value(self.content["bad_words_ids"].clone()).ok();
        let mut words: Vec<Vec<u32>> = self.good("bad_words_ids", found)?;
        let end = &self.content["eos_token_id"];
        let is_end = |id: u32| match end {
            Value::Array(ends) => ends.contains(&id.into()),
            one => one.as_u64() == Some(u64::from(id)),
        };
        words.retain(|word| !word.is_empty() && !matches!(word[..], [id] if is_end(id)));
        Some(words).filter(|words| !words.is_empty())
    }

    fn good<T>(&mut self, name: &str, found: Option<T>) -> Option<T> {
        let value = &self.content[name];
        if found.is_none() && !value.is_null() {
            self.notes.push(format!(
                "generation_config.json: `{name}` is {value}, which is out of its range; passed over"
            ));
        }
        found
    }

    /// What changes answers in transformers and is not done here; values that change nothing are passed over in silence.
    fn note_what_is_not_obeyed(&mut self, has_biases: bool) {
        let unwanted = |value: &Value, idle: &[f64]| match value {
            Value::Null | Value::Bool(false) => false,
            Value::Number(number) => !idle.contains(&number.as_f64().unwrap_or(0.0)),
            Value::Array(list) => !list.is_empty(),
            Value::Object(table) => !table.is_empty(),
            _ => true,
        };
        let known: [(&str, &[f64]); 17] = [
            ("num_beams", &[0.0, 1.0]),
            ("penalty_alpha", &[0.0]),
            ("begin_suppress_tokens", &[]),
            ("encoder_no_repeat_ngram_size", &[0.0]),
            ("encoder_repetition_penalty", &[1.0]),
            ("min_length", &[0.0]),
            ("min_new_tokens", &[0.0]),
            ("typical_p", &[1.0]),
            ("top_h", &[]),
            ("epsilon_cutoff", &[0.0]),
            ("eta_cutoff", &[0.0]),
            ("guidance_scale", &[1.0]),
            ("sequence_bias", &[]),
            ("exponential_decay_length_penalty", &[]),
            ("forced_eos_token_id", &[]),
            ("stop_strings", &[]),
            ("watermarking_config", &[]),
        ];
        for (name, idle) in known {
            let value = &self.content[name];
            if name == "sequence_bias" && has_biases {
                continue;
            }
            if unwanted(value, idle) {
                let mut shown = value.to_string();
                if shown.chars().count() > 60 {
                    shown = shown.chars().take(60).chain(['…']).collect();
                }
                self.notes
                    .push(format!("generation_config.json: not obeyed: `{name}`: {shown}"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn settings(manifest: &Generation, file: Value) -> (GenerationSettings, Vec<String>) {
        GenerationSettings::new(manifest, Some(&file))
    }

    /// A manifest that says nothing.
    fn silent() -> Generation {
        Generation::default()
    }

    #[test]
    fn the_manifest_goes_before_the_file_and_the_file_before_defaults() {
        let file = json!({
            "do_sample": true, "temperature": 0.6, "top_p": 0.9, "min_p": 0.05, "top_k": 20, "repetition_penalty": 1.1,
            "max_new_tokens": 128,
        });
        let manifest = Generation {
            temperature: Some(0.2),
            top_k: Some(3),
            ..silent()
        };
        let (settings, notes) = settings(&manifest, file);
        assert_eq!(notes, Vec::<String>::new());
        let expected = SamplingOptions {
            temperature: 0.2,
            top_k: 3,
            top_p: 0.9,
            min_p: 0.05,
            repetition_penalty: 1.1,
            ..SamplingOptions::default()
        };
        assert_eq!(settings.sampling(), expected);
        assert_eq!(
            (settings.temperature.from, settings.top_k.from),
            (Origin::Manifest, Origin::Manifest)
        );
        assert_eq!(settings.top_p.from, Origin::GenerationConfig);
        assert_eq!(
            (settings.seed.from, settings.max_tokens.value),
            (Origin::Default, 128)
        );

        let asked = settings.asked(
            128,
            &SamplingOptions {
                top_p: 0.5,
                ..expected
            },
        );
        assert_eq!((asked.top_p.value, asked.top_p.from), (0.5, Origin::Request));
        assert_eq!(
            (asked.top_k.from, asked.max_tokens.from),
            (Origin::Manifest, Origin::GenerationConfig)
        );
    }

    #[test]
    fn a_file_that_does_not_sample_changes_the_penalty_alone() {
        for file in [
            json!({ "top_k": 50, "temperature": 0.6, "top_p": 0.9, "min_p": 0.1 }),
            json!({ "do_sample": false, "top_k": 50, "temperature": 0.6 }),
            json!({}),
            Value::Null,
        ] {
            let (settings, notes) = settings(&silent(), file);
            assert_eq!(settings.sampling(), SamplingOptions::default());
            assert_eq!((settings.max_tokens.value, notes.len()), (512, 0));
        }
        let (settings, _) = settings(&silent(), json!({ "repetition_penalty": 1.3, "top_k": 9 }));
        let expected = SamplingOptions {
            repetition_penalty: 1.3,
            ..SamplingOptions::default()
        };
        assert_eq!(settings.sampling(), expected);
    }

    /// transformers 5.23 takes temperature 1 and the 50 likeliest tokens where a file that samples says nothing of them.
    #[test]
    fn what_a_file_that_samples_leaves_out_is_what_transformers_takes() {
        let (settings, _) = settings(&silent(), json!({ "do_sample": true, "top_p": 0.95 }));
        let expected = SamplingOptions {
            temperature: 1.0,
            top_k: 50,
            top_p: 0.95,
            ..SamplingOptions::default()
        };
        assert_eq!(settings.sampling(), expected);
        assert_eq!(settings.top_k.from, Origin::GenerationConfig);
    }

    #[test]
    fn what_must_not_come_is_taken_over_but_for_the_end() {
        let (settings, notes) = settings(
            &silent(),
            json!({
                "eos_token_id": [2, 7], "no_repeat_ngram_size": 3, "bad_words_ids": [[5], [7], [1, 7], []],
                "suppress_tokens": [4, 6],
            }),
        );
        let expected = SamplingOptions {
            no_repeat_ngram_size: 3,
            bad_words_ids: vec![vec![5], vec![1, 7]],
            suppress_tokens: vec![4, 6],
            ..SamplingOptions::default()
        };
        assert_eq!((settings.sampling(), notes.len()), (expected, 0));
        assert!(
            settings
                .words()
                .contains("no_repeat_ngram_size 3 (generation_config.json)")
        );
    }

    #[test]
    fn ids_that_the_tokenizer_lacks_are_noted() {
        let many: Vec<u32> = (100..112).collect();
        let file = json!({ "bad_words_ids": [[5, 99], [7]], "suppress_tokens": many });
        let (settings, _) = settings(&silent(), file);
        assert_eq!(
            settings.unknown_ids(|id| id < 50),
            [
                "generation_config.json: `bad_words_ids` names tokens that the tokenizer lacks: 99",
                "generation_config.json: `suppress_tokens` names tokens that the tokenizer lacks: 100, 101, 102, 103, 104, 105, 106, 107 and 4 more",
            ]
        );
        assert_eq!(settings.unknown_ids(|_| true), [""; 0]);
    }

    #[test]
    fn what_is_not_obeyed_is_noted() {
        let (settings, notes) = settings(
            &silent(),
            json!({
                "num_beams": 4, "min_new_tokens": 5, "typical_p": 1.0, "guidance_scale": null, "do_sample": true,
                "temperature": -1, "top_p": "high", "suppress_tokens": [-1],
            }),
        );
        assert_eq!((settings.temperature.value, settings.top_p.value), (1.0, 1.0));
        let expected = [
            "generation_config.json: `temperature` is -1, which is out of its range; passed over",
            "generation_config.json: `top_p` is \"high\", which is out of its range; passed over",
            "generation_config.json: `suppress_tokens` is [-1], which is out of its range; passed over",
            "generation_config.json: not obeyed: `num_beams`: 4",
            "generation_config.json: not obeyed: `min_new_tokens`: 5",
        ];
        assert_eq!(notes, expected);
    }
}
