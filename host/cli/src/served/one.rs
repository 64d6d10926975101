//! The process that asks a server for one row of `check`.

use std::io::Read;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use monocle_fetch::endpoint::Reply;
use monocle_manifest::served::Served;
use monocle_runtime::model::locate::Places;
use monocle_survey::failure::{Failure, Place};
use monocle_survey::row::{Answer, Figures, Host, Row};

use super::{Client, user};
use crate::check::{Line, phase, say};
use crate::sampling::seconds;

#[derive(Debug, Args)]
pub struct AskServed {
    model: String,
    picture: PathBuf,
    #[arg(long, allow_hyphen_values = true)]
    prompt: String,
    #[arg(long)]
    max_tokens: u32,
    #[arg(long, value_parser = seconds)]
    timeout: Duration,
}

impl AskServed {
    /// Answers, or says why not; either is a line, and no error.
    pub fn run(self) -> anyhow::Result<()> {
        std::thread::spawn(|| {
            // Standard input ends when the parent does.
            let _ = std::io::stdin().lock().read_to_end(&mut Vec::new());
            std::process::exit(1);
        });
        let row = match self.row()? {
            Ok(row) => row,
            Err(failure) => Row {
                failure: Some(failure),
                ..Row::default()
            },
        };
        say(&Line::Row { row: Box::new(row) })
    }

    fn row(&self) -> anyhow::Result<Result<Row, Failure>> {
        phase("reading the picture and the prompt")?;
        let served = match Places::from_env().find_served(&self.model) {
            Some(Ok(served)) => served,
            Some(Err(error)) => return Ok(Err(Failure::new(Place::Manifest, error.to_string()))),
            None => anyhow::bail!("`{}` is no manifest with `[server]`", self.model),
        };
        let picture = match monocle_files::read(&self.picture, monocle_files::PICTURE) {
            Ok(picture) => picture,
            Err(error) => {
                let reason = format!("cannot read `{}`: {error}", self.picture.display());
                return Ok(Err(Failure::new(Place::Picture, reason)));
            }
        };
        let client = match Client::new(served.clone()) {
            Ok(client) => client,
            Err(failure) => return Ok(Err(failure)),
        };
        phase("answering")?;
        let messages = serde_json::Value::Array(vec![user(Some(&picture), &self.prompt)]);
        let reply = client.ask(messages, self.max_tokens, self.timeout);
        Ok(reply.map(|reply| row(&served, client.model(), self.max_tokens, reply)))
    }
}

fn row(served: &Served, model: &str, max_tokens: u32, reply: Reply) -> Row {
    let seconds = |time: Duration| Some(time.as_secs_f64());
    // From the first piece to the last, as a client sees them.
    let decode = reply
        .first
        .map(|first| reply.last.saturating_sub(first).as_secs_f64());
    let speed = match (decode, reply.answer_tokens) {
        (Some(decode), Some(tokens @ 2..)) if decode > 0.0 => Some((tokens - 1) as f64 / decode),
        _ => None,
    };
    let finish = match reply.finish.as_deref() {
        Some(word) => format!("the server says `{word}`"),
        None => "the server does not say why it ended".to_owned(),
    };
    let options = match served.server.options.is_empty() {
        true => "the server's own sampling".to_owned(),
        false => serde_json::Value::Object(served.server.options.clone()).to_string(),
    };
    Row {
        host: Host {
            program: format!("the server at {}, its model `{model}`", served.server.url),
            settings: Some(format!("at most {max_tokens} tokens, {options}")),
            ..Host::default()
        },
        answer: Some(Answer {
            is_cut: reply.finish.as_deref() == Some("length"),
            text: reply.text,
            reasoning: reply.reasoning,
            finish,
            ..Answer::default()
        }),
        figures: Figures {
            prompt_tokens: reply.prompt_tokens,
            answer_tokens: reply.answer_tokens,
            first_token_s: reply.first.and_then(seconds),
            decode_s: decode,
            decode_tokens_per_s: speed,
            total_s: seconds(reply.total),
            ..Figures::default()
        },
        ..Row::default()
    }
}
