//! LLaVA-1.5, LLaVA-1.6 and LLaVA-OneVision against transformers.

use monocle_tests::parity::Parity;

#[test]
fn llava() {
    Parity::new("llava").check();
}

#[test]
fn llava_next() {
    Parity::new("llava_next").check();
}

#[test]
fn llava_onevision() {
    Parity::new("llava_onevision").check();
}
