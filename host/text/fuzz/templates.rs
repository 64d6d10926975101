//! What holds of any text as a chat template. The fuzz target and the tests of any template use it.

use std::time::{Duration, Instant};

use monocle_text::{ChatTemplate, Conversation, RenderOptions, SpecialTokens, TemplateSource};

/// Bytes of a prompt.
const LONGEST: usize = 16 << 20;
/// A render may take ten seconds; compiling takes none to speak of.
const PATIENCE: Duration = Duration::from_secs(15);

/// Compiles it and renders a conversation with it.
pub fn check(text: &str) -> Result<(), String> {
    let started = Instant::now();
    let bytes = match ChatTemplate::new(TemplateSource::Flag, text) {
        Ok(template) => {
            let conversation = Conversation::single(None, 1, "What?");
            let prompt = template.render(
                &conversation,
                &SpecialTokens::default(),
                &RenderOptions::default(),
            );
            prompt.map_or(0, |prompt| prompt.len())
        }
        Err(_) => 0,
    };
    if bytes > LONGEST {
        return Err(format!("a prompt of {bytes} bytes"));
    }
    match started.elapsed() {
        long if long > PATIENCE => Err(format!("it took {long:?}")),
        _ => Ok(()),
    }
}
