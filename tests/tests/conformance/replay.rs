//! Plugin code runs once for each signature; programs are shared between requests, state is not.

use monocle_runtime::report::Report;
use monocle_runtime::request::GenerateOptions;
use monocle_runtime::request::Request;
use monocle_runtime::scheduler::Flow;
use monocle_runtime::scheduler::Scheduler;
use monocle_tests::oracle::Oracle;
use monocle_tests::project::{self, Carrier};

fn generate(model: &mut Scheduler, request: &Request, flow: Flow) -> Report {
    let options = GenerateOptions {
        max_tokens: 16,
        ..GenerateOptions::default()
    };
    model
        .answer(request, &options, &mut |_| flow)
        .unwrap_or_else(|error| panic!("{error}"))
}

fn small(carrier: Carrier) -> (Scheduler, Oracle) {
    let folder = project::oracle("smolvlm");
    (project::open_folder_in(carrier, &folder), Oracle::open(&folder))
}

#[test]
fn plugin_code_runs_once_for_each_signature() {
    for carrier in Carrier::ALL {
        let (mut model, oracle) = small(carrier);
        let calls = |report: Report| {
            (
                report.plugin_calls.before_decode,
                report.plugin_calls.during_decode,
            )
        };

        // configure, plan, pixels; the instance that records is configured and loads; encode, prefill and decode step are recorded
        // twice each.
        let first = generate(&mut model, &oracle.request("image"), Flow::Continue);
        assert_eq!(first.plugin_calls.per_decoded_token, 0.0);
        assert!(
            first.token_ids.len() > 8,
            "too few tokens to speak of a steady state"
        );
        assert_eq!(calls(first), (3 + 2 + 2 * 3, 0));

        // Nothing is recorded again.
        let again = generate(&mut model, &oracle.request("image"), Flow::Continue);
        assert_eq!(calls(again), (3, 0));

        // No picture: configure, plan; only the prefill's signature is new.
        let text = generate(&mut model, &oracle.request("text"), Flow::Continue);
        assert_eq!(calls(text), (2 + 2, 0));
    }
}

/// The count of calls counts: a plugin that filters the output is asked about each piece of text.
#[test]
fn calls_in_decode_are_counted() {
    for carrier in Carrier::ALL {
        let manifest = format!(
            "schema = 1\nname = \"filters\"\nplugin = \"hostile\"\nsource = {{ path = {:?} }}\n",
            project::oracle("smolvlm")
        );
        let mut model = project::open_manifest_in(carrier, &manifest);
        let report = generate(
            &mut model,
            &Request::single(None, vec![], "Hello"),
            Flow::Continue,
        );
        assert!(report.plugin_calls.during_decode > 0);
        assert!(report.plugin_calls.per_decoded_token > 0.0);
    }
}

#[test]
fn state_does_not_outlive_a_request() {
    for carrier in Carrier::ALL {
        let (_, oracle) = small(carrier);
        let fresh =
            |case: &str| generate(&mut small(carrier).0, &oracle.request(case), Flow::Continue).token_ids;
        let cases = ["image", "two_images", "text"];
        let expected = cases.map(fresh);
        assert_ne!(expected[0], expected[1]);

        let (mut model, _) = small(carrier);
        let ask = |model: &mut Scheduler, case: usize| {
            let report = generate(model, &oracle.request(cases[case]), Flow::Continue);
            assert_eq!(report.token_ids, expected[case], "{}", cases[case]);
        };
        for case in [0, 0, 1, 0, 2, 1, 0] {
            ask(&mut model, case);
        }
        // One that was broken off leaves nothing behind either.
        let cancelled = generate(&mut model, &oracle.request("image"), Flow::Cancel);
        assert!(cancelled.token_ids.len() < expected[0].len());
        ask(&mut model, 0);
        let held = model.backend().memory().active;
        // To the last bit.
        let logits =
            |model: &mut Scheduler| model.trace(&oracle.request("image"), 512, 4).unwrap().step_logits;
        let first = logits(&mut model);
        ask(&mut model, 1);
        assert!(first == logits(&mut model), "the same request gave other logits");
        // The engine holds what it held when all signatures were known: weights and constants, nothing of any request.
        assert_eq!(model.backend().memory().active, held);
    }
}
