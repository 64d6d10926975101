//! What was done to a request, and what it cost: measured where it happens, absent when absent.

use std::time::Duration;

use monocle_tensor::backend::{Backend, MemoryUse};
use monocle_text::{FinishReason, Generated};
use serde::{Serialize, Serializer};

use crate::memory::MemoryEstimate;
use crate::memory::process;
use crate::model::generation::GenerationSettings;
use crate::plugin::contract::{AnswerPart, AttentionScheme, Size};
use crate::plugin::loaded::Plugin;
use crate::plugin::stamp::PluginKind;
use crate::plugin::state::{LogLevel, LogLine};

/// A finished request.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Which model answered.
    pub model: ModelReport,
    /// What ran it.
    pub host: HostReport,
    /// The prompt.
    pub prompt: PromptReport,
    /// Each picture: as given, as used.
    pub images: Vec<ImageReport>,
    /// How tokens were chosen, and who said so.
    pub generation: GenerationSettings,
    /// The answer, why it ended and what was taken out of it.
    pub output: Generated,
    /// What the answer says beside its words: rectangles, points, in pixels of the pictures as given. Only where the plugin finds such things.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<AnswerPart>,
    /// Ids of the tokens that were generated, the end token included.
    pub token_ids: Vec<u32>,
    /// Where the time went.
    pub timings: Timings,
    /// Where the memory went.
    pub memory: MemoryReport,
    /// How often plugin code ran.
    pub plugin_calls: PluginCalls,
    /// What the user should know besides.
    pub notes: Vec<String>,
    /// What plugins wrote to their log for the curious and for their authors.
    pub log: Vec<String>,
}

impl Report {
    /// Takes a plugin's log in: warnings become notes.
    pub(crate) fn add_log(&mut self, plugin: &str, lines: Vec<LogLine>) {
        for LogLine { level, text } in lines {
            match level {
                LogLevel::Warn => self.notes.push(format!("{plugin}: {text}")),
                LogLevel::Info => self.log.push(format!("{plugin}: info: {text}")),
                LogLevel::Debug => self.log.push(format!("{plugin}: debug: {text}")),
            }
        }
    }
}

/// Which model.
#[derive(Debug, Clone, Serialize)]
pub struct ModelReport {
    /// The manifest's name, or the folder's.
    pub name: String,
    /// Where the declaration came from: a manifest's path, or how the plugin was found without one.
    pub declared_by: String,
    /// Where the weights are.
    pub folder: String,
}

/// What ran it.
#[derive(Debug, Clone, Serialize)]
pub struct HostReport {
    /// Monocle's version.
    pub version: String,
    /// The contract that it speaks.
    pub contract: String,
    /// The engine's name.
    pub engine: String,
    /// What the engine runs on.
    pub device: String,
    /// The plugins.
    pub plugins: Vec<PluginReport>,
}

/// A plugin.
#[derive(Debug, Clone, Serialize)]
pub struct PluginReport {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The contract that it was built for.
    pub contract: String,
    /// Its world.
    pub kind: PluginKind,
    /// Whether it is a native library, which no sandbox holds.
    pub native: bool,
    /// SHA-256 of its file.
    pub sha256: String,
}

impl PluginReport {
    /// What there is to say of a plugin.
    pub fn of(plugin: &Plugin) -> Self {
        Self {
            name: plugin.stamp.name.clone(),
            version: plugin.stamp.version.clone(),
            contract: plugin.stamp.contract.clone(),
            kind: plugin.stamp.kind,
            native: plugin.native,
            sha256: plugin.hash.clone(),
        }
    }
}

/// The prompt.
#[derive(Debug, Clone, Serialize)]
pub struct PromptReport {
    /// As rendered, placeholders not expanded.
    pub text: String,
    /// Where the template came from.
    pub template: String,
    /// Tokens in all.
    pub tokens: usize,
    /// Those of them that hold picture features.
    pub image_tokens: usize,
    /// Tokens of the encoder's prompt, where there is one; picture features are in it then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encoder_tokens: Option<usize>,
    /// Those whose state was there already, from an earlier request that began the same way.
    pub cached_tokens: usize,
    /// Pictures whose features were there already.
    pub cached_pictures: usize,
    /// Who sees whom.
    pub attention: AttentionScheme,
}

/// A picture.
#[derive(Debug, Clone, Serialize)]
pub struct ImageReport {
    /// What the user called it.
    pub name: String,
    /// Kind of file.
    pub format: String,
    /// As the file has it, turned upright.
    pub given: Size,
    /// As the model saw it.
    pub used: Size,
    /// Pieces it was cut into.
    pub tiles: u32,
    /// Tokens it took.
    pub tokens: u32,
    /// What else was done to it.
    pub steps: Vec<String>,
    /// Whether an earlier request had computed already what the answer needed of it.
    pub cached: bool,
}

/// Durations, in seconds.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Timings {
    /// Opening the model: plugin, tokenizer, weights.
    #[serde(rename = "load_s", serialize_with = "seconds")]
    pub load: Duration,
    /// Decoding pictures and preparing their pixels.
    #[serde(rename = "images_s", serialize_with = "seconds")]
    pub images: Duration,
    /// Planning: template, tokenizer.
    #[serde(rename = "plan_s", serialize_with = "seconds")]
    pub plan: Duration,
    /// Recording programs: nothing once a signature is known.
    #[serde(rename = "record_s", serialize_with = "seconds")]
    pub record: Duration,
    /// Vision tower and projector.
    #[serde(rename = "encode_s", serialize_with = "seconds")]
    pub encode: Duration,
    /// The prompt through the decoder.
    #[serde(rename = "prefill_s", serialize_with = "seconds")]
    pub prefill: Duration,
    /// From the request to its first token; loading not included.
    #[serde(rename = "first_token_s", serialize_with = "seconds")]
    pub first_token: Duration,
    /// From the first token to the last.
    #[serde(rename = "decode_s", serialize_with = "seconds")]
    pub decode: Duration,
    /// The request in all.
    #[serde(rename = "total_s", serialize_with = "seconds")]
    pub total: Duration,
    /// Prompt tokens a second of prefill.
    pub prefill_tokens_per_s: Option<f64>,
    /// Tokens a second after the first.
    pub decode_tokens_per_s: Option<f64>,
}

fn seconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_secs_f64())
}

/// Memory, in bytes.
#[derive(Debug, Clone, Default, Serialize)]
pub struct MemoryReport {
    /// Weights as stored: mapped, so shared with the system's file cache.
    pub weights_bytes: usize,
    /// The limit; absent where nobody knows how much memory there is.
    pub limit_bytes: Option<usize>,
    /// What was expected of the request before anything was computed.
    pub estimate: MemoryEstimate,
    /// While weights were loaded, before the first request.
    pub load: PhaseMemory,
    /// While pictures were encoded.
    pub encode: PhaseMemory,
    /// During prefill.
    pub prefill: PhaseMemory,
    /// During decode.
    pub decode: PhaseMemory,
    /// The most that the process ever had resident, mapped weights included; absent where the system does not say.
    pub process_peak_bytes: Option<usize>,
}

/// A phase's memory, in bytes: what the engine has allocated, as it counts itself, and what the system says of the process.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct PhaseMemory {
    /// The most that the engine had at once during the phase.
    pub peak_bytes: usize,
    /// What it had at the end of the phase.
    pub active_bytes: usize,
    /// What it kept for reuse then.
    pub cached_bytes: usize,
    /// What the process had resident then, mapped weights included; absent where the system does not say.
    pub process_bytes: Option<usize>,
}

impl PhaseMemory {
    /// At the end of a phase that began with [`Backend::reset_peak`].
    pub fn now(backend: &dyn Backend) -> Self {
        let MemoryUse { active, peak, cached } = backend.memory();
        Self {
            peak_bytes: peak,
            active_bytes: active,
            cached_bytes: cached,
            process_bytes: process::resident(),
        }
    }
}

impl MemoryReport {
    /// The most that the engine had at once while it answered.
    pub fn engine_peak(&self) -> usize {
        let phases = [&self.encode, &self.prefill, &self.decode];
        phases
            .map(|phase| phase.peak_bytes)
            .into_iter()
            .max()
            .unwrap_or(0)
    }
}

/// Calls of plugin functions.
#[derive(Debug, Clone, Default, Serialize)]
pub struct PluginCalls {
    /// To configure, plan, load, prepare pictures and record programs.
    pub before_decode: u64,
    /// While tokens were generated.
    pub during_decode: u64,
    /// The latter for each token after the first.
    pub per_decoded_token: f64,
}

/// Why an answer ended, in words.
pub fn describe(reason: &FinishReason) -> String {
    match reason {
        FinishReason::EndToken { token, .. } => format!("the model ended it with `{token}`"),
        FinishReason::StopString { stop } => format!("the stop string {stop:?} came"),
        FinishReason::MaxTokens => "the most tokens that were asked for were generated".to_owned(),
        FinishReason::ContextFull => "the model's context is full".to_owned(),
        FinishReason::Cancelled => "it was cancelled".to_owned(),
        FinishReason::Complete => "it is complete: nothing could follow".to_owned(),
        FinishReason::Empty => "no token was generated".to_owned(),
    }
}
