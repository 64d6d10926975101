//! What a plugin says of itself, read before any of its code is compiled or loaded: in a component's custom section `monocle:plugin`, among the
//! data of a native library.

use serde::{Deserialize, Serialize};
use wasmparser::{Parser, Payload};

use super::native;

/// The section's name.
pub const SECTION: &str = "monocle:plugin";
/// The newest version of the contract that this host speaks: the one that the crate `monocle-plugin` beside it builds for.
pub const CONTRACT: &str = "0.2.0";

/// Bytes of a stamp.
const LARGEST: usize = 64 << 10;
/// Letters of a name.
const LONGEST: usize = 64;

/// Which world a plugin is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PluginKind {
    /// Prompt, pictures and output.
    Adapter,
    /// A whole model.
    Model,
}

impl std::fmt::Display for PluginKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Adapter => "adapter",
            Self::Model => "model",
        })
    }
}

/// The section's content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Stamp {
    /// The plugin's name; manifests refer to it.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The contract that it was built for.
    pub contract: String,
    /// Its world.
    pub kind: PluginKind,
    /// Values of `model_type` in `config.json` that it understands; `TYPE/TOWER` where `vision_config` has the type `TOWER`.
    #[serde(default)]
    pub model_types: Vec<String>,
    /// Whether `processor.output` is to be called.
    #[serde(default)]
    pub filters_output: bool,
    /// Whether `processor.parts` is to be called.
    #[serde(default)]
    pub answers_parts: bool,
}

impl Stamp {
    /// Reads the stamp of a component or a native library; the error says what is wrong with it.
    pub fn read(bytes: &[u8]) -> Result<Self, String> {
        match native::is_library(bytes) {
            true => Self::of_library(bytes),
            false => Self::of_component(bytes),
        }
    }

    /// A library has its stamp among its data, after [`native::STAMP`].
    fn of_library(bytes: &[u8]) -> Result<Self, String> {
        let mark = native::STAMP.as_bytes();
        let found = bytes.windows(mark.len()).position(|part| part == mark);
        let Some(start) = found.map(|found| found + mark.len()) else {
            return Err(
                "it is a native library, but no plugin of Monocle: it has no stamp\n\nhint: `monocle plugins build --native` makes one of a plugin in Rust; `monocle_plugin.h` says what one in C gives"
                    .to_owned(),
            );
        };
        Self::json(&bytes[start..bytes.len().min(start + LARGEST)])
    }

    /// The stamp that a library gives when it is loaded.
    pub fn of_text(text: &str) -> Result<Self, String> {
        let json = text.strip_prefix(native::STAMP).ok_or("it begins otherwise")?;
        Self::json(json.as_bytes())
    }

    /// The JSON object at the start of these bytes.
    fn json(bytes: &[u8]) -> Result<Self, String> {
        let mut values = serde_json::Deserializer::from_slice(bytes).into_iter::<serde_json::Value>();
        let value = values.next().and_then(Result::ok).unwrap_or_default();
        Self::parse(value.to_string().as_bytes()).map_err(|error| format!("its stamp is malformed: {error}"))
    }

    fn of_component(wasm: &[u8]) -> Result<Self, String> {
        if !wasm.starts_with(b"\0asm") {
            return Err("it is not WebAssembly".to_owned());
        }
        if !Parser::is_component(wasm) {
            return Err(
                "it is a core WebAssembly module, not a component: wrap it with `monocle plugins wrap`"
                    .to_owned(),
            );
        }
        // Modules inside the component may have such a section of their own, which says nothing.
        let mut depth = 0;
        for payload in Parser::new(0).parse_all(wasm) {
            match payload {
                Ok(Payload::ModuleSection { .. } | Payload::ComponentSection { .. }) => depth += 1,
                Ok(Payload::End(_)) => depth -= 1,
                Ok(Payload::CustomSection(section)) if depth == 0 && section.name() == SECTION => {
                    return Self::parse(section.data())
                        .map_err(|error| format!("its section `{SECTION}` is malformed: {error}"));
                }
                Ok(_) => {}
                Err(error) => return Err(format!("it is damaged: {error}")),
            }
        }
        Err(format!(
            "it has no section `{SECTION}`: was it built with the crate `monocle-plugin`? To a component of another tool `monocle plugins stamp` gives one"
        ))
    }

    /// Reads the section's content. What is in it is shown to people, makes names of files and is compared: it is plain, and short.
    fn parse(section: &[u8]) -> Result<Self, String> {
        if section.len() > LARGEST {
            return Err(format!(
                "it has {} bytes, expected at most {LARGEST}",
                section.len()
            ));
        }
        let stamp: Self = serde_json::from_slice(section).map_err(|error| plain(&error.to_string()))?;
        if !is_name(&stamp.name) {
            return Err(format!(
                "the name is {}, expected 1 to {LONGEST} letters, digits, `-`, `_` and `.`, the first no `.`",
                quoted(&stamp.name)
            ));
        }
        if stamp.version.len() > LONGEST || semver::Version::parse(&stamp.version).is_err() {
            return Err(format!(
                "the version is {}, expected a semantic version such as 1.2.3",
                quoted(&stamp.version)
            ));
        }
        // Which ones are served is said elsewhere.
        if stamp.contract.len() > LONGEST || !stamp.contract.chars().all(|c| c.is_ascii_graphic()) {
            return Err(format!("{} is no version of a contract", quoted(&stamp.contract)));
        }
        let odd = |known: &&String| {
            known.is_empty() || known.len() > 2 * LONGEST || known.contains(char::is_control)
        };
        if let Some(odd) = stamp.model_types.iter().find(odd) {
            return Err(format!("{} is no model type", quoted(odd)));
        }
        Ok(stamp)
    }
}

/// Whether a plugin may be called so: it is a file's name, too.
pub fn is_name(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    (1..=LONGEST).contains(&name.len()) && !name.starts_with('.') && name.chars().all(allowed)
}

/// The start of a text that somebody else wrote, in quotes.
fn quoted(text: &str) -> String {
    let start: String = text.chars().take(40).collect();
    let more = if start.len() < text.len() { "…" } else { "" };
    format!("`{}{more}`", plain(&start))
}

fn plain(text: &str) -> String {
    text.chars()
        .take(200)
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(name: &str, version: &str, model_type: &str) -> Result<Stamp, String> {
        let stamp = serde_json::json!({
            "name": name, "version": version, "contract": "0.1.0", "kind": "model", "model-types": [model_type]
        });
        Stamp::parse(stamp.to_string().as_bytes())
    }

    #[test]
    fn odd_stamps_are_malformed() {
        let good = stamp("tiny-vlm_2.b", "1.2.3-dev.7", "tiny/tower").map(|stamp| stamp.name);
        assert_eq!(good.as_deref(), Ok("tiny-vlm_2.b"));
        let long = "x".repeat(70_000);
        for name in ["", ".", "../x", "/abs/x", "a b", "a\u{1b}[2J", "ü", &long] {
            let error = stamp(name, "1.2.3", "tiny").expect_err(name);
            assert!(error.len() < 300 && !error.contains(char::is_control), "{error}");
        }
        for version in ["", "1", "1.2", &long, "1.2.3\n"] {
            stamp("tiny", version, "tiny").expect_err(version);
        }
        for model_type in ["", "a\u{1b}b", &long] {
            stamp("tiny", "1.2.3", model_type).expect_err(model_type);
        }
        let error = Stamp::parse(&vec![b' '; LARGEST + 1]).expect_err("too long");
        assert!(error.contains("expected at most"), "{error}");
    }
}
