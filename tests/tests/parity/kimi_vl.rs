//! Kimi-VL against transformers' parts, pictures by our reading of the published rules: see make_kimi_vl.py.

use monocle_tests::parity::Parity;

#[test]
fn kimi_vl() {
    Parity::new("kimi_vl").check();
}
