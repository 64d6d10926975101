//! `log`, `tokenizers`, `prompts`, and the types that have no functions.

use wasmtime::Result;

use crate::plugin::contract::Rendering;
use crate::plugin::state::{LogLevel, State};
use crate::plugin::wasm::host_side::HostSide;
use crate::plugin::wasm::v0_1::bindings::monocle::plugin::{log, prompts, tokenizers, types};
use crate::plugin::wasm::v0_1::convert;

impl types::Host for HostSide {}

impl log::Host for HostSide {
    fn write(&mut self, level: log::Level, text: String) -> Result<()> {
        let level = match level {
            log::Level::Debug => LogLevel::Debug,
            log::Level::Info => LogLevel::Info,
            log::Level::Warn => LogLevel::Warn,
        };
        self.write_log(level, &text);
        Ok(())
    }
}

impl tokenizers::Host for HostSide {
    fn encode(&mut self, text: String, add_special_tokens: bool) -> Result<Vec<u32>> {
        self.encode_text(&text, add_special_tokens)
    }

    fn token_id(&mut self, token: String) -> Result<Option<u32>> {
        Ok(self.services.token_id(&token))
    }

    fn token(&mut self, id: u32) -> Result<Option<String>> {
        Ok(self.services.token(id))
    }
}

impl prompts::Host for HostSide {
    fn render(
        &mut self,
        messages: Vec<prompts::Message>,
        fallback: Option<String>,
    ) -> Result<Result<String, String>> {
        let rendering = Rendering {
            messages: messages.into_iter().map(convert::message_from_plugin).collect(),
            variables: self.request_variables.clone(),
            fallback,
            ..Rendering::default()
        };
        Ok(State::render(self, &rendering)?)
    }
}
