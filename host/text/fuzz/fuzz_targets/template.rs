//! Compiles any text as a chat template, and renders a conversation with it.

#![no_main]

use monocle_text::{ChatTemplate, Conversation, RenderOptions, SpecialTokens, TemplateSource};

libfuzzer_sys::fuzz_target!(|text: &str| {
    let Ok(template) = ChatTemplate::new(TemplateSource::Flag, text) else {
        return;
    };
    let conversation = Conversation::single(None, 1, "What?");
    let prompt = template.render(
        &conversation,
        &SpecialTokens::default(),
        &RenderOptions::default(),
    );
    assert!(prompt.map_or(0, |prompt| prompt.len()) <= 16 << 20);
});
