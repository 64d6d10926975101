//! What the host has in place of wasmtime's bindings: types, traits of the same shape, and tables of functions that call them.

use std::fmt::Write;

use wit_parser::{Function, Interface, Type, TypeId};

use super::{COMMAND, Contract, Kind, abi, function_name, names, resources, types};

/// The file.
pub fn text(contract: &Contract<'_>) -> String {
    let mut text = format!(
        "//! What wasmtime makes of the contract for components, for native libraries: written by `{COMMAND}` from\n\
         //! `plugin-api/wit/v0.2`; do not edit.\n\
         #![allow(missing_docs, dead_code, unused_imports, clippy::redundant_closure, clippy::too_many_arguments, reason = \"it is as the contract has it, which is documented in plugin-api/wit\")]\n\
         #![allow(clippy::undocumented_unsafe_blocks, reason = \"lifting passes its caller's promise on\")]\n"
    );
    for interface in contract.with_types() {
        let name = interface.name.as_deref().expect("it has a name");
        let _ = write!(text, "\npub mod {} {{\n", names::snake(name));
        let has_types = interface
            .types
            .values()
            .any(|id| matches!(contract.kind(&Type::Id(*id)), Kind::Structure(_) | Kind::Enum(_)));
        let has_functions = !interface.functions.is_empty();
        if has_functions {
            text += "    use monocle_plugin_abi::{List, Optional, Status, Text, v0_2 as abi};\n    use crate::plugin::native::edge;\n    use crate::plugin::native::host_side::*;\n";
        }
        if has_types {
            let more = match has_functions {
                true => "",
                false => ", v0_2 as abi",
            };
            let _ = writeln!(
                text,
                "    use monocle_plugin_abi::{{Keep, Lift, Lower, Malformed{more}}};"
            );
        }
        types::definitions(&mut text, contract, interface, &|id| handle(contract, id));
        for (resource, id) in resources(contract, interface) {
            let of_it = |function: &&Function| function.kind.resource() == Some(id);
            let _ = writeln!(text, "    pub trait Host{} {{", names::camel(resource));
            for function in interface.functions.values().filter(of_it) {
                declaration(&mut text, contract, interface, function);
            }
            let _ = write!(
                text,
                "        fn drop(&mut self, this: {}) -> Result<()>;\n    }}\n",
                handle(contract, id)
            );
        }
        text += "    pub trait Host {\n";
        for function in interface
            .functions
            .values()
            .filter(|function| function.kind.resource().is_none())
        {
            declaration(&mut text, contract, interface, function);
        }
        text += "    }\n";
        if has_functions {
            table(&mut text, contract, interface);
        }
        text += "}\n";
    }
    text
}

fn handle(contract: &Contract<'_>, id: TypeId) -> String {
    format!("Resource<{}Handle>", names::camel(contract.name(id)))
}

fn declaration(text: &mut String, contract: &Contract<'_>, interface: &Interface, function: &Function) {
    let home = interface.name.as_deref().expect("it has a name");
    let own = |kind: &Type| types::type_name(contract, kind, home, &|id| handle(contract, id));
    let parameters: String = function
        .params
        .iter()
        .map(|parameter| format!(", {}: {}", names::parameter(&parameter.name), own(&parameter.ty)))
        .collect();
    let (result, fails) = contract.result(function);
    let result = result.map_or("()".to_owned(), |result| own(&result));
    let result = match fails {
        true => format!("std::result::Result<{result}, String>"),
        false => result,
    };
    let _ = writeln!(
        text,
        "        fn {}(&mut self{parameters}) -> Result<{result}>;",
        names::snake(function.item_name())
    );
}

/// The functions that a library calls, and the table of them.
fn table(text: &mut String, contract: &Contract<'_>, interface: &Interface) {
    let name = interface.name.as_deref().expect("it has a name");
    let table = format!("abi::{}Table", names::camel(name));
    let mut entries = String::new();
    for function in interface.functions.values() {
        let entry = function_name(contract, function);
        let _ = write!(entries, "{entry}, ");
        let (result, fails) = contract.result(function);
        let (edge, results) = match (result, fails) {
            (None, false) => ("nothing", ""),
            (_, false) => ("result", ", result"),
            (_, true) => ("result_or_words", ", result, words"),
        };
        let arguments: Vec<String> = function
            .params
            .iter()
            .map(|parameter| {
                let name = names::parameter(&parameter.name);
                match contract.kind(&parameter.ty) {
                    Kind::Structure(_) => format!(", edge::lift_at({name})?"),
                    _ => format!(", edge::lift(&{name})?"),
                }
            })
            .collect();
        let of = match function.kind.resource() {
            Some(resource) => format!("Host{}", names::camel(contract.name(resource))),
            None => "Host".to_owned(),
        };
        let _ = write!(
            text,
            "    unsafe extern \"C\" fn {entry}(host: *const abi::Host{}) -> Status {{\n\
             \x20       // SAFETY: the library's promise, as `monocle_plugin.h` has it: `host` is this call's, and pointers lead to what they should.\n\
             \x20       unsafe {{ edge::{edge}(host{results}, |side| {of}::{}(side{})) }}\n    }}\n",
            abi::parameters(contract, function, "abi::"),
            names::snake(function.item_name()),
            arguments.concat()
        );
    }
    for (resource, _) in resources(contract, interface) {
        let entry = format!("{}_drop", names::snake(resource));
        let _ = write!(entries, "{entry}, ");
        let _ = write!(
            text,
            "    unsafe extern \"C\" fn {entry}(host: *const abi::Host, this: u32) -> Status {{\n\
             \x20       // SAFETY: as above.\n\
             \x20       unsafe {{ edge::nothing(host, |side| Host{}::drop(side, edge::lift(&this)?)) }}\n    }}\n",
            names::camel(resource)
        );
    }
    let _ = writeln!(
        text,
        "    pub static TABLE: {table} = {table} {{ size: size_of::<{table}>(), {entries}}};"
    );
}
