//! Latent attention and experts: `tests/plugins/latent-experts` computes what transformers' DeepSeek-V3 does.

use monocle_runtime::request::Request;
use monocle_runtime::scheduler::Scheduler;
use monocle_tests::json::{ids, numbers};
use monocle_tests::parity::{LOGITS, close};
use monocle_tests::project::{self, Carrier};
use monocle_tests::scratch::Scratch;
use serde_json::Value;

/// `open` takes a manifest and gives its model.
fn check(kind: &str, open: impl Fn(&str) -> Scheduler) {
    let place = format!("latent_experts/{kind}");
    let scratch = Scratch::new("latent");
    for (folder, file) in [
        (place.as_str(), "config.json"),
        (place.as_str(), "model.safetensors"),
        ("nanollava", "tokenizer.json"),
        ("nanollava", "tokenizer_config.json"),
    ] {
        let bytes = std::fs::read(project::oracle(folder).join(file)).expect("the file is there");
        scratch.write(file, bytes);
    }
    let golden = std::fs::read_to_string(project::oracle(&place).join("golden.json")).expect("it is there");
    let golden: Value = serde_json::from_str(&golden).expect("it is JSON");
    let mut model = open(&format!(
        "schema = 1\nname = \"latent\"\nplugin = \"latent-experts\"\nsource = {{ path = {:?} }}",
        scratch.path()
    ));
    let request = Request::single(None, vec![], golden["text"].as_str().expect("a text"));
    for chunk in [64, 1, 4] {
        let trace = model
            .trace(&request, chunk, 8)
            .unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(trace.prompt_ids, ids(&golden["ids"]));
        assert_eq!(trace.tokens, ids(&golden["tokens"]), "chunks of {chunk}");
        let what = format!("{kind}, chunks of {chunk}");
        close(
            &what,
            &trace.step_logits[0],
            &numbers(&golden["first_logits"]),
            LOGITS,
        );
        close(
            &what,
            &trace.step_logits[7],
            &numbers(&golden["last_logits"]),
            LOGITS,
        );
    }
}

/// Queries have a latent too; the weights of experts sum to 1, and then are scaled.
#[test]
fn latent_queries_and_weights_that_sum_to_one() {
    for carrier in Carrier::ALL {
        check("sigmoid", |manifest| project::open_manifest_in(carrier, manifest));
    }
}

/// Queries have one layer; weights are as they come.
#[test]
fn whole_queries_and_weights_as_they_are() {
    for carrier in Carrier::ALL {
        check("whole_queries", |manifest| {
            project::open_manifest_in(carrier, manifest)
        });
    }
}

#[test]
fn experts_in_groups() {
    for carrier in Carrier::ALL {
        check("groups", |manifest| project::open_manifest_in(carrier, manifest));
    }
}

/// As the plugin was built for contract 0.2.0.
#[test]
fn a_plugin_that_was_kept() {
    for kind in ["sigmoid", "whole_queries", "groups"] {
        check(kind, |manifest| project::open_frozen("contract-0.2", manifest));
    }
}
