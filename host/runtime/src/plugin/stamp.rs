//! What a plugin says of itself in its custom section `monocle:plugin`, read before any of its code is compiled.

use serde::{Deserialize, Serialize};
use wasmparser::{Parser, Payload};

/// The section's name.
pub const SECTION: &str = "monocle:plugin";
/// The newest version of the contract that this host speaks: the one that the crate `monocle-plugin` beside it builds for.
pub const CONTRACT: &str = "0.2.0";

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
    /// Reads the stamp of a component; the error says what is wrong with it.
    pub fn read(wasm: &[u8]) -> Result<Self, String> {
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
                    return serde_json::from_slice(section.data())
                        .map_err(|error| format!("its section `{SECTION}` is malformed: {error}"));
                }
                Ok(_) => {}
                Err(error) => return Err(format!("it is damaged: {error}")),
            }
        }
        Err(format!(
            "it has no section `{SECTION}`: was it built with the crate `monocle-plugin`?"
        ))
    }
}
