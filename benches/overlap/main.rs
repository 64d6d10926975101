//! Whether the device works while the host does: `cargo xtask bench --engine mlx overlap`.
//!
//! The host is made slow: with each token that it reads it does nothing for a while, as a slow sampler, plugin or terminal would make it.
//! A loop that waits pays for that in full; one that has queued the next step before pays only for what goes beyond the step.

use std::cell::Cell;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use monocle_runtime::request::GenerateOptions;
use monocle_runtime::request::Request;
use monocle_runtime::scheduler::Flow;
use monocle_runtime::scheduler::Scheduler;
use monocle_tensor::operation::Kind;
use monocle_tests::full_checkpoint as checkpoint;
use monocle_tests::observed::{Event, Observed};
use monocle_tests::project;

/// Rounds of each measurement, taken in turns; the middle one counts.
const ROUNDS: usize = 3;
/// Layers of which MLX queues a whole step on a processor (ten tasks of ten operations; the caller waits to ask for more).
const SHALLOW: usize = 2;
/// Tokens of an answer.
const TOKENS: usize = 16;

fn main() {
    println!("{}", project::engine().device());
    for layers in [SHALLOW, checkpoint::LAYERS] {
        compare(layers);
    }
}

fn compare(layers: usize) {
    let folder = project::target().join("bench-models").join("overlap");
    checkpoint::write(&folder, layers, checkpoint::SMALL).expect("the checkpoint can be written");
    let mut loops = [false, true].map(|ahead| Loop::open(&folder, ahead));
    let [step, queued] = measure(&mut loops, Duration::ZERO);
    println!(
        "{layers} layers, host not busy: {:.1} ms a token waiting, {:.1} ms ahead",
        step * 1e3,
        queued * 1e3
    );
    for share in [0.5, 1.0, 2.0] {
        let busy = step * share;
        let [waiting, ahead] = measure(&mut loops, Duration::from_secs_f64(busy));
        println!(
            "{layers} layers, host busy for {:.1} ms a token: {:.1} ms waiting, {:.1} ms ahead: {:.2} times as fast",
            busy * 1e3,
            waiting * 1e3,
            ahead * 1e3,
            waiting / ahead,
        );
    }
    std::fs::remove_dir_all(&folder).expect("the checkpoint can be removed");
}

/// Seconds a token of both loops, the host busy for a while with each token.
fn measure(loops: &mut [Loop; 2], busy: Duration) -> [f64; 2] {
    let mut seconds = [Vec::new(), Vec::new()];
    for _ in 0..ROUNDS {
        for (way, seconds) in loops.iter_mut().zip(&mut seconds) {
            seconds.push(way.seconds_a_token(busy));
        }
    }
    seconds.map(|mut seconds| {
        seconds.sort_by(f64::total_cmp);
        seconds[ROUNDS / 2]
    })
}

/// A model whose loop works ahead, or waits.
struct Loop {
    model: Scheduler,
    busy: Rc<Cell<Duration>>,
}

impl Loop {
    fn open(folder: &Path, ahead: bool) -> Self {
        let busy = Rc::new(Cell::new(Duration::ZERO));
        let asked = Rc::clone(&busy);
        let observer = move |event: Event<'_>| {
            // Of each token either its logits are read, or its logit and its id, which is an integer.
            if let Event::Read(tensor) = event
                && tensor.value_type().kind == Kind::Float
            {
                std::thread::sleep(asked.get());
            }
        };
        let engine = Observed {
            engine: project::engine(),
            ahead,
            refuses: |_| false,
            observer,
        };
        Self {
            model: project::open_manifest_with(&manifest(folder), Box::new(engine)),
            busy,
        }
    }

    fn seconds_a_token(&mut self, busy: Duration) -> f64 {
        self.busy.set(busy);
        let options = GenerateOptions {
            max_tokens: TOKENS,
            ..GenerateOptions::default()
        };
        let request = Request::single(None, vec![], "Describe the image, if there is one.");
        let answer = self.model.answer(&request, &options, &mut |_| Flow::Continue);
        let report = answer.expect("it can be run");
        assert_eq!(report.output.tokens, TOKENS, "{:?}", report.output.finish);
        report.timings.decode.as_secs_f64() / (TOKENS - 1) as f64
    }
}

fn manifest(folder: &Path) -> String {
    format!("schema = 1\nname = \"overlap\"\nplugin = \"smolvlm\"\nsource = {{ path = {folder:?} }}\n")
}
