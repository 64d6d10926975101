//! PaliGemma 2 against transformers.

use monocle_tests::parity::Parity;

#[test]
fn paligemma2() {
    Parity::new("paligemma2").check();
}
