//! Writing to standard output. A reader that is gone, or a full disk, is an error like any other: never a panic.

use std::borrow::Cow;
use std::io::{IsTerminal, Write};

use anyhow::Context;
use serde::Serialize;

/// Text on standard output; names and words that others wrote are in it, so a terminal gets no controls.
pub fn print(text: &str) -> anyhow::Result<()> {
    let mut stdout = std::io::stdout().lock();
    let text = safe_for(&stdout, text);
    stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
        .context("cannot write to standard output")
}

/// One JSON document on standard output.
pub fn print_json(value: &impl Serialize) -> anyhow::Result<()> {
    let mut text = serde_json::to_string_pretty(value).context("cannot write JSON")?;
    text.push('\n');
    print(&text)
}

/// A line on standard error; if nobody can read it, nobody needs it. It is for people, and may hold what plugins, templates and files say: short,
/// and without controls.
pub fn note(line: &str) {
    let _ = writeln!(std::io::stderr(), "{}", short(&without_controls(line)));
}

/// The start and the end of what is longer than anybody reads: a hint comes last.
pub fn short(text: &str) -> Cow<'_, str> {
    const END: usize = 800;
    if text.len() <= LONGEST {
        return Cow::Borrowed(text);
    }
    let start = text.floor_char_boundary(LONGEST - END - 60);
    let end = text.ceil_char_boundary(text.len() - END);
    Cow::Owned(format!(
        "{} … ({} bytes more) … {}",
        &text[..start],
        end - start,
        &text[end..]
    ))
}

/// Bytes of a line on standard error.
const LONGEST: usize = 4000;

/// Text of a model as it may go to a terminal: a picture can hold words that make a model write escape sequences. Files and pipes
/// get the text as it is.
pub fn safe_for(stream: &impl IsTerminal, text: &str) -> String {
    match stream.is_terminal() {
        true => without_controls(text).into_owned(),
        false => text.to_owned(),
    }
}

fn without_controls(text: &str) -> Cow<'_, str> {
    let harmful = |c: char| c.is_control() && c != '\n' && c != '\t';
    match text.contains(harmful) {
        true => Cow::Owned(text.replace(harmful, "\u{fffd}")),
        false => Cow::Borrowed(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_long_is_cut_in_its_middle() {
        let long = format!("start {} end", "ü".repeat(1 << 20));
        let cut = short(&long);
        assert!(cut.len() <= LONGEST && cut.starts_with("start ü") && cut.ends_with("ü end"));
        let fits = "x".repeat(LONGEST);
        assert_eq!(short(&fits), fits);
    }

    #[test]
    fn terminals_get_no_escape_sequences() {
        assert_eq!(
            without_controls("a\x1b[2Jb\x07\u{9b}c\td\ne\r"),
            "a\u{fffd}[2Jb\u{fffd}\u{fffd}c\td\ne\u{fffd}"
        );
        assert!(matches!(without_controls("Grüße\n"), Cow::Borrowed(_)));
    }
}
