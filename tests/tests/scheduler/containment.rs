//! What ends one request ends no other: cancelling, failing, want of memory.

use std::sync::atomic::{AtomicI32, Ordering};

use monocle_runtime::request::Request;
use monocle_runtime::scheduler::{Flow, SchedulerOptions};
use monocle_tests::observed::{Event, Observed};
use monocle_tests::oracle::Oracle;
use monocle_tests::project;

use super::{Ends, alone, open, options, run, submit};

/// Steps with this token fail.
static POISON: AtomicI32 = AtomicI32::new(-1);

#[test]
fn whoever_is_cancelled_the_others_go_on() {
    let (mut scheduler, requests) = open("smolvlm", SchedulerOptions::default());
    let asked = |number: usize| (&requests[number % requests.len()], options(8 + number));
    let expected: Vec<_> = (0..4)
        .map(|number| {
            let (request, options) = asked(number);
            alone(&mut scheduler, request, &options)
        })
        .collect();
    let held = scheduler.backend().memory().active;
    // At every step of the first dozen, every one of the four.
    for step in 0..12 {
        for victim in 0..4 {
            let ids: Vec<_> = (0..4)
                .map(|number| {
                    let (request, options) = asked(number);
                    submit(&mut scheduler, request, &options)
                })
                .collect();
            let mut ends = Ends::default();
            for _ in 0..step {
                ends.take(scheduler.step());
            }
            let over = ends.done.contains_key(&ids[victim]);
            scheduler.cancel(ids[victim]);
            ends.take(scheduler.step());
            assert!(
                over || ends.cancelled.contains(&ids[victim]) || ends.done.contains_key(&ids[victim]),
                "it ends with the next step"
            );
            run(&mut scheduler, &mut ends);
            assert_eq!(ends.count(), 4);
            for (number, id) in ids.iter().enumerate().filter(|(number, _)| *number != victim) {
                assert_eq!(
                    ends.done[id].token_ids, expected[number],
                    "step {step}, victim {victim}"
                );
            }
            if let Some(report) = ends.done.get(&ids[victim]) {
                assert!(expected[victim].starts_with(&report.token_ids));
            }
        }
    }
    let after = scheduler.backend().memory().active;
    assert!(
        after <= held + (64 << 10),
        "{held} bytes before, {after} after: what was cancelled left something"
    );
}

/// The engine fails, midway, every step with a certain token in it: only the request that has the token ends.
#[test]
fn whoever_fails_the_others_go_on() {
    for folder in ["smolvlm", "lfm2_vl"] {
        let path = project::oracle(folder);
        let engine = Observed {
            engine: project::engine(),
            ahead: false,
            refuses: |step| step.tokens.contains(&POISON.load(Ordering::Relaxed)),
            observer: |_: Event<'_>| {},
        };
        let mut scheduler = project::open_folder_with(&path, Box::new(engine), SchedulerOptions::default());
        let oracle = Oracle::open(&path);
        let requests: Vec<_> = oracle.cases().iter().map(|case| oracle.request(case)).collect();
        let poisoned = Request::single(None, Vec::new(), "zqxj 9! kwvy");
        let expected: Vec<_> = requests
            .iter()
            .map(|request| alone(&mut scheduler, request, &options(10)))
            .collect();
        // A token that the other requests and their answers do not have.
        let mut ids = |request: &Request| scheduler.prepare(request, 10, 64).unwrap().prompt.ids().to_vec();
        let others: Vec<u32> = requests
            .iter()
            .flat_map(&mut ids)
            .chain(expected.concat())
            .collect();
        let poison = ids(&poisoned).into_iter().find(|id| !others.contains(id));
        let poison = poison.expect("the poisoned request has a token of its own");
        POISON.store(poison as i32, Ordering::Relaxed);
        assert!(
            scheduler
                .answer(&poisoned, &options(10), &mut |_| Flow::Continue)
                .is_err(),
            "{folder}: the poison works"
        );
        let held = scheduler.backend().memory().active;
        let mut ids = Vec::new();
        let mut ends = Ends::default();
        for request in &requests {
            ids.push(submit(&mut scheduler, request, &options(10)));
        }
        // Beside running ones, at several moments.
        let mut bad = Vec::new();
        for _ in 0..3 {
            ends.take(scheduler.step());
            ends.take(scheduler.step());
            bad.push(submit(&mut scheduler, &poisoned, &options(10)));
        }
        run(&mut scheduler, &mut ends);
        for id in bad {
            assert!(ends.failed.contains_key(&id), "{folder}");
        }
        for (id, expected) in ids.iter().zip(&expected) {
            assert_eq!(ends.done[id].token_ids, *expected, "{folder}");
        }
        POISON.store(-1, Ordering::Relaxed);
        let after = scheduler.backend().memory().active;
        assert!(
            after <= held + (64 << 10),
            "{folder}: {held} bytes before, {after} after"
        );
    }
}

/// With room for little more than one at a time, all are answered, in the order of their arrival, as if they were alone.
#[test]
fn all_are_answered_where_few_fit() {
    let (mut roomy, requests) = open("smolvlm", SchedulerOptions::default());
    let long = options(300);
    let expected: Vec<_> = requests
        .iter()
        .map(|request| alone(&mut roomy, request, &long))
        .collect();
    let largest = requests
        .iter()
        .map(|request| {
            roomy
                .prepare(request, long.max_tokens, long.prefill_chunk)
                .unwrap()
                .estimate
                .total()
        })
        .max()
        .unwrap();
    for spare in [1000, 200_000, 400_000] {
        let (mut tight, _) = open(
            "smolvlm",
            SchedulerOptions {
                memory_limit: Some(largest + spare),
                cache_limit: 100_000,
                ..SchedulerOptions::default()
            },
        );
        let ids: Vec<_> = (0..6)
            .map(|number| submit(&mut tight, &requests[number % requests.len()], &long))
            .collect();
        let mut ends = Ends::default();
        run(&mut tight, &mut ends);
        for (number, id) in ids.iter().enumerate() {
            let report = ends.done.get(id).unwrap_or_else(|| panic!("{:?}", ends.failed));
            assert_eq!(
                report.token_ids,
                expected[number % requests.len()],
                "spare {spare}"
            );
        }
        let usage = tight.backend().memory();
        assert!(usage.peak <= largest + spare, "{usage:?}");
    }
}
