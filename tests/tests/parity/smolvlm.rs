//! SmolVLM and Idefics3 against transformers.

use monocle_tests::parity::Parity;

#[test]
fn smolvlm() {
    Parity::new("smolvlm").check();
}

#[test]
fn idefics3() {
    Parity::new("idefics3").check();
}
