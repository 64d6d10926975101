//! `monocle inspect`: what a request would come to. No weight is read and nothing is computed.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::sync::Arc;

use clap::Args;
use monocle_runtime::memory::{MemoryEstimate, MemoryLimit};
use monocle_runtime::plugin::contract::ImagePlan;
use monocle_runtime::report::{ImageReport, ModelReport, PluginReport, PromptReport};
use monocle_weights::gguf::is_gguf_name;
use monocle_weights::{Checkpoint, Summary};
use serde::Serialize;

use super::overdue::{self, Watch};
use super::request::RequestArguments;
use super::stats::Lines;
use super::{isolate, output, stats};

#[derive(Debug, Args)]
pub struct Inspect {
    #[command(flatten)]
    request: RequestArguments,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// The checkpoint's content.
#[derive(Debug, Serialize)]
struct WeightsReport {
    files: usize,
    file_names: Vec<String>,
    tensors: usize,
    parameters: u64,
    bytes: u64,
    bytes_by_type: BTreeMap<String, u64>,
}

impl WeightsReport {
    fn of(checkpoint: &Checkpoint) -> Self {
        let summary = checkpoint.summary();
        let plain = summary.by_kind.iter();
        let plain = plain.map(|(kind, part)| (kind.name().to_owned(), part.bytes));
        let quantised = summary.by_form.iter();
        let quantised = quantised.map(|(form, part)| (form.clone(), part.bytes));
        let bytes_by_type = plain.chain(quantised).collect();
        let Summary {
            files,
            tensors,
            parameters,
            bytes,
            ..
        } = summary;
        Self {
            files,
            file_names: checkpoint.files().to_vec(),
            tensors,
            parameters,
            bytes,
            bytes_by_type,
        }
    }
}

#[derive(Debug, Serialize)]
struct Inspection {
    model: ModelReport,
    plugins: Vec<PluginReport>,
    engine: &'static str,
    device: String,
    prompt: PromptReport,
    token_ids: Vec<u32>,
    /// Of the encoder's prompt, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    encoder_ids: Option<Vec<u32>>,
    images: Vec<ImageReport>,
    /// What the plugin planned for each picture: shapes, layout, features.
    plans: Vec<ImagePlan>,
    weights: WeightsReport,
    memory: MemoryInspection,
    /// Keys of `config.json` that the plugin does not read.
    unread_config: Vec<String>,
    notes: Vec<String>,
}

/// What it would take, what it may take, and whether that fits.
#[derive(Debug, Serialize)]
struct MemoryInspection {
    #[serde(flatten)]
    estimate: MemoryEstimate,
    total_bytes: usize,
    limit_bytes: Option<usize>,
    fits: bool,
}

impl MemoryInspection {
    fn new(estimate: MemoryEstimate, limit: Option<MemoryLimit>) -> Self {
        let (total_bytes, limit_bytes) = (estimate.total(), limit.map(|limit| limit.bytes));
        Self {
            estimate,
            total_bytes,
            limit_bytes,
            fits: limit_bytes.is_none_or(|limit| total_bytes <= limit),
        }
    }
}

impl Inspect {
    pub fn run(self) -> anyhow::Result<()> {
        if self.request.isolate && !isolate::is_inside() {
            return isolate::run_inside();
        }
        let quiet = self.json || !std::io::stderr().is_terminal();
        let (mut scheduler, request) = self.request.open(quiet, overdue::USUAL)?;
        let _watch = Watch::over("the request", overdue::USUAL);
        let model = Arc::clone(scheduler.model());
        let max_tokens = self.request.length.max_tokens(&model);
        let chunk = self.request.options.prefill_chunk as usize;
        let prepared = scheduler.prepare(&request, max_tokens, chunk)?;
        let inspection = Inspection {
            model: model.report.clone(),
            plugins: model.plugins().map(PluginReport::of).collect(),
            engine: scheduler.backend().name(),
            device: scheduler.backend().device(),
            prompt: prepared.prompt_report(),
            token_ids: prepared.prompt.ids().to_vec(),
            encoder_ids: prepared.encoder_ids().map(<[u32]>::to_vec),
            images: prepared.image_reports(),
            plans: prepared.plan.images.clone(),
            weights: WeightsReport::of(model.checkpoint()),
            memory: MemoryInspection::new(prepared.estimate, scheduler.memory_limit()),
            unread_config: model.unread_config(),
            notes: [model.notes(), prepared.notes(), scheduler.weight_notes()].concat(),
        };
        match self.json {
            true => output::print_json(&inspection),
            false => output::print(&text(&inspection, max_tokens)),
        }
    }
}

fn text(inspection: &Inspection, max_tokens: usize) -> String {
    let mut lines = Lines::new(10);
    lines.add("model", &inspection.model.name);
    lines.add("declared", &inspection.model.declared_by);
    lines.add("folder", &inspection.model.folder);
    for plugin in &inspection.plugins {
        lines.add("plugin", stats::plugin(plugin));
    }
    lines.add("engine", format!("{}: {}", inspection.engine, inspection.device));
    let weights = &inspection.weights;
    let kinds = weights
        .bytes_by_type
        .iter()
        .map(|(kind, bytes)| format!("{kind} {}", stats::bytes(*bytes as usize)));
    lines.add(
        "weights",
        format!(
            "{} parameters in {} ({}; {})",
            weights.parameters,
            stats::count(weights.tensors, "tensor"),
            stats::count(weights.files, "file"),
            kinds.collect::<Vec<_>>().join(", ")
        ),
    );
    // Which of the files beside a GGUF file goes with it is not to be guessed.
    if weights.file_names.iter().any(|name| is_gguf_name(name)) {
        lines.add("files", weights.file_names.join(", "));
    }
    for image in &inspection.images {
        lines.add("picture", stats::picture(image));
    }
    for line in stats::estimate(&inspection.memory.estimate, max_tokens) {
        lines.add("memory", line);
    }
    let memory = &inspection.memory;
    if let Some(limit) = memory.limit_bytes {
        let verdict = if memory.fits { "fits" } else { "does not fit" };
        let total = stats::bytes(memory.total_bytes);
        lines.add(
            "memory",
            format!("{total} in all {verdict} the limit of {}", stats::bytes(limit)),
        );
    }
    let prompt = &inspection.prompt;
    if !inspection.unread_config.is_empty() {
        let keys = inspection.unread_config.join(", ");
        lines.add("config", format!("not read by the plugin: {keys}"));
    }
    for note in &inspection.notes {
        lines.add("note", note);
    }
    lines.add("template", format!("from {}", prompt.template));
    lines.add("prompt", format!("{}:", stats::prompt(prompt)));
    let mut text = lines.finish();
    text.push_str(&output::safe_for(&std::io::stdout(), &prompt.text));
    if !text.ends_with('\n') {
        text.push('\n');
    }
    text
}
