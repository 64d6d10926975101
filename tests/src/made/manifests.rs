//! Manifests, from their text to an answer: what one may ask for is done within its limits or refused.

use std::fmt::Write;
use std::time::{Duration, Instant};

use monocle_runtime::request::{GenerateOptions, Request};
use monocle_runtime::scheduler::Flow;

use super::Choices;
use crate::oracle::Oracle;
use crate::project;

/// Ten times what a template may take, which is the most that anything of a manifest may.
const PATIENCE: Duration = Duration::from_secs(100);

/// A key's line, as often sound as not.
type Line = fn(&mut Choices<'_>) -> String;

const SECTIONS: [(&str, &[(&str, Line)]); 8] = [
    ("tokenizer", &[("pattern", text), ("repo", text)]),
    (
        "prompt",
        &[
            ("template", template),
            ("system", text),
            ("plain", truth),
            ("variables", table),
        ],
    ),
    (
        "image",
        &[("max_pixels", number), ("over", over), ("max_images", number)],
    ),
    (
        "generation",
        &[
            ("max_tokens", number),
            ("temperature", real),
            ("top_k", number),
            ("top_p", real),
            ("min_p", real),
            ("repetition_penalty", real),
            ("presence_penalty", real),
            ("frequency_penalty", real),
            ("logit_bias", biases),
            ("seed", number),
            ("stop", texts),
            ("stop_tokens", texts),
        ],
    ),
    (
        "output",
        &[("strip", texts), ("reasoning", reasoning), ("trim", truth)],
    ),
    (
        "tools",
        &[
            ("shape", shape),
            ("open", texts),
            ("close", text),
            ("section", texts),
            ("bare", truth),
            ("array", truth),
            ("around_name", texts),
            ("argument", texts),
        ],
    ),
    ("weights", &[("rename", renames), ("ignore", texts)]),
    (
        "limits",
        &[
            ("memory_mib", number),
            ("call_timeout_ms", number),
            ("tensors", number),
            ("operations", number),
        ],
    ),
];

/// Opens the model of a manifest that is made of the bytes, and asks it.
pub fn check(bytes: &[u8]) -> Result<(), String> {
    let text = manifest(&mut Choices::new(bytes));
    let started = Instant::now();
    let request = thread_request();
    if let Ok(mut model) = project::try_open_manifest(&text) {
        let options = GenerateOptions {
            max_tokens: 2,
            ..GenerateOptions::default()
        };
        // Longer than it asked for is wrong; an error is right.
        if let Ok(report) = model.answer(&request, &options, &mut |_| Flow::Continue)
            && report.token_ids.len() > 2
        {
            return Err(format!("{} tokens: {text}", report.token_ids.len()));
        }
    }
    match started.elapsed() {
        long if long > PATIENCE => Err(format!("it took {long:?}: {text}")),
        _ => Ok(()),
    }
}

fn thread_request() -> Request {
    thread_local! {
        static REQUEST: Request = Oracle::open(&project::oracle("smolvlm")).request("image");
    }
    REQUEST.with(Clone::clone)
}

fn manifest(choices: &mut Choices<'_>) -> String {
    let plugin = match choices.byte() % 8 {
        0 => "{ name = \"qwen-vl\" }".to_owned(),
        1 => format!("{{ name = \"smolvlm\", options = {} }}", table(choices)),
        2 => format!("{{ name = \"smolvlm\", version = {} }}", text(choices)),
        _ => "\"smolvlm\"".to_owned(),
    };
    let folder = project::oracle("smolvlm");
    let mut made =
        format!("schema = 1\nname = \"made\"\nplugin = {plugin}\nsource = {{ path = {folder:?} }}\n");
    let mut left: Vec<_> = SECTIONS.into_iter().collect();
    while !choices.is_empty() && !left.is_empty() {
        let (name, lines) = left.swap_remove(choices.byte() % left.len());
        let _ = writeln!(made, "[{name}]");
        let mut lines = lines.to_vec();
        for _ in 0..choices.byte() % 5 {
            if lines.is_empty() {
                break;
            }
            let (key, value) = lines.swap_remove(choices.byte() % lines.len());
            let _ = writeln!(made, "{key} = {}", value(choices));
        }
    }
    made
}

fn text(choices: &mut Choices<'_>) -> String {
    const TEXTS: [&str; 16] = [
        "a",
        "",
        " ",
        "<image>",
        "<end_of_utterance>",
        "^(.*)$",
        "$1$1",
        "(",
        "(a|a)*$",
        ".",
        "\\n",
        "é🦀",
        "org/name",
        "../x",
        "0.1",
        "\\u0000",
    ];
    let text = choices.of(&TEXTS);
    format!("\"{}\"", text.replace('\\', "\\\\"))
}

fn texts(choices: &mut Choices<'_>) -> String {
    format!("[{}]", choices.list(5, text).join(", "))
}

fn truth(choices: &mut Choices<'_>) -> String {
    choices.is().to_string()
}

fn number(choices: &mut Choices<'_>) -> String {
    let odd = choices.of(&[
        "1",
        "8",
        "100",
        "0",
        "-1",
        "4294967295",
        "9223372036854775807",
        "5000",
    ]);
    odd.to_owned()
}

fn real(choices: &mut Choices<'_>) -> String {
    let odd = choices.of(&[
        "0.0", "1.0", "0.5", "2.0", "-2.0", "nan", "inf", "1e-300", "100.0", "0.01",
    ]);
    odd.to_owned()
}

fn table(choices: &mut Choices<'_>) -> String {
    let entries = choices.list(3, |choices| {
        let key = choices.of(&["a", "tiles", "messages", "image_size", "add"]);
        let value = match choices.byte() % 4 {
            0 => number(choices),
            1 => real(choices),
            2 => texts(choices),
            _ => text(choices),
        };
        format!("{key} = {value}")
    });
    format!("{{ {} }}", entries.join(", "))
}

fn biases(choices: &mut Choices<'_>) -> String {
    let pairs = choices.list(3, |choices| format!("[{}, {}]", number(choices), real(choices)));
    format!("[{}]", pairs.join(", "))
}

fn renames(choices: &mut Choices<'_>) -> String {
    let pairs = choices.list(24, |choices| format!("[{}, {}]", text(choices), text(choices)));
    format!("[{}]", pairs.join(", "))
}

fn reasoning(choices: &mut Choices<'_>) -> String {
    let [start, end] = [text(choices), text(choices)];
    format!(
        "{{ start = {start}, end = {end}, opened = {}, budget = {} }}",
        truth(choices),
        number(choices)
    )
}

fn over(choices: &mut Choices<'_>) -> String {
    choices.of(&["\"shrink\"", "\"refuse\"", "\"\""]).to_owned()
}

fn shape(choices: &mut Choices<'_>) -> String {
    let shapes = [
        "\"json\"",
        "\"name-json\"",
        "\"tagged\"",
        "\"python\"",
        "\"loose\"",
    ];
    choices.of(&shapes).to_owned()
}

fn template(choices: &mut Choices<'_>) -> String {
    const PARTS: [&str; 16] = [
        "{{ messages[0].content }}",
        "{% for m in messages %}{{ m.role }}{% for p in m.content %}{{ p.text }}<image>{% endfor %}{% endfor %}",
        "{% for i in range(99999) %}{% endfor %}",
        "{% set x = 'ab' * 9000000 %}{{ x|length }}",
        "{% set ns = namespace(l=[]) %}{% for i in range(9) %}{% set ns.l = ns.l + ns.l + [i] %}{% endfor %}",
        "<image>",
        "<end_of_utterance>",
        "{{ 1 / 0 }}",
        "{{ undefined.x }}",
        "{{ messages|tojson(indent=9) }}",
        "{{ loop.cycle() }}",
        "{% macro m(x) %}{{ m(x) }}{% endmacro %}{{ m(1) }}",
        "{{ raise_exception('no') }}",
        "{{ '%s' % messages }}",
        "{% if",
        "{{ 'a'.join(range(9)|list) }}",
    ];
    format!("'''{}'''", choices.list(5, |choices| choices.of(&PARTS)).concat())
}
