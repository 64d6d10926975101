//! Models behind another program's server: started, asked as the others are, measured from outside, stopped; and each way in which they fail.

use std::path::Path;

use monocle_tests::program::Monocle;
use monocle_tests::project;
use monocle_tests::scratch::Scratch;
use serde_json::{Value, json};

use super::check::rows;
use super::other::Other;

const PROMPT: &str = "Give a title, a description and keywords.";

/// `monocle check` of the picture that comes with the demo model.
fn check(out: &Path, models: &str) -> Monocle {
    let picture = project::root().join("models/shapes/pictures/shapes.png");
    Monocle::new(["check", "--models", models, "--max-tokens", "64", "-p", PROMPT]).args([
        Path::new("--image"),
        &picture,
        Path::new("--out"),
        out,
    ])
}

#[test]
fn a_server_is_started_asked_measured_and_stopped() {
    let scratch = Scratch::new("check-server");
    let other = Other::new(&scratch, "other", "");
    let out = scratch.file("report");
    let models = format!("{},shapes", other.manifest);
    let run = check(&out, &models)
        .args(["--context", "Paper, 1999", "--blind"])
        .succeeds();
    assert!(run.stderr.contains("4 answered, 0 failed"), "{run:?}");
    assert!(!other.is_there(), "it was stopped");
    assert_eq!(other.started(), 1, "once for both of its rows");
    let asked = other.asked();
    assert_eq!(asked.len(), 2);
    let picture =
        std::fs::read(project::root().join("models/shapes/pictures/shapes.png")).expect("it is there");
    let url = format!(
        "data:image/png;base64,{}",
        monocle_tests::server::base64(&picture)
    );
    for (asked, prompt) in asked.iter().zip([
        format!("{PROMPT}\n\nWhat is known of the picture:\nPaper, 1999"),
        PROMPT.to_owned(),
    ]) {
        let content = &asked["messages"][0]["content"];
        assert_eq!(content[0]["image_url"]["url"], url.as_str());
        assert_eq!(content[1]["text"], prompt.as_str());
        // The first model that it lists, and what its manifest adds.
        assert_eq!(
            (&asked["model"], &asked["max_tokens"], &asked["temperature"]),
            (&json!("the-first"), &json!(64), &json!(0))
        );
    }
    let found = rows(&out);
    assert_eq!(found.len(), 4);
    for row in &found[..2] {
        let figures = &row["figures"];
        let number = |name: &str| {
            figures[name]
                .as_f64()
                .unwrap_or_else(|| panic!("{name}: {figures}"))
        };
        assert!(
            row["answer"]["text"]
                .as_str()
                .is_some_and(|text| text.starts_with("Title: Two red")),
            "{row}"
        );
        // It counts its words: 4 for the title, 21 for the description, 11 for the keywords, less what line breaks join.
        assert_eq!(number("prompt_tokens"), 321.0);
        let tokens = number("answer_tokens");
        // The first word comes after 150 ms, and each other one 20 ms after the one before it.
        let least = 0.02 * (tokens - 1.0);
        assert!((0.15..1.15).contains(&number("first_token_s")), "{figures}");
        assert!((least..least + 1.0).contains(&number("decode_s")), "{figures}");
        let speed = number("decode_tokens_per_s");
        assert!(
            (speed - (tokens - 1.0) / number("decode_s")).abs() < 1e-6,
            "{figures}"
        );
        assert!(number("total_s") >= number("first_token_s") + number("decode_s"));
        assert!(number("load_s") > 0.0);
        // What cannot be seen from outside is absent.
        for absent in [
            "text_tokens",
            "picture_tokens",
            "encode_s",
            "prefill_tokens_per_s",
            "decode_peak_bytes",
        ] {
            assert_eq!(figures[absent], Value::Null, "{absent}");
        }
        if cfg!(target_os = "linux") {
            assert!(number("process_peak_bytes") > 100_000.0, "{figures}");
        }
        // This prompt names no parts.
        assert_eq!(row["grade"], Value::Null);
        let repeat = row["repeat"].as_str().expect("a command");
        assert!(repeat.starts_with("monocle check --models"), "{repeat}");
    }
    // Nothing is done twice.
    check(&out, &models)
        .args(["--context", "Paper, 1999", "--blind", "--resume"])
        .succeeds();
    assert_eq!((other.started(), other.asked().len()), (1, 2));
    assert_eq!(rows(&out), found);
}

/// Monocle's own question asks for parts and for 10 to 50 keywords: what is lacking is found, and the answer has a grade.
#[test]
fn an_entry_for_a_catalogue_has_a_grade() {
    let scratch = Scratch::new("check-grade");
    let other = Other::new(&scratch, "other", "");
    let out = scratch.file("report");
    let picture = project::root().join("models/shapes/pictures/shapes.png");
    Monocle::new(["check", "--models", &format!("{},shapes", other.manifest)])
        .args([Path::new("--image"), &picture, Path::new("--out"), &out])
        .succeeds();
    let found = rows(&out);
    // The server's answer has a title of three words, ten keywords, and a description of ten words of meaning: 25 * 10 / 12 = 20 points of 25.
    assert_eq!(
        (&found[0]["grade"]["letter"], &found[0]["grade"]["points"]),
        (&json!("A"), &json!(95)),
        "{}",
        found[0]
    );
    assert_eq!(found[0]["findings"], Value::Null, "{}", found[0]);
    // The demo model was not taught this question.
    assert!(found[1]["grade"]["points"].as_u64() < Some(100), "{}", found[1]);
    let report = std::fs::read_to_string(out.join("report.md")).expect("it is there");
    assert!(report.contains("A 95"), "{report}");
}

#[test]
fn each_way_in_which_a_server_fails_costs_its_row_and_says_where_the_fault_lies() {
    let scratch = Scratch::new("check-server-faults");
    let faults = [
        ("dies", "server", "no such device: the moon"),
        (
            "hangs",
            "timeout",
            "stopped after 6 s, while it was busy with: answering",
        ),
        ("breaks", "server", "the device is gone"),
        ("refuses", "server", "status 503: come back later"),
        ("cut", "server", "it hung up"),
    ];
    let others = faults.map(|(fault, _, _)| Other::new(&scratch, fault, fault));
    let mut models: Vec<&str> = others.iter().map(|other| other.manifest.as_str()).collect();
    let nobody = "schema = 1\nname = \"nobody\"\n[server]\nurl = \"http://127.0.0.1:1/v1\"\n";
    let nobody = scratch.write("nobody.toml", nobody).display().to_string();
    let wrong = "schema = 1\nname = \"wrong\"\n[server]\nurl = \"127.0.0.1:80\"\n";
    let wrong = scratch.write("wrong.toml", wrong).display().to_string();
    models.extend([nobody.as_str(), wrong.as_str(), "shapes"]);
    let out = scratch.file("report");
    let run = check(&out, &models.join(",")).args(["--timeout", "6"]).run();
    assert!(
        run.code == 1 && run.stderr.contains("7 of 8 rows failed"),
        "{run:?}"
    );
    let found = rows(&out);
    assert_eq!(found.len(), 8);
    let expected = faults.iter().map(|(_, place, reason)| (*place, *reason)).chain([
        ("server", "127.0.0.1:1"),
        ("manifest", "`server.url` is `127.0.0.1:80`"),
    ]);
    for (row, (place, reason)) in found.iter().zip(expected) {
        let failure = &row["failure"];
        assert_eq!(failure["place"], place, "{row}");
        let error = failure["error"].as_str().unwrap_or_default();
        assert!(error.contains(reason), "{error}");
    }
    assert!(
        found[7]["answer"]["text"].is_string(),
        "the others are asked all the same"
    );
    for other in &others {
        assert!(!other.is_there(), "all are stopped");
    }
    // Other commands say what such a manifest is for.
    Monocle::new(["run", &nobody, "-p", "Hello"])
        .fails(1, &["only `monocle check` and `monocle eval` ask those"]);
}

#[test]
fn one_that_runs_already_is_asked_and_left_alone() {
    let scratch = Scratch::new("check-server-there");
    let other = Other::new(&scratch, "other", "");
    let mut child = other.run();
    let out = scratch.file("report");
    // It cannot be started a second time.
    let run = check(&out, &other.manifest).run();
    assert!(
        run.code == 1 && run.stderr.contains("1 of 1 rows failed"),
        "{run:?}"
    );
    let error = rows(&out)[0]["failure"]["error"].clone();
    assert!(
        error
            .as_str()
            .is_some_and(|error| error.contains("something listens there already")),
        "{error}"
    );
    let out = scratch.file("second");
    check(&out, &other.without_command(&scratch)).succeeds();
    let figures = &rows(&out)[0]["figures"];
    assert_eq!(
        (&figures["load_s"], &figures["process_peak_bytes"]),
        (&Value::Null, &Value::Null)
    );
    assert!(other.is_there());
    child.kill().expect("it runs");
    child.wait().expect("it can be waited for");
}

#[test]
fn no_server_stays_behind_where_the_command_is_killed() {
    let scratch = Scratch::new("check-server-killed");
    let other = Other::new(&scratch, "hangs", "hangs");
    let out = scratch.file("report");
    let mut child = check(&out, &other.manifest).args(["--timeout", "60"]).start();
    let until = |what: &str, is_so: &dyn Fn() -> bool| {
        let begun = std::time::Instant::now();
        while !is_so() {
            assert!(begun.elapsed().as_secs() < 60, "not in a minute: {what}");
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
    };
    until("it is asked", &|| !other.asked().is_empty());
    child.kill().expect("it runs");
    child.wait().expect("it can be waited for");
    until("it is gone", &|| !other.is_there());
}

#[test]
fn questions_are_asked_of_a_server_as_of_others() {
    let scratch = Scratch::new("eval-server");
    let other = Other::new(&scratch, "other", "");
    let picture = project::root().join("models/shapes/pictures/shapes.png");
    // It says how many pictures it was sent and in how many turns.
    let lines = [
        json!({"image": picture, "question": "One?", "answer": "1 in 1"}),
        json!({"image": picture, "question": "Two?", "answer": "1 in 2", "before": [["One?", "1 in 1"]]}),
        json!({"image": picture, "question": "Three?", "answer": "2 in 3", "before": [["One?", "1 in 1"], ["Two?", "1 in 2"]]}),
        json!({"image": scratch.file("none.png"), "question": "One?", "answer": "1 in 1"}),
    ];
    let dataset = scratch.write("q.jsonl", lines.map(|line| line.to_string()).join("\n"));
    let out = scratch.file("out");
    let eval = || {
        Monocle::new(["eval", "--models", &other.manifest]).args([
            dataset.as_path(),
            Path::new("--out"),
            &out,
        ])
    };
    let run = eval().run();
    assert!(
        run.code == 1 && run.stderr.contains("0 of 1 models failed, and 1 of 4 questions"),
        "{run:?}"
    );
    let text = std::fs::read_to_string(out.join("results.jsonl")).expect("there are results");
    let found: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let accuracy = |id: &str| {
        found
            .iter()
            .find(|answer| answer["id"] == id)
            .expect("it is there")["accuracy"]
            .clone()
    };
    assert_eq!(
        ["1", "2", "3", "4"].map(accuracy),
        [json!(1.0), json!(1.0), json!(0.0), json!(0.0)],
        "{text}"
    );
    assert!(!other.is_there());
    assert_eq!(other.asked().len(), 3);
    eval().args(["--resume"]).run();
    assert_eq!(
        (other.started(), other.asked().len()),
        (1, 3),
        "nothing is asked twice"
    );
}
