//! `monocle chat`: turns, commands, and what is refused; piped, one turn a line.
//!
//! What a later turn is answered is compared with `monocle run` of the whole conversation, written out by hand as the model's template has it.

use std::path::PathBuf;

use monocle_tests::program::Monocle;
use monocle_tests::project;
use monocle_tests::scratch::Scratch;
use serde_json::{Value, json};

fn folder() -> PathBuf {
    project::oracle("smolvlm")
}

fn chat(lines: &[&str]) -> Monocle {
    let lines: String = lines.iter().map(|line| format!("{line}\n")).collect();
    Monocle::new(["chat", "--max-tokens", "12"])
        .args([folder()])
        .input(&lines)
}

/// What `run` answers to a prompt of these words, nothing of a template around them.
fn answer(prompt: &str, pictures: &[&str]) -> String {
    let command = Monocle::new([
        "run",
        "--plain",
        "--max-tokens",
        "12",
        "-p",
        "x",
        "--template",
        prompt,
    ]);
    let pictures = pictures.iter().map(|name| folder().join(name));
    let text = command.args([folder()]).args(pictures).succeeds().stdout;
    text.trim().to_owned()
}

fn saved(scratch: &Scratch) -> Value {
    let text = std::fs::read_to_string(scratch.file("talk.json")).expect("the conversation was saved");
    serde_json::from_str(&text).expect("it is JSON")
}

fn save(scratch: &Scratch) -> String {
    format!("/save {}", scratch.file("talk.json").display())
}

fn said(text: &str) -> Value {
    json!([{"type": "text", "text": text}])
}

/// The text of a saved message's last part.
fn text(saved: &Value, message: usize) -> String {
    let content = saved["messages"][message]["content"].as_array();
    let last = content
        .and_then(|parts| parts.last())
        .expect("a message has parts");
    last["text"].as_str().expect("the last part is text").to_owned()
}

/// Of each turn: prompt tokens that were known, and all of them.
fn known(stderr: &str) -> Vec<(usize, usize)> {
    let number = |text: &str| text.parse().expect("a number");
    let lines = stderr.lines().filter_map(|line| {
        let (_, counts) = line.strip_suffix(" prompt tokens known")?.rsplit_once("; ")?;
        let (known, all) = counts.split_once(" of ")?;
        Some((number(known), number(all)))
    });
    lines.collect()
}

#[test]
fn a_turn_knows_those_before_it_and_computes_only_what_is_new() {
    let scratch = Scratch::new("chat-turns");
    let lines = ["What is this?", "", "And why?", &save(&scratch)];
    let outcome = chat(&lines).args(["--stats", "--system", "Be brief."]).succeeds();
    let saved = saved(&scratch);
    let (one, two) = (text(&saved, 2), text(&saved, 4));
    // White space around an answer is shown, but is not part of the conversation.
    let (shown_one, shown_two) = outcome.stdout.split_at(outcome.stdout.len() - two.len() - 1);
    assert_eq!((shown_one.trim(), shown_two.trim()), (one.as_str(), two.as_str()));
    assert_eq!(
        saved["messages"],
        json!([
            {"role": "system", "content": said("Be brief.")},
            {"role": "user", "content": said("What is this?")},
            {"role": "assistant", "content": said(&one)},
            {"role": "user", "content": said("And why?")},
            {"role": "assistant", "content": said(&two)},
        ])
    );

    let first =
        "<|im_start|>System: Be brief.<end_of_utterance>\nUser: What is this?<end_of_utterance>\nAssistant:";
    assert_eq!(one, answer(first, &[]));
    let second = format!("{first} {one}<end_of_utterance>\nUser: And why?<end_of_utterance>\nAssistant:");
    assert_eq!(two, answer(&second, &[]));
    let alone =
        "<|im_start|>System: Be brief.<end_of_utterance>\nUser: And why?<end_of_utterance>\nAssistant:";
    assert_ne!(two, answer(alone, &[]), "the model looks at what was said before");

    let known_tokens = known(&outcome.stderr);
    assert_eq!(known_tokens.len(), 2, "{}", outcome.stderr);
    assert_eq!(known_tokens[0].0, 0);
    // Of the first turn at least the prompt is what the second begins with.
    assert!(known_tokens[1].0 >= known_tokens[0].1, "{known_tokens:?}");

    let uncached = chat(&["What is this?", "And why?"])
        .args(["--stats", "--system", "Be brief.", "--cache-limit", "0"])
        .succeeds();
    assert_eq!(uncached.stdout, outcome.stdout);
    let all: Vec<_> = known_tokens.iter().map(|(_, all)| (0, *all)).collect();
    assert_eq!(known(&uncached.stderr), all);
}

#[test]
fn pictures_belong_to_the_message_that_they_were_attached_to() {
    let scratch = Scratch::new("chat-pictures");
    let second = folder().join("image2.png").display().to_string();
    let lines = ["One?", &format!("/image '{second}'"), "Two?", &save(&scratch)];
    chat(&lines).args([folder().join("image.png")]).succeeds();
    let saved = saved(&scratch);
    let picture = |name: &str| json!({"type": "image", "path": folder().join(name).display().to_string()});
    let user = |picture, words| json!([picture, {"type": "text", "text": words}]);
    assert_eq!(
        saved["messages"][0]["content"],
        user(picture("image.png"), "One?")
    );
    assert_eq!(
        saved["messages"][2]["content"],
        user(picture("image2.png"), "Two?")
    );
    let (one, two) = (text(&saved, 1), text(&saved, 3));
    let whole = format!(
        "<|im_start|>User:<image>One?<end_of_utterance>\nAssistant: {one}<end_of_utterance>\n\
         User:<image>Two?<end_of_utterance>\nAssistant:"
    );
    assert_eq!(two, answer(&whole, &["image.png", "image2.png"]));
    assert_ne!(two, answer(&whole, &["image2.png", "image.png"]));
}

#[test]
fn exchanges_are_dropped_and_the_whole_begins_again() {
    let scratch = Scratch::new("chat-drop");
    let lines = ["One?", "Two?", "/drop", "Two?", "/reset", "One?", &save(&scratch)];
    let outcome = chat(&lines).succeeds();
    let answers: Vec<&str> = outcome.stdout.lines().collect();
    assert_eq!(answers.len(), 4, "{answers:?}");
    assert_ne!(answers[0], answers[1]);
    assert_eq!((answers[2], answers[3]), (answers[1], answers[0]));
    assert_eq!(saved(&scratch)["messages"].as_array().map(Vec::len), Some(2));

    // The system message outlives a new beginning, until there is another one or none.
    let scratch = Scratch::new("chat-system");
    let lines = [
        "/system Be brief.",
        "One?",
        "/reset",
        &save(&scratch),
        "/system",
        "One?",
    ];
    let with = chat(&lines).succeeds();
    assert_eq!(
        saved(&scratch)["messages"],
        json!([{"role": "system", "content": said("Be brief.")}])
    );
    let with: Vec<&str> = with.stdout.lines().collect();
    assert_eq!(with[1], answers[0]);
    assert_ne!(with[0], answers[0]);
}

#[test]
fn what_cannot_be_done_is_told_and_does_not_end_it() {
    let scratch = Scratch::new("chat-errors");
    let broken = scratch.write("broken.png", "no picture").display().to_string();
    let own = scratch.write("own.md", "mine");
    let lines = [
        "/image missing.png",
        "/frobnicate",
        "/drop",
        "/save talk.txt",
        &format!("/save {}", own.display()),
        &format!("/image {broken}"),
        "What?",
        "What?",
        "/quit",
        "never asked",
    ];
    let outcome = chat(&lines).run();
    assert_eq!(outcome.code, 1, "{outcome:?}");
    assert_eq!(outcome.stdout, chat(&["What?"]).succeeds().stdout);
    for part in [
        "error: cannot read picture `missing.png`",
        "error: there is no command `/frobnicate`",
        "error: there is no exchange to drop",
        "error: expected a name that ends with `.json` or `.md`, found `talk.txt`",
        "own.md` is there already and stays as it is",
        "broken.png`",
        "note: the message is taken back with its 1 picture",
        "error: 6 of 9 lines could not be done",
    ] {
        assert!(
            outcome.stderr.contains(part),
            "`{part}` is not in:\n{}",
            outcome.stderr
        );
    }
    assert_eq!(std::fs::read_to_string(own).expect("it is there"), "mine");
}

#[test]
fn a_full_context_is_refused_with_its_numbers_and_the_turn_is_taken_back() {
    let scratch = Scratch::new("chat-full");
    let long = "word ".repeat(9_000);
    let outcome = chat(&["One?", &long, &save(&scratch), "Two?"]).run();
    assert_eq!(outcome.code, 1, "{}", outcome.stderr);
    for part in [
        "error: the prompt has ",
        "the model's context holds 8192",
        "`/drop` takes back the last exchange",
        "note: the message is taken back",
        "error: 1 of 4 lines could not be done",
    ] {
        assert!(
            outcome.stderr.contains(part),
            "`{part}` is not in:\n{}",
            outcome.stderr
        );
    }
    assert_eq!(saved(&scratch)["messages"].as_array().map(Vec::len), Some(2));
    assert_eq!(outcome.stdout, chat(&["One?", "Two?"]).succeeds().stdout);
}

#[test]
fn a_conversation_is_saved_as_markdown() {
    let scratch = Scratch::new("chat-markdown");
    let path = scratch.file("talk.md");
    let picture = folder().join("image.png");
    let outcome = chat(&["One?", &format!("/save {}", path.display())])
        .args(["--system", "Be brief."])
        .args([&picture])
        .succeeds();
    let expected = format!(
        "# A conversation with smolvlm\n\n## System\n\nBe brief.\n\n## You\n\n![picture](<{}>)\n\nOne?\n\n## Answer\n\n{}",
        picture.display(),
        outcome.stdout
    );
    assert_eq!(std::fs::read_to_string(path).expect("it was saved"), expected);
}

#[test]
fn misuse_is_told_before_anything_is_opened() {
    Monocle::new(["chat"]).fails(2, &["MODEL"]);
    Monocle::new(["chat", "no-such-model", "--temperature=-1"]).fails(2, &["temperature"]);
    Monocle::new(["chat", "no-such-model", "missing.png"]).fails(1, &["missing.png"]);
    Monocle::new(["chat", "no-such-model", "--cache-limit", "much"]).fails(2, &["like `4GB`"]);
}

#[cfg(target_os = "linux")]
#[test]
fn ctrl_c_stops_an_answer_and_not_the_program() {
    let started = Monocle::new(["chat", "--max-tokens", "8000", "--system", "Be brief."])
        .args([folder()])
        .on_terminal();
    let Some(mut terminal) = started else {
        eprintln!("skipped: there is no `script` here");
        return;
    };
    terminal.waits_for("Ctrl-D ends");
    terminal.waits_for("> ");
    terminal.types("What is this?\r");
    // What was typed is shown, then an answer begins.
    terminal.waits_for("What is this?");
    terminal.waits_for("\n");
    terminal.waits_for(" ");
    terminal.types("\x03");
    let answer = terminal.waits_for("; stopped");
    assert!(answer.contains(" prompt tokens known"), "{answer}");
    assert!(!answer.contains("8000 tokens"), "{answer}");
    // What is no answer is less bright.
    assert!(
        answer.contains("\u{1b}[2m") && !answer.contains("\u{fffd}[2m"),
        "{answer:?}"
    );
    terminal.waits_for("> ");
    // At the prompt it takes the line back, and the next one is read.
    terminal.types("gone\x03");
    terminal.waits_for("> ");
    terminal.types("/drop\r");
    terminal.waits_for("0 exchanges left");
    terminal.types("\x04");
    assert_eq!(terminal.ends(), 0);
}
