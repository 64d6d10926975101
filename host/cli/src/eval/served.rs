//! Questions to another program's server: several at once, each as any client would ask it.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::mpsc;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use monocle_manifest::served::Served;
use monocle_survey::dataset::Question;
use monocle_survey::failure::{Failure, Place};
use serde_json::{Value, json};

use super::one::{Answer, Line, say};
use crate::served::{Client, user};

/// How a question is asked.
#[derive(Debug, Clone, Copy)]
pub struct Manner<'a> {
    /// The system message.
    pub system: Option<&'a str>,
    /// What is added to each question.
    pub instruction: &'a str,
    /// The most tokens of an answer.
    pub max_tokens: u32,
    /// The longest that one may take.
    pub timeout: Duration,
    /// How many are asked side by side.
    pub at_once: u32,
}

/// Asks them all; each answer is a line.
pub fn ask(served: Served, questions: &[&Question], manner: Manner) -> anyhow::Result<()> {
    let client = match Client::new(served) {
        Ok(client) => client,
        Err(failure) => {
            let failure = Box::new(failure);
            return say(&Line::Failed { failure });
        }
    };
    let left: Mutex<VecDeque<&Question>> = Mutex::new(questions.iter().copied().collect());
    let next = || left.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    std::thread::scope(|scope| {
        let (sender, answers) = mpsc::channel();
        for _ in 0..manner.at_once {
            let (sender, next, client) = (sender.clone(), &next, &client);
            scope.spawn(move || {
                while let Some(question) = next() {
                    if sender.send(one(client, question, manner)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        answers.iter().try_for_each(|answer| {
            let answer = Box::new(answer);
            say(&Line::Answer { answer })
        })
    })
}

fn one(client: &Client, question: &Question, manner: Manner) -> Answer {
    let mut answer = Answer {
        id: question.id.clone(),
        ..Answer::default()
    };
    let begun = Instant::now();
    let asked = messages(question, manner)
        .and_then(|messages| client.ask(messages, manner.max_tokens, manner.timeout));
    match asked {
        Ok(reply) => {
            answer.text = Some(reply.text.trim().to_owned());
            answer.seconds = Some(begun.elapsed().as_secs_f64());
            answer.tokens = reply.answer_tokens;
        }
        Err(failure) => answer.failure = Some(failure),
    }
    answer
}

/// The conversation; the picture comes with its first turn and never again.
fn messages(question: &Question, manner: Manner) -> Result<Value, Failure> {
    let picture = read(&question.picture)?;
    let worded = |words: &str| match manner.instruction {
        "" => words.to_owned(),
        instruction => format!("{words}\n{instruction}"),
    };
    let mut messages = Vec::new();
    if let Some(system) = manner.system {
        messages.push(json!({"role": "system", "content": system}));
    }
    let mut picture = Some(picture.as_slice());
    for (words, answer) in &question.before {
        messages.push(user(picture.take(), &worded(words)));
        messages.push(json!({"role": "assistant", "content": answer}));
    }
    messages.push(user(picture, &worded(&question.question)));
    Ok(messages.into())
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    monocle_files::read(path, monocle_files::PICTURE).map_err(|error| {
        Failure::new(
            Place::Picture,
            format!("cannot read `{}`: {error}", path.display()),
        )
    })
}
