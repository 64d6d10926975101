//! `log`, `tokenizers`, `prompts`, and the types that have no functions.

use wasmtime::Result;

use crate::plugin::error::Fault;
use crate::plugin::wasm::bindings::monocle::plugin::{log, prompts, tokenizers, types};
use crate::plugin::wasm::convert;
use crate::plugin::wasm::recording::{LogLevel, State};

/// Bytes of one text for the tokenizer, which no deadline can stop.
const LONGEST_TEXT: usize = 8 << 20;

impl types::Host for State {}

impl log::Host for State {
    fn write(&mut self, level: log::Level, text: String) -> Result<()> {
        let level = match level {
            log::Level::Debug => LogLevel::Debug,
            log::Level::Info => LogLevel::Info,
            log::Level::Warn => LogLevel::Warn,
        };
        self.write_log(level, text);
        Ok(())
    }
}

impl tokenizers::Host for State {
    fn encode(&mut self, text: String, add_special_tokens: bool) -> Result<Vec<u32>> {
        if text.len() > LONGEST_TEXT {
            return self.fail(Fault::Misuse(format!(
                "a text of {} bytes for the tokenizer, more than {LONGEST_TEXT}",
                text.len()
            )));
        }
        match self.services.encode(&text, add_special_tokens) {
            Ok(ids) => Ok(ids),
            Err(reason) => self.fail(Fault::Misuse(format!("the tokenizer refused a text: {reason}"))),
        }
    }

    fn token_id(&mut self, token: String) -> Result<Option<u32>> {
        Ok(self.services.token_id(&token))
    }

    fn token(&mut self, id: u32) -> Result<Option<String>> {
        Ok(self.services.token(id))
    }
}

impl prompts::Host for State {
    fn render(
        &mut self,
        messages: Vec<prompts::Message>,
        fallback: Option<String>,
    ) -> Result<Result<String, String>> {
        let messages: Vec<_> = messages.into_iter().map(convert::message_from_plugin).collect();
        Ok(self.services.render(&messages, fallback.as_deref()))
    }
}
