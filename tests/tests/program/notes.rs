//! Nothing silent: what a manifest or a model's file asks for in vain is noted.

use monocle_tests::program::Monocle;
use monocle_tests::project;
use monocle_tests::scratch::Scratch;
use serde_json::{Value, json};

fn notes(model: &str) -> Vec<String> {
    let report = Monocle::new(["inspect", model, "-p", "x", "--json"]).json();
    let notes = report["notes"].as_array().expect("a list").iter();
    notes
        .map(|note| note.as_str().expect("a text").to_owned())
        .collect()
}

/// The plugin of the manifest knows one option, `pad`.
#[test]
fn a_misspelt_option_is_noted() {
    let scratch = Scratch::new("options");
    let folder = project::oracle("nanollava").display().to_string();
    let with = |options: &str| {
        let text = format!(
            "schema = 1\nname = \"tiny\"\nplugin = {{ name = \"nanollava\", options = {{ {options} }} }}\n[source]\npath = {folder:?}\n"
        );
        let notes = notes(&scratch.write("tiny.toml", text).display().to_string());
        notes
            .into_iter()
            .filter(|note| note.contains("option"))
            .collect::<Vec<_>>()
    };
    assert_eq!(with("pad = true"), [""; 0]);
    assert_eq!(
        with("pad = true, pda = true"),
        [
            "the plugin `nanollava` does not know the option `pda`, which the manifest's `plugin.options` gives it"
        ]
    );
}

#[test]
fn forbidden_tokens_that_there_are_not_are_noted() {
    let folder = Scratch::checkpoint("qwen2_vl");
    folder.edit("generation_config.json", |text| {
        let mut file: Value = serde_json::from_str(&text).expect("it is JSON");
        file["suppress_tokens"] = json!([1, 123_456]);
        file["bad_words_ids"] = json!([[2, 3]]);
        file.to_string()
    });
    let found = notes(&folder.path().display().to_string());
    let about: Vec<_> = found.iter().filter(|note| note.contains("lacks")).collect();
    assert_eq!(
        about,
        ["generation_config.json: `suppress_tokens` names tokens that the tokenizer lacks: 123456"]
    );
}
