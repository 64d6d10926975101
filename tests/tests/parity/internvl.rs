//! InternVL against transformers: InternVL3 and 3.5 in its layout, and InternVL3 in the original one.

use monocle_tests::parity::Parity;

#[test]
fn internvl() {
    Parity::new("internvl").check();
}

#[test]
fn internvl3_5() {
    Parity::new("internvl3_5").check();
}

#[test]
fn internvl_chat() {
    // The golden prompts are those of transformers' layout of the same weights.
    Parity {
        mark: Some(("<IMG_CONTEXT>", "<image>")),
        ..Parity::new("internvl_chat")
    }
    .check();
}
