//! What is measured: prompts of given lengths, pictures of given sizes, requests at once.

use std::fmt;
use std::str::FromStr;

use monocle_runtime::request::pictures::PictureInput;
use monocle_runtime::request::{GenerateOptions, Request};
use monocle_runtime::scheduler::Scheduler;

use crate::request::USUAL_QUESTION;
use crate::{Misuse, stats};

/// The largest side of a picture that is drawn.
const LARGEST_SIDE: u32 = 16_384;

/// Words of prompts: common ones, each a token or two in most vocabularies.
const WORDS: [&str; 32] = [
    "the", "small", "house", "stands", "near", "a", "wide", "river", "and", "its", "old", "garden", "grows",
    "slowly", "under", "tall", "trees", "where", "many", "birds", "sing", "in", "early", "light", "while",
    "people", "walk", "along", "quiet", "paths", "towards", "town",
];

/// Requests that are measured together.
pub struct Case {
    pub requests: Vec<Request>,
    /// What the picture is, where there is one.
    pub picture: Option<PictureSize>,
}

/// Sides of a picture, in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PictureSize {
    pub width: u32,
    pub height: u32,
}

impl FromStr for PictureSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "expected a picture's size like `1024x768`, sides from 1 to {LARGEST_SIDE}, found `{text}`"
            )
        };
        let (width, height) = text.split_once(['x', 'X']).ok_or_else(wrong)?;
        let side = |side: &str| {
            let side = side.trim().parse().map_err(|_| wrong())?;
            (1..=LARGEST_SIDE)
                .contains(&side)
                .then_some(side)
                .ok_or_else(wrong)
        };
        Ok(Self {
            width: side(width)?,
            height: side(height)?,
        })
    }
}

impl fmt::Display for PictureSize {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}x{}", self.width, self.height)
    }
}

impl Case {
    /// All cases, each request of them planned and checked once.
    pub fn list(
        scheduler: &mut Scheduler,
        system: Option<&str>,
        prompt_tokens: &[usize],
        sizes: &[PictureSize],
        concurrent: &[u32],
        options: &GenerateOptions,
    ) -> anyhow::Result<Vec<Self>> {
        let mut cases = Vec::new();
        let mut first_words = None;
        for tokens in prompt_tokens {
            let words = words_for(scheduler, system, *tokens, options)?;
            first_words.get_or_insert(words);
            cases.push(Self::of_words(system, words, 1));
        }
        for size in sizes {
            let request = Request::single(system, vec![drawn(*size)], USUAL_QUESTION);
            checked(scheduler, &request, options)?;
            cases.push(Self {
                requests: vec![request],
                picture: Some(*size),
            });
        }
        // One alone is there already.
        if let Some(words) = first_words {
            let together = concurrent.iter().filter(|count| **count > 1);
            cases.extend(together.map(|count| Self::of_words(system, words, *count as usize)));
        }
        match cases.is_empty() {
            true => Err(Misuse(
                "there is nothing to measure: no prompt length and no picture size".to_owned(),
            )
            .into()),
            false => Ok(cases),
        }
    }

    /// Requests of so many words; each begins with another one.
    fn of_words(system: Option<&str>, words: usize, count: usize) -> Self {
        let request = |number| Request::single(system, Vec::new(), &text(words, number));
        Self {
            requests: (0..count).map(request).collect(),
            picture: None,
        }
    }

    /// In a few words.
    pub fn name(&self) -> String {
        match self.picture {
            Some(size) => format!("picture of {size}"),
            None => stats::count(self.requests.len(), "request"),
        }
    }
}

/// So many words, beginning somewhere in the list.
fn text(words: usize, first: usize) -> String {
    let words = (first..first + words).map(|number| WORDS[number % WORDS.len()]);
    words.collect::<Vec<_>>().join(" ")
}

/// The most words whose prompt is no longer than so many tokens, what the chat template adds included; one at least, and so few that the
/// answer fits behind them.
fn words_for(
    scheduler: &mut Scheduler,
    system: Option<&str>,
    tokens: usize,
    options: &GenerateOptions,
) -> anyhow::Result<usize> {
    let context = scheduler.model().settings.context.unwrap_or(usize::MAX);
    let most = context.saturating_sub(options.max_tokens);
    if tokens > most {
        let answer = stats::count(options.max_tokens, "token");
        return Err(Misuse(format!(
            "a prompt of {tokens} tokens and an answer of {answer} do not fit the model's context of {context}; expected at most \
             {most} in `--prompt-tokens`"
        ))
        .into());
    }
    let mut length = |words: usize| {
        let request = Request::single(system, Vec::new(), &text(words, 0));
        checked(scheduler, &request, options)
    };
    // Every word is a token at least.
    let (mut fits, mut beyond) = (1, tokens.max(1) + 1);
    while beyond - fits > 1 {
        let middle = fits + (beyond - fits) / 2;
        // What is refused is too long as well, unless nothing less fits either: then the last line says why.
        match length(middle) {
            Ok(length) if length <= tokens => fits = middle,
            Ok(_) | Err(_) => beyond = middle,
        }
    }
    length(fits)?;
    Ok(fits)
}

/// Tokens of a request's prompt, if it can run here.
fn checked(scheduler: &mut Scheduler, request: &Request, options: &GenerateOptions) -> anyhow::Result<usize> {
    let prepared = scheduler.prepare(request, options.max_tokens, options.prefill_chunk)?;
    Ok(prepared.prompt_report().tokens)
}

/// A picture with structure everywhere, as a Netpbm file: nothing is compressed, so decoding it costs next to nothing.
fn drawn(size: PictureSize) -> PictureInput {
    let PictureSize { width, height } = size;
    let mut bytes = format!("P6 {width} {height} 255\n").into_bytes();
    let pixel = |x: u32, y: u32| {
        let square = ((x / 32 + y / 32) % 2 * 64) as u8;
        let shade = |value: u32| (value % 192) as u8 + square;
        [shade(x * 3 + y), shade(x + y * 5), shade(x * 7 + y * 2)]
    };
    bytes.extend((0..height).flat_map(|y| (0..width).flat_map(move |x| pixel(x, y))));
    PictureInput::Bytes {
        name: format!("drawn, {size}"),
        bytes,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_of_pictures_are_read() {
        let size = |width, height| Ok(PictureSize { width, height });
        assert_eq!("1024x768".parse(), size(1024, 768));
        assert_eq!("1X16384".parse(), size(1, 16_384));
        for wrong in ["1024", "0x5", "5x0", "-1x5", "16385x1", "axb", "1x2x3", ""] {
            let error = wrong.parse::<PictureSize>().unwrap_err();
            assert!(error.contains("like `1024x768`"), "{error}");
        }
    }

    #[test]
    fn texts_differ_from_their_first_word_on() {
        assert_eq!(text(3, 0), "the small house");
        assert_eq!(text(2, 31), "town the");
        assert_ne!(text(40, 0).split(' ').next(), text(40, 1).split(' ').next());
    }
}
