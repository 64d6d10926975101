//! Hundreds of requests through one scheduler, many at a time, or as many as `MONOCLE_SOAK_REQUESTS` says: memory is level at the end. The process's
//! memory is looked at, so nothing else runs in it.

use std::time::{Duration, Instant};

use monocle_runtime::request::{GenerateOptions, Request};
use monocle_runtime::scheduler::{Event, Scheduler, SchedulerOptions, SessionId};
use monocle_tests::pictures::grey;
use monocle_tests::project;

/// Requests come round in this many sizes.
const PERIOD: usize = 50;

/// Requests that wait or run at a time.
const TOGETHER: usize = 12;

/// Requests, whole rounds of them: so many that what recurs every few rounds shows in the first half and at the end.
fn rounds() -> usize {
    let asked = std::env::var("MONOCLE_SOAK_REQUESTS");
    let asked = asked.map_or(600, |text| {
        text.parse::<usize>().expect("MONOCLE_SOAK_REQUESTS is a number")
    });
    usize::max(asked / PERIOD, 12)
}

/// A picture of a size that recurs, or none, or two; words of a length that recurs.
fn request(number: usize) -> Request {
    let size = |seed: usize| (20 + seed * 97 % 300, 20 + seed * 61 % 250);
    let count = match number % 5 {
        0 => 0,
        4 => 2,
        _ => 1,
    };
    let pictures = (0..count).map(|index| {
        let (width, height) = size(number * 3 + index);
        grey(width, height)
    });
    let words = "What is in the picture? ".repeat(1 + number % 7);
    Request::single(None, pictures.collect(), &words)
}

fn submit(scheduler: &mut Scheduler, number: usize) -> SessionId {
    let options = GenerateOptions {
        max_tokens: 1 + number % 6,
        prefill_chunk: 32,
        ..GenerateOptions::default()
    };
    let prepared = scheduler
        .prepare(&request(number), options.max_tokens, options.prefill_chunk)
        .unwrap();
    scheduler.submit(prepared, options, Instant::now()).unwrap()
}

#[test]
fn many_requests_together_leave_memory_level() {
    let rounds = rounds();
    let folder = project::root().join("models/shapes");
    let limit = 1 << 20;
    let options = SchedulerOptions {
        cache_limit: limit,
        ..SchedulerOptions::default()
    };
    let mut scheduler = project::open_folder_with(&folder, project::engine(), options);
    // After each round: what is alive besides what is kept for requests to come, all of the engine's, the process's.
    let (mut alive, mut held, mut resident) = (Vec::new(), Vec::new(), Vec::new());
    let mut ended = 0;
    // Each step takes a millisecond, so that the same rows go together however busy the machine is.
    let mut now = Instant::now();
    for _ in 0..rounds {
        let (mut next, mut outstanding, mut process) = (0, 0, None);
        while next < PERIOD || outstanding > 0 {
            while next < PERIOD && outstanding < TOGETHER {
                let id = submit(&mut scheduler, next);
                if next % 10 == 7 {
                    scheduler.cancel(id);
                }
                next += 1;
                outstanding += 1;
            }
            now += Duration::from_millis(1);
            for (_, event) in scheduler.step_at(now) {
                match event {
                    Event::Text(_) | Event::Logprobs(_) => {}
                    Event::Done(report) => {
                        process = process.max(report.memory.decode.process_bytes);
                        outstanding -= 1;
                    }
                    Event::Cancelled => outstanding -= 1,
                    Event::Failed(error) => panic!("{error}"),
                }
            }
        }
        ended += next;
        let usage = scheduler.backend().memory();
        let kept = scheduler.cached_bytes();
        assert!(kept.iter().all(|bytes| *bytes <= limit), "{kept:?}");
        scheduler.clear_caches();
        assert_eq!(scheduler.cached_bytes(), [0, 0]);
        alive.push(scheduler.backend().memory().active);
        held.push(usage.active + usage.cached);
        resident.extend(process);
    }
    assert_eq!(ended, rounds * PERIOD);
    // What is alive then is the weights and the programs' constants, which an engine drops now and then. A leak of 60 bytes a request would show.
    let most = |bytes: &[usize]| bytes.iter().copied().max().unwrap();
    let (early, late) = (rounds / 6..rounds / 2, rounds - rounds / 3..rounds);
    assert!(
        most(&alive[late.clone()]) <= most(&alive[early.clone()]) + 6000,
        "{alive:?}"
    );
    assert!(
        most(&held[late.clone()]) <= most(&held[early.clone()]) * 11 / 10,
        "{held:?}"
    );
    if !resident.is_empty() {
        let (early, late) = (most(&resident[early]), most(&resident[late]));
        assert!(
            late < early + (6 << 20),
            "{early} bytes resident early, {late} late: {resident:?}"
        );
    }
}
