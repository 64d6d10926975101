//! A manifest's rules, in the host's own terms.

use monocle_image::DecodeOptions;
use monocle_manifest::Manifest;
use monocle_manifest::schema::{Oversize, WideGrey};
use monocle_text::{MarkersFrom, OutputRules, ReasoningMarkers};
use serde_json::Value;

use super::generation::GenerationSettings;
use crate::plugin::limits::Limits;
use crate::request::pictures::PixelCap;

/// See the module.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How pictures are decoded.
    pub decode: DecodeOptions,
    /// What becomes of large pictures.
    pub pixel_cap: Option<PixelCap>,
    /// The most pictures of a request.
    pub max_images: Option<usize>,
    /// Tokens that the model's context holds, where its configuration says so.
    pub context: Option<usize>,
    /// How tokens are chosen and how many, and who said so.
    pub generation: GenerationSettings,
    /// What of the model's `generation_config.json` is passed over.
    pub generation_notes: Vec<String>,
    /// The token that `generation_config.json` wants answers to begin with: plans that know of it put it at the prompt's end.
    pub forced_first: Option<u32>,
    /// The output filter's rules.
    pub output: OutputRules,
    /// Tokens that end an answer, by their text.
    pub stop_tokens: Vec<String>,
    /// Tokens after which reasoning is closed.
    pub thinking_budget: Option<usize>,
    /// The system message when the user gives none.
    pub system: Option<String>,
    /// What plugins may use.
    pub limits: Limits,
}

impl Settings {
    /// The rules of a manifest for a model of this `config.json` and, where it has one, `generation_config.json`.
    pub fn new(manifest: &Manifest, config: &Value, generation_config: Option<&Value>) -> Self {
        let generation = &manifest.generation;
        let (chosen, generation_notes) = GenerationSettings::new(generation, generation_config);
        let reasoning = manifest.output.reasoning.as_ref();
        let context = context(config);
        Self {
            decode: DecodeOptions {
                wide_grey: match manifest.image.wide_grey {
                    WideGrey::Scale => monocle_image::WideGrey::Scale,
                    WideGrey::Pillow => monocle_image::WideGrey::Clip,
                },
                ..DecodeOptions::default()
            },
            pixel_cap: manifest.image.max_pixels.map(|max_pixels| PixelCap {
                max_pixels,
                refuse: manifest.image.over == Oversize::Refuse,
            }),
            max_images: manifest.image.max_images.map(|images| images as usize),
            context,
            generation: chosen,
            generation_notes,
            forced_first: generation_config
                .and_then(|file| file["forced_bos_token_id"].as_u64())
                .and_then(|id| u32::try_from(id).ok()),
            output: OutputRules {
                stop: generation.stop.clone(),
                strip: manifest.output.strip.clone(),
                keep_tokens: Vec::new(),
                reasoning: reasoning.map(|reasoning| ReasoningMarkers {
                    start: reasoning.start.clone(),
                    end: reasoning.end.clone(),
                }),
                reasoning_from: reasoning.map(|_| MarkersFrom::Manifest),
                reasoning_opened: reasoning.is_some_and(|reasoning| reasoning.opened),
                trim_start: manifest.output.trim,
                trim_reasoning: false,
            },
            stop_tokens: generation.stop_tokens.clone(),
            thinking_budget: reasoning
                .and_then(|reasoning| reasoning.budget)
                .map(|budget| budget as usize),
            system: manifest.prompt.system.clone(),
            limits: limits(&manifest.limits, context),
        }
    }
}

/// `max_position_embeddings`, where Hugging Face configurations have it.
fn context(config: &Value) -> Option<usize> {
    [
        &config["text_config"],
        &config["llm_config"],
        &config["language_config"],
        config,
    ]
    .iter()
    .find_map(|part| part["max_position_embeddings"].as_u64())
    .filter(|context| *context > 0)
    .map(|context| context as usize)
}

fn limits(manifest: &monocle_manifest::schema::Limits, context: Option<usize>) -> Limits {
    let (mut limits, most) = (Limits::default(), Limits::MAXIMUM);
    limits.text_bytes = Limits::text_of(context);
    if let Some(mib) = manifest.memory_mib {
        limits.memory_bytes = ((mib as usize) << 20).min(most.memory_bytes);
    }
    if let Some(milliseconds) = manifest.call_timeout_ms {
        limits.call = std::time::Duration::from_millis(milliseconds.into()).min(most.call);
    }
    // A handle is an operation's result: both bounds come down to operations.
    for bound in [manifest.operations, manifest.tensors].into_iter().flatten() {
        let bound = (bound as usize).min(most.recording.operations);
        limits.recording.operations = match manifest.operations.is_some() && manifest.tensors.is_some() {
            true => limits.recording.operations.min(bound),
            false => bound,
        };
    }
    limits
}
