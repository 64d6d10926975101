//! DeepSeek-VL2 against transformers' parts, joined by our reading of the published rules: see make_deepseek_vl2.py.

use monocle_tests::parity::Parity;

/// As the tiny model: plain attention, experts weighed by softmax. Its tokenizer lacks the tokens that the processor adds.
#[test]
fn plain_attention() {
    Parity::new("deepseek_vl2").check();
}

/// As the small model: latent attention.
#[test]
fn latent_attention() {
    Parity::new("deepseek_vl2_small").check();
}

/// As the base model: latent attention, experts chosen by corrected sigmoids.
#[test]
fn corrected_experts() {
    Parity::new("deepseek_vl2_base").check();
}
