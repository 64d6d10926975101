//! Components that another tool made, in whatever language: looked at, and stamped as plugins.

use wit_component::DecodedWasm;

use crate::SECTION;
use crate::sections::{append_custom_section, custom_section, without_custom_section};

/// What every interface of the contract begins with.
const PACKAGE: &str = "monocle:plugin/";

/// Why a component cannot become a plugin.
#[derive(Debug, thiserror::Error)]
pub enum StampError {
    /// Not a WebAssembly component.
    #[error("it is not a WebAssembly component: {0}")]
    NotAComponent(String),
    /// It wants what no host gives.
    #[error(
        "it imports what hosts do not give: {}\n\nhint: plugins have no WASI. componentize-js: `--disable stdio --disable random --disable clocks \
         --disable http --disable fetch-event` (or `-d all`); componentize-py: `--stub-wasi`; C: `--target=wasm32` without a C library for WASI",
        list(.0)
    )]
    Imports(Vec<String>),
    /// It gives nothing that a host asks for.
    #[error(
        "it exports {}, expected `monocle:plugin/processor@VERSION`: build it for the world `adapter` or `model` of `monocle:plugin`",
        if .0.is_empty() { "nothing".to_owned() } else { list(.0) }
    )]
    Exports(Vec<String>),
    /// What it gives belongs to two versions of the contract.
    #[error("it is of several versions of the contract: {}", list(.0))]
    Versions(Vec<String>),
}

fn list(names: &[String]) -> String {
    let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    names.join(", ")
}

/// What a component asks for and gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct World {
    /// Interfaces that it imports.
    pub imports: Vec<String>,
    /// Interfaces that it exports.
    pub exports: Vec<String>,
}

impl World {
    /// The version of the contract that it is of.
    fn contract(&self) -> Result<String, StampError> {
        let versions = self.imports.iter().chain(&self.exports);
        let versions = versions.filter_map(|name| name.strip_prefix(PACKAGE)?.split_once('@'));
        let mut versions: Vec<String> = versions.map(|(_, version)| version.to_owned()).collect();
        versions.sort();
        versions.dedup();
        match &versions[..] {
            [version] => Ok(version.clone()),
            _ => Err(StampError::Versions(versions)),
        }
    }

    fn gives(&self, interface: &str) -> bool {
        let starts = format!("{PACKAGE}{interface}@");
        self.exports.iter().any(|name| name.starts_with(&starts))
    }
}

/// What a plugin says of itself besides what can be seen.
#[derive(Debug, Clone)]
pub struct NewStamp {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Values of `model_type` that it serves.
    pub model_types: Vec<String>,
    /// Whether `processor.output` is to be called.
    pub filters_output: bool,
    /// Whether `processor.parts` is to be called.
    pub answers_parts: bool,
}

/// The stamp of a component, as it stands there; it may be anything.
pub fn section(component: &[u8]) -> Result<Option<&[u8]>, StampError> {
    if !is_component(component) {
        return Err(no_component(component));
    }
    custom_section(component, SECTION).map_err(|reason| StampError::NotAComponent(reason.to_owned()))
}

/// The header's second half tells modules from components (component model, Binary.md: layer 1).
fn is_component(bytes: &[u8]) -> bool {
    matches!(bytes.get(..8), Some([0, b'a', b's', b'm', _, _, 1, 0]))
}

fn no_component(bytes: &[u8]) -> StampError {
    let reason = match bytes.starts_with(b"\0asm") {
        true => "it is a core module: `monocle plugins wrap` makes a component of it",
        false => "it does not begin with a component's header",
    };
    StampError::NotAComponent(reason.to_owned())
}

/// What a component asks for and gives.
pub fn world(component: &[u8]) -> Result<World, StampError> {
    // wit_component takes modules for components without a world.
    if !is_component(component) {
        return Err(no_component(component));
    }
    let decoded =
        wit_component::decode(component).map_err(|error| StampError::NotAComponent(format!("{error:#}")))?;
    let DecodedWasm::Component(resolve, world) = decoded else {
        let reason = "it is an interface only".to_owned();
        return Err(StampError::NotAComponent(reason));
    };
    let names =
        |keys: Vec<&_>| -> Vec<String> { keys.into_iter().map(|key| resolve.name_world_key(key)).collect() };
    let world = &resolve.worlds[world];
    Ok(World {
        imports: names(world.imports.keys().collect()),
        exports: names(world.exports.keys().collect()),
    })
}

/// Makes a plugin of a component: its kind and contract are what it exports, and it must import nothing else. A stamp that it has is
/// replaced.
pub fn stamp(component: &[u8], stamp: &NewStamp) -> Result<Vec<u8>, StampError> {
    let world = world(component)?;
    let foreign: Vec<String> = world
        .imports
        .iter()
        .filter(|name| !name.starts_with(PACKAGE))
        .cloned()
        .collect();
    if !foreign.is_empty() {
        return Err(StampError::Imports(foreign));
    }
    if !world.gives("processor") {
        return Err(StampError::Exports(world.exports));
    }
    let text = serde_json::json!({
        "name": stamp.name,
        "version": stamp.version,
        "contract": world.contract()?,
        "kind": if world.gives("network") { "model" } else { "adapter" },
        "model-types": stamp.model_types,
        "filters-output": stamp.filters_output,
        "answers-parts": stamp.answers_parts,
    });
    let malformed = |reason: &'static str| StampError::NotAComponent(reason.to_owned());
    let mut stamped = match custom_section(component, SECTION).map_err(malformed)? {
        Some(_) => without_custom_section(component, SECTION).map_err(malformed)?,
        None => component.to_vec(),
    };
    append_custom_section(&mut stamped, SECTION, text.to_string().as_bytes());
    Ok(stamped)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn component(text: &str) -> Vec<u8> {
        wat::parse_str(format!("(component {text})")).expect("the text is well-formed")
    }

    fn stamped() -> NewStamp {
        NewStamp {
            name: "x".to_owned(),
            version: "1.2.3".to_owned(),
            model_types: vec!["t".to_owned()],
            filters_output: true,
            answers_parts: false,
        }
    }

    const PROCESSOR: &str = r#"(instance $p) (export "monocle:plugin/processor@0.2.0" (instance $p))"#;
    const NETWORK: &str = r#"(instance $n) (export "monocle:plugin/network@0.2.0" (instance $n))"#;

    fn section(bytes: &[u8]) -> serde_json::Value {
        let section = custom_section(bytes, SECTION).unwrap().expect("it is there");
        serde_json::from_slice(section).unwrap()
    }

    #[test]
    fn the_kind_is_what_is_exported() {
        let adapter = stamp(&component(PROCESSOR), &stamped()).unwrap();
        let expected = serde_json::json!({
            "name": "x", "version": "1.2.3", "contract": "0.2.0", "kind": "adapter", "model-types": ["t"],
            "filters-output": true, "answers-parts": false,
        });
        assert_eq!(section(&adapter), expected);
        let model = stamp(&component(&format!("{PROCESSOR} {NETWORK}")), &stamped()).unwrap();
        assert_eq!(section(&model)["kind"], "model");
        // A second stamp takes the first one's place.
        let again = stamp(
            &adapter,
            &NewStamp {
                version: "2.0.0".to_owned(),
                ..stamped()
            },
        )
        .unwrap();
        assert_eq!(section(&again)["version"], "2.0.0");
        assert_eq!(again.len(), adapter.len());
    }

    #[test]
    fn what_cannot_be_a_plugin_is_refused_in_words() {
        let refusal = |text: &str| stamp(&component(text), &stamped()).unwrap_err().to_string();
        let wasi = r#"(import "wasi:io/poll@0.2.6" (instance))"#;
        let words = refusal(&format!("{wasi} {PROCESSOR}"));
        assert!(
            words.contains("`wasi:io/poll@0.2.6`") && words.contains("--stub-wasi"),
            "{words}"
        );
        assert!(refusal("").starts_with("it exports nothing"));
        let older = PROCESSOR
            .replace("0.2.0", "0.1.0")
            .replace("$p", "$q")
            .replace("processor", "network");
        assert!(refusal(&format!("{PROCESSOR} {older}")).contains("`0.1.0`, `0.2.0`"));
        let module = stamp(b"\0asm\x01\0\0\0", &stamped()).unwrap_err().to_string();
        assert!(module.contains("monocle plugins wrap"), "{module}");
        assert!(stamp(b"#!/bin/sh", &stamped()).is_err());
    }
}
