//! Writing to standard output. A reader that is gone, or a full disk, is an error like any other: never a panic.

use std::io::{IsTerminal, Write};

use anyhow::Context;
use monocle_text::shown;
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
    let _ = writeln!(std::io::stderr(), "{}", shown::message(line));
}

/// As [`note`], less bright on a terminal.
pub fn remark(line: &str) {
    let mut stderr = std::io::stderr().lock();
    let line = shown::message(line);
    let _ = match stderr.is_terminal() {
        true => writeln!(stderr, "\x1b[2m{line}\x1b[0m"),
        false => writeln!(stderr, "{line}"),
    };
}

/// Text of a model as it may go to a terminal: a picture can hold words that make a model write escape sequences. Files and pipes
/// get the text as it is.
pub fn safe_for(stream: &impl IsTerminal, text: &str) -> String {
    match stream.is_terminal() {
        true => shown::without_controls(text).into_owned(),
        false => text.to_owned(),
    }
}
