//! `log`, `tokenizers`, `prompts`, and the types that have no functions.

use wasmtime::Result;

use crate::plugin::wasm::recording::{LogLevel, State};
use crate::plugin::wasm::v0_2::bindings::monocle::plugin::{log, prompts, tokenizers, types};
use crate::plugin::wasm::v0_2::convert;

impl types::Host for State {}

impl log::Host for State {
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

impl tokenizers::Host for State {
    fn encode(&mut self, text: String, add_special_tokens: bool) -> Result<Vec<u32>> {
        self.encode_text(&text, add_special_tokens)
    }

    fn add(&mut self, tokens: Vec<String>, special: bool) -> Result<Vec<u32>> {
        self.add_tokens(&tokens, special)
    }

    fn adds_beginning(&mut self) -> Result<Option<u32>> {
        // Any text would do.
        let [plain, whole] = [false, true].map(|special| self.encode_text("a", special));
        let (plain, whole) = (plain?, whole?);
        Ok(whole
            .first()
            .filter(|first| plain.first() != Some(first))
            .copied())
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
        request: prompts::Request,
        options: prompts::RenderOptions,
    ) -> Result<Result<String, String>> {
        match convert::rendering_from_plugin(request, options) {
            Ok(rendering) => State::render(self, &rendering),
            Err(reason) => Ok(Err(reason)),
        }
    }
}
