//! Who chooses tokens: the device, a step ahead of the host, where nothing but the logits has a say; else the host.

use monocle_runtime::request::GenerateOptions;
use monocle_runtime::scheduler::{Scheduler, SchedulerOptions};
use monocle_tests::hashing::HashingEngine;
use monocle_tests::project;
use monocle_text::SamplingOptions;

use super::{Ends, run, submit, text};

fn open(ahead: bool) -> Scheduler {
    let mut engine = HashingEngine::default();
    engine.ahead = ahead;
    let folder = project::oracle("smolvlm");
    project::open_folder_with(&folder, Box::new(engine), SchedulerOptions::default())
}

/// Whatever the model says, so many tokens.
fn endless(max_tokens: usize) -> GenerateOptions {
    GenerateOptions {
        max_tokens,
        ignore_end: true,
        ..GenerateOptions::default()
    }
}

/// One works ahead of what is read when another comes: it has rows at once, and a short answer before the long one's end.
#[test]
fn one_that_works_ahead_makes_room_for_one_that_comes() {
    let mut scheduler = open(true);
    let mut ends = Ends::default();
    let long = submit(&mut scheduler, &text("one"), &endless(40));
    for _ in 0..5 {
        ends.take(scheduler.step());
    }
    let short = submit(&mut scheduler, &text("two"), &endless(3));
    run(&mut scheduler, &mut ends);
    assert_eq!(ends.order, [short, long]);
    assert_eq!(ends.done[&long].output.tokens, 40);
    assert_eq!(ends.done[&short].output.tokens, 3);
}

#[test]
fn where_no_token_is_asked_for_none_is_chosen() {
    for ahead in [false, true] {
        let mut scheduler = open(ahead);
        let mut ends = Ends::default();
        let none = submit(&mut scheduler, &text("one"), &endless(0));
        run(&mut scheduler, &mut ends);
        assert_eq!(ends.done[&none].token_ids, [] as [u32; 0], "ahead: {ahead}");
    }
}

/// The hashing engine's logits are between 0 and 8, so with these biases token 40 is ahead of token 50, and every other, by 2 at least and by
/// 18 at most. Each time that it comes it loses 2, so 50 comes by the tenth.
#[test]
fn a_penalty_counts_the_tokens_of_the_answer() {
    let mut scheduler = open(false);
    let sampling = SamplingOptions {
        frequency_penalty: 2.0,
        logit_bias: vec![(40, 100.0), (50, 90.0)],
        ..SamplingOptions::default()
    };
    let options = GenerateOptions {
        sampling,
        ..endless(10)
    };
    let mut ends = Ends::default();
    let asked = submit(&mut scheduler, &text("one"), &options);
    run(&mut scheduler, &mut ends);
    let tokens = &ends.done[&asked].token_ids;
    assert_eq!(tokens[0], 40);
    assert!(tokens.iter().all(|token| [40, 50].contains(token)), "{tokens:?}");
    assert!(tokens.contains(&50), "{tokens:?}");
}
