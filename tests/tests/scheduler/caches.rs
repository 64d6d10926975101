//! What is kept for requests to come changes no answer, and is of use.

use monocle_runtime::request::Request;
use monocle_runtime::request::pictures::PictureInput;
use monocle_runtime::scheduler::SchedulerOptions;

use super::{Ends, FAMILIES, alone, open, options, run, submit};

fn keeping() -> SchedulerOptions {
    SchedulerOptions {
        cache_limit: 64 << 20,
        ..SchedulerOptions::default()
    }
}

/// A picture of one colour.
fn filled(colour: [u8; 3]) -> PictureInput {
    let mut bytes = b"P6 40 30 255\n".to_vec();
    bytes.extend(colour.repeat(40 * 30));
    PictureInput::Bytes {
        name: format!("{colour:?}"),
        bytes,
    }
}

#[test]
fn asking_again_is_quick_and_answers_the_same() {
    for folder in FAMILIES {
        let (mut plain, requests) = open(folder, SchedulerOptions::default());
        let (mut keeping, _) = open(folder, keeping());
        for request in &requests {
            let expected = alone(&mut plain, request, &options(12));
            for round in 0..3 {
                let id = submit(&mut keeping, request, &options(12));
                let mut ends = Ends::default();
                run(&mut keeping, &mut ends);
                let report = &ends.done[&id];
                assert_eq!(report.token_ids, expected, "{folder}, round {round}");
                let prompt = &report.prompt;
                let pictures = request.pictures.len();
                match (round, pictures) {
                    (0, _) => {}
                    // Convolutions keep their last rows only, and a context of cross attention is its sequence's own; their pictures' features
                    // are kept all the same.
                    (_, 0) if folder == "lfm2_vl" => {}
                    // All of the prompt sees itself: it is there as a whole, or not at all.
                    (_, count) if folder == "paligemma2" => assert_eq!(prompt.cached_pictures, count),
                    (_, count) if ["lfm2_vl", "mllama"].contains(&folder) => {
                        assert!(
                            count == 0 || prompt.cached_pictures == count,
                            "{folder}: {prompt:?}"
                        );
                    }
                    // All but the last token, and what must stay with it: pictures in what is there need no features.
                    _ => assert!(prompt.cached_tokens > 0, "{folder}, round {round}: {prompt:?}"),
                }
            }
        }
        // All is given back when it is asked for.
        keeping.clear_caches();
        assert_eq!(keeping.cached_bytes(), [0, 0]);
    }
}

/// The same words about other pictures of the same size, in every order, together and one after another: never another picture's answer.
#[test]
fn pictures_never_mix() {
    let colours = [[255, 0, 0], [0, 0, 255], [255, 0, 0], [0, 255, 0], [1, 0, 255]];
    for folder in FAMILIES {
        let (mut plain, _) = open(folder, SchedulerOptions::default());
        let request = |colour| Request::single(None, vec![filled(colour)], "What colour is it?");
        let expected: Vec<_> = colours
            .iter()
            .map(|colour| alone(&mut plain, &request(*colour), &options(8)))
            .collect();
        for limit in [0, 200_000, 64 << 20] {
            let (mut scheduler, _) = open(
                folder,
                SchedulerOptions {
                    cache_limit: limit,
                    ..SchedulerOptions::default()
                },
            );
            let orders: [&[usize]; 4] = [&[0, 1, 2, 3, 4], &[1, 0, 1, 2], &[4, 4, 1, 1, 0], &[3, 2, 1, 0]];
            let mut cached = 0;
            for together in [false, true] {
                for order in orders {
                    let mut ends = Ends::default();
                    let mut ids = Vec::new();
                    for &number in order {
                        ids.push(submit(&mut scheduler, &request(colours[number]), &options(8)));
                        if !together {
                            run(&mut scheduler, &mut ends);
                        }
                    }
                    run(&mut scheduler, &mut ends);
                    for (id, &number) in ids.iter().zip(order) {
                        let report = &ends.done[id];
                        assert_eq!(report.token_ids, expected[number], "{folder}, limit {limit}");
                        cached += report.prompt.cached_tokens + report.prompt.cached_pictures;
                    }
                }
            }
            assert!(
                cached == 0 || limit > 0,
                "{folder}: {cached} cached, and nothing may be kept"
            );
            assert!(cached > 0 || limit < 64 << 20, "{folder}: nothing was cached");
        }
    }
}

/// What is kept stays within its limit.
#[test]
fn no_more_is_kept_than_may_be() {
    let limit = 300_000;
    let (mut scheduler, requests) = open(
        "smolvlm",
        SchedulerOptions {
            cache_limit: limit,
            ..SchedulerOptions::default()
        },
    );
    let mut most = [0, 0];
    for round in 0..4 {
        for request in &requests {
            submit(&mut scheduler, request, &options(4 + round));
        }
        run(&mut scheduler, &mut Ends::default());
        let kept = scheduler.cached_bytes();
        most = [most[0].max(kept[0]), most[1].max(kept[1])];
        assert!(kept.iter().all(|bytes| *bytes <= limit), "{kept:?}");
    }
    assert!(most.iter().all(|bytes| *bytes > 0), "{most:?}");
}
