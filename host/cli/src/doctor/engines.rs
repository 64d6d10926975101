//! Each engine of this program, tried: the model that comes with Monocle describes its picture, in a process of its own, so that whatever an engine
//! does is seen. The plugin is compiled anew for it, so the compiler is tried, too.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use monocle_runtime::engines::EngineName;
use monocle_runtime::program;
use serde_json::Value;

use super::Finding;

const WHAT: &str = "engine";
const PICTURE: &str = "shapes.png";
/// Seconds; on any machine it takes a few.
const LIMIT: &str = "120";

/// Tries all of them with what came with the program.
pub fn tried(shipped: &Path) -> Vec<Finding> {
    let scratch = std::env::temp_dir().join(format!("monocle-doctor-{}", std::process::id()));
    let engines = EngineName::built_in().iter();
    let findings = engines.map(|engine| {
        let name = engine.name();
        match answer(shipped, name, &scratch) {
            Ok(said) => Finding::well(WHAT, format!("`{name}`: {said}")),
            Err(reason) => Finding::unwell(
                WHAT,
                format!("`{name}`: {reason}"),
                "another engine may work: `--engine` names it; please report what this says",
            ),
        }
    });
    let findings = findings.collect();
    // Compiled code that nobody uses again.
    let _ = std::fs::remove_dir_all(&scratch);
    findings
}

/// What an engine made of the picture and how long it took, or what is wrong with it.
fn answer(shipped: &Path, engine: &str, scratch: &Path) -> Result<String, String> {
    let expected = caption(shipped)?;
    let file = program::own_file().map_err(|error| error.to_string())?;
    let mut command = Command::new(file);
    command
        .arg("run")
        .arg(shipped.join("manifests/shapes.toml"))
        .arg(shipped.join("models/shapes/pictures").join(PICTURE))
        .args(["--engine", engine, "--json", "--timeout", LIMIT])
        .env_remove("MONOCLE_PLUGINS")
        .env("MONOCLE_CACHE", scratch);
    let started = Instant::now();
    let ran = command
        .output()
        .map_err(|error| format!("cannot start a process: {error}"))?;
    let all = started.elapsed().as_secs_f64();
    if !ran.status.success() {
        let said = String::from_utf8_lossy(&ran.stderr);
        return Err(format!(
            "the process for it ended with {}: {}",
            ran.status,
            said.trim()
        ));
    }
    let report: Value =
        serde_json::from_slice(&ran.stdout).map_err(|error| format!("its report is no JSON: {error}"))?;
    let answer = report["output"]["text"].as_str().unwrap_or_default().trim();
    if answer != expected {
        return Err(format!(
            "it describes `{PICTURE}` as {answer:?}, expected {expected:?}"
        ));
    }
    let seconds = |name: &str| report["timings"][name].as_f64().unwrap_or(f64::NAN);
    Ok(format!(
        "the demo's answer is right; {}; {all:.2} s in all; model opened in {:.2} s (its plugin is compiled anew), picture {:.3} s, first token after {:.3} s, \
         then {:.0} tokens/s",
        report["host"]["device"].as_str().unwrap_or_default(),
        seconds("load_s"),
        seconds("encode_s"),
        seconds("first_token_s"),
        seconds("decode_tokens_per_s"),
    ))
}

/// What is in the picture, as who drew it knows.
fn caption(shipped: &Path) -> Result<String, String> {
    let path = shipped.join("models/shapes/pictures/truth.json");
    let unreadable = |reason: String| format!("cannot read `{}`: {reason}", path.display());
    let text = std::fs::read(&path).map_err(|error| unreadable(error.to_string()))?;
    let truth: Value = serde_json::from_slice(&text).map_err(|error| unreadable(error.to_string()))?;
    let caption = truth["pictures"][PICTURE]["caption"].as_str();
    caption
        .map(str::to_owned)
        .ok_or_else(|| unreadable(format!("it has no caption of `{PICTURE}`")))
}
