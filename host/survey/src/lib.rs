//! Many models, many pictures: what a survey of them needs that needs no model itself.
//!
//! [`findings`] and [`grade`] judge an answer, [`structure`] reads one that has parts. [`process`] runs each model apart, [`row`] is what comes
//! of it, or a [`failure`]; [`report`] shows rows, [`compare`] two runs. [`dataset`] reads questions, [`vqa`] scores answers, [`score`] shows them, and
//! [`interval`] says how sure they are. [`photos`] finds photos, [`metadata`] reads what one says of itself, in [`xmp`] among others, [`sidecar`]
//! writes what was found beside it, [`journal`] remembers, and [`contact`] shows all of them.

pub mod compare;
pub mod contact;
pub mod dataset;
pub mod failure;
pub mod files;
pub mod findings;
pub mod grade;
pub mod interval;
pub mod journal;
pub mod metadata;
pub mod photos;
pub mod process;
pub mod report;
pub mod row;
pub mod score;
pub mod sidecar;
pub mod structure;
pub mod vqa;
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

/// The SHA-256 of bytes, in hexadecimal digits.
pub fn sha256(bytes: &[u8]) -> String {
    use sha2::Digest;
    hex(&sha2::Sha256::digest(bytes))
}

/// Bytes in hexadecimal digits.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
