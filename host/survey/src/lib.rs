//! Many models, many pictures: what a survey of them needs that needs no model itself.
//!
//! [`findings`] and [`grade`] judge an answer, [`structure`] reads one that has parts. [`process`] runs each model apart, [`row`] is what comes
//! of it, or a [`failure`]; [`report`] shows rows, [`compare`] two runs. [`metadata`] reads what a photo says of itself, in [`xmp`] among others.

pub mod compare;
pub mod failure;
pub mod files;
pub mod findings;
pub mod grade;
pub mod metadata;
pub mod process;
pub mod report;
pub mod row;
pub mod structure;
pub mod xmp;

/// Bytes as base64, as RFC 4648 says it.
pub fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let three =
            chunk.iter().fold(0_u32, |all, byte| all << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let letter = LETTERS[(three >> (18 - 6 * place) & 63) as usize];
            text.push(if place <= chunk.len() {
                char::from(letter)
            } else {
                '='
            });
        }
    }
    text
}
