//! How tokens are chosen: what the model's `generation_config.json` says is what the same flags give, and the report says whose word it was.

use monocle_tests::program::Monocle;
use monocle_tests::project;
use monocle_tests::scratch::Scratch;
use serde_json::{Value, json};

const MODEL: &str = "qwen2_vl";

/// A checkpoint whose `generation_config.json` says this besides its end tokens.
fn checkpoint(says: &Value) -> Scratch {
    let folder = Scratch::checkpoint(MODEL);
    folder.edit("generation_config.json", |text| {
        let mut file: Value = serde_json::from_str(&text).expect("it is JSON");
        let table = file.as_object_mut().expect("it is a table");
        table.extend(says.as_object().expect("it is a table").clone());
        file.to_string()
    });
    folder
}

fn ask(folder: &Scratch, flags: &[&str]) -> Value {
    let picture = project::oracle(MODEL).join("image.png").display().to_string();
    let model = folder.path().display().to_string();
    let arguments = [
        "run",
        &model,
        &picture,
        "-p",
        "Describe the image in one short sentence.",
    ];
    Monocle::new(arguments)
        .args(["--max-tokens", "16", "--json"])
        .args(flags)
        .json()
}

#[test]
fn a_model_answers_as_its_own_file_asks() {
    let plain = checkpoint(&json!({}));
    let greedy = ask(&plain, &[]);
    for (says, flags) in [
        (
            json!({ "do_sample": false, "repetition_penalty": 1.3 }),
            &["--repetition-penalty", "1.3"][..],
        ),
        (
            json!({ "do_sample": true, "temperature": 1.0, "top_k": 64, "top_p": 0.95 }),
            &["--temperature", "1", "--top-k", "64", "--top-p", "0.95"],
        ),
        (
            json!({ "do_sample": true, "temperature": 2.0, "min_p": 0.02 }),
            &["--temperature", "2", "--top-k", "50", "--min-p", "0.02"],
        ),
    ] {
        let folder = checkpoint(&says);
        let own = ask(&folder, &[]);
        assert_eq!(own["token_ids"], ask(&plain, flags)["token_ids"], "{says}");
        assert_ne!(own["token_ids"], greedy["token_ids"], "{says}");
        // Flags go before it.
        let asked = ask(&folder, &["--temperature", "0", "--repetition-penalty", "1"]);
        assert_eq!(asked["token_ids"], greedy["token_ids"], "{says}");
    }
    // A file that does not sample may name what it would sample with.
    let idle = checkpoint(&json!({ "top_k": 50, "temperature": 0.1, "top_p": 0.001 }));
    assert_eq!(ask(&idle, &[])["token_ids"], greedy["token_ids"]);
}

/// The greedy answer has token 455 ten times, and nowhere where it must not come.
#[test]
fn what_the_file_forbids_does_not_come() {
    let ids = |says: Value| {
        let ids = ask(&checkpoint(&says), &[])["token_ids"].clone();
        serde_json::from_value::<Vec<u32>>(ids).expect("they are ids")
    };
    let greedy = ids(json!({}));
    assert!(greedy.contains(&455) && greedy.windows(2).any(|pair| pair == [455, 455]));
    assert!(!ids(json!({ "suppress_tokens": [455] })).contains(&455));
    assert!(!ids(json!({ "bad_words_ids": [[455]] })).contains(&455));
    let pairs = ids(json!({ "bad_words_ids": [[455, 455]] }));
    assert!(pairs.contains(&455) && !pairs.windows(2).any(|pair| pair == [455, 455]));
    let twice = ids(json!({ "no_repeat_ngram_size": 2 }));
    let runs: Vec<_> = twice.windows(2).collect();
    let repeated = runs.iter().enumerate().any(|(at, run)| runs[..at].contains(run));
    assert!(!repeated, "{twice:?}");
}

#[test]
fn the_report_says_whose_word_it_was() {
    let folder =
        checkpoint(&json!({ "do_sample": true, "top_p": 0.75, "num_beams": 3, "forced_bos_token_id": 7 }));
    let report = ask(&folder, &["--min-p", "0.25"]);
    let generation = &report["generation"];
    let setting = |value: Value, from: &str| json!({ "value": value, "from": from });
    assert_eq!(
        generation["temperature"],
        setting(1.0.into(), "generation_config.json")
    );
    assert_eq!(
        generation["top_p"],
        setting(0.75.into(), "generation_config.json")
    );
    assert_eq!(generation["min_p"], setting(0.25.into(), "request"));
    assert_eq!(generation["max_tokens"], setting(16.into(), "request"));
    assert_eq!(generation["repetition_penalty"], setting(1.0.into(), "default"));
    let notes = report["notes"].as_array().expect("it has notes");
    for told in ["`num_beams`: 3", "`forced_bos_token_id`: 7"] {
        let told = format!("generation_config.json: not obeyed: {told}");
        assert!(notes.iter().any(|note| *note == told), "{notes:?}");
    }

    let manifest = format!(
        "schema = 1\nname = \"tiny\"\nplugin = \"qwen-vl\"\n[source]\npath = {:?}\n[generation]\ntemperature = 0\n",
        folder.path().display().to_string()
    );
    let scratch = Scratch::new("generation");
    let manifest = scratch.write("tiny.toml", manifest).display().to_string();
    let run = Monocle::new(["run", &manifest, "-p", "x", "--max-tokens", "2", "--stats"]).succeeds();
    let words = "temperature 0 (the manifest), top_k 50 (generation_config.json), top_p 0.75 (generation_config.json), min_p 0 (default)";
    assert!(run.stderr.contains(words), "{}", run.stderr);
}
