//! What should have stayed inside: refusals, special tokens, the tokenizer's notation, other turns, reasoning.

use std::sync::LazyLock;

use regex::Regex;

use super::text::{excerpt, without_code};

/// A refusal comes at once: within so many words.
const REFUSAL_WORDS: usize = 40;
/// Reasoning gives itself away within so many characters.
const REASONING_CHARACTERS: usize = 400;

fn expression(text: &str) -> Regex {
    Regex::new(text).expect("the expression is valid")
}

/// "I cannot see a dog" is an answer; "I cannot help with that" is none.
static REFUSAL: LazyLock<Regex> = LazyLock::new(|| {
    expression(concat!(
        r"\b(?:i(?:'m| am) (?:sorry|not able|unable|not comfortable)|i (?:cannot|can not|can't|won't|will not|must decline|do not feel)|",
        r"as an ai(?: language)? model|(?:unfortunately|sorry),? i)\b[^.!?]*?\b(?:answer|assist|comment|comply|create|describe|discuss|do that|engage|",
        r"fulfil|fulfill|generate|help|identify|make|name|process|provide|recognise|recognize|view|see (?:the|this|any|an) (?:image|picture|photo)s?|analy[sz]e|access)\b"
    ))
});

/// The model will not.
pub fn refusal(text: &str) -> Option<String> {
    let beginning: Vec<&str> = text.split_whitespace().take(REFUSAL_WORDS).collect();
    let beginning = beginning.join(" ").replace('\u{2019}', "'").to_lowercase();
    let found = REFUSAL.find(&beginning)?;
    // What is refused must come in the first sentence or two: later it is an aside.
    let before = beginning[..found.start()].matches(['.', '!', '?']).count();
    (before <= 1).then(|| excerpt(found.as_str(), 80))
}

static SPECIAL: LazyLock<Regex> = LazyLock::new(|| {
    expression(concat!(
        r"<\|[^|<>\s]{1,40}\|>|<｜[^｜<>]{1,40}｜>|◁/?\w{1,20}▷|\[/?INST\]|<</?SYS>>|</?(?:bos|eos|pad|unk|cls|sep|mask)>|\[(?:PAD|UNK|CLS|SEP|MASK|IMG|IMG_END)\]|",
        r"<(?:start|end)_of_(?:turn|utterance|image|text)>|<end_of_\w{1,20}>|<(?:image|video|audio)_(?:pad|token|soft_token|start|end)>|",
        r"<(?:loc|seg)\d{3,4}>|<extra_id_\d+>|<reserved_\d+>|<unused\d+>|<fake_token_around_image>|<row_\d+_col_\d+>|<global-img>|</s>"
    ))
});

/// Special tokens as text.
pub fn special_tokens(text: &str) -> Option<String> {
    let text = without_code(text);
    let mut found: Vec<&str> = Vec::new();
    for token in SPECIAL.find_iter(&text).map(|token| token.as_str()) {
        // `<s>was</s>` is a line through text.
        let is_html = token == "</s>" && text.contains("<s>") && !text.starts_with("<s>");
        if !is_html && !found.contains(&token) {
            found.push(token);
        }
    }
    let some: Vec<String> = found.iter().take(4).map(|token| format!("`{token}`")).collect();
    (!found.is_empty()).then(|| some.join(", "))
}

/// A space or line break of byte-level pairs between words, a space of SentencePiece, or a byte.
static BYTES: LazyLock<Regex> =
    LazyLock::new(|| expression(r"[\w.,;:!?')\]]Ġ\w|Ġ\w+Ġ|ĊĊ|\wĊ|<0x[0-9A-Fa-f]{2}>|▁\w+▁|\w▁\w|\u{fffd}"));

/// A tokenizer's inner notation as text.
pub fn byte_markers(text: &str) -> Option<String> {
    let found = BYTES.find(text)?;
    Some(match found.as_str() {
        "\u{fffd}" => "a character that is none (U+FFFD)".to_owned(),
        shown => format!("{shown:?}"),
    })
}

/// A label of a role that begins a line.
static TURN: LazyLock<Regex> = LazyLock::new(|| {
    expression(
        r"(?mi)^[ \t]*(?:#{1,4}[ \t]*)?(?:\*\*)?(?:user|human|assistant|ai|bot|system|instruction|response|question|answer|q|a)(?:\*\*)?[ \t]*(?:\d+[ \t]*)?:(?:\*\*)?",
    )
});
static TURN_OF_USER: LazyLock<Regex> = LazyLock::new(|| {
    expression(
        r"(?mi)^[ \t]*(?:#{1,4}[ \t]*)?(?:\*\*)?(?:user|human|instruction|question|q)(?:\*\*)?[ \t]*(?:\d+[ \t]*)?:(?:\*\*)?[ \t]*\S",
    )
});
static ROLE_LINE: LazyLock<Regex> = LazyLock::new(|| {
    expression(
        r"(?m)^[ \t]*(?:\*\*)?(?:#{1,4} ?(?:User|Human|Instruction)|User|Human|USER|HUMAN)(?:\*\*)?:?[ \t]*$",
    )
});

/// A turn of the user's that nobody took, after the answer has begun.
pub fn invented_turn(text: &str) -> Option<String> {
    let text = without_code(text);
    let begun = |at: usize| text[..at].chars().any(char::is_alphanumeric);
    let labelled = TURN_OF_USER.find_iter(&text).find(|found| begun(found.start()));
    let found = labelled.or_else(|| ROLE_LINE.find_iter(&text).find(|found| begun(found.start())));
    if let Some(found) = found {
        let line = text[found.start()..]
            .trim_start()
            .lines()
            .next()
            .unwrap_or_default();
        return Some(excerpt(line, 60));
    }
    // A label of the assistant's own, twice.
    let own: Vec<_> = TURN
        .find_iter(&text)
        .filter(|found| begun(found.start()))
        .collect();
    (own.len() >= 2).then(|| {
        excerpt(
            text[own[0].start()..]
                .trim_start()
                .lines()
                .next()
                .unwrap_or_default(),
            60,
        )
    })
}

static MARKS: LazyLock<Regex> = LazyLock::new(|| {
    expression(
        r"(?i)</?think(?:ing)?>|</?reasoning>|</?reflection>|\[/?THINK\]|◁/?think▷|<\|channel\|?>|<\|begin_of_thought\|>",
    )
});
static MUSING: LazyLock<Regex> = LazyLock::new(|| {
    expression(concat!(
        r"(?i)\bthe user (?:wants|is asking|asked|asks|has (?:asked|provided|given|uploaded)|provided|gave|needs|uploaded)\b|",
        r"^(?:\W*)(?:okay|ok|alright|hmm|got it|so)[,.]? (?:so,? |let'?s |let me |i need |the user|i'll |first)|",
        r"^(?:\W*)(?:let'?s|let me|first,? (?:i|let)|i need to|i should|we need to|i'll start) (?:\w+ )?(?:think|analy[sz]e|tackle|see|look|start|break|figure|examine|go through|create|provide|describe|parse|identify|check|consider|determine)|",
        r"\bwait,? (?:no|the|let|but|i|maybe|actually)\b|\blet me (?:check|re-?read|re-?think|double|think)\b"
    ))
});

/// Reasoning in the answer: its marks, or its voice at the beginning.
pub fn reasoning(text: &str) -> Option<String> {
    if let Some(found) = MARKS.find(text) {
        return Some(format!("the mark `{}`", found.as_str()));
    }
    let beginning: String = text.chars().take(REASONING_CHARACTERS).collect();
    let beginning = beginning.replace('\u{2019}', "'");
    MUSING
        .find(beginning.trim_start())
        .map(|found| format!("{:?}", excerpt(found.as_str(), 60)))
}
