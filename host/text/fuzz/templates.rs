//! Chat templates made of any bytes, and what holds of any text as one. The fuzz target and the tests of any template use it.

use std::time::{Duration, Instant};

use monocle_text::{ChatTemplate, Conversation, RenderOptions, SpecialTokens, TemplateSource};

/// Bytes of a prompt.
const LONGEST: usize = 16 << 20;
/// A render may take ten seconds; compiling takes none to speak of.
const PATIENCE: Duration = Duration::from_secs(15);

/// What templates are made of, as often wrong as right.
const WORDS: [&str; 63] = [
    "{{ ",
    " }}",
    "{% ",
    " %}",
    "{%- ",
    " -%}",
    "{# ",
    " #}",
    "for m in messages",
    "endfor",
    "if ",
    "endif",
    "generation",
    "endgeneration",
    "messages",
    "[::-1]",
    "[1:]",
    "['content']",
    ".role",
    "|tojson",
    "|length",
    "|first",
    "(",
    ")",
    "set x = ",
    "x",
    " ~ ",
    " + ",
    "'a'",
    "1",
    "range(9)",
    "macro f(x)",
    "endmacro",
    "f(",
    " % ",
    "'%5s'",
    "|center(9)",
    ".zfill(",
    ".rsplit(",
    "|truncate(3)",
    "cycler(",
    " is ",
    "defined",
    " in ",
    "not ",
    "\n",
    "break",
    "raw",
    "endraw",
    "-",
    "*",
    "{",
    "}",
    "|batch(",
    "|slice(",
    "|indent(",
    "|join(",
    "namespace(",
    ".format(",
    "elif ",
    "else",
    " if ",
    "|replace(",
];

/// A template of any bytes: the first says whether the others are its text or choose its words.
pub fn made(bytes: &[u8]) -> String {
    match bytes.split_first() {
        Some((first, words)) if first % 2 == 1 => {
            let word = |byte: &u8| WORDS[usize::from(*byte) % WORDS.len()];
            words.iter().map(word).collect()
        }
        Some((_, text)) => String::from_utf8_lossy(text).into_owned(),
        None => String::new(),
    }
}

/// Compiles it and renders a conversation with it.
pub fn check(text: &str) -> Result<(), String> {
    let started = Instant::now();
    let bytes = match ChatTemplate::new(TemplateSource::Flag, text) {
        Ok(template) => {
            let conversation = Conversation::single(None, 1, "What?");
            let prompt = template.render(
                &conversation,
                &SpecialTokens::default(),
                &RenderOptions::default(),
            );
            prompt.map_or(0, |prompt| prompt.len())
        }
        Err(_) => 0,
    };
    if bytes > LONGEST {
        return Err(format!("a prompt of {bytes} bytes"));
    }
    match started.elapsed() {
        long if long > PATIENCE => Err(format!("it took {long:?}")),
        _ => Ok(()),
    }
}
