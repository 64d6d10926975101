//! Ids in, shown text out: end tokens, stop strings, reasoning and half characters with a real tokenizer.

use std::path::Path;
use std::sync::Arc;

use monocle_text::{
    FinishReason, Flag, Generated, OutputRules, OutputStream, ReasoningMarkers, ReasoningState, RemovedKind,
    Tokenizer,
};

fn tokenizer(name: &str) -> Arc<Tokenizer> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../tests/oracle/tokenizers")
        .join(name);
    Arc::new(Tokenizer::from_folder(folder).unwrap())
}

fn generate(name: &str, rules: OutputRules, text: &str) -> (String, Generated) {
    let tokenizer = tokenizer(name);
    let ids = tokenizer.encode(text, false).unwrap();
    let end: Vec<u32> = tokenizer.end_tokens().iter().map(|end| end.id).collect();
    let mut stream = OutputStream::new(tokenizer, rules, end);
    let mut shown = String::new();
    for id in ids {
        shown += &stream.push(id).unwrap().text;
    }
    let (delta, generated) = stream.finish(FinishReason::MaxTokens);
    (shown + &delta.text, generated)
}

#[test]
fn an_end_token_stops_and_nothing_after_it_is_shown() {
    let (shown, generated) = generate(
        "smolvlm",
        OutputRules::default(),
        "A disc.<end_of_utterance>\nUser: and?",
    );
    assert_eq!(shown, "A disc.");
    assert_eq!(generated.text, shown);
    assert!(
        matches!(&generated.finish, FinishReason::EndToken { token, .. } if token == "<end_of_utterance>")
    );
    assert_eq!(generated.removed[0].kind, RemovedKind::EndToken);
}

#[test]
fn other_special_tokens_are_left_out_and_counted() {
    let (shown, generated) = generate("smolvlm", OutputRules::default(), "<image>A<image> disc");
    assert_eq!(shown, "A disc");
    assert_eq!(generated.finish, FinishReason::MaxTokens);
    let removed = &generated.removed[0];
    assert_eq!(
        (removed.kind, removed.what.as_str(), removed.count),
        (RemovedKind::SpecialToken, "<image>", 2)
    );
}

#[test]
fn ids_without_a_text_are_counted() {
    let tokenizer = tokenizer("smolvlm");
    let beyond = tokenizer.vocabulary_size() as u32 + 3;
    let mut stream = OutputStream::new(tokenizer.clone(), OutputRules::default(), []);
    let ids = tokenizer.encode("A disc", false).unwrap();
    let shown: String = [beyond, ids[0], beyond]
        .into_iter()
        .chain(ids[1..].iter().copied())
        .map(|id| stream.push(id).unwrap().text)
        .collect();
    let (rest, generated) = stream.finish(FinishReason::MaxTokens);
    assert_eq!(shown + &rest.text, "A disc");
    let removed = &generated.removed[0];
    assert_eq!(
        (removed.kind, removed.what.as_str(), removed.count),
        (RemovedKind::UnknownToken, format!("id {beyond}").as_str(), 2)
    );
}

#[test]
fn special_tokens_that_are_words_of_the_answer_stay() {
    let id = |token: &str| tokenizer("smolvlm").token_id(token).unwrap();
    let rules = OutputRules {
        keep_tokens: vec![id("<image>"), id("<|im_end|>")],
        ..OutputRules::default()
    };
    let answer = "<image>A<fake_token_around_image><image> disc";
    let (shown, generated) = generate("smolvlm", rules.clone(), answer);
    assert_eq!(shown, "<image>A<image> disc");
    let removed: Vec<_> = generated
        .removed
        .iter()
        .map(|removed| removed.what.as_str())
        .collect();
    assert_eq!(removed, ["<fake_token_around_image>"]);

    // What ends an answer ends it all the same.
    let stopping = OutputRules {
        stop: vec!["<|im_end|>".into()],
        ..rules
    };
    let (shown, _) = generate("smolvlm", stopping, "A disc<|im_end|> and more");
    assert_eq!(shown, "A disc");
}

#[test]
fn a_stop_string_that_is_a_special_token_is_seen() {
    let rules = OutputRules {
        stop: vec!["<|im_end|>".into()],
        ..OutputRules::default()
    };
    let (shown, generated) = generate("smolvlm", rules, "A disc<|im_end|> and more");
    assert_eq!(shown, "A disc");
    assert_eq!(
        generated.finish,
        FinishReason::StopString {
            stop: "<|im_end|>".into()
        }
    );
}

#[test]
fn reasoning_between_special_tokens_is_split_off() {
    // Two special tokens of this vocabulary serve as markers.
    let markers = ReasoningMarkers {
        start: "<|vision_start|>".into(),
        end: "<|vision_end|>".into(),
    };
    let rules = OutputRules {
        reasoning: Some(markers),
        trim_start: true,
        ..OutputRules::default()
    };
    let (shown, generated) = generate(
        "qwen2_vl",
        rules.clone(),
        "<|vision_start|>\nround<|vision_end|>\n\nA disc.<|im_end|>",
    );
    assert_eq!(
        (shown.as_str(), generated.reasoning.as_str()),
        ("A disc.", "round")
    );
    assert_eq!(generated.reasoning_state, ReasoningState::Closed);
    let inside = tokenizer("qwen2_vl")
        .encode("\nround<|vision_end|>", false)
        .unwrap()
        .len();
    assert_eq!(generated.reasoning_tokens, inside);

    let (shown, generated) = generate("qwen2_vl", rules, "<|vision_start|>round and round");
    assert_eq!(shown, "");
    assert_eq!(generated.reasoning_state, ReasoningState::Open);
    assert_eq!(generated.flags, [Flag::Empty]);
}

#[test]
fn half_a_character_is_not_shown() {
    let tokenizer = tokenizer("llava");
    let mut ids = tokenizer.encode("a 😀", false).unwrap();
    ids.pop();
    let mut stream = OutputStream::new(tokenizer, OutputRules::default(), []);
    for id in ids {
        stream.push(id).unwrap();
    }
    let (_, generated) = stream.finish(FinishReason::MaxTokens);
    assert_eq!(generated.text, "a ");
    assert_eq!(generated.removed[0].kind, RemovedKind::UnfinishedCharacter);
}

#[test]
fn nothing_generated_is_reported_as_empty() {
    let (_, generated) = generate("smolvlm", OutputRules::default(), "");
    assert_eq!(
        (generated.finish, generated.flags),
        (FinishReason::Empty, vec![Flag::Empty])
    );
    let (_, generated) = generate("smolvlm", OutputRules::default(), "<end_of_utterance>");
    assert!(matches!(generated.finish, FinishReason::EndToken { .. }));
    assert_eq!(generated.flags, [Flag::Empty]);
}

#[test]
fn shared_parts_cross_threads() {
    fn check<T: Send + Sync>() {}
    check::<Tokenizer>();
    check::<monocle_text::ChatTemplate>();
    check::<OutputStream>();
    check::<monocle_text::Sampler>();
}
