//! Prompts that somebody has looked at and accepted.

use std::path::Path;

use anyhow::Context;
use monocle_runtime::model::Model;
use monocle_runtime::plugin::contract::{ImagePlan, token_ids};
use monocle_runtime::probe::Probe;
use serde_json::{Value, json};

use super::plans::{Said, plan, requests};
use super::report::Verdict;

/// What the plugin makes of each kind of request.
fn made(model: &Model) -> anyhow::Result<Value> {
    let mut cases = serde_json::Map::new();
    for (name, request) in requests() {
        let mut probe = Probe::new(model)?;
        let case = match plan(&mut probe, &request)? {
            Said::No(words) => json!({ "refused": words }),
            Said::Plan(plan) => {
                let pictures: Vec<&ImagePlan> = plan.images.iter().collect();
                let mut case = json!({ "text": plan.text, "ids": plan.token_ids(), "pictures": pictures });
                if let Some(encoder) = &plan.encoder {
                    case["encoder_ids"] = json!(token_ids(&encoder.pieces));
                }
                case
            }
        };
        cases.insert(name.to_owned(), case);
    }
    Ok(Value::Object(cases))
}

/// Compares with the accepted ones, or accepts what there is.
pub fn check(model: &Model, file: &Path, accept: bool) -> anyhow::Result<Verdict> {
    let made = made(model)?;
    let shown = file.display();
    if accept {
        let mut text = serde_json::to_string_pretty(&made)?;
        text.push('\n');
        let folder = file.parent().map_or(Ok(()), std::fs::create_dir_all);
        folder
            .and_then(|()| std::fs::write(file, text))
            .with_context(|| format!("cannot write `{shown}`"))?;
        return Ok(Verdict::Passed(format!("written to `{shown}`: read them once")));
    }
    if !file.is_file() {
        return Ok(Verdict::Skipped(format!(
            "no `{shown}`: `--accept` writes what the plugin makes now, for you to read"
        )));
    }
    let text = monocle_files::read_text(file, monocle_files::TEXT)
        .with_context(|| format!("cannot read `{shown}`"))?;
    let accepted: Value = serde_json::from_str(&text).with_context(|| format!("`{shown}` is malformed"))?;
    let names = made.as_object().into_iter().flatten();
    let problems: Vec<String> = names
        .filter(|(name, case)| accepted[name.as_str()] != **case)
        .map(|(name, case)| format!("{name}: {}", difference(&accepted[name.as_str()], case)))
        .collect();
    Ok(Verdict::of(&problems, format!("as accepted in `{shown}`")))
}

fn difference(accepted: &Value, made: &Value) -> String {
    let keys = ["refused", "text", "ids", "encoder_ids", "pictures"];
    let Some(key) = keys.into_iter().find(|key| accepted[key] != made[key]) else {
        return "it is not among the accepted ones".to_owned();
    };
    let short = |value: &Value| {
        let text = value.to_string();
        match text.char_indices().nth(120) {
            Some((end, _)) => format!("{}…", &text[..end]),
            None => text,
        }
    };
    format!(
        "`{key}` is {}, accepted was {}",
        short(&made[key]),
        short(&accepted[key])
    )
}
