//! Bytes to characters, one token at a time.

use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

/// Turns bytes into text as they come; bytes that may be the begin of a character wait for its rest.
#[derive(Debug, Clone, Default)]
pub struct Utf8Stream {
    /// At most three bytes: the begin of a character.
    pending: Vec<u8>,
}

impl Utf8Stream {
    /// Takes bytes and gives the characters that are now complete; what can never be one becomes U+FFFD, in the
    /// same places as in `String::from_utf8_lossy` of the whole.
    pub fn push(&mut self, bytes: &[u8]) -> String {
        self.pending.extend_from_slice(bytes);
        let mut text = String::new();
        let mut used = 0;
        for chunk in self.pending.utf8_chunks() {
            text.push_str(chunk.valid());
            used += chunk.valid().len();
            let invalid = chunk.invalid();
            let at_end = used + invalid.len() == self.pending.len();
            if at_end && is_incomplete(invalid) {
                break;
            }
            if !invalid.is_empty() {
                text.push(char::REPLACEMENT_CHARACTER);
            }
            used += invalid.len();
        }
        self.pending.drain(..used);
        text
    }

    /// Ends the stream: an unfinished character becomes U+FFFD.
    pub fn finish(&mut self) -> String {
        let text = String::from_utf8_lossy(&self.pending).into_owned();
        self.pending.clear();
        text
    }
}

/// Whether bytes that are not valid UTF-8 could become so with more after them.
fn is_incomplete(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_err_and(|error| error.error_len().is_none())
}

/// The byte of each character in byte-level vocabularies: GPT-2's `bytes_to_unicode`, which keeps printable Latin-1
/// as it is and moves the other 68 bytes, in order, to U+0100 and after.
static BYTE_OF_CHAR: LazyLock<HashMap<char, u8>> = LazyLock::new(|| {
    let mut moved = 0x100..;
    (0..=u8::MAX)
        .map(|byte| match byte {
            b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF => (char::from(byte), byte),
            _ => (char::from_u32(moved.next().unwrap_or(0)).unwrap_or('\0'), byte),
        })
        .collect()
});

/// The other way around.
static CHAR_OF_BYTE: LazyLock<[char; 256]> = LazyLock::new(|| {
    let mut chars = ['\0'; 256];
    for (char, byte) in BYTE_OF_CHAR.iter() {
        chars[usize::from(*byte)] = *char;
    }
    chars
});

/// A text as byte-level vocabularies write it: a character for each byte.
pub fn byte_level_text(text: &str) -> String {
    text.bytes().map(|byte| CHAR_OF_BYTE[usize::from(byte)]).collect()
}

/// The bytes of a token of a byte-level vocabulary; a token with any other character stands for its own text.
pub fn byte_level_bytes(token: &str) -> Vec<u8> {
    let bytes: Option<Vec<u8>> = token.chars().map(|c| BYTE_OF_CHAR.get(&c).copied()).collect();
    bytes.unwrap_or_else(|| token.as_bytes().to_vec())
}

/// Whether a vocabulary is byte-level: it then has a token for every one of the 256 bytes' characters, or nearly
/// (bytes that no UTF-8 text holds are left out of some).
pub fn is_byte_level_vocabulary<'a>(tokens: impl Iterator<Item = &'a str>) -> bool {
    let found: HashSet<u8> = tokens
        .filter_map(|token| {
            let mut chars = token.chars();
            let byte = BYTE_OF_CHAR.get(&chars.next()?)?;
            chars.next().is_none().then_some(*byte)
        })
        .collect();
    // The markers of space and newline, which other vocabularies have no use for.
    found.contains(&b' ') && found.contains(&b'\n') && found.len() >= 200
}

/// The byte of a byte-fallback token, `<0x0A>` and the like.
pub fn fallback_byte(token: &str) -> Option<u8> {
    let digits = token.strip_prefix("<0x")?.strip_suffix('>')?;
    if digits.len() != 2 {
        return None;
    }
    u8::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn pieces_equal_the_whole(bytes in prop::collection::vec(any::<u8>(), 0..64), cut in 1usize..7) {
            let mut stream = Utf8Stream::default();
            let mut text = String::new();
            for piece in bytes.chunks(cut) {
                text += &stream.push(piece);
            }
            text += &stream.finish();
            prop_assert_eq!(text, String::from_utf8_lossy(&bytes));
        }
    }

    #[test]
    fn a_character_is_held_back_until_it_is_whole() {
        let mut stream = Utf8Stream::default();
        assert_eq!(stream.push(&[b'a', 0xF0, 0x9F]), "a");
        assert_eq!(stream.push(&[0x98]), "");
        assert_eq!(stream.push(&[0x80, b'b']), "😀b");
    }

    #[test]
    fn byte_level_table_follows_gpt2() {
        // Values of transformers' `bytes_to_unicode()`.
        for (token, bytes) in [
            ("Ġ", &[0x20][..]),
            ("Ċ", &[0x0A]),
            ("Ń", &[0xAD]),
            ("é", &[0xE9]),
            ("ġ", &[0x7F]),
        ] {
            assert_eq!(byte_level_bytes(token), bytes, "{token}");
        }
        assert_eq!(
            byte_level_bytes("a b"),
            b"a b",
            "a space is no byte-level character"
        );
    }

    #[test]
    fn fallback_bytes_are_two_hex_digits() {
        assert_eq!(fallback_byte("<0xE4>"), Some(0xE4));
        for token in ["<0xE>", "<0xE45>", "<0xG0>", "0xE4", "<0xé>"] {
            assert_eq!(fallback_byte(token), None, "{token}");
        }
    }
}
