//! Prompts: `<|image_1|>` and so on stand for pictures, and texts between them are tokenised one by one.

use monocle_plugin::prelude::*;

const OPEN: &str = "<|image_";
const CLOSE: &str = "|>";

/// The model's templates know strings alone: each picture becomes a line with its number.
pub fn as_strings(messages: &[Message]) -> Vec<Message> {
    let hidden = prompt::hide_all(messages, &[OPEN]);
    prompt::as_strings(&hidden, |index| format!("{OPEN}{}{CLOSE}\n", index + 1))
}

/// What a prompt consists of.
#[derive(Debug, PartialEq)]
enum Chunk<'a> {
    Text(&'a str),
    /// A picture's number, from 1.
    Picture(u32),
}

fn chunks(text: &str) -> Vec<Chunk<'_>> {
    let mut chunks = vec![];
    let (mut begin, mut search) = (0, 0);
    while let Some(found) = text[search..].find(OPEN) {
        let open = search + found;
        let inside = &text[open + OPEN.len()..];
        search = open + OPEN.len();
        let Some((number, _)) = inside.split_once(CLOSE) else {
            break;
        };
        let digits = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
        if let (true, Ok(picture)) = (digits, number.parse()) {
            chunks.extend([Chunk::Text(&text[begin..open]), Chunk::Picture(picture)]);
            search += number.len() + CLOSE.len();
            begin = search;
        }
    }
    chunks.push(Chunk::Text(&text[begin..]));
    chunks
}

/// Tokens and slots of a rendered prompt. `features` says how many features each picture has, `placeholder` which id stands at
/// them.
pub fn pieces(text: &str, features: &[u32], placeholder: u32) -> Result<Vec<Piece>> {
    let mut pieces = vec![];
    let mut seen = vec![];
    for chunk in chunks(text) {
        match chunk {
            Chunk::Text(text) if pieces.is_empty() => {
                pieces.push(Piece::Tokens(tokenizer::encode_prompt(&prompt::shown(text))))
            }
            Chunk::Text("") => {}
            Chunk::Text(text) => {
                let ids = tokenizer::encode(&prompt::shown(text));
                pieces.push(Piece::Tokens(without_space(ids)));
            }
            Chunk::Picture(number) => {
                let tokens = number
                    .checked_sub(1)
                    .and_then(|index| features.get(index as usize));
                let tokens = *tokens.context(format_args!(
                    "the prompt has a place for picture {number}, of {}",
                    features.len()
                ))?;
                seen.push(number);
                pieces.push(Piece::medium(number - 1, tokens, placeholder));
            }
        }
    }
    seen.sort_unstable();
    let each_once = seen.iter().copied().eq(1..=features.len() as u32);
    each_once.then_some(pieces).context(format_args!(
        "the prompt has places for pictures {seen:?}, but must have one for each of the {} pictures; check that no \
         message contains `<|image_1|>` itself",
        features.len()
    ))
}

/// The tokeniser begins every text with a space; within a prompt there is none.
fn without_space(mut ids: Vec<u32>) -> Vec<u32> {
    if ids.first().and_then(|&id| tokenizer::token(id)).as_deref() == Some("▁") {
        ids.remove(0);
    }
    ids
}

#[cfg(test)]
mod tests {
    use super::*;
    use monocle_plugin::{Content, Part};

    #[test]
    fn pictures_become_numbered_lines() {
        let parts = vec![Part::Medium(0), Part::Medium(1), Part::Text("Compare.".into())];
        let message = Message::new("user", Content::Parts(parts));
        let flat = as_strings(&[message]);
        assert_eq!(
            flat[0].content,
            Content::Text("<|image_1|>\n<|image_2|>\nCompare.".into())
        );
    }

    #[test]
    fn only_numbers_are_pictures() {
        let text = "a<|image_12|>b<|image_x|><|image_|><|image_3|>";
        let expected = [
            Chunk::Text("a"),
            Chunk::Picture(12),
            Chunk::Text("b<|image_x|><|image_|>"),
            Chunk::Picture(3),
            Chunk::Text(""),
        ];
        assert_eq!(chunks(text), expected);
        assert_eq!(chunks("<|image_"), [Chunk::Text("<|image_")]);
        assert_eq!(
            chunks("<|image_99999999999|>"),
            [Chunk::Text("<|image_99999999999|>")]
        );
    }
}
