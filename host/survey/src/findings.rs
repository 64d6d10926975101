//! What looks wrong with an answer: rules with thresholds, each explained in `docs/findings.md`.
//!
//! A finding is for people to judge: a rule sees words, not the picture.

mod context;
mod form;
mod leaks;
mod repetition;
pub mod text;

use serde::{Deserialize, Serialize};

pub use context::echoed_share;
pub use form::{BULLETS, HEADINGS, VERBOSE_WORDS};

/// What an answer is held against.
#[derive(Debug, Clone, Default)]
pub struct Asked {
    /// The instructions, without the context.
    pub prompt: String,
    /// What the prompt says of the picture beside the instructions: place, time, keywords. Empty in a blind run.
    pub context: String,
    /// Whether title, description and keywords are asked for.
    pub structured: bool,
    /// How many keywords are asked for.
    pub keywords: Option<(usize, usize)>,
}

/// What came.
#[derive(Debug, Clone, Default)]
pub struct Said {
    /// The answer.
    pub text: String,
    /// Whether it ended because it may not be longer.
    pub is_cut: bool,
}

/// A rule's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rule {
    /// No letter and no digit.
    Empty,
    /// The limit on tokens ended it.
    Cut,
    /// One word many times in a row.
    RepeatedToken,
    /// Some words many times, in a row or as items of a list.
    RepeatedPhrase,
    /// A line many times.
    RepeatedLine,
    /// The instructions, word for word.
    PromptEcho,
    /// Nothing of the context.
    ContextIgnored,
    /// Nothing but the context.
    ContextEchoed,
    /// The model will not.
    Refusal,
    /// Special tokens as text.
    SpecialTokens,
    /// A tokenizer's inner notation as text.
    ByteMarkers,
    /// A turn of the user's that nobody took.
    InventedTurn,
    /// Reasoning in the answer.
    ReasoningLeaked,
    /// Another script, or another language.
    LanguageMixing,
    /// Longer than anybody asked for.
    Verbose,
    /// More headings, bullets or tables than text.
    ExcessiveMarkdown,
    /// Title, description or keywords are missing.
    StructureMissed,
    /// Too few keywords, or too many.
    KeywordCount,
    /// The same keyword twice.
    KeywordDuplicates,
}

impl Rule {
    /// All rules, in the order in which they are looked at.
    pub const ALL: [Rule; 19] = [
        Rule::Empty,
        Rule::Cut,
        Rule::RepeatedToken,
        Rule::RepeatedPhrase,
        Rule::RepeatedLine,
        Rule::PromptEcho,
        Rule::ContextIgnored,
        Rule::ContextEchoed,
        Rule::Refusal,
        Rule::SpecialTokens,
        Rule::ByteMarkers,
        Rule::InventedTurn,
        Rule::ReasoningLeaked,
        Rule::LanguageMixing,
        Rule::Verbose,
        Rule::ExcessiveMarkdown,
        Rule::StructureMissed,
        Rule::KeywordCount,
        Rule::KeywordDuplicates,
    ];

    /// The name as in `docs/findings.md` and in files.
    pub fn name(self) -> &'static str {
        match self {
            Rule::Empty => "empty",
            Rule::Cut => "cut",
            Rule::RepeatedToken => "repeated-token",
            Rule::RepeatedPhrase => "repeated-phrase",
            Rule::RepeatedLine => "repeated-line",
            Rule::PromptEcho => "prompt-echo",
            Rule::ContextIgnored => "context-ignored",
            Rule::ContextEchoed => "context-echoed",
            Rule::Refusal => "refusal",
            Rule::SpecialTokens => "special-tokens",
            Rule::ByteMarkers => "byte-markers",
            Rule::InventedTurn => "invented-turn",
            Rule::ReasoningLeaked => "reasoning-leaked",
            Rule::LanguageMixing => "language-mixing",
            Rule::Verbose => "verbose",
            Rule::ExcessiveMarkdown => "excessive-markdown",
            Rule::StructureMissed => "structure-missed",
            Rule::KeywordCount => "keyword-count",
            Rule::KeywordDuplicates => "keyword-duplicates",
        }
    }

    /// Whether the answer is of little use because of it.
    pub fn is_grave(self) -> bool {
        matches!(
            self,
            Rule::Empty
                | Rule::RepeatedToken
                | Rule::RepeatedPhrase
                | Rule::RepeatedLine
                | Rule::PromptEcho
                | Rule::Refusal
                | Rule::ByteMarkers
                | Rule::InventedTurn
        )
    }
}

/// A rule that an answer breaks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Which.
    pub rule: Rule,
    /// What was seen, in words: the phrase, the number.
    pub detail: String,
}

/// What the rules find in an answer.
pub fn find(asked: &Asked, said: &Said) -> Vec<Finding> {
    if !said.text.chars().any(char::is_alphanumeric) {
        let detail = match said.text.trim() {
            "" => "no text".to_owned(),
            text => format!("only {:?}", text::excerpt(text, 40)),
        };
        return vec![Finding {
            rule: Rule::Empty,
            detail,
        }];
    }
    let looked = Rule::ALL.into_iter().filter_map(|rule| {
        let detail = match rule {
            Rule::Empty => None,
            Rule::Cut => said.is_cut.then(|| "the limit on tokens ended it".to_owned()),
            Rule::RepeatedToken => repetition::token(&said.text),
            Rule::RepeatedPhrase => repetition::phrase(&said.text),
            Rule::RepeatedLine => repetition::line(&said.text),
            Rule::PromptEcho => context::prompt_echo(asked, &said.text),
            Rule::ContextIgnored => context::ignored(asked, &said.text),
            Rule::ContextEchoed => context::echoed(asked, &said.text),
            Rule::Refusal => leaks::refusal(&said.text),
            Rule::SpecialTokens => leaks::special_tokens(&said.text),
            Rule::ByteMarkers => leaks::byte_markers(&said.text),
            Rule::InventedTurn => leaks::invented_turn(&said.text),
            Rule::ReasoningLeaked => leaks::reasoning(&said.text),
            Rule::LanguageMixing => form::language_mixing(asked, &said.text),
            Rule::Verbose => form::verbose(&said.text),
            Rule::ExcessiveMarkdown => form::markdown(&said.text),
            Rule::StructureMissed => form::structure(asked, &said.text),
            Rule::KeywordCount => form::keyword_count(asked, &said.text),
            Rule::KeywordDuplicates => form::keyword_duplicates(asked, &said.text),
        };
        Some(Finding {
            rule,
            detail: detail?,
        })
    });
    looked.collect()
}
