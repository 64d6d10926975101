//! PaddleOCR-VL against transformers.

use monocle_tests::parity::Parity;

#[test]
fn paddleocr_vl() {
    Parity::new("paddleocr_vl").check();
}
