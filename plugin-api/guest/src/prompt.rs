//! From messages to a plan: render the template, put each picture's tokens in place of its placeholder, tokenise, and find
//! the slots. [`Prompt`] does all of it for models whose pictures stand in the prompt as one token; the functions beside it are its steps, for
//! models with rules of their own.

mod plan;
mod words;

use crate::bindings::imports::prompts;
use crate::{
    Content, Error, ExplicitPositions, MediumPlan, Message, Part, Piece, Plan, PositionScheme, RenderOptions,
    Request, Result, Slot, log, tokenizer,
};

pub use words::{hide_all, shown};

/// How pictures stand in a family's prompts, and then a prompt:
///
/// ```ignore
/// let prompt = Prompt::of("<image>").in_text("<image>\n").render(request)?;
/// let plan = prompt.plan(pictures, |_, features| format!("<img>{features}</img>"))?;
/// ```
///
/// A mark in what people say is words: it is passed over when marks are expanded, and spelled out in other tokens.
#[derive(Debug, Clone)]
pub struct Prompt<'a> {
    mark: &'a str,
    feature: &'a str,
    in_text: &'a str,
    fallback: Option<&'a str>,
    first: bool,
    /// As rendered.
    pub text: String,
}

impl<'a> Prompt<'a> {
    /// Templates write `mark` for a picture, which becomes as many of the same token as the picture has features.
    pub fn of(mark: &'a str) -> Self {
        Self {
            mark,
            feature: mark,
            in_text: mark,
            fallback: None,
            first: false,
            text: String::new(),
        }
    }

    /// A picture becomes as many of this token, which is another than the mark. Where a template writes the token itself, it is the mark.
    #[must_use]
    pub fn feature(mut self, token: &'a str) -> Self {
        self.feature = token;
        self
    }

    /// What is written for a picture into a message's text, where a template takes each message as one string or has no place for pictures;
    /// otherwise it is the mark.
    #[must_use]
    pub fn in_text(mut self, text: &'a str) -> Self {
        self.in_text = text;
        self
    }

    /// A template for when neither the user, the manifest nor the repository has one.
    #[must_use]
    pub fn fallback(mut self, template: &'a str) -> Self {
        self.fallback = Some(template);
        self
    }

    /// Where a rendered prompt has no mark, all of them come first: templates for base models write texts alone.
    #[must_use]
    pub fn pictures_first(mut self) -> Self {
        self.first = true;
        self
    }

    /// Renders the conversation.
    pub fn render(mut self, request: &Request) -> Result<Self> {
        let marks = [self.mark, self.feature];
        self.text = render_with_pictures(request, self.fallback, &marks, self.in_text)?;
        if self.feature != self.mark && self.text.contains(self.feature) {
            self.mark = self.feature;
        }
        if self.first {
            self.text = with_pictures_first(self.text, self.mark, request.media.len());
        }
        Ok(self)
    }

    /// The text with each mark replaced by what `expansion` makes of the picture's number and its features, one token each. Fails where there are
    /// not as many marks as pictures.
    pub fn expand(
        &self,
        pictures: &[MediumPlan],
        expansion: impl Fn(usize, String) -> String,
    ) -> Result<String> {
        expand(&self.text, self.mark, pictures.len(), |index| {
            let features = self.feature.repeat(pictures[index].features as usize);
            expansion(index, features)
        })
    }

    /// The plan: marks expanded (see [`Prompt::expand`]), all of it tokenised, runs of the feature token as slots of the pictures in order.
    pub fn plan(
        self,
        pictures: Vec<MediumPlan>,
        expansion: impl Fn(usize, String) -> String,
    ) -> Result<Plan> {
        let ids = encode(&self.expand(&pictures, expansion)?, tokenizer::encode_prompt)?;
        self.plan_tokens(&ids, pictures)
    }

    /// As [`Prompt::plan`], of a prompt that was tokenised already, for models with rules of their own about that.
    pub fn plan_tokens(self, ids: &[u32], pictures: Vec<MediumPlan>) -> Result<Plan> {
        let features: Vec<u32> = pictures.iter().map(|picture| picture.features).collect();
        let pieces = pieces(ids, tokenizer::id(self.feature)?, &features)?;
        Ok(Plan::new(&self.text, pieces, pictures))
    }
}

/// Renders the conversation with the template in force; `fallback` is used when neither the user, the manifest nor the
/// repository has one.
pub fn render(request: &Request, fallback: Option<&str>) -> Result<String> {
    let options = RenderOptions {
        fallback: fallback.map(str::to_owned),
        variables: "{}".to_owned(),
    };
    render_with(request, &options)
}

/// [`render`] with variables of the plugin's own.
pub fn render_with(request: &Request, options: &RenderOptions) -> Result<String> {
    prompts::render(request, options).map_err(Error::new)
}

/// [`render`] for a model whose pictures stand in the prompt as one of `marks`, which are hidden in what people say. Where a template takes each
/// message as one string, or has no place for pictures, `in_text` is written for each of them into the message's text, as the family's own code
/// does.
fn render_with_pictures(
    request: &Request,
    fallback: Option<&str>,
    marks: &[&str],
    in_text: &str,
) -> Result<String> {
    let hidden = hide_all(&request.messages, marks);
    let text = render(&request.with_messages(hidden.clone()), fallback)?;
    let pictures: usize = request.messages.iter().map(pictures).sum();
    if pictures == 0 {
        return Ok(text);
    }
    if words::has_words(&text) {
        log::warn(
            "what looks like a picture's place in a message is taken as words; the pictures stand before the text",
        );
    }
    let places = |text: &str| {
        marks
            .iter()
            .map(|mark| text.matches(mark).count())
            .max()
            .unwrap_or(0)
    };
    if places(&text) > 0 {
        return Ok(text);
    }
    let flat = as_strings(&hidden, |_| in_text.to_owned());
    match render(&request.with_messages(flat), fallback) {
        Ok(with_marks) if places(&with_marks) == pictures => Ok(with_marks),
        _ => Ok(text),
    }
}

/// How many pictures a message has.
fn pictures(message: &Message) -> usize {
    match &message.content {
        Content::Text(_) => 0,
        Content::Parts(parts) => parts
            .iter()
            .filter(|part| matches!(part, Part::Medium(_)))
            .count(),
    }
}

/// Messages whose content is one string; `mark` gives what is written for the picture of a number, counted from 0.
pub fn as_strings(messages: &[Message], mark: impl Fn(u32) -> String) -> Vec<Message> {
    let flat = |message: &Message| {
        let text = message.content.as_string(&mark);
        message.with_content(Content::Text(text))
    };
    messages.iter().map(flat).collect()
}

/// Token ids of a text in which marks are hidden ([`Prompt`], [`hide_all`]), with `tokenize` ([`tokenizer::encode_prompt`], say): words that look like a picture's
/// place are spelled out in other tokens.
pub fn encode(text: &str, tokenize: impl Fn(&str) -> Vec<u32>) -> Result<Vec<u32>> {
    words::encode(text, tokenize, tokenizer::find)
}

/// Puts the placeholders before a prompt that has none: templates for base models write texts alone, and pictures come first then.
fn with_pictures_first(text: String, placeholder: &str, pictures: usize) -> String {
    if text.contains(placeholder) {
        text
    } else {
        placeholder.repeat(pictures) + &text
    }
}

/// Replaces each mark by what `expansion` gives for the picture of that number. Fails when there are not as many marks as pictures.
pub fn expand(
    text: &str,
    mark: &str,
    pictures: usize,
    expansion: impl Fn(usize) -> String,
) -> Result<String> {
    let parts: Vec<&str> = text.split(mark).collect();
    if parts.len() - 1 != pictures {
        return Err(Error::new(format_args!(
            "the prompt has {} times `{mark}` for {pictures} pictures; check the template, and that no message contains the \
             placeholder itself",
            parts.len() - 1,
        )));
    }
    let mut expanded = parts[0].to_owned();
    for (index, part) in parts[1..].iter().enumerate() {
        expanded += &expansion(index);
        expanded += part;
    }
    Ok(expanded)
}

/// Splits ids into text and slots. `features` says how many features each picture has; a run of placeholders that goes
/// beyond one picture's features goes on with the next one's.
pub fn pieces(ids: &[u32], placeholder: u32, features: &[u32]) -> Result<Vec<Piece>> {
    let found = ids.iter().filter(|&&id| id == placeholder).count() as u64;
    let expected: u64 = features.iter().map(|&count| u64::from(count)).sum();
    if found != expected {
        return Err(Error::new(format_args!(
            "the prompt has {found} picture tokens, the pictures have {expected} features ({features:?})"
        )));
    }
    let mut pieces = vec![];
    let mut medium = 0;
    let mut offset = 0;
    for run in ids.chunk_by(|&a, &b| (a == placeholder) == (b == placeholder)) {
        if run[0] != placeholder {
            pieces.push(Piece::Tokens(run.to_vec()));
            continue;
        }
        let mut left = run.len() as u32;
        while left > 0 {
            if offset == features[medium] {
                (medium, offset) = (medium + 1, 0);
                continue;
            }
            let tokens = left.min(features[medium] - offset);
            let slot = Slot {
                medium: medium as u32,
                offset,
                tokens,
                token_id: placeholder,
            };
            pieces.push(Piece::Features(slot));
            (offset, left) = (offset + tokens, left - tokens);
        }
    }
    Ok(pieces)
}

/// Positions on three axes (time, row, column; arXiv:2409.12191): text advances on all of them together; a picture stands still in
/// time, its features lie at their row and column, and text goes on after the longer of its sides. `grids` has rows and columns of
/// features for each picture.
pub fn grid_positions(pieces: &[Piece], grids: &[[u32; 2]]) -> PositionScheme {
    let mut axes: [Vec<i32>; 3] = [vec![], vec![], vec![]];
    let mut next = 0;
    for piece in pieces {
        match piece {
            Piece::Tokens(ids) => {
                let end = next + ids.len() as i32;
                axes.iter_mut().for_each(|axis| axis.extend(next..end));
                next = end;
            }
            Piece::Features(slot) => {
                let [rows, columns] = grids[slot.medium as usize];
                for feature in slot.offset..slot.offset + slot.tokens {
                    axes[0].push(next);
                    axes[1].push(next + (feature / columns) as i32);
                    axes[2].push(next + (feature % columns) as i32);
                }
                if slot.offset + slot.tokens == rows * columns {
                    next += rows.max(columns) as i32;
                }
            }
        }
    }
    PositionScheme::Explicit(ExplicitPositions {
        axes: 3,
        values: axes.concat(),
        next,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const IMAGE: u32 = 9;

    fn slot(medium: u32, offset: u32, tokens: u32) -> Piece {
        Piece::Features(Slot {
            medium,
            offset,
            tokens,
            token_id: IMAGE,
        })
    }

    #[test]
    fn runs_become_slots_in_order() {
        let ids = [1, 9, 9, 2, 3, 9, 9, 9, 9, 4];
        let found = pieces(&ids, IMAGE, &[4, 0, 2]).unwrap();
        let expected = vec![
            Piece::Tokens(vec![1]),
            slot(0, 0, 2),
            Piece::Tokens(vec![2, 3]),
            slot(0, 2, 2),
            slot(2, 0, 2),
            Piece::Tokens(vec![4]),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn pictures_lie_on_a_grid_and_text_goes_on_after_their_longer_side() {
        // Two tokens, a picture of 2 rows and 3 columns, one token: by hand after the paper's figure 3.
        let pieces = [Piece::Tokens(vec![1, 2]), slot(0, 0, 6), Piece::Tokens(vec![3])];
        let PositionScheme::Explicit(found) = grid_positions(&pieces, &[[2, 3]]) else {
            panic!("not explicit")
        };
        let time = [0, 1, 2, 2, 2, 2, 2, 2, 5];
        let row = [0, 1, 2, 2, 2, 3, 3, 3, 5];
        let column = [0, 1, 2, 3, 4, 2, 3, 4, 5];
        assert_eq!(found.values, [time, row, column].concat());
        assert_eq!((found.axes, found.next), (3, 6));
    }

    #[test]
    fn text_alone_is_one_piece() {
        assert_eq!(
            pieces(&[1, 2], IMAGE, &[]).unwrap(),
            vec![Piece::Tokens(vec![1, 2])]
        );
        assert_eq!(pieces(&[], IMAGE, &[]).unwrap(), vec![]);
    }

    #[test]
    fn words_are_not_expanded() {
        let parts = vec![Part::Medium(0), Part::Text("An <image>?".into())];
        let said = Message::new("user", Content::Parts(parts));
        let flat = as_strings(&hide_all(&[said], &["<image>"]), |_| "<image>\n".into());
        let Content::Text(text) = &flat[0].content else {
            panic!("not flat")
        };
        let expanded = expand(text, "<image>", 1, |_| "[0]".into()).unwrap();
        assert_eq!(shown(&expanded), "[0]\nAn <image>?");
    }

    #[test]
    fn counts_that_differ_are_refused() {
        let error = pieces(&[9, 1], IMAGE, &[2]).unwrap_err().to_string();
        assert_eq!(
            error,
            "the prompt has 1 picture tokens, the pictures have 2 features ([2])"
        );
    }

    #[test]
    fn pictures_come_first_where_the_template_has_no_place_for_them() {
        assert_eq!(
            with_pictures_first("a cat".into(), "<image>", 2),
            "<image><image>a cat"
        );
        assert_eq!(with_pictures_first("a <image>".into(), "<image>", 1), "a <image>");
        assert_eq!(with_pictures_first("a cat".into(), "<image>", 0), "a cat");
    }

    #[test]
    fn placeholders_are_expanded_one_for_each_picture() {
        let describe = |index| format!("[{index}]");
        let expanded = expand("a<image><image>b", "<image>", 2, describe).unwrap();
        assert_eq!(expanded, "a[0][1]b");
        let error = expand("a<image>b", "<image>", 2, describe)
            .unwrap_err()
            .to_string();
        assert!(
            error.starts_with("the prompt has 1 times `<image>` for 2 pictures"),
            "{error}"
        );
    }
}
