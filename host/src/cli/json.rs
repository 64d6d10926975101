//! Machine-readable output.

use std::io::Write;

use anyhow::Context;
use serde::Serialize;

/// One JSON document on standard output.
pub fn print(value: &impl Serialize) -> anyhow::Result<()> {
    let mut stdout = std::io::stdout().lock();
    serde_json::to_writer_pretty(&mut stdout, value).context("cannot write JSON")?;
    writeln!(stdout).context("cannot write JSON")
}
