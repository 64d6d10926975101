//! Chat templates against transformers' renders.

#[path = "../fuzz/templates.rs"]
mod made;

use std::path::{Path, PathBuf};

use monocle_text::{
    ChatTemplate, Content, Conversation, Message, Part, RenderOptions, SpecialTokens, TemplateError,
    TemplateSource,
};
use proptest::prelude::*;
use serde_json::Value;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/oracle/templates")
}

fn read(path: PathBuf) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn special_tokens(golden: &Value) -> SpecialTokens {
    let token = |key: &str| golden["special"][key].as_str().map(str::to_owned);
    SpecialTokens {
        bos: token("bos_token"),
        eos: token("eos_token"),
        unk: token("unk_token"),
        pad: token("pad_token"),
        other: Default::default(),
    }
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
        let special = special_tokens(&golden);
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
            // A template that takes no strings loses the words of one in transformers.
            let words = conversation
                .messages
                .iter()
                .find_map(|message| match &message.content {
                    Content::Text(text) => Some(text.as_str()),
                    Content::Parts(_) => None,
                });
            match words.filter(|words| !render["text"].as_str().unwrap().contains(words)) {
                Some(lost) => assert!(prompt.contains(lost), "{} {}", path.display(), render["name"]),
                None => assert_eq!(prompt, render["text"], "{} {}", path.display(), render["name"]),
            }
        }
    }
    assert!(templates >= 20, "only {templates} templates found");
}

/// What works in Jinja2 and is refused here: an error, never another prompt.
const REFUSED_HERE: [&str; 0] = [];

#[test]
fn features_of_jinja_work_as_in_transformers() {
    compare("features.json", &REFUSED_HERE);
}

/// As above.
const PYTHON_REFUSED_HERE: [&str; 5] = [
    "'{:05d} {:+} {:,} {:x} {:b} {:.2f} {:e} {:%}'.format(42, 1, 1234567, 255, 5, 2.345, 1234.5, 0.25)",
    "'{!r} {!s}'.format('a', 'b')",
    "'ab'.encode()",
    "'abc'.translate({97: 'x', 98: none})",
    "macro varargs",
];

#[test]
fn python_in_templates_works_as_in_transformers() {
    compare("python.json", &PYTHON_REFUSED_HERE);
}

/// Renders the cases of a file of goldens. A case without text has one that differs from run to run.
fn compare(file: &str, refused_here: &[&str]) {
    let golden = read(folder().join(file));
    let context = golden["context"].as_object().unwrap();
    let conversation: Conversation = Conversation::default();
    let mut wrong = Vec::new();
    for case in golden["cases"].as_array().unwrap() {
        let name = case["name"].as_str().unwrap();
        let result = render_feature(&conversation, case["template"].as_str().unwrap(), context);
        match (&result, case["text"].as_str()) {
            (Ok(text), Some(expected)) if text == expected => {}
            (Err(_), None) => {}
            (Ok(_), None) if case["error"].is_null() => {}
            (Err(_), Some(_)) if refused_here.contains(&name) => {}
            _ => wrong.push(format!(
                "{name}:\n  {result:?}\n  {:?} {:?}",
                case["text"], case["error"]
            )),
        }
    }
    assert!(wrong.is_empty(), "{} differ\n{}", wrong.len(), wrong.join("\n"));
}

fn content(text: &str, letter: char) -> Content {
    match letter {
        's' => Content::Text(text.to_owned()),
        _ => Content::Parts(vec![Part::text(text)]),
    }
}

#[test]
fn content_is_given_in_a_form_that_the_template_takes() {
    let golden = read(folder().join("forms.json"));
    let (mut compared, mut changed) = (0, 0);
    for case in golden["cases"].as_array().unwrap() {
        let name = case["name"].as_str().unwrap();
        let special = match case["template"].as_str() {
            Some(_) => SpecialTokens::default(),
            None => special_tokens(&read(folder().join(name).join("renders.json"))),
        };
        let text = case["template"].as_str().map(str::to_owned).unwrap_or_else(|| {
            std::fs::read_to_string(folder().join(name).join("chat_template.jinja")).unwrap()
        });
        let messages: Vec<(String, String)> = serde_json::from_value(case["messages"].clone()).unwrap();
        let roles: Vec<String> = serde_json::from_value(case["roles"].clone()).unwrap();
        let texts = case["texts"].as_object().unwrap();
        let is_right = |prompt: &str| {
            let whole = messages.iter().all(|(_, words)| prompt.contains(words.as_str()));
            whole && !prompt.contains("'type': 'text'")
        };
        let right: Vec<&str> = texts
            .values()
            .filter_map(Value::as_str)
            .filter(|prompt| is_right(prompt))
            .collect();
        for given in 0..1_u32 << roles.len() {
            let letters: String = (0..roles.len())
                .map(|role| if given >> role & 1 == 0 { 's' } else { 'p' })
                .collect();
            let form = |role: &str| letters.as_bytes()[roles.iter().position(|known| known == role).unwrap()];
            let conversation = Conversation {
                messages: messages
                    .iter()
                    .map(|(role, words)| Message::new(role.clone(), content(words, form(role) as char)))
                    .collect(),
            };
            let template = ChatTemplate::new(TemplateSource::Flag, text.clone()).unwrap();
            let options = RenderOptions {
                add_generation_prompt: true,
                ..RenderOptions::default()
            };
            let place = format!("{name}, {}, {letters}", case["about"]);
            match template.render(&conversation, &special, &options) {
                Ok(prompt) => {
                    // What is taken as it is stays as it is.
                    match texts
                        .get(&letters)
                        .and_then(Value::as_str)
                        .filter(|prompt| is_right(prompt))
                    {
                        Some(expected) => assert_eq!(prompt, expected, "{place}"),
                        None => {
                            changed += 1;
                            assert!(
                                right.contains(&prompt.as_str()),
                                "{place}: {prompt:?} is none of {right:?}"
                            );
                        }
                    }
                }
                Err(error) => assert!(right.is_empty(), "{place}: {error}"),
            }
            compared += 1;
        }
    }
    assert!(compared > 300 && changed > 50, "{compared} {changed}");
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

/// Templates that take content in different ways, and some that take nothing well.
fn templates() -> Vec<String> {
    let golden = read(folder().join("forms.json"));
    let own = golden["cases"].as_array().unwrap().iter();
    let mut templates: Vec<String> = own
        .filter_map(|case| case["template"].as_str().map(str::to_owned))
        .collect();
    templates.dedup();
    for name in ["llava", "qwen2_vl", "phi3_v", "mllama", "smolvlm"] {
        templates.push(std::fs::read_to_string(folder().join(name).join("chat_template.jinja")).unwrap());
    }
    let odd = [
        "{{ messages }}",
        "{{ messages[0] }}",
        "{{ messages|string }}",
        "{{ messages|map(attribute='content')|join('|') }}",
        "{{ messages[0].content|list }}{{ messages[0].content[0] }}",
        "{{ messages[0].content + messages[0].content }}",
        "{{ messages[0].content * 1000 }}",
        "{{ '%s'|format(messages[0].content) }}{{ '{}'.format(messages[0].content) }}",
        "{{ messages[0].content|pprint|upper }}",
        "{{ messages[0].content|tojson }}",
        "{% for m in messages %}{{ m.content|upper|center(2000000000) }}{% endfor %}",
        "{% for m in messages %}{{ m.content.zfill(2000000000) }}{% endfor %}",
    ];
    templates.extend(odd.map(str::to_owned));
    templates
}

fn any_content() -> impl Strategy<Value = Content> {
    // Words of templates and of Python's notation among others.
    let words = prop::collection::vec(
        prop::sample::select(vec![
            "a", " ", "\n", "<image>", "</think>", "{{", "%}", "'", "\"", "\\", "ü", "😀", "\u{fdd0}", "%s",
            "0",
        ]),
        0..8,
    )
    .prop_map(|words| words.concat());
    let part = prop_oneof![words.clone().prop_map(Part::text), Just(Part::Image)];
    prop_oneof![
        words.prop_map(Content::Text),
        prop::collection::vec(part, 0..5).prop_map(Content::Parts),
    ]
}

proptest! {
    /// Whatever is said, there is a prompt or an error, no list in Python's notation, and no more than a prompt may have.
    #[test]
    fn any_conversation_renders_or_is_refused(
        said in prop::collection::vec(
            (prop::sample::select(vec!["system", "user", "assistant", "tool", "it's", ""]), any_content()),
            0..5,
        ),
        which in 0_usize..1000,
    ) {
        let templates = templates();
        let template = &templates[which % templates.len()];
        let messages = said.into_iter().map(|(role, content)| Message::new(role, content)).collect();
        let conversation = Conversation { messages };
        let options = RenderOptions { add_generation_prompt: true, ..RenderOptions::default() };
        let compiled = ChatTemplate::new(TemplateSource::Flag, template.clone()).unwrap();
        if let Ok(prompt) = compiled.render(&conversation, &SpecialTokens::default(), &options) {
            prop_assert!(prompt.len() <= 16 << 20);
            for notation in ["{'type'", "'type': 'text'", "'type': 'image'"] {
                prop_assert!(!prompt.contains(notation), "{template}: {prompt}");
            }
        }
    }

    /// Whatever a template is made of, there is a prompt or an error.
    #[test]
    fn any_template_renders_or_is_refused(bytes in prop::collection::vec(any::<u8>(), 0..24), text in any::<bool>()) {
        let bytes = [&[u8::from(!text)][..], &bytes].concat();
        prop_assert_eq!(made::check(&made::made(&bytes)), Ok(()));
    }
}

/// What fuzzers begin with (`tests/fuzz/make_corpora.py`), as their target takes it.
#[test]
fn the_corpus_holds() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/template");
    let conversation = Conversation::single(None, 1, "What?");
    for (name, expected) in [
        ("a-conversation", "user: <image>What?\n"),
        ("a-macro", "[a][b]"),
        ("filters", "1,2|WHAT|{\"a\": [0]}"),
    ] {
        let text = made::made(&std::fs::read(corpus.join(name)).unwrap());
        let template = ChatTemplate::new(TemplateSource::Flag, text).unwrap();
        let prompt = template.render(
            &conversation,
            &SpecialTokens::default(),
            &RenderOptions::default(),
        );
        assert_eq!(prompt.unwrap(), expected, "{name}");
    }
    let mut files = 0;
    for entry in std::fs::read_dir(corpus).unwrap() {
        let path = entry.unwrap().path();
        let text = made::made(&std::fs::read(&path).unwrap());
        assert_eq!(made::check(&text), Ok(()), "{}: {text}", path.display());
        files += 1;
    }
    assert!(files >= 5, "{files}");
}
