//! Tools that an answer may call: how the model writes that, and what a request asks of it.

use std::sync::Arc;

use monocle_constraint::Constraint;
use monocle_runtime::model::Model;
use monocle_tools::grammar::special_tokens;
use monocle_tools::{CallParser, Tools};

use super::request::{ChatRequest, ToolChoice};
use crate::failure::Failure;

/// How the calls of one answer are read and asked for.
#[derive(Debug, Clone)]
pub struct Calling {
    format: Arc<monocle_manifest::schema::ToolFormat>,
    tools: Tools,
    /// Those that the choice leaves.
    wanted: Option<Tools>,
    several: bool,
    /// Special tokens that calls are written with: they are words of the answer then.
    pub keep_tokens: Vec<u32>,
}

impl Calling {
    /// Of a request whose answer may have calls.
    pub fn new(chat: &ChatRequest, model: &Model) -> Result<Option<Self>, Failure> {
        if chat.tools.is_empty() || chat.raw || chat.tool_choice == ToolChoice::None {
            return Ok(None);
        }
        let Some(format) = model.tools() else {
            return Err(Failure::unsupported(
                "tools",
                "tools with this model: its chat template tells none of the known ways to call them, and its manifest has no `[tools]`",
            ));
        };
        let tools = Tools::new(&chat.tools);
        let wanted = match &chat.tool_choice {
            ToolChoice::Auto | ToolChoice::None => None,
            ToolChoice::Required => Some(tools.clone()),
            ToolChoice::Named(name) => Some(tools.only(name).ok_or_else(|| {
                let name: String = name.chars().take(60).collect();
                Failure::invalid(format!("there is no tool `{name}` in `tools`")).at("tool_choice")
            })?),
        };
        let keep_tokens = special_tokens(format, &|text| special(model, text));
        Ok(Some(Self {
            format: Arc::clone(format),
            tools,
            wanted,
            several: chat.parallel_tool_calls,
            keep_tokens,
        }))
    }

    /// What the answer must look like, where it must be a call.
    pub fn constraint(&self, model: &Model) -> Result<Option<Constraint>, Failure> {
        let Some(wanted) = &self.wanted else {
            return Ok(None);
        };
        let special = |text: &str| special(model, text);
        match monocle_tools::grammar(&self.format, wanted, self.several, &special) {
            Some(grammar) => Ok(Some(Constraint::Lark(grammar))),
            None => Err(Failure::unsupported(
                "tool_choice",
                "a call that must come, with the way in which this model writes calls; `auto` works",
            )),
        }
    }

    /// Reads the answer.
    pub fn parser(&self) -> CallParser {
        let most = if self.several { usize::MAX } else { 1 };
        CallParser::new(Arc::clone(&self.format), self.tools.clone(), most)
    }
}

/// The number of a text that is a special token.
fn special(model: &Model, text: &str) -> Option<u32> {
    let tokenizer = model.tokenizer();
    tokenizer.token_id(text).filter(|id| tokenizer.is_special(*id))
}

/// A name for a call: nine letters and digits, which the templates that are strict about it ask for.
pub fn identity() -> String {
    const SYMBOLS: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";
    let mut number = getrandom::u64().unwrap_or_default();
    let symbols = (0..9).map(|_| {
        let symbol = SYMBOLS[(number % 36) as usize];
        number /= 36;
        char::from(symbol)
    });
    symbols.collect()
}
