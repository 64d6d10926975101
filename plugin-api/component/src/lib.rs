//! From a core module, as `rustc` makes it, to the component that hosts load. `cargo xtask build-plugins` and
//! `monocle plugins wrap` use it.

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
    let section = custom_section(module, SECTION)?.ok_or(WrapError::NoSection)?;
    let mut component = ComponentEncoder::default()
        .validate(true)
        .module(module)
        .and_then(|encoder| encoder.encode())
        .map_err(|error| WrapError::Contract(format!("{error:#}")))?;
    check_imports(&component)?;
    append_custom_section(&mut component, SECTION, section);
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

/// The contents of a module's custom section: each section is an id, a length (LEB128) and so many bytes; custom ones have id 0 and
/// begin with their name (WebAssembly core specification, 5.5).
fn custom_section<'a>(module: &'a [u8], wanted: &str) -> Result<Option<&'a [u8]>, WrapError> {
    let mut rest = module
        .get(8..)
        .ok_or(WrapError::NotAModule("it is shorter than a module's header"))?;
    while let Some((&id, after)) = rest.split_first() {
        let (content, next) = prefixed(after)?;
        rest = next;
        if id == 0 {
            let (name, data) = prefixed(content)?;
            if name == wanted.as_bytes() {
                return Ok(Some(data));
            }
        }
    }
    Ok(None)
}

/// Splits bytes that begin with their length from what follows them.
fn prefixed(bytes: &[u8]) -> Result<(&[u8], &[u8]), WrapError> {
    let mut length = 0usize;
    for (index, byte) in bytes.iter().take(5).enumerate() {
        length |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return bytes[index + 1..]
                .split_at_checked(length)
                .ok_or(WrapError::NotAModule("a section ends beyond the module's end"));
        }
    }
    Err(WrapError::NotAModule(
        "a section's length is not a LEB128 number of 32 bits",
    ))
}

fn append_custom_section(component: &mut Vec<u8>, name: &str, data: &[u8]) {
    let mut content = leb128(name.len());
    content.extend_from_slice(name.as_bytes());
    content.extend_from_slice(data);
    component.push(0);
    component.extend(leb128(content.len()));
    component.extend(content);
}

fn leb128(mut value: usize) -> Vec<u8> {
    let mut bytes = vec![];
    loop {
        let low = (value & 0x7f) as u8;
        value >>= 7;
        if value == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_are_found_after_others() {
        // A type section of 2 bytes, then a custom section "ab" holding 7, 8.
        let module = [
            b"\0asm\x01\0\0\0".as_slice(),
            &[1, 2, 9, 9, 0, 5, 2, b'a', b'b', 7, 8],
        ]
        .concat();
        assert_eq!(custom_section(&module, "ab").unwrap(), Some([7, 8].as_slice()));
        assert_eq!(custom_section(&module, "a").unwrap(), None);
        assert!(custom_section(&module[..module.len() - 1], "ab").is_err());
    }

    #[test]
    fn what_cannot_be_a_plugin_is_refused_in_words() {
        let refusal = |bytes: &[u8]| wrap(bytes).unwrap_err().to_string();
        assert!(refusal(b"#!/bin/sh").starts_with("it is not a WebAssembly module"));
        assert!(refusal(b"").starts_with("it is not a WebAssembly module"));
        assert!(refusal(b"\0asm\x0d\0\x01\0").starts_with("it is a component already"));
        assert!(refusal(b"\0asm\x01\0\0\0").starts_with("it has no custom section `monocle:plugin`"));
        assert!(refusal(b"\0asm\x01\0\0\0\0\x09").contains("beyond the module's end"));
    }

    #[test]
    fn long_sections_are_found_again() {
        let mut module = b"\0asm\x01\0\0\0".to_vec();
        append_custom_section(&mut module, "name", &[5; 300]);
        // 305 bytes: 0xb1 0x02 in LEB128.
        assert_eq!(&module[8..11], &[0, 0xb1, 0x02]);
        assert_eq!(
            custom_section(&module, "name").unwrap(),
            Some([5; 300].as_slice())
        );
    }
}
