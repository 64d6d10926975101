//! Greedy decoding on an engine that works ahead: each step is asked for before the token of the step before is read.

use std::cell::RefCell;
use std::rc::Rc;

use monocle_runtime::report::Report;
use monocle_runtime::request::GenerateOptions;
use monocle_runtime::request::Request;
use monocle_runtime::request::pictures::PictureInput;
use monocle_runtime::scheduler::Flow;
use monocle_tests::observed::{Event as Seen, Observed};
use monocle_tests::project;
use monocle_text::SamplingOptions;

/// What the engine was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Event {
    /// A step over one token whose id the host knows, or does not.
    Step { known: bool },
    /// A result was read.
    Read,
}

fn answer(ahead: bool, max_tokens: usize, sampling: SamplingOptions) -> (Report, Vec<Event>) {
    let events = Rc::new(RefCell::new(Vec::new()));
    let written = Rc::clone(&events);
    let engine = Observed {
        engine: project::engine(),
        ahead,
        refuses: |_| false,
        observer: move |seen: Seen<'_>| {
            written.borrow_mut().extend(match seen {
                Seen::Run(step) => (step.tokens.len() == 1).then(|| Event::Step {
                    known: step.device_tokens.is_none(),
                }),
                Seen::Read(_) => Some(Event::Read),
                Seen::Encode | Seen::Begin | Seen::Drop(_) => None,
            });
        },
    };
    let mut model = project::open_with(&project::root().join("models/shapes"), Box::new(engine));
    let picture = project::root().join("models/shapes/pictures/shapes.png");
    let request = Request::single(None, vec![PictureInput::File(picture)], "Describe this picture.");
    let options = GenerateOptions {
        max_tokens,
        sampling,
        ..GenerateOptions::default()
    };
    let report = model.answer(&request, &options, &mut |_| Flow::Continue).unwrap();
    let events = events.borrow().clone();
    (report, events)
}

#[test]
fn the_next_step_is_queued_before_a_token_is_read() {
    let (plain, known) = answer(false, 5, SamplingOptions::default());
    let (ahead, unknown) = answer(true, 5, SamplingOptions::default());
    assert_eq!(ahead.token_ids, plain.token_ids);
    assert_eq!(ahead.output.text, plain.output.text);
    // Plain: read the logits, then step, five tokens in four steps.
    let read_and_step = [Event::Read, Event::Step { known: true }];
    assert_eq!(known, [read_and_step.repeat(4), vec![Event::Read]].concat());
    // Ahead: step, then read the token and its logit; the last token needs no step.
    let step_and_read = [Event::Step { known: false }, Event::Read, Event::Read];
    assert_eq!(unknown, [step_and_read.repeat(4), vec![Event::Read; 2]].concat());
}

#[test]
fn an_answer_that_ends_early_is_the_same() {
    let (plain, _) = answer(false, 200, SamplingOptions::default());
    let (ahead, events) = answer(true, 200, SamplingOptions::default());
    assert!(plain.output.tokens < 200, "{:?}", plain.output);
    assert_eq!(ahead.token_ids, plain.token_ids);
    assert_eq!(ahead.output.finish, plain.output.finish);
    // The step that nobody needed was queued.
    let steps = events.iter().filter(|event| matches!(event, Event::Step { .. }));
    assert_eq!(steps.count(), ahead.output.tokens);
}

#[test]
fn tokens_that_the_host_chooses_are_waited_for() {
    let sampling = SamplingOptions {
        temperature: 1.0,
        seed: 7,
        ..SamplingOptions::default()
    };
    let (plain, _) = answer(false, 5, sampling.clone());
    let (ahead, events) = answer(true, 5, sampling);
    assert_eq!(ahead.token_ids, plain.token_ids);
    assert!(!events.contains(&Event::Step { known: false }), "{events:?}");
}
