//! What a plugin's file is made of, by its sections.

use serde::Serialize;
use wasmparser::{Encoding, Parser, Payload};

/// Sums over all modules of a component.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Content {
    /// Core modules.
    pub modules: usize,
    /// Functions with code.
    pub functions: usize,
    /// Bytes of code.
    pub code_bytes: usize,
    /// Bytes of data.
    pub data_bytes: usize,
    /// Bytes of everything else.
    pub other_bytes: usize,
}

impl Content {
    /// Of a component or module; the error says where it is damaged.
    pub fn of(wasm: &[u8]) -> Result<Self, String> {
        let mut content = Self::default();
        for payload in Parser::new(0).parse_all(wasm) {
            match payload.map_err(|error| format!("it is damaged: {error}"))? {
                Payload::Version {
                    encoding: Encoding::Module,
                    ..
                } => content.modules += 1,
                Payload::CodeSectionStart { count, range, .. } => {
                    content.functions += count as usize;
                    content.code_bytes += range.len();
                }
                Payload::DataSection(section) => content.data_bytes += section.range().len(),
                _ => {}
            }
        }
        content.other_bytes = wasm
            .len()
            .saturating_sub(content.code_bytes)
            .saturating_sub(content.data_bytes);
        Ok(content)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_inside_are_counted() {
        let module = r#"(core module (memory 1) (data (i32.const 0) "abcd") (func) (func nop))"#;
        let wasm = wat::parse_str(format!("(component {module} {module})")).expect("the text is well-formed");
        let content = Content::of(&wasm).unwrap();
        assert_eq!((content.modules, content.functions), (2, 4));
        // A section's count, and of each function a length, no locals, its operators (one `nop`) and an end: 1 + 3 + 4.
        assert_eq!(content.code_bytes, 2 * 8);
        // A count, a kind, `i32.const 0`, an end, a length, four letters.
        assert_eq!(content.data_bytes, 2 * 10);
        let all = content.code_bytes + content.data_bytes + content.other_bytes;
        assert_eq!(all, wasm.len());
        assert!(Content::of(&wasm[..wasm.len() - 1]).is_err());
    }
}
