//! What plugins cost: `cargo bench -p monocle-tests --bench plugins`, after `cargo xtask build`.
//!
//! Prints, for plugins as components and as native libraries, nanoseconds for an operation that a plugin asks for, microseconds for an instance and
//! its first call, and milliseconds for one recording of a model of SmolVLM-256M's size; and the share of plugin code in a decode step once programs
//! are recorded.

use std::time::Instant;

use monocle_runtime::request::GenerateOptions;
use monocle_runtime::request::Request;
use monocle_runtime::scheduler::Flow;
use monocle_runtime::scheduler::Scheduler;
use monocle_tests::full_checkpoint as checkpoint;
use monocle_tests::project::{self, Carrier};

/// Tries of each measurement; the least time counts.
const TRIES: usize = 5;

fn main() {
    for carrier in Carrier::ALL {
        operations(carrier);
        instances(carrier);
    }
    let folder = project::target().join("bench-models").join("256m");
    checkpoint::write(&folder, checkpoint::LAYERS, checkpoint::SMALL).expect("the checkpoint can be written");
    let manifest =
        format!("schema = 1\nname = \"256m\"\nplugin = \"smolvlm\"\nsource = {{ path = {folder:?} }}\n");
    let [recording, _] = Carrier::ALL.map(|carrier| recording(carrier, &manifest));
    let step = decode_step(&manifest);
    println!("one decode step: {:.2} ms", step * 1e3);
    println!(
        "one recording by a component would be {:.1} % of it, if plugins ran at every step",
        100.0 * recording / step
    );
    steady(&manifest);
    std::fs::remove_dir_all(&folder).expect("the checkpoint can be removed");
}

/// The least seconds of several tries.
fn least(mut seconds: impl FnMut() -> f64) -> f64 {
    (0..TRIES).map(|_| seconds()).fold(f64::INFINITY, f64::min)
}

fn timed<T>(work: impl FnOnce() -> T) -> (f64, T) {
    let started = Instant::now();
    let result = work();
    (started.elapsed().as_secs_f64(), result)
}

fn words() -> Request {
    Request::single(
        None,
        vec![],
        "Describe the image in one short sentence, if there is one.",
    )
}

/// A plugin that asks for operations until it may not: the time between two limits is that of so many operations, each checked,
/// recorded, and its operand's handle dropped.
fn operations(carrier: Carrier) {
    let run = |limit: usize| {
        let manifest = format!(
            "schema = 1\nname = \"operations\"\nsource = {{ path = {:?} }}\n\
             plugin = {{ name = \"hostile\", options = {{ misbehave = \"forward: operations for ever\" }} }}\n\
             [limits]\noperations = {limit}\ncall_timeout_ms = 60000\n",
            project::oracle("smolvlm")
        );
        let mut model = project::open_manifest_in(carrier, &manifest);
        least(|| {
            let (seconds, prepared) = timed(|| model.prepare(&words(), 1, 512));
            assert!(prepared.is_err(), "the limit was not reached");
            seconds
        })
    };
    let (few, many) = (100_000, 600_000);
    let seconds = run(many) - run(few);
    println!(
        "{carrier:?}: one operation that a plugin asks for: {:.0} ns",
        seconds / (many - few) as f64 * 1e9
    );
}

/// An instance is made for each request, and told of the model's files: what an adapter that does next to nothing takes for that and for a plan of
/// a few words.
fn instances(carrier: Carrier) {
    let manifest = format!(
        "schema = 1\nname = \"instances\"\nsource = {{ path = {:?} }}\nplugin = \"smolvlm\"\n\
         adapter = {{ name = \"plain-adapter\", options = {{ tokens = 4 }} }}\n",
        project::oracle("smolvlm")
    );
    let mut model = project::open_manifest_in(carrier, &manifest);
    let mut prepare = || timed(|| model.prepare(&words(), 1, 512).expect("it can be planned")).0;
    prepare();
    let seconds = (0..200).map(|_| prepare()).fold(f64::INFINITY, f64::min);
    println!(
        "{carrier:?}: a request prepared by a small adapter: {:.0} µs",
        seconds * 1e6
    );
}

/// Seconds of one recording of the forward pass.
fn recording(carrier: Carrier, manifest: &str) -> f64 {
    let mut programs = 0;
    let (mut recorded, mut known) = (f64::INFINITY, f64::INFINITY);
    for _ in 0..4 * TRIES {
        let mut model = project::open_manifest_in(carrier, manifest);
        let mut prepare = || timed(|| model.prepare(&words(), 1, 512).expect("it can be planned"));
        recorded = recorded.min(prepare().0);
        let (seconds, prepared) = prepare();
        known = known.min(seconds);
        programs = prepared.prompt.len().div_ceil(512) + 1;
    }
    // Prefill and decode step, each recorded twice to be compared.
    let seconds = (recorded - known) / (2 * programs) as f64;
    println!(
        "{carrier:?}: one recording of a forward pass: {:.2} ms",
        seconds * 1e3
    );
    println!(
        "{carrier:?}: planning and checking a request, programs known: {:.2} ms",
        known * 1e3
    );
    seconds
}

/// Seconds of a decode step, plugins and all, once everything is recorded.
fn decode_step(manifest: &str) -> f64 {
    let mut model = project::open_manifest(manifest);
    let mut run = |tokens| timed(|| model.trace(&words(), 512, tokens).expect("it can be run")).0;
    run(1);
    let (few, many) = (4, 36);
    let (short, long) = (least(|| run(few)), least(|| run(many)));
    (long - short) / (many - few) as f64
}

/// How often plugin code runs in steady decode: its share of a step is that of its calls.
fn steady(manifest: &str) {
    let options = GenerateOptions {
        max_tokens: 16,
        ..GenerateOptions::default()
    };
    let mut model: Scheduler = project::open_manifest(manifest);
    let report = model.answer(&words(), &options, &mut |_| Flow::Continue);
    let report = report.expect("it can be run");
    println!(
        "plugin calls in {} decode steps: {}",
        report.output.tokens.saturating_sub(1),
        report.plugin_calls.during_decode
    );
}
