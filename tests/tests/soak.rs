//! Five hundred requests one after another, or as many as `MONOCLE_SOAK_REQUESTS` says: memory is level at the end. The process's memory is looked at, so nothing else runs in it.

use monocle_runtime::request::GenerateOptions;
use monocle_runtime::request::Request;
use monocle_runtime::scheduler::Flow;
use monocle_tests::pictures::grey;
use monocle_tests::project;

/// Requests, a multiple of the period.
fn requests() -> usize {
    let asked = std::env::var("MONOCLE_SOAK_REQUESTS");
    let asked = asked.map_or(500, |text| {
        text.parse().expect("MONOCLE_SOAK_REQUESTS is a number")
    });
    usize::max(asked / PERIOD, 6) * PERIOD
}

/// Requests come round in this many sizes; what is compared is where the same one has come before.
const PERIOD: usize = 50;

/// A picture of a size that recurs, or none, or two; words of a length that recurs.
fn request(number: usize) -> Request {
    let number = number % PERIOD;
    let size = |seed: usize| (20 + seed * 97 % 600, 20 + seed * 61 % 500);
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

#[test]
fn many_requests_leave_memory_level() {
    let requests = requests();
    let mut model = project::open_folder(&project::root().join("models/shapes"));
    let mut resident = Vec::new();
    let (mut active, mut held) = (Vec::new(), Vec::new());
    for number in 0..requests {
        let options = GenerateOptions {
            max_tokens: 1 + number % PERIOD % 6,
            prefill_chunk: 32,
            ..GenerateOptions::default()
        };
        let report = model
            .answer(&request(number), &options, &mut |_| Flow::Continue)
            .unwrap();
        resident.extend(report.memory.decode.process_bytes);
        let usage = model.backend().memory();
        active.push(usage.active);
        held.push(usage.active + usage.cached);
    }
    // What is alive after a request is the weights and the programs' constants. Those of the first rounds recur: from the third
    // on nothing is added, but an engine that drops prepared programs now and then does so at other requests. A leak of 20
    // bytes a request would show.
    let most = |bytes: &[usize]| bytes.iter().copied().max().unwrap();
    let (early, late) = (PERIOD * 2..PERIOD * 4, requests - PERIOD * 2..requests);
    assert!(
        most(&active[late.clone()]) <= most(&active[early.clone()]) + 6000,
        "{active:?}"
    );
    assert!(
        most(&held[late.clone()]) <= most(&held[early.clone()]) * 11 / 10,
        "{held:?}"
    );
    // The process: allocators keep pages back as they like, but not more and more. A leak of 20 kB a request would show.
    if !resident.is_empty() {
        assert_eq!(resident.len(), requests);
        let (early, late) = (most(&resident[early]), most(&resident[late]));
        assert!(
            late < early + (6 << 20),
            "{early} bytes resident early, {late} late"
        );
    }
}
