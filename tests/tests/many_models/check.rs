//! `monocle check`: the demo model, and three that fail, each in its own way; then again, and nothing is done twice.

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use monocle_tests::program::{self, Monocle};
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

    let results = || std::fs::read_to_string(out.join("results.jsonl")).expect("there are results");
    let written = results();
    let again = check(
        &out,
        &models.join(","),
        &["-p", "Give a title, a description and keywords.", "--resume"],
    );
    assert_eq!(again.status.code(), Some(1));
    assert_eq!(rows(&out), first, "nothing is done twice");
    assert_eq!(results(), written, "and no digit is another");
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

/// Ctrl-C in the middle leaves a report of what is done, and what is done is not done again.
#[test]
fn ctrl_c_leaves_a_report_that_is_gone_on_with() {
    let scratch = Scratch::new("check-stopped");
    let hangs = manifest(&scratch, "hangs", "plan: loop for ever");
    let (out, models) = (scratch.file("report"), format!("shapes,{hangs}"));
    let picture = project::root().join("models/shapes/pictures/shapes.png");
    let plugins =
        std::env::join_paths([project::plugins(), project::test_plugins()]).expect("paths can be joined");
    let mut child = Command::new(program::path())
        .args([
            "check",
            "--models",
            &models,
            "--max-tokens",
            "64",
            "--timeout",
            "100",
            "-p",
            "Describe this picture.",
        ])
        .args([Path::new("--image"), &picture, Path::new("--out"), &out])
        .env("MONOCLE_PLUGINS", plugins)
        .env("HF_HUB_OFFLINE", "1")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program can be started");
    let started = Instant::now();
    let lines = || std::fs::read_to_string(out.join("results.jsonl")).map_or(0, |text| text.lines().count());
    while lines() == 0 {
        assert!(started.elapsed() < Duration::from_secs(60), "no row");
        std::thread::sleep(Duration::from_millis(5));
    }
    let told = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status();
    assert!(told.is_ok_and(|status| status.success()));
    assert_eq!(program::ends(&mut child, Duration::from_secs(30)), 1);
    let first = rows(&out);
    assert_eq!((first.len(), &first[0]["model"]), (1, &Value::from("shapes")));
    for name in ["report.md", "report.html", "results.csv"] {
        let text = std::fs::read_to_string(out.join(name)).expect("the report is there");
        assert!(text.contains("shapes"), "{name}");
    }
    let again = check(
        &out,
        &models,
        &["-p", "Describe this picture.", "--resume", "--timeout", "0.3"],
    );
    assert_eq!(again.status.code(), Some(1));
    let both = rows(&out);
    assert_eq!((both.len(), &both[0]), (2, &first[0]));
    assert_eq!(both[1]["failure"]["place"], "timeout");
}

/// What is known of a photo goes into the prompt when it is asked for; blind, the same is asked without it.
#[test]
fn a_photos_own_words_are_told_and_left_out_to_compare() {
    let scratch = Scratch::new("check-context");
    let picture =
        std::fs::read(project::root().join("models/shapes/pictures/shapes.png")).expect("it is there");
    let photo = scratch.write("a.png", picture);
    scratch.write(
        "a.png.xmp",
        "<x:xmpmeta xmlns:x=\"adobe:ns:meta/\"><rdf:RDF xmlns:rdf=\"http://www.w3.org/1999/02/22-rdf-syntax-ns#\"><rdf:Description \
         xmlns:photoshop=\"http://ns.adobe.com/photoshop/1.0/\" photoshop:City=\"Hinckley\"/></rdf:RDF></x:xmpmeta>",
    );
    let out = scratch.file("report");
    // A pattern of names: the demo model is the only one whose name begins so.
    let run = Monocle::new([
        "check",
        "--models",
        "shap*",
        "-p",
        "Describe this picture.",
        "--max-tokens",
        "40",
    ])
    .args(["--metadata", "--blind", "--context", "Taken by Oma."])
    .args([Path::new("--image"), &photo, Path::new("--out"), &out])
    .run();
    assert_eq!(run.code, 0, "{run:?}");
    let found = rows(&out);
    let variants: Vec<&str> = found.iter().filter_map(|row| row["variant"].as_str()).collect();
    assert_eq!(variants, ["with context", "blind"], "{found:?}");
    let tokens = |row: usize| found[row]["figures"]["text_tokens"].as_u64().expect("a number");
    // (A token is a few letters at most, in this model's vocabulary.)
    assert!(tokens(0) >= tokens(1) + 8, "{found:?}");
    let page = std::fs::read_to_string(out.join("report.html")).expect("it is there");
    for words in ["Place: Hinckley", "Taken by Oma."] {
        assert!(page.contains(words), "{words}");
    }
    Monocle::new(["check", "--models", "nothing*"])
        .args([
            Path::new("--image"),
            &photo,
            Path::new("--out"),
            &scratch.file("none"),
        ])
        .fails(2, &["nothing*"]);
}
