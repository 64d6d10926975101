//! Chat templates against transformers' renders.

use std::path::{Path, PathBuf};

use monocle_text::{ChatTemplate, Conversation, RenderOptions, SpecialTokens, TemplateError, TemplateSource};
use proptest::prelude::*;
use serde_json::Value;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/oracle/templates")
}

fn read(path: PathBuf) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

#[test]
fn templates_render_as_in_transformers() {
    let mut templates = 0;
    for entry in std::fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        if !path.is_dir() {
            continue;
        }
        templates += 1;
        let golden = read(path.join("renders.json"));
        let text = std::fs::read_to_string(path.join("chat_template.jinja")).unwrap();
        let template = ChatTemplate::new(TemplateSource::Flag, text).unwrap();
        let token = |key: &str| golden["special"][key].as_str().map(str::to_owned);
        let special = SpecialTokens {
            bos: token("bos_token"),
            eos: token("eos_token"),
            unk: token("unk_token"),
            pad: token("pad_token"),
            other: Default::default(),
        };
        let options = RenderOptions {
            add_generation_prompt: true,
            ..RenderOptions::default()
        };
        for render in golden["renders"].as_array().unwrap() {
            let mut conversation: Conversation = serde_json::from_value(render["messages"].clone()).unwrap();
            if let Some(marker) = golden["image_marker"].as_str() {
                conversation = conversation.with_string_content(|n| marker.replace("{n}", &n.to_string()));
            }
            let prompt = template.render(&conversation, &special, &options).unwrap();
            assert_eq!(prompt, render["text"], "{} {}", path.display(), render["name"]);
        }
    }
    assert!(templates >= 20, "only {templates} templates found");
}

/// What works in Jinja2 and is refused here: an error, never another prompt.
const REFUSED_HERE: [&str; 3] = [
    "reversed slices of nothing",
    "percent formatting",
    "first of nothing",
];

#[test]
fn features_of_jinja_work_as_in_transformers() {
    let golden = read(folder().join("features.json"));
    let context = golden["context"].as_object().unwrap();
    let conversation: Conversation = Conversation::default();
    let mut wrong = Vec::new();
    for case in golden["cases"].as_array().unwrap() {
        let name = case["name"].as_str().unwrap();
        let result = render_feature(&conversation, case["template"].as_str().unwrap(), context);
        match (&result, case["text"].as_str()) {
            (Ok(text), Some(expected)) if text == expected => {}
            (Err(_), None) => {}
            (Err(_), Some(_)) if REFUSED_HERE.contains(&name) => {}
            _ => wrong.push(format!(
                "{name}:\n  {result:?}\n  {:?} {:?}",
                case["text"], case["error"]
            )),
        }
    }
    assert!(wrong.is_empty(), "{} differ\n{}", wrong.len(), wrong.join("\n"));
}

/// The messages of the features are richer than a `Conversation` can be, so they go in as a variable of another name.
fn render_feature(
    conversation: &Conversation,
    template: &str,
    context: &serde_json::Map<String, Value>,
) -> Result<String, TemplateError> {
    let mut options = RenderOptions {
        add_generation_prompt: true,
        ..RenderOptions::default()
    };
    for (key, value) in context {
        match key.as_str() {
            "tools" => options.tools = value.as_array().cloned(),
            "messages" => drop(options.variables.insert("context_messages".into(), value.clone())),
            "documents" | "add_generation_prompt" => {}
            _ => drop(options.variables.insert(key.clone(), value.clone())),
        }
    }
    let template = template.replace("messages", "context_messages");
    ChatTemplate::new(TemplateSource::Flag, template)?.render(
        conversation,
        &SpecialTokens::default(),
        &options,
    )
}

proptest! {
    /// Whatever a template is made of, there is a prompt or an error.
    #[test]
    fn any_template_renders_or_is_refused(
        pieces in prop::collection::vec(
            prop::sample::select(vec![
                "{{ ", " }}", "{% ", " %}", "{%- ", " -%}", "{# ", " #}", "for m in messages", "endfor", "if ", "endif",
                "generation", "endgeneration", "messages", "[::-1]", "[1:]", "['content']", ".role", "|tojson",
                "|length", "|first", "(", ")", "set x = ", "x", " ~ ", " + ", "'a'", "1", "range(9)", "macro f(x)",
                "endmacro", "f(", " is ", "defined", " in ", "not ", "\n", "break", "raw", "endraw", "-", "*", "{", "}",
            ]),
            0..24,
        ),
    ) {
        let conversation = Conversation::single(None, 1, "What?");
        if let Ok(template) = ChatTemplate::new(TemplateSource::Flag, pieces.concat()) {
            let _ = template.render(&conversation, &SpecialTokens::default(), &RenderOptions::default());
        }
    }
}
