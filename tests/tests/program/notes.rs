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

#[test]
fn a_misspelt_option_is_noted_or_refused() {
    let scratch = Scratch::new("options");
    let manifest = |plugin: &str, folder: &str, options: &str| {
        let folder = project::oracle(folder);
        let text = format!(
            "schema = 1\nname = \"tiny\"\nplugin = {{ name = {plugin:?}, options = {{ {options} }} }}\n[source]\npath = {folder:?}\n"
        );
        scratch.write("tiny.toml", text).display().to_string()
    };
    let noted = |manifest: String| {
        let notes = notes(&manifest).into_iter();
        notes.filter(|note| note.contains("option")).collect::<Vec<_>>()
    };
    // A plugin that says which it knows.
    assert_eq!(noted(manifest("nanollava", "nanollava", "pad = true")), [""; 0]);
    let misspelt = manifest("nanollava", "nanollava", "pad = true, pda = true");
    Monocle::new(["inspect", &misspelt, "-p", "x"])
        .fails(1, &["`plugin.options` has `pda`; known are `pad`"]);
    // One that does not.
    assert_eq!(
        noted(manifest("smolvlm", "smolvlm", "wqzxv = true")),
        [
            "the plugin `smolvlm` does not know the option `wqzxv`, which the manifest's `plugin.options` gives it"
        ]
    );
}

/// deepseek-vl2: `unexpected keyword argument`.
#[test]
fn keys_of_a_config_that_no_plugin_reads_are_listed() {
    let folder = Scratch::checkpoint("qwen2_vl");
    folder.edit("config.json", |text| {
        let mut file: Value = serde_json::from_str(&text).expect("it is JSON");
        file["wqzxv"] = json!(1);
        file["vision_config"]["vxzqw"] = json!({"zzwqx": 2});
        file.to_string()
    });
    let model = folder.path().display().to_string();
    let report = Monocle::new(["inspect", &model, "-p", "x", "--json"]).json();
    let unread = report["unread_config"].as_array().expect("a list");
    for key in ["wqzxv", "vxzqw", "zzwqx"] {
        assert!(unread.iter().any(|found| found == key), "{unread:?}");
    }
    for read in ["num_hidden_layers", "mrope_section", "depth", "num_heads"] {
        assert!(unread.iter().all(|found| found != read), "{unread:?}");
    }
    let text = Monocle::new(["inspect", &model, "-p", "x"]).succeeds().stdout;
    assert!(
        text.contains("not read by the plugin: ") && text.contains("vxzqw"),
        "{text}"
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

/// The table of embeddings has 512 rows, the tokenizer 490 tokens: where all of those are forbidden, only ids without a text are left.
#[test]
fn chosen_tokens_that_the_tokenizer_lacks_are_noted() {
    let folder = Scratch::checkpoint("qwen2_vl");
    folder.edit("generation_config.json", |text| {
        let mut file: Value = serde_json::from_str(&text).expect("it is JSON");
        file["suppress_tokens"] = json!((0..490).collect::<Vec<_>>());
        file.to_string()
    });
    let model = folder.path().display().to_string();
    let report = Monocle::new(["run", &model, "-p", "x", "--max-tokens", "3", "--json"]).json();
    let ids = report["token_ids"].as_array().expect("a list");
    let least = ids.iter().map(|id| id.as_u64().expect("an id")).min();
    assert!(ids.len() == 3 && least >= Some(490), "{ids:?}");
    assert_eq!(report["output"]["text"], "");
    let expected = format!(
        "the model chose tokens that the tokenizer lacks, 3 in all, first id {}; they add no text",
        ids[0]
    );
    let notes = report["notes"].as_array().expect("a list");
    assert!(notes.contains(&Value::from(expected)), "{notes:?}");
}
