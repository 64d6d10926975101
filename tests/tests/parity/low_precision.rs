//! Every architecture on the engine `mlx` in 16 bits. How far logits may be off is the reference's own distance from its answer in 32
//! bits when it computes in 16: make_low_precision.py measured it, along the same answers.

use std::collections::BTreeMap;

use monocle_runtime::engines::{EngineName, EngineOptions, Precision};
use monocle_tests::oracle::Oracle;
use monocle_tests::parity::{greedy_tokens, step_logits};
use monocle_tests::project;
use serde::Deserialize;

/// Times the reference's distance. Between two ways of attention, its own differs by up to a seventh.
const TOLERANCE: f64 = 1.5;

/// All at once, and cut through every picture.
const CHUNKS: [usize; 2] = [4096, 7];

#[derive(Deserialize)]
struct Measured {
    folders: BTreeMap<String, BTreeMap<String, Case>>,
}

#[derive(Deserialize)]
struct Case {
    bf16: Distance,
    f16: Distance,
}

#[derive(Deserialize)]
struct Distance {
    rms: f64,
}

fn check(precision: Precision, reference: fn(&Case) -> &Distance) {
    let text = std::fs::read_to_string(project::oracle("low_precision.json")).unwrap();
    let measured: Measured = serde_json::from_str(&text).unwrap();
    assert_eq!(measured.folders.len(), 21);
    let mut wrong = Vec::new();
    for (folder, cases) in &measured.folders {
        let options = EngineOptions {
            precision,
            fuses: Some(true),
            ..EngineOptions::default()
        };
        let engine = EngineName::Mlx.start(options).unwrap();
        let mut model = project::open_with(&project::oracle(folder), engine);
        let oracle = Oracle::open(&project::oracle(folder));
        assert_eq!(cases.len(), oracle.cases().len(), "{folder}");
        for (case, measured) in cases {
            let answer = greedy_tokens(&oracle, case);
            for chunk in CHUNKS {
                let name = format!("{folder} {case}, chunks of {chunk}");
                let trace = model
                    .trace_along(&oracle.request(case), chunk, &answer)
                    .unwrap_or_else(|error| panic!("{name}: {error}"));
                let (found, expected) = step_logits(&oracle, case, &trace);
                let (distance, allowed) = (rms(&found, &expected), TOLERANCE * reference(measured).rms);
                println!("{name}: {distance:.2e}, allowed {allowed:.2e}");
                if distance.is_nan() || distance > allowed {
                    wrong.push(format!("{name}: off by {distance:.2e}, allowed {allowed:.2e}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Root of the mean square difference.
fn rms(found: &[f32], expected: &[f32]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let pairs = found.iter().zip(expected);
    let sum: f64 = pairs.map(|(a, b)| f64::from(a - b).powi(2)).sum();
    (sum / found.len() as f64).sqrt()
}

#[test]
fn bf16() {
    check(Precision::Bf16, |case| &case.bf16);
}

#[test]
fn f16() {
    check(Precision::F16, |case| &case.f16);
}
