//! `monocle check`: the demo model, and three that fail, each in its own way; then again, and nothing is done twice.

use std::path::Path;
use std::process::{Command, Output};

use monocle_tests::program::Monocle;
use monocle_tests::project;
use monocle_tests::scratch::Scratch;
use serde_json::Value;

use super::other::Other;

fn check(out: &Path, models: &str, more: &[&str]) -> Output {
    let program = project::target().join("release/monocle");
    assert!(
        program.exists(),
        "{} is missing: run `cargo xtask build` first",
        program.display()
    );
    let plugins =
        std::env::join_paths([project::plugins(), project::test_plugins()]).expect("paths can be joined");
    Command::new(program)
        .arg("check")
        .arg("--image")
        .arg(project::root().join("models/shapes/pictures/shapes.png"))
        .args(["--models", models, "--max-tokens", "64", "--out"])
        .arg(out)
        .args(more)
        .env("MONOCLE_PLUGINS", plugins)
        .env("HF_HUB_OFFLINE", "1")
        .output()
        .expect("the program can be started")
}

/// The rows of a report.
pub fn rows(out: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(out.join("results.jsonl")).expect("there are results");
    text.lines()
        .map(|line| serde_json::from_str(line).expect("a row is JSON"))
        .collect()
}

fn manifest(scratch: &Scratch, name: &str, misbehave: &str) -> String {
    let source = project::oracle("smolvlm");
    let text = format!(
        "schema = 1\nname = \"{name}\"\nsource = {{ path = {source:?} }}\n\
         plugin = {{ name = \"hostile\", options = {{ misbehave = \"{misbehave}\" }} }}\n"
    );
    scratch.write(&format!("{name}.toml"), text).display().to_string()
}

#[test]
fn each_fault_costs_its_row_and_no_other() {
    let scratch = Scratch::new("check");
    let corrupt = Scratch::checkpoint("smolvlm");
    let whole = std::fs::read(corrupt.file("model.safetensors")).expect("the weights can be read");
    corrupt.write("model.safetensors", &whole[..whole.len() / 2]);
    let models = [
        "shapes".to_owned(),
        manifest(&scratch, "hangs", "plan: loop for ever"),
        manifest(&scratch, "greedy", "plan: allocate for ever"),
        corrupt.path().display().to_string(),
    ];
    let out = scratch.file("report");
    let ended = check(
        &out,
        &models.join(","),
        &["-p", "Give a title, a description and keywords."],
    );
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert_eq!(ended.status.code(), Some(1), "{said}");
    assert!(said.contains("3 of 4 rows failed"), "{said}");
    let first = rows(&out);
    assert_eq!(first.len(), 4, "{said}");
    let answer = first[0]["answer"]["text"].as_str().unwrap_or_default();
    assert!(answer.contains("Title:"), "{first:?}");
    let figures = &first[0]["figures"];
    for name in [
        "text_tokens",
        "picture_tokens",
        "load_s",
        "encode_s",
        "decode_tokens_per_s",
        "process_peak_bytes",
    ] {
        assert!(
            figures[name].as_f64().is_some_and(|value| value > 0.0),
            "{name}: {figures}"
        );
    }
    // As the model's card says: 16 tokens a picture.
    assert_eq!(figures["picture_tokens"], 16);
    let place = |row: usize| first[row]["failure"]["place"].as_str().unwrap_or_default();
    assert!(["plugin", "timeout"].contains(&place(1)), "{:?}", first[1]);
    assert_eq!(place(2), "plugin", "{:?}", first[2]);
    assert_eq!(place(3), "weights", "{:?}", first[3]);
    for name in ["report.md", "report.html", "results.csv"] {
        let text = std::fs::read_to_string(out.join(name)).expect("the report is there");
        assert!(text.contains("shapes"), "{name}");
    }

    let again = check(
        &out,
        &models.join(","),
        &["-p", "Give a title, a description and keywords.", "--resume"],
    );
    assert_eq!(again.status.code(), Some(1));
    assert_eq!(rows(&out), first, "nothing is done twice");
    let refused = check(&out, "shapes", &[]);
    assert_eq!(
        refused.status.code(),
        Some(2),
        "a report that is there is not overwritten"
    );
}

#[test]
fn a_model_that_takes_too_long_is_stopped() {
    let scratch = Scratch::new("check-late");
    let slow = manifest(&scratch, "hangs", "plan: loop for ever");
    let out = scratch.file("report");
    let ended = check(&out, &slow, &["--timeout", "0.2"]);
    assert_eq!(ended.status.code(), Some(1));
    assert_eq!(rows(&out)[0]["failure"]["place"], "timeout");
}

#[test]
fn all_tiny_checkpoints_three_faults_and_a_server_stand_in_one_report() {
    let scratch = Scratch::new("check-all");
    let corrupt = Scratch::checkpoint("smolvlm");
    let whole = std::fs::read(corrupt.file("model.safetensors")).expect("the weights can be read");
    corrupt.write("model.safetensors", &whole[..whole.len() / 2]);
    let other = Other::new(&scratch, "other", "");
    let mut models: Vec<String> = project::checkpoints()
        .iter()
        .map(|name| project::oracle(name).display().to_string())
        .collect();
    let tiny = models.len();
    assert!(tiny >= 20, "{models:?}");
    models.extend([
        "shapes".to_owned(),
        other.manifest.clone(),
        manifest(&scratch, "hangs", "plan: loop for ever"),
        manifest(&scratch, "greedy", "plan: allocate for ever"),
        corrupt.path().display().to_string(),
    ]);
    let out = scratch.file("report");
    let arguments = [
        "-p",
        "Give a title, a description and keywords.",
        "--max-tokens",
        "8",
    ];
    let check = |more: &[&str]| {
        let picture = project::root().join("models/shapes/pictures/shapes.png");
        let plugins =
            std::env::join_paths([project::plugins(), project::test_plugins()]).expect("they can be joined");
        Monocle::new(["check", "--models", &models.join(",")])
            .args(arguments)
            .args([Path::new("--image"), &picture, Path::new("--out"), &out])
            .args(more)
            .env("MONOCLE_PLUGINS", plugins)
            .run()
    };
    let run = check(&[]);
    let words = format!("{} answered, 3 failed", tiny + 2);
    assert!(run.stderr.contains(&words), "{run:?}");
    assert!(
        run.stderr.contains(&format!("3 of {} rows failed", tiny + 5)),
        "{run:?}"
    );
    assert_eq!(run.code, 1);
    let found = rows(&out);
    for (row, model) in found.iter().zip(&models) {
        assert_eq!(row["model"], model.as_str());
        let place = row["failure"]["place"].as_str();
        match model.rsplit('/').next().unwrap_or_default() {
            "hangs.toml" => assert!(matches!(place, Some("plugin" | "timeout")), "{row}"),
            "greedy.toml" => assert_eq!(place, Some("plugin"), "{row}"),
            _ if corrupt.path().ends_with(model) => assert_eq!(place, Some("weights"), "{row}"),
            _ => {
                assert_eq!(place, None, "{row}");
                let tokens = row["figures"]["answer_tokens"].as_u64();
                // (The server's answer does not heed the limit.)
                let is_other = *model == other.manifest;
                assert!(
                    tokens.is_some_and(|tokens| (1..=8).contains(&tokens) || is_other),
                    "{row}"
                );
                let figures = &row["figures"];
                let sum = figures["text_tokens"]
                    .as_u64()
                    .zip(figures["picture_tokens"].as_u64());
                let sum = sum.map(|(text, picture)| text + picture);
                assert!(
                    is_other || sum.is_some_and(|sum| figures["prompt_tokens"] == sum),
                    "{row}"
                );
            }
        }
    }
    let page = std::fs::read_to_string(out.join("report.html")).expect("it is there");
    for model in ["shapes", "other.toml", "hangs.toml"] {
        assert!(page.contains(model), "{model}");
    }
    let started = (other.started(), other.asked().len());
    let again = check(&["--resume"]);
    assert_eq!(again.code, 1);
    assert_eq!(rows(&out), found, "nothing is done twice");
    assert_eq!((other.started(), other.asked().len()), started);
}

#[test]
fn on_a_terminal_a_table_grows() {
    let scratch = Scratch::new("check-table");
    let hangs = manifest(&scratch, "hangs", "plan: loop for ever");
    let out = scratch.file("report");
    let picture = project::root().join("models/shapes/pictures/shapes.png");
    let models = format!("shapes,{hangs}");
    let check = Monocle::new([
        "check",
        "--models",
        &models,
        "--timeout",
        "20",
        "--max-tokens",
        "64",
    ])
    .args([Path::new("--image"), &picture, Path::new("--out"), &out]);
    let Some(mut terminal) = check.on_terminal() else {
        println!("`script` is not installed: nothing is looked at");
        return;
    };
    terminal.waits_for("tokens/s peak MB findings");
    terminal.waits_for("shapes");
    terminal.waits_for("of 2 rows");
    terminal.waits_for("failed (");
    assert_eq!(terminal.ends(), 1);
}
