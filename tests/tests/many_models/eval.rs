//! `monocle eval`: the demo model on its reference's questions gives the reference's figures; stopped, it goes on; a fault costs what it must.

use std::fs;
use std::path::{Path, PathBuf};

use monocle_tests::program::Monocle;
use monocle_tests::project;
use monocle_tests::scratch::Scratch;
use serde_json::{Value, json};

fn list(value: &Value) -> &[Value] {
    value.as_array().expect("a list").as_slice()
}

fn words(message: &Value) -> String {
    let texts = list(&message["content"])
        .iter()
        .filter_map(|part| part["text"].as_str());
    texts.collect::<Vec<_>>().join("")
}

/// The reference's questions as a data set: 329, of which transformers answers 318 right (`answers.json` says so, and how).
fn reference(scratch: &Scratch) -> (PathBuf, Value) {
    let folder = project::oracle("shapes");
    let text = fs::read_to_string(folder.join("answers.json")).expect("the reference's answers are there");
    let reference: Value = serde_json::from_str(&text).expect("they are JSON");
    let mut lines = String::new();
    for case in list(&reference["cases"]) {
        let picture = folder.join(case["picture"].as_str().expect("a name"));
        for answer in list(&case["answers"]) {
            let messages = list(&answer["messages"]);
            let (question, before) = messages.split_last().expect("a question");
            let before: Vec<_> = before
                .chunks(2)
                .map(|turn| [words(&turn[0]), words(&turn[1])])
                .collect();
            let line = json!({"image": picture, "question": words(question), "answer": answer["truth"], "before": before});
            lines += &format!("{line}\n");
        }
    }
    (scratch.write("questions.jsonl", lines), reference)
}

fn eval(dataset: &Path, out: &Path, more: &[&str]) -> Monocle {
    let (dataset, out) = (dataset.display().to_string(), out.display().to_string());
    Monocle::new([
        "eval",
        &dataset,
        "--out",
        &out,
        "--instruction",
        "",
        "--max-tokens",
        "128",
    ])
    .args(more)
}

fn answers(out: &Path) -> Vec<Value> {
    let text = fs::read_to_string(out.join("results.jsonl")).expect("there are results");
    text.lines()
        .map(|line| serde_json::from_str(line).expect("a line is JSON"))
        .collect()
}

#[test]
fn the_demo_model_scores_what_its_reference_scores() {
    let scratch = Scratch::new("eval");
    let (dataset, reference) = reference(&scratch);
    let out = scratch.file("out");
    eval(&dataset, &out, &["--models", "shapes"]).succeeds();
    let found = answers(&out);
    assert_eq!(
        found.len() as u64,
        reference["answers"].as_u64().expect("a number")
    );
    let right = found.iter().filter(|answer| answer["accuracy"] == 1.0).count() as u64;
    // One expected answer each: right or wrong. Several at once add in another order, and the closest call of the reference is 0.015 wide.
    let expected = reference["right"].as_u64().expect("a number");
    assert_eq!(right, expected, "of {}", found.len());
    // The second turns are those whose picture came with the first.
    let second: Vec<&Value> = found
        .iter()
        .filter(|answer| answer["is_second_turn"] == true)
        .collect();
    let follow_ups = list(&reference["cases"])
        .iter()
        .flat_map(|case| list(&case["answers"]));
    assert_eq!(
        second.len(),
        follow_ups
            .filter(|answer| answer["messages"].as_array().is_some_and(|all| all.len() > 1))
            .count()
    );
    // Each picture is encoded once: all questions about it but one share its features.
    let shared = found.iter().filter(|answer| answer["is_shared"] == true).count();
    assert_eq!(shared, found.len() - list(&reference["cases"]).len());
    for name in ["report.md", "report.html", "results.csv"] {
        let text = fs::read_to_string(out.join(name)).expect("the report is there");
        assert!(text.contains("shapes"), "{name}");
    }
    let report = fs::read_to_string(out.join("report.md")).expect("the report is there");
    assert!(
        report.contains(&format!("| shapes | {} |", found.len())),
        "{report}"
    );

    // Half of it is lost; the rest is not asked again.
    let text = fs::read_to_string(out.join("results.jsonl")).expect("there are results");
    let half: String = text.split_inclusive('\n').take(160).collect();
    fs::write(out.join("results.jsonl"), half.clone() + "{\"key\": \"cut o").expect("there is room");
    let old = scratch.write("old.jsonl", &text);
    let again = eval(
        &dataset,
        &out,
        &[
            "--models",
            "shapes",
            "--resume",
            "--compare",
            &old.display().to_string(),
        ],
    )
    .succeeds();
    assert_eq!(again.stdout, "nothing changed\n");
    let now = answers(&out);
    let seconds = |answers: &[Value], count: usize| {
        answers[..count]
            .iter()
            .map(|answer| answer["seconds"].to_string())
            .collect::<Vec<_>>()
    };
    assert_eq!(now.len(), found.len());
    assert_eq!(
        seconds(&now, 160),
        seconds(&found, 160),
        "these were not asked again"
    );
    eval(&dataset, &out, &["--models", "shapes"]).fails(2, &["--resume"]);
}

#[test]
fn second_turns_are_made_of_the_questions_themselves() {
    let scratch = Scratch::new("eval-turns");
    let picture = project::root().join("models/shapes/pictures/shapes.png");
    let truth =
        fs::read_to_string(project::root().join("models/shapes/pictures/truth.json")).expect("it is there");
    let truth: Value = serde_json::from_str(&truth).expect("JSON");
    let count = list(&truth["pictures"]["shapes.png"]["objects"])
        .len()
        .to_string();
    let lines = [
        json!({"image": picture, "question": "How many shapes are there?", "answer": count}),
        json!({"image": picture, "question": "Is there any text?", "answer": "no"}),
        json!({"image": scratch.file("missing.png"), "question": "Is there any text?", "answer": "no"}),
    ];
    let dataset = scratch.write("q.jsonl", lines.map(|line| line.to_string()).join("\n"));
    let out = scratch.file("out");
    let run = eval(
        &dataset,
        &out,
        &["--models", "shapes,/no/such/model.toml", "--second-turn"],
    )
    .run();
    assert_eq!(run.code, 1, "{run:?}");
    assert!(
        run.stderr.contains("1 of 2 models failed, and 1 of 10 questions")
            && run.stderr.contains("/no/such/model.toml: failed (manifest)"),
        "{run:?}"
    );
    let found = answers(&out);
    assert_eq!(found.len(), 5);
    let second: Vec<&Value> = found
        .iter()
        .filter(|answer| answer["is_second_turn"] == true)
        .collect();
    assert_eq!(second.len(), 2);
    // They stand in the order in which they came.
    let by_id = |id: &str| {
        let of_id = |answer: &&Value| answer["id"] == id && answer["is_second_turn"] != true;
        found.iter().find(of_id).expect("each is there")
    };
    let missing = by_id("3");
    assert_eq!(
        (&missing["failure"]["place"], &missing["accuracy"]),
        (&json!("picture"), &json!(0.0)),
        "{missing}"
    );
    assert_eq!(
        (&by_id("1")["answer"], &by_id("2")["answer"]),
        (&json!(count), &json!("no")),
        "{found:?}"
    );
}

#[test]
fn misuse_is_said_before_anything_is_asked() {
    let scratch = Scratch::new("eval-misuse");
    let out = scratch.file("out");
    eval(&scratch.file("none.jsonl"), &out, &[]).fails(1, &["none.jsonl"]);
    let text = scratch.write("a.txt", "");
    eval(&text, &out, &[]).fails(1, &["is no data set", "questions.jsonl"]);
    let empty = scratch.write("empty.jsonl", "\n");
    eval(&empty, &out, &[]).fails(1, &["no questions"]);
    assert!(!out.exists());
}
