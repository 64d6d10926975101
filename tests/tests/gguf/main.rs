//! Models from GGUF files answer as their safetensors do.

mod families;
mod files;
mod latent;
mod merged_patches;
mod per_layer;
mod server;

use monocle_tensor::scheme::Scheme;
use monocle_tests::gguf::idefics3::convert;
use monocle_tests::oracle::Oracle;
use monocle_tests::parity::{LOGITS, Parity, close};
use monocle_tests::program::Monocle;
use monocle_tests::project;
use monocle_tests::scratch::Scratch;
use monocle_tests::variant;

#[test]
fn unquantised_files_answer_as_the_reference() {
    for family in ["smolvlm", "idefics3"] {
        let scratch = Scratch::new("gguf");
        let (model, _) = convert(&project::oracle(family), scratch.path(), |_, _| None);
        scratch.write("about-mmproj.txt", "no part of the model");
        // By the file, and by the folder.
        for path in [model.as_path(), scratch.path()] {
            let mut opened = project::open_folder(path);
            let notes = opened.model().notes();
            assert!(
                !notes.iter().any(|note| note.contains("about-mmproj")),
                "{notes:?}"
            );
            // What fills up a vocabulary is no text.
            let tokens = (0..4096).filter_map(|id| opened.model().tokenizer().token(id));
            assert_eq!(tokens.filter(|token| token.starts_with("[PAD")).count(), 0);
            Parity::new(family).compare(&mut opened);
        }
    }
}

#[test]
fn quantised_files_answer_as_their_dequantised_numbers() {
    let scratch = Scratch::new("gguf");
    let blocks = |name: &str, shape: &[usize]| {
        let fits = shape.len() == 2 && shape[1].is_multiple_of(32) && !name.contains("position");
        let scheme = if name.contains("mlp") {
            Scheme::Q4_0
        } else {
            Scheme::Q8_0
        };
        fits.then_some(scheme)
    };
    let (model, plain) = convert(&project::oracle("smolvlm"), scratch.path(), blocks);
    let dequantised = variant::copy("smolvlm", "smolvlm-dequantised", &["golden.safetensors"]);
    variant::write_weights(&dequantised, &plain);
    let outcome = Monocle::new(["convert"])
        .args([scratch.path()])
        .args(["--verify"])
        .args([&dequantised])
        .run();
    assert_eq!(outcome.code, 0, "{outcome:?}");
    // How often a product is rounded differs, by less than a ten-thousandth of a percent.
    let equal = plain.len() - outcome.stdout.matches("  0.0000 %").count();
    assert!(
        outcome.stdout.starts_with(&format!("{equal} tensors equal\n")),
        "{}",
        outcome.stdout
    );
    let oracle = Oracle::open(&project::oracle("smolvlm"));
    let [found, expected] = [model, dequantised].map(|path| {
        let trace = project::open_folder(&path).trace(&oracle.request("image"), 512, 16);
        trace.unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    });
    assert_eq!(found.prompt_ids, expected.prompt_ids);
    assert_eq!(found.tokens, expected.tokens);
    close(
        "gguf",
        &found.step_logits.concat(),
        &expected.step_logits.concat(),
        LOGITS,
    );
    let (_, original) = oracle.floats("image/step_logits").expect("a case has logits");
    let differs = found
        .step_logits
        .concat()
        .iter()
        .zip(&original)
        .any(|(a, b)| (a - b).abs() > LOGITS);
    assert!(differs, "quantisation changes the numbers");
}
