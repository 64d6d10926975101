//! From a core module, as `rustc` makes it, to the component that hosts load. `cargo xtask build-plugins` and
//! `monocle plugins wrap` use it. Components that other tools made, [`stamp`] makes plugins of.

mod sections;
mod stamp;

pub use stamp::{NewStamp, StampError, World, section, stamp, world};

use sections::{append_custom_section, custom_section};
use wit_component::{ComponentEncoder, DecodedWasm};

/// The custom section that says what a plugin is.
pub const SECTION: &str = "monocle:plugin";

/// Why a module cannot become a plugin.
#[derive(Debug, thiserror::Error)]
pub enum WrapError {
    /// Not a WebAssembly core module.
    #[error("it is not a WebAssembly module: {0}")]
    NotAModule(&'static str),
    /// A component already.
    #[error("it is a component already, so there is nothing to wrap")]
    Component,
    /// Built without the export macros.
    #[error(
        "it has no custom section `{SECTION}`: export the plugin with `export_adapter!` or `export_model!`, and make the crate \
         a `cdylib`"
    )]
    NoSection,
    /// It wants what no host gives.
    #[error(
        "it imports `{0}`, which hosts do not give; build it for `wasm32-unknown-unknown`, so that it imports \
         `monocle:plugin/..` only"
    )]
    Import(String),
    /// The module does not fit the contract that it names.
    #[error("it does not fit the contract: {0}")]
    Contract(String),
}

/// Wraps a module as a component, checks that it imports nothing but the contract, and puts the plugin's section where hosts
/// find it without parsing the module inside.
pub fn wrap(module: &[u8]) -> Result<Vec<u8>, WrapError> {
    // The header's second half tells modules from components (component model, Binary.md: layer 1).
    match module.get(..8) {
        Some(b"\0asm\x01\0\0\0") => {}
        Some([0, b'a', b's', b'm', _, _, 1, 0]) => return Err(WrapError::Component),
        _ => return Err(WrapError::NotAModule("it does not begin with a module's header")),
    }
    let section = custom_section(module, SECTION)
        .map_err(WrapError::NotAModule)?
        .ok_or(WrapError::NoSection)?;
    let mut component = componentize(module)?;
    append_custom_section(&mut component, SECTION, section);
    Ok(component)
}

/// Wraps a module as a component that says nothing of itself yet, and checks that it imports nothing but the contract.
pub fn componentize(module: &[u8]) -> Result<Vec<u8>, WrapError> {
    let component = ComponentEncoder::default()
        .validate(true)
        .module(module)
        .and_then(|encoder| encoder.encode())
        .map_err(|error| WrapError::Contract(format!("{error:#}")))?;
    check_imports(&component)?;
    Ok(component)
}

fn check_imports(component: &[u8]) -> Result<(), WrapError> {
    let decoded =
        wit_component::decode(component).map_err(|error| WrapError::Contract(format!("{error:#}")))?;
    let DecodedWasm::Component(resolve, world) = decoded else {
        let reason = "it was wrapped as an interface, not as a component";
        return Err(WrapError::Contract(reason.to_owned()));
    };
    for (key, _) in &resolve.worlds[world].imports {
        let name = resolve.name_world_key(key);
        if !name.starts_with("monocle:plugin/") {
            return Err(WrapError::Import(name));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_a_plugin_is_refused_in_words() {
        let refusal = |bytes: &[u8]| wrap(bytes).unwrap_err().to_string();
        assert!(refusal(b"#!/bin/sh").starts_with("it is not a WebAssembly module"));
        assert!(refusal(b"").starts_with("it is not a WebAssembly module"));
        assert!(refusal(b"\0asm\x0d\0\x01\0").starts_with("it is a component already"));
        assert!(refusal(b"\0asm\x01\0\0\0").starts_with("it has no custom section `monocle:plugin`"));
        assert!(refusal(b"\0asm\x01\0\0\0\0\x09").contains("beyond the module's end"));
    }
}
