//! Files of ranks, as tiktoken reads them: a token in base 64 and its rank on each line.
//!
//! The file says neither how text is cut before it is looked up nor which special tokens there are. The latter stand
//! in `tokenizer_config.json`. The former is code in Python; it is known for some classes (`classes`), or can be given
//! by the manifest, or in `tokenizer_config.json` as `pat_str`, the name it has in tiktoken.

use std::collections::HashMap;
use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::merges::merges;
use super::tokenizer_file::{BytePairs, TokenizerFile};
use crate::stream::bytes::byte_level_bytes;

/// The longest token; known ones have at most some hundred bytes. All cuts of each are looked up.
const MAX_TOKEN: usize = 512;
/// The largest file; known ones have some 3 MB.
const MAX_BYTES: usize = 32 << 20;

/// The character that stands for each byte in byte-level vocabularies. Those between the printable ones of ASCII and
/// the last that is used are told from others by their bytes.
static CHAR_OF_BYTE: LazyLock<HashMap<u8, char>> = LazyLock::new(|| {
    ('!'..='~')
        .chain('\u{A1}'..='\u{143}')
        .filter_map(|char| match byte_level_bytes(char.encode_utf8(&mut [0; 4]))[..] {
            [byte] => Some((byte, char)),
            _ => None,
        })
        .collect()
});

/// Whether a file is one of ranks: its first line says so.
pub fn is_ranks(bytes: &[u8]) -> bool {
    let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    line.len() < 2 * MAX_TOKEN && std::str::from_utf8(line).is_ok_and(|line| rank(line).is_some())
}

/// The tokens by rank.
pub fn read(bytes: &[u8]) -> Result<Vec<Vec<u8>>, String> {
    if bytes.len() > MAX_BYTES {
        return Err(format!("it has {} bytes, more than {MAX_BYTES}", bytes.len()));
    }
    let text = std::str::from_utf8(bytes).map_err(|_| "it is not text".to_owned())?;
    let mut ranks: HashMap<Vec<u8>, usize> = HashMap::new();
    for (number, line) in text
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty())
    {
        let place = number + 1;
        let (token, rank) =
            rank(line).ok_or_else(|| format!("line {place} is not a token in base 64 and a number"))?;
        if token.is_empty() || token.len() > MAX_TOKEN {
            return Err(format!("line {place} has a token of {} bytes", token.len()));
        }
        if ranks.insert(token, rank).is_some() {
            return Err(format!("line {place} repeats a token"));
        }
    }
    let mut tokens = vec![Vec::new(); ranks.len()];
    for (token, rank) in ranks {
        match tokens.get_mut(rank) {
            Some(slot) if slot.is_empty() => *slot = token,
            Some(_) => return Err(format!("two tokens have rank {rank}")),
            None => {
                return Err(format!("it has {} tokens, and one of rank {rank}", tokens.len()));
            }
        }
    }
    let singles = tokens.iter().filter(|token| token.len() == 1).count();
    match singles {
        256 => Ok(tokens),
        _ => Err(format!("it has {singles} of 256 single bytes")),
    }
}

fn rank(line: &str) -> Option<(Vec<u8>, usize)> {
    let mut words = line.split_whitespace();
    let token = STANDARD.decode(words.next()?).ok()?;
    let rank = words.next()?.parse().ok()?;
    words.next().is_none().then_some((token, rank))
}

/// What a `tokenizer.json` of the same tokenizer says.
pub fn tokenizer_file(tokens: &[Vec<u8>], pattern: &str) -> TokenizerFile {
    let ranks: HashMap<&[u8], u64> = (0u64..)
        .zip(tokens)
        .map(|(rank, token)| (&token[..], rank))
        .collect();
    let slices: Vec<&[u8]> = tokens.iter().map(Vec::as_slice).collect();
    let word = |token: &[u8]| {
        token
            .iter()
            .filter_map(|byte| CHAR_OF_BYTE.get(byte))
            .collect::<String>()
    };
    let merges = merges(
        &slices,
        |token| (1..token.len()).map(|place| token.split_at(place)).collect(),
        |(left, right)| Some((*ranks.get(left)?, *ranks.get(right)?)),
    );
    let merges = merges
        .into_iter()
        .map(|(left, right)| (word(left), word(right)))
        .collect();
    let vocabulary = (0..).zip(tokens).map(|(rank, token)| (word(token), rank));
    TokenizerFile {
        pre_tokenizer: json!({"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": false},
            {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false},
        ]}),
        decoder: json!({"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true}),
        ..TokenizerFile::of_pairs(BytePairs::new(vocabulary.collect(), merges).ignoring_merges())
    }
}
