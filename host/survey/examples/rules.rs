//! How often the rules of `docs/findings.md` agree with people: precision and recall of each on answers that somebody has judged.
//!
//! `cargo run --release -p monocle-survey --example rules -- FILE`. Each line of the file is an answer in JSON: `prompt` (the instructions), `context`,
//! `structured` (whether title, description and keywords were asked for), `keywords` (how many, as two numbers), `text`, `is_cut`, `judged` (the
//! rules that a person finds broken, by name), and `name`. Rules that find much the same may be judged together: `repetition` stands for the
//! three of tokens, phrases and lines.

use std::collections::{BTreeMap, BTreeSet};

use monocle_survey::findings::{Asked, Said, find};
use serde::Deserialize;

#[derive(Deserialize)]
struct Judged {
    name: String,
    prompt: String,
    context: String,
    structured: bool,
    keywords: Option<(usize, usize)>,
    text: String,
    is_cut: bool,
    judged: BTreeSet<String>,
}

/// How often a rule found what a person found, found what nobody did, and missed what a person found.
#[derive(Default)]
struct Count {
    right: usize,
    wrong: Vec<String>,
    missed: Vec<String>,
}

fn main() {
    let file = std::env::args().nth(1).expect("expected a file");
    let text = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{file}: {error}"));
    let mut counts: BTreeMap<String, Count> = BTreeMap::new();
    let mut answers = 0;
    for (index, line) in text.lines().enumerate() {
        let judged: Judged =
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{file}, line {}: {error}", index + 1));
        answers += 1;
        let asked = Asked {
            prompt: judged.prompt,
            context: judged.context,
            structured: judged.structured,
            keywords: judged.keywords,
        };
        let said = Said {
            text: judged.text,
            is_cut: judged.is_cut,
        };
        let found: BTreeSet<String> = find(&asked, &said)
            .iter()
            .map(|finding| match finding.rule.name() {
                name if name.starts_with("repeated-") => "repetition".to_owned(),
                name => name.to_owned(),
            })
            .collect();
        for rule in found.union(&judged.judged) {
            let count = counts.entry(rule.clone()).or_default();
            match (found.contains(rule), judged.judged.contains(rule)) {
                (true, true) => count.right += 1,
                (true, false) => count.wrong.push(judged.name.clone()),
                _ => count.missed.push(judged.name.clone()),
            }
        }
    }
    println!("{answers} answers");
    println!("| rule | precision | recall | found wrongly | missed |\n|---|---|---|---|---|");
    for (rule, count) in counts {
        let share = |others: usize| match count.right + others {
            0 => "-".to_owned(),
            all => format!("{} of {all}", count.right),
        };
        println!(
            "| `{rule}` | {} | {} | {} | {} |",
            share(count.wrong.len()),
            share(count.missed.len()),
            count.wrong.join(", "),
            count.missed.join(", ")
        );
    }
}
