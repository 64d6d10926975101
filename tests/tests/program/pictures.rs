//! Pictures as a shell hands them over: on standard input, in a folder, by a pattern that matches nothing.

use std::path::Path;
use std::process::{Command, Stdio};

use monocle_tests::program::{self, Monocle};
use monocle_tests::project;
use monocle_tests::scratch::Scratch;
use serde_json::Value;

fn model() -> String {
    project::oracle("smolvlm").display().to_string()
}

fn picture() -> std::path::PathBuf {
    project::oracle("smolvlm").join("image.png")
}

/// `monocle inspect --json` with a file on standard input.
fn piped(file: &Path) -> Value {
    let input = std::fs::File::open(file).expect("the file is there");
    let output = Command::new(program::path())
        .args(["inspect", &model(), "-", "-p", "x", "--json"])
        .env("HF_HUB_OFFLINE", "1")
        .stdin(Stdio::from(input))
        .output()
        .expect("the program can be started");
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).expect("it is JSON")
}

fn inspect(arguments: &[&str]) -> Monocle {
    Monocle::new(["inspect", &model(), "-p", "x", "--json"]).args(arguments)
}

#[test]
fn a_picture_may_come_on_standard_input() {
    let named = inspect(&[&picture().display().to_string()]).json();
    let mut image = piped(&picture())["images"][0].clone();
    assert_eq!(image["name"], "standard input");
    image["name"] = named["images"][0]["name"].clone();
    assert_eq!(image, named["images"][0]);

    inspect(&["-"]).fails(1, &["standard input is empty", "a picture"]);
    inspect(&["-"]).input("no picture").fails(1, &["standard input"]);
    inspect(&["-", "-"]).fails(2, &["only once"]);
    Monocle::new(["run", &model(), "-", "-p", "-"]).fails(2, &["the question or a picture, not both"]);
}

#[test]
fn a_folder_stands_for_its_pictures_in_the_order_of_their_names() {
    let scratch = Scratch::new("folder-of-pictures");
    let folder = scratch.path().display().to_string();
    inspect(&[&folder]).fails(1, &["has no picture files", ".jpg"]);
    let bytes = std::fs::read(picture()).expect("the picture is there");
    for name in ["c.png", "a.PNG", "b.png", ".hidden.png", "notes.txt"] {
        scratch.write(name, &bytes);
    }
    std::fs::create_dir(scratch.file("d.png")).expect("a folder can be made");
    let report = inspect(&[&folder]).json();
    let names: Vec<_> = report["images"]
        .as_array()
        .expect("it has pictures")
        .iter()
        .map(|image| image["name"].as_str().expect("it has a name").to_owned())
        .collect();
    let expected = ["a.PNG", "b.png", "c.png"].map(|name| scratch.file(name).display().to_string());
    assert_eq!(names, expected);

    for number in 0..62 {
        scratch.write(&format!("{number}.jpg"), b"");
    }
    inspect(&[&folder]).fails(1, &["has 65 pictures", "at most 64"]);
}

#[test]
fn a_pattern_that_matches_nothing_is_named() {
    let words = [
        "no file matches `/nowhere/*.jpg`",
        "a pattern that matches nothing",
        "\n\nhint: ",
    ];
    inspect(&["/nowhere/*.jpg"]).fails(1, &words);
    inspect(&["/nowhere/one.jpg"]).fails(1, &["cannot read picture `/nowhere/one.jpg`"]);
}
