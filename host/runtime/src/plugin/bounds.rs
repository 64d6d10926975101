//! How large a plugin's code may be, looked at before any of it is compiled.
//!
//! Compilation cannot be interrupted, and a thread that is left behind is no bound. The program compiles in a process of its own
//! (`component::compile_elsewhere`), which has a deadline; but an isolated process cannot start one, and other users of this library may have
//! none. So what takes long is refused by its size, too: compilers take time with the square of how deep blocks are nested, and in proportion to
//! everything else. Components made by JavaScript's and Python's tools (whole interpreters of 12 and 18 MB) are well within.

use wasmparser::{Operator, Parser, Payload};

/// Bytes of one function. The largest of componentize-py 0.25.1 has 426 843, that of componentize-js 0.23.0 has 171 628.
const BODY: usize = 1 << 20;
/// Bytes of all functions: those have 6.2 million and 10.6 million.
const CODE: usize = 16 << 20;
/// Functions of all modules.
const FUNCTIONS: usize = 150_000;
/// Modules and components inside.
const PARTS: usize = 512;
/// Blocks around one another in a function: a compiler of C or Rust makes one for each arm of a `switch`.
const DEPTH: usize = 5_000;
/// Blocks, each counted with how many are around it, of all functions. A nest of 10 000 has 50 million and takes six seconds.
const NESTING: usize = 64 << 20;

/// Checks a component; the error says what is too large.
pub fn check(wasm: &[u8]) -> Result<(), String> {
    let mut seen = Seen::default();
    for payload in Parser::new(0).parse_all(wasm) {
        match payload.map_err(damaged)? {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => {
                bound("modules and components inside it", &mut seen.parts, 1, PARTS)?;
            }
            Payload::CodeSectionEntry(body) => {
                let bytes = body.range().len();
                bound("functions", &mut seen.functions, 1, FUNCTIONS)?;
                bound("bytes in one function", &mut 0, bytes, BODY)?;
                bound("bytes of code", &mut seen.code, bytes, CODE)?;
                let mut depth = 0_usize;
                for operator in body.get_operators_reader().map_err(damaged)? {
                    match operator.map_err(damaged)? {
                        Operator::Block { .. }
                        | Operator::Loop { .. }
                        | Operator::If { .. }
                        | Operator::TryTable { .. } => {
                            bound("blocks around one another", &mut depth, 1, DEPTH)?;
                            bound("blocks within blocks", &mut seen.nesting, depth, NESTING)?;
                        }
                        Operator::End => depth = depth.saturating_sub(1),
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    Ok(())
}

#[derive(Default)]
struct Seen {
    parts: usize,
    functions: usize,
    code: usize,
    nesting: usize,
}

fn bound(what: &str, seen: &mut usize, more: usize, most: usize) -> Result<(), String> {
    *seen = seen.saturating_add(more);
    match *seen > most {
        true => Err(format!(
            "it has more than the {most} {what} that a plugin may have: compiling it would take too long"
        )),
        false => Ok(()),
    }
}

fn damaged(error: wasmparser::BinaryReaderError) -> String {
    format!("it is damaged: {error}")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A component with a module of so many functions, each of so many blocks around one another.
    fn component(functions: usize, depth: usize) -> Vec<u8> {
        let blocks = format!("{}{}", "block ".repeat(depth), "end ".repeat(depth));
        let functions = format!("(func {blocks})").repeat(functions);
        wat::parse_str(format!("(component (core module {functions}))")).expect("the text is well-formed")
    }

    /// A number as WebAssembly's files have it (LEB128).
    fn number(mut value: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        while value >= 0x80 {
            bytes.push((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        bytes.push(value as u8);
        bytes
    }

    fn section(id: u8, content: &[u8]) -> Vec<u8> {
        [&[id], &number(content.len())[..], content].concat()
    }

    /// A component with a module of functions with so many bytes each, all of which do nothing.
    fn component_of_bytes(sizes: &[usize]) -> Vec<u8> {
        let count = number(sizes.len());
        let mut code = count.clone();
        for size in sizes {
            code.extend(number(*size));
            // No locals; `nop`; `end`.
            code.push(0);
            code.resize(code.len() + size - 2, 1);
            code.push(0x0b);
        }
        let module = [
            b"\0asm\x01\0\0\0".to_vec(),
            // One type, of no parameters and no results.
            section(1, &[1, 0x60, 0, 0]),
            section(3, &[&count[..], &vec![0; sizes.len()]].concat()),
            section(10, &code),
        ]
        .concat();
        [b"\0asm\x0d\0\x01\0".to_vec(), section(1, &module)].concat()
    }

    #[test]
    fn sizes_have_bounds_of_their_own() {
        let refused = |wasm: &[u8], words: &str| {
            let reason = check(wasm).expect_err(words);
            assert!(reason.contains(words), "{reason}");
        };
        assert_eq!(check(&component_of_bytes(&[BODY])), Ok(()));
        refused(&component_of_bytes(&[BODY + 1]), "1048576 bytes in one function");
        let mut all = vec![BODY; CODE / BODY];
        assert_eq!(check(&component_of_bytes(&all)), Ok(()));
        all.push(2);
        refused(&component_of_bytes(&all), "16777216 bytes of code");
        let mut many = vec![2; FUNCTIONS];
        assert_eq!(check(&component_of_bytes(&many)), Ok(()));
        many.push(2);
        refused(&component_of_bytes(&many), "150000 functions");
        let parts = |count: usize| {
            let text = format!("(component {})", "(core module)".repeat(count));
            wat::parse_str(text).expect("the text is well-formed")
        };
        assert_eq!(check(&parts(PARTS)), Ok(()));
        refused(&parts(PARTS + 1), "512 modules and components inside it");
    }

    #[test]
    fn what_takes_a_compiler_long_is_refused() {
        assert_eq!(check(&component(20, 500)), Ok(()));
        assert_eq!(check(&component(1, DEPTH)), Ok(()));
        let deep = check(&component(1, DEPTH + 1)).expect_err("it is too deep");
        assert!(deep.contains("5000 blocks around one another"), "{deep}");
        // Each has 12.5 million blocks within blocks.
        assert_eq!(check(&component(5, DEPTH)), Ok(()));
        let many = check(&component(6, DEPTH)).expect_err("it is too much in all");
        assert!(many.contains("blocks within blocks"), "{many}");
        let cut = component(1, 10);
        assert!(check(&cut[..cut.len() - 1]).is_err());
    }
}
