//! Compiles any text as a chat template, and renders a conversation with it.

#![no_main]

use monocle_text::{ChatTemplate, Conversation, RenderOptions, SpecialTokens, TemplateSource};

// Panics of libraries that are caught are errors: the fuzzer's own hook would end the process at each.
libfuzzer_sys::fuzz_target!(init: std::panic::set_hook(Box::new(|_| {})), |text: &str| {
    let Ok(template) = ChatTemplate::new(TemplateSource::Flag, text) else {
        return;
    };
    let conversation = Conversation::single(None, 1, "What?");
    let prompt = template.render(
        &conversation,
        &SpecialTokens::default(),
        &RenderOptions::default(),
    );
    if prompt.map_or(0, |prompt| prompt.len()) > 16 << 20 {
        eprintln!("the prompt is too long");
        std::process::abort();
    }
});
