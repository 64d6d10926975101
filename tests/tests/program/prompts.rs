//! How a conversation becomes a prompt: templates that take strings, variables, words that look like the places of pictures.

use monocle_tests::program::Monocle;
use monocle_tests::project;
use monocle_tests::scratch::Scratch;
use serde_json::Value;

/// `monocle inspect --json` of a checkpoint of the oracle, with its picture where one is asked for.
fn inspect(name: &str, picture: bool, arguments: &[&str]) -> Value {
    let folder = project::oracle(name);
    let mut command = Monocle::new(["inspect", "--json"]).args([&folder]);
    if picture {
        command = command.args([folder.join("image.png")]);
    }
    command.args(arguments).json()
}

fn text(inspected: &Value) -> &str {
    inspected["prompt"]["text"].as_str().expect("a prompt has a text")
}

fn ids(inspected: &Value) -> Vec<u64> {
    let ids = inspected["token_ids"].as_array().expect("a prompt has ids");
    ids.iter().filter_map(Value::as_u64).collect()
}

/// A template that knows a message's content as text alone.
const STRINGS: &str = "{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}{% endfor %}\
                       {% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

#[test]
fn a_template_that_takes_strings_gets_strings() {
    // As each family's own code writes a picture into a string.
    for (name, mark) in [
        ("qwen2_vl", "<|vision_start|><|image_pad|><|vision_end|>"),
        ("qwen3_vl", "<|vision_start|><|image_pad|><|vision_end|>"),
        ("internvl_chat", "<image>\n"),
        ("internvl", "<image>\n"),
        ("llava", "<image>\n"),
        ("smolvlm", "<image>"),
        ("lfm2_vl", "<image>"),
        ("mistral3", "[IMG]"),
        ("mllama", "<|image|>"),
        ("gemma3", "<start_of_image>"),
        ("nanollava", "<image>\n"),
        ("phi3_v", "<|image_1|>\n"),
    ] {
        let arguments = ["--template", STRINGS, "-p", "How many?", "--system", "Be brief."];
        let without = inspect(name, false, &arguments);
        let expected = |mark: &str| {
            format!(
                "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n{mark}How many?<|im_end|>\n<|im_start|>assistant\n"
            )
        };
        let holds = |inspected: &Value, mark: &str| {
            let prompt = text(inspected);
            // Some families put a beginning token before it.
            assert!(prompt.ends_with(&expected(mark)), "{name}: {prompt:?}");
        };
        holds(&without, "");
        let with = inspect(name, true, &arguments);
        holds(&with, mark);
        let own = inspect(name, true, &["-p", "How many?"]);
        assert_eq!(
            with["prompt"]["image_tokens"], own["prompt"]["image_tokens"],
            "{name}"
        );
    }
}

#[test]
fn a_system_message_may_be_a_string_where_the_users_is_a_list() {
    let template = "{% if messages[0].role == 'system' %}[{{ messages[0].content | trim }}]{% set messages = messages[1:] %}{% endif %}\
                    {% for m in messages %}{% for p in m.content %}{{ '<image>' if p.type == 'image' else p.text }}{% endfor %}{% endfor %}";
    let inspected = inspect(
        "smolvlm",
        true,
        &["--template", template, "--system", " Be brief. ", "-p", "What?"],
    );
    assert_eq!(text(&inspected), "[Be brief.]<image>What?");
}

#[test]
fn words_that_look_like_a_pictures_place_are_words() {
    for (name, place) in [
        ("smolvlm", "<image>"),
        ("qwen2_vl", "<|image_pad|>"),
        ("llava", "<image>"),
        ("internvl", "<IMG_CONTEXT>"),
        ("mistral3", "[IMG]"),
        ("mllama", "<|image|>"),
        ("lfm2_vl", "<image>"),
        ("gemma3", "<start_of_image>"),
        ("gemma3", "<image_soft_token>"),
        ("nanollava", "<image>"),
        ("phi3_v", "<|image_1|>"),
    ] {
        let question = format!("What does the {place} element of SVG do?");
        let inspected = inspect(name, false, &["-p", &question]);
        assert!(text(&inspected).contains(&question), "{name}: {inspected}");
        assert_eq!(inspected["prompt"]["image_tokens"], 0, "{name}");
        let plain = inspect(name, false, &["-p", "What does the element of SVG do?"]);
        let token = monocle_text::Tokenizer::from_folder(project::oracle(name))
            .expect("it can be read")
            .token_id(place);
        if let Some(token) = token {
            assert!(!ids(&inspected).contains(&u64::from(token)), "{name}");
        }
        assert!(
            ids(&inspected).len() > ids(&plain).len() + 1,
            "{name}: it is spelled in several tokens"
        );

        let with = inspect(name, true, &["-p", &question]);
        let usual = inspect(name, true, &["-p", "What?"]);
        assert_eq!(
            with["prompt"]["image_tokens"], usual["prompt"]["image_tokens"],
            "{name}"
        );
        assert!(text(&with).contains(&question), "{name}: {with}");
    }
    // With a picture the user is told, since the words may have been meant as its place.
    let folder = project::oracle("smolvlm");
    let run = |question: &str| {
        let picture = folder.join("image.png");
        let outcome = Monocle::new(["run", "-p", question, "--max-tokens", "1"]).args([&folder, &picture]);
        outcome.succeeds().stderr
    };
    assert!(run("<image>\nWhat?").contains("taken as words"));
    assert!(!run("What?").contains("taken as words"));
}

#[test]
fn variables_reach_the_template() {
    let template =
        "{{ 'on' if enable_thinking else 'off' }} {{ level|default('none') }} {{ messages|length }}";
    let with = |variables: &[&str]| {
        let mut arguments = vec!["--template", template, "-p", "What?"];
        for variable in variables {
            arguments.extend(["--template-var", *variable]);
        }
        inspect("smolvlm", false, &arguments)
    };
    assert_eq!(text(&with(&[])), "off none 1");
    assert_eq!(text(&with(&["enable_thinking=true", "level=high"])), "on high 1");
    // JSON where it is some, else text.
    assert_eq!(
        text(&with(&["enable_thinking=false", "level=[1, \"a\"]"])),
        "off [1, 'a'] 1"
    );
    assert_eq!(text(&with(&["enable_thinking=False"])), "on none 1");
    assert_eq!(text(&with(&["level=a=b"])), "off a=b 1");
    let unread = with(&["enable_thinkin=true"]);
    let note = "the chat template never reads the variable `enable_thinkin`, which was given to it";
    assert!(
        unread["notes"].as_array().expect("notes").contains(&note.into()),
        "{unread}"
    );

    for wrong in ["enable_thinking", "=1", "a b=1", "1a=2", "messages=[]"] {
        let folder = project::oracle("smolvlm");
        Monocle::new(["inspect", "-p", "hi", "--template-var", wrong])
            .args([&folder])
            .fails(2, &["--template-var"]);
    }
}

#[test]
fn a_manifest_has_variables_and_the_command_line_goes_before_them() {
    let scratch = Scratch::new("variables");
    let folder = project::oracle("smolvlm");
    let manifest = format!(
        "schema = 1\nname = \"x\"\nplugin = \"smolvlm\"\n[source]\npath = {folder:?}\n\
         [prompt]\ntemplate = \"{{{{ a }}}} {{{{ b }}}}\"\nvariables = {{ a = \"one\", b = [1, true] }}\n"
    );
    let path = scratch.write("variables.toml", &manifest).display().to_string();
    let prompt = |arguments: &[&str]| {
        let inspected = Monocle::new(["inspect", "--json", &path, "-p", "hi"])
            .args(arguments)
            .json();
        text(&inspected).to_owned()
    };
    assert_eq!(prompt(&[]), "one [1, True]");
    assert_eq!(prompt(&["--template-var", "a=two"]), "two [1, True]");
}

#[test]
fn marks_of_reasoning_are_found_without_a_manifest() {
    let marks = |name: &str, arguments: &[&str]| {
        let folder = project::oracle(name);
        let run = Monocle::new(["run", "--json", "-p", "hi", "--max-tokens", "1"]).args([&folder]);
        run.args(arguments).json()["output"]["reasoning_marks"].clone()
    };
    let found =
        |start: &str, end: &str, from: &str| serde_json::json!({"start": start, "end": end, "from": from});
    // Its vocabulary has the marks as tokens.
    assert_eq!(marks("qwen3_vl", &[]), found("<think>", "</think>", "tokenizer"));
    assert_eq!(marks("smolvlm", &[]), Value::Null);
    let template = "{{ messages[0].content[0].text.split('[/THINK]')[-1] }}";
    assert_eq!(
        marks("smolvlm", &["--template", template]),
        found("[THINK]", "[/THINK]", "template")
    );
}
