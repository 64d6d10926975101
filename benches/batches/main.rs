//! What requests gain, and lose, by running side by side: `cargo bench -p monocle-tests --bench batches`, after `cargo xtask build`.
//!
//! On a model of SmolVLM-256M's size with made-up numbers: tokens a second of 1, 8 and 32 requests together; the longest time between two tokens
//! of running requests while a long prompt comes in, and while a picture does; and the time to the first token of a second question about the
//! same picture.

#[path = "../plugins/checkpoint.rs"]
mod checkpoint;

use std::time::{Duration, Instant};

use monocle_runtime::request::{GenerateOptions, Request};
use monocle_runtime::scheduler::{Event, Scheduler, SchedulerOptions, SessionId};
use monocle_tests::pictures::grey;
use monocle_tests::project;

/// Tries of each measurement; the middle one counts.
const TRIES: usize = 5;
/// Tokens of an answer.
const TOKENS: usize = 48;

fn main() {
    println!("{}", project::engine().device());
    let folder = project::target().join("bench-models").join("batches");
    checkpoint::write(&folder, checkpoint::LAYERS).expect("the checkpoint can be written");
    let open = |cache_limit| {
        let options = SchedulerOptions {
            cache_limit,
            ..SchedulerOptions::default()
        };
        project::open_folder_with(&folder, project::engine(), options)
    };
    throughput(&mut open(0));
    gaps(&mut open(0));
    second_question(&mut open(512 << 20));
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
                Event::Text(_) | Event::Cancelled => {}
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

/// Eight answers go on while something large comes in: the longest step against the usual one.
fn gaps(scheduler: &mut Scheduler) {
    let long = words(&"word ".repeat(4000));
    let picture = Request::single(None, vec![grey(1024, 768)], "What is this?");
    for (what, late) in [("a long prompt", long), ("a picture of 1024x768", picture)] {
        for number in 0..8 {
            submit(scheduler, &words(&format!("Number {number}?")), &options(64));
        }
        let mut usual = Vec::new();
        for _ in 0..24 {
            let started = Instant::now();
            scheduler.step();
            usual.push(started.elapsed());
        }
        submit(scheduler, &late, &options(1));
        let (steps, _) = run(scheduler);
        let usual = median(usual.split_off(8));
        let longest = steps.iter().max().expect("there are steps").as_secs_f64();
        println!(
            "while {what} comes in: {:.1} ms between tokens at most, {:.1} ms usually: {:.1} times",
            longest * 1e3,
            usual * 1e3,
            longest / usual
        );
    }
}

/// The same picture again, with other words.
fn second_question(scheduler: &mut Scheduler) {
    let ask = |scheduler: &mut Scheduler, text: &str| {
        let request = Request::single(None, vec![grey(1024, 768)], text);
        submit(scheduler, &request, &options(4));
        run(scheduler).1[0].as_secs_f64()
    };
    let first = ask(scheduler, "What is this?");
    let second = ask(scheduler, "What colour is it?");
    println!(
        "first token of the first question about a picture: {:.2} s; of the second: {:.3} s, {:.1} % of it",
        first,
        second,
        100.0 * second / first
    );
}
