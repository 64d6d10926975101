//! Why a model gave no answer, and where the fault lies.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Where the fault lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Place {
    /// The plugin, or that there is none.
    Plugin,
    /// The manifest.
    Manifest,
    /// The model's files, or that they are not here.
    Weights,
    /// The tokenizer, or the chat template.
    Tokenizer,
    /// Memory.
    Memory,
    /// The picture.
    Picture,
    /// Monocle itself, or its engine.
    Host,
    /// Another server.
    Server,
    /// It took too long.
    Timeout,
}

impl Place {
    /// All of them, in the order of reports.
    pub const ALL: [Place; 9] = [
        Place::Plugin,
        Place::Manifest,
        Place::Weights,
        Place::Tokenizer,
        Place::Memory,
        Place::Picture,
        Place::Host,
        Place::Server,
        Place::Timeout,
    ];

    /// The name.
    pub fn name(self) -> &'static str {
        match self {
            Place::Plugin => "plugin",
            Place::Manifest => "manifest",
            Place::Weights => "weights",
            Place::Tokenizer => "tokenizer",
            Place::Memory => "memory",
            Place::Picture => "picture",
            Place::Host => "host",
            Place::Server => "server",
            Place::Timeout => "timeout",
        }
    }
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Where.
    pub place: Place,
    /// In one line.
    pub reason: String,
    /// All that is known.
    pub error: String,
    /// What it was doing.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub phase: String,
}

impl Failure {
    /// A failure with its error's text; the reason is the first line of it.
    pub fn new(place: Place, error: impl Into<String>) -> Self {
        let error = error.into();
        let line = error.lines().map(str::trim).find(|line| !line.is_empty());
        let mut reason: String = line.unwrap_or("no reason was given").chars().take(200).collect();
        if line.is_some_and(|line| line.chars().nth(200).is_some()) {
            reason.push('…');
        }
        Self {
            place,
            reason,
            error,
            phase: String::new(),
        }
    }

    /// It took longer than it may.
    pub fn timeout(limit: Duration, phase: &str) -> Self {
        let seconds = limit.as_secs_f64();
        let doing = match phase {
            "" => "before it said what it was doing".to_owned(),
            phase => format!("while it was busy with: {phase}"),
        };
        Self {
            phase: phase.to_owned(),
            ..Self::new(
                Place::Timeout,
                format!("stopped after {seconds} s, {doing}\n\nhint: `--timeout` gives it more time"),
            )
        }
    }

    /// The process ended without an answer: by a signal, or with a code. What it wrote to standard error says more.
    pub fn ended(signal: Option<i32>, code: Option<i32>, stderr: &str, phase: &str) -> Self {
        let tail: Vec<&str> = stderr.lines().rev().take(40).collect();
        let tail: String = tail.into_iter().rev().map(|line| format!("{line}\n")).collect();
        let out_of_memory = stderr.contains("memory allocation of");
        let (place, line) = match (signal, code) {
            (Some(9), _) => (
                Place::Memory,
                "killed by the system (signal 9): most likely it ran out of memory".to_owned(),
            ),
            (Some(signal), _) if out_of_memory => (
                Place::Memory,
                format!("an allocation failed, and it ended by signal {signal}"),
            ),
            (Some(signal), _) => (
                Place::Host,
                format!("crashed by signal {signal}{}", signal_name(signal)),
            ),
            (None, Some(code)) => (
                Place::Host,
                format!("ended with exit code {code} and without an answer"),
            ),
            (None, None) => (Place::Host, "ended without an answer".to_owned()),
        };
        let error = match tail.trim() {
            "" => line,
            tail => format!("{line}\n\n{tail}"),
        };
        Self {
            phase: phase.to_owned(),
            ..Self::new(place, error)
        }
    }
}

fn signal_name(signal: i32) -> &'static str {
    match signal {
        4 => " (illegal instruction)",
        6 => " (abort)",
        7 | 10 => " (bus error)",
        8 => " (arithmetic)",
        11 => " (segmentation fault)",
        _ => "",
    }
}
