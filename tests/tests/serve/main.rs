//! `monocle serve` as its clients meet it: the program itself, with the model that comes with the project, over this machine's own network.
//!
//! Answers are compared with those that `monocle run` gives to the same question.

mod accounts;
mod answers;
mod clients;
mod engine;
mod first_requests;
mod load;
mod models;
mod operation;
mod pictures;
mod sampling;
mod strangers;
mod tools;

use std::sync::OnceLock;

use monocle_tests::program::Monocle;
use monocle_tests::project;
use monocle_tests::server::base64;
use serde_json::{Value, json};

const QUESTION: &str = "Describe this image.";
const PICTURES: [&str; 3] = ["shapes", "tall", "wide"];

fn picture(name: &str) -> Vec<u8> {
    let path = project::root().join(format!("models/shapes/pictures/{name}.png"));
    std::fs::read(path).expect("the picture is there")
}

/// A picture as a `data:` address.
fn data(name: &str) -> String {
    format!("data:image/png;base64,{}", base64(&picture(name)))
}

/// What `monocle run` says of each picture.
fn alone(name: &str) -> String {
    static ANSWERS: OnceLock<Vec<String>> = OnceLock::new();
    let answers = ANSWERS.get_or_init(|| {
        let answer = |name: &&str| {
            let path = project::root().join(format!("models/shapes/pictures/{name}.png"));
            let run = Monocle::new(["run", "--plain", "shapes", "-p", QUESTION]).args([path]);
            run.succeeds().stdout.trim().to_owned()
        };
        PICTURES.iter().map(answer).collect()
    });
    let place = PICTURES.iter().position(|known| *known == name);
    answers[place.expect("one of the pictures")].clone()
}

/// A request to OpenAI's chat about a picture.
fn about(name: &str) -> Value {
    json!({
        "model": "shapes",
        "messages": [{"role": "user", "content": [
            {"type": "image_url", "image_url": {"url": data(name)}},
            {"type": "text", "text": QUESTION},
        ]}],
    })
}
