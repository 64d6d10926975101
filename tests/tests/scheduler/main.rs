//! Many requests on one engine: what each answers is what it answers alone.

mod batches;
mod caches;
mod choices;
mod containment;
mod hashed;
mod schedules;
mod turns;

use std::collections::BTreeMap;
use std::time::Instant;

use monocle_runtime::report::Report;
use monocle_runtime::request::{GenerateOptions, Request};
use monocle_runtime::scheduler::{Event, Scheduler, SchedulerOptions, SessionId};
use monocle_tests::oracle::Oracle;
use monocle_tests::project;

/// Families that differ in what a scheduler must know of them, by their folders: plain, windows and pictures that see themselves, positions of
/// three axes, convolutions, cross attention, a prefix that sees itself.
const FAMILIES: [&str; 6] = ["smolvlm", "gemma3", "qwen2_vl", "lfm2_vl", "mllama", "paligemma2"];

/// Greedily, so many tokens at most.
fn options(max_tokens: usize) -> GenerateOptions {
    GenerateOptions {
        max_tokens,
        prefill_chunk: 64,
        ..GenerateOptions::default()
    }
}

/// A family's model, and the requests of its goldens.
fn open(folder: &str, options: SchedulerOptions) -> (Scheduler, Vec<Request>) {
    let path = project::oracle(folder);
    let oracle = Oracle::open(&path);
    let requests = oracle.cases().iter().map(|case| oracle.request(case)).collect();
    (
        project::open_folder_with(&path, project::engine(), options),
        requests,
    )
}

/// What a request answers when nothing else runs.
fn alone(scheduler: &mut Scheduler, request: &Request, options: &GenerateOptions) -> Vec<u32> {
    use monocle_runtime::scheduler::Flow;
    scheduler
        .answer(request, options, &mut |_| Flow::Continue)
        .unwrap_or_else(|error| panic!("{error}"))
        .token_ids
}

/// Words alone.
fn text(words: &str) -> Request {
    Request::single(None, Vec::new(), words)
}

fn submit(scheduler: &mut Scheduler, request: &Request, options: &GenerateOptions) -> SessionId {
    let prepared = scheduler
        .prepare(request, options.max_tokens, options.prefill_chunk)
        .unwrap_or_else(|error| panic!("{error}"));
    scheduler
        .submit(prepared, options.clone(), Instant::now())
        .unwrap_or_else(|error| panic!("{error}"))
}

/// How requests ended.
#[derive(Default)]
struct Ends {
    done: BTreeMap<SessionId, Report>,
    cancelled: Vec<SessionId>,
    failed: BTreeMap<SessionId, String>,
    /// What was shown of each.
    text: BTreeMap<SessionId, String>,
    /// In which order they ended.
    order: Vec<SessionId>,
}

impl Ends {
    /// Takes a step's events in; each request ends once, and nothing comes after.
    fn take(&mut self, events: Vec<(SessionId, Event)>) {
        for (id, event) in events {
            assert!(!self.is_over(id), "{id:?} has ended, and then came {event:?}");
            match event {
                Event::Logprobs(_) => continue,
                Event::Text(delta) => {
                    *self.text.entry(id).or_default() += &delta.text;
                    continue;
                }
                Event::Done(report) => {
                    let shown = self.text.get(&id).map_or("", String::as_str);
                    assert_eq!(shown, report.output.text, "what was shown is the answer");
                    self.done.insert(id, *report);
                }
                Event::Cancelled => self.cancelled.push(id),
                Event::Failed(error) => {
                    self.failed.insert(id, error.to_string());
                }
            }
            self.order.push(id);
        }
    }

    fn is_over(&self, id: SessionId) -> bool {
        self.done.contains_key(&id) || self.cancelled.contains(&id) || self.failed.contains_key(&id)
    }

    fn count(&self) -> usize {
        self.done.len() + self.cancelled.len() + self.failed.len()
    }
}

/// Steps until nothing is left, and not for ever.
fn run(scheduler: &mut Scheduler, ends: &mut Ends) {
    for _ in 0..20_000 {
        if scheduler.is_idle() {
            return;
        }
        ends.take(scheduler.step());
    }
    panic!("the scheduler does not come to an end");
}
