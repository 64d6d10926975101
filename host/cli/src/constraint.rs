//! What an answer must look like, as the command line says it.

use std::path::Path;

use clap::Args;
use monocle_constraint::Constraint;
use serde_json::Value;

use super::Misuse;

// (No doc comment: it would be the help of the command that has this in it.)
#[derive(Debug, Args)]
#[group(multiple = false)]
pub struct ConstraintArguments {
    /// The answer is JSON that this schema describes: a file, or the schema itself
    #[arg(long, value_name = "FILE|TEXT")]
    json_schema: Option<String>,

    /// The answer is a JSON object
    #[arg(long)]
    json_object: bool,

    /// The answer is what this regular expression matches from begin to end
    #[arg(long, value_name = "EXPRESSION", allow_hyphen_values = true)]
    regex: Option<String>,

    /// The answer is one of these texts, like `cat,dog` (may be given several times)
    #[arg(long, value_name = "TEXT,…", value_delimiter = ',')]
    choice: Vec<String>,

    /// The answer is a text of this grammar in Lark's notation: a file, or the grammar itself
    #[arg(long, value_name = "FILE|TEXT")]
    grammar: Option<String>,
}

/// The most bytes of a file.
const LARGEST_FILE: u64 = 1 << 20;

impl ConstraintArguments {
    /// What was asked for, if anything was.
    pub fn constraint(&self) -> Result<Option<Constraint>, Misuse> {
        if let Some(text) = &self.json_schema {
            let text = match text.trim_start().starts_with('{') {
                true => text.clone(),
                false => read(text, "--json-schema")?,
            };
            let schema: Value = serde_json::from_str(&text)
                .map_err(|error| Misuse(format!("`--json-schema` is not JSON: {error}")))?;
            return Ok(Some(Constraint::JsonSchema { schema, strict: true }));
        }
        if let Some(text) = &self.grammar {
            let text = match text.contains(':') && !Path::new(text).is_file() {
                true => text.clone(),
                false => read(text, "--grammar")?,
            };
            return Ok(Some(Constraint::Lark(text)));
        }
        if self.json_object {
            return Ok(Some(Constraint::JsonObject));
        }
        if let Some(expression) = &self.regex {
            return Ok(Some(Constraint::Regex(expression.clone())));
        }
        Ok((!self.choice.is_empty()).then(|| Constraint::Choice(self.choice.clone())))
    }
}

fn read(path: &str, flag: &str) -> Result<String, Misuse> {
    let bad = |reason: String| Misuse(format!("`{flag}`: cannot read `{path}`: {reason}"));
    monocle_files::read_given_text(path.as_ref(), LARGEST_FILE).map_err(|error| bad(error.to_string()))
}
