//! What is counted, in Prometheus' text form; names are vLLM's behind `monocle_`, so that dashboards need a new beginning only.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use monocle_runtime::report::Report;

use crate::app::App;
use crate::failure::Kind;

/// Upper ends of the buckets of durations, in seconds.
const BUCKETS: [f64; 14] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0,
];

/// See the module.
#[derive(Default)]
pub struct Metrics(Mutex<Counted>);

#[derive(Default)]
struct Counted {
    models: BTreeMap<String, OfModel>,
    refused: BTreeMap<&'static str, u64>,
    disconnected: u64,
}

#[derive(Default)]
struct OfModel {
    prompt_tokens: u64,
    cached_tokens: u64,
    answer_tokens: u64,
    images: u64,
    image_tokens: u64,
    cached_images: u64,
    finished: BTreeMap<&'static str, u64>,
    first_token: Histogram,
    between_tokens: Histogram,
    whole: Histogram,
    prefill: Histogram,
    decode: Histogram,
    encode: Histogram,
}

#[derive(Default)]
struct Histogram {
    counts: [u64; BUCKETS.len()],
    sum: f64,
    count: u64,
}

impl Histogram {
    fn add(&mut self, time: Duration) {
        let seconds = time.as_secs_f64();
        for (count, end) in self.counts.iter_mut().zip(BUCKETS) {
            *count += u64::from(seconds <= end);
        }
        self.sum += seconds;
        self.count += 1;
    }

    fn write(&self, text: &mut String, name: &str, label: &str) {
        for (count, end) in self.counts.iter().zip(BUCKETS) {
            let _ = writeln!(text, "monocle_{name}_bucket{{{label},le=\"{end}\"}} {count}");
        }
        let _ = writeln!(
            text,
            "monocle_{name}_bucket{{{label},le=\"+Inf\"}} {}",
            self.count
        );
        let _ = writeln!(text, "monocle_{name}_sum{{{label}}} {}", self.sum);
        let _ = writeln!(text, "monocle_{name}_count{{{label}}} {}", self.count);
    }
}

/// A count of a model.
type Counter = fn(&OfModel) -> u64;
/// Times of a model.
type Timing = fn(&OfModel) -> &Histogram;

impl Metrics {
    fn with<T>(&self, act: impl FnOnce(&mut Counted) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Text came, now.
    pub fn token_time(
        &self,
        model: &str,
        started: Instant,
        first: Option<Instant>,
        last: Option<Instant>,
        now: Instant,
    ) {
        self.with(|counted| {
            let model = counted.models.entry(model.to_owned()).or_default();
            match (first, last) {
                (Some(_), Some(last)) => model.between_tokens.add(now - last),
                _ => model.first_token.add(now - started),
            }
        });
    }

    /// A request was answered.
    pub fn done(&self, model: &str, report: &Report) {
        use monocle_text::FinishReason::{ContextFull, MaxTokens};
        self.with(|counted| {
            let model = counted.models.entry(model.to_owned()).or_default();
            model.prompt_tokens += report.prompt.tokens as u64;
            model.cached_tokens += report.prompt.cached_tokens as u64;
            model.answer_tokens += report.output.tokens as u64;
            model.images += report.images.len() as u64;
            model.image_tokens += report.prompt.image_tokens as u64;
            model.cached_images += report.images.iter().filter(|image| image.cached).count() as u64;
            let finish = match report.output.finish {
                MaxTokens | ContextFull => "length",
                _ => "stop",
            };
            *model.finished.entry(finish).or_default() += 1;
            model.whole.add(report.timings.total);
            model.prefill.add(report.timings.prefill);
            model.decode.add(report.timings.decode);
            model.encode.add(report.timings.encode);
        });
    }

    /// A request was not answered.
    pub fn refused(&self, kind: Kind) {
        self.with(|counted| *counted.refused.entry(kind.word()).or_default() += 1);
    }

    /// A client was gone before its answer was.
    pub fn disconnected(&self) {
        self.with(|counted| counted.disconnected += 1);
    }

    /// All of it.
    pub fn text(&self, app: &App) -> String {
        let mut text = String::new();
        let head = |text: &mut String, name: &str, kind: &str| {
            let _ = writeln!(text, "# TYPE monocle_{name} {kind}");
        };
        let loaded = app.registry.loaded();
        for (name, index) in [("num_requests_waiting", 0), ("num_requests_running", 1)] {
            head(&mut text, name, "gauge");
            for model in &loaded {
                let label = label(&model.name);
                let _ = writeln!(text, "monocle_{name}{{{label}}} {}", model.engine.counts()[index]);
            }
        }
        head(&mut text, "http_requests_in_flight", "gauge");
        let _ = writeln!(text, "monocle_http_requests_in_flight {}", app.busy());
        head(&mut text, "models_loaded", "gauge");
        let _ = writeln!(text, "monocle_models_loaded {}", loaded.len());
        self.with(|counted| {
            let counters: [(&str, Counter); 7] = [
                ("prompt_tokens_total", |model| model.prompt_tokens),
                ("prefix_cache_queries_total", |model| model.prompt_tokens),
                ("prefix_cache_hits_total", |model| model.cached_tokens),
                ("generation_tokens_total", |model| model.answer_tokens),
                ("images_total", |model| model.images),
                ("image_tokens_total", |model| model.image_tokens),
                ("images_cached_total", |model| model.cached_images),
            ];
            for (name, value) in counters {
                head(&mut text, name, "counter");
                for (model, of) in &counted.models {
                    let _ = writeln!(text, "monocle_{name}{{{}}} {}", label(model), value(of));
                }
            }
            head(&mut text, "request_success_total", "counter");
            for (model, of) in &counted.models {
                for (reason, count) in &of.finished {
                    let label = label(model);
                    let _ = writeln!(
                        text,
                        "monocle_request_success_total{{{label},finished_reason=\"{reason}\"}} {count}"
                    );
                }
            }
            head(&mut text, "refused_total", "counter");
            for (reason, count) in &counted.refused {
                let _ = writeln!(text, "monocle_refused_total{{reason=\"{reason}\"}} {count}");
            }
            head(&mut text, "client_disconnected_total", "counter");
            let _ = writeln!(text, "monocle_client_disconnected_total {}", counted.disconnected);
            let histograms: [(&str, Timing); 6] = [
                ("time_to_first_token_seconds", |model| &model.first_token),
                ("inter_token_latency_seconds", |model| &model.between_tokens),
                ("e2e_request_latency_seconds", |model| &model.whole),
                ("request_prefill_time_seconds", |model| &model.prefill),
                ("request_decode_time_seconds", |model| &model.decode),
                ("image_encode_seconds", |model| &model.encode),
            ];
            for (name, value) in histograms {
                head(&mut text, name, "histogram");
                for (model, of) in &counted.models {
                    value(of).write(&mut text, name, &label(model));
                }
            }
        });
        text
    }
}

fn label(model: &str) -> String {
    let escaped = model
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n");
    format!("model_name=\"{escaped}\"")
}
