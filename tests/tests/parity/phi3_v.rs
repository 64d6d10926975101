//! Phi-3.5-vision against mlx-vlm.

use monocle_tests::parity::Parity;

#[test]
fn phi3_v() {
    let parity = Parity {
        // The reference has -1 at the first picture's tokens, we have `<unk>`.
        placeholder: Some((-1, 0)),
        ..Parity::new("phi3_v")
    };
    parity.check();
}
