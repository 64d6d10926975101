//! What requests gain, and lose, by running side by side: `cargo bench -p monocle-tests --bench batches`, after `cargo xtask build`.
//!
//! On a model of SmolVLM-256M's size with made-up numbers: tokens a second of 1, 8 and 32 requests together; the times between two tokens of eight
//! running requests while a prompt of 4,000 tokens comes in, and while a photo of 13 tiles does; and the time to the first token of a second
//! question about the same photo. `-- together`, `-- gaps` and `-- second` measure these alone.

use std::time::{Duration, Instant};

use monocle_runtime::request::pictures::PictureInput;
use monocle_runtime::request::{GenerateOptions, Request};
use monocle_runtime::scheduler::{Event, Scheduler, SchedulerOptions, SessionId};
use monocle_tests::full_checkpoint as checkpoint;
use monocle_tests::pictures::grey;
use monocle_tests::project;

/// Tries of each measurement; the middle one counts.
const TRIES: usize = 5;
/// Tries where each is some hundred steps.
const GAP_TRIES: usize = 2;
/// Tokens of an answer.
const TOKENS: usize = 48;
/// Words of a long prompt, of two tokens each.
const PROMPT: usize = 2000;

fn main() {
    println!("{}", project::engine().device());
    let folder = project::target().join("bench-models").join("batches");
    checkpoint::write(&folder, checkpoint::LAYERS, checkpoint::FULL).expect("the checkpoint can be written");
    let open = |cache_limit| {
        let options = SchedulerOptions {
            cache_limit,
            ..SchedulerOptions::default()
        };
        project::open_folder_with(&folder, project::engine(), options)
    };
    // `cargo bench` adds options of its own.
    let asked: Vec<String> = std::env::args()
        .skip(1)
        .filter(|arg| !arg.starts_with('-'))
        .collect();
    let is_asked = |name: &str| asked.is_empty() || asked.iter().any(|asked| asked == name);
    if is_asked("together") {
        throughput(&mut open(0));
    }
    if is_asked("gaps") {
        gaps(&mut open(0));
    }
    if is_asked("second") {
        second_question(&mut open(512 << 20));
    }
    std::fs::remove_dir_all(&folder).expect("the checkpoint can be removed");
}

fn options(max_tokens: usize) -> GenerateOptions {
    GenerateOptions {
        max_tokens,
        ..GenerateOptions::default()
    }
}

fn words(text: &str) -> Request {
    Request::single(None, Vec::new(), text)
}

fn submit(scheduler: &mut Scheduler, request: &Request, options: &GenerateOptions) -> SessionId {
    let started = Instant::now();
    let prepared = scheduler.prepare(request, options.max_tokens, options.prefill_chunk);
    let prepared = prepared.expect("it can be planned");
    let id = scheduler.submit(prepared, options.clone(), started);
    id.expect("it can be taken in")
}

/// Steps until nothing is left; gives the times of steps, and the reports' times to the first token.
fn run(scheduler: &mut Scheduler) -> (Vec<Duration>, Vec<Duration>) {
    let (mut steps, mut first) = (Vec::new(), Vec::new());
    while !scheduler.is_idle() {
        let started = Instant::now();
        for (_, event) in scheduler.step() {
            match event {
                Event::Done(report) => first.push(report.timings.first_token),
                Event::Failed(error) => panic!("{error}"),
                Event::Text(_) | Event::Logprobs(_) | Event::Cancelled => {}
            }
        }
        steps.push(started.elapsed());
    }
    (steps, first)
}

fn median(mut times: Vec<Duration>) -> f64 {
    times.sort();
    times[times.len() / 2].as_secs_f64()
}

/// Steps in which every request has a token.
fn throughput(scheduler: &mut Scheduler) {
    let mut alone = 0.0;
    for count in [1, 8, 32] {
        let mut tries = Vec::new();
        for _ in 0..TRIES {
            for number in 0..count {
                let text = format!("Describe the image, number {number}, in one short sentence.");
                submit(scheduler, &words(&text), &options(TOKENS));
            }
            let (steps, _) = run(scheduler);
            // The last steps are those of decode alone, all together until the end.
            let decode: Vec<_> = steps.into_iter().rev().take(TOKENS / 2).collect();
            tries.push(Duration::from_secs_f64(median(decode)));
        }
        let rate = count as f64 / median(tries);
        if count == 1 {
            alone = rate;
        }
        println!(
            "{count:>2} together: {rate:.1} tokens/s, {:.2} times one alone",
            rate / alone
        );
    }
}

/// Eight answers go on while something large comes in: the times between their tokens against the usual ones.
fn gaps(scheduler: &mut Scheduler) {
    let long = words(&"word ".repeat(PROMPT));
    let photo = Request::single(None, vec![photo()], "What is this?");
    for (what, late) in [("a long prompt", long), ("a photo", photo)] {
        let (mut usual, mut first_tokens) = (Vec::new(), Vec::new());
        let (mut medians, mut longest, mut steps) = (Vec::new(), Vec::new(), 0);
        let mut size = String::new();
        for _ in 0..GAP_TRIES {
            // They go on for as long as they are needed.
            let endless = GenerateOptions {
                ignore_end: true,
                ..options(4096)
            };
            let answering: Vec<_> = (0..8)
                .map(|number| submit(scheduler, &words(&format!("Number {number}?")), &endless))
                .collect();
            // The first few are their prompts'.
            (0..8).for_each(|_| drop(scheduler.step()));
            let mut alone = |scheduler: &mut Scheduler| {
                for _ in 0..16 {
                    let started = Instant::now();
                    scheduler.step();
                    usual.push(started.elapsed());
                }
            };
            alone(scheduler);
            // Prepared elsewhere, as a server does it: that is nobody's gap.
            let prepared = scheduler.prepare(&late, 1, 512).expect("it can be planned");
            size = format!("{} tokens", prepared.prompt.len());
            let came = Instant::now();
            let id = scheduler.submit(prepared, options(1), came);
            let id = id.expect("it can be taken in");
            let mut gaps = Vec::new();
            'coming: loop {
                let started = Instant::now();
                let events = scheduler.step();
                gaps.push(started.elapsed());
                for (whose, event) in events {
                    match event {
                        Event::Failed(error) => panic!("{error}"),
                        Event::Done(_) if whose == id => break 'coming,
                        Event::Done(_) => panic!("an answer ended before the measurement did"),
                        Event::Text(_) | Event::Logprobs(_) | Event::Cancelled => {}
                    }
                }
            }
            first_tokens.push(came.elapsed());
            longest.push(*gaps.iter().max().expect("there are steps"));
            steps = gaps.len();
            medians.push(Duration::from_secs_f64(median(gaps)));
            // And again, as the answers have become longer meanwhile.
            alone(scheduler);
            answering.into_iter().for_each(|id| scheduler.cancel(id));
            run(scheduler);
        }
        let [usual, middle, longest, first] = [usual, medians, longest, first_tokens].map(median);
        println!(
            "while {what} ({size}) comes in, {steps} steps, {first:.2} s to its first token: between tokens {:.1} ms usually, {:.1} ms in the \
             middle ({:.2} times), {:.1} ms at most ({:.2} times)",
            usual * 1e3,
            middle * 1e3,
            middle / usual,
            longest * 1e3,
            longest / usual
        );
    }
}

/// The same photo again, with other words.
fn second_question(scheduler: &mut Scheduler) {
    let ask = |scheduler: &mut Scheduler, text: &str| {
        let request = Request::single(None, vec![photo()], text);
        submit(scheduler, &request, &options(4));
        run(scheduler).1[0]
    };
    // Programs are recorded.
    ask(scheduler, "Is it warm?");
    let (mut first, mut second) = (Vec::new(), Vec::new());
    for _ in 0..TRIES {
        scheduler.clear_caches();
        first.push(ask(scheduler, "What is this?"));
        second.push(ask(scheduler, "What colour is it?"));
    }
    let [first, second] = [first, second].map(median);
    println!(
        "first token of the first question about a photo: {first:.2} s; of the second: {second:.3} s, {:.1} % of it",
        100.0 * second / first
    );
}

/// 13 tiles: three by four, and the whole.
fn photo() -> PictureInput {
    grey(1536, 2048)
}
