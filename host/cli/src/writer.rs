//! An answer, shown as it comes.

use std::io::{IsTerminal, Write};

use anyhow::Context;
use monocle_runtime::scheduler::Flow;
use monocle_text::Delta;

use super::output;

/// Streams text to standard output, reasoning dimmed to standard error.
pub struct Writer {
    silent: bool,
    show_reasoning: bool,
    reasoning_shown: bool,
    text_shown: bool,
    ends_line: bool,
    failed: Option<std::io::Error>,
}

impl Writer {
    /// `silent`: nothing is shown. Reasoning is shown on terminals only.
    pub fn new(silent: bool, show_reasoning: bool) -> Self {
        Self {
            silent,
            show_reasoning: show_reasoning && std::io::stderr().is_terminal(),
            reasoning_shown: false,
            text_shown: false,
            ends_line: false,
            failed: None,
        }
    }

    /// What came.
    pub fn write(&mut self, delta: &Delta) -> Flow {
        if self.silent {
            return Flow::Continue;
        }
        match self.try_write(delta) {
            Ok(()) => Flow::Continue,
            Err(error) => {
                self.failed = Some(error);
                Flow::Cancel
            }
        }
    }

    fn try_write(&mut self, delta: &Delta) -> std::io::Result<()> {
        if self.show_reasoning && !delta.reasoning.is_empty() {
            let mut stderr = std::io::stderr().lock();
            write!(
                stderr,
                "\x1b[2m{}\x1b[0m",
                output::safe_for(&stderr, &delta.reasoning)
            )?;
            self.reasoning_shown = true;
        }
        if !delta.text.is_empty() {
            if self.reasoning_shown && !self.text_shown {
                output::note("");
            }
            let mut stdout = std::io::stdout().lock();
            stdout.write_all(output::safe_for(&stdout, &delta.text).as_bytes())?;
            stdout.flush()?;
            self.text_shown = true;
            self.ends_line = delta.text.ends_with('\n');
        }
        Ok(())
    }

    /// Whether anything was shown.
    pub fn has_written(&self) -> bool {
        self.text_shown || self.failed.is_some()
    }

    /// Ends the last line.
    pub fn finish(self) -> anyhow::Result<()> {
        if let Some(error) = self.failed {
            return Err(error).context("cannot write the answer");
        }
        if !self.silent && !self.ends_line {
            output::print("\n")?;
        }
        Ok(())
    }
}
