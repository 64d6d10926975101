//! One model's answer to one question, or why there is none: a line of `results.jsonl`.

use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::findings::Finding;
use crate::grade::Grade;

/// See the module.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Row {
    /// Of everything that the answer depends on: the model, the picture, the prompt, the settings. Equal keys ask the same.
    pub key: String,
    /// What the model is called.
    pub model: String,
    /// What was asked with: `with context`, `blind`, or nothing where there is one question only.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub variant: String,
    /// When it ended: seconds since 1970.
    pub time: u64,
    /// What ran it.
    pub host: Host,
    /// The prompt as given.
    pub prompt: String,
    /// The answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<Answer>,
    /// Why there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// What it took.
    pub figures: Figures,
    /// What looks wrong with the answer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<Finding>,
    /// What the answer is worth.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grade: Option<Grade>,
    /// What the user should know besides.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// The command that repeats this run alone.
    pub repeat: String,
}

/// What ran a model.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Host {
    /// The program and its version, or a server's address.
    pub program: String,
    /// The engine and its device; absent for servers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine: Option<String>,
    /// The plugins: name, version, SHA-256.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub plugins: Vec<String>,
    /// Where the model's files are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folder: Option<String>,
    /// The model's declaration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub declared_by: Option<String>,
    /// The settings of generation, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settings: Option<String>,
    /// SHA-256 of the picture's file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub picture_sha256: Option<String>,
    /// Processor, cores, memory, system.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub machine: String,
}

/// An answer.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Answer {
    /// The text.
    pub text: String,
    /// The reasoning before it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reasoning: String,
    /// Why it ended, in words.
    pub finish: String,
    /// Whether that was a limit: on tokens, or the context's.
    pub is_cut: bool,
    /// The last token, as text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_token: Option<String>,
    /// What was taken out of the text.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub removed: Vec<String>,
}

/// What a row took; what was not measured is absent.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Figures {
    /// Tokens of the prompt. Other servers state only this number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt_tokens: Option<u64>,
    /// Tokens of the prompt that are text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text_tokens: Option<u64>,
    /// Tokens of the prompt that are the picture.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub picture_tokens: Option<u64>,
    /// Tokens of the answer, reasoning and the end's token included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer_tokens: Option<u64>,
    /// Opening the model and handing its weights over; of a server: from its start until it was ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub load_s: Option<f64>,
    /// Decoding the picture and making the model's pixels of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub picture_s: Option<f64>,
    /// The vision tower.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encode_s: Option<f64>,
    /// The prompt through the decoder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefill_s: Option<f64>,
    /// Prompt tokens a second of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefill_tokens_per_s: Option<f64>,
    /// From the request to the first token; loading not included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_token_s: Option<f64>,
    /// From the first token to the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decode_s: Option<f64>,
    /// Tokens a second after the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decode_tokens_per_s: Option<f64>,
    /// The request in all; loading not included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total_s: Option<f64>,
    /// The process, from its start to its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub process_s: Option<f64>,
    /// The most that the engine had allocated while weights were loaded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub load_peak_bytes: Option<u64>,
    /// … while the picture was encoded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encode_peak_bytes: Option<u64>,
    /// … during prefill.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefill_peak_bytes: Option<u64>,
    /// … during decode.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decode_peak_bytes: Option<u64>,
    /// The most that the process had resident, mapped weights included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub process_peak_bytes: Option<u64>,
}

impl Figures {
    /// The most memory that anybody saw: the process's, else the engine's.
    pub fn peak_bytes(&self) -> Option<u64> {
        let engine = [
            self.load_peak_bytes,
            self.encode_peak_bytes,
            self.prefill_peak_bytes,
            self.decode_peak_bytes,
        ];
        self.process_peak_bytes.or(engine.into_iter().flatten().max())
    }
}

impl Row {
    /// Whether there is an answer.
    pub fn is_answered(&self) -> bool {
        self.failure.is_none() && self.answer.is_some()
    }

    /// The model, and what it was asked with.
    pub fn title(&self) -> String {
        match self.variant.as_str() {
            "" => self.model.clone(),
            variant => format!("{} ({variant})", self.model),
        }
    }
}
