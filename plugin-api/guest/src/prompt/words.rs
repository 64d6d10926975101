//! Words of a conversation that look like the places of pictures: `<image>` in "What does the <image> element of SVG do?". They are marked
//! while the prompt is rendered and expanded, so that no place is looked for in them, and spelled out in tokens when it is tokenised.

use std::borrow::Cow;

use crate::{Content, Error, Message, Part, Result, ToolCall};

/// Stands behind a word's first character. Unicode keeps this character, and the next, for use within a program.
const WORD: char = '\u{fdd0}';
/// Stands behind a word's last character.
const END: char = '\u{fdd1}';

/// The text with these words marked. What the text itself has of the marking characters is replaced.
pub fn hide(text: &str, words: &[&str]) -> String {
    let text = text.replace([WORD, END], "\u{fffd}");
    // Long words first, for those that are the beginning of another.
    let mut words = words.to_vec();
    words.sort_by_key(|word| std::cmp::Reverse(word.len()));
    let mut out = String::with_capacity(text.len());
    let mut rest = text.as_str();
    while let Some(character) = rest.chars().next() {
        match words
            .iter()
            .find(|word| !word.is_empty() && rest.starts_with(**word))
        {
            Some(word) => {
                out.push(character);
                out.push(WORD);
                out.push_str(&word[character.len_utf8()..]);
                out.push(END);
                rest = &rest[word.len()..];
            }
            None => {
                out.push(character);
                rest = &rest[character.len_utf8()..];
            }
        }
    }
    out
}

/// [`hide`] in all texts of a conversation.
pub fn hide_all(messages: &[Message], words: &[&str]) -> Vec<Message> {
    let content = |content: &Content| match content {
        Content::Text(text) => Content::Text(hide(text, words)),
        Content::Parts(parts) => {
            let part = |part: &Part| match part {
                Part::Text(text) => Part::Text(hide(text, words)),
                Part::Medium(medium) => Part::Medium(*medium),
            };
            Content::Parts(parts.iter().map(part).collect())
        }
    };
    // What people, models and tools wrote.
    let call = |call: &ToolCall| ToolCall {
        arguments: hide(&call.arguments, words),
        ..call.clone()
    };
    let hidden = messages.iter().map(|message| Message {
        content: content(&message.content),
        reasoning: message.reasoning.as_ref().map(|text| hide(text, words)),
        tool_calls: message.tool_calls.iter().map(call).collect(),
        ..message.clone()
    });
    hidden.collect()
}

/// Whether a text has marked words.
pub fn has_words(text: &str) -> bool {
    text.contains(WORD)
}

/// The text without the marks: as it was written.
pub fn shown(text: &str) -> Cow<'_, str> {
    match text.contains([WORD, END]) {
        true => text.replace([WORD, END], "").into(),
        false => text.into(),
    }
}

/// The distinct words that are marked in a text.
fn marked(text: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    for (at, _) in text.match_indices(WORD) {
        let start = text[..at]
            .char_indices()
            .next_back()
            .map_or(at, |(start, _)| start);
        let end = text[at..].find(END).map_or(text.len(), |end| at + end);
        let word = shown(&text[start..end]).into_owned();
        if !words.contains(&word) {
            words.push(word);
        }
    }
    words
}

/// Where a word occurs in a text, in order: whether it is marked there.
fn occurrences(text: &str, word: &str) -> Vec<bool> {
    let hidden = hide(word, &[word]);
    let places = |what: &str, is_word: bool| -> Vec<(usize, bool)> {
        text.match_indices(what).map(|(at, _)| (at, is_word)).collect()
    };
    let mut all = [places(word, false), places(&hidden, true)].concat();
    all.sort_unstable();
    all.into_iter().map(|(_, is_word)| is_word).collect()
}

/// Token ids of a text in which marked words are words: `encode` gives the ids of the text without marks, in which each word that is a token has
/// its id; those that are marked are spelled out with other tokens. `find` gives a token's id.
pub fn encode(
    text: &str,
    encode: impl Fn(&str) -> Vec<u32>,
    find: impl Fn(&str) -> Option<u32>,
) -> Result<Vec<u32>> {
    let mut ids = encode(&shown(text));
    for word in marked(text) {
        let Some(id) = find(&word) else { continue };
        let occurrences = occurrences(text, &word);
        if ids.iter().filter(|&&other| other == id).count() != occurrences.len() {
            // The tokenizer did not see the word there, so nothing has to be spelled out.
            continue;
        }
        let spelled = spell(&word, &find)?;
        let mut is_word = occurrences.into_iter();
        let each = ids
            .into_iter()
            .flat_map(|other| match other == id && is_word.next() == Some(true) {
                true => spelled.clone(),
                false => vec![other],
            });
        ids = each.collect();
    }
    Ok(ids)
}

/// A word in tokens that are not the word: the longest ones first.
fn spell(word: &str, find: &impl Fn(&str) -> Option<u32>) -> Result<Vec<u32>> {
    let mut ids = vec![];
    let mut rest = word;
    while let Some(character) = rest.chars().next() {
        let ends = rest
            .char_indices()
            .map(|(at, character)| at + character.len_utf8());
        let longest = ends.rev().filter(|end| *end < word.len());
        let found = longest
            .filter_map(|end| find(&rest[..end]).map(|id| (end, vec![id])))
            .next();
        let bytes = || {
            let bytes = rest.as_bytes()[..character.len_utf8()].iter();
            let ids: Option<Vec<u32>> = bytes.map(|byte| find(&format!("<0x{byte:02X}>"))).collect();
            ids.map(|ids| (character.len_utf8(), ids))
        };
        let (end, piece) = found.or_else(bytes).ok_or_else(|| {
            Error::new(format_args!(
                "a message has the words `{word}`, which mean a picture to this model, and its tokenizer has no other tokens to spell \
                 them; leave them out"
            ))
        })?;
        ids.extend(piece);
        rest = &rest[end..];
    }
    Ok(ids)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A tokenizer of these tokens and of single letters.
    fn find(token: &str) -> Option<u32> {
        let tokens = ["<image>", "image", "<", ">", "what ", "<image>s"];
        let known = tokens.iter().position(|known| *known == token);
        let letter = || token.parse::<char>().ok().map(|letter| letter as u32 + 100);
        known.map(|at| at as u32).or_else(letter)
    }

    fn tokenize(text: &str) -> Vec<u32> {
        let mut ids = vec![];
        let mut rest = text;
        while !rest.is_empty() {
            let length = if rest.starts_with("<image>") { 7 } else { 1 };
            ids.extend(find(&rest[..length]));
            rest = &rest[length..];
        }
        ids
    }

    #[test]
    fn words_are_marked_and_shown_again() {
        let hidden = hide("a <image> b <image", &["<image>"]);
        assert!(!hidden.contains("<image>"));
        assert_eq!(shown(&hidden), "a <image> b <image");
        assert_eq!(hide("a\u{fdd0}b\u{fdd1}", &[]), "a\u{fffd}b\u{fffd}");
        assert_eq!(
            marked(&hide("<image>s <image>", &["<image>", "<image>s"])),
            ["<image>s", "<image>"]
        );
    }

    #[test]
    fn only_marked_words_are_spelled_out() {
        let text = format!("<image>{}<image>", hide("x<image>y", &["<image>"]));
        let ids = encode(&text, tokenize, find).unwrap();
        let letter = |letter: char| letter as u32 + 100;
        assert_eq!(ids, [0, letter('x'), 2, 1, 3, letter('y'), 0]);
        assert_eq!(encode("<image>", tokenize, find).unwrap(), [0]);
    }

    #[test]
    fn bytes_spell_what_no_token_does() {
        let find = |token: &str| match token {
            "<i>" => Some(0),
            "i" => Some(1),
            "<0x3C>" => Some(2),
            "<0x3E>" => Some(3),
            _ => None,
        };
        let hidden = hide("<i>", &["<i>"]);
        assert_eq!(encode(&hidden, |_| vec![0], find).unwrap(), [2, 1, 3]);
        let error = encode(&hidden, |_| vec![0], |token| (token == "<i>").then_some(0));
        assert!(error.unwrap_err().to_string().contains("`<i>`"));
    }

    #[test]
    fn a_word_that_is_no_token_stays_as_it_was_tokenised() {
        let hidden = hide("<image>", &["<image>"]);
        assert_eq!(encode(&hidden, |_| vec![2, 1, 3], find).unwrap(), [2, 1, 3]);
    }
}
