//! Sampling against transformers' logits processors and numpy's PCG64.

use std::path::Path;

use monocle_text::{Sampler, SamplingOptions};
use serde_json::Value;

fn golden() -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/oracle/sampling/sampling.json");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn numbers(value: &Value) -> impl Iterator<Item = f64> {
    value
        .as_array()
        .unwrap()
        .iter()
        .map(|number| number.as_f64().unwrap())
}

fn ids(value: &Value) -> Vec<u32> {
    numbers(value).map(|id| id as u32).collect()
}

#[test]
fn what_is_kept_and_how_likely_equals_the_processors() {
    for case in golden()["cases"].as_array().unwrap() {
        let options: SamplingOptions = serde_json::from_value(case["options"].clone()).unwrap();
        let mut logits: Vec<f32> = numbers(&case["logits"]).map(|logit| logit as f32).collect();
        let sampler = Sampler::new(options).unwrap();
        let candidates = sampler
            .candidates(&mut logits, &ids(&case["history"]), &[])
            .unwrap();
        let kept: Vec<u32> = candidates.iter().map(|candidate| candidate.id).collect();
        assert_eq!(kept, ids(&case["kept"]), "{}", case["options"]);
        for (candidate, expected) in candidates.iter().zip(numbers(&case["probabilities"])) {
            let found = candidate.probability;
            assert!(
                (found - expected).abs() < 1e-12,
                "{}: {found} {expected}",
                case["options"]
            );
        }
    }
}

#[test]
fn draws_equal_those_of_the_reference_generator() {
    for case in golden()["cases"].as_array().unwrap() {
        let options: SamplingOptions = serde_json::from_value(case["options"].clone()).unwrap();
        let logits: Vec<f32> = numbers(&case["logits"]).map(|logit| logit as f32).collect();
        let history = ids(&case["history"]);
        let sampler = Sampler::new(options).unwrap();
        let draws: Vec<u32> = (0..12)
            .map(|number| sampler.next(number, &mut logits.clone(), &history).unwrap())
            .collect();
        // One candidate needs no random number, so such a case says nothing about the generator.
        assert_eq!(draws, ids(&case["draws"]), "{}", case["options"]);
    }
}
