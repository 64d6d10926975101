//! LLaVA-1.5 and LLaVA-1.6 against transformers.

use monocle_tests::parity::Parity;

#[test]
fn llava() {
    Parity::new("llava").check();
}

#[test]
fn llava_next() {
    Parity::new("llava_next").check();
}
