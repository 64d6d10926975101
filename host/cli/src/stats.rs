//! A report, for people.

use std::fmt::Write;
use std::time::Duration;

use monocle_runtime::memory::MemoryEstimate;
use monocle_runtime::report::describe;
use monocle_runtime::report::{ImageReport, PhaseMemory, PluginReport, PromptReport, Report};
use monocle_text::{Flag, RemovedKind};

/// What was done and what it cost, a line each.
pub fn text(report: &Report) -> String {
    let mut lines = Lines::new(13);
    lines.add(
        "model",
        format!("{} ({})", report.model.name, report.model.declared_by),
    );
    for plugin in &report.host.plugins {
        lines.add("plugin", self::plugin(plugin));
    }
    lines.add(
        "host",
        format!(
            "monocle {}, contract {}",
            report.host.version, report.host.contract
        ),
    );
    lines.add(
        "engine",
        format!("{}: {}", report.host.engine, report.host.device),
    );
    lines.add("template", format!("from {}", report.prompt.template));
    for image in &report.images {
        lines.add("picture", picture(image));
    }
    lines.add("prompt", prompt(&report.prompt));
    lines.add("settings", report.generation.words());
    lines.add(
        "answer",
        format!(
            "{}; {}",
            count(report.output.tokens, "token"),
            describe(&report.output.finish)
        ),
    );
    for removed in &report.output.removed {
        lines.add(
            "removed",
            format!("{} `{}` x{}", kind(removed.kind), removed.what, removed.count),
        );
    }
    let timings = &report.timings;
    lines.add("load", time(timings.load));
    lines.add("pictures", time(timings.images));
    lines.add(
        "plan",
        format!("{}, recording {}", time(timings.plan), time(timings.record)),
    );
    lines.add("encode", time(timings.encode));
    lines.add(
        "prefill",
        with_rate(timings.prefill, timings.prefill_tokens_per_s),
    );
    lines.add(
        "first token",
        format!("{} after the request", time(timings.first_token)),
    );
    lines.add("decode", with_rate(timings.decode, timings.decode_tokens_per_s));
    lines.add("total", time(timings.total));
    let memory = &report.memory;
    lines.add("weights", bytes(memory.weights_bytes));
    let limit = memory.limit_bytes.map_or("unknown".to_owned(), bytes);
    lines.add(
        "memory",
        format!(
            "{} expected with weights and pictures, {} of it the engine's; the limit is {limit}",
            bytes(memory.estimate.total()),
            bytes(memory.estimate.engine_peak())
        ),
    );
    let phases = [
        ("load", &memory.load),
        ("encode", &memory.encode),
        ("prefill", &memory.prefill),
        ("decode", &memory.decode),
    ];
    for (name, phase) in phases {
        lines.add("memory", format!("{name}: {}", self::phase(phase)));
    }
    if let Some(peak) = memory.process_peak_bytes {
        lines.add("process", format!("peak {} resident", bytes(peak)));
    }
    let calls = &report.plugin_calls;
    lines.add(
        "plugin calls",
        format!(
            "{} before the first token, {} after ({:.2} a token)",
            calls.before_decode, calls.during_decode, calls.per_decoded_token
        ),
    );
    lines.finish()
}

/// What looks wrong with the answer.
pub fn flags(report: &Report) -> Vec<String> {
    let flags = report.output.flags.iter().filter_map(|flag| match flag {
        Flag::Empty => None, // told as a note, with the reason
        Flag::Repetition { what, times } => Some(format!(
            "the answer repeats itself: {what:?} {times} times in a row"
        )),
        Flag::PromptEcho { words } => Some(format!(
            "the answer echoes the request: {words} words of it in a row"
        )),
        Flag::Refusal { sentence } => Some(format!("this looks like a refusal: {sentence:?}")),
        Flag::ContextIgnored { names } => Some(format!(
            "the answer says nothing of what the request names: {}",
            names.join(", ")
        )),
    });
    flags.collect()
}

/// A picture, as given and as used.
pub fn picture(image: &ImageReport) -> String {
    let mut line = format!(
        "{}: {} {}, used as {} in {}, {}",
        image.name,
        image.format,
        image.given,
        image.used,
        count(image.tiles as usize, "tile"),
        count(image.tokens as usize, "token")
    );
    for step in &image.steps {
        let _ = write!(line, "; {step}");
    }
    line
}

/// What is expected, a line a subject.
pub fn estimate(estimate: &MemoryEstimate, max_tokens: usize) -> [String; 2] {
    let parts = format!(
        "{} weights as stored, {} pictures, {} features, {} caches for {max_tokens} tokens more, {} intermediate results, {} kept for reuse \
         afterwards",
        bytes(estimate.weights_bytes),
        bytes(estimate.picture_bytes),
        bytes(estimate.feature_bytes),
        bytes(estimate.cache_bytes),
        bytes(estimate.program_bytes),
        bytes(estimate.kept_bytes)
    );
    let peaks = format!(
        "the engine's peak: {} load, {} encode, {} prefill, {} decode",
        bytes(estimate.load_peak_bytes),
        bytes(estimate.encode_peak_bytes),
        bytes(estimate.prefill_peak_bytes),
        bytes(estimate.decode_peak_bytes)
    );
    [parts, peaks]
}

fn phase(phase: &PhaseMemory) -> String {
    let process = phase
        .process_bytes
        .map(|resident| format!("; the process {}", bytes(resident)));
    format!(
        "peak {}, then {} in use and {} kept for reuse{}",
        bytes(phase.peak_bytes),
        bytes(phase.active_bytes),
        bytes(phase.cached_bytes),
        process.unwrap_or_default()
    )
}

/// Bytes with a unit.
pub fn bytes(bytes: usize) -> String {
    indicatif::HumanBytes(bytes as u64).to_string()
}

/// So many of something.
pub fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// A prompt's tokens, in a line.
pub fn prompt(prompt: &PromptReport) -> String {
    let pictures = prompt.image_tokens;
    let tokens = count(prompt.tokens, "token");
    match prompt.encoder_tokens {
        None => format!("{tokens}, {pictures} of them for pictures"),
        Some(encoder) => format!(
            "{} for the encoder, {pictures} of them for pictures; {tokens} for the decoder",
            count(encoder, "token")
        ),
    }
}

/// A plugin, in a line.
pub fn plugin(plugin: &PluginReport) -> String {
    format!(
        "{} {}, contract {}, {}{}, sha256 {}…",
        plugin.name,
        plugin.version,
        plugin.contract,
        plugin.kind,
        if plugin.native { " (native library)" } else { "" },
        &plugin.sha256[..12]
    )
}

/// Lines of a name and a value; the names end in one column.
pub struct Lines {
    width: usize,
    text: String,
}

impl Lines {
    /// No lines yet; names may be so wide.
    pub fn new(width: usize) -> Self {
        Self {
            width,
            text: String::new(),
        }
    }

    /// One more.
    pub fn add(&mut self, what: &str, value: impl std::fmt::Display) {
        let _ = writeln!(self.text, "{what:>width$}  {value}", width = self.width);
    }

    /// All of them.
    pub fn finish(self) -> String {
        self.text
    }
}

fn time(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    if seconds < 1.0 {
        format!("{:.1} ms", seconds * 1000.0)
    } else {
        format!("{seconds:.2} s")
    }
}

fn with_rate(duration: Duration, rate: Option<f64>) -> String {
    match rate {
        Some(rate) => format!("{} ({rate:.1} tokens/s)", time(duration)),
        None => time(duration),
    }
}

fn kind(kind: RemovedKind) -> &'static str {
    match kind {
        RemovedKind::EndToken => "end token",
        RemovedKind::SpecialToken => "special token",
        RemovedKind::UnknownToken => "token that the tokenizer does not have",
        RemovedKind::StopString => "stop string",
        RemovedKind::Strip => "stripped text",
        RemovedKind::ReasoningMarker => "reasoning marker",
        RemovedKind::LeadingSpace => "leading white space",
        RemovedKind::UnfinishedCharacter => "unfinished character",
    }
}
