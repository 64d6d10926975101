//! Requests side by side.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use monocle_runtime::engines::{EngineName, EngineOptions};
use monocle_runtime::request::pictures::PictureInput;
use monocle_runtime::request::{GenerateOptions, Request};
use monocle_runtime::scheduler::{self, Scheduler, SchedulerOptions};
use monocle_tests::observed::{Event, Observed};
use monocle_tests::oracle::Oracle;
use monocle_tests::project;
use monocle_tests::scratch::Scratch;
use monocle_weights::{ModelFolder, QuantiseOptions, quantise_folder};

use super::{Ends, FAMILIES, alone, open, options, run, submit};

/// Batches of these sizes; odd ones leave rows that belong to nobody.
const SIZES: [usize; 4] = [2, 3, 5, 8];

/// One more, if `MONOCLE_BATCH` asks for it.
fn sizes() -> Vec<usize> {
    let asked = std::env::var("MONOCLE_BATCH");
    let asked = asked.map(|text| text.parse().expect("MONOCLE_BATCH is a number"));
    SIZES.into_iter().chain(asked).collect()
}

/// Where the two likeliest tokens are nearer than this, programs with another number of rows may choose the other one: their sums are in another
/// order. It is how far logits may be off in the parity tests.
const CLOSE: f32 = monocle_tests::parity::LOGITS;

/// Whether two answers are the same as far as the logits decide.
fn same(scheduler: &mut Scheduler, request: &Request, expected: &[u32], found: &[u32]) -> bool {
    let pairs = expected.iter().zip(found);
    let Some(differs) = pairs.clone().position(|(a, b)| a != b) else {
        return expected.len() == found.len();
    };
    let trace = scheduler
        .trace_along(request, 64, &expected[..=differs])
        .unwrap_or_else(|error| panic!("{error}"));
    let logits = &trace.step_logits[differs];
    let [a, b] = [expected[differs], found[differs]].map(|token| logits[token as usize]);
    (a - b).abs() <= CLOSE
}

/// Some end early, some late, whatever they are.
fn lengths(number: usize) -> usize {
    [12, 3, 7, 1, 16, 5, 9, 2][number % 8]
}

/// On every checkpoint of the parity tests.
#[test]
fn a_batch_answers_what_each_answers_alone() {
    let folders = project::checkpoints();
    assert!(folders.len() >= 29, "{folders:?}");
    for folder in &folders {
        let (mut scheduler, requests) = open(folder, SchedulerOptions::default());
        let mut known: BTreeMap<(usize, usize), Vec<u32>> = BTreeMap::new();
        for size in sizes() {
            let asked: Vec<_> = (0..size)
                .map(|number| (&requests[number % requests.len()], options(lengths(number))))
                .collect();
            let expected: Vec<_> = (0..size)
                .map(|number| {
                    let (request, options) = &asked[number];
                    let key = (number % requests.len(), options.max_tokens);
                    let answer = known.entry(key);
                    answer
                        .or_insert_with(|| alone(&mut scheduler, request, options))
                        .clone()
                })
                .collect();
            let held = scheduler.backend().memory().active;
            let ids: Vec<_> = asked
                .iter()
                .map(|(request, options)| submit(&mut scheduler, request, options))
                .collect();
            let mut ends = Ends::default();
            run(&mut scheduler, &mut ends);
            for ((id, expected), (request, _)) in ids.iter().zip(&expected).zip(&asked) {
                let report = ends
                    .done
                    .get(id)
                    .unwrap_or_else(|| panic!("{folder}, {size} together: {:?}", ends.failed));
                let found = &report.token_ids;
                assert!(
                    same(&mut scheduler, request, expected, found),
                    "{folder}, {size} together: {found:?}, alone {expected:?}"
                );
            }
            // Programs of further sizes keep their constants, a few kilobytes; no cache of a request is left.
            let after = scheduler.backend().memory().active;
            assert!(
                after <= held + (64 << 10),
                "{folder}, {size} together: {held} bytes before, {after} after"
            );
        }
    }
}

/// A token and the bits of its logarithmic probability.
type Choice = (u32, u64);

/// What each of some requests, submitted at once, chose, with the likeliest tokens beside each choice.
fn choices(scheduler: &mut Scheduler, requests: &[Request], options: &GenerateOptions) -> Vec<Vec<Choice>> {
    let ids: Vec<_> = requests
        .iter()
        .map(|request| submit(scheduler, request, options))
        .collect();
    let mut found: BTreeMap<_, Vec<Choice>> = BTreeMap::new();
    while !scheduler.is_idle() {
        for (id, event) in scheduler.step() {
            match event {
                scheduler::Event::Logprobs(tokens) => {
                    let scored = tokens
                        .iter()
                        .flat_map(|token| [&token.chosen].into_iter().chain(&token.top));
                    let bits = scored.map(|scored| (scored.id, scored.logprob.to_bits()));
                    found.entry(id).or_default().extend(bits);
                }
                scheduler::Event::Failed(error) => panic!("{error}"),
                _ => {}
            }
        }
    }
    ids.iter()
        .map(|id| found.remove(id).unwrap_or_default())
        .collect()
}

/// With 4-bit weights, whose products are exact sums of integers, and a token of each request in a step, nothing depends on who else is there: not
/// the last bit of a probability, which is made of all logits. Prompts are read token by token, because others in a step change how long the pieces
/// of a prompt are, and attention of many rows adds in another order than attention of one.
#[test]
fn four_bits_answer_alike_bit_for_bit_alone_and_among_eight() {
    let scratch = Scratch::new("four-bits");
    let target = scratch.file("shapes");
    let source = ModelFolder::open(&project::root().join("models/shapes")).expect("the model is there");
    quantise_folder(&source, &target, &QuantiseOptions::new(4, 32)).expect("it can be quantised");
    let engine = EngineName::Cpu.start(EngineOptions {
        threads: Some(2),
        ..EngineOptions::default()
    });
    let engine = engine.expect("the engine is there");
    assert!(engine.device().contains("16-bit integers"), "{}", engine.device());
    let mut scheduler = project::open_folder_with(&target, engine, SchedulerOptions::default());
    let requests: Vec<_> = (0..8)
        .map(|number| {
            let picture = project::oracle("shapes").join(format!("{number:02}.png"));
            Request::single(None, vec![PictureInput::File(picture)], "Describe this image.")
        })
        .collect();
    let options = GenerateOptions {
        logprobs: Some(5),
        max_tokens: 64,
        prefill_chunk: 1,
        ..GenerateOptions::default()
    };
    let together = choices(&mut scheduler, &requests, &options);
    for (number, (request, together)) in requests.iter().zip(&together).enumerate() {
        let alone = choices(&mut scheduler, std::slice::from_ref(request), &options);
        // Each token, and the five likeliest.
        assert!(alone[0].len() >= 8 * 6, "request {number}: {}", alone[0].len());
        let differs = alone[0].iter().zip(together).position(|(a, b)| a != b);
        assert_eq!(
            differs.map(|at| at / 6),
            None,
            "request {number}, from this token on"
        );
        assert_eq!(alone[0].len(), together.len(), "request {number}");
    }
    let distinct: std::collections::BTreeSet<_> = together.iter().collect();
    assert!(distinct.len() > 1, "all pictures had the same answer");
}

/// On an engine that works ahead too, also where a step has several passes: positions of other axes, contexts.
#[test]
fn working_ahead_changes_no_answer() {
    for folder in FAMILIES {
        let (mut plain, requests) = open(folder, SchedulerOptions::default());
        let engine = Observed {
            engine: project::engine(),
            ahead: true,
            refuses: |_| false,
            observer: |_: Event<'_>| {},
        };
        let path = project::oracle(folder);
        let mut ahead = project::open_folder_with(&path, Box::new(engine), SchedulerOptions::default());
        for size in SIZES {
            let asked: Vec<_> = (0..size)
                .map(|number| (&requests[number % requests.len()], options(lengths(number))))
                .collect();
            let mut ends = Ends::default();
            let ids: Vec<_> = asked
                .iter()
                .map(|(request, options)| submit(&mut ahead, request, options))
                .collect();
            run(&mut ahead, &mut ends);
            for (id, (request, options)) in ids.iter().zip(&asked) {
                let expected = alone(&mut plain, request, options);
                assert_eq!(ends.done[id].token_ids, expected, "{folder}, {size} together");
            }
        }
    }
}

/// What arrives while others' answers come takes its place beside them.
#[test]
fn later_ones_join_in() {
    let (mut scheduler, requests) = open("smolvlm", SchedulerOptions::default());
    let long = options(16);
    let expected: Vec<_> = requests
        .iter()
        .map(|request| alone(&mut scheduler, request, &long))
        .collect();
    let mut ends = Ends::default();
    let mut ids = Vec::new();
    for request in &requests {
        ids.push(submit(&mut scheduler, request, &long));
        for _ in 0..3 {
            ends.take(scheduler.step());
        }
    }
    run(&mut scheduler, &mut ends);
    for (id, expected) in ids.iter().zip(&expected) {
        assert_eq!(ends.done[id].token_ids, *expected);
    }
}

/// Eight answers take one run of one program a step, whoever comes and goes, and no plugin code.
#[test]
fn one_run_a_step_for_all() {
    let rows: Rc<RefCell<Vec<usize>>> = Rc::default();
    let written = Rc::clone(&rows);
    let engine = Observed {
        engine: project::engine(),
        ahead: false,
        refuses: |_| false,
        observer: move |event: Event<'_>| {
            if let Event::Run(step) = event {
                written.borrow_mut().push(step.tokens.len());
            }
        },
    };
    let folder = project::oracle("smolvlm");
    let mut scheduler = project::open_folder_with(&folder, Box::new(engine), SchedulerOptions::default());
    let request = Oracle::open(&folder).request("text");
    // The sizes that come: once each.
    for count in [1, 2, 4, 8] {
        for _ in 0..count {
            submit(&mut scheduler, &request, &options(4));
        }
        run(&mut scheduler, &mut Ends::default());
    }

    for number in 0..8 {
        submit(&mut scheduler, &request, &options(6 + number));
    }
    // Prompts first: as many steps as they need.
    let mut ends = Ends::default();
    let calls = loop {
        rows.borrow_mut().clear();
        ends.take(scheduler.step());
        if rows.borrow()[..] == [8] {
            break scheduler.recordings().calls();
        }
    };
    let mut steps = 0;
    while !scheduler.is_idle() {
        rows.borrow_mut().clear();
        ends.take(scheduler.step());
        steps += 1;
        let rows = rows.borrow();
        assert!(rows.len() <= 1, "{rows:?}");
        assert!(rows.iter().all(|rows| [1, 2, 4, 8].contains(rows)), "{rows:?}");
    }
    assert!(steps >= 8, "{steps} steps");
    assert_eq!(scheduler.recordings().calls(), calls, "plugin code ran");
    assert_eq!(ends.done.len(), 8);
    assert!(
        ends.done
            .values()
            .all(|report| report.plugin_calls.during_decode == 0)
    );
}

/// A prompt that comes in takes no more than its chunk of each step: others' answers go on, a token a step.
#[test]
fn a_long_prompt_does_not_stop_others() {
    const ANSWER: usize = 48;
    let (mut scheduler, requests) = open("smolvlm", SchedulerOptions::default());
    let answering: Vec<_> = (0..4)
        .map(|number| {
            submit(
                &mut scheduler,
                &requests[number % requests.len()],
                &GenerateOptions {
                    ignore_end: true,
                    ..options(ANSWER)
                },
            )
        })
        .collect();
    let mut ends = Ends::default();
    // Until all have their first tokens.
    while ends.text.len() < answering.len() {
        ends.take(scheduler.step());
    }
    // Nearly all that the model's context of 8,192 tokens has room for.
    let words = "word ".repeat(3900);
    let long = monocle_runtime::request::Request::single(None, Vec::new(), &words);
    let late = submit(&mut scheduler, &long, &options(1));
    let mut steps = 0;
    while !answering.iter().all(|id| ends.done.contains_key(id)) {
        ends.take(scheduler.step());
        steps += 1;
    }
    assert!(
        steps <= ANSWER,
        "{steps} steps for what is left of {ANSWER} tokens"
    );
    assert!(!ends.done.contains_key(&late));
    // Alone, it has its whole chunk of each step.
    let mut more = 0;
    while !scheduler.is_idle() {
        ends.take(scheduler.step());
        more += 1;
    }
    let tokens = ends.done[&late].prompt.tokens;
    assert!(tokens > 3900, "{tokens} tokens");
    let most = tokens.div_ceil(options(1).prefill_chunk) + 2;
    assert!(more <= most, "{more} steps for {tokens} tokens");
}
