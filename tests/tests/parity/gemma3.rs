//! Gemma 3 against transformers.

use monocle_tests::parity::Parity;

#[test]
fn gemma3() {
    Parity::new("gemma3").check();
}
