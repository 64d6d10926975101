//! Experts whose scores are equal: of those the lowest numbers are chosen, as the contract says of `top-k`. Scores of the goldens tie nowhere.

use monocle_tests::oracle::Oracle;
use monocle_tests::parity::close;
use monocle_tests::{project, variant};
use monocle_weights::to_f32;

/// The logits of an answer about pictures where all routers are zero, so that each expert has the same score, and these corrections choose.
fn logits(folder: &str, choice: &str, routers: usize, corrections: &[f32]) -> Vec<f32> {
    let copy = variant::copy(
        folder,
        &format!("{folder}-{choice}-experts"),
        &["golden.safetensors"],
    );
    let original = variant::checkpoint(&project::oracle(folder));
    let mut zeroed = 0;
    let tensors: Vec<variant::NewTensor> = original
        .names()
        .map(|name| {
            let tensor = original.tensor(name).unwrap_or_else(|error| panic!("{error}"));
            let mut values = to_f32(&tensor).unwrap_or_else(|error| panic!("{error}"));
            if name.contains(".mlp.gate.weight") {
                values.fill(0.0);
                zeroed += 1;
            } else if name.ends_with("e_score_correction_bias") {
                assert_eq!(tensor.shape.last(), Some(&corrections.len()), "{name}");
                let every = corrections.iter().copied().cycle();
                values = every.take(values.len()).collect();
            }
            (name.to_owned(), tensor.shape.clone(), values)
        })
        .collect();
    assert_eq!(zeroed, routers, "{folder}: routers");
    variant::write_weights(&copy, &tensors);
    let request = Oracle::open(&project::oracle(folder)).request("two_images");
    let trace = project::open_folder(&copy).trace(&request, 64, 4);
    let trace = trace.unwrap_or_else(|error| panic!("{folder}, {choice}: {error}"));
    [trace.prompt_logits.concat(), trace.step_logits.concat()].concat()
}

/// Compares with checkpoints where the two lowest experts alone win, and the two highest.
fn check(folder: &str, routers: usize, experts: usize) {
    let mut corrections = vec![0.0; experts];
    let tied = logits(folder, "tied", routers, &corrections);
    corrections[0] = 2.0;
    corrections[1] = 1.0;
    let lowest = logits(folder, "lowest", routers, &corrections);
    corrections.reverse();
    let highest = logits(folder, "highest", routers, &corrections);
    // The same arithmetic: no digit differs.
    close(folder, &tied, &lowest, 0.0);
    let apart = tied.iter().zip(&highest).map(|(a, b)| (a - b).abs());
    assert!(
        apart.fold(0.0, f32::max) > 0.1,
        "{folder}: which experts are chosen makes no difference"
    );
}

#[test]
fn kimi_vl() {
    check("kimi_vl", 2, 6);
}

/// Experts of text, and others of pictures.
#[test]
fn ernie4_5_vl() {
    check("ernie4_5_vl", 4, 4);
}
