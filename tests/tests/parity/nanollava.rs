//! nanoLLaVA against transformers (its parts put together there, since the original's code is not packaged).

use monocle_tests::oracle::Oracle;
use monocle_tests::parity::Parity;
use monocle_tests::{project, variant};

#[test]
fn nanollava() {
    // The golden ids have the stand-in's image token where the original has -200, for which ours is 0.
    Parity {
        placeholder: Some((479, 0)),
        ..Parity::new("nanollava")
    }
    .check();
}

/// The published template, as mlx-vlm rendered it from the repository: no line break between a turn's end and the next. The fixture's own template
/// has one there.
#[test]
fn a_folder_without_a_template_has_the_published_one() {
    let folder = variant::copy("nanollava", "nanollava-bare", &["chat_template.jinja"]);
    let (oracle, mut model) = (
        Oracle::open(&project::oracle("nanollava")),
        project::open_folder(&folder),
    );
    for (case, asked) in [
        ("image", "<image>\nDescribe the image in one short sentence."),
        ("text", "How many objects are there?"),
    ] {
        let prepared = model.prepare(&oracle.request(case), 1, 64);
        let prepared = prepared.unwrap_or_else(|error| panic!("{case}: {error}"));
        let expected = format!(
            "<|im_start|>system\nAnswer the questions.<|im_end|><|im_start|>user\n{asked}<|im_end|><|im_start|>assistant\n"
        );
        assert_eq!(prepared.plan.text, expected, "{case}");
    }
}
