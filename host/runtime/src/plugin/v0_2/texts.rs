//! `log`, `tokenizers`, `prompts`, and the types that have no functions.

use super::bindings::{log, prompts, tokenizers, types};
use super::convert;
use super::host_side::{HostSide, Result};
use crate::plugin::state::{LogLevel, State};

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

impl prompts::Host for HostSide {
    fn render(
        &mut self,
        request: prompts::Request,
        options: prompts::RenderOptions,
    ) -> Result<std::result::Result<String, String>> {
        match convert::rendering_from_plugin(request, options) {
            Ok(rendering) => Ok(State::render(self, &rendering)?),
            Err(reason) => Ok(Err(reason)),
        }
    }
}
