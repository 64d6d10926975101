//! Where a chat's lines come from: a terminal, with line editing and a history, or a pipe.

use std::io::{BufRead, Read, StdinLock};

use anyhow::Context;
use rustyline::error::ReadlineError;
use rustyline::{Behavior, Config, DefaultEditor};

/// The most bytes of one line from a pipe.
const LONGEST_LINE: u64 = 16 << 20;

/// See the module.
pub enum Lines {
    /// A person types.
    Terminal(Box<DefaultEditor>),
    /// One turn a line.
    Pipe(StdinLock<'static>),
}

/// What came.
pub enum Line {
    /// A line, without its end.
    Text(String),
    /// Nothing, and more may come.
    Cleared,
    /// It is no text, or too long; what to say of it.
    Bad(String),
    /// No more will come.
    End,
}

impl Lines {
    /// Lines from a terminal.
    pub fn terminal() -> anyhow::Result<Self> {
        // The answers may go to a file; what is typed is seen in any case.
        let config = Config::builder()
            .behavior(Behavior::PreferTerm)
            .auto_add_history(true)
            .build();
        let editor = DefaultEditor::with_config(config).context("cannot use the terminal")?;
        Ok(Self::Terminal(Box::new(editor)))
    }

    /// Lines from standard input.
    pub fn pipe() -> Self {
        Self::Pipe(std::io::stdin().lock())
    }

    /// The next one.
    pub fn next(&mut self) -> anyhow::Result<Line> {
        match self {
            Self::Terminal(editor) => match editor.readline("> ") {
                Ok(line) => Ok(Line::Text(line)),
                Err(ReadlineError::Interrupted | ReadlineError::Signal(_)) => Ok(Line::Cleared),
                Err(ReadlineError::Eof) => Ok(Line::End),
                Err(error) => Err(error).context("cannot read from the terminal"),
            },
            Self::Pipe(stdin) => read_line(stdin).context("cannot read standard input"),
        }
    }
}

fn read_line(input: &mut impl BufRead) -> std::io::Result<Line> {
    let mut bytes = Vec::new();
    input
        .by_ref()
        .take(LONGEST_LINE + 1)
        .read_until(b'\n', &mut bytes)?;
    if bytes.is_empty() {
        return Ok(Line::End);
    }
    if bytes.len() as u64 > LONGEST_LINE {
        if bytes.last() != Some(&b'\n') {
            input.skip_until(b'\n')?;
        }
        return Ok(Line::Bad(format!(
            "a line of standard input is longer than {} MiB",
            LONGEST_LINE >> 20
        )));
    }
    Ok(match String::from_utf8(bytes) {
        Ok(line) => Line::Text(line),
        Err(error) => Line::Bad(format!(
            "a line of standard input is no text: {}",
            error.utf8_error()
        )),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_text_or_too_long_does_not_hide_what_comes_after_it() {
        let mut input = b"one\n\xff\n".to_vec();
        input.extend(vec![b'a'; LONGEST_LINE as usize + 5]);
        input.extend(b"\nlast");
        let mut input = input.as_slice();
        let mut next = || read_line(&mut input).unwrap();
        assert!(matches!(next(), Line::Text(line) if line == "one\n"));
        assert!(matches!(next(), Line::Bad(why) if why.contains("no text")));
        assert!(matches!(next(), Line::Bad(why) if why.contains("longer than 16 MiB")));
        assert!(matches!(next(), Line::Text(line) if line == "last"));
        assert!(matches!(next(), Line::End));
    }
}
