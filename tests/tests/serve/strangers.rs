//! A model whose tokenizer or template takes all the time that it may: others are answered meanwhile, and as ever afterwards.

use std::time::{Duration, Instant};

use monocle_tests::project;
use monocle_tests::scratch::Scratch;
use monocle_tests::server::{Server, read};
use serde_json::{Value, json};

use super::{about, alone};

/// Both are given up after ten seconds, and take nearly all of them: ten times as long is a fault.
const PATIENCE: Duration = Duration::from_secs(100);

#[test]
fn others_are_answered_while_a_tokenizer_or_a_template_takes_its_time() {
    let scratch = Scratch::new("serve-strangers");
    let slow = Scratch::checkpoint("smolvlm");
    let mut tokenizer: Value =
        serde_json::from_slice(&std::fs::read(slow.file("tokenizer.json")).expect("it is there"))
            .expect("it is JSON");
    tokenizer["pre_tokenizer"] =
        json!({"type": "Split", "pattern": {"Regex": "(x+x+)+y"}, "behavior": "Isolated", "invert": false});
    slow.write("tokenizer.json", tokenizer.to_string());
    let manifest = |name: &str, folder: &std::path::Path, more: &str| {
        let text = format!(
            "schema = 1\nname = {name:?}\nplugin = {{ name = \"smolvlm\", version = \"0.1\" }}\nsource = {{ path = {folder:?} }}\n{more}\n"
        );
        let file = scratch.write(&format!("{name}.toml"), text);
        file.display().to_string()
    };
    let compares = "{% set a = 'a' * 6000000 %}{% set b = 'a' * 6000000 %}\
                    {% for i in range(99999) %}{% if a == b %}{% endif %}{% endfor %}";
    let template = format!("[prompt]\ntemplate = {compares:?}");
    let models = [
        manifest("slow-tokenizer", slow.path(), ""),
        manifest("slow-template", &project::oracle("smolvlm"), &template),
    ];
    let server = Server::start(&[&models[0], &models[1], "--preload", "shapes"]);
    let expected = alone("wide");
    // One text for the tokenizer takes a tenth of a second, until it is refused.
    for (model, text, times) in [
        ("slow-tokenizer", "xxxxxxxxxxxxxxxxxxxx ".repeat(5000), 20),
        ("slow-template", "hi".to_owned(), 1),
    ] {
        let body = json!({"model": model, "messages": [{"role": "user", "content": text}]}).to_string();
        let ask = || read(server.send("POST", "/v1/chat/completions", &[], &body));
        std::thread::scope(|scope| {
            let hostile = scope.spawn(|| (0..times).map(|_| ask()).collect::<Vec<_>>());
            let (started, mut meanwhile) = (Instant::now(), 0);
            while !hostile.is_finished() {
                let answer = server.post("/v1/chat/completions", &about("wide"));
                assert_eq!(answer.status, 200, "beside {model}: {answer:?}");
                let content = &answer.json()["choices"][0]["message"]["content"];
                assert_eq!(content, &expected, "beside {model}");
                meanwhile += usize::from(!hostile.is_finished());
                assert!(started.elapsed() < PATIENCE, "{model} does not end");
            }
            for refused in hostile.join().expect("it reads") {
                assert!(
                    refused.status >= 400 && refused.body.len() < 4096,
                    "{model}: {refused:?}"
                );
            }
            assert!(meanwhile > 0, "nobody was answered beside {model}");
            println!("{meanwhile} were answered beside {model}");
        });
    }
    let answer = server.post("/v1/chat/completions", &about("wide")).json();
    assert_eq!(answer["choices"][0]["message"]["content"], expected);
}
