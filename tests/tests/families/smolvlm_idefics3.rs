//! What went wrong with Idefics3 and SmolVLM in other runners.

use monocle_tests::oracle::Oracle;
use monocle_tests::parity::{LOGITS, close};
use monocle_tests::project;
use monocle_tests::scratch::Scratch;

/// Idefics3-8B: `Expected (4096,4096) but received (1024,4096)` for the key projection, since its config leaves out the number of key-value heads.
#[test]
fn key_value_heads_that_no_config_names_are_counted_in_the_weights() {
    let folder = Scratch::checkpoint("idefics3");
    folder.edit("config.json", |config| {
        let left_out = config.replace("\"num_key_value_heads\": 2,", "");
        assert_ne!(left_out, config, "the config names them");
        left_out
    });
    let oracle = Oracle::open(&project::oracle("idefics3"));
    let trace = project::open_folder(folder.path()).trace(&oracle.request("image"), 64, 16);
    let trace = trace.unwrap_or_else(|error| panic!("{error}"));
    let (_, steps) = oracle
        .floats("image/step_logits")
        .expect("a case has logits of each step");
    close("idefics3", &trace.step_logits.concat(), &steps, LOGITS);
}
